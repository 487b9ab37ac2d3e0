//! A smallest spike under AR(2): pools of frames, merged greedily.

use crate::Ar2;

/// Spikes that are 0 or at least `s_min`; the first is the initial calcium.
///
/// Every frame begins a pool. A pool whose spike is too small, or that has no data, joins the one
/// before, which is fitted anew to all its frames. Two pools merge in constant time.
///
/// # Shapes
/// `samples`, `penalty` (the weight of each frame's calcium) and result: `[time]`.
pub(super) fn thresholded(ar: Ar2, s_min: f64, samples: &[f64], penalty: &[f64]) -> Vec<f64> {
    let mut pools: Vec<Pool> = Vec::new();
    for (start, (&sample, &mu)) in samples.iter().zip(penalty).enumerate() {
        let before = pools.last().map(Pool::after);
        let mut last = Pool::new(ar, start, sample, mu, before);
        while let Some(before) = pools.pop_if(|_| last.is_gap() || last.spike() < s_min) {
            last = before.merged(&last);
        }
        pools.push(last);
    }
    let mut spikes = vec![0.0; samples.len()];
    for pool in &pools {
        spikes[pool.start] = pool.spike();
    }
    spikes
}

/// What a frame has without a spike in it: `c = d·c_{t−1} + e` with `e = r·e_{t−1}`, for the decays d
/// and r of the response. A spike adds to both.
#[derive(Debug, Clone, Copy)]
struct State {
    /// c
    calcium: f64,
    /// e
    rising: f64,
}

/// Neighbouring frames k = 0, 1, … after `start` with a spike in none but the first. Where that has
/// calcium v and rising part e, `c_{start+k} = v·p_k + r·e·q_k` with `p_k = d^k` and
/// `q_k = (d^k − r^k)/(d − r)`.
#[derive(Debug, Clone, Copy)]
struct Pool {
    start: usize,
    rise: f64,
    /// What the pools before leave at the first frame. None before the first pool, whose calcium is
    /// the initial condition and only decays.
    before: Option<State>,
    /// Σ p², Σ pq and Σ q² over the frames with data.
    pp: f64,
    pq: f64,
    qq: f64,
    /// Σ p·(y − mu) and Σ q·(y − mu); a gap has −mu.
    py: f64,
    qy: f64,
    /// d^n, r^n and q_n after the n frames.
    decayed: f64,
    risen: f64,
    response: f64,
}

impl Pool {
    /// A single frame; a first frame without data counts as silence.
    fn new(ar: Ar2, start: usize, sample: f64, mu: f64, before: Option<State>) -> Self {
        let [decay, rise] = ar.roots();
        let (weight, weighted) = match (sample.is_nan(), start) {
            (false, _) => (1.0, sample - mu),
            (true, 0) => (1.0, 0.0),
            (true, _) => (0.0, -mu),
        };
        Self {
            start,
            rise,
            before,
            pp: weight,
            pq: 0.0,
            qq: 0.0,
            py: weighted,
            qy: 0.0,
            decayed: decay,
            risen: rise,
            response: 1.0,
        }
    }

    /// No pool begins in a gap unless it is one.
    fn is_gap(&self) -> bool {
        self.pp == 0.0
    }

    /// The least-squares value of the first frame. Its rising part is its excess over `d·c_{t−1}`, so
    /// that `c_k = v·(p + r·q) − d·c_{t−1}·r·q`.
    fn onset(&self) -> f64 {
        let Some(before) = self.before else {
            return (self.py / self.pp).max(0.0);
        };
        let r = self.rise;
        let settled = before.calcium - before.rising;
        let weighted = self.py + r * self.qy + settled * r * (self.pq + r * self.qq);
        weighted / (self.pp + r * (2.0 * self.pq + r * self.qq))
    }

    /// The spike that begins the pool, or the initial calcium.
    fn spike(&self) -> f64 {
        self.onset() - self.before.map_or(0.0, |before| before.calcium)
    }

    /// What is left of it in the frame after its last.
    fn after(&self) -> State {
        let rising = self
            .before
            .map_or(0.0, |before| before.rising + self.spike());
        State {
            calcium: self.decayed * self.onset() + self.rise * rising * self.response,
            rising: self.risen * rising,
        }
    }

    /// Both pools' frames: k of `next` is n + k here, where `p = d^n·p_k` and `q = q_n·p_k + r^n·q_k`.
    fn merged(&self, next: &Self) -> Self {
        let (d, r, q) = (self.decayed, self.risen, self.response);
        Self {
            pp: self.pp + d * d * next.pp,
            pq: self.pq + d * (q * next.pp + r * next.pq),
            qq: self.qq + q * q * next.pp + r * (2.0 * q * next.pq + r * next.qq),
            py: self.py + d * next.py,
            qy: self.qy + q * next.py + r * next.qy,
            decayed: d * next.decayed,
            risen: r * next.risen,
            response: q * next.decayed + r * next.response,
            ..*self
        }
    }
}

//! Autoregressive calcium, and Gaussian messages about it passed backward in time.

/// c_t = a_1 c_{t−1} + … + a_P c_{t−P} + gain·s_t + baseline, for one neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalciumDynamics<const P: usize> {
    /// a_1, …, a_P.
    pub coefficients: [f64; P],
    /// Calcium of one spike, positive.
    pub gain: f64,
    /// Drift per bin.
    pub baseline: f64,
}

/// Bins after which a response that still rises is taken for as high as it gets.
const MAX_RISE: usize = 10_000;

/// c_t, …, c_{t−P+1}.
pub type State<const P: usize> = [f64; P];

impl<const P: usize> CalciumDynamics<P> {
    /// The state of the next bin if it has no spike.
    pub fn carry(&self, state: State<P>) -> State<P> {
        let mut next = [self.baseline; P];
        for (a, c) in self.coefficients.iter().zip(state) {
            next[0] += a * c;
        }
        next[1..].copy_from_slice(&state[..P - 1]);
        next
    }

    /// The roots g ≥ h of z² = a_1 z + a_2: what is left of the decay, and of the rise, after a bin.
    pub fn roots(&self) -> [f64; 2] {
        let [a, b] = [0, 1].map(|lag| self.coefficients.get(lag).copied().unwrap_or(0.0));
        let spread = (a * a + 4.0 * b).max(0.0).sqrt();
        let decay = f64::midpoint(a, spread);
        // Vieta's rule loses no digits.
        let rise = if decay == 0.0 { 0.0 } else { -b / decay };
        [decay, rise]
    }

    /// The greatest calcium in response to calcium of 1.
    pub fn peak(&self) -> f64 {
        let (mut response, mut peak) = ([0.0; P], 1.0);
        response[0] = 1.0;
        // A response with a rise has one peak.
        for _ in 0..MAX_RISE {
            let next = self.respond(response);
            if next <= peak {
                break;
            }
            response.copy_within(..P - 1, 1);
            response[0] = next;
            peak = next;
        }
        peak
    }

    fn respond(&self, state: State<P>) -> f64 {
        self.coefficients
            .iter()
            .zip(state)
            .map(|(a, c)| a * c)
            .sum()
    }

    /// The state of a calcium of `c` that has long been decaying undisturbed: earlier bins
    /// held `c` over `decay` per bin.
    pub fn decaying(c: f64, decay: f64) -> State<P> {
        let mut state = [c; P];
        for lag in 1..P {
            state[lag] = state[lag - 1] / decay;
        }
        state
    }
}

/// What data say of a state: log density −½ cᵀΛc + ηᵀc, up to a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Message<const P: usize> {
    eta: [f64; P],
    lambda: [[f64; P]; P],
}

/// A message along the line of states that differ by the spikes of one bin: with k spikes the
/// log density is `slope`·k − ½ `curvature`·k² above that of none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parabola {
    pub slope: f64,
    pub curvature: f64,
}

impl Parabola {
    /// The log density with so many spikes, relative to none.
    pub fn at(&self, count: f64) -> f64 {
        count * (self.slope - 0.5 * self.curvature * count)
    }
}

impl<const P: usize> Message<P> {
    /// Nothing known.
    pub const FLAT: Self = Self {
        eta: [0.0; P],
        lambda: [[0.0; P]; P],
    };

    /// Adds an observation of the newest calcium, N(`mean`, 1/`precision`).
    pub fn observe(&mut self, mean: f64, precision: f64) {
        self.lambda[0][0] += precision;
        self.eta[0] += precision * mean;
    }

    /// The message about the bin before, whose spikes of this bin have mean and variance
    /// `mean_count`: Kalman's information filter run backward.
    pub fn carried_back(&self, calcium: &CalciumDynamics<P>, mean_count: f64) -> Self {
        let drive = calcium.gain * mean_count + calcium.baseline;
        let variance = calcium.gain * calcium.gain * mean_count;
        let column: [f64; P] = std::array::from_fn(|row| self.lambda[row][0]);
        let shrink = variance / (1.0 + variance * column[0]);
        let shifted = self.eta[0] - column[0] * drive;
        let eta: [f64; P] = std::array::from_fn(|row| {
            self.eta[row] - column[row] * drive - column[row] * shrink * shifted
        });
        let lambda: [[f64; P]; P] = std::array::from_fn(|row| {
            std::array::from_fn(|other| {
                self.lambda[row][other] - column[row] * shrink * column[other]
            })
        });
        Self { eta, lambda }.before_step(&calcium.coefficients)
    }

    /// Aᵀη and AᵀΛA for the companion matrix A: first row `a`, ones below the diagonal.
    fn before_step(&self, a: &[f64; P]) -> Self {
        let below = |row: usize, values: &[f64; P]| match row + 1 < P {
            true => values[row + 1],
            false => 0.0,
        };
        let eta = std::array::from_fn(|row| a[row] * self.eta[0] + below(row, &self.eta));
        // ΛA, then Aᵀ(ΛA).
        let right: [[f64; P]; P] = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                self.lambda[row][0] * a[column] + below(column, &self.lambda[row])
            })
        });
        let lambda = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let next = if row + 1 < P {
                    right[row + 1][column]
                } else {
                    0.0
                };
                a[row] * right[0][column] + next
            })
        });
        Self { eta, lambda }
    }

    /// The log density at a state.
    pub fn log_density(&self, state: State<P>) -> f64 {
        (0..P)
            .map(|row| state[row] * (self.eta[row] - 0.5 * self.dot(row, state)))
            .sum()
    }

    /// The message as a function of the bin's spikes, from a state without any.
    pub fn along_spikes(&self, calcium: &CalciumDynamics<P>, without: State<P>) -> Parabola {
        Parabola {
            slope: calcium.gain * (self.eta[0] - self.dot(0, without)),
            curvature: calcium.gain * calcium.gain * self.lambda[0][0],
        }
    }

    /// Mean and precision along a line of states through the origin.
    pub fn along(&self, direction: State<P>) -> (f64, f64) {
        let eta: f64 = (0..P).map(|row| direction[row] * self.eta[row]).sum();
        let precision: f64 = (0..P)
            .map(|row| direction[row] * self.dot(row, direction))
            .sum();
        (eta, precision)
    }

    fn dot(&self, row: usize, state: State<P>) -> f64 {
        (0..P)
            .map(|column| self.lambda[row][column] * state[column])
            .sum()
    }
}

//! A blur along time, of each neuron its own.

use super::check_len;
use super::pool::in_chunks;

/// `y_t` = Σ_k `w_k` `x_{t+k−h}` / Σ_k `w_k`, both over the bins that there are: of 2h + 1 weights for each neuron, the one
/// in the middle is that of the bin itself. Where nothing changes with time, nothing changes.
///
/// # Shapes
/// `x` and result: `[time, trial, neuron]`, as `shape` says; `weights`: `[2h + 1, neuron]`.
/// # Panics
/// If `x` is not of that shape, or `weights` are not an odd number for each neuron.
pub fn blur(x: &[f32], weights: &[f32], shape: [usize; 3]) -> Vec<f32> {
    let blur = Blur::new(x, weights, shape);
    let shares = blur.shares();
    in_chunks(x.len(), blur.bin_len(), |bin, y| {
        for (delay, source) in blur.around(bin) {
            add_weighted(y, blur.bin(x, source), blur.weights(delay));
        }
        multiply(y, blur.row(&shares, bin));
    })
}

/// Gradient of [`blur`] by `x`, from that by its result, `dy`.
///
/// # Panics
/// As there.
pub fn blur_gradient(dy: &[f32], weights: &[f32], shape: [usize; 3]) -> Vec<f32> {
    let blur = Blur::new(dy, weights, shape);
    let shares = blur.shares();
    let of_sums = in_chunks(dy.len(), blur.bin_len(), |bin, of_sum| {
        of_sum.copy_from_slice(blur.bin(dy, bin));
        multiply(of_sum, blur.row(&shares, bin));
    });
    in_chunks(dy.len(), blur.bin_len(), |bin, dx| {
        for (delay, target) in blur.around(bin) {
            // What x_t adds to y_s it adds with the weight of t as seen from s.
            let weights = blur.weights(2 * blur.half - delay);
            add_weighted(dx, blur.bin(&of_sums, target), weights);
        }
    })
}

/// Multiplies every trial of a bin, each neuron by its share.
fn multiply(y: &mut [f32], shares: &[f32]) {
    for y in y.chunks_exact_mut(shares.len()) {
        for (y, share) in y.iter_mut().zip(shares) {
            *y *= share;
        }
    }
}

/// Adds to every trial of a bin those of another, each neuron by its weight.
fn add_weighted(y: &mut [f32], x: &[f32], weights: &[f32]) {
    let trials = y
        .chunks_exact_mut(weights.len())
        .zip(x.chunks_exact(weights.len()));
    for (y, x) in trials {
        for ((y, x), w) in y.iter_mut().zip(x).zip(weights) {
            *y += w * x;
        }
    }
}

struct Blur<'a> {
    weights: &'a [f32],
    half: usize,
    n_bins: usize,
    n_trials: usize,
    n_neurons: usize,
}

impl<'a> Blur<'a> {
    fn new(x: &[f32], weights: &'a [f32], shape: [usize; 3]) -> Self {
        let [n_bins, n_trials, n_neurons] = shape;
        check_len("x", x, n_bins * n_trials * n_neurons);
        let n_delays = weights.len() / n_neurons;
        assert!(
            n_delays % 2 == 1 && weights.len() == n_delays * n_neurons,
            "weights of a blur are an odd number for each of {n_neurons} neurons, not {}",
            weights.len()
        );
        Self {
            weights,
            half: n_delays / 2,
            n_bins,
            n_trials,
            n_neurons,
        }
    }

    fn bin_len(&self) -> usize {
        self.n_trials * self.n_neurons
    }

    fn bin<'x>(&self, x: &'x [f32], bin: usize) -> &'x [f32] {
        &x[bin * self.bin_len()..(bin + 1) * self.bin_len()]
    }

    fn weights(&self, delay: usize) -> &'a [f32] {
        self.row(self.weights, delay)
    }

    /// Of each neuron one number.
    fn row<'x>(&self, x: &'x [f32], row: usize) -> &'x [f32] {
        &x[row * self.n_neurons..(row + 1) * self.n_neurons]
    }

    /// What each neuron's sum is multiplied by, `[time, neuron]`.
    fn shares(&self) -> Vec<f32> {
        let mut shares = vec![0.0_f32; self.n_bins * self.n_neurons];
        for (bin, shares) in shares.chunks_exact_mut(self.n_neurons).enumerate() {
            for (delay, _) in self.around(bin) {
                for (sum, w) in shares.iter_mut().zip(self.weights(delay)) {
                    *sum += w;
                }
            }
            for sum in shares {
                *sum = sum.recip();
            }
        }
        shares
    }

    /// Numbers of the weights that reach a bin from `bin`, and that bin.
    fn around(&self, bin: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (half, n_bins) = (self.half, self.n_bins);
        let first = half.saturating_sub(bin);
        let end = (2 * half + 1).min(n_bins + half - bin);
        (first..end).map(move |delay| (delay, bin + delay - half))
    }
}

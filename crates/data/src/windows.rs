//! A long recording in overlapping windows, and results per window merged back.

use std::f64::consts::FRAC_PI_2;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Zip, s};

use crate::{DataError, Problem};

/// Windows of equal length that cover a recording; the last one ends with it.
///
/// # Example
/// ```
/// use data::Windows;
/// use ndarray::Array2;
///
/// let trace = Array2::from_shape_fn((100, 3), |(bin, neuron)| (bin * neuron) as f32);
/// let windows = Windows::new(100, 40, 10)?;
/// assert_eq!(windows.starts(), [0, 30, 60]);
/// assert_eq!(windows.merge(windows.cut(trace.view())?.view())?, trace);
/// # Ok::<(), data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    n_bins: usize,
    length: usize,
    overlap: usize,
    starts: Vec<usize>,
}

impl Windows {
    /// Windows of `length` bins, neighbours sharing at least `overlap`, over `n_bins`.
    ///
    /// # Errors
    /// [`Problem::Windows`] unless `overlap < length <= n_bins`.
    pub fn new(n_bins: usize, length: usize, overlap: usize) -> Result<Self, DataError> {
        if length > n_bins || overlap >= length {
            return Err(Problem::Windows {
                length,
                overlap,
                n_bins,
            }
            .into());
        }
        let last = n_bins - length;
        let regular = (0..last).step_by(length - overlap);
        Ok(Self {
            n_bins,
            length,
            overlap,
            starts: regular.chain([last]).collect(),
        })
    }

    /// First bin of each window.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Copies each window.
    ///
    /// # Shapes
    /// `trace`: `[time, neuron]`; result: `[window, time, neuron]`.
    /// # Errors
    /// [`Problem::Disagree`] for a trace that is not `n_bins` long.
    pub fn cut(&self, trace: ArrayView2<'_, f32>) -> Result<Array3<f32>, DataError> {
        let whole = [self.n_bins, trace.ncols()];
        self.check("trace", trace.shape(), &whole, "time bins")?;
        let mut windows = Array3::zeros((self.starts.len(), self.length, trace.ncols()));
        for (mut window, &start) in windows.outer_iter_mut().zip(&self.starts) {
            window.assign(&trace.slice(s![start..start + self.length, ..]));
        }
        Ok(windows)
    }

    /// Merges what was inferred in each window: where windows overlap, their mean. The weights rise
    /// from next to nothing at a window's ends like sin², so that the result has neither steps nor kinks, and what a
    /// window says of its first bins counts only where no other says anything.
    ///
    /// `merge(cut(x))` is `x`, to the bit.
    ///
    /// # Shapes
    /// `windows`: `[window, time, neuron]` or any last axis; result: `[time, neuron]`.
    /// # Errors
    /// [`Problem::Disagree`] for another number of windows or of bins in them.
    pub fn merge(&self, windows: ArrayView3<'_, f32>) -> Result<Array2<f32>, DataError> {
        let n_columns = windows.shape()[2];
        let wanted = [self.starts.len(), self.length, n_columns];
        self.check("windows", windows.shape(), &wanted, "windows and bins")?;
        let mut merged = Array2::zeros((self.n_bins, n_columns));
        let mut total = vec![0.0; self.n_bins];
        for (window, &start) in windows.outer_iter().zip(&self.starts) {
            for (bin, values) in window.outer_iter().enumerate() {
                let weight = self.weight(bin);
                total[start + bin] += weight;
                let share = weight / total[start + bin];
                Zip::from(merged.row_mut(start + bin))
                    .and(values)
                    .for_each(|mean, &value| *mean = blend(*mean, value, share));
            }
        }
        Ok(merged)
    }

    /// sin² from either end to a plateau beyond the overlap.
    fn weight(&self, bin: usize) -> f64 {
        let from_end = (bin + 1).min(self.length - bin) as f64;
        let phase = (from_end / (self.overlap + 1) as f64).min(1.0);
        (FRAC_PI_2 * phase).sin().powi(2)
    }

    fn check(
        &self,
        a: &str,
        found: &[usize],
        wanted: &[usize],
        axis: &'static str,
    ) -> Result<(), DataError> {
        if found == wanted {
            return Ok(());
        }
        Err(Problem::Disagree {
            a: a.to_owned(),
            a_shape: found.to_vec(),
            b: format!("windows over {} bins", self.n_bins),
            b_shape: wanted.to_vec(),
            axis,
        }
        .into())
    }
}

/// Moves a running mean by `share` of the way: equal values stay as they are to the bit.
fn blend(mean: f32, value: f32, share: f64) -> f32 {
    if share >= 1.0 {
        return value;
    }
    (f64::from(mean) + (f64::from(value) - f64::from(mean)) * share) as f32
}

//! What a program that extracts cells, suite2p, would leave of a simulated population.

use data::Suite2pFolder;
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check, check_not_negative, check_positive};
use crate::seed::{Draws, RootSeed, Stream};

/// Mean and SD of what is in regions that are no cells.
const NO_CELL: [f64; 2] = [100.0, 20.0];

/// How fluorescence above rest becomes raw units with neuropil, bleaching and regions that are no
/// cells.
///
/// F = rest · bleaching(t) · (1 + `spike_dff` · fluorescence) + `neuropil_share` · neuropil; NaN while the
/// plane moves.
///
/// # Example
/// ```
/// use ndarray::Array2;
/// use synth::Extraction;
///
/// let fluor = Array2::from_shape_fn((300, 20), |(t, n)| f64::from(u8::from(t % 50 == n)));
/// let folder = Extraction::default().extract(fluor.mapv(|x| x as f32).view(), 1.0 / 30.0, 1)?;
/// assert_eq!(folder.fluorescence.dim(), (22, 300));
/// assert_eq!(folder.cell_probability.iter().filter(|&&p| p > 0.5).count(), 20);
/// # Ok::<(), synth::SynthError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extraction {
    /// Least and greatest resting fluorescence of a neuron, camera units.
    pub rest: [f64; 2],
    /// Rise of the resting fluorescence for one unit of the simulated one.
    pub spike_dff: f64,
    /// Share of the resting fluorescence that is lost from the first frame to the last.
    pub bleached: f64,
    /// Share of the neuropil in a region's fluorescence; suite2p takes off 0.7.
    pub neuropil_share: f64,
    /// Mean of the neuropil, camera units.
    pub neuropil: f64,
    /// SD of what all regions' neuropil shares, camera units; each region has half to one and a
    /// half times it.
    pub neuropil_sd: f64,
    /// How long the neuropil stays as it is, seconds.
    pub neuropil_tau_s: f64,
    /// Regions that are no cells, for each neuron; rounded up.
    pub rejected: f64,
    /// Share of the frames that motion leaves without data, in stretches.
    pub moved: f64,
    /// Mean length of such a stretch, seconds; lengths are exponential.
    pub movement_s: f64,
}

impl Default for Extraction {
    /// A spike is a fifth of the resting fluorescence; a tenth bleaches; one region in eleven is no
    /// cell; nothing moves.
    fn default() -> Self {
        Self {
            rest: [300.0, 900.0],
            spike_dff: 0.2,
            bleached: 0.1,
            neuropil_share: 0.7,
            neuropil: 200.0,
            neuropil_sd: 25.0,
            neuropil_tau_s: 2.0,
            rejected: 0.1,
            moved: 0.0,
            movement_s: 0.5,
        }
    }
}

impl Extraction {
    /// The folder of these neurons, the same bits everywhere.
    ///
    /// # Shapes
    /// `fluor`: `[time, neuron]`; in the folder `[roi, time]`, neurons first.
    /// # Units
    /// `fluor`: spikes above rest; `dt_s`: seconds.
    /// # Errors
    /// [`SynthError::BadField`].
    pub fn extract(
        &self,
        fluor: ArrayView2<'_, f32>,
        dt_s: f64,
        seed: u64,
    ) -> Result<Suite2pFolder, SynthError> {
        self.validate()?;
        check_positive("dt_s", dt_s)?;
        let root = RootSeed(seed);
        let (n_frames, n_neurons) = fluor.dim();
        let n_regions = n_neurons + (self.rejected * n_neurons as f64).ceil() as usize;
        let neuropil = self.neuropil(root, [n_regions, n_frames], dt_s);
        let mut fluorescence = Array2::zeros((n_regions, n_frames));
        for (region, mut trace) in fluorescence.outer_iter_mut().enumerate() {
            let mut draws = root.draws(Stream::Region, region);
            if region < n_neurons {
                let rest = self.rest[0] + (self.rest[1] - self.rest[0]) * draws.uniform();
                for (frame, (to, &x)) in trace.iter_mut().zip(fluor.column(region)).enumerate() {
                    let left = 1.0 - self.bleached * frame as f64 / n_frames as f64;
                    *to = rest * left * (1.0 + self.spike_dff * f64::from(x));
                }
            } else {
                let [mean, sd] = NO_CELL;
                trace.mapv_inplace(|_| mean + sd * draws.normal());
            }
        }
        fluorescence.scaled_add(self.neuropil_share, &neuropil);
        for frame in self.moving(root, n_frames, dt_s) {
            fluorescence.column_mut(frame).fill(f64::NAN);
        }
        let mut draws = root.draws(Stream::CellProbability, 0);
        let cell_probability = (0..n_regions).map(|region| {
            let doubt = 0.45 * draws.uniform();
            (if region < n_neurons {
                1.0 - doubt
            } else {
                doubt
            }) as f32
        });
        Ok(Suite2pFolder {
            cell_probability: cell_probability.collect(),
            fluorescence: fluorescence.mapv(|x| x as f32),
            neuropil: neuropil.mapv(|x| x as f32),
            rate_hz: 1.0 / dt_s,
        })
    }

    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        let [least, greatest] = self.rest;
        check(
            0.0 < least && least <= greatest && greatest.is_finite(),
            "rest",
            self.rest,
            "two positive numbers, the least and the greatest",
        )?;
        check_positive("spike_dff", self.spike_dff)?;
        check(
            (0.0..1.0).contains(&self.bleached),
            "bleached",
            self.bleached,
            "from 0 to below 1",
        )?;
        check_not_negative("neuropil_share", self.neuropil_share)?;
        check_not_negative("neuropil", self.neuropil)?;
        check_not_negative("neuropil_sd", self.neuropil_sd)?;
        check_positive("neuropil_tau_s", self.neuropil_tau_s)?;
        check(
            (0.0..=0.5).contains(&self.moved),
            "moved",
            self.moved,
            "from 0 to 0.5",
        )?;
        check_positive("movement_s", self.movement_s)?;
        check(
            (0.0..=10.0).contains(&self.rejected),
            "rejected",
            self.rejected,
            "from 0 to 10",
        )
    }

    /// Frames that show nothing: the plane moves with such a chance, and stops with such a one, that a
    /// share `moved` of all is lost.
    fn moving(&self, root: RootSeed, n_frames: usize, dt_s: f64) -> Vec<usize> {
        let mut draws = root.draws(Stream::Movement, 0);
        let stops = 1.0 - libm::exp(-dt_s / self.movement_s);
        let starts = stops * self.moved / (1.0 - self.moved);
        let mut moves = false;
        (0..n_frames)
            .filter(|_| {
                let chance = if moves { 1.0 - stops } else { starts };
                moves = draws.uniform() < chance;
                moves
            })
            .collect()
    }

    /// Slow fluctuations that all regions share, `[roi, time]`.
    fn neuropil(
        &self,
        root: RootSeed,
        [n_regions, n_frames]: [usize; 2],
        dt_s: f64,
    ) -> Array2<f64> {
        let mut draws = root.draws(Stream::Neuropil, 0);
        let g = libm::exp(-dt_s / self.neuropil_tau_s);
        let step = libm::sqrt(1.0 - g * g);
        let mut state = draws.normal();
        let mut next = |draws: &mut Draws| {
            state = g * state + step * draws.normal();
            state
        };
        let shared: Vec<f64> = (0..n_frames).map(|_| next(&mut draws)).collect();
        let mut neuropil = Array2::zeros((n_regions, n_frames));
        for mut trace in neuropil.axis_iter_mut(Axis(0)) {
            let share = 0.5 + draws.uniform();
            for (to, shared) in trace.iter_mut().zip(&shared) {
                *to = self.neuropil + self.neuropil_sd * share * shared;
            }
        }
        neuropil
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suite2p_subtracts_leaves_the_neurons() {
        let fluor = Array2::from_shape_fn((2000, 5), |(t, n)| f32::from((t + 7 * n) % 40 == 0));
        let extraction = Extraction {
            bleached: 0.0,
            ..Extraction::default()
        };
        let folder = extraction.extract(fluor.view(), 0.03, 3).unwrap();
        assert_eq!(folder, extraction.extract(fluor.view(), 0.03, 3).unwrap());
        for neuron in 0..5 {
            let cell = &folder.fluorescence.row(neuron) - &(&folder.neuropil.row(neuron) * 0.7);
            let rest = cell[1];
            assert!((300.0..900.0).contains(&rest), "{rest}");
            for (x, f) in fluor.column(neuron).iter().zip(&cell) {
                assert!((f - rest * (1.0 + 0.2 * x)).abs() < 1e-3 * rest);
            }
        }
        let spread = folder.neuropil.row(0).std(0.0) / folder.neuropil.row(1).std(0.0);
        assert!((1.0 / 3.0..3.0).contains(&spread), "{spread}");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let fluor = Array2::zeros((3, 2));
        let said = |change: fn(&mut Extraction)| {
            let mut extraction = Extraction::default();
            change(&mut extraction);
            extraction
                .extract(fluor.view(), 0.1, 1)
                .unwrap_err()
                .to_string()
        };
        assert!(said(|e| e.rest = [2.0, 1.0]).starts_with("`rest` is [2.0, 1.0]"));
        assert!(said(|e| e.bleached = 1.0).starts_with("`bleached` is 1.0"));
        assert!(said(|e| e.neuropil_tau_s = 0.0).starts_with("`neuropil_tau_s` is 0.0"));
    }
}

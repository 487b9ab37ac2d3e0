//! Small recordings for unit tests.

use calcium::Discretisation;
use data::{AxisOrder, Options, Recording, Units};
use model::{Inferred, ModelError, NeuronCalcium, SearchConfig};
use ndarray::{Array3, ArrayD, ArrayView3};
use zoo::Posterior;

use crate::calibration::Calibration;

/// Values `[time, neuron]` or `[trial, time, neuron]` at 10 frames a second, as they are read from a file.
pub(crate) fn recording(values: ArrayD<f32>, units: Units) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    data::write_npy(&path, values.view()).unwrap();
    let order = if values.ndim() == 3 {
        AxisOrder::TrialTimeNeuron
    } else {
        AxisOrder::TimeNeuron
    };
    let options = Options {
        order: Some(order),
        rate_hz: Some(10.0),
        units: Some(units),
        ..Options::default()
    };
    Recording::open(&path, &options).unwrap()
}

/// One neuron at 5 whose spikes are 2 high and decay by `g` a frame.
pub(crate) fn calibration(g: f64) -> Calibration {
    Calibration {
        tau_s: -0.1 / g.ln(),
        tau_is_estimated: false,
        discretisation: Discretisation::Exact,
        g,
        rise_s: None,
        rise_is_estimated: false,
        rise: None,
        rolling_window_s: None,
        baseline: vec![5.0],
        spike_size: vec![2.0],
        uncalibrated: Vec::new(),
        noise_sd: vec![0.1],
        resting: vec![5.0],
        start_is_running: true,
    }
}

/// A model that makes these rates, Hz, of what it reads.
pub(crate) struct Rates<F>(pub F);

impl<F: Fn(ArrayView3<'_, f32>) -> Array3<f32> + Send> Posterior for Rates<F> {
    fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        _: usize,
        _: u64,
    ) -> Result<Inferred, ModelError> {
        let rates_hz = self.0(x);
        Ok(Inferred {
            factors: rates_hz.clone(),
            rates_hz,
            spikes: None,
            fluor: None,
            inputs: None,
        })
    }

    fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        _: usize,
        _: u64,
    ) -> Result<Array3<f32>, ModelError> {
        Ok(x.to_owned())
    }

    fn rate_coverage(
        &self,
        _: ArrayView3<'_, f32>,
        _: ArrayView3<'_, f32>,
        _: usize,
        _: u64,
        _: &[f64],
    ) -> Result<Vec<f64>, ModelError> {
        Ok(Vec::new())
    }

    fn set_search(&mut self, _: SearchConfig) {}

    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        None
    }
}

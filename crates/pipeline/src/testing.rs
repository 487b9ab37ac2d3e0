//! Small recordings for unit tests.

use calcium::Discretisation;
use data::{AxisOrder, Options, Recording, Units};
use ndarray::ArrayD;

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

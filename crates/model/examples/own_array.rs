//! LFADS on spike counts and the ladder on fluorescence, both `[trial, time, neuron]` arrays of
//! one's own: `cargo run --release -p model --example own_array`.

use model::{
    CalciumModel, CountLadderConfig, Device, Indicator, LfadsConfig, TrainConfig, TrainData,
    Training, posterior_mean,
};
use ndarray::Axis;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In place of one's own arrays: a Lorenz system seen through thirty neurons.
    let data = synth::LorenzBenchmark::default().simulate(1)?;
    let (train, valid, dt_s) = (data.train, data.valid, data.dt_s);
    let rates = valid.rates.ok_or("simulated")?;
    let counts = TrainData::new(
        train.spikes.ok_or("simulated")?,
        valid.spikes.ok_or("simulated")?,
    )?;
    let fluor = TrainData::new(
        train.fluor.ok_or("simulated")?,
        valid.fluor.ok_or("simulated")?,
    )?;
    let config = TrainConfig {
        n_steps: 500,
        ..TrainConfig::default()
    };
    let training = || Training::new(config.clone()).seed(1);
    let device = Device::flex();

    let by_neuron = counts.train().mean_axis(Axis(0)).ok_or("no trials")?;
    let by_neuron = by_neuron.mean_axis(Axis(0)).ok_or("no bins")?.to_vec();
    let lfads = LfadsConfig::default().init(&by_neuron, dt_s, 1, &device)?;
    let lfads = training().fit(lfads, &counts)?.model;
    let inferred = posterior_mean(&lfads, counts.valid(), 50, 1)?;
    let r2 = metrics::r2(inferred.rates_hz.view(), rates.view())?;
    println!("LFADS: held-out rates r² {r2:.3}");

    // Calcium that decays by a quarter in each bin, one unit for each spike.
    let indicator = Indicator {
        g: 0.75,
        gain: 1.0,
        baseline: 0.0,
    };
    let calcium = CalciumModel::shared(indicator, by_neuron.len());
    let statistics = calcium.measure(fluor.train());
    let ladder = CountLadderConfig::default().init(&statistics, &calcium, dt_s, 1, &device)?;
    let ladder = training().fit(ladder, &fluor)?.model;
    let inferred = posterior_mean(&ladder, fluor.valid(), 50, 1)?;
    let r2 = metrics::r2(inferred.rates_hz.view(), rates.view())?;
    println!("ladder LFADS: held-out rates r² {r2:.3}");
    Ok(())
}

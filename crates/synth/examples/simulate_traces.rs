//! Writes single traces with known spikes: `simulate_traces OUT.npz SEED N`.
//!
//! Trace i is `i.fluor` and `i.baseline`, `[time]`, with `i.spike_times_s` and
//! `i.truth`: dt, rise, decay (s), spike size, noise SD.

use std::time::Instant;

use ndarray::ArrayView1;
use synth::traces::TraceRecipe;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, seed, n] = args.as_slice() else {
        return Err("usage: simulate_traces OUT.npz SEED N".into());
    };
    let (seed, n): (u64, usize) = (seed.parse()?, n.parse()?);
    let recipe = TraceRecipe::default();
    let start = Instant::now();
    let traces = (0..n).map(|index| recipe.simulate(seed, index));
    let traces = traces.collect::<Result<Vec<_>, _>>()?;
    println!("{n} traces in {:.2} s", start.elapsed().as_secs_f64());
    let mut arrays = Vec::new();
    for (i, trace) in traces.iter().enumerate() {
        let times = trace.spike_times_s.iter().map(|&t| t as f32).collect();
        let truth = [
            trace.dt_s,
            trace.rise_s,
            trace.decay_s,
            trace.spike_size,
            trace.noise_sd,
        ];
        let truth = truth.map(|v| v as f32).to_vec();
        arrays.push((format!("{i}.fluor"), trace.fluor.clone()));
        arrays.push((format!("{i}.baseline"), trace.baseline.clone()));
        arrays.push((format!("{i}.spike_times_s"), times));
        arrays.push((format!("{i}.truth"), truth));
    }
    let views = arrays.iter().map(|(name, values): &(String, Vec<f32>)| {
        (name.as_str(), ArrayView1::from(values).into_dyn())
    });
    data::write_npz(path.as_ref(), &views.collect::<Vec<_>>())?;
    Ok(())
}

//! Deconvolves a recording of any size in bounded memory.
//!
//! OUT is HDF5, or .npz if it ends so:
//! `cargo run --release -p calcium --example stream IN OUT RATE_HZ TAU_S`

use std::error::Error;
use std::path::Path;

use calcium::oasis::Ar1Problem;
use calcium::{Ar1, Discretisation};
use data::{Arrays, Options, TraceBlocks, TraceStream};

/// Samples in memory at once, times two for the block being read and three for its results.
const SAMPLES_PER_BLOCK: usize = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, rate_hz, tau_s] = &arguments[..] else {
        return Err("usage: stream IN OUT RATE_HZ TAU_S".into());
    };
    let options = Options {
        rate_hz: Some(rate_hz.parse()?),
        ..Options::default()
    };
    let open = |per_block| TraceBlocks::open(Path::new(input), &options, per_block);
    let whole = "this format is read whole; store the traces as .npy or HDF5";
    let n_bins = open(1)?.ok_or(whole)?.n_bins();
    let blocks = open((SAMPLES_PER_BLOCK / n_bins).max(1))?.ok_or(whole)?;

    let ar = Ar1::from_tau(tau_s.parse()?, blocks.dt_s(), Discretisation::Exact)?;
    let shape = [n_bins, blocks.n_neurons()];
    let arrays = [("spikes", ""), ("calcium", "")];
    let mut out = TraceStream::create(Path::new(output), &arrays, shape)?;
    let (mut calcium, mut spikes) = (Vec::new(), Vec::new());
    for block in blocks {
        let traces = block?.traces;
        let samples = traces.as_slice().ok_or("a block is contiguous")?;
        calcium.resize(samples.len(), 0.0);
        spikes.resize(samples.len(), 0.0);
        let problem = Ar1Problem::new(ar);
        problem.deconvolve_many_into(samples, n_bins, &mut calcium, &mut spikes)?;
        for (spikes, calcium) in spikes.chunks(n_bins).zip(calcium.chunks(n_bins)) {
            out.append(0, spikes)?;
            out.append(1, calcium)?;
        }
    }
    out.finish(&Arrays::default())?;
    Ok(())
}

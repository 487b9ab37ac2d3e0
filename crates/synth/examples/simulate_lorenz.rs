//! Simulates the default Lorenz benchmark: `simulate_lorenz OUT.h5 SEED`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, seed] = &arguments[..] else {
        return Err("usage: simulate_lorenz OUT.h5 SEED".into());
    };
    let seed = seed.parse().map_err(|e| format!("seed {seed:?}: {e}"))?;
    synth::LorenzBenchmark::default()
        .simulate(seed)?
        .write(Path::new(path))?;
    Ok(())
}

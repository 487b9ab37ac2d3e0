//! Fills `corpus/` from a run folder of model `lfads`: `cargo run --example seeds -- RUN`.

use std::path::Path;

use pipeline_fuzz::{DIGEST, FILES};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = std::env::args_os().nth(1).ok_or("which run folder?")?;
    let (run, fuzz) = (Path::new(&run), Path::new(env!("CARGO_MANIFEST_DIR")));
    let files: Vec<Vec<u8>> = FILES
        .iter()
        .map(|name| std::fs::read(run.join(name)))
        .collect::<Result<_, _>>()?;
    let mut checkpoint = std::fs::read(run.join("checkpoint/last.ckpt"))?;
    checkpoint.truncate(checkpoint.len() - DIGEST);
    for (target, seed) in [
        ("run_folder", files.join(&0)),
        ("checkpoint", checkpoint),
    ] {
        let corpus = fuzz.join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        std::fs::write(corpus.join("written"), seed)?;
    }
    Ok(())
}

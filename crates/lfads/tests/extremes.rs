//! Nothing runs for ever: every command on recordings at the ends of what there is, within a time limit.

mod common;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Lfads;
use ndarray::Array2;

/// On a machine with other work to do; each takes a second alone.
const LIMIT: Duration = Duration::from_secs(90);

fn random(state: &mut u32) -> f32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) as f32 / (1 << 24) as f32
}

/// Two neurons that spike in a share of the frames, decay by `g` a frame and are multiplied by `size`.
fn traces(n_frames: usize, share: f32, g: f32, size: f32) -> Array2<f32> {
    let (mut state, mut calcium) = (3, [0.0; 2]);
    Array2::from_shape_fn((n_frames, 2), |(_, n)| {
        let spikes = f32::from(u8::from(random(&mut state) < share));
        calcium[n] = g * calcium[n] + spikes;
        size * (5.0 + calcium[n] + 0.3 * (random(&mut state) - 0.5))
    })
}

fn ends(mut child: Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn every_command_ends_whatever_the_recording() {
    let lfads = Lfads::new();
    let mut gap = traces(4000, 0.02, 0.9, 1.0);
    gap.slice_mut(ndarray::s![20..3960, ..]).fill(f32::NAN);
    let mut outlier = traces(600, 0.05, 0.9, 1.0);
    outlier[[300, 1]] = 1e15;
    // A name, the traces, frames per second, the decay time.
    let recordings = [
        ("dense", traces(800, 1.0, 0.9, 1.0), "30", "0.5"),
        ("huge", traces(800, 0.05, 0.9, 1e12), "30", "0.5"),
        ("tiny", traces(800, 0.05, 0.9, 1e-12), "30", "0.5"),
        ("gap", gap, "30", "0.5"),
        ("outlier", outlier, "30", "0.5"),
        ("fast", traces(3000, 0.001, 0.9999, 1.0), "10000", "100"),
        ("slow", traces(300, 0.9, 0.0, 1.0), "0.01", "0.001"),
        ("short", traces(9, 0.2, 0.5, 1.0), "30", "0.5"),
    ];
    let mut failures = Vec::new();
    for (name, traces, rate, tau) in recordings {
        data::write_npy(&lfads.path(&format!("{name}.npy")), traces.view()).unwrap();
        let read = format!("{name}.npy --rate {rate} --units f");
        for line in [
            format!("inspect {read} --typical-tau {tau}"),
            format!("deconvolve {read} -o out.h5"),
            format!("deconvolve {read} -o out.h5 --tau {tau} --noise-constrained --fit-tau"),
            format!("deconvolve {read} -o out.h5 --method posterior --tau {tau}"),
            format!("fit {read} -o {name} -c tiny.toml --steps 2 --tau {tau}"),
            format!("fit {read} -o {name}2 -c tiny.toml --steps 2 -m oasis-lfads"),
        ] {
            let mut command = lfads.command(&line);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let code = ends(child.unwrap());
            if !matches!(code, Some(0 | 2)) {
                failures.push(format!("lfads {line}: {code:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

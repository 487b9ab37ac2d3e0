//! The spike network on traces whose spikes are known.

mod uniform;

use calcium::network::grid::MAX_CHUNK;
use calcium::network::layers::{Architecture, Layers};
use calcium::network::{NetworkSpikes, SpikeNetwork, WEIGHTS, from_bytes, to_bytes};
use calcium::{Ar1, CalciumError, Discretisation};
use uniform::Uniform;

const RATE_HZ: f64 = 30.0;
const NOISE: f64 = 0.2;

/// Noisy fluorescence of spikes of size 1 that come at 1 Hz and decay in half a second.
fn simulate(n: usize, rate_hz: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut uniform = Uniform(seed);
    let spikes: Vec<f64> = (0..n)
        .map(|_| f64::from(u8::from(uniform.next() < 1.0 / rate_hz)))
        .collect();
    let calcium = Ar1::from_tau(0.5, 1.0 / rate_hz, Discretisation::Exact)
        .unwrap()
        .convolve(&spikes);
    let trace = calcium
        .iter()
        .map(|c| c + NOISE * uniform.normal())
        .collect();
    (trace, spikes)
}

fn infer(trace: &[f64], rate_hz: f64) -> NetworkSpikes {
    SpikeNetwork::bundled().infer(trace, rate_hz).unwrap()
}

/// Spikes per second.
fn seconds(frames: impl Iterator<Item = f64>, rate_hz: f64) -> Vec<f64> {
    let frames: Vec<f64> = frames.collect();
    let second = rate_hz as usize;
    frames
        .chunks_exact(second)
        .map(|frames| frames.iter().sum())
        .collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let dot = |x: &[f64], y: &[f64], mx: f64, my: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum()
    };
    dot(a, b, mean_a, mean_b) / (dot(a, a, mean_a, mean_a) * dot(b, b, mean_b, mean_b)).sqrt()
}

#[test]
fn spikes_are_found_and_counted_at_any_frame_rate() {
    for rate_hz in [10.0, 30.0, 47.0, 100.0] {
        let (trace, spikes) = simulate(120 * rate_hz as usize, rate_hz, 3);
        let found = infer(&trace, rate_hz);
        assert_eq!(found.expected.len(), trace.len());
        let expected = seconds(found.expected.iter().map(|&x| x.into()), rate_hz);
        let truth = seconds(spikes.iter().copied(), rate_hz);
        let r = correlation(&expected, &truth);
        assert!(r > 0.85, "{rate_hz} Hz: {r}");
        let ratio = expected.iter().sum::<f64>() / truth.iter().sum::<f64>();
        assert!((0.4..2.5).contains(&ratio), "{rate_hz} Hz: {ratio}");
    }
}

#[test]
fn the_neuron_is_measured() {
    let (trace, _) = simulate(3600, RATE_HZ, 5);
    let neuron = infer(&trace, RATE_HZ).neuron.unwrap();
    for (name, found, truth) in [
        ("decay", neuron.decay_s, 0.5),
        ("spike size", neuron.spike_size, 1.0),
    ] {
        let off = (found.median / truth).ln().abs();
        assert!(
            off < 3.0 * found.log_sd && found.log_sd < 1.3,
            "{name}: {found:?}"
        );
    }
    // Frames a few apart differ by what decays between them, too.
    assert!(
        (0.9..1.5).contains(&(neuron.noise_sd / NOISE)),
        "{neuron:?}"
    );
    assert!(neuron.rise_s.median < 0.1, "{neuron:?}");
}

#[test]
fn unit_and_offset_do_not_matter() {
    let (trace, _) = simulate(1800, RATE_HZ, 7);
    let scaled: Vec<f64> = trace.iter().map(|y| 250.0 * y + 4000.0).collect();
    let (a, b) = (infer(&trace, RATE_HZ), infer(&scaled, RATE_HZ));
    for (a, b) in a.expected.iter().zip(&b.expected) {
        assert!((a - b).abs() < 1e-3 * (1.0 + a), "{a}, {b}");
    }
    let sizes = [a, b].map(|found| found.neuron.unwrap().spike_size.median);
    assert!((sizes[1] / sizes[0] / 250.0 - 1.0).abs() < 0.01);
}

#[test]
fn frames_without_data_are_marked_and_cost_no_others() {
    let (mut trace, spikes) = simulate(1800, RATE_HZ, 9);
    trace[600..660].fill(f64::NAN);
    let found = infer(&trace, RATE_HZ);
    for (frame, expected) in found.expected.iter().enumerate() {
        assert_eq!(expected.is_nan(), (600..660).contains(&frame), "{frame}");
        assert_eq!(expected.is_nan(), found.variance[frame].is_nan());
    }
    let known = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        let every: Vec<f64> = values.collect();
        [&every[..600], &every[660..]].concat()
    };
    let expected = known(&mut found.expected.iter().map(|&x| x.into()));
    let truth = known(&mut spikes.iter().copied());
    let per_second = [expected, truth].map(|x| seconds(x.into_iter(), RATE_HZ));
    assert!(correlation(&per_second[0], &per_second[1]) > 0.85);
}

#[test]
fn traces_that_hold_nothing_have_no_spikes() {
    for value in [0.0, 5.0] {
        let found = infer(&vec![value; 300], RATE_HZ);
        assert!(found.expected.iter().all(|&x| x == 0.0) && found.neuron.is_none());
    }
    let found = infer(&vec![f64::NAN; 300], RATE_HZ);
    assert!(found.expected.iter().all(|x| x.is_nan()) && found.neuron.is_none());
}

/// Chunks differ in their context a little; where they meet nothing is lost or counted twice.
#[test]
fn long_traces_are_inferred_as_short_ones_are() {
    let n = 2 * MAX_CHUNK + 1000;
    let (trace, _) = simulate(n, RATE_HZ, 11);
    let long = infer(&trace, RATE_HZ).expected;
    for first in [0, 4000, n - 3000] {
        let alone = infer(&trace[first..first + 3000], RATE_HZ).expected;
        let sum = |values: &[f32]| values[300..2700].iter().map(|&x| f64::from(x)).sum::<f64>();
        let ratio = sum(&alone) / sum(&long[first..first + 3000]);
        assert!((0.75..1.33).contains(&ratio), "{first}: {ratio}");
    }
}

#[test]
fn many_traces_are_each_inferred_alone_on_any_number_of_threads() {
    let traces: Vec<f64> = (0..3)
        .flat_map(|seed| simulate(700, RATE_HZ, seed).0)
        .collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let infer = || SpikeNetwork::bundled().infer_many(&traces, 700, RATE_HZ);
        pool.unwrap().install(infer).unwrap()
    };
    let many = run(2);
    assert_eq!(many, run(1));
    for (index, found) in many.iter().enumerate() {
        assert_eq!(
            *found,
            infer(&traces[index * 700..(index + 1) * 700], RATE_HZ)
        );
    }
}

#[test]
fn bad_arguments_are_refused() {
    let network = SpikeNetwork::bundled();
    let empty: [f64; 0] = [];
    assert_eq!(network.infer(&empty, 30.0), Err(CalciumError::EmptyTrace));
    let rate = network.infer(&[1.0_f64, 2.0], -3.0).unwrap_err();
    assert!(rate.to_string().contains("rate_hz = -3"), "{rate}");
    let infinite = network.infer(&[1.0, f64::INFINITY], 30.0).unwrap_err();
    assert!(infinite.to_string().contains("frame 1"), "{infinite}");
    let many = network.infer_many(&[1.0, 2.0, 3.0, f64::NEG_INFINITY], 2, 30.0);
    assert!(many.unwrap_err().to_string().starts_with("trace 1:"));
    let ragged = network.infer_many(&[1.0_f64; 5], 2, 30.0);
    assert!(matches!(ragged, Err(CalciumError::NotWholeTraces { .. })));
}

#[test]
fn weights_are_written_as_they_are_read() {
    let members = from_bytes(WEIGHTS).unwrap();
    let again = from_bytes(&to_bytes(&members).unwrap()).unwrap();
    assert_eq!(members.len(), again.len());
    for (layers, again) in members.iter().zip(&again) {
        assert_eq!(layers.architecture(), again.architecture());
        assert_eq!(layers.parameters, again.parameters);
    }
}

#[test]
fn what_is_no_network_is_refused() {
    assert!(from_bytes(b"not weights").is_err());
    assert!(from_bytes(&WEIGHTS[..WEIGHTS.len() - 4]).is_err());
    let mut layers = Layers::zeros(Architecture {
        width: 4,
        input_taps: 3,
        block_taps: 3,
        output_taps: 3,
        dilations: vec![1, 2],
    });
    layers.parameters.fill(0.5);
    let bytes = to_bytes(&[layers]).unwrap();
    let text = |from: &str, to: &str| {
        let at = bytes
            .windows(from.len())
            .position(|part| part == from.as_bytes())
            .unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        from_bytes(&changed).unwrap_err().to_string()
    };
    assert!(text("dilations", "delations").contains("dilations"));
    assert!(text("block.1.mix_bias", "block.1.mix_bios").contains("block.1.mix_bias"));
    assert!(text("\"F16\"", "\"I16\"").contains("in I16"));
}

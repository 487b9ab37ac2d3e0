//! Forward and backward kernels at the sizes of the two models, on each instruction set.
#![allow(missing_docs)]

use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use gru::kernels::{
    AffineShape, GaussianSlices, GruShape, GruSlices, GruSpec, Isa, Offset, PoissonSlices, Readout,
    ResetGate, SpikeLoopShape, SpikeLoopSlices, SpikeLoopUpstream, Upstream, affine,
    affine_gradient, ar1_filter, ar1_filter_gradient, backward, box_muller, forward,
    gaussian_gradient, gaussian_log_likelihood, poisson_gradient_counts,
    poisson_gradient_log_rates, poisson_log_likelihood, spike_loop, spike_loop_gradient,
};

const BINS: usize = 100;
const TRIALS: usize = 65;
const NEURONS: usize = 30;

fn values(n: usize, scale: f32) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * scale)
        .collect()
}

fn shape(n_inputs: usize, hidden: usize, n_directions: usize) -> GruShape {
    GruShape {
        n_bins: BINS,
        n_trials: TRIALS,
        n_inputs,
        hidden,
        n_directions,
    }
}

/// Counts of which nine in ten are zero.
fn counts(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| f32::from(u8::from(i * 7919 % 1009 > 908)))
        .collect()
}

/// One recurrent unit; the gradient of its inputs is computed where they come from a layer.
fn gru(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    shape: GruShape,
    x: &[f32],
    with_x: bool,
) {
    let GruShape {
        n_bins,
        n_trials,
        n_inputs,
        hidden,
        n_directions,
    } = shape;
    let spec = GruSpec {
        reset: ResetGate::BeforeProduct,
        clip: Some(5.0),
    };
    let h0 = values(n_directions * n_trials * hidden, 0.5);
    let w_in = values(n_directions * n_inputs * 3 * hidden, 0.2);
    let w_rec = values(n_directions * hidden * 3 * hidden, 0.2);
    let bias = values(n_directions * 3 * hidden, 0.2);
    let weights = GruSlices {
        w_in: &w_in,
        w_rec: &w_rec,
        b_in: &bias,
        b_rec: &bias,
    };
    let upstream = values(n_bins * n_trials * n_directions * hidden, 1.0);
    for isa in Isa::available() {
        group.bench_function(format!("{name} {isa:?} forward"), |bencher| {
            bencher.iter(|| forward(isa, shape, spec, x, &h0, weights, true));
        });
        let trace = forward(isa, shape, spec, x, &h0, weights, true);
        group.bench_function(format!("{name} {isa:?} backward"), |bencher| {
            let upstream = Upstream {
                states: Some(&upstream),
                ..Upstream::default()
            };
            bencher.iter(|| backward(isa, &trace, x, weights, upstream, with_x));
        });
    }
}

/// From the generator's states, with dropout, to the factors.
fn readout(group: &mut BenchmarkGroup<'_, WallTime>) {
    const FACTORS: usize = 3;
    let (shape, isa) = (shape(0, 64, 1), Isa::best());
    let spec = GruSpec {
        reset: ResetGate::BeforeProduct,
        clip: Some(5.0),
    };
    let (h0, w_rec) = (values(TRIALS * 64, 0.5), values(64 * 192, 0.2));
    let bias = values(192, 0.2);
    let weights = GruSlices {
        w_in: &[],
        w_rec: &w_rec,
        b_in: &bias,
        b_rec: &bias,
    };
    let trace = forward(isa, shape, spec, &[], &h0, weights, true);
    let scale = values(BINS * TRIALS * 64, 1.0);
    let (w, dy) = (
        values(64 * FACTORS, 0.3),
        values(BINS * TRIALS * FACTORS, 1.0),
    );
    let readout = Readout {
        scale: Some(&scale),
        w: &w,
    };
    group.bench_function("readout forward", |bencher| {
        bencher.iter(|| trace.readout(isa, readout));
    });
    group.bench_function("readout backward to the weights", |bencher| {
        bencher.iter(|| trace.readout_gradient(isa, readout, &dy));
    });
}

fn shallow(group: &mut BenchmarkGroup<'_, WallTime>) {
    let latent = 100;
    let shape = SpikeLoopShape {
        n_bins: BINS,
        n_trials: TRIALS,
        latent,
        n_neurons: NEURONS,
    };
    let rows = BINS * TRIALS;
    let (drive, spike_drive) = (values(rows * 2 * latent, 0.5), values(rows * NEURONS, 0.5));
    let (initial_spikes, noise) = (vec![0.0; TRIALS * NEURONS], values(rows * latent, 1.0));
    let (w_feedback, w_spike) = (
        values(NEURONS * 2 * latent, 0.02),
        values(latent * NEURONS, 0.1),
    );
    let slices = SpikeLoopSlices {
        drive: &drive,
        spike_drive: &spike_drive,
        initial_spikes: &initial_spikes,
        w_feedback: &w_feedback,
        w_spike: &w_spike,
        noise: &noise,
        prior: &vec![0.0; 2 * latent],
        max_log: 3.0,
    };
    let isa = Isa::best();
    let output = spike_loop(isa, shape, slices);
    group.bench_function("spike loop forward", |bencher| {
        bencher.iter(|| spike_loop(isa, shape, slices));
    });
    group.bench_function("spike loop backward", |bencher| {
        let (spikes, trace) = (&output.spikes, &output.trace);
        let upstream = SpikeLoopUpstream { spikes, kl: 1.0 };
        bencher.iter(|| spike_loop_gradient(isa, shape, slices, spikes, trace, upstream));
    });
}

/// The map from the ladder's controller to its posterior.
fn posterior_map(group: &mut BenchmarkGroup<'_, WallTime>) {
    let shape = AffineShape {
        n_rows: BINS * TRIALS,
        n_inputs: 128,
        n_outputs: 200,
    };
    let (x, w) = (values(shape.n_rows * 128, 1.0), values(128 * 200, 0.1));
    let (row, dy) = (values(200, 1.0), values(shape.n_rows * 200, 1.0));
    let isa = Isa::best();
    group.bench_function("posterior map forward", |bencher| {
        bencher.iter(|| affine(isa, shape, &x, &w, Offset::Row(&row)));
    });
    group.bench_function("posterior map backward", |bencher| {
        bencher.iter(|| affine_gradient(isa, shape, &x, &w, &dy, true));
    });
}

fn elementwise(group: &mut BenchmarkGroup<'_, WallTime>) {
    let n = BINS * TRIALS * NEURONS;
    let (log_rates, upstream) = (values(n, 1.0), values(n, 1.0));
    let counts: Vec<f32> = values(n, 3.0).into_iter().map(f32::abs).collect();
    let mut out = vec![0.0; n];
    let isa = Isa::best();
    let poisson = PoissonSlices {
        log_rates: &log_rates,
        counts: &counts,
        weights: &[1.0],
        log_exposure: 0.0,
        with_factorials: true,
    };
    group.bench_function("poisson forward", |bencher| {
        bencher.iter(|| poisson_log_likelihood(isa, poisson));
    });
    group.bench_function("poisson backward to the log-rates", |bencher| {
        bencher.iter(|| poisson_gradient_log_rates(isa, poisson, 1.0));
    });
    group.bench_function("poisson backward to the counts", |bencher| {
        bencher.iter(|| poisson_gradient_counts(isa, poisson, 1.0));
    });
    let gaussian = GaussianSlices {
        x: &counts,
        mean: &log_rates,
        log_sd: &[-1.0; NEURONS],
    };
    group.bench_function("gaussian forward", |bencher| {
        bencher.iter(|| gaussian_log_likelihood(isa, gaussian));
    });
    group.bench_function("gaussian backward", |bencher| {
        bencher.iter(|| gaussian_gradient(isa, gaussian, 1.0));
    });
    let mut normal = vec![0.3; n];
    group.bench_function("uniform to normal numbers", |bencher| {
        bencher.iter(|| {
            normal.fill(0.3);
            box_muller(isa, &mut normal);
        });
    });
    let (g, mut initial) = ([0.75; NEURONS], vec![0.0; TRIALS * NEURONS]);
    group.bench_function("AR(1) forward", |bencher| {
        bencher.iter(|| ar1_filter(&counts, &initial, &g, &mut out));
    });
    group.bench_function("AR(1) backward", |bencher| {
        bencher.iter(|| ar1_filter_gradient(&upstream, &g, &mut out, &mut initial));
    });
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernels");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    let inputs = |n_inputs: usize| values(BINS * TRIALS * n_inputs, 1.0);
    let (fluor, spikes) = (inputs(NEURONS), counts(BINS * TRIALS * NEURONS));
    let encoder = shape(NEURONS, 64, 2);
    gru(&mut group, "encoder", encoder, &fluor, false);
    gru(&mut group, "encoder of counts", encoder, &spikes, false);
    gru(&mut group, "generator", shape(0, 64, 1), &[], false);
    readout(&mut group);
    let (encoder, controller) = (shape(NEURONS, 128, 2), shape(256, 128, 1));
    gru(&mut group, "ladder encoder", encoder, &fluor, false);
    gru(
        &mut group,
        "ladder controller",
        controller,
        &inputs(256),
        true,
    );
    posterior_map(&mut group);
    shallow(&mut group);
    elementwise(&mut group);
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);

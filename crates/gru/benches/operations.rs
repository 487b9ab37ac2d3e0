//! One forward and backward pass through burn: the fused operations against the plain ones.
#![allow(missing_docs)]

use std::time::Duration;

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use gru::{ControlledArguments, GruSpec, GruWeights, ResetGate, SpikeLoopArguments, plain};

const BINS: usize = 100;
const TRIALS: usize = 65;
const NEURONS: usize = 30;
const FACTORS: usize = 3;
const SPEC: GruSpec = GruSpec {
    reset: ResetGate::BeforeProduct,
    clip: Some(5.0),
};

fn random<const D: usize>(shape: [usize; D], scale: f64) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, scale), &device).require_grad()
}

fn weights(directions: usize, inputs: usize, hidden: usize) -> GruWeights {
    GruWeights {
        w_in: random([directions, inputs, 3 * hidden], 0.1),
        w_rec: random([directions, hidden, 3 * hidden], 0.1),
        b_in: random([directions, 3 * hidden], 0.1),
        b_rec: random([directions, 3 * hidden], 0.1),
    }
}

fn pair<const D: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    fused: impl Fn() -> Tensor<D>,
    plain: impl Fn() -> Tensor<D>,
) {
    group.bench_function(format!("{name} fused"), |bencher| {
        bencher.iter(|| fused().sum().backward());
    });
    group.bench_function(format!("{name} plain"), |bencher| {
        bencher.iter(|| plain().sum().backward());
    });
}

fn encoder(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, hidden: usize) {
    let weights = weights(2, NEURONS, hidden);
    let (x, h0) = (
        random([BINS, TRIALS, NEURONS], 1.0).detach(),
        random([2, TRIALS, hidden], 0.1),
    );
    pair(
        group,
        name,
        || gru::gru_sequence(x.clone(), h0.clone(), weights.clone(), SPEC, None),
        || plain::gru_sequence(x.clone(), h0.clone(), weights.clone(), SPEC, None),
    );
    pair(
        group,
        &format!("{name} final states"),
        || gru::gru_final_states(x.clone(), h0.clone(), weights.clone(), SPEC),
        || plain::gru_final_states(x.clone(), h0.clone(), weights.clone(), SPEC),
    );
}

fn generator(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (h0, w_rec) = (random([TRIALS, 64], 0.3), random([64, 192], 0.1));
    let (bias, w_out) = (random([192], 0.1), random([64, FACTORS], 0.1));
    let arguments = || (h0.clone(), w_rec.clone(), bias.clone(), w_out.clone());
    let fused =
        |(h0, w_rec, bias, w_out)| gru::gru_generate(h0, w_rec, bias, w_out, BINS, SPEC, None);
    let plain =
        |(h0, w_rec, bias, w_out)| plain::gru_generate(h0, w_rec, bias, w_out, BINS, SPEC, None);
    pair(
        group,
        "generator",
        || fused(arguments()),
        || plain(arguments()),
    );
}

fn controlled(group: &mut BenchmarkGroup<'_, WallTime>) {
    for n_inputs in [1, 4] {
        let arguments = ControlledArguments {
            drive: random([BINS, TRIALS, 192], 0.5),
            c0: random([TRIALS, 64], 0.3),
            g0: random([TRIALS, 64], 0.3),
            w_feedback: random([FACTORS, 192], 0.1),
            w_controller: random([64, 192], 0.1),
            w_posterior: random([64, 2 * n_inputs], 0.1),
            b_posterior: random([2 * n_inputs], 0.1),
            w_input: random([n_inputs, 192], 0.1),
            w_generator: random([64, 192], 0.1),
            b_generator: random([192], 0.1),
            w_factors: random([64, FACTORS], 0.1),
            noise: random([BINS, TRIALS, n_inputs], 1.0).detach(),
            scale: None,
        };
        pair(
            group,
            &format!("generator and controller, {n_inputs} inputs"),
            || gru::gru_generate_controlled(arguments.clone(), SPEC.clip).factors,
            || plain::gru_generate_controlled(arguments.clone(), SPEC.clip).factors,
        );
    }
}

fn shallow(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (drive, spike_drive) = (
        random([BINS, TRIALS, 200], 0.5),
        random([BINS, TRIALS, NEURONS], 0.3),
    );
    let initial = random([TRIALS, NEURONS], 1.0).abs().detach();
    let (feedback, spike) = (random([NEURONS, 200], 0.01), random([100, NEURONS], 0.1));
    let arguments = SpikeLoopArguments {
        drive,
        spike_drive,
        initial_spikes: initial,
        w_feedback: feedback,
        w_spike: spike,
        prior: random([200], 0.1),
        noise: random([BINS, TRIALS, 100], 1.0).detach(),
    };
    pair(
        group,
        "spike loop",
        || gru::spike_loop(arguments.clone(), 3.0).spikes,
        || plain::spike_loop(arguments.clone(), 3.0).spikes,
    );
    let (x, w) = (random([BINS, TRIALS, 128], 1.0), random([128, 200], 0.1));
    let bias = random([1, 1, 200], 1.0);
    pair(
        group,
        "posterior map",
        || gru::affine(x.clone(), w.clone(), bias.clone()),
        || plain::affine(x.clone(), w.clone(), bias.clone()),
    );
}

fn elementwise(group: &mut BenchmarkGroup<'_, WallTime>) {
    let one = Tensor::ones([1, 1, 1], &Device::flex().autodiff());
    let (log_rates, initial) = (
        random([BINS, TRIALS, NEURONS], 1.0),
        random([TRIALS, NEURONS], 1.0),
    );
    let s = random([BINS, TRIALS, NEURONS], 2.0)
        .abs()
        .detach()
        .require_grad();
    pair(
        group,
        "poisson",
        || gru::poisson_log_likelihood(log_rates.clone(), s.clone(), one.clone(), 0.0),
        || plain::poisson_log_likelihood(log_rates.clone(), s.clone(), one.clone(), 0.0),
    );
    let log_sd = random([NEURONS], 0.3);
    let observed = s.clone().detach();
    pair(
        group,
        "gaussian",
        || gru::gaussian_log_likelihood(observed.clone(), log_rates.clone(), log_sd.clone()),
        || plain::gaussian_log_likelihood(observed.clone(), log_rates.clone(), log_sd.clone()),
    );
    let g = [0.75; NEURONS];
    pair(
        group,
        "AR(1)",
        || gru::ar1_filter(s.clone(), initial.clone(), &g),
        || plain::ar1_filter(s.clone(), initial.clone(), &g),
    );
}

/// An LFADS of the published sizes, without dropout or regularisers.
#[derive(Module, Debug)]
struct Lfads {
    w_in: Param<Tensor<3>>,
    w_rec: Param<Tensor<3>>,
    b_in: Param<Tensor<2>>,
    b_rec: Param<Tensor<2>>,
    initial: Param<Tensor<3>>,
    to_ic: Param<Tensor<2>>,
    generator: Param<Tensor<2>>,
    generator_bias: Param<Tensor<1>>,
    to_factors: Param<Tensor<2>>,
    to_rates: Param<Tensor<2>>,
    rate_bias: Param<Tensor<2>>,
}

impl Lfads {
    fn new() -> Self {
        let GruWeights {
            w_in,
            w_rec,
            b_in,
            b_rec,
        } = weights(2, NEURONS, 64);
        Self {
            w_in: Param::from_tensor(w_in),
            w_rec: Param::from_tensor(w_rec),
            b_in: Param::from_tensor(b_in),
            b_rec: Param::from_tensor(b_rec),
            initial: Param::from_tensor(random([2, 1, 64], 0.1)),
            to_ic: Param::from_tensor(random([128, 128], 0.1)),
            generator: Param::from_tensor(random([64, 192], 0.1)),
            generator_bias: Param::from_tensor(random([192], 0.1)),
            to_factors: Param::from_tensor(random([64, FACTORS], 0.1)),
            to_rates: Param::from_tensor(random([FACTORS, NEURONS], 0.3)),
            rate_bias: Param::from_tensor(random([1, NEURONS], 0.1)),
        }
    }

    /// Negative evidence lower bound of one batch of counts.
    fn loss(&self, counts: Tensor<3>) -> Tensor<1> {
        let weights = GruWeights {
            w_in: self.w_in.val(),
            w_rec: self.w_rec.val(),
            b_in: self.b_in.val(),
            b_rec: self.b_rec.val(),
        };
        let initial = self.initial.val().expand([2, TRIALS, 64]);
        let encoded = gru::gru_final_states(counts.clone(), initial, weights, SPEC);
        let posterior = encoded.matmul(self.to_ic.val());
        let mean = posterior.clone().narrow(1, 0, 64);
        let log_variance = posterior.narrow(1, 64, 64);
        let sd = log_variance.clone().mul_scalar(0.5).exp();
        let ic = mean.clone() + sd * random([TRIALS, 64], 1.0).detach();
        let divergence = (mean.square() + log_variance.clone().exp() - log_variance).sum() * 0.5;
        let (w_rec, bias) = (self.generator.val(), self.generator_bias.val());
        let to_factors = self.to_factors.val();
        let factors = gru::gru_generate(ic, w_rec, bias, to_factors, BINS, SPEC, None)
            .reshape([BINS * TRIALS, FACTORS]);
        let log_rates = factors.matmul(self.to_rates.val()) + self.rate_bias.val();
        let log_rates = log_rates.reshape([BINS, TRIALS, NEURONS]);
        let one = Tensor::ones([1, 1, 1], &counts.device());
        divergence - gru::poisson_log_likelihood(log_rates, counts, one, 0.0)
    }
}

fn lfads_step(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (mut lfads, mut adam) = (Some(Lfads::new()), AdamConfig::new().init());
    let counts = random([BINS, TRIALS, NEURONS], 1.0).abs().detach();
    group.bench_function("LFADS training step", |bencher| {
        bencher.iter(|| {
            let model = lfads.take().expect("put back after each step");
            let gradients = model.loss(counts.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            lfads = Some(adam.step(1e-4, model, gradients));
        });
    });
}

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operations");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    lfads_step(&mut group);
    encoder(&mut group, "encoder", 64);
    generator(&mut group);
    controlled(&mut group);
    encoder(&mut group, "ladder encoder", 128);
    shallow(&mut group);
    elementwise(&mut group);
    group.finish();
}

criterion_group!(benches, operations);
criterion_main!(benches);

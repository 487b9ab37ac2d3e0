//! The fast kernels against the scalar reference, on every instruction set of this processor, and
//! the reference's gradients against central differences.

use gru::kernels::{
    AffineShape, GruGradients, GruShape, GruSlices, GruSpec, GruTrace, Isa, Offset, ResetGate,
    SpikeLoopShape, SpikeLoopSlices, SpikeLoopUpstream, Upstream, affine, affine_gradient,
    ar1_filter, ar1_filter_gradient, backward, forward, gaussian_gradient, gaussian_log_prob,
    poisson_gradient_count, poisson_gradient_log_mean, poisson_log_prob, reference, spike_loop,
    spike_loop_gradient,
};
use proptest::prelude::*;

/// Numbers in ±scale that look random.
fn noise(n: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Rounded to what f32 holds, so that both number types start from the same values.
        f64::from(((state >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0) as f32)
    };
    (0..n).map(|_| f64::from((next() * scale) as f32)).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Fails with the first number that is further than `tolerance` of the largest from the other.
fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want
        .iter()
        .fold(1.0_f64, |scale, want| scale.max(want.abs()));
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(
            error <= tolerance * scale,
            "{name}[{index}]: {got} is not {want} (of {scale})"
        );
    }
}

/// A recurrent unit with made-up arguments.
#[derive(Clone, Debug)]
struct Case {
    shape: GruShape,
    spec: GruSpec,
    /// x, h0, w_in, w_rec, b_in, b_rec.
    arguments: [Vec<f64>; 6],
    upstream: Vec<f64>,
}

impl Case {
    fn new(shape: GruShape, spec: GruSpec, seed: u64) -> Self {
        let GruShape {
            n_bins,
            n_trials,
            n_inputs,
            hidden,
            n_directions,
        } = shape;
        let gates = 3 * hidden * n_directions;
        let scale = 1.5 / (hidden as f64).sqrt();
        let arguments = [
            noise(n_bins * n_trials * n_inputs, seed, 1.0),
            noise(n_directions * n_trials * hidden, seed + 1, 0.8),
            noise(
                n_inputs * gates,
                seed + 2,
                1.5 / (n_inputs.max(1) as f64).sqrt(),
            ),
            noise(hidden * gates, seed + 3, scale),
            noise(gates, seed + 4, 0.5),
            noise(gates, seed + 5, 0.5),
        ];
        let upstream = noise(n_bins * n_trials * n_directions * hidden, seed + 6, 1.0);
        Self {
            shape,
            spec,
            arguments,
            upstream,
        }
    }

    fn slices(arguments: &[Vec<f64>; 6]) -> GruSlices<'_, f64> {
        let [_, _, w_in, w_rec, b_in, b_rec] = arguments;
        GruSlices {
            w_in,
            w_rec,
            b_in,
            b_rec,
        }
    }

    fn states(&self, arguments: &[Vec<f64>; 6]) -> Vec<f64> {
        let [x, h0, ..] = arguments;
        reference::gru(self.shape, self.spec, x, h0, Self::slices(arguments))
    }

    fn reference_gradients(&self) -> GruGradients<f64> {
        let [x, h0, ..] = &self.arguments;
        let weights = Self::slices(&self.arguments);
        reference::gru_gradient(self.shape, self.spec, x, h0, weights, &self.upstream)
    }

    fn run(&self, isa: Isa, keep: bool) -> (GruTrace, Vec<f32>) {
        let [x, h0, w_in, w_rec, b_in, b_rec] = self.arguments.each_ref().map(|a| single(a));
        let weights = GruSlices {
            w_in: &w_in,
            w_rec: &w_rec,
            b_in: &b_in,
            b_rec: &b_rec,
        };
        let trace = forward(isa, self.shape, self.spec, &x, &h0, weights, keep);
        let mut states = vec![f32::NAN; self.upstream.len()];
        trace.write_states(&mut states);
        (trace, states)
    }

    fn gradients(&self, isa: Isa, trace: &GruTrace, upstream: Upstream<'_>) -> GruGradients {
        let [x, _, w_in, w_rec, b_in, b_rec] = self.arguments.each_ref().map(|a| single(a));
        let weights = GruSlices {
            w_in: &w_in,
            w_rec: &w_rec,
            b_in: &b_in,
            b_rec: &b_rec,
        };
        backward(isa, trace, &x, weights, upstream, true)
    }

    fn check_against_reference(&self) {
        let want_states = self.states(&self.arguments);
        let want = self.reference_gradients();
        for isa in Isa::available() {
            let (trace, states) = self.run(isa, true);
            assert_close("states", &states, &want_states, 2e-5);
            assert_eq!(states, self.run(isa, false).1);
            let got = self.gradients(isa, &trace, Upstream::States(&single(&self.upstream)));
            assert_same_gradients(&got, &want);
            self.check_final_states(isa, &trace, &states);
        }
    }

    /// The final states are slices of all states, and so are their gradients.
    fn check_final_states(&self, isa: Isa, trace: &GruTrace, states: &[f32]) {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            n_directions,
            ..
        } = self.shape;
        let row = n_trials * n_directions * hidden;
        let mut every_bin = vec![0.0; n_bins * row];
        let mut finals = vec![f32::NAN; row];
        let mut expected = finals.clone();
        for column in 0..row {
            let last = if column / hidden % n_directions == 0 {
                n_bins - 1
            } else {
                0
            };
            expected[column] = states[last * row + column];
            every_bin[last * row + column] = self.upstream[column] as f32;
        }
        trace.write_final_states(&mut finals);
        assert_eq!(finals, expected);
        let some = single(&self.upstream[..row]);
        let got = self.gradients(isa, trace, Upstream::FinalStates(&some));
        let want = self.gradients(isa, trace, Upstream::States(&every_bin));
        assert_eq!(got, want);
    }
}

fn assert_same_gradients(got: &GruGradients, want: &GruGradients<f64>) {
    let tolerance = 1e-4;
    let (got_x, want_x) = (got.x.as_ref().unwrap(), want.x.as_ref().unwrap());
    assert_close("dx", got_x, want_x, tolerance);
    assert_close("dh0", &got.h0, &want.h0, tolerance);
    assert_close("dw_in", &got.w_in, &want.w_in, tolerance);
    assert_close("dw_rec", &got.w_rec, &want.w_rec, tolerance);
    assert_close("db_in", &got.b_in, &want.b_in, tolerance);
    assert_close("db_rec", &got.b_rec, &want.b_rec, tolerance);
}

fn specs() -> impl Strategy<Value = GruSpec> {
    let reset = prop_oneof![
        Just(ResetGate::BeforeProduct),
        Just(ResetGate::AfterProduct)
    ];
    // A bound of 0.4 clips about half of the states.
    (
        reset,
        prop_oneof![Just(None), Just(Some(5.0)), Just(Some(0.4))],
    )
        .prop_map(|(reset, clip)| GruSpec { reset, clip })
}

fn shapes(
    n_trials: usize,
    n_bins: usize,
    n_inputs: usize,
    hidden: usize,
) -> impl Strategy<Value = GruShape> {
    (
        1..=n_trials,
        1..=n_bins,
        0..=n_inputs,
        1..=hidden,
        1..=2_usize,
    )
        .prop_map(
            |(n_trials, n_bins, n_inputs, hidden, n_directions)| GruShape {
                n_bins,
                n_trials,
                n_inputs,
                hidden,
                n_directions,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_match_the_reference(
        shape in shapes(70, 20, 40, 70), spec in specs(), seed in 0..1000_u64,
    ) {
        Case::new(shape, spec, seed).check_against_reference();
    }

    #[test]
    fn reference_gradients_match_central_differences(
        shape in shapes(3, 4, 4, 5), spec in specs(), seed in 0..1000_u64,
    ) {
        let case = Case::new(shape, spec, seed);
        let gradients = case.reference_gradients();
        let all = [
            gradients.x.unwrap(), gradients.h0, gradients.w_in, gradients.w_rec, gradients.b_in,
            gradients.b_rec,
        ];
        let loss = |arguments: &[Vec<f64>; 6]| {
            dot(&case.states(arguments), &case.upstream)
        };
        for (argument, gradient) in all.iter().enumerate() {
            for (index, gradient) in gradient.iter().enumerate() {
                let difference = central_difference(&case.arguments, argument, index, loss);
                prop_assert!(
                    (difference - gradient).abs() < 1e-6 * (1.0 + gradient.abs()),
                    "argument {argument}[{index}]: {gradient} is not {difference}"
                );
            }
        }
    }

    #[test]
    fn ar1_filter_and_gradient_match_the_reference(
        n_bins in 1..20_usize, n_trials in 1..5_usize, n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let row = n_trials * n_neurons;
        let arguments = [noise(n_bins * row, seed, 1.0), noise(row, seed + 1, 1.0)];
        let (g, upstream) = (noise(n_neurons, seed + 2, 0.95), noise(n_bins * row, seed + 3, 1.0));
        let run = |arguments: &[Vec<f64>; 2]| {
            reference::ar1_filter(&arguments[0], &arguments[1], &g)
        };
        let mut y = vec![f32::NAN; n_bins * row];
        let g_single = single(&g);
        ar1_filter(&single(&arguments[0]), &single(&arguments[1]), &g_single, &mut y);
        assert_close("y", &y, &run(&arguments), 1e-6);
        let (mut ds, mut d_initial) = (y.clone(), vec![f32::NAN; row]);
        ar1_filter_gradient(&single(&upstream), &g_single, &mut ds, &mut d_initial);
        for (argument, gradient) in [ds, d_initial].iter().enumerate() {
            let want = differences(&arguments, argument, |changed| dot(&run(changed), &upstream));
            assert_close("gradient", gradient, &want, 1e-5);
        }
    }

    #[test]
    fn poisson_log_prob_and_gradients_match_the_reference(
        log_mean in prop::collection::vec(-8.0..5.0_f64, 1..50), seed in 0..1000_u64,
    ) {
        let n = log_mean.len();
        let counts: Vec<f64> = noise(n, seed, 1.0)
            .iter()
            .map(|u| f64::from((u.abs().powi(3) * 60.0) as f32))
            .map(|s| if s < 0.1 { 0.0 } else { s })
            .collect();
        let arguments = [single(&log_mean).iter().map(|v| f64::from(*v)).collect(), counts];
        let upstream = noise(n, seed + 1, 1.0);
        let run = |arguments: &[Vec<f64>; 2]| -> Vec<f64> {
            let pairs = arguments[0].iter().zip(&arguments[1]);
            pairs.map(|(log_mean, s)| reference::poisson_log_prob(*log_mean, *s)).collect()
        };
        let singles = [single(&arguments[0]), single(&arguments[1]), single(&upstream)];
        let inputs = singles.each_ref().map(Vec::as_slice);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n];
            poisson_log_prob(isa, inputs[0], inputs[1], &mut out);
            assert_close("log-probability", &out, &run(&arguments), 2e-6);
            let (mut by_log_mean, mut by_count) = (out.clone(), out);
            poisson_gradient_log_mean(isa, inputs, &mut by_log_mean);
            poisson_gradient_count(isa, inputs, &mut by_count);
            for (argument, gradient) in [by_log_mean, by_count].iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| dot(&run(changed), &upstream);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 2e-6);
            }
        }
    }

    #[test]
    fn gaussian_log_prob_and_gradients_match_the_reference(
        n_rows in 1..40_usize, n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let n = n_rows * n_neurons;
        let mut x = noise(n, seed, 3.0);
        let missing = |index: usize| index % 7 == 3;
        (0..n).filter(|&index| missing(index)).for_each(|index| x[index] = f64::NAN);
        let arguments = [noise(n, seed + 1, 2.0), noise(n_neurons, seed + 2, 1.5)];
        let upstream = noise(n, seed + 3, 1.0);
        let run = |arguments: &[Vec<f64>; 2]| -> Vec<f64> {
            let value = |index: usize| match missing(index) {
                true => 0.0,
                false => reference::gaussian_log_prob(
                    x[index], arguments[0][index], arguments[1][index % n_neurons],
                ),
            };
            (0..n).map(value).collect()
        };
        let singles = [single(&x), single(&arguments[0]), single(&upstream)];
        let inputs = singles.each_ref().map(Vec::as_slice);
        let log_sd = single(&arguments[1]);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n];
            gaussian_log_prob(isa, inputs[0], inputs[1], &log_sd, &mut out);
            assert_close("log-probability", &out, &run(&arguments), 2e-6);
            let (mut by_mean, mut by_log_sd) = (out, vec![f32::NAN; n_neurons]);
            gaussian_gradient(isa, inputs, &log_sd, &mut by_mean, &mut by_log_sd);
            for (argument, gradient) in [by_mean, by_log_sd].iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| dot(&run(changed), &upstream);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 2e-5);
            }
        }
    }

    #[test]
    fn affine_maps_and_gradients_match_the_reference(
        n_rows in 1..300_usize, n_inputs in 1..50_usize, n_outputs in 1..50_usize,
        seed in 0..1000_u64,
    ) {
        AffineCase::new(AffineShape { n_rows, n_inputs, n_outputs }, seed).check();
    }

    #[test]
    fn spike_loop_and_gradients_match_the_reference(
        n_trials in 1..4_usize, n_bins in 1..6_usize, latent in 1..20_usize,
        n_neurons in 1..20_usize, seed in 0..1000_u64,
    ) {
        let shape = SpikeLoopShape { n_bins, n_trials, latent, n_neurons };
        SpikeCase::new(shape, seed).check(true);
    }

    #[test]
    fn spike_loop_matches_the_reference_at_large_sizes(
        n_trials in 30..80_usize, n_bins in 1..8_usize, latent in 1..110_usize,
        n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let shape = SpikeLoopShape { n_bins, n_trials, latent, n_neurons };
        SpikeCase::new(shape, seed).check(false);
    }
}

/// An affine map with made-up arguments.
struct AffineCase {
    shape: AffineShape,
    x: Vec<f64>,
    w: Vec<f64>,
    row: Vec<f64>,
    dy: Vec<f64>,
}

impl AffineCase {
    fn new(shape: AffineShape, seed: u64) -> Self {
        let AffineShape {
            n_rows,
            n_inputs,
            n_outputs,
        } = shape;
        Self {
            shape,
            x: noise(n_rows * n_inputs, seed, 1.0),
            w: noise(n_inputs * n_outputs, seed + 1, 1.0),
            row: noise(n_outputs, seed + 2, 1.0),
            dy: noise(n_rows * n_outputs, seed + 3, 1.0),
        }
    }

    /// dx, dw and that of the row, in double precision: the map is linear in each.
    fn gradients(&self) -> [Vec<f64>; 3] {
        let AffineShape {
            n_inputs,
            n_outputs,
            ..
        } = self.shape;
        let mut gradients = [
            vec![0.0; self.x.len()],
            vec![0.0; self.w.len()],
            vec![0.0; n_outputs],
        ];
        for (row, dy) in self.dy.chunks_exact(n_outputs).enumerate() {
            for (output, dy) in dy.iter().enumerate() {
                gradients[2][output] += dy;
                for input in 0..n_inputs {
                    let weight = input * n_outputs + output;
                    gradients[0][row * n_inputs + input] += dy * self.w[weight];
                    gradients[1][weight] += dy * self.x[row * n_inputs + input];
                }
            }
        }
        gradients
    }

    fn check(&self) {
        let (x, w) = (single(&self.x), single(&self.w));
        let (row, dy) = (single(&self.row), single(&self.dy));
        let want = reference::affine_rows(&self.x, &self.w, &self.row);
        let every: Vec<f32> = row.iter().copied().cycle().take(dy.len()).collect();
        for isa in Isa::available() {
            let y = affine(isa, self.shape, &x, &w, Offset::Row(&row));
            assert_close("y", &y, &want, 1e-5);
            let added = affine(isa, self.shape, &x, &w, Offset::Every(&every));
            assert_close("y", &added, &want, 1e-5);
            let got = affine_gradient(isa, self.shape, &x, &w, &dy, true);
            for (got, want) in [got.x.unwrap(), got.w, got.row]
                .iter()
                .zip(self.gradients())
            {
                assert_close("gradient", got, &want, 1e-5);
            }
            assert!(
                affine_gradient(isa, self.shape, &x, &w, &dy, false)
                    .x
                    .is_none()
            );
        }
    }
}

/// The shallow loop with made-up arguments.
struct SpikeCase {
    shape: SpikeLoopShape,
    /// drive, spike_drive, initial_spikes, w_feedback, w_spike, prior, noise.
    arguments: [Vec<f64>; 7],
    /// Of the spikes, then of the divergence.
    upstream: Vec<f64>,
}

/// Low enough that some activations lie above it.
const MAX_LOG: f32 = 0.9;

impl SpikeCase {
    fn new(shape: SpikeLoopShape, seed: u64) -> Self {
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = shape;
        let rows = n_bins * n_trials;
        let initial = noise(n_trials * n_neurons, seed + 2, 1.0);
        let mut feedback = noise(
            n_neurons * 2 * latent,
            seed + 3,
            0.5 / (n_neurons as f64).sqrt(),
        );
        // Spikes that raise their own variance run away.
        for weights in feedback.chunks_exact_mut(2 * latent) {
            weights[latent..]
                .iter_mut()
                .for_each(|weight| *weight = -weight.abs());
        }
        let arguments = [
            noise(rows * 2 * latent, seed, 1.0),
            noise(rows * n_neurons, seed + 1, 1.5),
            initial.iter().map(|value| value.abs()).collect(),
            feedback,
            noise(latent * n_neurons, seed + 4, 1.0 / (latent as f64).sqrt()),
            noise(2 * latent, seed + 7, 1.0),
            noise(rows * latent, seed + 5, 1.5),
        ];
        Self {
            shape,
            arguments,
            upstream: noise(rows * n_neurons + 1, seed + 6, 1.0),
        }
    }

    /// Spikes, then the divergence.
    fn run(&self, arguments: &[Vec<f64>; 7]) -> Vec<f64> {
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ] = arguments;
        let max_log = f64::from(MAX_LOG);
        let slices = SpikeLoopSlices {
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
            max_log,
        };
        let (mut out, kl) = reference::spike_loop(self.shape, slices);
        out.push(kl);
        out
    }

    fn check(&self, with_gradients: bool) {
        let singles = self.arguments.each_ref().map(|argument| single(argument));
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ] = singles.each_ref().map(Vec::as_slice);
        let slices = SpikeLoopSlices {
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
            max_log: MAX_LOG,
        };
        let want = self.run(&self.arguments);
        let upstream = single(&self.upstream);
        let (kl, spikes) = upstream.split_last().unwrap();
        let upstream = SpikeLoopUpstream { spikes, kl: *kl };
        let mut portable = None;
        for isa in Isa::available().into_iter().rev() {
            let mut out = spike_loop(isa, self.shape, slices);
            let (spikes, trace) = (out.spikes.clone(), out.trace);
            let got = spike_loop_gradient(isa, self.shape, slices, &spikes, &trace, upstream);
            out.spikes.push(out.kl);
            assert_close("output", &out.spikes, &want, 2e-5);
            let got = [
                got.drive,
                got.spike_drive,
                got.initial_spikes,
                got.w_feedback,
                got.w_spike,
                got.prior,
            ];
            let want = portable.get_or_insert_with(|| {
                if with_gradients {
                    self.gradients()
                } else {
                    got.each_ref()
                        .map(|g| g.iter().map(|v| f64::from(*v)).collect())
                }
            });
            for (got, want) in got.iter().zip(want) {
                assert_close("gradient", got, want, 2e-4);
            }
        }
    }

    fn gradients(&self) -> [Vec<f64>; 6] {
        let loss = |changed: &[Vec<f64>; 7]| dot(&self.run(changed), &self.upstream);
        std::array::from_fn(|argument| differences(&self.arguments, argument, loss))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn central_difference<const N: usize>(
    arguments: &[Vec<f64>; N],
    argument: usize,
    index: usize,
    loss: impl Fn(&[Vec<f64>; N]) -> f64,
) -> f64 {
    let step = 1e-6;
    let at = |offset: f64| {
        let mut changed = arguments.clone();
        changed[argument][index] += offset;
        loss(&changed)
    };
    (at(step) - at(-step)) / (2.0 * step)
}

fn differences<const N: usize>(
    arguments: &[Vec<f64>; N],
    argument: usize,
    loss: impl Fn(&[Vec<f64>; N]) -> f64,
) -> Vec<f64> {
    let indices = 0..arguments[argument].len();
    indices
        .map(|index| central_difference(arguments, argument, index, &loss))
        .collect()
}

const TABLE_1: GruShape = GruShape {
    n_bins: 100,
    n_trials: 65,
    n_inputs: 30,
    hidden: 64,
    n_directions: 2,
};
const BEFORE: GruSpec = GruSpec {
    reset: ResetGate::BeforeProduct,
    clip: Some(5.0),
};
const AFTER: GruSpec = GruSpec {
    reset: ResetGate::AfterProduct,
    clip: None,
};

#[test]
fn published_sizes_match_the_reference() {
    Case::new(TABLE_1, BEFORE, 1).check_against_reference();
    let controller = GruShape {
        n_bins: 5,
        n_inputs: 256,
        hidden: 128,
        n_directions: 1,
        ..TABLE_1
    };
    Case::new(controller, AFTER, 2).check_against_reference();
}

/// Enough rows for several tasks.
#[test]
fn affine_maps_of_many_rows_match_the_reference() {
    let shape = AffineShape {
        n_rows: 1300,
        n_inputs: 13,
        n_outputs: 20,
    };
    AffineCase::new(shape, 1).check();
}

/// Held log-variances pass no gradient and keep the loop finite.
#[test]
fn log_variances_beyond_the_bound_are_held() {
    let shape = SpikeLoopShape {
        n_bins: 3,
        n_trials: 2,
        latent: 5,
        n_neurons: 4,
    };
    let mut case = SpikeCase::new(shape, 1);
    for drive in case.arguments[0].chunks_exact_mut(2 * shape.latent) {
        drive[shape.latent] = 40.0;
        drive[shape.latent + 1] = -40.0;
    }
    // No variance beyond the bound may come back within it.
    case.arguments[6]
        .iter_mut()
        .for_each(|noise| *noise *= 1e-3);
    case.check(true);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let in_pool = |threads: usize, case: &Case| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (trace, states) = case.run(Isa::best(), true);
            let upstream = single(&case.upstream);
            (
                states,
                case.gradients(Isa::best(), &trace, Upstream::States(&upstream)),
            )
        })
    };
    for spec in [BEFORE, AFTER] {
        let case = Case::new(
            GruShape {
                n_bins: 12,
                n_trials: 130,
                ..TABLE_1
            },
            spec,
            3,
        );
        let one = in_pool(1, &case);
        assert_eq!(one, in_pool(2, &case));
        assert_eq!(one, in_pool(5, &case));
    }
}

#[test]
fn a_nan_input_reaches_the_states_and_gradients_of_its_trial_alone() {
    for spec in [BEFORE, AFTER] {
        let shape = GruShape {
            n_bins: 6,
            n_trials: 3,
            n_directions: 1,
            ..TABLE_1
        };
        let mut case = Case::new(shape, spec, 4);
        let first_of_trial_1 = (2 * shape.n_trials + 1) * shape.n_inputs;
        case.arguments[0][first_of_trial_1] = f64::NAN;
        for isa in Isa::available() {
            let (trace, states) = case.run(isa, true);
            for (row, states) in states.chunks_exact(shape.hidden).enumerate() {
                let poisoned = row % shape.n_trials == 1 && row / shape.n_trials >= 2;
                assert!(
                    states.iter().all(|state| state.is_nan() == poisoned),
                    "row {row}"
                );
            }
            let upstream = single(&case.upstream);
            let gradients = case.gradients(isa, &trace, Upstream::States(&upstream));
            assert!(gradients.w_rec.iter().all(|value| value.is_nan()));
            let h0: Vec<bool> = gradients.h0.iter().map(|value| value.is_nan()).collect();
            let of_trial = |trial: usize| &h0[trial * shape.hidden..(trial + 1) * shape.hidden];
            assert!(of_trial(1).iter().all(|nan| *nan));
            assert!(of_trial(0).iter().chain(of_trial(2)).all(|nan| !nan));
        }
    }
}

#[test]
fn extreme_inputs_saturate_without_nan() {
    for isa in Isa::available() {
        let mut case = Case::new(
            GruShape {
                n_bins: 4,
                ..TABLE_1
            },
            BEFORE,
            5,
        );
        case.arguments[0].iter_mut().for_each(|x| *x *= 1e30);
        let (trace, states) = case.run(isa, true);
        assert!(states.iter().all(|state| state.abs() <= 1.0));
        let upstream = single(&case.upstream);
        let gradients = case.gradients(isa, &trace, Upstream::States(&upstream));
        assert!(
            gradients
                .h0
                .iter()
                .chain(&gradients.w_rec)
                .all(|value| value.is_finite())
        );
    }
}

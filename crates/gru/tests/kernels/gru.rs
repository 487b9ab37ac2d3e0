//! Gated recurrent units.

use gru::kernels::{
    GruGradients, GruShape, GruSlices, GruSpec, GruTrace, Isa, Readout, ResetGate, Upstream,
    backward, forward, reference,
};
use proptest::prelude::*;

use crate::common::{
    assert_close, assert_same_on_any_threads, central_difference, dot, noise, single,
};

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

    /// The case with most inputs zero.
    fn with_sparse_inputs(&self) -> Self {
        let mut case = self.clone();
        for (index, x) in case.arguments[0].iter_mut().enumerate() {
            *x *= f64::from(u8::from(index % 7 == 3));
        }
        case
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
        let states = trace.states(None);
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
        let is_smooth = self.is_smooth();
        for isa in Isa::available() {
            let (trace, states) = self.run(isa, true);
            assert_close("states", &states, &want_states, 2e-5);
            assert_eq!(states, self.run(isa, false).1);
            if !is_smooth {
                continue;
            }
            let got = self.gradients(isa, &trace, of_states(&single(&self.upstream)));
            assert_same_gradients(&got, &want);
            self.check_scale(isa, &trace, &states);
            if self.shape.n_directions == 1 {
                self.check_readout(isa, &trace, &states);
            }
            self.check_final_states(isa, &trace, &states);
        }
    }

    /// Whether no state is so near its bound that rounding decides about its gradient.
    fn is_smooth(&self) -> bool {
        let Some(bound) = self.spec.clip else {
            return true;
        };
        let with = |factor: f32| {
            let mut case = self.clone();
            case.spec.clip = Some(bound * factor);
            let GruGradients { x, h0, .. } = case.reference_gradients();
            [x.unwrap(), h0].concat()
        };
        let pairs = with(1.0 - 1e-6).into_iter().zip(with(1.0 + 1e-6));
        pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5)
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
        let mut expected = vec![f32::NAN; row];
        for column in 0..row {
            let last = if column / hidden % n_directions == 0 {
                n_bins - 1
            } else {
                0
            };
            expected[column] = states[last * row + column];
            every_bin[last * row + column] = self.upstream[column] as f32;
        }
        assert_eq!(trace.final_states(), expected);
        let some = single(&self.upstream[..row]);
        let finals = Upstream {
            final_states: Some(&some),
            ..Upstream::default()
        };
        let got = self.gradients(isa, trace, finals);
        let want = self.gradients(isa, trace, of_states(&every_bin));
        assert_eq!(got, want);
    }

    /// Scaled states are states times the scale, and so are their gradients.
    fn check_scale(&self, isa: Isa, trace: &GruTrace, states: &[f32]) {
        // Powers of two: no rounding.
        let scale: Vec<f32> = (0..states.len())
            .map(|index| [0.0, 1.0, 2.0][index % 3])
            .collect();
        let times = |values: &[f32]| -> Vec<f32> {
            values
                .iter()
                .zip(&scale)
                .map(|(value, scale)| value * scale)
                .collect()
        };
        assert_eq!(trace.states(Some(&scale)), times(states));
        let upstream = single(&self.upstream);
        let scaled = Upstream {
            scale: Some(&scale),
            ..of_states(&upstream)
        };
        let got = self.gradients(isa, trace, scaled);
        let want = self.gradients(isa, trace, of_states(&times(&upstream)));
        assert_eq!(got, want);
    }
}

impl Case {
    /// A readout is a product of the scaled states, and so are its gradients.
    fn check_readout(&self, isa: Isa, trace: &GruTrace, states: &[f32]) {
        let hidden = self.shape.hidden;
        let n_outputs = 1 + hidden % 4;
        let n_rows = states.len() / hidden;
        let w = single(&noise(hidden * n_outputs, 11, 0.5));
        let dy = single(&noise(n_rows * n_outputs, 12, 1.0));
        let scale = single(&noise(states.len(), 13, 2.0));
        for scale in [None, Some(scale.as_slice())] {
            let readout = Readout { scale, w: &w };
            let factor = |index: usize| scale.map_or(1.0, |scale| f64::from(scale[index]));
            let (mut y, mut dw) = (vec![0.0; dy.len()], vec![0.0; w.len()]);
            let mut d_states = vec![0.0; states.len()];
            for (row, unit, output) in triples(n_rows, hidden, n_outputs) {
                let (state, at) = (row * hidden + unit, row * n_outputs + output);
                let weight = unit * n_outputs + output;
                let scaled = f64::from(states[state]) * factor(state);
                y[at] += scaled * f64::from(w[weight]);
                dw[weight] += scaled * f64::from(dy[at]);
                d_states[state] += f64::from(dy[at]) * f64::from(w[weight]) * factor(state);
            }
            assert_close("readout", &trace.readout(isa, readout), &y, 2e-6);
            let got = trace.readout_gradient(isa, readout, &dy);
            // Sums over all rows in single precision: a rounding each.
            assert_close("readout's weights", &got, &dw, 2e-5);
            let upstream = Upstream {
                readout: Some((readout, &dy)),
                ..Upstream::default()
            };
            let got = self.gradients(isa, trace, upstream);
            let want = self.gradients(isa, trace, of_states(&single(&d_states)));
            assert_same_gradients(&got, &double(&want));
        }
    }
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |index| (index / (b * c), index / c % b, index % c))
}

fn double(gradients: &GruGradients) -> GruGradients<f64> {
    let double = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
    GruGradients {
        x: gradients.x.as_deref().map(double),
        h0: double(&gradients.h0),
        w_in: double(&gradients.w_in),
        w_rec: double(&gradients.w_rec),
        b_in: double(&gradients.b_in),
        b_rec: double(&gradients.b_rec),
    }
}

fn of_states(states: &[f32]) -> Upstream<'_> {
    Upstream {
        states: Some(states),
        ..Upstream::default()
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
        let case = Case::new(shape, spec, seed);
        case.check_against_reference();
        case.with_sparse_inputs().check_against_reference();
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
}

/// Small enough for Miri.
#[test]
fn small_runs_match_the_reference() {
    for reset in [ResetGate::BeforeProduct, ResetGate::AfterProduct] {
        let spec = GruSpec {
            reset,
            clip: Some(0.7),
        };
        for (n_trials, n_inputs, hidden, n_directions) in [(1, 0, 1, 1), (5, 3, 7, 2)] {
            let shape = GruShape {
                n_bins: 3,
                n_trials,
                n_inputs,
                hidden,
                n_directions,
            };
            let case = Case::new(shape, spec, 6);
            case.check_against_reference();
            case.with_sparse_inputs().check_against_reference();
        }
    }
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
    for case in [Case::new(TABLE_1, BEFORE, 1), Case::new(TABLE_1, AFTER, 1)] {
        case.check_against_reference();
        case.with_sparse_inputs().check_against_reference();
    }
    let controller = GruShape {
        n_bins: 5,
        n_inputs: 256,
        hidden: 128,
        n_directions: 1,
        ..TABLE_1
    };
    Case::new(controller, AFTER, 2).check_against_reference();
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for spec in [BEFORE, AFTER] {
        let shape = GruShape {
            n_bins: 12,
            n_trials: 130,
            ..TABLE_1
        };
        let case = Case::new(shape, spec, 3);
        let upstream = single(&case.upstream);
        for case in [case.with_sparse_inputs(), case] {
            assert_same_on_any_threads(|| {
                let (trace, states) = case.run(Isa::best(), true);
                let gradients = case.gradients(Isa::best(), &trace, of_states(&upstream));
                (states, gradients)
            });
        }
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
            let gradients = case.gradients(isa, &trace, of_states(&upstream));
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
        let gradients = case.gradients(isa, &trace, of_states(&upstream));
        assert!(
            gradients
                .h0
                .iter()
                .chain(&gradients.w_rec)
                .all(|value| value.is_finite())
        );
    }
}

/// In this case a state lies on its bound, where the gradient jumps.
#[test]
fn rounding_may_decide_whether_a_state_is_clipped() {
    let shape = GruShape {
        n_bins: 9,
        n_trials: 32,
        n_inputs: 39,
        hidden: 36,
        n_directions: 1,
    };
    let spec = GruSpec {
        reset: ResetGate::AfterProduct,
        clip: Some(0.4),
    };
    Case::new(shape, spec, 342).check_against_reference();
}

//! The generator with its controller.

use gru::kernels::{
    ControlledOutput, ControlledShape, ControlledSlices, ControlledUpstream, Isa, controlled,
    controlled_gradient, controlled_reference,
};
use proptest::prelude::*;

use crate::common::{assert_close, assert_same_on_any_threads, differences, dot, noise, single};

/// drive, c0, g0, w_feedback, w_controller, w_posterior, b_posterior, w_input, w_generator,
/// b_generator, w_factors, in the order of the gradients; then noise and scale.
type Arguments<F> = [Vec<F>; 13];

/// Arguments that have a gradient.
const N_GRADIENTS: usize = 11;

/// The loop with made-up arguments.
struct Case {
    shape: ControlledShape,
    arguments: Arguments<f64>,
    is_scaled: bool,
    clip: Option<f32>,
    /// Of factors, posterior and controller states.
    upstream: [Vec<f64>; 3],
}

impl Case {
    fn new(shape: ControlledShape, is_scaled: bool, clip: Option<f32>, seed: u64) -> Self {
        let ControlledShape {
            n_bins,
            n_trials,
            controller,
            generator,
            n_inputs,
            n_factors,
        } = shape;
        let rows = n_bins * n_trials;
        let root = |n: usize| 1.0 / (n as f64).sqrt();
        let sizes = [
            (rows * 3 * controller, 1.0),
            (n_trials * controller, 0.8),
            (n_trials * generator, 0.8),
            (n_factors * 3 * controller, root(n_factors)),
            (controller * 3 * controller, 1.5 * root(controller)),
            (controller * 2 * n_inputs, root(controller)),
            (2 * n_inputs, 0.5),
            (n_inputs * 3 * generator, root(n_inputs)),
            (generator * 3 * generator, 1.5 * root(generator)),
            (3 * generator, 0.5),
            (generator * n_factors, root(generator)),
            (rows * n_inputs, 1.5),
            (rows * generator, 1.5),
        ];
        let mut seeds = 100 * seed..;
        let mut made = |(n, scale)| noise(n, seeds.next().unwrap(), scale);
        Self {
            shape,
            arguments: sizes.map(&mut made),
            is_scaled,
            clip,
            upstream: [
                (rows * n_factors, 1.0),
                (rows * 2 * n_inputs, 1.0),
                (rows * controller, 1.0),
            ]
            .map(made),
        }
    }

    fn slices<'a, F>(&self, arguments: &'a Arguments<F>) -> ControlledSlices<'a, F> {
        let [
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
            noise,
            scale,
        ] = arguments;
        ControlledSlices {
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
            noise,
            scale: self.is_scaled.then_some(scale),
            clip: self.clip,
        }
    }

    fn loss(&self, arguments: &Arguments<f64>) -> f64 {
        let outputs = controlled_reference(self.shape, self.slices(arguments));
        let pairs = outputs.iter().zip(&self.upstream);
        pairs.map(|(output, upstream)| dot(output, upstream)).sum()
    }

    fn run(&self, isa: Isa) -> ControlledOutput {
        let arguments = self.arguments.each_ref().map(|argument| single(argument));
        controlled(isa, self.shape, self.slices(&arguments))
    }

    fn gradients(&self, isa: Isa, out: &ControlledOutput) -> [Vec<f32>; N_GRADIENTS] {
        let arguments = self.arguments.each_ref().map(|argument| single(argument));
        let [factors, posterior, control] = self.upstream.each_ref().map(|values| single(values));
        let upstream = ControlledUpstream {
            factors: [&out.factors, &factors],
            posterior: [&out.posterior, &posterior],
            control: &out.control,
            d_control: Some(&control),
        };
        let slices = self.slices(&arguments);
        let got = controlled_gradient(isa, self.shape, slices, &out.trace, upstream);
        [
            got.drive,
            got.c0,
            got.g0,
            got.w_feedback,
            got.w_controller,
            got.w_posterior,
            got.b_posterior,
            got.w_input,
            got.w_generator,
            got.b_generator,
            got.w_factors,
        ]
    }

    /// Whether no state is so near its bound that rounding decides about its gradient.
    fn is_smooth(&self) -> bool {
        let Some(clip) = self.clip else { return true };
        let with = |clip| {
            let case = Self {
                clip: Some(clip),
                arguments: self.arguments.clone(),
                upstream: self.upstream.clone(),
                ..*self
            };
            differences(&case.arguments, 2, |arguments| case.loss(arguments))
        };
        let pairs = with(clip * (1.0 - 1e-5))
            .into_iter()
            .zip(with(clip * (1.0 + 1e-5)));
        pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3)
    }

    fn check(&self, with_differences: bool) {
        let want = controlled_reference(self.shape, self.slices(&self.arguments));
        let mut portable = None;
        for isa in Isa::available().into_iter().rev() {
            let out = self.run(isa);
            assert_close("factors", &out.factors, &want[0], 2e-5);
            assert_close("posterior", &out.posterior, &want[1], 2e-5);
            assert_close("control", &out.control, &want[2], 2e-5);
            let got = self.gradients(isa, &out);
            let first = portable.get_or_insert_with(|| got.clone());
            for (index, (got, first)) in got.iter().zip(first).enumerate() {
                let first: Vec<f64> = first.iter().map(|value| f64::from(*value)).collect();
                assert_close(&format!("gradient {index}"), got, &first, 1e-4);
            }
        }
        if !with_differences || !self.is_smooth() {
            return;
        }
        for (argument, got) in portable.unwrap().iter().enumerate() {
            let want = differences(&self.arguments, argument, |changed| self.loss(changed));
            assert_close(&format!("gradient {argument}"), got, &want, 1e-4);
        }
    }
}

prop_compose! {
    fn shapes(trials: usize, bins: usize, hidden: usize)(
        n_trials in 1..=trials, n_bins in 1..=bins, controller in 1..=hidden,
        generator in 1..=hidden, n_inputs in 1..=4_usize,
        n_factors in 1..=5_usize,
    ) -> ControlledShape {
        ControlledShape { n_bins, n_trials, controller, generator, n_inputs, n_factors }
    }
}

fn clips() -> impl Strategy<Value = Option<f32>> {
    // A bound of 0.4 clips about half of the states.
    prop_oneof![Just(None), Just(Some(5.0)), Just(Some(0.4))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn controlled_generation_and_gradients_match_the_reference(
        shape in shapes(3, 5, 5), is_scaled: bool, clip in clips(), seed in 0..1000_u64,
    ) {
        Case::new(shape, is_scaled, clip, seed).check(true);
    }

    /// Several chunks, blocks and tiles.
    #[test]
    fn large_controlled_generation_matches_the_reference(
        shape in shapes(90, 12, 40), is_scaled: bool, seed in 0..1000_u64,
    ) {
        Case::new(shape, is_scaled, Some(5.0), seed).check(false);
    }
}

/// Small enough for Miri.
#[test]
fn small_controlled_generation_matches_the_reference() {
    let shape = ControlledShape {
        n_bins: 3,
        n_trials: 2,
        controller: 3,
        generator: 4,
        n_inputs: 2,
        n_factors: 2,
    };
    Case::new(shape, true, Some(5.0), 1).check(true);
}

/// Several chunks and blocks, whose sums the differences of a small case do not see.
#[test]
fn gradients_of_many_trials_are_those_of_each() {
    let shape = ControlledShape {
        n_bins: 9,
        n_trials: 80,
        controller: 6,
        generator: 5,
        n_inputs: 2,
        n_factors: 3,
    };
    let case = Case::new(shape, true, None, 7);
    let out = case.run(Isa::best());
    let got = case.gradients(Isa::best(), &out);
    for argument in [3, 5, 7, 10] {
        let want = differences(&case.arguments, argument, |changed| case.loss(changed));
        assert_close("gradient", &got[argument], &want, 1e-4);
    }
}

#[test]
fn controlled_generation_does_not_depend_on_the_number_of_threads() {
    let shape = ControlledShape {
        n_bins: 7,
        n_trials: 100,
        controller: 20,
        generator: 18,
        n_inputs: 3,
        n_factors: 4,
    };
    let case = Case::new(shape, true, Some(5.0), 3);
    assert_same_on_any_threads(|| {
        let out = case.run(Isa::best());
        let gradients = case.gradients(Isa::best(), &out);
        (out.factors, out.posterior, out.control, gradients)
    });
}

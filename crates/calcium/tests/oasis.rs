//! What any answer of OASIS must satisfy, on random traces.

use calcium::oasis::{Ar1Problem, Deconvolved, Workspace};
use calcium::{Ar1, CalciumError};
use proptest::prelude::*;

const NAN: f64 = f64::NAN;

fn problem(g: f64, lambda: f64, s_min: f64) -> Ar1Problem {
    Ar1Problem::new(Ar1::new(g).unwrap())
        .with_lambda(lambda)
        .and_then(|problem| problem.with_s_min(s_min))
        .unwrap()
}

fn solve(g: f64, lambda: f64, s_min: f64, trace: &[f64]) -> Deconvolved<f64> {
    problem(g, lambda, s_min).deconvolve(trace).unwrap()
}

fn decay() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.0f64..1.0, 0.9f64..0.999]
}

fn complete_trace(max_bins: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1.0f64..2.0, 2..max_bins)
}

fn trace_with_gaps(max_bins: usize) -> impl Strategy<Value = Vec<f64>> {
    let frame = prop_oneof![4 => -1.0f64..2.0, 1 => Just(NAN)];
    prop::collection::vec(frame, 2..max_bins)
}

/// The weight of each frame's calcium in the L1 penalty.
fn penalty(g: f64, lambda: f64, n_bins: usize) -> Vec<f64> {
    let mut mu = vec![lambda * (1.0 - g); n_bins];
    mu[n_bins - 1] = lambda;
    mu
}

/// ½‖c − y‖² + Σ mu·c over the frames that have data.
fn objective(trace: &[f64], calcium: &[f64], mu: &[f64]) -> f64 {
    let frames = trace.iter().zip(calcium).zip(mu);
    frames
        .filter(|((y, _), _)| !y.is_nan())
        .map(|((y, c), mu)| 0.5 * (c - y).powi(2) + mu * c)
        .sum()
}

/// Calcium at every frame, predicted through the gaps; the first frame must have data.
fn without_gaps(g: f64, calcium: &[f64]) -> Vec<f64> {
    let mut now = NAN;
    let fill = |&c: &f64| {
        now = if c.is_nan() { g * now } else { c };
        now
    };
    calcium.iter().map(fill).collect()
}

/// The least objective over all ways to choose the frames with spikes, each solved exactly.
fn best_by_enumeration(g: f64, mu: &[f64], trace: &[f64]) -> f64 {
    let n_bins = trace.len();
    let mut best = f64::INFINITY;
    for onsets in 0u32..1 << n_bins {
        let mut calcium = vec![0.0; n_bins];
        let is_onset = |t: usize| onsets >> t & 1 == 1;
        for start in (0..n_bins).filter(|&t| is_onset(t)) {
            let n_frames = 1 + (start + 1..n_bins).take_while(|&t| !is_onset(t)).count();
            let powers: Vec<f64> = (0..n_frames).map(|k| g.powf(k as f64)).collect();
            let weighted: f64 = (0..n_frames)
                .map(|k| powers[k] * (trace[start + k] - mu[start + k]))
                .sum();
            let weight: f64 = powers.iter().map(|power| power * power).sum();
            for k in 0..n_frames {
                calcium[start + k] = powers[k] * weighted / weight;
            }
        }
        let feasible = calcium[0] >= 0.0
            && calcium
                .windows(2)
                .all(|pair| pair[1] >= g * pair[0] - 1e-12);
        if feasible {
            best = best.min(objective(trace, &calcium, mu));
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_convex_problem_is_solved_to_optimality(
        g in decay(), lambda in 0.0f64..1.0, trace in trace_with_gaps(60),
    ) {
        let result = solve(g, lambda, 0.0, &trace);
        let mu = penalty(g, lambda, trace.len());
        // The derivative of the objective by a spike at t sums what it adds to all later frames.
        let mut gradient = 0.0;
        for t in (0..trace.len()).rev() {
            let residual = result.calcium[t] - trace[t] + mu[t];
            gradient = g * gradient + if trace[t].is_nan() { 0.0 } else { residual };
            prop_assert!(gradient > -1e-9, "a spike at {t} would lower the objective: {gradient}");
            let spike = if t == 0 { result.calcium[0] } else { result.spikes[t] };
            prop_assert!(spike.is_nan() || spike < 1e-9 || gradient < 1e-9,
                "the spike at {t} should be smaller: {gradient}");
        }
    }

    #[test]
    fn no_choice_of_spike_frames_does_better(
        g in decay(), lambda in 0.0f64..1.0, trace in complete_trace(9),
    ) {
        let mu = penalty(g, lambda, trace.len());
        let found = objective(&trace, &solve(g, lambda, 0.0, &trace).calcium, &mu);
        let best = best_by_enumeration(g, &mu, &trace);
        prop_assert!((found - best).abs() < 1e-9, "objective {found}, but {best} is possible");
    }

    #[test]
    fn spikes_are_zero_or_reach_the_threshold(
        g in decay(), lambda in 0.0f64..0.5, s_min in 0.0f64..1.0, trace in trace_with_gaps(60),
    ) {
        let result = solve(g, lambda, s_min, &trace);
        for (t, &spike) in result.spikes.iter().enumerate() {
            prop_assert!(spike.is_nan() || spike.abs() < 1e-12 || spike > s_min - 1e-12,
                "spike {spike} at {t} is below {s_min}");
        }
        prop_assert!(result.calcium.iter().all(|&c| c.is_nan() || c >= 0.0));
    }

    #[test]
    fn thresholded_calcium_fits_best_between_its_spikes(
        g in 0.05f64..0.999, lambda in 0.0f64..0.5, s_min in 0.1f64..1.0, trace in complete_trace(60),
    ) {
        let result = solve(g, lambda, s_min, &trace);
        let mu = penalty(g, lambda, trace.len());
        let onsets = (0..trace.len()).filter(|&t| t == 0 || result.spikes[t] > 1e-12);
        for start in onsets {
            let end = (start + 1..trace.len()).find(|&t| result.spikes[t] > 1e-12).unwrap_or(trace.len());
            let slope: f64 = (start..end)
                .map(|t| g.powf((t - start) as f64) * (result.calcium[t] - trace[t] + mu[t]))
                .sum();
            prop_assert!(slope.abs() < 1e-9 || result.calcium[start] == 0.0);
        }
        let silent = objective(&trace, &vec![0.0; trace.len()], &mu);
        prop_assert!(objective(&trace, &result.calcium, &mu) <= silent + 1e-12);
    }

    #[test]
    fn calcium_decays_between_spikes(
        g in decay(), s_min in 0.0f64..1.0, trace in trace_with_gaps(60),
    ) {
        prop_assume!(!trace[0].is_nan());
        let result = solve(g, 0.0, s_min, &trace);
        let calcium = without_gaps(g, &result.calcium);
        for t in (1..trace.len()).filter(|&t| !trace[t].is_nan()) {
            prop_assert!((calcium[t] - g * calcium[t - 1] - result.spikes[t]).abs() < 1e-12);
        }
    }

    #[test]
    fn noiseless_spikes_are_recovered(
        g in 0.0f64..0.999,
        spikes in prop::collection::vec(prop_oneof![3 => Just(0.0), 1 => 0.6f64..3.0], 1..100),
    ) {
        let mut spikes = spikes;
        spikes[0] = 0.0;
        let trace = Ar1::new(g).unwrap().convolve(&spikes);
        let result = solve(g, 0.0, 0.5, &trace);
        for (found, expected) in result.spikes.iter().zip(&spikes) {
            prop_assert!((found - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn scaling_the_problem_scales_the_answer(
        g in decay(), lambda in 0.0f64..1.0, s_min in 0.0f64..1.0, power in -8i32..8,
        trace in trace_with_gaps(60),
    ) {
        let scale = 2f64.powi(power);
        let scaled: Vec<f64> = trace.iter().map(|y| scale * y).collect();
        let plain = solve(g, lambda, s_min, &trace);
        let scaled = solve(g, scale * lambda, scale * s_min, &scaled);
        for (a, b) in plain.calcium.iter().zip(&scaled.calcium) {
            prop_assert_eq!((scale * a).to_bits(), b.to_bits());
        }
        for (a, b) in plain.spikes.iter().zip(&scaled.spikes) {
            prop_assert_eq!((scale * a).to_bits(), b.to_bits());
        }
    }

    #[test]
    fn missing_frames_keep_time(g in 0.05f64..0.999, trace in complete_trace(40)) {
        // Every other frame missing at decay √g is the same problem as all frames at decay g.
        let spread: Vec<f64> = trace.iter().flat_map(|&y| [y, NAN]).collect();
        let plain = solve(g, 0.0, 0.0, &trace);
        let spread = solve(g.sqrt(), 0.0, 0.0, &spread);
        for (t, c) in plain.calcium.iter().enumerate() {
            prop_assert!((spread.calcium[2 * t] - c).abs() < 1e-9);
            prop_assert!(spread.calcium[2 * t + 1].is_nan() && spread.spikes[2 * t + 1].is_nan());
        }
    }

    #[test]
    fn filling_gaps_with_their_prediction_changes_nothing(
        g in decay(), trace in trace_with_gaps(40),
    ) {
        prop_assume!(!trace[0].is_nan());
        let result = solve(g, 0.0, 0.0, &trace);
        let predicted = without_gaps(g, &result.calcium);
        let filled: Vec<f64> = trace.iter().zip(&predicted)
            .map(|(&y, &c)| if y.is_nan() { c } else { y })
            .collect();
        for (a, b) in solve(g, 0.0, 0.0, &filled).calcium.iter().zip(&predicted) {
            prop_assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn single_precision_agrees_with_double(
        g in decay(), lambda in 0.0f64..1.0, trace in trace_with_gaps(60),
    ) {
        let narrow: Vec<f32> = trace.iter().map(|&y| y as f32).collect();
        let single = problem(g, lambda, 0.0).deconvolve(&narrow).unwrap();
        let double = solve(g, lambda, 0.0, &trace);
        for (a, b) in single.calcium.iter().zip(&double.calcium) {
            prop_assert!((f64::from(*a) - b).abs() < 1e-6 || (a.is_nan() && b.is_nan()));
        }
    }

    #[test]
    fn many_traces_are_each_deconvolved_alone(
        traces in prop::collection::vec(prop::collection::vec(-1.0f32..2.0, 7), 1..40),
    ) {
        let problem = problem(0.9, 0.1, 0.3);
        let flat = problem.deconvolve_many(&traces.concat(), 7).unwrap();
        for (t, trace) in traces.iter().enumerate() {
            let alone = problem.deconvolve(trace).unwrap();
            prop_assert_eq!(&flat.calcium[7 * t..7 * (t + 1)], &alone.calcium[..]);
            prop_assert_eq!(&flat.spikes[7 * t..7 * (t + 1)], &alone.spikes[..]);
        }
    }
}

#[test]
fn hand_worked_conventions() {
    // 0.94 and 1.9 as the last frame bears all of lambda: (0.95 + 0.5·0.45)/1.25, 2 − 0.1.
    let result = solve(0.5, 0.1, 0.0, &[1.0, 0.5, 2.0]);
    for (found, expected) in result.calcium.iter().zip([0.94, 0.47, 1.9]) {
        assert!((found - expected).abs() < 1e-12);
    }
    for (found, expected) in result.spikes.iter().zip([0.0, 0.0, 1.665]) {
        assert!((found - expected).abs() < 1e-12);
    }
}

#[test]
fn a_workspace_carries_nothing_over() {
    let problem = problem(0.9, 0.0, 0.5);
    let (long, short) = ([0.0, 3.0, 1.0, 2.0, 5.0, 0.1], [1.0, 0.2]);
    let mut workspace = Workspace::default();
    let (mut calcium, mut spikes) = ([9.0; 6], [9.0; 6]);
    problem
        .deconvolve_into(&long, &mut calcium, &mut spikes, &mut workspace)
        .unwrap();
    problem
        .deconvolve_into(&short, &mut calcium[..2], &mut spikes[..2], &mut workspace)
        .unwrap();
    let alone = problem.deconvolve(&short).unwrap();
    assert_eq!(
        (&calcium[..2], &spikes[..2]),
        (&alone.calcium[..], &alone.spikes[..])
    );
}

#[test]
fn a_trace_without_data_has_no_answer() {
    let result = solve(0.9, 0.1, 0.5, &[NAN, NAN]);
    assert!(
        result
            .calcium
            .iter()
            .chain(&result.spikes)
            .all(|x| x.is_nan())
    );
}

#[test]
fn bad_input_is_named() {
    let plain = problem(0.9, 0.0, 0.0);
    let error = plain
        .deconvolve(&[0.0, NAN, f64::NEG_INFINITY])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the trace is -inf at frame 2; mark frames without data as NaN instead"
    );
    assert_eq!(
        plain.deconvolve::<f32>(&[]).unwrap_err(),
        CalciumError::EmptyTrace
    );
    assert_eq!(
        plain.deconvolve_many::<f32>(&[], 0).unwrap_err(),
        CalciumError::EmptyTrace
    );

    for value in [-0.5, f64::INFINITY, NAN] {
        let error = plain.with_lambda(value).unwrap_err().to_string();
        assert!(error.starts_with(&format!("lambda = {value} ")), "{error}");
        let error = plain.with_s_min(value).unwrap_err().to_string();
        assert!(error.starts_with(&format!("s_min = {value} ")), "{error}");
    }

    let mut workspace = Workspace::default();
    let error = plain
        .deconvolve_into(&[0.0; 3], &mut [0.0; 3], &mut [0.0; 2], &mut workspace)
        .unwrap_err();
    assert_eq!(
        error,
        CalciumError::OutputLength {
            name: "spikes",
            expected: 3,
            found: 2
        }
    );

    let error = plain
        .deconvolve_many_into(&[0.0; 6], 3, &mut [0.0; 5], &mut [0.0; 6])
        .unwrap_err();
    assert_eq!(
        error,
        CalciumError::OutputLength {
            name: "calcium",
            expected: 6,
            found: 5
        }
    );

    let error = plain.deconvolve_many(&[0.0; 7], 3).unwrap_err();
    assert_eq!(
        error,
        CalciumError::NotWholeTraces {
            n_samples: 7,
            n_bins: 3
        }
    );
    let mut traces = [0.0f32; 300];
    (traces[50], traces[271]) = (f32::INFINITY, f32::INFINITY);
    let error = plain.deconvolve_many(&traces, 3).unwrap_err().to_string();
    assert!(
        error.starts_with("trace 16: the trace is inf at frame 2"),
        "{error}"
    );
}

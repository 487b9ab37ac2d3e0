//! Windows cover a recording and merge back to it.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use data::Windows;
use ndarray::{Array2, Array3, s};
use proptest::prelude::*;

/// `n_bins`, `length`, `overlap` with overlap < length <= n_bins.
fn layouts() -> impl Strategy<Value = (usize, usize, usize)> {
    (1_usize..200)
        .prop_flat_map(|n| (Just(n), 1..=n))
        .prop_flat_map(|(n, length)| (Just(n), Just(length), 0..length))
}

proptest! {
    #[test]
    fn merging_what_was_cut_gives_the_trace((n, length, overlap) in layouts(), seed in any::<u32>()) {
        let value = |i: usize| (i as f32 * 0.37 + seed as f32).sin();
        let trace = Array2::from_shape_fn((n, 2), |(t, j)| value(2 * t + j));
        let windows = Windows::new(n, length, overlap).unwrap();
        let cut = windows.cut(trace.view()).unwrap();
        prop_assert_eq!(windows.merge(cut.view()).unwrap(), trace);
    }

    #[test]
    fn neighbours_overlap_and_every_bin_is_covered((n, length, overlap) in layouts()) {
        let windows = Windows::new(n, length, overlap).unwrap();
        let starts = windows.starts();
        prop_assert_eq!(starts[0], 0);
        prop_assert_eq!(starts[starts.len() - 1] + length, n);
        for pair in starts.windows(2) {
            prop_assert!(pair[0] < pair[1] && pair[1] + overlap <= pair[0] + length);
        }
    }

    #[test]
    fn a_merge_stays_between_its_windows((n, length, overlap) in layouts()) {
        let windows = Windows::new(n, length, overlap).unwrap();
        let n_windows = windows.starts().len();
        let values = Array3::from_shape_fn((n_windows, length, 1), |(w, _, _)| w as f32);
        let merged = windows.merge(values.view()).unwrap();
        let last = (n_windows - 1) as f32;
        prop_assert!(merged.iter().all(|v| (0.0..=last).contains(v)));
    }
}

#[test]
fn a_crossfade_by_hand() {
    // Two windows of 4 bins share bins 2 and 3: weights sin² of 60° and 30° against the reverse.
    let windows = Windows::new(6, 4, 2).unwrap();
    let mut values = Array3::zeros((2, 4, 1));
    values.slice_mut(s![1, .., ..]).fill(3.0);
    let merged = windows.merge(values.view()).unwrap();
    let want = [0.0, 0.0, 0.75, 2.25, 3.0, 3.0];
    for (got, want) in merged.column(0).iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{merged}");
    }
}

/// Windows that disagree by up to a whole unit, and whose first bins are worse still.
#[test]
fn no_seam_is_seen_where_windows_begin_and_end() {
    let (n, length) = (800, 100);
    let windows = Windows::new(n, length, length / 2).unwrap();
    let starts = windows.starts();
    let values = Array3::from_shape_fn((starts.len(), length, 1), |(w, bin, _)| {
        let truth = (std::f64::consts::TAU * (starts[w] + bin) as f64 / 60.0).sin();
        let offset = (2.4 * w as f64).sin();
        (truth + offset + 0.5 * (-(bin as f64) / 4.0).exp()) as f32
    });
    let merged = windows.merge(values.view()).unwrap();
    let curvature: Vec<f32> = (1..n - 1)
        .map(|t| (merged[[t - 1, 0]] - 2.0 * merged[[t, 0]] + merged[[t + 1, 0]]).abs())
        .collect();
    let mut sorted = curvature.clone();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    let seams = starts[1..]
        .iter()
        .flat_map(|&start| [start, start - 1 + length / 2]);
    for seam in seams.flat_map(|seam| seam - 2..=seam + 2) {
        let at_seam = curvature[seam - 1];
        assert!(
            at_seam <= 3.0 * median,
            "bin {seam}: {at_seam}, median {median}"
        );
    }
}

#[test]
fn impossible_windows() {
    for (n, length, overlap) in [(10, 11, 0), (10, 4, 4), (0, 0, 0)] {
        let said = Windows::new(n, length, overlap).unwrap_err().to_string();
        let wanted = format!(
            "windows of {length} bins that overlap by {overlap} cannot cover {n} bins; \
             choose overlap < length <= {n}"
        );
        assert_eq!(said, wanted);
    }
    let windows = Windows::new(10, 5, 2).unwrap();
    let said = windows.cut(Array2::zeros((9, 3)).view()).unwrap_err();
    assert!(said.to_string().contains("`trace` has shape [9, 3]"));
    let said = windows.merge(Array3::zeros((2, 5, 3)).view()).unwrap_err();
    assert!(said.to_string().contains("has [3, 5, 3]"), "{said}");
}

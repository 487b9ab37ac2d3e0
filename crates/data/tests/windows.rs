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
    // Two windows of 4 bins share bins 2 and 3: weights 2, 1 against 1, 2 of 3.
    let windows = Windows::new(6, 4, 2).unwrap();
    let mut values = Array3::zeros((2, 4, 1));
    values.slice_mut(s![1, .., ..]).fill(3.0);
    let merged = windows.merge(values.view()).unwrap();
    assert_eq!(merged.column(0).to_vec(), [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]);
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

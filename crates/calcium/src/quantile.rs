//! Values in the middle, and at other places, of sorted samples.

/// The middle of the samples, of an even number the mean of the two; none of none.
///
/// # Example
/// ```
/// use calcium::estimate::median;
///
/// assert_eq!(median([3.0, 1.0, 8.0]), Some(3.0));
/// assert_eq!(median([3.0, 1.0, 8.0, 4.0]), Some(3.5));
/// assert_eq!(median([]), None);
/// ```
pub fn median(samples: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut samples: Vec<f64> = samples.into_iter().collect();
    samples.sort_unstable_by(f64::total_cmp);
    quantile(&samples, 0.5)
}

/// Linear between the sorted samples; none of none.
pub(crate) fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let rank = fraction * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    Some(below + rank.fract() * (above - below))
}

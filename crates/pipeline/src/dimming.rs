//! Baselines that fall or drift, in one line.

use calcium::estimate::median;

/// Of how many neurons the baseline falls, how far, and `what_then`: each neuron's lowest share of its highest baseline, or
/// nothing where it stays. No line if all stay.
pub fn dimming_line(
    dimmed_to: impl IntoIterator<Item = Option<f64>>,
    what_then: &str,
) -> Option<String> {
    let neurons: Vec<Option<f64>> = dimmed_to.into_iter().collect();
    let middle = median(neurons.iter().copied().flatten())?;
    Some(format!(
        "the baseline falls or drifts in {} of {} neurons, to {:.0} % of its highest in the middle one (bleaching?): transients dim with it{what_then}",
        neurons.iter().flatten().count(),
        neurons.len(),
        100.0 * middle
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_fall_are_counted_and_the_middle_one_told() {
        let line = dimming_line([Some(0.5), None, Some(0.8), Some(0.6)], ", so");
        let line = line.expect("some fall");
        assert!(line.contains("in 3 of 4 neurons, to 60 % "), "{line}");
        assert!(line.ends_with("dim with it, so"), "{line}");
        assert_eq!(dimming_line([None, None], ""), None);
    }
}

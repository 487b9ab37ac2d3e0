//! Trials that are joined in one trace.

use std::ops::Range;

/// Where each trial lies in a trace of `n_frames`: they begin at `starts`, ascending, and the first at 0 whatever those
/// say. Empty ones, and those that would begin behind the end, are left out.
pub fn trials(n_frames: usize, starts: &[usize]) -> Vec<Range<usize>> {
    let bounds = || starts.iter().copied().filter(|start| *start < n_frames);
    let firsts = std::iter::once(0).chain(bounds());
    let ends = bounds().chain([n_frames]);
    let trials = firsts.zip(ends).map(|(first, end)| first..end);
    trials.filter(|trial| !trial.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_cover_the_trace() {
        assert_eq!(trials(9, &[]), vec![Range { start: 0, end: 9 }]);
        assert_eq!(trials(9, &[0, 4, 4, 20]), [0..4, 4..9]);
        assert_eq!(trials(9, &[3]), [0..3, 3..9]);
        assert!(trials(0, &[0]).is_empty());
    }
}

//! What neurons, trials and times a list has, of whose lines none is kept.

use std::collections::HashMap;

/// Names beyond which they are not looked at.
const MOST_NEURONS: usize = 100_000;

/// Neurons, trials and times, as lines come.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) ids: Places,
    pub(super) trials: Places,
    pub(super) n_lines: usize,
    /// Of each trial.
    times: Vec<Seen>,
    /// Of each neuron.
    steps: Vec<Steps>,
}

impl Survey {
    pub(super) fn see(&mut self, id: &str, trial: Option<&str>, time: f64) {
        self.n_lines += 1;
        // Then these are values, and no neurons.
        if self.ids.names.len() > MOST_NEURONS {
            return;
        }
        let neuron = self.ids.add(id);
        if neuron == self.steps.len() {
            self.steps.push(Steps::default());
        }
        self.steps[neuron].see(time);
        let trial = trial.map_or(0, |trial| self.trials.add(trial));
        if trial == self.times.len() {
            self.times.push(Seen::default());
        }
        self.times[trial].see(time);
    }

    /// Whether there are as few neurons as a list has: each in several lines.
    pub(super) fn is_list(&self) -> bool {
        let n_ids = self.ids.names.len();
        (1..=MOST_NEURONS).contains(&n_ids) && self.n_lines >= 2 * n_ids
    }

    /// Whether nearly every line is as long after the one before it of its neuron as that was after its own, as of
    /// frames and not of spikes.
    pub(super) fn is_regular(&self) -> bool {
        let sum = |of: fn(&Steps) -> usize| -> usize { self.steps.iter().map(of).sum() };
        let (n_steps, n_alike) = (sum(|steps| steps.n), sum(|steps| steps.n_alike));
        n_steps > 0 && 10 * n_alike >= 9 * n_steps
    }

    /// The times of each trial. Neurons that have numbers stand in their order from then on.
    pub(super) fn settle(&mut self) -> Vec<Times> {
        self.ids.sort();
        let seen = std::mem::take(&mut self.times).into_iter();
        seen.map(Seen::settle).collect()
    }
}

/// Names in the order of their first appearance.
#[derive(Default)]
pub(super) struct Places {
    pub(super) names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Places {
    fn add(&mut self, name: &str) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let place = self.names.len();
        self.by_name.insert(name.to_owned(), place);
        self.names.push(name.to_owned());
        place
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// By their numbers, if all are some.
    fn sort(&mut self) {
        let number = |name: &String| Some((name.parse::<f64>().ok()?, name.clone()));
        let numbers: Option<Vec<(f64, String)>> = self.names.iter().map(number).collect();
        let Some(mut numbers) = numbers else { return };
        numbers.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.names = numbers.into_iter().map(|(_, name)| name).collect();
        for (place, name) in self.names.iter().enumerate() {
            self.by_name.insert(name.clone(), place);
        }
    }
}

/// Steps between the lines of one neuron.
#[derive(Default)]
struct Steps {
    last: Option<f64>,
    last_step: Option<f64>,
    /// Steps that have one before them, and those that are as long.
    n: usize,
    n_alike: usize,
}

impl Steps {
    fn see(&mut self, time: f64) {
        let step = self.last.replace(time).map(|last| time - last);
        let Some(step) = step else { return };
        if let Some(last) = self.last_step.replace(step) {
            self.n += 1;
            self.n_alike += usize::from((step - last).abs() < ALIKE * last);
        }
    }
}

/// Share of a step by which the next may be longer or shorter.
const ALIKE: f64 = 0.2;
/// Times out of order are sorted in when they are so many, and a share of those in order.
const FEWEST_OUT_OF_ORDER: usize = 4096;
const SHARE_OUT_OF_ORDER: usize = 8;

/// The times that were seen so far, each once.
#[derive(Default)]
struct Seen {
    in_order: Times,
    cursor: usize,
    /// Perhaps several times.
    out_of_order: Vec<f64>,
}

impl Seen {
    fn see(&mut self, time: f64) {
        // Of two zeros one.
        let time = time + 0.0;
        if self.in_order.place(time, &mut self.cursor).is_some() {
            return;
        }
        if self.in_order.0.last().is_none_or(|last| time > *last) {
            self.in_order.0.push(time);
            return;
        }
        self.out_of_order.push(time);
        let share = self.in_order.len() / SHARE_OUT_OF_ORDER;
        if self.out_of_order.len() > share.max(FEWEST_OUT_OF_ORDER) {
            self.sort_in();
        }
    }

    fn sort_in(&mut self) {
        let times = &mut self.in_order.0;
        times.append(&mut self.out_of_order);
        times.sort_by(f64::total_cmp);
        times.dedup_by(|a, b| a.total_cmp(b).is_eq());
    }

    fn settle(mut self) -> Times {
        self.sort_in();
        self.in_order
    }
}

/// The times of a trial in order, each once.
#[derive(Default)]
pub(super) struct Times(Vec<f64>);

impl Times {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    /// The place of a time. Lists go through their times in order, neuron by neuron or all neurons at each:
    /// that of the last line says where to look first.
    pub(super) fn place(&self, time: f64, cursor: &mut usize) -> Option<usize> {
        let time = time + 0.0;
        let is_at = |place: usize| {
            self.0
                .get(place)
                .is_some_and(|t| t.total_cmp(&time).is_eq())
        };
        let near = [*cursor, *cursor + 1, 0]
            .into_iter()
            .find(|&place| is_at(place));
        let place = near.or_else(|| self.0.binary_search_by(|t| t.total_cmp(&time)).ok())?;
        *cursor = place;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(64)
        })]

        /// Whatever the order of the lines, times are those of a set.
        #[test]
        fn times_are_those_of_a_set(
            times in prop::collection::vec(0_u16..6000, 1..20_000),
            neurons in 1_usize..3,
        ) {
            let mut survey = Survey::default();
            for neuron in 0..neurons {
                for time in &times {
                    survey.see(&neuron.to_string(), None, f64::from(*time) - 100.0);
                }
            }
            let found = survey.settle().remove(0);
            let set: std::collections::BTreeSet<u16> = times.iter().copied().collect();
            let wanted: Vec<f64> = set.into_iter().map(|time| f64::from(time) - 100.0).collect();
            prop_assert_eq!(&found.0, &wanted);
            let mut cursor = 0;
            for time in times.iter().map(|time| f64::from(*time) - 100.0) {
                let place = found.place(time, &mut cursor);
                prop_assert_eq!(place.map(|place| wanted[place]), Some(time));
            }
            prop_assert_eq!(found.place(-1000.0, &mut cursor), None);
        }
    }

    #[test]
    fn steps_of_frames_are_alike_and_those_of_spikes_are_not() {
        let is_regular = |time: &dyn Fn(f64) -> f64| {
            let mut survey = Survey::default();
            for line in 0..60 {
                survey.see(&(line % 2).to_string(), None, time(f64::from(line)));
            }
            survey.is_regular()
        };
        assert!(is_regular(&|line| 0.033 * line + 0.001 * (line % 2.0)));
        assert!(!is_regular(&|line| line + 0.9 * (line * line).sin()));
    }

    #[test]
    fn numbers_stand_in_their_order_and_names_as_they_come() {
        let order = |ids: &[&str]| {
            let mut survey = Survey::default();
            for id in ids {
                survey.see(id, None, 0.0);
            }
            survey.settle();
            assert!((0..ids.len()).all(|n| survey.ids.place(&survey.ids.names[n]) == Some(n)));
            survey.ids.names
        };
        assert_eq!(order(&["10", "9", "100"]), ["9", "10", "100"]);
        assert_eq!(order(&["b", "9", "a"]), ["b", "9", "a"]);
    }
}

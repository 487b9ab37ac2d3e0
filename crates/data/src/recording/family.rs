//! Names of columns that are one family, such as `cell_0`, `cell_1`, …, and those that are none of it.

use std::collections::HashMap;

use ndarray::Axis;

use super::draft::Draft;
use super::options::AxisOrder;

/// Fewest names of one kind that make a family.
const FEWEST: usize = 3;

/// What an animal does, and what is done to it, where a column without a number is called so.
const BEHAVIOUR: [&str; 16] = [
    "speed",
    "velocity",
    "running",
    "locomotion",
    "wheel",
    "treadmill",
    "lick",
    "licks",
    "licking",
    "pupil",
    "whisking",
    "reward",
    "rewards",
    "stim",
    "stimulus",
    "laser",
];

/// Leaves out the columns that are called otherwise than the cells, or as behaviour is: a note in any case, and one
/// of columns that may be the same cells twice.
pub(super) fn leave_strangers(draft: &mut Draft) {
    leave_out(draft);
    let by_column = draft.order == Some(AxisOrder::TimeNeuron);
    let ids = draft.neuron_ids.as_deref().filter(|_| by_column);
    draft.notes.extend(ids.and_then(twice));
}

/// A note of columns of several kinds with the same numbers, such as `F_0` and `Fneu_0`.
fn twice(names: &[String]) -> Option<String> {
    let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
    for name in names {
        let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
        let start = name[..end]
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .len();
        let kind = format!("{}…{}", &name[..start], &name[end..]);
        match kinds.iter().position(|(known, _)| *known == kind) {
            Some(known) => kinds[known].1.push(&name[start..end]),
            None if kinds.len() == MOST_KINDS => return None,
            None => kinds.push((kind, vec![&name[start..end]])),
        }
    }
    let (_, numbers) = kinds.first()?;
    let is_same = kinds.iter().all(|(_, others)| others == numbers);
    let listed = kinds.iter().map(|(kind, _)| format!("`{kind}`"));
    let listed: Vec<String> = listed.collect();
    (kinds.len() > 1 && numbers.len() > 1 && is_same).then(|| {
        format!(
            "columns of {} kinds have the same numbers, {}: all are taken for neurons",
            kinds.len(),
            listed.join(", ")
        )
    })
}

/// Kinds of columns that are told apart, at most.
const MOST_KINDS: usize = 4;

fn leave_out(draft: &mut Draft) {
    let Some(ids) = &draft.neuron_ids else {
        return;
    };
    let names: Vec<&str> = ids.iter().map(|id| id.trim()).collect();
    let by_column = draft.order == Some(AxisOrder::TimeNeuron);
    let found = match by_column {
        true => family(&names).or_else(|| behaviour(&names)),
        false => None,
    };
    let Some(family) = found else {
        return;
    };
    let strangers = family.strangers.iter().map(|&n| format!("`{}`", names[n]));
    let listed = strangers.collect::<Vec<_>>().join(", ");
    let kept: Vec<usize> = (0..ids.len())
        .filter(|n| !family.strangers.contains(n))
        .collect();
    let note = format!(
        "{listed}: {}, no neuron, left out (one that is a neuron needs a name like the others')",
        family.how
    );
    let ids = kept.iter().map(|&n| ids[n].clone()).collect();
    draft.values = draft.values.select(Axis(1), &kept);
    draft.neuron_ids = Some(ids);
    draft.notes.push(note);
}

/// What most of the columns are called.
#[derive(Debug, PartialEq)]
struct Family {
    /// How the others differ from them, in words.
    how: String,
    /// Places of the columns that have no number, and are called something else.
    strangers: Vec<usize>,
}

/// The family of half of the names or more, where there are others without a number: speed, licks
/// or a stimulus beside cells. `None` where the names do not tell.
fn family(names: &[&str]) -> Option<Family> {
    let stems: Vec<Option<String>> = names.iter().map(|name| stem(name)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for stem in stems.iter().flatten() {
        *counts.entry(stem).or_default() += 1;
    }
    let (stem, n) = counts.into_iter().max_by_key(|&(stem, n)| (n, stem))?;
    let strangers = stems.iter().enumerate().filter(|(_, stem)| stem.is_none());
    let strangers: Vec<usize> = strangers.map(|(place, _)| place).collect();
    let is_family = n >= FEWEST && 2 * n >= names.len() && !strangers.is_empty();
    let n_kept = names.len() - strangers.len();
    is_family.then(|| Family {
        how: format!("called otherwise than the {n_kept} columns `{stem}…`"),
        strangers,
    })
}

/// Columns that are called as behaviour is, where most are not.
fn behaviour(names: &[&str]) -> Option<Family> {
    let is_behaviour = |name: &str| {
        let words = name.to_lowercase();
        let mut words = words.split(|c: char| !c.is_alphanumeric());
        stem(name).is_none() && words.any(|word| BEHAVIOUR.contains(&word))
    };
    let strangers: Vec<usize> = (0..names.len())
        .filter(|&n| is_behaviour(names[n]))
        .collect();
    (!strangers.is_empty() && 2 * strangers.len() < names.len()).then(|| Family {
        how: "called as behaviour is".to_owned(),
        strangers,
    })
}

/// What a numbered name begins with, in lower case; `None` of one without a number.
fn stem(name: &str) -> Option<String> {
    let digit = name.find(|c: char| c.is_ascii_digit())?;
    let is_sign = |c: char| !c.is_alphanumeric();
    Some(name[..digit].trim_end_matches(is_sign).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_otherwise_is_no_neuron() {
        let found = family(&["speed", "cell_0", "cell_1", "cell_2", "licks"]);
        assert_eq!(found.map(|f| f.strangers), Some(vec![0, 4]));
        let found = family(&["0", "1", "2", "pupil"]);
        assert_eq!(found.map(|f| f.strangers), Some(vec![3]));
    }

    #[test]
    fn behaviour_is_no_neuron_whatever_the_cells_are_called() {
        let found = |names: &[&str]| behaviour(names).map(|f| f.strangers);
        assert_eq!(found(&["a", "b", "Running speed (cm/s)"]), Some(vec![2]));
        for names in [
            &["a", "soma"][..],
            &["a", "speed"],
            &["stim1", "stim2", "a"],
            &[],
        ] {
            assert_eq!(found(names), None, "{names:?}");
        }
    }

    #[test]
    fn columns_of_the_same_cells_are_named() {
        let said = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            twice(&names).unwrap_or_default()
        };
        assert!(said(&["F_0", "F_1", "Fneu_0", "Fneu_1"]).contains("`F_…`, `Fneu_…`"));
        assert!(said(&["c1_raw", "c1_dff", "c2_raw", "c2_dff"]).contains("`c…_raw`, `c…_dff`"));
        for names in [
            &["c0", "c1"][..],
            &["c0", "c1", "d2"],
            &["a", "b"],
            &["a1", "b1"],
            &[],
        ] {
            assert_eq!(said(names), "", "{names:?}");
        }
    }

    #[test]
    fn names_without_a_family_tell_nothing() {
        for names in [
            &["a", "b", "c", "speed"][..],
            &["cell_0", "cell_1", "cell_2"],
            &["cell_0", "soma", "axon", "cell_1"],
            &["roi1", "roi2", "soma3", "dendrite4"],
            &[],
        ] {
            assert_eq!(family(names), None, "{names:?}");
        }
    }
}

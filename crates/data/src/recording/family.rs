//! Names of columns that are one family, such as `cell_0`, `cell_1`, …, and those that are none of it.

use std::collections::HashMap;

use ndarray::Axis;

use super::draft::Draft;
use super::options::AxisOrder;

/// Fewest names of one kind that make a family.
const FEWEST: usize = 3;

/// Leaves out the columns that are called otherwise than the cells: a note in any case.
pub(super) fn leave_strangers(draft: &mut Draft) {
    let Some(ids) = &draft.neuron_ids else {
        return;
    };
    let names: Vec<&str> = ids.iter().map(|id| id.trim()).collect();
    let by_column = draft.order == Some(AxisOrder::TimeNeuron);
    let Some(family) = family(&names).filter(|_| by_column) else {
        return;
    };
    let strangers = family.strangers.iter().map(|&n| format!("`{}`", names[n]));
    let listed = strangers.collect::<Vec<_>>().join(", ");
    let kept: Vec<usize> = (0..ids.len())
        .filter(|n| !family.strangers.contains(n))
        .collect();
    let note = format!(
        "{listed}: called otherwise than the {} columns `{}…`, no neuron, left out (one that is a \
         neuron needs a name like theirs)",
        kept.len(),
        family.stem
    );
    let ids = kept.iter().map(|&n| ids[n].clone()).collect();
    draft.values = draft.values.select(Axis(1), &kept);
    draft.neuron_ids = Some(ids);
    draft.notes.push(note);
}

/// What most of the columns are called.
#[derive(Debug, PartialEq)]
struct Family {
    /// What the names begin with.
    stem: String,
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
    is_family.then(|| Family {
        stem: stem.to_owned(),
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
        let strangers = vec![0, 4];
        assert_eq!(
            found,
            Some(Family {
                stem: "cell".into(),
                strangers
            })
        );
        let found = family(&["0", "1", "2", "pupil"]);
        assert_eq!(found.map(|f| f.strangers), Some(vec![3]));
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

//! Trials in two arrays, for training and held out: LFADS's names, lfads-torch's and those of the Neural
//! Latents Benchmark.

use ndarray::{ArrayD, Axis, concatenate};

use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::units::Units;

/// What the traces are called after `train_`, most wanted first.
const NAMES: [&str; 6] = [
    "fluor",
    "data",
    "encod_data",
    "recon_data",
    "spikes",
    "spikes_heldin",
];
/// What the names of held-out trials begin with.
const HELD_OUT: [&str; 4] = ["valid_", "eval_", "val_", "test_"];
/// How many times their own size trials may take when padded to one length.
const MOST_PADDED: usize = 16;

/// Arrays of the trials for training and of those held out.
#[derive(Debug, PartialEq)]
pub(super) struct Split {
    /// What follows `train_`.
    name: String,
    train: String,
    held_out: Option<String>,
    /// Arrays that are not read, with their shapes.
    unread: Vec<String>,
}

/// The arrays that the caller names, or the most wanted there are; `None` where there is no `train_…`.
pub(super) fn find(arrays: &[(String, Vec<usize>)], options: &Options) -> Option<Split> {
    let has = |name: &str| arrays.iter().any(|(found, _)| found == name);
    let is_there = |name: &&str| has(&format!("train_{name}"));
    let name = match &options.dataset {
        Some(wanted) => Some(wanted.strip_prefix("train_").unwrap_or(wanted)).filter(is_there)?,
        None => NAMES.into_iter().find(is_there)?,
    };
    let train = format!("train_{name}");
    let held_out = HELD_OUT.iter().map(|prefix| format!("{prefix}{name}"));
    let held_out = held_out.into_iter().find(|name| has(name));
    let unread = arrays
        .iter()
        .filter(|(other, _)| *other != train && Some(other) != held_out.as_ref())
        .map(|(other, shape)| format!("{other} {shape:?}"));
    Some(Split {
        name: name.to_owned(),
        unread: unread.collect(),
        train,
        held_out,
    })
}

impl Split {
    /// Trials of both, those for training first.
    pub(super) fn read(
        &self,
        mut values: impl FnMut(&str) -> Result<ArrayD<f32>, Problem>,
    ) -> Result<Draft, Problem> {
        let train = values(&self.train)?;
        let n_train = train.shape().first().copied();
        let joined = match &self.held_out {
            Some(name) => join(&self.train, &train, name, &values(name)?)?,
            None => train,
        };
        let is_trials = joined.ndim() == 3;
        let mut draft = Draft::bare(&self.train, joined);
        draft.order = is_trials.then_some(AxisOrder::TrialTimeNeuron);
        draft.n_train = n_train.filter(|_| self.held_out.is_some());
        draft.units = match self.name.as_str() {
            "spikes" | "spikes_heldin" => Some(Units::SpikeCounts),
            "fluor" => Some(Units::Fluorescence),
            _ => None,
        };
        if !self.unread.is_empty() {
            draft
                .notes
                .push(format!("not read: {} (`dataset`)", self.unread.join(", ")));
        }
        Ok(draft)
    }
}

/// Trials of both splits, those for training first; the shorter split gets NaN frames.
fn join(
    train_name: &str,
    train: &ArrayD<f32>,
    held_out_name: &str,
    held_out: &ArrayD<f32>,
) -> Result<ArrayD<f32>, Problem> {
    let disagree = |axis| Problem::Disagree {
        a: train_name.to_owned(),
        a_shape: train.shape().to_vec(),
        b: held_out_name.to_owned(),
        b_shape: held_out.shape().to_vec(),
        axis,
    };
    let (&[n_train, a, n], &[n_held_out, b, m]) = (train.shape(), held_out.shape()) else {
        return Err(disagree("axes"));
    };
    if n != m {
        return Err(disagree("neurons"));
    }
    let padded = (n_train + n_held_out).saturating_mul(a.max(b).saturating_mul(n));
    if padded > MOST_PADDED.saturating_mul(train.len() + held_out.len()) {
        return Err(disagree("frames"));
    }
    let lengthen = |values: &ArrayD<f32>| {
        let mut shape = values.shape().to_vec();
        shape[1] = a.max(b);
        let mut long = ArrayD::from_elem(shape, f32::NAN);
        let length = values.shape()[1];
        long.slice_axis_mut(Axis(1), (..length).into())
            .assign(values);
        long
    };
    let (train, held_out) = (lengthen(train), lengthen(held_out));
    concatenate(Axis(0), &[train.view(), held_out.view()]).map_err(|_| disagree("trials"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_are_known_and_what_is_not_read_is_named() {
        let arrays = |names: &[&str]| -> Vec<(String, Vec<usize>)> {
            let array = |name: &&str| ((*name).to_owned(), vec![2, 3, 4]);
            names.iter().map(array).collect()
        };
        let found = |names: &[&str]| {
            let split = find(&arrays(names), &Options::default()).unwrap();
            (split.train, split.held_out.unwrap(), split.unread.len())
        };
        let (train, held_out, n_unread) = found(&[
            "train_spikes_heldin",
            "train_spikes_heldout",
            "eval_spikes_heldin",
            "eval_spikes_heldout",
        ]);
        assert_eq!(
            (train.as_str(), held_out.as_str(), n_unread),
            ("train_spikes_heldin", "eval_spikes_heldin", 2)
        );
        let (train, held_out, n_unread) = found(&[
            "train_encod_data",
            "train_recon_data",
            "valid_encod_data",
            "valid_recon_data",
        ]);
        assert_eq!(
            (train.as_str(), held_out.as_str(), n_unread),
            ("train_encod_data", "valid_encod_data", 2)
        );
        assert_eq!(find(&arrays(&["dff"]), &Options::default()), None);
    }
}

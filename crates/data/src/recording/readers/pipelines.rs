//! What the usual pipelines store, in whatever format: CaImAn, CNMF, CNMF-E, EXTRACT, minian and AllenSDK.

use ndarray::{ArrayD, Axis};

use super::clock_beside::clock_above;
use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::units::Units;

/// Traces that a pipeline stores: one array, or several to be added up.
struct Signal {
    /// What the caller may name it, besides the name of its one array.
    name: &'static str,
    parts: Vec<String>,
    units: Option<Units>,
}

/// The output of a pipeline, as far as it matters here.
struct Output {
    pipeline: &'static str,
    /// Where a rate is looked for, and above it.
    group: String,
    /// Where the pipeline has a place of its own for it.
    rate_hz: Option<f64>,
    /// Most wanted first.
    signals: Vec<Signal>,
    order: AxisOrder,
    /// The list of regions that were accepted, and where it is.
    accepted: Option<(String, Vec<usize>)>,
    /// A name for each region.
    ids: Option<Vec<String>>,
}

/// Finds the output of a pipeline.
type Recognise = fn(&dyn Tree) -> Result<Option<Output>, Problem>;

/// From the most particular to the most general.
const PIPELINES: [Recognise; 5] = [minian, caiman, cnmf_e, |tree| Ok(extract(tree)), allen];

/// The traces of a pipeline's output; `None` where the file is none, or the caller names something else.
pub(super) fn read(tree: &dyn Tree, options: &Options) -> Result<Option<Draft>, Problem> {
    for recognise in PIPELINES {
        let Some(output) = recognise(tree)? else {
            continue;
        };
        if let Some(signal) = output.named(options) {
            return output.read(signal, tree, options).map(Some);
        }
    }
    Ok(None)
}

/// Whether [`read`] would read the file.
pub(super) fn recognises(tree: &dyn Tree, options: &Options) -> Result<bool, Problem> {
    for recognise in PIPELINES {
        if recognise(tree)?.is_some_and(|output| output.named(options).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Output {
    /// The signal that the caller names, or else the most wanted.
    fn named(&self, options: &Options) -> Option<&Signal> {
        let Some(wanted) = &options.dataset else {
            return self.signals.first();
        };
        let wanted = wanted.trim_start_matches('/');
        self.signals.iter().find(|signal| {
            let is_part = matches!(&signal.parts[..], [only] if only == wanted);
            signal.name == wanted || is_part
        })
    }

    fn read(&self, signal: &Signal, tree: &dyn Tree, options: &Options) -> Result<Draft, Problem> {
        let mut values = sum(tree, &signal.parts)?;
        let roi_axis = match self.order.is_neuron_first() {
            true => 0,
            false => 1,
        };
        let n_regions = values.shape()[roi_axis];
        let mut kept: Vec<usize> = (0..n_regions).collect();
        let mut notes = Vec::new();
        if let Some((list, accepted)) = self.accepted.as_ref().filter(|_| options.cells_only) {
            kept.retain(|region| accepted.contains(region));
            if kept.is_empty() {
                return Err(Problem::NoneAccepted {
                    list: list.clone(),
                    n_regions,
                });
            }
            values = values.select(Axis(roi_axis), &kept);
            notes.push(format!(
                "{} of {n_regions} regions, those of `{list}`",
                kept.len()
            ));
        }
        let dataset = signal.parts.join(" + ");
        notes.insert(0, format!("`{dataset}` of {}", self.pipeline));
        let shape = values.shape().to_vec();
        let mut draft = Draft::bare(&dataset, values);
        draft.clock = match self.rate_hz {
            Some(rate_hz) => Clock::RateHz(rate_hz),
            None => clock_above(tree, &self.group, &shape, options, &mut notes)?,
        };
        draft.order = Some(self.order);
        draft.units = signal.units;
        let id = |region: &usize| match &self.ids {
            Some(ids) => ids.get(*region).cloned().unwrap_or_default(),
            None => region.to_string(),
        };
        draft.neuron_ids = Some(kept.iter().map(id).collect());
        draft.notes = notes;
        Ok(draft)
    }
}

/// The sum of arrays of one shape.
fn sum(tree: &dyn Tree, parts: &[String]) -> Result<ArrayD<f32>, Problem> {
    let mut total: Option<ArrayD<f32>> = None;
    for name in parts {
        let values = tree
            .values(name)?
            .ok_or(Problem::NoTraces { kind: "array" })?;
        total = Some(match total {
            None => values,
            Some(total) if total.shape() == values.shape() => total + values,
            Some(total) => {
                return Err(Problem::Disagree {
                    a: parts[0].clone(),
                    a_shape: total.shape().to_vec(),
                    b: name.clone(),
                    b_shape: values.shape().to_vec(),
                    axis: "regions and frames",
                });
            }
        });
    }
    total.ok_or(Problem::NoTraces { kind: "array" })
}

/// The shape of an array that could be `[roi, time]`; a single region is one row.
fn matrix_shape<'a>(tree: &'a dyn Tree, name: &str) -> Option<&'a [usize]> {
    tree.shape(name)
        .filter(|shape| matches!(**shape, [a, b] if a > 0 && b > 1))
}

/// minian's arrays as xarray writes them, each over `unit_id` and `frame`. Its `YrA` is the trace with all that is not the
/// neuron's taken off: it holds `C`, and is no residual as CaImAn's is.
fn minian(tree: &dyn Tree) -> Result<Option<Output>, Problem> {
    let wanted = [
        ("YrA", Some(Units::Fluorescence)),
        ("C", Some(Units::Fluorescence)),
        ("S", None),
    ];
    let groups = wanted.map(|(name, _)| groups_with(tree, name)).concat();
    for group in groups {
        let [units, frames] = ["unit_id", "frame"].map(|name| tree.join(&group, name));
        let Some((numbers, frames)) = tree.numbers(&units)?.zip(tree.shape(&frames)) else {
            continue;
        };
        let shape = [numbers.len(), frames.iter().product()];
        let reversed = [shape[1], shape[0]];
        let signals: Vec<(Signal, AxisOrder)> = wanted
            .into_iter()
            .filter_map(|(name, units)| {
                let path = tree.join(&group, name);
                let order = match matrix_shape(tree, &path)? {
                    found if *found == shape => AxisOrder::NeuronTime,
                    found if *found == reversed => AxisOrder::TimeNeuron,
                    _ => return None,
                };
                let parts = vec![path];
                Some((Signal { name, parts, units }, order))
            })
            .collect();
        let Some((_, order)) = signals.first() else {
            continue;
        };
        return Ok(Some(Output {
            pipeline: "minian",
            rate_hz: None,
            order: *order,
            signals: signals.into_iter().map(|(signal, _)| signal).collect(),
            accepted: None,
            ids: Some(numbers.iter().map(ToString::to_string).collect()),
            group,
        }));
    }
    Ok(None)
}

/// CaImAn's HDF5: `estimates` and `params`; CNMF's struct in MATLAB has the same names.
fn caiman(tree: &dyn Tree) -> Result<Option<Output>, Problem> {
    let of_group = |group: &str| matrix_shape(tree, &tree.join(group, "C")).map(<[usize]>::to_vec);
    let groups = groups_with(tree, "YrA").into_iter();
    let Some((group, shape)) = groups
        .chain(["estimates".to_owned()])
        .find_map(|group| of_group(&group).map(|shape| (group, shape)))
    else {
        return Ok(None);
    };
    let fits = |name: &str| {
        let name = tree.join(&group, name);
        let fits = matrix_shape(tree, &name) == Some(&shape[..]);
        fits.then_some(name)
    };
    let mut signals = Vec::new();
    for name in ["F_dff", "F_df"] {
        if let Some(path) = fits(name) {
            signals.push(Signal {
                name,
                parts: vec![path],
                units: Some(Units::DeltaFOverF),
            });
        }
    }
    let denoised = tree.join(&group, "C");
    if let Some(residual) = fits("YrA") {
        signals.push(Signal {
            name: "C+YrA",
            parts: vec![denoised.clone(), residual],
            units: Some(Units::Fluorescence),
        });
    }
    signals.push(Signal {
        name: "C",
        parts: vec![denoised],
        units: Some(Units::Fluorescence),
    });
    signals.extend(fits("S").map(|path| Signal {
        name: "S",
        parts: vec![path],
        units: None,
    }));
    let list = tree.join(&group, "idx_components");
    let accepted = tree.numbers(&list)?.map(|numbers| {
        let regions = numbers.into_iter().map(|region| region as usize);
        (list, regions.collect())
    });
    Ok(Some(Output {
        pipeline: "CaImAn",
        group,
        rate_hz: tree.scalar(&tree.join("params", "data"), "fr")?,
        signals,
        order: AxisOrder::NeuronTime,
        // A list that was not made is Python's None, stored as text.
        accepted,
        ids: None,
    }))
}

/// CNMF-E's results: a struct, or variables, with `C_raw`.
fn cnmf_e(tree: &dyn Tree) -> Result<Option<Output>, Problem> {
    let mut groups = groups_with(tree, "C_raw").into_iter();
    let has_matrix = |group: &String| matrix_shape(tree, &tree.join(group, "C_raw")).is_some();
    let Some(group) = groups.find(has_matrix) else {
        return Ok(None);
    };
    let wanted = [
        ("C_raw", Some(Units::Fluorescence)),
        ("C", Some(Units::Fluorescence)),
        ("S", None),
    ];
    let signals = wanted.into_iter().filter_map(|(name, units)| {
        let path = tree.join(&group, name);
        matrix_shape(tree, &path)?;
        Some(Signal {
            name,
            parts: vec![path],
            units,
        })
    });
    Ok(Some(Output {
        pipeline: "CNMF-E",
        signals: signals.collect(),
        order: AxisOrder::NeuronTime,
        accepted: None,
        ids: None,
        rate_hz: match tree.scalar(&tree.join(&group, "options"), "Fs")? {
            Some(rate_hz) => Some(rate_hz),
            None => tree.scalar(&tree.join(&group, "P"), "Fs")?,
        },
        group,
    }))
}

/// EXTRACT's struct: `temporal_weights`, `[time, roi]`, beside `spatial_weights`.
fn extract(tree: &dyn Tree) -> Option<Output> {
    const NAME: &str = "temporal_weights";
    let mut groups = groups_with(tree, NAME).into_iter();
    let has_matrix = |group: &String| matrix_shape(tree, &tree.join(group, NAME)).is_some();
    let group = groups.find(has_matrix)?;
    Some(Output {
        pipeline: "EXTRACT",
        signals: vec![Signal {
            name: NAME,
            parts: vec![tree.join(&group, NAME)],
            units: None,
        }],
        order: AxisOrder::TimeNeuron,
        accepted: None,
        ids: None,
        rate_hz: None,
        group,
    })
}

/// AllenSDK's trace files: `data` or `events`, `[roi, time]`, with `roi_names`.
fn allen(tree: &dyn Tree) -> Result<Option<Output>, Problem> {
    let numbers = tree.numbers("roi_names")?;
    let numbers = numbers.map(|ids| ids.iter().map(ToString::to_string).collect());
    let Some(ids) = tree.texts("roi_names").or(numbers) else {
        return Ok(None);
    };
    let is_ratio = ["sigma_dff", "num_small_baseline_frames"]
        .iter()
        .any(|name| tree.shape(name).is_some());
    let data_units = match is_ratio {
        true => Units::DeltaFOverF,
        false => Units::Fluorescence,
    };
    let wanted = [
        ("data", Some(data_units)),
        ("events", None),
        ("filtered_events", None),
    ];
    let signals = wanted
        .into_iter()
        .filter(|(name, _)| matrix_shape(tree, name).is_some_and(|shape| shape[0] == ids.len()));
    let signals = signals.map(|(name, units)| Signal {
        name,
        parts: vec![name.to_owned()],
        units,
    });
    let signals: Vec<Signal> = signals.collect();
    if signals.is_empty() {
        return Ok(None);
    }
    Ok(Some(Output {
        pipeline: "AllenSDK",
        group: String::new(),
        rate_hz: None,
        signals,
        order: AxisOrder::NeuronTime,
        accepted: None,
        ids: Some(ids),
    }))
}

/// Groups that hold an array called so.
fn groups_with(tree: &dyn Tree, name: &str) -> Vec<String> {
    let of_name = |path: &str| tree.join(tree.parent(path), name) == path;
    let paths = tree.arrays().iter().map(|listed| &listed.name[..]);
    let paths = paths.filter(|path| of_name(path));
    paths.map(|path| tree.parent(path).to_owned()).collect()
}

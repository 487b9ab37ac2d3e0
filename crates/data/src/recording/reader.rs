//! What every reader offers: to know its format, to read it whole or in blocks.

use std::ops::Range;

use calcium::Discretisation;
use ndarray::Array2;

use super::clock::Clock;
use super::draft::Draft;
use super::options::Options;
use super::source::Source;
use super::traces::Format;
use super::units::Units;
use crate::Problem;

/// One format of recordings.
pub(crate) trait Reader: Sync {
    fn format(&self) -> Format;

    /// Whether the source is of this format, sound or damaged.
    fn recognises(&self, source: &Source) -> bool;

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem>;

    /// The traces to be read a block of neurons at a time; `None` where that cannot be done.
    fn in_blocks(&self, _: &Source, _: &Options) -> Result<Option<Opened>, Problem> {
        Ok(None)
    }
}

/// Traces that are read when they are asked for.
pub(crate) trait Store: Send {
    /// The traces of some of the neurons, `[neuron, time]`.
    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem>;
}

/// What a reader found of traces that it has not read yet.
pub(crate) struct Opened {
    pub(crate) store: Box<dyn Store>,
    pub(crate) dataset: String,
    /// Neurons and frames.
    pub(crate) shape: [usize; 2],
    pub(crate) clock: Clock,
    pub(crate) units: Option<Units>,
    pub(crate) neuron_ids: Option<Vec<String>>,
    pub(crate) tau_s: Option<f64>,
    pub(crate) discretisation: Option<Discretisation>,
    /// Frames that the file itself calls no data, `[time]`.
    pub(crate) no_data: Option<Vec<bool>>,
    pub(crate) notes: Vec<String>,
}

impl Opened {
    /// Traces of which the file says nothing more.
    pub(crate) fn bare(dataset: &str, store: Box<dyn Store>, shape: [usize; 2]) -> Self {
        Self {
            store,
            dataset: dataset.to_owned(),
            shape,
            clock: Clock::Unstated,
            units: None,
            neuron_ids: None,
            tau_s: None,
            discretisation: None,
            no_data: None,
            notes: Vec::new(),
        }
    }
}

/// Last words of what regions and images are called, which are no traces.
const PLACES: [&str; 21] = [
    "centroid",
    "centroids",
    "coord",
    "coords",
    "coordinates",
    "xy",
    "xyz",
    "position",
    "positions",
    "location",
    "locations",
    "pixel",
    "pixels",
    "xpix",
    "ypix",
    "footprint",
    "footprints",
    "mask",
    "masks",
    "iscell",
    "image",
];

/// Whether an array called so may be traces: the place of a region is no neuron, nor is an image.
pub(crate) fn is_likely(name: &str) -> bool {
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    let last = words.rfind(|word| !word.is_empty());
    let last = last.unwrap_or_default().to_lowercase();
    !PLACES.contains(&&last[..]) && !last.ends_with("img") && !last.ends_with("image")
}

/// The one candidate that the caller named, or else the only one.
pub(crate) fn choose<'a>(
    candidates: &'a [String],
    options: &Options,
    kind: &'static str,
) -> Result<&'a str, Problem> {
    let Some(wanted) = &options.dataset else {
        return match candidates {
            [only] => Ok(only),
            [] => Err(Problem::NoTraces { kind }),
            several => Err(Problem::Ambiguous {
                kind,
                found: several.join(", "),
            }),
        };
    };
    if candidates.is_empty() {
        return Err(Problem::NoTraces { kind });
    }
    let trimmed = wanted.trim_start_matches('/');
    if let Some(found) = candidates.iter().find(|name| *name == trimmed) {
        return Ok(found);
    }
    // The end of a path will do where it is the end of one only.
    let end = format!("/{trimmed}");
    let ending: Vec<_> = candidates.iter().filter(|n| n.ends_with(&end)).collect();
    match ending[..] {
        [only] => Ok(only),
        _ => Err(Problem::NotFound {
            wanted: wanted.clone(),
            kind,
            found: candidates.join(", "),
        }),
    }
}

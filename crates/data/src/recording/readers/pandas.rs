//! What pandas' `to_hdf` writes: a frame whose columns lie apart, by their types, and its index.

use ndarray::Array2;

use super::rows::of_sorted;
use crate::Problem;
use crate::format::cells::Cells;
use crate::format::tree::Tree;
use crate::recording::columns;
use crate::recording::draft::Draft;
use crate::recording::options::Options;

/// What pandas counts dates in, in seconds; nanoseconds where it does not say.
const UNITS_S: [(&str, f64); 4] = [("[s]", 1.0), ("[ms]", 1e-3), ("[us]", 1e-6), ("[ns]", 1e-9)];

/// A frame of columns with names.
pub(super) struct Frame {
    pub(super) group: String,
    pub(super) names: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The index, and the columns of each type.
    blocks: Vec<Cells>,
    /// Block of each column, and its place in there.
    places: Vec<(usize, usize)>,
}

impl Frame {
    pub(super) fn n_rows(&self) -> usize {
        self.blocks.first().map_or(0, Cells::n_rows)
    }

    /// Its neurons; each block is given back as it becomes traces.
    pub(super) fn into_draft(self) -> Draft {
        let n_rows = self.n_rows();
        let column = |place: usize| {
            let (block, column) = self.places[place];
            self.blocks[block].column(column)
        };
        let sorted = columns::sort(Some(&self.names), self.names.len(), column);
        let mut values = Array2::zeros((n_rows, sorted.neurons.len()));
        for (block, cells) in self.blocks.into_iter().enumerate() {
            let neurons = sorted.neurons.iter().enumerate();
            let of_block = neurons.filter_map(|(to, &neuron)| {
                let (of, column) = self.places[neuron];
                (of == block).then_some((column, to))
            });
            cells.put_into(&mut values, &of_block.collect::<Vec<_>>());
        }
        of_sorted(sorted, values, Some(&self.names))
    }
}

/// Whether there is such a frame, as [`frame`] reads it.
pub(super) fn has_frame(tree: &dyn Tree, options: &Options) -> bool {
    group(tree, options).is_some()
}

/// The one frame of fixed format in the file, or the one that the caller names; `None` where there is
/// none, or its index has several levels.
///
/// # Errors
/// Blocks that cannot be read.
pub(super) fn frame(tree: &dyn Tree, options: &Options) -> Result<Option<Frame>, Problem> {
    let Some(group) = group(tree, options) else {
        return Ok(None);
    };
    Ok(read(tree, &group)?.filter(|frame| frame.names.len() > 1))
}

/// The one group that holds a frame, or the one that the caller names.
fn group(tree: &dyn Tree, options: &Options) -> Option<String> {
    let wanted = options.dataset.as_ref();
    let wanted = wanted.map(|name| name.trim_matches('/').to_owned());
    let mut groups: Vec<String> = Vec::new();
    for listed in tree.arrays() {
        let group = tree.parent(&listed.name);
        if groups.iter().all(|known| known != group)
            && tree.text(group, "pandas_type").as_deref() == Some("frame")
            && wanted.as_deref().is_none_or(|wanted| wanted == group)
        {
            groups.push(group.to_owned());
        }
    }
    match groups.len() {
        1 => groups.pop(),
        _ => None,
    }
}

fn read(tree: &dyn Tree, group: &str) -> Result<Option<Frame>, Problem> {
    let path = |name: &str| tree.join(group, name);
    let labels = |name: &str| -> Result<Option<Vec<String>>, Problem> {
        let numbers = tree.numbers(&path(name))?;
        let numbers = numbers.map(|all| all.iter().map(ToString::to_string).collect());
        Ok(numbers.or_else(|| tree.texts(&path(name))))
    };
    let (Some(order), Some(index)) = (labels("axis0")?, tree.numbers(&path("axis1"))?) else {
        return Ok(None);
    };
    let n_rows = index.len();
    let is_date = |kind: &String| kind.starts_with("datetime64");
    let (name, index) = match tree.text(&path("axis1"), "kind").filter(is_date) {
        Some(kind) => {
            let first = index.first().copied().unwrap_or_default();
            let unit_s = UNITS_S.iter().find(|(unit, _)| kind.contains(unit));
            let unit_s = unit_s.map_or(1e-9, |(_, unit_s)| *unit_s);
            let seconds = index.iter().map(|t| (t - first) * unit_s);
            ("time", seconds.collect())
        }
        None => ("", index),
    };
    let mut names = vec![(name.to_owned(), (0, 0))];
    let mut cells = vec![Cells::of(1, index)];
    let mut notes = Vec::new();
    let blocks = (0..).map_while(|block| {
        let items = labels(&format!("block{block}_items")).transpose()?;
        Some((path(&format!("block{block}_values")), items))
    });
    for (values, items) in blocks {
        let items = items?;
        let fits = tree.shape(&values) == Some(&[n_rows, items.len()]);
        let Some(numbers) = tree.numbers(&values)?.filter(|_| fits) else {
            notes.push(format!("{}: no numbers, left out", items.join(", ")));
            continue;
        };
        let places = (0..items.len()).map(|column| (cells.len(), column));
        names.extend(items.iter().cloned().zip(places));
        cells.push(Cells::of(items.len(), numbers));
    }
    // The index first, then as the frame shows them.
    let place = |name: &String| order.iter().position(|known| known == name);
    names[1..].sort_by_key(|(name, _)| place(name));
    let (names, places) = names.into_iter().unzip();
    Ok(Some(Frame {
        group: group.to_owned(),
        names,
        notes,
        blocks: cells,
        places,
    }))
}

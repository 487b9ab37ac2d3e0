//! MATLAB v7.3 files: HDF5 with the axes reversed.

use crate::Problem;
use crate::format::hdf5::{self, Node};
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::{Reader, choose};
use crate::recording::source::Source;
use crate::recording::traces::Format;

pub(super) struct Matlab;

impl Reader for Matlab {
    fn format(&self) -> Format {
        Format::Matlab
    }

    fn recognises(&self, source: &Source) -> bool {
        source.head.starts_with(b"MATLAB ")
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        if source.head.starts_with(b"MATLAB 5.0") {
            return Err(Problem::OldMatlab);
        }
        let root = Node::root(&hdf5::open(&source.path)?)?;
        let variables = variables(&root)?;
        let name = choose(&variables, options, "numeric variable of two or three axes")?;
        let stored = root.numbers(name, |x| x as f32)?;
        let stored = stored.ok_or(Problem::NoTraces {
            kind: "numeric variable",
        })?;
        let mut draft = Draft::bare(
            name,
            stored
                .into_array(&format!("variable `{name}`"))?
                .reversed_axes(),
        );
        draft.clock = Clock::from_scalars(|name| hdf5::scalar(&root, name))?;
        Ok(draft)
    }
}

/// Numeric variables that are no scalar and no row or column of numbers.
fn variables(root: &Node) -> Result<Vec<String>, Problem> {
    let mut found = Vec::new();
    for name in root.members()?.1 {
        let object = format!("variable `{name}`");
        let Some(dataset) = root.dataset(&name, &object)? else {
            continue;
        };
        let is_table = match *dataset.shape() {
            [a, b] => a > 1 && b > 1,
            [_, _, _] => true,
            _ => false,
        };
        // Text is stored as integers too, and an empty array as its shape.
        let class = dataset.attribute("MATLAB_class");
        let class = class.and_then(|a| a.read_string()).unwrap_or_default();
        let is_numeric = !matches!(
            class.as_str(),
            "char" | "cell" | "struct" | "function_handle"
        ) && dataset.attribute("MATLAB_empty").is_err();
        if is_table && is_numeric {
            found.push(name);
        }
    }
    Ok(found)
}

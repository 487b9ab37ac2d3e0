//! Arrays of numbers under names, in groups: what HDF5 files and MATLAB's have in common.

use ndarray::ArrayD;

use super::cells::Cells;
use crate::Problem;

/// What a file holds, whatever its format.
pub(crate) trait Tree {
    /// Between the names of a group and of what is in it.
    fn separator(&self) -> char;

    /// Name and shape of every array of numbers, in the file's order; axes as the format shows them.
    fn arrays(&self) -> &[Listed];

    /// What could not be opened, and why, each as a line.
    fn left_out(&self) -> &[String];

    /// The array called so; `None` where there is none.
    fn values(&self, name: &str) -> Result<Option<ArrayD<f32>>, Problem>;

    /// The numbers of an array, in the order in which they lie; `None` where there is none.
    fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, Problem>;

    /// A number stored as attribute of a group or array, or as an array of one; `group` may be empty.
    fn scalar(&self, group: &str, name: &str) -> Result<Option<f64>, Problem>;

    /// A text stored in a group.
    fn text(&self, group: &str, name: &str) -> Option<String>;

    /// The texts of an array of them, where there is one.
    fn texts(&self, name: &str) -> Option<Vec<String>>;

    /// What the columns of an array are called, where it is a table of named columns.
    fn columns(&self, _name: &str) -> Option<Vec<String>> {
        None
    }

    /// The rows of a table of named columns; `None` where there is none.
    fn rows(&self, _name: &str) -> Result<Option<Cells>, Problem> {
        Ok(None)
    }

    /// The name of `name` in `group`.
    fn join(&self, group: &str, name: &str) -> String {
        match group {
            "" => name.to_owned(),
            group => format!("{group}{}{name}", self.separator()),
        }
    }

    /// The group that an array or group is in; none of those at the top.
    fn parent<'a>(&self, name: &'a str) -> &'a str {
        name.rsplit_once(self.separator())
            .map_or("", |(group, _)| group)
    }

    /// Shape of the array called so.
    fn shape(&self, name: &str) -> Option<&[usize]> {
        let listed = self.arrays().iter().find(|listed| listed.name == name);
        listed.map(|listed| &listed.shape[..])
    }
}

/// An array that is not read yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Listed {
    /// Whether these could be traces: two or three axes, more than a row or a column.
    pub(crate) fn is_table(&self) -> bool {
        match self.shape[..] {
            [a, b] => a > 1 && b > 1,
            [_, _, _] => true,
            _ => false,
        }
    }
}

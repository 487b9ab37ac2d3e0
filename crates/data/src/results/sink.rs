//! What a format offers that takes traces one at a time.

use std::path::Path;

use super::arrays::Arrays;
use crate::Problem;

/// A format that takes traces one at a time.
pub(crate) trait Sink: Send {
    /// Takes the next trace of an array.
    fn append(&mut self, array: usize, trace: &[f32]) -> Result<(), Problem>;

    /// Puts the arrays, all of them complete, and others under the name of the file.
    fn finish(&mut self, path: &Path, others: &Arrays) -> Result<(), Problem>;
}

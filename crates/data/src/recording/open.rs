//! Opening a recording of any format: whole, or in blocks.

use std::path::Path;

use super::blocks::TraceBlocks;
use super::options::Options;
use super::readers;
use super::source::Source;
use super::traces::Recording;
use crate::{DataError, Problem};

impl Recording {
    /// Reads a recording, telling the format by the content and never by the extension.
    ///
    /// # Errors
    /// One line naming the file, the dataset, what was found and what to do; see [`Problem`].
    pub fn open(path: &Path, options: &Options) -> Result<Self, DataError> {
        let read = || {
            let source = Source::probe(path)?;
            let reader = readers::reader_of(&source)?;
            let draft = reader.read(&source, options)?;
            draft.finish(reader.format(), path, options)
        };
        read().map_err(|problem: Problem| DataError::from(problem).in_file(path))
    }
}

impl TraceBlocks {
    /// Opens a recording to be read `per_block` neurons at a time; `None` if it cannot be read in
    /// pieces, and [`Recording::open`] has to take it whole.
    ///
    /// # Errors
    /// Those of [`Recording::open`] about the file and its rate; [`Problem::BadParameter`] if
    /// `per_block` is 0.
    pub fn open(
        path: &Path,
        options: &Options,
        per_block: usize,
    ) -> Result<Option<Self>, DataError> {
        let open = || {
            let source = Source::probe(path)?;
            let opened = readers::reader_of(&source)?.in_blocks(&source, options)?;
            opened
                .map(|opened| Self::new(opened, path, options, per_block))
                .transpose()
        };
        open().map_err(|problem: Problem| DataError::from(problem).in_file(path))
    }
}

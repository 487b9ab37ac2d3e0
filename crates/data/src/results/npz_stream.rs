//! Traces that come one at a time into a .npz archive.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::arrays::Arrays;
use super::sink::Sink;
use crate::Problem;
use crate::format::npy;
use crate::whole_file::{WholeFile, cannot_write, folder_of};

/// Arrays in Fortran order, so that the frames of a neuron lie together, each in a file of its own.
pub(crate) struct NpzSink {
    members: Vec<(String, BufWriter<File>)>,
}

impl NpzSink {
    pub(crate) fn create(
        path: &Path,
        arrays: &[(&str, &str)],
        [n_bins, n_neurons]: [usize; 2],
    ) -> Result<Self, Problem> {
        let begin = |&(name, _): &(&str, &str)| {
            let mut file = BufWriter::new(tempfile::tempfile_in(folder_of(path))?);
            file.write_all(&npy::header(&[1, n_bins, n_neurons], true))?;
            Ok((name.to_owned(), file))
        };
        let members: std::io::Result<_> = arrays.iter().map(begin).collect();
        Ok(Self {
            members: members.map_err(cannot_write)?,
        })
    }

    fn assemble(&mut self, path: &Path, others: &Arrays) -> std::io::Result<()> {
        let mut target = WholeFile::create(path)?;
        let mut zip = ZipWriter::new(BufWriter::new(&mut target));
        for (name, file) in &mut self.members {
            zip.start_file(format!("{name}.npy"), options())?;
            file.flush()?;
            let file = file.get_mut();
            file.seek(SeekFrom::Start(0))?;
            std::io::copy(file, &mut zip)?;
        }
        for (name, bytes) in others.members() {
            zip.start_file(format!("{name}.npy"), options())?;
            zip.write_all(&bytes)?;
        }
        zip.finish()?.flush()?;
        target.finish()
    }
}

impl Sink for NpzSink {
    fn append(&mut self, array: usize, trace: &[f32]) -> Result<(), Problem> {
        let bytes: Vec<u8> = trace.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (_, file) = &mut self.members[array];
        file.write_all(&bytes).map_err(cannot_write)
    }

    fn finish(&mut self, path: &Path, others: &Arrays) -> Result<(), Problem> {
        self.assemble(path, others).map_err(cannot_write)
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true)
}

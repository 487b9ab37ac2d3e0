//! A matrix in a .npy file, some of its rows or columns at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use ndarray::Array2;

use super::npy::{self, Header};
use super::number::Number;
use crate::Problem;
use crate::whole_file::cannot_read;

/// A matrix of numbers in an open file.
#[derive(Debug)]
pub(crate) struct Matrix {
    file: File,
    header: Header,
    /// Rows and columns.
    shape: [usize; 2],
}

impl Matrix {
    /// Opens the file if it holds a matrix of numbers; `object` is what errors call it.
    pub(crate) fn open(path: &Path, object: &str) -> Result<Option<Self>, Problem> {
        let mut file = File::open(path).map_err(cannot_read)?;
        let length = file.metadata().map_err(cannot_read)?.len();
        let mut head = Vec::new();
        let limit = npy::MAX_HEADER as u64;
        (&mut file)
            .take(limit)
            .read_to_end(&mut head)
            .map_err(cannot_read)?;
        let header = Header::parse(&head, object)?;
        let &[rows, columns] = &header.shape[..] else {
            return Ok(None);
        };
        if (header.n_bytes as u64) > length {
            return Err(Problem::CutShort {
                expected: header.n_bytes as u64,
                found: length,
            });
        }
        if rows == 0 || columns == 0 {
            return Err(Problem::Empty {
                dataset: object.to_owned(),
                shape: header.shape.clone(),
            });
        }
        Ok(Some(Self {
            shape: [rows, columns],
            file,
            header,
        }))
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Some of the lines along `axis` (0: rows, 1: columns), `[line, place]`.
    pub(crate) fn lines(
        &mut self,
        axis: usize,
        lines: Range<usize>,
    ) -> Result<Array2<f32>, Problem> {
        let length = self.shape[1 - axis];
        let shape = (lines.len(), length);
        let slow_axis = usize::from(self.header.fortran_order);
        if axis == slow_axis {
            let values = self.run(lines.start * length, shape.0 * shape.1)?;
            let lines = Array2::from_shape_vec(shape, values);
            return Ok(lines.expect("as many values as the shape has"));
        }
        let mut found = Array2::zeros(shape);
        let n_lines = self.shape[axis];
        for (place, mut column) in found.columns_mut().into_iter().enumerate() {
            let values = self.run(place * n_lines + lines.start, shape.0)?;
            column
                .iter_mut()
                .zip(values)
                .for_each(|(to, value)| *to = value);
        }
        Ok(found)
    }

    /// Numbers that lie together, from the one in place `start`.
    fn run(&mut self, start: usize, count: usize) -> Result<Vec<f32>, Problem> {
        let Number { size, .. } = self.header.number;
        let place = self.header.offset + start * usize::from(size);
        let mut bytes = vec![0; count * usize::from(size)];
        self.file
            .seek(SeekFrom::Start(place as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(cannot_read)?;
        Ok(self.header.number.decode(&bytes, |x| x as f32))
    }
}

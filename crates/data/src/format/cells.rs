//! The numbers of a table, row by row.

use ndarray::Array2;

/// Numbers in one block.
const BLOCK: usize = 1 << 15;

/// Numbers of rows of one width, in blocks of whole rows: they grow without being moved, and are given
/// back block by block as they become traces.
#[derive(Debug, PartialEq)]
pub(crate) struct Cells {
    width: usize,
    blocks: Vec<Vec<f64>>,
}

impl Cells {
    pub(crate) fn new(width: usize) -> Self {
        Self::of(width, Vec::new())
    }

    /// Rows that are there already, one behind the other.
    pub(crate) fn of(width: usize, cells: Vec<f64>) -> Self {
        Self {
            width,
            blocks: vec![cells],
        }
    }

    pub(crate) fn push(&mut self, cell: f64) {
        let rows = (BLOCK / self.width.max(1)).max(1);
        let length = rows * self.width.max(1);
        match self.blocks.last_mut() {
            Some(last) if last.len() < last.capacity() => last.push(cell),
            _ => {
                let mut block = Vec::with_capacity(length);
                block.push(cell);
                self.blocks.push(block);
            }
        }
    }

    /// A row before all others.
    pub(crate) fn prepend(&mut self, row: Vec<f64>) {
        self.blocks.insert(0, row);
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum::<usize>() / self.width.max(1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.iter().all(Vec::is_empty)
    }

    /// Every number, row by row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = f64> {
        self.blocks.iter().flatten().copied()
    }

    pub(crate) fn column(&self, column: usize) -> Vec<f64> {
        let mut found = Vec::with_capacity(self.n_rows());
        for block in &self.blocks {
            found.extend(block.iter().skip(column).step_by(self.width.max(1)));
        }
        found
    }

    /// Some of the columns, in their order.
    #[cfg(feature = "csv")]
    pub(crate) fn keep(self, kept: &[usize]) -> Self {
        let width = self.width.max(1);
        let part = |block: Vec<f64>| -> Vec<f64> {
            let rows = block.chunks_exact(width);
            rows.flat_map(|row| kept.iter().map(|&column| row[column]))
                .collect()
        };
        Self {
            width: kept.len(),
            blocks: self.blocks.into_iter().map(part).collect(),
        }
    }

    /// Puts columns, each with its place among those of `to`, `[row, column]`.
    #[cfg(feature = "hdf5")]
    pub(crate) fn put_into(self, to: &mut Array2<f32>, places: &[(usize, usize)]) {
        let mut rows = to.rows_mut().into_iter();
        for block in self.blocks {
            for (row, mut to) in block.chunks_exact(self.width.max(1)).zip(&mut rows) {
                for &(column, place) in places {
                    to[place] = row[column] as f32;
                }
            }
        }
    }

    /// Some of the columns, `[row, column]`.
    pub(crate) fn into_columns(self, kept: &[usize]) -> Array2<f32> {
        let (n_rows, width) = (self.n_rows(), self.width.max(1));
        let parts = self.blocks.into_iter().map(|block| {
            let mut part = Vec::with_capacity(block.len() / width * kept.len());
            for row in block.chunks_exact(width) {
                part.extend(kept.iter().map(|&column| row[column] as f32));
            }
            part
        });
        let parts: Vec<Vec<f32>> = parts.collect();
        let values = parts.concat();
        Array2::from_shape_vec((n_rows, kept.len()), values).expect("blocks hold whole rows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_whole_rows_of_any_width() {
        for width in [1, 3, BLOCK - 1, BLOCK, BLOCK + 1] {
            let n_rows = 5 + 2 * BLOCK / width;
            let mut cells = Cells::new(width);
            for row in 1..n_rows {
                for column in 0..width {
                    cells.push((row * 10 + column % 7) as f64);
                }
            }
            cells.prepend((0..width).map(|column| (column % 7) as f64).collect());
            let last = width - 1;
            let wanted: Vec<f64> = (0..n_rows)
                .map(|row| (row * 10 + last % 7) as f64)
                .collect();
            assert_eq!(cells.n_rows(), n_rows);
            assert_eq!(cells.iter().count(), n_rows * width);
            let column = cells.column(last);
            assert_eq!(column, wanted);
            let kept = cells.into_columns(&[last, 0]);
            assert_eq!(kept.dim(), (n_rows, 2));
            let first = kept.column(0).mapv(f64::from);
            assert_eq!(first.to_vec(), wanted);
        }
    }
}

//! Small matrix products C += A·B, whose operands stay in the cache.

use std::hint::black_box;
use std::ops::Range;
use std::slice;
use std::time::Instant;

use super::pool::Buffer;
use super::simd::{Isa, Simd, dispatch, prefetch};

/// The left operand, `[row, inner]`, with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    data: &'a [f32],
    row_stride: usize,
    inner_stride: usize,
    /// Where in `data` the parts of a row's inner elements lie, each as long as the others.
    parts: &'a [usize],
}

impl<'a> Left<'a> {
    /// Rows of a row-major matrix.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row_stride: stride,
            inner_stride: 1,
            parts: &[0],
        }
    }

    /// Rows that consist of several of a row-major matrix, one after the other: row r of those that begin at `firsts` + r·stride.
    pub(crate) fn rows_side_by_side(data: &'a [f32], stride: usize, firsts: &'a [usize]) -> Self {
        Self {
            parts: firsts,
            ..Self::rows(data, stride)
        }
    }

    /// The transpose of a row-major matrix.
    pub(crate) fn transposed(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row_stride: 1,
            inner_stride: stride,
            parts: &[0],
        }
    }
}

/// The right operand, `[inner, column]`.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// A row-major matrix with the given stride between rows.
    Rows(&'a [f32], usize),
    /// Panels packed beforehand.
    Packed(&'a Packed),
}

/// What C holds before the product is added.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// Each row starts as this one.
    Row(&'a [f32]),
    /// C as it is.
    Sum,
}

/// A matrix cut into panels of as many columns as a tile has; missing columns are 0.
#[derive(Debug)]
pub(crate) struct Packed {
    data: Buffer,
    inner: usize,
    columns: usize,
    panel_columns: usize,
}

impl Packed {
    /// Packs a row-major matrix.
    pub(crate) fn new(isa: Isa, matrix: &[f32], stride: usize) -> Self {
        Self::of_columns(isa, matrix, stride, slice::from_ref(&(0..stride)))
    }

    /// Packs the transpose of a row-major matrix.
    pub(crate) fn transposed(isa: Isa, matrix: &[f32], stride: usize) -> Self {
        Self::of_columns_transposed(isa, matrix, stride, slice::from_ref(&(0..stride)))
    }

    /// Packs the given columns of a row-major matrix.
    pub(crate) fn of_columns(
        isa: Isa,
        matrix: &[f32],
        stride: usize,
        columns: &[Range<usize>],
    ) -> Self {
        let inner = matrix.len() / stride;
        let mut packed = Self::empty(isa, inner, columns.iter().map(ExactSizeIterator::len).sum());
        let width = packed.panel_columns;
        let mut first = 0;
        for columns in columns {
            for (row, values) in matrix.chunks_exact(stride).enumerate() {
                packed.put(first, row, width, &values[columns.clone()]);
            }
            first += columns.len();
        }
        packed
    }

    /// Puts values side by side in a row, from column `first` on.
    fn put(&mut self, first: usize, row: usize, width: usize, mut values: &[f32]) {
        let mut column = first;
        while !values.is_empty() {
            let n = (width - column % width).min(values.len());
            let at = (column / width * self.inner + row) * width + column % width;
            self.data[at..at + n].copy_from_slice(&values[..n]);
            values = &values[n..];
            column += n;
        }
    }

    /// Packs the transpose of the given columns of a row-major matrix.
    pub(crate) fn of_columns_transposed(
        isa: Isa,
        matrix: &[f32],
        stride: usize,
        columns: &[Range<usize>],
    ) -> Self {
        let inner = columns.iter().map(ExactSizeIterator::len).sum();
        let mut packed = Self::empty(isa, inner, matrix.len() / stride);
        let width = packed.panel_columns;
        // Row by row of a panel: its columns are read as so many streams.
        let panels = packed.data.chunks_exact_mut((inner * width).max(1));
        for (panel, matrix) in panels.zip(matrix.chunks(width * stride)) {
            let from = columns.iter().cloned().flatten();
            for (row, from) in panel.chunks_exact_mut(width).zip(from) {
                for (value, column) in row.iter_mut().zip(matrix.chunks_exact(stride)) {
                    *value = column[from];
                }
            }
        }
        packed
    }

    fn empty(isa: Isa, inner: usize, columns: usize) -> Self {
        let panel_columns = isa.tile_columns();
        let data = Buffer::zeros(columns.div_ceil(panel_columns) * panel_columns * inner);
        Self {
            data,
            inner,
            columns,
            panel_columns,
        }
    }
}

/// Sizes of a product: C is `[rows, columns]`.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
}

/// Rate of the matrix product on all threads of the current pool together, in 10⁹ operations a
/// second: the best of many short runs of 65×64 by 64×192, operands in the cache.
pub fn product_gflops() -> f64 {
    const SIZE: Size = Size {
        rows: 65,
        columns: 192,
        inner: 64,
    };
    const REPEATS: usize = 200;
    let isa = Isa::best();
    let fastest = || {
        let (a, b) = (
            vec![1.0; SIZE.rows * SIZE.inner],
            vec![0.5; SIZE.inner * SIZE.columns],
        );
        let mut c = vec![0.0; SIZE.rows * SIZE.columns];
        let panel = Packed::new(isa, &b, SIZE.columns);
        let run = |_| {
            let start = Instant::now();
            for _ in 0..REPEATS {
                let left = Left::rows(black_box(&a), SIZE.inner);
                gemm(
                    isa,
                    SIZE,
                    left,
                    Right::Packed(&panel),
                    &mut c,
                    SIZE.columns,
                    Start::Zero,
                );
            }
            start.elapsed().as_secs_f64()
        };
        (0..50).map(run).fold(f64::INFINITY, f64::min)
    };
    let flop = (2 * SIZE.rows * SIZE.columns * SIZE.inner * REPEATS) as f64;
    let seconds = rayon::broadcast(|_| fastest());
    seconds
        .into_iter()
        .map(|seconds| flop / seconds / 1e9)
        .sum()
}

/// C = start + A·B, with C row-major at the given stride.
///
/// # Panics
/// If an operand is too short for the sizes.
pub(crate) fn gemm(
    isa: Isa,
    size: Size,
    left: Left<'_>,
    right: Right<'_>,
    c: &mut [f32],
    c_stride: usize,
    start: Start<'_>,
) {
    gemm_fetching(isa, size, left, right, c, c_stride, start, &[]);
}

dispatch! {
    /// [`gemm`], which meanwhile fetches memory that will be used soon, some for each tile: a burst
    /// would wait for more lines than the processor fetches at a time.
    pub fn gemm_fetching(
        size: Size,
        left: Left<'_>,
        right: Right<'_>,
        c: &mut [f32],
        c_stride: usize,
        start: Start<'_>,
        soon: &[f32],
    ) = gemm_body
}

#[expect(clippy::too_many_arguments, reason = "the operands of a product")]
#[inline(always)]
fn gemm_body<S: Simd>(
    simd: S,
    size: Size,
    left: Left<'_>,
    right: Right<'_>,
    c: &mut [f32],
    c_stride: usize,
    start: Start<'_>,
    soon: &[f32],
) {
    if size.rows == 0 || size.columns == 0 {
        return;
    }
    let width = 2 * S::LANES;
    let (right, inner_stride, panel_stride) = match right {
        Right::Rows(data, stride) => (data, stride, width),
        Right::Packed(packed) => {
            let same = (packed.inner, packed.columns, packed.panel_columns);
            assert_eq!(
                same,
                (size.inner, size.columns, width),
                "a panel for another product"
            );
            (&*packed.data, width, packed.inner * width)
        }
    };
    check_bounds(size, left, right, inner_stride, panel_stride, width);
    assert!(c_stride >= size.columns && (size.rows - 1) * c_stride + size.columns <= c.len());
    if let Start::Row(row) = start {
        assert!(row.len() >= size.columns);
    }
    let blocks = size.rows.div_ceil(S::TILE_ROWS);
    let panels = size.columns.div_ceil(width);
    let mut soon = soon.chunks(soon.len().div_ceil(blocks * panels).max(1));
    for panel in 0..panels {
        let column = panel * width;
        let columns = width.min(size.columns - column);
        for block in 0..blocks {
            let rows = block * size.rows / blocks..(block + 1) * size.rows / blocks;
            prefetch(soon.next().unwrap_or_default());
            // SAFETY: the bounds checked above hold for every tile: rows and columns stay
            // within `size`, and panels lie one after the other.
            unsafe {
                let tile = Tile {
                    parts: left.parts,
                    inner: size.inner / left.parts.len(),
                    columns,
                    a: left.data.as_ptr().add(if size.inner == 0 {
                        0
                    } else {
                        rows.start * left.row_stride
                    }),
                    a_row: left.row_stride,
                    a_inner: left.inner_stride,
                    b: right.as_ptr().add(if size.inner == 0 {
                        0
                    } else {
                        panel * panel_stride
                    }),
                    b_inner: inner_stride,
                    c: c.as_mut_ptr().add(rows.start * c_stride + column),
                    c_row: c_stride,
                    start: match start {
                        Start::Zero => TileStart::Zero,
                        Start::Row(row) => TileStart::Row(row.as_ptr().add(column)),
                        Start::Sum => TileStart::Sum,
                    },
                };
                tile.run_rows(simd, rows.len());
            }
        }
    }
}

/// The furthest element of each operand that any tile reads lies within it, and the parts of a row make a whole one.
#[inline(always)]
fn check_bounds(
    size: Size,
    left: Left<'_>,
    right: &[f32],
    inner_stride: usize,
    panel_stride: usize,
    width: usize,
) {
    let n_parts = left.parts.len();
    assert!(
        n_parts > 0 && size.inner.is_multiple_of(n_parts),
        "rows of unequal parts"
    );
    if size.inner == 0 {
        return;
    }
    let last_part = left.parts.iter().copied().fold(0, usize::max);
    let in_part = (size.inner / n_parts - 1) * left.inner_stride;
    let left_last = last_part + (size.rows - 1) * left.row_stride + in_part;
    assert!(left_last < left.data.len(), "left operand too short");
    let last_row = (size.inner - 1) * inner_stride;
    let (full, rest) = (size.columns / width, size.columns % width);
    let full_end = if full > 0 {
        (full - 1) * panel_stride + last_row + width
    } else {
        0
    };
    let rest_end = if rest > 0 {
        full * panel_stride + last_row + rest
    } else {
        0
    };
    assert!(
        full_end.max(rest_end) <= right.len(),
        "right operand too short"
    );
}

#[derive(Clone, Copy)]
enum TileStart {
    Zero,
    Row(*const f32),
    Sum,
}

/// One block of C that is summed up in registers.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// Where the parts of a row of A begin, after `a`.
    parts: &'a [usize],
    /// Steps of each part.
    inner: usize,
    columns: usize,
    a: *const f32,
    a_row: usize,
    a_inner: usize,
    b: *const f32,
    b_inner: usize,
    c: *mut f32,
    c_row: usize,
    start: TileStart,
}

/// Calls the tile compiled for a number of rows known only at run time.
macro_rules! with_rows {
    ($tile:ident, $simd:ident, $rows:ident: $($n:literal)*) => {
        match $rows {
            // SAFETY: the caller's.
            $($n if $n <= S::TILE_ROWS => unsafe { $tile.run_columns::<S, $n>($simd) },)*
            _ => unreachable!("a tile has at most {} rows", S::TILE_ROWS),
        }
    };
}

impl Tile<'_> {
    /// # Safety
    /// The pointers are valid for `rows` rows, `inner` steps of each part and `columns` ≤ two vectors.
    #[inline(always)]
    unsafe fn run_rows<S: Simd>(self, simd: S, rows: usize) {
        with_rows!(self, simd, rows: 1 2 3 4 5 6 7 8 9 10 11 12);
    }

    /// # Safety
    /// As for [`Self::run_rows`] with M rows.
    #[inline(always)]
    unsafe fn run_columns<S: Simd, const M: usize>(self, simd: S) {
        let lanes = S::LANES;
        // SAFETY: the caller's; the last vector has what the others leave of `columns`.
        unsafe {
            if self.columns == 2 * lanes {
                self.run::<S, M, 2>(simd, lanes);
            } else if self.columns > lanes {
                self.run::<S, M, 2>(simd, self.columns - lanes);
            } else {
                self.run::<S, M, 1>(simd, self.columns);
            }
        }
    }

    /// # Safety
    /// As for [`Self::run_rows`] with M rows, V − 1 vectors and `last` lanes of columns.
    #[inline(always)]
    unsafe fn run<S: Simd, const M: usize, const V: usize>(self, simd: S, last: usize) {
        let lanes = |vector: usize| if vector + 1 == V { last } else { S::LANES };
        let mut sums = [[simd.splat(0.0); V]; M];
        // SAFETY: the caller's: every access is to one of M rows, `inner` steps of each part, `columns` columns.
        unsafe {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let offset = vector * S::LANES;
                    *sum = match self.start {
                        TileStart::Zero => continue,
                        TileStart::Row(from) => simd.read(from.add(offset), lanes(vector)),
                        TileStart::Sum => {
                            simd.read(self.c.add(row * self.c_row + offset), lanes(vector))
                        }
                    };
                }
            }
            let mut b = self.b;
            for &part in self.parts {
                let mut a = self.a.wrapping_add(part);
                for _ in 0..self.inner {
                    let mut right = [simd.splat(0.0); V];
                    for (vector, right) in right.iter_mut().enumerate() {
                        *right = simd.read(b.add(vector * S::LANES), lanes(vector));
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let left = simd.splat(*a.add(row * self.a_row));
                        for (sum, right) in sums.iter_mut().zip(right) {
                            *sum = simd.mul_add(left, right, *sum);
                        }
                    }
                    a = a.wrapping_add(self.a_inner);
                    b = b.wrapping_add(self.b_inner);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    let to = self.c.add(row * self.c_row + vector * S::LANES);
                    simd.write(*sum, to, lanes(vector));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn reference(size: Size, a: &[f32], b: &[f32], c: &mut [f32]) {
        for row in 0..size.rows {
            for column in 0..size.columns {
                for k in 0..size.inner {
                    c[row * size.columns + column] +=
                        a[row * size.inner + k] * b[k * size.columns + column];
                }
            }
        }
    }

    fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
        let rows = matrix.len() / columns.max(1);
        (0..matrix.len())
            .map(|i| matrix[i % rows * columns + i / rows])
            .collect()
    }

    fn close(got: &[f32], want: &[f32], inner: usize) -> bool {
        let tolerance = 1e-6 * (1.0 + inner as f32);
        got.iter()
            .zip(want)
            .all(|(got, want)| (got - want).abs() <= tolerance)
    }

    proptest! {
        /// Rows side by side are those of a matrix that has them so.
        #[test]
        fn rows_side_by_side_are_one_row(
            rows in 1..40_usize, columns in 1..70_usize, part in 0..20_usize, firsts in prop::collection::vec(0..9_usize, 1..6),
            seed in 0..100_usize,
        ) {
            let stride = part + 2;
            let firsts: Vec<usize> = firsts.iter().map(|first| first * stride).collect();
            let a = values((rows + 9) * stride, seed);
            let row = |row: usize| {
                let from = |first: &usize| &a[first + row * stride..][..part];
                firsts.iter().map(from).collect::<Vec<_>>().concat()
            };
            let whole: Vec<f32> = (0..rows).flat_map(row).collect();
            let size = Size { rows, columns, inner: part * firsts.len() };
            let b = values(size.inner * columns, seed + 1);
            for isa in Isa::available() {
                let [mut c, mut want] = [(); 2].map(|()| vec![f32::NAN; rows * columns]);
                let right = Right::Rows(&b, columns);
                gemm(isa, size, Left::rows_side_by_side(&a, stride, &firsts), right, &mut c, columns, Start::Zero);
                gemm(isa, size, Left::rows(&whole, size.inner), right, &mut want, columns, Start::Zero);
                prop_assert_eq!(&c, &want);
            }
        }

        #[test]
        fn every_layout_matches_the_triple_loop(
            rows in 1..40_usize, columns in 1..70_usize, inner in 0..40_usize, seed in 0..100_usize,
        ) {
            let size = Size { rows, columns, inner };
            let (a, b) = (values(rows * inner, seed), values(inner * columns, seed + 1));
            let row = values(columns, seed + 2);
            let mut want: Vec<f32> = row.iter().copied().cycle().take(rows * columns).collect();
            let start = want.clone();
            reference(size, &a, &b, &mut want);
            let (a_t, b_t) = (transpose(&a, inner), transpose(&b, columns));
            for isa in Isa::available() {
                let mut c = vec![f32::NAN; rows * columns];
                gemm(isa, size, Left::rows(&a, inner), Right::Rows(&b, columns), &mut c, columns, Start::Row(&row));
                prop_assert!(close(&c, &want, inner));
                c.copy_from_slice(&start);
                gemm(isa, size, Left::transposed(&a_t, rows), Right::Rows(&b, columns), &mut c, columns, Start::Sum);
                prop_assert!(close(&c, &want, inner));
                if inner > 0 {
                    let packed = Packed::new(isa, &b, columns);
                    let packed_t = Packed::transposed(isa, &b_t, inner);
                    prop_assert_eq!(&*packed.data, &*packed_t.data);
                    c.copy_from_slice(&start);
                    gemm(isa, size, Left::rows(&a, inner), Right::Packed(&packed), &mut c, columns, Start::Sum);
                    prop_assert!(close(&c, &want, inner));
                }
            }
        }
    }
}

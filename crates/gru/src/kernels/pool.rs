//! Memory for results: buffers that outlive their use, because fresh memory costs a page fault
//! every 4 kB, and vectors that are written in parallel.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// Buffers kept for reuse, more than a training step has; the oldest are freed.
const MAX_KEPT: usize = 256;

static KEPT: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Frees all buffers kept for reuse, before work of other sizes.
pub fn free_buffers() {
    let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
    drop(kept);
}

/// A slice of `f32` that returns to the pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    /// A buffer of the given length that holds old values.
    pub(crate) fn stale(len: usize) -> Self {
        let fits = |kept: &Vec<f32>| kept.len() == len;
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rposition(fits).map(|index| kept.remove(index));
        drop(kept);
        Self(found.unwrap_or_else(|| vec![0.0; len]))
    }

    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::stale(len);
        buffer.fill(0.0);
        buffer
    }
}

/// A vector of `len` numbers, `chunk` of which (fewer at the end) each task writes: it gets the
/// chunk's index and zeros, which are in its cache.
pub fn in_chunks(len: usize, chunk: usize, write: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    in_chunks_with(len, chunk, write).0
}

/// [`in_chunks`] by tasks that return something, too.
pub(crate) fn in_chunks_with<T: Send>(
    len: usize,
    chunk: usize,
    write: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> (Vec<f32>, Vec<T>) {
    let mut vector = Vec::with_capacity(len);
    let unwritten = &mut vector.spare_capacity_mut()[..len];
    let returned = unwritten
        .par_chunks_mut(chunk.max(1))
        .enumerate()
        .map(|(index, unwritten)| write(index, zeroed(unwritten)))
        .collect();
    // SAFETY: the chunks were the first `len` numbers, and each was zeroed before it was written.
    unsafe { vector.set_len(len) };
    (vector, returned)
}

fn zeroed(memory: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    memory.fill(MaybeUninit::new(0.0));
    // SAFETY: every number has just been written.
    unsafe { memory.assume_init_mut() }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push(std::mem::take(&mut self.0));
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

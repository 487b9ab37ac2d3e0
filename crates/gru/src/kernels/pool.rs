//! Buffers that outlive their use, because fresh memory costs a page fault every 4 kB.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers kept for reuse; the oldest are freed.
const MAX_KEPT: usize = 64;

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

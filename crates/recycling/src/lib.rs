#![doc = include_str!("../README.md")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Smaller blocks are the system's.
const SMALLEST: usize = 1 << 15;
/// Classes per power of two.
const STEPS: usize = 8;
const N_CLASSES: usize = (usize::BITS as usize - 1 - SMALLEST.ilog2() as usize) * STEPS;
/// Of every recycled block.
const ALIGN: usize = 64;

/// A global allocator that keeps freed large blocks and hands them out again.
#[derive(Debug)]
pub struct Recycling {
    classes: [Class; N_CLASSES],
    /// Bytes of large blocks: handed out, at most handed out at once, and kept.
    in_use: AtomicUsize,
    peak: AtomicUsize,
    kept: AtomicUsize,
}

impl Recycling {
    /// An allocator that keeps nothing yet.
    pub const fn new() -> Self {
        Self {
            classes: [const { Class::new() }; N_CLASSES],
            in_use: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
        }
    }

    /// Bytes of the freed blocks that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Bytes of the large blocks that are in use.
    pub fn in_use_bytes(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Most bytes of large blocks that were in use at once since the start or the last
    /// [`Recycling::release`].
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Gives every kept block back, and forgets the peak: before a task unlike the last one.
    pub fn release(&self) {
        self.peak.store(0, Ordering::Relaxed);
        self.shrink(0, 0);
    }

    /// A kept block of the class, if there is one; counts it, or the one to come, as in use.
    fn take(&self, class: usize) -> Option<*mut u8> {
        let size = class_size(class);
        let in_use = self.in_use.fetch_add(size, Ordering::Relaxed) + size;
        let peak = self.peak.fetch_max(in_use, Ordering::Relaxed).max(in_use);
        let block = self.classes[class].pop();
        if block.is_some() {
            self.kept.fetch_sub(size, Ordering::Relaxed);
        } else {
            self.shrink(peak + peak / 4, in_use);
        }
        block
    }

    /// Gives kept blocks back, largest first, until the total is within `budget`.
    fn shrink(&self, budget: usize, in_use: usize) {
        for class in (0..N_CLASSES).rev() {
            while in_use + self.kept_bytes() > budget {
                let Some(block) = self.classes[class].pop() else {
                    break;
                };
                self.kept.fetch_sub(class_size(class), Ordering::Relaxed);
                // SAFETY: every block of a class was allocated with this layout.
                unsafe { System.dealloc(block, class_layout(class)) };
            }
        }
    }
}

impl Default for Recycling {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a block is in one list or handed out, never both; it has its class's size, which is at
// least the requested one, and `ALIGN`.
unsafe impl GlobalAlloc for Recycling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: layouts are valid, and the caller's are not empty.
        unsafe {
            match class_of(layout) {
                None => System.alloc(layout),
                Some(class) => self
                    .take(class)
                    .unwrap_or_else(|| System.alloc(class_layout(class))),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`; a kept block has at least the layout's size.
        unsafe {
            match class_of(layout) {
                None => System.alloc_zeroed(layout),
                Some(class) => match self.take(class) {
                    None => System.alloc_zeroed(class_layout(class)),
                    Some(block) => {
                        block.write_bytes(0, layout.size());
                        block
                    }
                },
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            // SAFETY: the caller's: the block came from `System` with this layout.
            None => unsafe { System.dealloc(block, layout) },
            Some(class) => {
                let size = class_size(class);
                self.in_use.fetch_sub(size, Ordering::Relaxed);
                self.kept.fetch_add(size, Ordering::Relaxed);
                // SAFETY: the caller gives up the block, which has room for a pointer.
                unsafe { self.classes[class].push(block) };
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's: `new_size` is valid for the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class_of(layout), class_of(new_layout)) {
            // SAFETY: the caller's: the block came from `System` with this layout.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: both blocks have at least the smaller size, and are not the same.
            _ => unsafe {
                let moved = self.alloc(new_layout);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

/// The class of a layout whose blocks are recycled.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if size < SMALLEST || layout.align() > ALIGN {
        return None;
    }
    // Between 2^power and 2^(power + 1), the number of eighths of 2^power, rounded up.
    let power = (size - 1).ilog2().max(SMALLEST.ilog2());
    let step = 1 << (power - STEPS.ilog2());
    let class = (power - SMALLEST.ilog2()) as usize * STEPS + (size - (1 << power)).div_ceil(step);
    (class < N_CLASSES).then_some(class)
}

/// Bytes of a class's blocks.
fn class_size(class: usize) -> usize {
    let base = SMALLEST << (class / STEPS);
    base + class % STEPS * (base / STEPS)
}

fn class_layout(class: usize) -> Layout {
    // SAFETY: a power of two, and sizes below that of the address space's half.
    unsafe { Layout::from_size_align_unchecked(class_size(class), ALIGN) }
}

/// The kept blocks of one size: a list whose links lie in the blocks themselves.
#[derive(Debug)]
struct Class {
    locked: AtomicBool,
    first: UnsafeCell<*mut u8>,
}

// SAFETY: the list is touched under the lock only.
unsafe impl Sync for Class {}
// SAFETY: blocks belong to no thread.
unsafe impl Send for Class {}

impl Class {
    const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            first: UnsafeCell::new(null_mut()),
        }
    }

    #[expect(clippy::cast_ptr_alignment, reason = "blocks are aligned to `ALIGN`")]
    fn pop(&self) -> Option<*mut u8> {
        self.locked(|first| {
            let block = *first;
            if block.is_null() {
                return None;
            }
            // SAFETY: `push` wrote a link there, aligned as every block is.
            *first = unsafe { block.cast::<*mut u8>().read() };
            Some(block)
        })
    }

    /// # Safety
    /// `block` is nobody else's, aligned and large enough for a pointer.
    #[expect(clippy::cast_ptr_alignment, reason = "blocks are aligned to `ALIGN`")]
    unsafe fn push(&self, block: *mut u8) {
        self.locked(|first| {
            // SAFETY: the caller's.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        });
    }

    /// A lock of the standard library may itself allocate.
    fn locked<T>(&self, body: impl FnOnce(&mut *mut u8) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: the lock is held.
        let result = body(unsafe { &mut *self.first.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).unwrap()
    }

    #[test]
    fn classes_are_the_smallest_that_hold_a_size() {
        let step = if cfg!(miri) { 97 } else { 1 };
        for size in (SMALLEST..SMALLEST * 5)
            .step_by(step)
            .chain((1 << 30)..(1 << 30) + 3)
        {
            let class = class_of(layout(size)).unwrap();
            assert!(class_size(class) >= size, "{size}");
            assert!(class == 0 || class_size(class - 1) < size, "{size}");
        }
    }

    #[test]
    fn small_and_strictly_aligned_blocks_are_left_to_the_system() {
        assert_eq!(class_of(layout(SMALLEST - 1)), None);
        let pages = Layout::from_size_align(1 << 20, 4096).unwrap();
        assert_eq!(class_of(pages), None);
    }

    #[test]
    fn a_freed_block_comes_back_and_is_zero_if_so_asked() {
        let heap = Recycling::new();
        let (first, second) = (layout(100_000), layout(99_000));
        // SAFETY: layouts of both calls are in the same class and the memory is in use.
        unsafe {
            let block = heap.alloc(first);
            block.write_bytes(7, first.size());
            heap.dealloc(block, first);
            assert_eq!(heap.kept_bytes(), class_size(class_of(first).unwrap()));
            let again = heap.alloc_zeroed(second);
            assert_eq!(again, block);
            let bytes = std::slice::from_raw_parts(again, second.size());
            assert!(bytes.iter().all(|&byte| byte == 0));
            assert_eq!(heap.in_use_bytes(), heap.peak_bytes());
            heap.dealloc(again, second);
        }
        assert_eq!(heap.in_use_bytes(), 0);
        heap.release();
        assert_eq!((heap.kept_bytes(), heap.peak_bytes()), (0, 0));
    }

    #[test]
    fn growing_keeps_the_contents_across_every_border() {
        let heap = Recycling::new();
        let mut size = 1000;
        // SAFETY: the block always has the last layout.
        unsafe {
            let mut block = heap.alloc(layout(size));
            block.write_bytes(3, size);
            // Miri takes minutes for the largest.
            while size < if cfg!(miri) { 60_000 } else { 1_000_000 } {
                let larger = size * 3 / 2;
                block = heap.realloc(block, layout(size), larger);
                let old = std::slice::from_raw_parts(block, size);
                assert!(old.iter().all(|&byte| byte == 3), "{size}");
                block.write_bytes(3, larger);
                size = larger;
            }
            heap.dealloc(block, layout(size));
        }
    }

    #[test]
    fn what_is_kept_stays_within_the_peak() {
        let heap = Recycling::new();
        let sizes: Vec<usize> = (1..200).map(|i| SMALLEST + i * 4096).collect();
        let largest = class_size(class_of(layout(sizes[sizes.len() - 1])).unwrap());
        for &size in &sizes {
            // SAFETY: allocated and freed with the same layout.
            unsafe {
                let block = heap.alloc(layout(size));
                heap.dealloc(block, layout(size));
            }
            assert!(heap.kept_bytes() <= largest + largest / 4);
        }
    }

    #[test]
    fn threads_never_share_a_block() {
        let heap = Recycling::new();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let heap = &heap;
                scope.spawn(move || {
                    for round in 0..if cfg!(miri) { 3 } else { 300 } {
                        let layout = layout(SMALLEST + (round * 7 + thread) % 5 * 9000);
                        // SAFETY: the block is used within its layout, then freed with it.
                        unsafe {
                            let block = heap.alloc(layout);
                            block.write_bytes(thread as u8, layout.size());
                            std::thread::yield_now();
                            let bytes = std::slice::from_raw_parts(block, layout.size());
                            assert!(bytes.iter().all(|&byte| byte == thread as u8));
                            heap.dealloc(block, layout);
                        }
                    }
                });
            }
        });
    }
}

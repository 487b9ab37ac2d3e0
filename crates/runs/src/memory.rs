//! The memory of one training step stays for the next.
//!
//! A step allocates the same large blocks as the step before and frees them all. glibc gives such
//! blocks back to the kernel, and the next step pays a page fault for every 4 kB. Other systems'
//! allocators are left as they are.

/// Has the allocator keep what is freed. To be called first in `main`.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers of the allocator, under its own lock.
    unsafe {
        // Larger blocks, the most it takes, have a mapping of their own, which ends with them.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        // Nothing at the heap's end given back.
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

/// Gives what is kept back to the system: before a task unlike the last one.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes free pages from the allocator, under its own lock.
    unsafe {
        libc::malloc_trim(0);
    }
}

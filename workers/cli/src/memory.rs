//! How much freed memory the C library keeps. It knows nothing of who allocates.

/// Larger pieces come from the kernel, and go back to it when they are freed: the tables of large trees. Smaller ones, frames and
/// packs, are used again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: libc::c_int = 8 << 20;
/// Free bytes at the end of a heap that are not given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SPARE_BYTES_MAX: libc::c_int = 2 * KEPT_BYTES_MAX;

/// glibc makes up to eight heaps for each core and gives little of any back: with all roles in one process, what was freed by one
/// thread is not there for the next. And what it takes for a large piece grows with the pieces that are freed, so that tables end
/// up within the heaps, where they leave holes. A heap for each core and a fixed limit cost no time, and half of the memory
/// (docs/performance.md). What the environment sets counts instead.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the C library has no other way to set it")]
pub fn settle() {
    let tuned = std::env::var("GLIBC_TUNABLES").is_ok_and(|tunables| tunables.contains("malloc."));
    if tuned || std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 64));
    let numbers = [
        (libc::M_ARENA_MAX, cores as libc::c_int),
        (libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX),
        (libc::M_TRIM_THRESHOLD, SPARE_BYTES_MAX),
    ];
    for (which, number) in numbers {
        // SAFETY: no other thread runs yet, and the call changes a number of the allocator's own.
        let set = unsafe { libc::mallopt(which, number) };
        debug_assert_eq!(set, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn settle() {}

//! How much freed memory the C library keeps for each thread. It knows nothing of who allocates.

/// glibc makes up to eight heaps for each core and gives little of any back: with all roles in one process, what was freed by one
/// thread is not there for the next. A heap for each core costs no time, and half of the memory (docs/performance.md). A limit that
/// the environment sets counts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the C library has no other way to set it")]
pub fn settle() {
    let tuned = std::env::var("GLIBC_TUNABLES").is_ok_and(|tunables| tunables.contains("malloc.arena_max"));
    if tuned || std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 64));
    // SAFETY: no other thread runs yet, and the call changes a number of the allocator's own.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, cores as libc::c_int) };
    debug_assert_eq!(set, 1);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn settle() {}

//! Gives memory back that the allocator keeps.
#![expect(unsafe_code, reason = "the C library alone knows what its allocator keeps")]

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // SAFETY: it may be called at any time from any thread (malloc_trim(3): MT-Safe), and takes a number.
    safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// Gives back to the system what is free. It takes the locks of the allocator, so that it is for when memory is short.
pub(super) fn release() {
    // Other C libraries have nothing of the kind; there what was freed is mostly given back at once.
    #[cfg(target_env = "gnu")]
    let _ = malloc_trim(0);
}

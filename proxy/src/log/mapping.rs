//! Memory that outlives the process: a file mapped shared, seen as 64-bit atomics.
//!
//! The one place of the log with `unsafe`. Nothing but atomics is ever made of the memory, so that neither a
//! racing thread nor another process that writes to the file can make our reads undefined, only wrong; frames
//! carry a checksum for that.
#![expect(unsafe_code, reason = "mapping a file and making a slice of the mapping cannot be done without")]

use rustix::{
    fs::{FallocateFlags, fallocate},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};
use std::{
    fs::File,
    io,
    ptr::{self, NonNull},
    sync::atomic::AtomicU64,
};

/// A shared mapping of whole 64-bit words.
#[derive(Debug)]
pub struct Mapping {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping is only reachable as `&[AtomicU64]`, which may be shared and sent, and is unmapped by
// whoever drops the one owner.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` of `file`, a multiple of the page size. The room is allocated first: touching a
    /// hole of a sparse file on a full disk would kill the process.
    ///
    /// # Errors
    /// The room cannot be allocated, or the file cannot be mapped.
    pub fn file(file: &File, bytes: usize) -> io::Result<Self> {
        fallocate(file, FallocateFlags::empty(), 0, bytes as u64)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null hint lets the kernel choose unused addresses, so that nothing of ours is mapped over;
        // the length is the one unmapped on drop.
        let address = unsafe { mmap(ptr::null_mut(), bytes, protection, flags, file, 0) }?;
        Self::of(address, bytes)
    }

    /// Maps memory without a file, for tests that stand in for a disk.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn anonymous(bytes: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: as in `file`.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }?;
        Self::of(address, bytes)
    }

    fn of(address: *mut std::ffi::c_void, bytes: usize) -> io::Result<Self> {
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words, count: bytes / size_of::<AtomicU64>() })
    }

    /// The memory.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count` words long, initialised by the kernel, and lives as long
        // as `self`; it is only ever accessed as atomics.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those that were mapped, and no reference outlives `self`.
        let unmapped = unsafe { munmap(self.words.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}

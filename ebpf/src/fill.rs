//! How full the kernel's ring buffer is.
#![allow(
    unsafe_code,
    reason = "the positions are in memory that the kernel shares, for which there is no safe wrapper"
)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

/// The positions of producer and consumer, which the kernel shares in the first two pages of the map
/// (`struct bpf_ringbuf`, kernel/bpf/ringbuf.c).
pub struct Fill {
    pages: NonNull<libc::c_void>,
    page: usize,
    size: u64,
}

// SAFETY: the pages are only read, by atomic loads, and are this value's alone to unmap.
unsafe impl Send for Fill {}

impl Fill {
    /// Of the ring with this descriptor and of `size` bytes.
    ///
    /// # Errors
    /// When the kernel does not share its positions.
    pub fn of(ring: BorrowedFd<'_>, size: u32) -> io::Result<Fill> {
        // SAFETY: asks for the size of a page.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
        // SAFETY: a new mapping at a place of the kernel's choice; nothing that exists is touched.
        let pages =
            unsafe { libc::mmap(ptr::null_mut(), 2 * page, libc::PROT_READ, libc::MAP_SHARED, ring.as_raw_fd(), 0) };
        match NonNull::new(pages) {
            Some(pages) if pages.as_ptr() != libc::MAP_FAILED => Ok(Fill { pages, page, size: size.into() }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// How much of it waits to be taken out, from 0 to 1.
    pub fn now(&self) -> f64 {
        let [consumed, produced] = [0, self.page].map(|offset| {
            // SAFETY: both pages are mapped for as long as this value lives, and begin with an aligned 64-bit position that
            // the kernel changes atomically.
            unsafe { self.pages.byte_add(offset).cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
        });
        produced.saturating_sub(consumed) as f64 / self.size as f64
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping, and nothing refers to it any more.
        unsafe { libc::munmap(self.pages.as_ptr(), 2 * self.page) };
    }
}

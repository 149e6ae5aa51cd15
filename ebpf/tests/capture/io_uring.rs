//! The least of io_uring(7) that sends and receives: one request at a time.
#![allow(unsafe_code, reason = "io_uring is memory shared with the kernel")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

const SEND: u8 = 26;
const RECEIVE: u8 = 27;
const ENTER_GETEVENTS: u32 = 1;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
const RING_BYTES: usize = 8192;

/// `struct io_uring_params`, include/uapi/linux/io_uring.h.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    entries: [u32; 2],
    flags: [u32; 8],
    submission: [u32; 10],
    completion: [u32; 10],
}

/// `struct io_uring_sqe` up to the request's user data.
#[repr(C)]
struct Request {
    operation: u8,
    flags: u8,
    priority: u16,
    descriptor: i32,
    offset: u64,
    address: u64,
    length: u32,
    message_flags: u32,
    rest: [u64; 4],
}

/// A ring with one entry.
pub struct Ring {
    descriptor: OwnedFd,
    shared: *mut u8,
    requests: *mut Request,
    parameters: Parameters,
}

impl Ring {
    /// `None` where the kernel has no io_uring, or not for us.
    pub fn new() -> Option<Ring> {
        let mut parameters = Parameters::default();
        // SAFETY: the kernel writes the parameters, which have its layout.
        let descriptor = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut parameters) };
        let descriptor = RawFd::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
        // SAFETY: a fresh descriptor that nobody else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let map = |offset| {
            // SAFETY: a fresh mapping of the ring, at an address of the kernel's choice.
            let address = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    RING_BYTES,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_POPULATE,
                    descriptor.as_raw_fd(),
                    offset,
                )
            };
            (address != libc::MAP_FAILED).then_some(address)
        };
        // One mapping holds both rings since Linux 5.4 (IORING_FEAT_SINGLE_MMAP).
        let shared = map(0).or_else(|| map_page(&descriptor, 0))?.cast();
        let requests = map(OFFSET_ENTRIES).or_else(|| map_page(&descriptor, OFFSET_ENTRIES))?.cast();
        Some(Ring { descriptor, shared, requests, parameters })
    }

    pub fn send(&mut self, socket: RawFd, bytes: &[u8]) -> i32 {
        self.submit(SEND, socket, bytes.as_ptr() as u64, bytes.len());
        self.complete()
    }

    pub fn receive(&mut self, socket: RawFd, bytes: &mut [u8]) -> i32 {
        self.submit_receive(socket, bytes);
        self.complete()
    }

    /// The bytes must stay where they are until [`Ring::complete`].
    pub fn submit_receive(&mut self, socket: RawFd, bytes: &mut [u8]) {
        self.submit(RECEIVE, socket, bytes.as_mut_ptr() as u64, bytes.len());
    }

    fn submit(&mut self, operation: u8, descriptor: RawFd, address: u64, length: usize) {
        let length = u32::try_from(length).unwrap();
        let request = Request {
            operation,
            flags: 0,
            priority: 0,
            descriptor,
            offset: 0,
            address,
            length,
            message_flags: 0,
            rest: [0; 4],
        };
        let [_, tail, _, _, _, _, array, ..] = self.parameters.submission;
        // SAFETY: the one entry is free, because each request is completed before the next; the kernel gave the offsets.
        unsafe { self.requests.write(request) };
        self.word(array).store(0, Ordering::Relaxed);
        self.word(tail).fetch_add(1, Ordering::Release);
        assert_eq!(self.enter(1, 0), 1);
    }

    /// Waits for the request's result.
    pub fn complete(&mut self) -> i32 {
        let [head, tail, _, _, _, entries, ..] = self.parameters.completion;
        while self.word(head).load(Ordering::Relaxed) == self.word(tail).load(Ordering::Acquire) {
            self.enter(0, 1);
        }
        let index = self.word(head).load(Ordering::Relaxed) & 1; // twice as many completions as entries
        let result = self.word(entries + index * 16 + 8).load(Ordering::Relaxed);
        self.word(head).fetch_add(1, Ordering::Release);
        result.cast_signed()
    }

    fn enter(&self, submit: u32, wait_for: u32) -> i64 {
        let flags = if wait_for > 0 { ENTER_GETEVENTS } else { 0 };
        // SAFETY: integers only.
        unsafe { libc::syscall(libc::SYS_io_uring_enter, self.descriptor.as_raw_fd(), submit, wait_for, flags, 0, 0) }
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel gave the offset of an aligned word within the mapping, which lives as long as the ring.
        unsafe { AtomicU32::from_ptr(self.shared.add(offset as usize).cast()) }
    }
}

fn map_page(descriptor: &OwnedFd, offset: i64) -> Option<*mut libc::c_void> {
    // SAFETY: a fresh mapping of the ring, at an address of the kernel's choice.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            descriptor.as_raw_fd(),
            offset,
        )
    };
    (address != libc::MAP_FAILED).then_some(address)
}

//! What `conversation.rs` says holds for DNS.

#![no_main]

mod conversation;
mod exchanges;

use libfuzzer_sys::fuzz_target;
use regress_protocols::wire::Protocol;

fuzz_target!(|input: &[u8]| {
    conversation::holds(Protocol::Dns, input);
});

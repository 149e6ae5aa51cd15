//! Whatever the programs could write becomes events or nothing, and TLS that is put together comes out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_ebpf::untrusted;

fuzz_target!(|input: &[u8]| {
    untrusted::records(input);
});

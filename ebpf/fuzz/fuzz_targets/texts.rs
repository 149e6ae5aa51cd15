//! Whatever lines of /proc say is understood or left aside.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_ebpf::untrusted;

fuzz_target!(|input: &str| {
    untrusted::texts(input)
});

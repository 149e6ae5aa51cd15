//! Whatever file a process executes is looked into without harm.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_ebpf::untrusted;

fuzz_target!(|input: &[u8]| {
    untrusted::program(input)
});

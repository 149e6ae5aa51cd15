//! Whatever passes on a connection that may be TLS is cut into records or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_ebpf::untrusted;

fuzz_target!(|input: &[u8]| {
    untrusted::tls(input)
});

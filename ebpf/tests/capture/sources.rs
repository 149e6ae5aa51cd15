//! Which sources a host has, and all of these tests by each of them.

use std::process::Command;

use regress_ebpf::Error;

use crate::harness::{SOURCE_VARIABLE, require_capture, source};

/// Runs this binary once more for each source that works here besides the one under test.
#[test]
fn root_every_other_source_passes_the_same_tests() {
    require_capture!("root_every_other_source_passes_the_same_tests");
    if std::env::var_os(SOURCE_VARIABLE).is_some() {
        return;
    }
    for probed in regress_ebpf::probe().sources {
        if probed.source == source() || probed.result.is_err() {
            continue;
        }
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        let output = command.arg("root_").env(SOURCE_VARIABLE, probed.source.name()).output().expect("the tests run");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "by the source {}:\n{said}", probed.source);
        assert!(said.contains(" 0 failed") && !said.contains(" 0 passed"), "{said}");
    }
}

/// What keeps a source from working is the kernel's make, never its programs.
#[test]
fn root_a_source_works_or_the_kernel_lacks_what_it_needs() {
    require_capture!("root_a_source_works_or_the_kernel_lacks_what_it_needs");
    for probed in regress_ebpf::probe().sources {
        match probed.result {
            Ok(()) => {}
            Err(error @ (Error::Permission { .. } | Error::OldKernel { .. } | Error::NoKprobes(_))) => {
                assert!(error.hint().is_some(), "{error:?}");
            }
            Err(error) => panic!("{}: {error:?}", probed.source),
        }
    }
}

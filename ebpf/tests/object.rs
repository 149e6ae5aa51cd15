//! The checked-in BPF object is what its source gives.
#![allow(clippy::print_stdout, reason = "a skipped test says why")]

use std::process::Command;

#[test]
fn the_object_is_what_its_source_gives() {
    if Command::new("clang-14").arg("--version").output().is_err() {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "there is no clang-14");
        println!("skipped: the_object_is_what_its_source_gives: there is no clang-14");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/build.sh");
    let output = Command::new(script).arg("--check").output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

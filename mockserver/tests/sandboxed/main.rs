//! Sandboxes for real. Without the usual harness, because the executable that runs a sandbox is also its helper, and
//! here its service too: started with `inside NAME` it acts from within.
//!
//! Every test runs as the user who started it and, when that is root, as `nobody` too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the test harness")]

mod clients;
mod harness;
mod inside;
mod lifecycle;
mod names;
mod network;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = regress_mockserver::sandbox::helper_main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("inside") => inside::run(&arguments[1], &arguments[2..]),
        Some("hold") => lifecycle::hold(),
        _ => harness::run(&arguments, &[network::TESTS, lifecycle::TESTS, names::TESTS, clients::TESTS]),
    }
}

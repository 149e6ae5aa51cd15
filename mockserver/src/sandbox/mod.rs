//! Namespaces in which a service runs and out of which nothing gets.

use std::process::ExitCode;

/// Runs the sandbox helper when this process was started as one; a binary that uses sandboxes calls it first.
pub fn helper_main() -> Option<ExitCode> {
    None
}

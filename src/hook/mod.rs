//! Small programs that a service loads, and that tell the recorder which request is worked for (`ebpf/bpf/told.h`): for
//! runtimes that have nothing of the kind that could be read from outside.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::TempDir;

use crate::output::Failure;

/// A runtime that there is a hook for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Node.js 18 and later
    Node,
}

impl Runtime {
    /// The hook's text.
    pub fn script(self) -> &'static str {
        match self {
            Runtime::Node => include_str!("node.cjs"),
        }
    }
}

/// The hook as a file, for as long as the service that loads it may start others. Every user may read it.
pub struct Installed {
    _folder: TempDir,
}

impl Installed {
    /// Writes the hook and adds it to the environment that a command will have.
    pub fn into(env: &mut Vec<(OsString, OsString)>, runtime: Runtime) -> Result<Installed, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("regress-hook-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .and_then(|folder| {
                let script = folder.path().join("node.cjs");
                fs::write(&script, runtime.script())?;
                fs::set_permissions(&script, Permissions::from_mode(0o644))?;
                Ok(folder)
            })
            .map_err(|error| {
                Failure::from_error(error).hint("the hook is written to the folder for temporary files (TMPDIR)")
            })?;
        const NODE_OPTIONS: &str = "NODE_OPTIONS";
        let given = env.iter().rfind(|(name, _)| name == NODE_OPTIONS).map(|(_, value)| value.clone());
        let given = given.or_else(|| std::env::var_os(NODE_OPTIONS)).unwrap_or_default();
        env.push((NODE_OPTIONS.into(), node_options(given, &folder.path().join("node.cjs"))));
        Ok(Installed { _folder: folder })
    }
}

/// The value of `NODE_OPTIONS` that loads the script first.
fn node_options(given: OsString, script: &Path) -> OsString {
    // Words are parted by spaces, but for those in double quotes (node's documentation of NODE_OPTIONS).
    let mut options = OsString::from("--require \"");
    for part in script.as_os_str().to_string_lossy().chars() {
        if matches!(part, '"' | '\\') {
            options.push("\\");
        }
        options.push(part.to_string());
    }
    options.push("\"");
    if !given.is_empty() {
        options.push(" ");
        options.push(given);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_comes_before_what_was_there() {
        let options = node_options("--trace-warnings".into(), Path::new("/tmp/a b\"c/node.cjs"));
        assert_eq!(options, r#"--require "/tmp/a b\"c/node.cjs" --trace-warnings"#);
        assert_eq!(node_options(OsString::new(), Path::new("/x")), r#"--require "/x""#);
    }

    #[test]
    fn every_user_may_read_it_and_it_goes_with_its_owner() {
        let mut env = vec![("NODE_OPTIONS".into(), "--no-warnings".into())];
        let installed = Installed::into(&mut env, Runtime::Node).unwrap();
        let options = env[1].1.to_string_lossy().into_owned();
        let script = Path::new(options.split('"').nth(1).unwrap());
        assert_eq!((env.len(), options.split('"').next_back()), (2, Some(" --no-warnings")));
        assert_eq!(fs::read_to_string(script).unwrap(), Runtime::Node.script());
        let modes =
            [script.parent().unwrap(), script].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o755, 0o644]);
        drop(installed);
        assert!(!script.exists());
    }
}

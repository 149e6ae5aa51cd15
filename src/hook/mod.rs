//! Small programs that a service loads, and that tell the recorder which request is worked for (`ebpf/bpf/told.h`): for
//! runtimes that have nothing of the kind that could be read from outside.

mod jvm;

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::output::Failure;

/// A runtime that there is a hook for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Node.js 18 and later
    Node,
    /// Java 17 and later
    Java,
}

impl Runtime {
    /// The hook's file.
    pub fn file(self) -> &'static [u8] {
        match self {
            Runtime::Node => include_bytes!("node.cjs"),
            Runtime::Java => include_bytes!("java/hook.jar"),
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Runtime::Node => "node.cjs",
            Runtime::Java => "hook.jar",
        }
    }

    /// The variable with which a process is given options by its environment.
    fn options(self) -> &'static str {
        match self {
            Runtime::Node => "NODE_OPTIONS",
            Runtime::Java => "JAVA_TOOL_OPTIONS",
        }
    }

    /// The option that loads the hook.
    fn option(self, file: &Path) -> OsString {
        let path = file.as_os_str().to_string_lossy();
        match self {
            // Words are parted by spaces, but for those in double quotes, in which a backslash stands before a quote (node's
            // documentation of NODE_OPTIONS).
            Runtime::Node => format!("--require \"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")).into(),
            // In double quotes there can be anything but a double quote (JVM TI, JAVA_TOOL_OPTIONS).
            Runtime::Java => format!("-javaagent:\"{}\"", path.replace('"', "\"'\"'\"")).into(),
        }
    }
}

/// A hook that a service has loaded, or will.
pub enum Installed {
    /// As a file, for as long as the service may start others that load it.
    File(#[expect(dead_code, reason = "it is removed when it is dropped")] TempDir),
    /// In running processes, which are rid of it in the end.
    Loaded(#[expect(dead_code, reason = "they act when they are dropped")] Vec<Loaded>),
}

impl Installed {
    /// Writes the hook and adds it to the environment that a command will have.
    pub fn into(env: &mut Vec<(OsString, OsString)>, runtime: Runtime) -> Result<Installed, Failure> {
        let (folder, file) = write(runtime, &std::env::temp_dir()).map_err(|error| {
            Failure::from_error(error).hint("the hook is written to the folder for temporary files (TMPDIR)")
        })?;
        let name = runtime.options();
        let given = env.iter().rfind(|(set, _)| set == name).map(|(_, value)| value.clone());
        let given = given.or_else(|| std::env::var_os(name)).unwrap_or_default();
        env.push((name.into(), before(runtime.option(&file), &given)));
        Ok(Installed::File(folder))
    }

    /// Has running processes load the hook, where the runtime can.
    pub fn load(pids: &[u32], runtime: Runtime) -> Result<Installed, Failure> {
        if runtime != Runtime::Java {
            return Err(Failure::new("a running process cannot be given this hook").hint(
                "give the command after `--`; or start it with what `regress hook node` prints, and leave --hook out",
            ));
        }
        pids.iter().map(|pid| Loaded::by(*pid)).collect::<Result<_, _>>().map(Installed::Loaded)
    }
}

/// Options with another before them.
fn before(mut option: OsString, given: &OsStr) -> OsString {
    if !given.is_empty() {
        option.push(" ");
        option.push(given);
    }
    option
}

/// Writes the hook where every user may read it; it goes with the folder.
fn write(runtime: Runtime, below: &Path) -> std::io::Result<(TempDir, PathBuf)> {
    let folder = tempfile::Builder::new()
        .prefix("regress-hook-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(below)?;
    let path = folder.path().join(runtime.file_name());
    // A new one, and by handle: what is below may be the service's, and so are links in it.
    let mut file = File::create_new(&path)?;
    file.write_all(runtime.file())?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok((folder, path))
}

/// A Java process that has loaded the hook; it is rid of it when this is dropped.
pub struct Loaded {
    /// Goes before what leads to it.
    _folder: TempDir,
    machine: jvm::Machine,
    /// The hook as the process sees it.
    file: PathBuf,
}

impl Loaded {
    fn by(pid: u32) -> Result<Loaded, Failure> {
        let failed = |error: jvm::Error| Failure::new(format_args!("process {pid}: {error}")).hint(jvm::HINT);
        let machine = jvm::Machine::find(pid).map_err(failed)?;
        let tmp = machine.tmp();
        let (folder, written) = write(Runtime::Java, &tmp)
            .map_err(|error| Failure::new(format_args!("/tmp of process {pid}: {error}")).hint(jvm::HINT))?;
        let file = Path::new("/tmp").join(written.strip_prefix(&tmp).expect("it is written there"));
        machine.load(&file, "on").map_err(failed)?;
        Ok(Loaded { _folder: folder, machine, file })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // A process that has ended has no hook either.
        let _ = self.machine.load_again(&self.file, "off");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_hook_comes_before_what_was_there() {
        let options = |runtime: Runtime, file: &str, given: &str| {
            before(runtime.option(Path::new(file)), OsStr::new(given)).into_string().unwrap()
        };
        let node = options(Runtime::Node, "/tmp/a b\"c/node.cjs", "--trace-warnings");
        assert_eq!(node, r#"--require "/tmp/a b\"c/node.cjs" --trace-warnings"#);
        assert_eq!(options(Runtime::Node, "/x", ""), r#"--require "/x""#);
        assert_eq!(options(Runtime::Java, "/a b", "-Xmx1g"), r#"-javaagent:"/a b" -Xmx1g"#);
        assert_eq!(options(Runtime::Java, "/a\"b", ""), r#"-javaagent:"/a"'"'"b""#);
    }

    #[test]
    fn every_user_may_read_it_and_it_goes_with_its_owner() {
        let mut env = vec![("NODE_OPTIONS".into(), "--no-warnings".into())];
        let installed = Installed::into(&mut env, Runtime::Node).unwrap();
        let options = env[1].1.to_string_lossy().into_owned();
        let script = Path::new(options.split('"').nth(1).unwrap());
        assert_eq!((env.len(), options.split('"').next_back()), (2, Some(" --no-warnings")));
        assert_eq!(fs::read(script).unwrap(), Runtime::Node.file());
        let modes =
            [script.parent().unwrap(), script].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o755, 0o644]);
        drop(installed);
        assert!(!script.exists());
    }
}

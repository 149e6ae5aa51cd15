//! What to run in a sandbox, checked and turned into instructions for the helper before anything is built.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use regress_cassettes::SECRET_VARIABLES;
use tempfile::TempDir;

use super::trust;
use super::wire::Instructions;
use crate::Error;
use crate::tls::TrustFiles;

/// What runs in a sandbox and what it sees there.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Program and arguments; a program without a slash is looked up in `PATH` of the service's environment.
    pub command: Vec<OsString>,
    /// Variables set for the service on top of the environment of this process.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; that of this process if `None`.
    pub cwd: Option<PathBuf>,
    /// Certificates that the service trusts: put over the system's, Python's and Java's, and named in the environment.
    pub trust: Option<TrustFiles>,
    /// Whether every server is played, so that the service need not trust any other certificate.
    pub played: bool,
    /// Replaces `/etc/resolv.conf`, `/etc/hosts` and the `hosts` line of `/etc/nsswitch.conf`, so that every name is
    /// asked of our DNS responder.
    pub resolve: bool,
    /// Keeps the `search` and `options` lines of the host's `/etc/resolv.conf`: for a service that runs against real
    /// downstreams, where short names depend on them.
    pub keep_search: bool,
    /// Addresses that answer a TCP connection with a reset.
    pub refused: Vec<SocketAddr>,
    /// Keeps the last 64 KiB of standard output and error for [`super::Sandbox::last_output`]; both go to the standard
    /// error of this process otherwise.
    pub keep_output: bool,
    /// The executable whose `main` calls [`super::helper_main`] first.
    pub helper: PathBuf,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            env: Vec::new(),
            cwd: None,
            trust: None,
            played: false,
            resolve: false,
            keep_search: false,
            refused: Vec::new(),
            keep_output: false,
            helper: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// Address of the name server in the sandbox; TEST-NET-1 of RFC 5737, which nothing real has.
const NAME_SERVER: &str = "192.0.2.53";

impl Spec {
    /// The helper's instructions, and the directory of files that they name, needed until the helper has answered.
    pub(super) fn instructions(&self) -> Result<(Instructions, TempDir), Error> {
        let mut env: Vec<(OsString, OsString)> =
            std::env::vars_os().filter(|(name, _)| SECRET_VARIABLES.iter().all(|secret| name != secret)).collect();
        let mut set = |name: &OsStr, value: &OsStr| {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value.to_owned()));
        };
        for (name, value) in &self.env {
            set(name, value);
        }
        let cwd = self.working_directory()?;
        let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        let program = program(&self.command, path.as_deref(), &cwd)?;
        let files = tempfile::Builder::new()
            .prefix("regress-")
            .tempdir()
            .map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
        let mut instructions = Instructions { refused: self.refused.clone(), ..Instructions::default() };
        if self.resolve {
            instructions.binds = self.resolver_files(files.path())?;
        }
        if let Some(trusted) = &self.trust {
            trust::install(trusted, self.played, &program, &cwd, &mut env, &mut instructions);
        }
        instructions.command = self.command.clone();
        instructions.command[0] = program.into_os_string();
        instructions.env = env;
        instructions.cwd = cwd.into_os_string();
        Ok((instructions, files))
    }

    fn working_directory(&self) -> Result<PathBuf, Error> {
        let path = self.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
        let absolute = fs::canonicalize(&path).and_then(|absolute| match absolute.is_dir() {
            true => Ok(absolute),
            false => Err(std::io::ErrorKind::NotADirectory.into()),
        });
        absolute.map_err(|source| Error::WorkingDirectory { path, source })
    }

    fn resolver_files(&self, directory: &Path) -> Result<Vec<(OsString, OsString)>, Error> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        let mut binds = Vec::new();
        for (target, content) in [
            ("/etc/resolv.conf", resolv_conf(self.keep_search, &read("/etc/resolv.conf"))),
            ("/etc/hosts", hosts(&host_name.to_string_lossy())),
            ("/etc/nsswitch.conf", nsswitch(&read("/etc/nsswitch.conf"))),
        ] {
            // A host without the file has a resolver that does without, and asks 127.0.0.1, which is us too.
            if fs::symlink_metadata(target).is_err() {
                continue;
            }
            let source = directory.join(target.replace('/', "_"));
            fs::write(&source, content)
                .and_then(|()| fs::set_permissions(&source, fs::Permissions::from_mode(0o644)))
                .map_err(|error| Error::Write { path: source.clone(), source: error })?;
            binds.push((source.into_os_string(), OsString::from(target)));
        }
        Ok(binds)
    }
}

fn resolv_conf(keep_search: bool, host: &str) -> String {
    let mut text = format!("nameserver {NAME_SERVER}\n");
    for line in host.lines().filter(|_| keep_search) {
        if ["search", "domain", "options"].contains(&line.split_whitespace().next().unwrap_or_default()) {
            text += line;
            text.push('\n');
        }
    }
    text
}

fn hosts(host_name: &str) -> String {
    format!("127.0.0.1 localhost {host_name}\n::1 localhost ip6-localhost ip6-loopback\n")
}

/// Other ways to find a host (mdns, resolve, nscd's) would bypass DNS.
fn nsswitch(host: &str) -> String {
    let others = host.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
    text += "hosts: files dns\n";
    text
}

/// The absolute program that `command` names.
fn program(command: &[OsString], path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, Error> {
    let name = command.first().filter(|name| !name.is_empty()).ok_or(Error::NoCommand)?;
    let candidates: Vec<PathBuf> = if name.as_encoded_bytes().contains(&b'/') {
        vec![cwd.join(name)]
    } else {
        // What execvp(3) searches when PATH is not set.
        let path = path.unwrap_or(OsStr::new("/usr/local/bin:/bin:/usr/bin"));
        std::env::split_paths(path).map(|directory| cwd.join(directory).join(name)).collect()
    };
    let mut found = candidates.into_iter().filter(|candidate| candidate.is_file()).peekable();
    let first = found.peek().cloned();
    match (found.find(|candidate| access(candidate, AccessFlags::X_OK).is_ok()), first) {
        (Some(program), _) => Ok(program),
        (None, Some(path)) => Err(Error::NotExecutable { path }),
        (None, None) => Err(Error::CommandNotFound(name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, path: &str, cwd: &Path) -> Result<PathBuf, Error> {
        program(&[name.into()], Some(OsStr::new(path)), cwd)
    }

    #[test]
    fn a_program_is_looked_up_in_path_and_relative_to_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("tool");
        fs::write(&program, "").unwrap();
        let here = directory.path().to_str().unwrap();

        let Err(error @ Error::NotExecutable { .. }) = found("tool", here, Path::new("/")) else { panic!() };
        assert!(error.hint().unwrap().contains("chmod +x"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found("tool", &format!("/nowhere:{here}"), Path::new("/")).unwrap(), program);
        assert_eq!(found("./tool", "", directory.path()).unwrap(), directory.path().join("./tool"));
        assert!(matches!(found("tool", "/nowhere", directory.path()), Err(Error::CommandNotFound(_))));
        assert!(matches!(found("./no", here, directory.path()), Err(Error::CommandNotFound(_))));
        assert!(matches!(super::program(&[], None, directory.path()), Err(Error::NoCommand)));
    }

    #[test]
    fn names_are_asked_of_us_alone() {
        let host = "# by hand\nnameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:5\n";
        assert_eq!(resolv_conf(false, host), "nameserver 192.0.2.53\n");
        assert_eq!(resolv_conf(true, host), "nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:5\n");
        assert_eq!(nsswitch("passwd: files\nhosts: mdns4 resolve\n"), "passwd: files\nhosts: files dns\n");
    }
}

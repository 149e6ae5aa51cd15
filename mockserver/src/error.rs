//! What can go wrong before and while a downstream is played.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::sandbox::Step;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No command was given.
    #[error("no command to run")]
    NoCommand,
    /// The program of the command is not there.
    #[error("command {} not found", .0.display())]
    CommandNotFound(OsString),
    /// The program of the command is a file that this user cannot run.
    #[error("{} cannot be executed", .path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The program was started and the kernel refused.
    #[error("cannot run {}", .program.display())]
    Program {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The working directory of the command is not there.
    #[error("cannot use the working directory {}", .path.display())]
    WorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step on the way to a sandbox failed.
    #[error("cannot {step}")]
    Sandbox {
        /// The step.
        step: Step,
        /// Why.
        source: io::Error,
    },
    /// The executable that should act as the sandbox helper cannot be run or is something else.
    #[error("cannot run {} as the sandbox helper", .path.display())]
    Helper {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be set up with a certificate of our own.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A file could not be read or written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCommand => "give the service's command after `--`, or `command` in regress.toml".into(),
            Self::CommandNotFound(name) if name.as_encoded_bytes().contains(&b'/') => {
                "a command with a slash is a path from the working directory; check that the build put it there".into()
            }
            Self::CommandNotFound(_) => "check the spelling and PATH, or give the path of the program".into(),
            Self::NotExecutable { path } => {
                format!("run `chmod +x {}`, or name its interpreter in the command", path.display())
            }
            Self::Program { source, .. } if source.raw_os_error() == Some(libc::ENOEXEC) => {
                "the file is no program for this machine; a script needs a first line such as #!/bin/sh".into()
            }
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "the interpreter named in the script's first line, or the program's loader, is missing".into()
            }
            Self::Program { .. } | Self::Certificate(_) | Self::Tls(_) => return None,
            Self::WorkingDirectory { .. } => "the working directory must exist and be readable".into(),
            Self::Sandbox { step, source } => return crate::sandbox::hint(step, source),
            Self::Helper { .. } => "the regress executable must stay where it was started from, and be readable".into(),
            Self::Write { .. } => "check free space and permissions, or set TMPDIR to another directory".into(),
        })
    }
}

//! Has a running Java virtual machine load an agent, by the mechanism that HotSpot has for `jcmd` and its like
//! (`AttachListener` in src/hotspot/os/posix/attachListener_posix.cpp of the JDK): a file asks for it, SIGQUIT tells
//! the machine to look for the file, and it answers on a socket in its `/tmp`.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, fchown},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::signal,
    unistd::Pid,
};

/// What helps where it fails.
pub const HINT: &str = "it takes a Java of OpenJDK's kind (HotSpot), which started without -XX:+DisableAttachMechanism; else start it \
                        with -javaagent:FILE, where FILE has what `regress hook java` prints, and leave --hook out";

/// How long a machine may take to answer: it does so between two of its own pauses.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a machine did not load an agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is no Java virtual machine that agents can be loaded into")]
    NoJava,
    #[error("it did not open {0} within {1:?}")]
    Silent(PathBuf, Duration),
    #[error("it answered `{0}`")]
    Refused(String),
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Signal(#[from] nix::Error),
}

/// A process that agents can be loaded into.
pub struct Machine {
    pid: i32,
    /// As it calls itself, in its PID namespace.
    own_number: u32,
    /// Its `/tmp`.
    tmp: File,
}

impl Machine {
    /// Looks at a process; any other than such a machine would be ended by what asks it to load something.
    pub fn find(pid: u32) -> Result<Machine, Error> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let has_hotspot = maps.lines().any(|line| line.ends_with("/libjvm.so"));
        let own_number = last_field(&status, "NSpid:").and_then(|field| field.parse().ok());
        match (i32::try_from(pid), own_number) {
            (Ok(pid), Some(own_number)) if has_hotspot && catches_quit(&status) => {
                let tmp = tmp_of(Path::new(&format!("/proc/{pid}/root")));
                let tmp = tmp.map_err(|error| Error::File("/tmp".into(), error))?;
                Ok(Machine { pid, own_number, tmp })
            }
            _ => Err(Error::NoJava),
        }
    }

    /// Its `/tmp`, as this process sees it for as long as this lives.
    pub fn tmp(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.tmp.as_raw_fd()).into()
    }

    /// Has it load an agent from a jar, whose path is as the machine sees it.
    pub fn load(&self, jar: &Path, options: &str) -> Result<(), Error> {
        let socket = self.socket();
        if !socket.exists() {
            self.open(&socket)?;
        }
        self.load_again(jar, options)
    }

    /// The same, of a machine that has loaded it before; if it has ended meanwhile, nobody else is asked.
    pub fn load_again(&self, jar: &Path, options: &str) -> Result<(), Error> {
        let socket = self.socket();
        // Each of these ends with a zero: the version of the protocol, the command, its arguments.
        let asked = format!("1\0load\0instrument\0false\0{}={options}\0", jar.display());
        match answer(&socket, &asked) {
            Ok(answer) if is_success(&answer) => Ok(()),
            Ok(answer) => Err(Error::Refused(answer.trim().replace('\n', " "))),
            Err(error) => Err(Error::File(socket, error)),
        }
    }

    fn socket(&self) -> PathBuf {
        self.tmp().join(format!(".java_pid{}", self.own_number))
    }

    /// Has it open its socket.
    fn open(&self, socket: &Path) -> Result<(), Error> {
        let asking = self.tmp().join(format!(".attach_pid{}", self.own_number));
        let asked = fs::metadata(format!("/proc/{}", self.pid)).and_then(|owner| {
            let file = File::create_new(&asking)?;
            // The machine looks at whose file it is. By handle: the folder is the service's, and so are links in it.
            fchown(file, Some(owner.uid()), Some(owner.gid()))
        });
        match asked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Error::File(asking, error)),
            _ => {}
        }
        let told = signal::kill(Pid::from_raw(self.pid), signal::Signal::SIGQUIT);
        let since = Instant::now();
        while told.is_ok() && !socket.exists() && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        // The machine removes it as well.
        let _ = fs::remove_file(&asking);
        told?;
        if socket.exists() { Ok(()) } else { Err(Error::Silent(socket.into(), PATIENCE)) }
    }
}

/// The folder `/tmp` of that root. What is a link there leads to somewhere in it, never to a folder of the host.
fn tmp_of(root: &Path) -> io::Result<File> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let tmp = openat2(File::open(root)?, "tmp", how.resolve(ResolveFlag::RESOLVE_IN_ROOT))?;
    Ok(tmp.into())
}

fn answer(socket: &Path, asked: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(asked.as_bytes())?;
    let mut answer = String::new();
    const MOST: u64 = 64 << 10;
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// `0`, and for an agent its own code, which is in the same line or `return code: 0` in the next.
fn is_success(answer: &str) -> bool {
    let mut lines = answer.lines();
    lines.next() == Some("0") && lines.all(|line| matches!(line.trim(), "" | "0" | "return code: 0"))
}

fn last_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next_back()
}

/// By the mask of caught signals in `/proc/PID/status`; a machine with -Xrs catches none.
fn catches_quit(status: &str) -> bool {
    const QUIT: u64 = 1 << (signal::Signal::SIGQUIT as u32 - 1);
    let caught = last_field(status, "SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    caught.is_some_and(|mask| mask & QUIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_file_tells_whether_quit_is_caught_and_the_innermost_number() {
        let status = "Name:\tjava\nNSpid:\t4711\t7\nSigCgt:\t2000000181005ccf\n";
        assert!(catches_quit(status));
        assert_eq!(last_field(status, "NSpid:"), Some("7"));
        assert!(!catches_quit("SigCgt:\t0000000000000000\n"));
        assert!(!catches_quit(""));
    }

    #[test]
    fn answers_of_several_versions() {
        assert!(is_success("0\nreturn code: 0\n"));
        assert!(is_success("0\n0\n"));
        assert!(!is_success("0\nreturn code: 102\n"));
        assert!(!is_success("1\n"));
        assert!(!is_success(""));
    }

    #[test]
    fn a_link_in_the_place_of_tmp_does_not_lead_out_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(root.join("inside")).unwrap();
        fs::create_dir(&outside).unwrap();
        for leads_out in ["../outside", outside.to_str().unwrap()] {
            std::os::unix::fs::symlink(leads_out, root.join("tmp")).unwrap();
            assert!(tmp_of(&root).is_err(), "{leads_out}");
            fs::remove_file(root.join("tmp")).unwrap();
        }
        std::os::unix::fs::symlink("/inside", root.join("tmp")).unwrap();
        assert_eq!(tmp_of(&root).unwrap().metadata().unwrap().ino(), root.join("inside").metadata().unwrap().ino());
    }

    #[test]
    fn who_is_no_java_is_left_alone() {
        assert!(matches!(Machine::find(std::process::id()), Err(Error::NoJava)));
    }
}

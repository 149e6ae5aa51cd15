//! Recording by cgroup: who is in it, comes later, leaves.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use regress_ebpf::{Capture, Cgroup, Error, Options, Role};

use crate::harness::{MEDIUM, Recorded, Socket, require_capture, source, turn};
use crate::shell::Shell;

/// A cgroup of the test's own; what is left in it is moved out at the end.
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    /// `None`, and says so, where no cgroup can be made, unless everything is required.
    fn new(test: &str) -> Option<OwnCgroup> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let made = hierarchy().map(|top| top.join(format!("regress-test-{}-{number}", std::process::id())));
        match made.and_then(|path| fs::create_dir(&path).map(|()| path).map_err(|e| e.to_string())) {
            Ok(path) => Some(OwnCgroup(path)),
            Err(reason) => {
                assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "{test}: {reason}");
                println!("skipped: {test}: {reason}");
                None
            }
        }
    }

    fn below(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).expect("a cgroup below our own");
        path
    }

    fn found(&self) -> Cgroup {
        Cgroup::find(&self.0).expect("it is there")
    }

    fn capture(&self) -> Capture {
        let options = Options {
            cgroup: Some(self.found()),
            source: Some(source()),
            buffer_bytes: Some(MEDIUM),
            ..Options::default()
        };
        Capture::start(options).expect("capture starts")
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let top = hierarchy().expect("it was there");
        for place in below_first(&self.0) {
            let listed = fs::read_to_string(place.join("cgroup.procs")).unwrap_or_default();
            listed.lines().for_each(|pid| drop(fs::write(top.join("cgroup.procs"), pid)));
            let _ = fs::remove_dir(place);
        }
    }
}

fn below_first(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let mut places: Vec<_> = entries.filter(|e| e.path().is_dir()).flat_map(|e| below_first(&e.path())).collect();
    places.push(cgroup.to_owned());
    places
}

fn hierarchy() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|e| e.to_string())?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let point = line.and_then(|line| line.split(' ').nth(1));
    point.map(PathBuf::from).ok_or_else(|| "no cgroup2 file system is mounted".to_owned())
}

fn enter(cgroup: &Path, shell: &Shell) {
    fs::write(cgroup.join("cgroup.procs"), shell.id().to_string()).expect("a process can be moved");
}

/// The recorded end of the connection whose other end this is.
fn with_peer(recorded: &Recorded, peer: SocketAddr) -> Option<&Socket> {
    recorded.sockets().map(|(_, s)| s).find(|s| s.open.as_ref().is_some_and(|(_, local, ..)| *local == peer.into()))
}

fn drained(mut capture: Capture) -> Recorded {
    let mut events = Vec::new();
    capture.drain(&mut events).expect("the capture drains");
    Recorded::of(events)
}

#[test]
fn root_members_of_a_cgroup_and_of_those_below_it() {
    require_capture!("root_members_of_a_cgroup_and_of_those_below_it");
    let Some(cgroup) = OwnCgroup::new("root_members_of_a_cgroup_and_of_those_below_it") else { return };
    let turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [mut inside, mut below, mut outside] = [(); 3].map(|()| Shell::start());
    let mut ends = [&mut inside, &mut below, &mut outside].map(|shell| shell.connect(3, &listener));
    enter(&cgroup.0, &inside);
    enter(&cgroup.below("a/b"), &below);
    let mut expected = vec![inside.id(), below.id()];
    expected.sort_unstable();
    assert_eq!(cgroup.found().processes().unwrap(), expected);

    let capture = cgroup.capture();
    for shell in [&mut inside, &mut below, &mut outside] {
        shell.run("echo hello >&3");
    }
    // A child is where its parent is.
    inside.run("(echo child >&3)");
    ends.iter_mut().for_each(|end| end.read_exact(&mut [0; 6]).unwrap());
    let recorded = drained(capture);
    drop(turn);
    recorded.assert_nothing_lost();
    let [inside, below, outside] = ends.map(|end| with_peer(&recorded, end.peer_addr().unwrap()));
    let (inside, below) = (inside.expect("recorded"), below.expect("recorded"));
    assert!(inside.joined() && below.joined());
    assert_eq!([inside.role(), below.role()], [Role::Client; 2]);
    assert_eq!(inside.sent.whole(), b"hello\nchild\n");
    assert_eq!(below.sent.whole(), b"hello\n");
    assert!(outside.is_none(), "it is not in the cgroup");
}

#[test]
fn root_a_process_enters_and_leaves_a_cgroup() {
    require_capture!("root_a_process_enters_and_leaves_a_cgroup");
    let Some(cgroup) = OwnCgroup::new("root_a_process_enters_and_leaves_a_cgroup") else { return };
    let turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // It is empty at first.
    assert_eq!(cgroup.found().processes().unwrap(), []);
    let capture = cgroup.capture();
    let mut shell = Shell::start();
    let mut old = shell.connect(3, &listener);
    let unused = shell.connect(4, &listener);
    shell.run("echo unseen >&3; echo unseen >&4");
    enter(&cgroup.below("deep"), &shell);
    let mut new = shell.connect(5, &listener);
    shell.run("echo joined >&3; echo whole >&5");
    enter(&hierarchy().unwrap(), &shell);
    shell.run("echo left! >&3; echo left! >&5");
    let last = shell.connect(6, &listener);
    shell.run("echo left >&6; exec 3>&-; exec 5>&-");
    let mut said = [Vec::new(), Vec::new()];
    old.read_to_end(&mut said[0]).unwrap();
    new.read_to_end(&mut said[1]).unwrap();
    let recorded = drained(capture);
    drop(turn);
    recorded.assert_nothing_lost();
    assert_eq!(said, [&b"unseen\njoined\nleft!\n"[..], b"whole\nleft!\n"]);

    let joined = with_peer(&recorded, old.peer_addr().unwrap()).expect("used while it was a member");
    assert!(joined.joined());
    assert_eq!(joined.sent.pieces, [(0, b"joined\n".to_vec())]);
    assert_eq!(joined.sent.missing, 6, "what it said after it left is known to be missing");
    let whole = with_peer(&recorded, new.peer_addr().unwrap()).expect("opened while it was a member");
    assert_eq!((whole.role(), whole.joined()), (Role::Client, false));
    assert_eq!(whole.sent.pieces, [(0, b"whole\n".to_vec())]);
    assert_eq!(whole.sent.missing, 6);
    assert!(with_peer(&recorded, unused.peer_addr().unwrap()).is_none());
    assert!(with_peer(&recorded, last.peer_addr().unwrap()).is_none());
}

#[test]
fn root_a_cgroup_that_is_removed_is_gone_for_good() {
    require_capture!("root_a_cgroup_that_is_removed_is_gone_for_good");
    let Some(cgroup) = OwnCgroup::new("root_a_cgroup_that_is_removed_is_gone_for_good") else { return };
    let found = cgroup.found();
    assert!(!found.is_gone());
    fs::remove_dir(&cgroup.0).unwrap();
    assert!(found.is_gone());
    assert!(matches!(found.processes(), Err(Error::NoCgroup { .. })));
    fs::create_dir(&cgroup.0).unwrap();
    assert!(found.is_gone(), "another one in its place");
    assert!(!cgroup.found().is_gone());
}

#[test]
fn root_a_cgroup_by_its_path_in_proc() {
    require_capture!("root_a_cgroup_by_its_path_in_proc");
    let Some(cgroup) = OwnCgroup::new("root_a_cgroup_by_its_path_in_proc") else { return };
    let shell = Shell::start();
    enter(&cgroup.0, &shell);
    let written = fs::read_to_string(format!("/proc/{}/cgroup", shell.id())).unwrap();
    let line = written.lines().find(|line| line.starts_with("0::")).unwrap();
    assert_eq!(Cgroup::find(Path::new(line)).unwrap(), cgroup.found());
    assert_eq!(Cgroup::find(Path::new(&line[3..])).unwrap(), cgroup.found());
}

#[test]
fn what_is_no_cgroup_is_refused() {
    if hierarchy().is_err() {
        assert!(matches!(Cgroup::find(Path::new("/nothing/here")), Err(Error::NoCgroupMount)));
        return;
    }
    for path in ["/nothing/here", "/", "/tmp", "relative", ""] {
        let found = Cgroup::find(Path::new(path));
        if path == "/" {
            assert!(found.is_ok(), "the root as /proc/PID/cgroup writes it");
            continue;
        }
        let error = found.unwrap_err();
        assert!(matches!(error, Error::NoCgroup { .. }), "{path}: {error:?}");
        assert!(error.hint().unwrap().contains("/proc/PID/cgroup"));
    }
    let first_version = Path::new("/sys/fs/cgroup/memory");
    if first_version.join("memory.limit_in_bytes").exists() {
        let error = Cgroup::find(first_version).unwrap_err();
        assert!(matches!(error, Error::CgroupV1 { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("--pid"));
    }
}

#[test]
fn root_a_member_that_starts_another_program() {
    require_capture!("root_a_member_that_starts_another_program");
    let Some(cgroup) = OwnCgroup::new("root_a_member_that_starts_another_program") else { return };
    let turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut shell = Shell::start();
    enter(&cgroup.0, &shell);
    let capture = cgroup.capture();
    let mut end = shell.connect(3, &listener);
    shell.exec();
    shell.run("echo new >&3");
    end.read_exact(&mut [0; 4]).unwrap();
    end.write_all(b"old\n").unwrap();
    assert_eq!(shell.run("head -n1 <&3"), "old\n");
    let recorded = drained(capture);
    drop(turn);
    recorded.assert_nothing_lost();
    let socket = with_peer(&recorded, end.peer_addr().unwrap()).expect("recorded");
    assert_eq!((socket.sent.whole(), socket.received.whole()), (b"new\n".to_vec(), b"old\n".to_vec()));
}

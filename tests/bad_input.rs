use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    harness::{Client, Finished, ForNobody, Need, Process, open_to_all, regress, require},
    services::{Language, PATIENT, RecordedShop, Shop, Source},
};

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let missing = folder.path().join("missing");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("the folder can be written");
    let damaged = folder.path().join("damaged.cassettes.zst");
    std::fs::write(&damaged, "not a packed folder").expect("the folder can be written");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("the folder can be written");

    let as_text = |path: &Path| path.display().to_string();
    let own_pid = std::process::id().to_string();
    let rows: &[(&str, &[&str])] = &[
        ("a folder that does not exist", &["replay", &as_text(&missing), "--", "true"]),
        ("a folder without cassettes", &["replay", &as_text(&empty), "--", "true"]),
        ("a file where a folder belongs", &["replay", &as_text(&file), "--", "true"]),
        ("review of nothing", &["review", &as_text(&missing), "--accept-all"]),
        ("a cassette that does not exist", &["cassette", "show", &as_text(&missing)]),
        ("a packed folder that is none", &["replay", &as_text(&damaged), "--", "true"]),
        ("an update of a packed folder", &["replay", &as_text(&damaged), "--update", "--", "true"]),
        ("unpacking what is not packed", &["cassette", "unpack", &as_text(&damaged)]),
        ("packing what is not there", &["cassette", "pack", &as_text(&missing)]),
        ("packing over a file", &["cassette", "pack", &as_text(&empty), "-o", &as_text(&damaged)]),
        ("packing under another name", &["cassette", "pack", &as_text(&empty), "-o", &as_text(&missing)]),
        ("cassettes into a file", &["record", "-o", &as_text(&file), "--via", "proxy", "--", "true"]),
        ("nothing to record", &["record", "-o", &as_text(&missing)]),
        ("a hook for a running process", &["record", "-o", &as_text(&missing), "--hook", "node", "--pid", "1"]),
        ("Java's hook for another process", &["record", "-o", &as_text(&missing), "--hook", "java", "--pid", &own_pid]),
        (
            "a hook seen by a proxy",
            &["record", "-o", &as_text(&missing), "--hook", "node", "--via", "proxy", "--", "true"],
        ),
        ("schemas that do not exist", &["cassette", "show", "--proto", &as_text(&missing), &as_text(&empty)]),
        ("schemas that are none", &["cassette", "show", "--proto", &as_text(&file), &as_text(&empty)]),
        ("settings that do not exist", &["replay", &as_text(&empty), "--config", &as_text(&missing), "--", "true"]),
    ];
    for (what, arguments) in rows {
        refused(what, regress().args(*arguments));
    }
    assert!(!missing.exists(), "a refused command wrote");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("regress.toml");
    for text in ["[service]\ncolour = 1\n", "[service\n", "[replay]\nsettle = -1\n"] {
        std::fs::write(&settings, text).expect("the folder can be written");
        refused(text, regress().arg("replay").arg(folder.path()).arg("--config").arg(&settings).args(["--", "true"]));
    }
}

#[test]
fn a_rule_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("regress.toml");
    std::fs::write(&settings, "[[rules]]\npath = \"response/bodi/at\"\nas = \"ignore\"\n")
        .expect("the folder can be written");
    let mut command = regress();
    command.arg("replay").arg(folder.path()).arg("--config").arg(&settings).args(["--", "true"]);
    let finished = refused("a rule for no part of a message", &mut command);
    for told in ["rule 1 (response/bodi/at): \"bodi\" is no part of a message", "write a path as reports print it"] {
        assert!(finished.stderr.contains(told), "{}", finished.stderr);
    }
}

#[test]
fn redaction_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("regress.toml");
    let short = folder.path().join("short");
    std::fs::write(&short, "short\n").expect("the folder can be written");
    for (text, told, hint) in [
        ("[[redact.rules]]\nheader = \"a\"\nfield = \"b\"\n", "redaction rule 1", "give one of header"),
        ("[[redact.rules]]\npointer = \"a\"\n", "is no JSON Pointer", "begin it with a slash"),
        ("[redact]\nkeep = [\"*\"]\n", "[redact] keep", "name the secrets that may stay"),
        ("[redact]\nkey_file = \"short\"\n", "has at least 16 bytes, this one has 5", "head -c 32 /dev/urandom"),
        ("[redact]\nkey_file = \"missing\"\n", "cannot read the redaction key", "keep it out of the repository"),
        ("[redact]\nsecret = \"x\"\n", "unknown field `secret`", "docs/configuration.md lists the keys"),
    ] {
        std::fs::write(&settings, text).expect("the folder can be written");
        let out = folder.path().join("cassettes");
        let mut command = regress();
        command.arg("record").arg("--config").arg(&settings).arg("-o").arg(&out).args(["--via", "proxy", "--", "true"]);
        let finished = refused(text, &mut command);
        assert!(finished.stderr.contains(told) && finished.stderr.contains(hint), "{text}: {}", finished.stderr);
        assert!(!out.exists(), "{text}");
    }
}

#[test]
fn a_hook_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("regress.toml");
    std::fs::write(&settings, "[record]\nhook = \"cobol\"\n").expect("the folder can be written");
    let mut command = regress();
    command.arg("record").arg("--config").arg(&settings).arg("-o").arg(folder.path()).args(["--", "true"]);
    let finished = refused("a hook for cobol", &mut command);
    assert!(finished.stderr.contains("cobol"), "{}", finished.stderr);
    assert!(finished.stderr.contains("regress hook --help"), "{}", finished.stderr);
}

#[test]
fn a_header_that_cannot_be_one_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("regress.toml");
    std::fs::write(&settings, "[record]\nid_headers = [\"x id\"]\n").expect("the folder can be written");
    let mut command = regress();
    command.arg("record").arg("--config").arg(&settings).arg("-o").arg(folder.path()).args(["--", "true"]);
    let finished = refused("a header with a space", &mut command);
    assert!(finished.stderr.contains("[record] id_headers"), "{}", finished.stderr);
}

#[test]
fn a_process_that_is_gone_cannot_be_recorded() {
    if !require("bad_input::dead_pid", &[Need::Ebpf]) {
        return;
    }
    let mut child = Command::new("true").spawn().expect("there is `true`");
    let gone = child.id().to_string();
    child.wait().expect("a child can be waited for");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("cassettes");
    refused("a dead process", regress().args(["record", "--pid", &gone, "--via", "ebpf", "-o"]).arg(&out));
    assert_no_cassettes(&out);
}

#[test]
fn the_kernel_cannot_be_asked_without_privilege() {
    if !require("bad_input::no_privilege", &[Need::Nobody]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    open_to_all(folder.path());
    let out = folder.path().join("cassettes");
    let own = std::process::id().to_string();
    let copy = ForNobody::copy();
    refused("no privilege", copy.regress().args(["record", "--pid", &own, "--via", "ebpf", "-o"]).arg(&out));
    assert_no_cassettes(&out);
}

#[test]
fn a_kernel_without_type_information_is_named() {
    if !require("bad_input::no_btf", &[Need::Root, Need::Ebpf]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("cassettes");
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh", env!("CARGO_BIN_EXE_regress"), "record", "--via", "ebpf"]);
    command.args(["--pid", &std::process::id().to_string(), "-o"]).arg(&out);
    let finished = refused("no BTF", &mut command);
    assert!(finished.stderr.contains("BTF"), "{}", finished.stderr);
    assert_no_cassettes(&out);
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    if !require("bad_input::command", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    let absent = "/no/such/command";
    let finished = refused("replay", regress().arg("replay").arg(recorded.cassettes()).args(["--", absent]));
    assert!(finished.stderr.contains(absent), "{}", finished.stderr);
    let out = recorded.cassettes().with_file_name("other");
    let finished = refused("record", regress().args(["record", "--via", "proxy", "-o"]).arg(&out).args(["--", absent]));
    assert!(finished.stderr.contains(absent), "{}", finished.stderr);
    assert_no_cassettes(&out);
}

#[test]
fn a_port_in_use_is_named() {
    if !require("bad_input::port", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let shop = Shop::new(Language::Go);
    let taken = TcpListener::bind(("127.0.0.1", shop.port)).expect("the port is free");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("cassettes");
    let port = shop.port.to_string();
    let mut command = regress();
    command.args(["record", "--via", "proxy", "--port", &port, "-o"]).arg(&out).arg("--");
    let finished = refused("port", command.args(shop.language.command()).envs(shop.environment("none")));
    assert!(finished.stderr.contains(&port), "{}", finished.stderr);
    assert_no_cassettes(&out);
    drop(taken);
}

#[test]
fn a_cassette_that_cannot_be_trusted_is_never_the_same() {
    if !require("bad_input::cassettes", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    type Edit = fn(&str) -> String;
    let edits: &[(&str, Edit)] = &[
        ("empty", |_| String::new()),
        ("truncated", |text| text[..text.len() / 2].to_owned()),
        ("truncated by one brace", |text| text.trim_end().trim_end_matches('}').to_owned()),
        ("a newer format", |text| text.replacen(r#""regress": "1.0""#, r#""regress": "2.0""#, 1)),
        ("no format", |text| text.replacen(r#""regress": "1.0""#, r#""regress": """#, 1)),
        ("not a cassette", |_| "[1, 2, 3]\n".to_owned()),
    ];
    let whole = cassettes_in(&recorded.cassettes());
    for (what, edit) in edits {
        let copy = tempfile::tempdir().expect("there is a temporary folder");
        for file in &whole {
            let to = copy.path().join(file.strip_prefix(recorded.cassettes()).expect("a file of the folder"));
            std::fs::create_dir_all(to.parent().expect("a file has a folder")).expect("the folder can be written");
            std::fs::copy(file, to).expect("the folder can be written");
        }
        let victim = cassettes_in(copy.path()).into_iter().find(|path| path.to_string_lossy().contains("health"));
        let victim = victim.expect("the tour asks for /health");
        let text = std::fs::read_to_string(&victim).expect("a cassette is text");
        let edited = edit(&text);
        assert_ne!(edited, text, "{what}: the edit changes something");
        std::fs::write(&victim, edited).expect("the folder can be written");
        let verified = Process::start(regress().args(["cassette", "verify"]).arg(&victim)).finish();
        verified.expect_code(2);
        // The problems are what was asked for: they are on stdout.
        assert!(verified.stdout.contains("hint:"), "{what}: {}", verified.stdout);

        let (finished, _) = recorded.replay_from(copy.path(), "none", PATIENT, &["--report", "text=-"]);
        finished.expect_code(2);
        let name = victim.file_name().expect("a file has a name").to_string_lossy();
        let said = [finished.stdout, finished.stderr].concat();
        assert!(said.contains(&*name), "{what}: which file?\n{said}");
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    if !require("bad_input::disk", &[Need::Go, Need::Root, Need::Ebpf]) {
        return;
    }
    let disk = SmallDisk::mount();
    let shop = Shop::new(Language::Go);
    let service = shop.run();
    let mut command = regress();
    command.args(["record", "--pid", &service.id().to_string(), "--via", "ebpf"]);
    let recording = Process::start(command.arg("-o").arg(disk.path().join("cassettes")));
    recording.wait_for_line("recording");
    // More than the disk holds: a cassette is larger than a block. The service must not notice.
    let client = Client::new(shop.port);
    for order in 0..SmallDisk::BLOCKS * 2 {
        assert_eq!(client.get(&format!("/orders/{order}")).status, 200);
    }
    recording.signal(nix::sys::signal::Signal::SIGINT);
    let finished = recording.finish();
    assert_explained("a full disk", &finished);
    service.stop();
    for file in files_in(disk.path()) {
        let name = file.to_string_lossy().into_owned();
        if name.ends_with(".recording") {
            // It did not end in order, and says so.
            continue;
        }
        assert!(name.ends_with(".cassette.json"), "left over: {name}");
        assert_eq!(regress_cassettes::verify(&file).len(), 0, "half-written: {name}");
    }
}

/// A file system of a few blocks.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    const BLOCKS: u32 = 64;

    fn mount() -> SmallDisk {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let size = format!("size={}k", SmallDisk::BLOCKS * 4);
        let mut command = Command::new("mount");
        Process::start(command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path())).finish().expect_code(0);
        SmallDisk(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// Run it: exit code 2, and it says what is wrong and what to do.
#[track_caller]
fn refused(what: &str, command: &mut Command) -> Finished {
    let finished = Process::start(command).finish();
    assert_explained(what, &finished);
    finished
}

#[track_caller]
fn assert_explained(what: &str, finished: &Finished) {
    let Finished { code, stdout, stderr } = finished;
    let explained = *code == 2 && stderr.contains("error:") && stderr.contains("hint:");
    assert!(explained, "{what}: exit code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}");
}

#[track_caller]
fn assert_no_cassettes(folder: &Path) {
    assert_eq!(files_in(folder), Vec::<PathBuf>::new());
}

fn cassettes_in(folder: &Path) -> Vec<PathBuf> {
    files_in(folder).into_iter().filter(|path| path.to_string_lossy().ends_with(".cassette.json")).collect()
}

/// All files below a folder that may not exist, sorted.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

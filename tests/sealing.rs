use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use regress_cassettes::seal::{Identities, Keys};

use crate::{
    harness::{Client, Corpus, Finished, Need, Process, Recording, Terminal, free_port, regress, require},
    services::{LISTENS, Language, PATIENT, RecordedShop, Shop, Source},
};

/// What the shop and its downstreams say, and where.
const TELLING: [&str; 8] =
    ["HTTP/1.1", "currency", "\"sku\"", "inventory", "pricing", "GET /", "get-orders", "last-read"];

/// A key of the tests of `regress-cassettes`.
fn key(name: &str) -> String {
    format!("{}/cassettes/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn keys(name: &str) -> Keys {
    let text = std::fs::read_to_string(key(name)).expect("the key is there");
    Keys::new([Identities::parse(&text, &mut || None).expect("it is a key")])
}

fn needs(test: &str) -> bool {
    require(test, &[Need::Python, Need::Sandbox])
}

fn record(arguments: &[&str]) -> RecordedShop {
    let (ours, theirs) = (key("ssh.pub"), key("ssh-rsa.pub"));
    let arguments = [&["--seal", &ours, "--seal", &theirs], arguments].concat();
    RecordedShop::record_with(Language::Python, Source::Proxy, &arguments, keys("ssh"))
}

/// The files below a folder, with their contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    let paths = found.filter(|found| found.file_type().is_file()).map(|found| found.into_path());
    paths.map(|path| (path.clone(), std::fs::read(path).expect("the file can be read"))).collect()
}

/// Nothing of what was recorded is in the folder, neither in files nor in their names.
#[track_caller]
fn assert_tells_nothing(folder: &Path) {
    let files = files(folder);
    assert!(!files.is_empty());
    for (path, content) in files {
        let name = path.strip_prefix(folder).expect("it is in there").display().to_string();
        for telling in TELLING {
            let is_said = content.windows(telling.len()).any(|window| window == telling.as_bytes());
            assert!(!is_said && !name.contains(telling), "{telling} in {name}");
        }
    }
}

fn cassette(arguments: &[&str], folder: &Path) -> Finished {
    Process::start(regress().arg("cassette").args(arguments).arg(folder)).finish()
}

#[track_caller]
fn refused(finished: &Finished, error: &str, hint: &str) {
    finished.expect_code(2);
    let told = &finished.stderr;
    assert!(told.starts_with("error: ") || told.contains("\nerror: "), "{told}");
    assert!(told.contains(error), "no {error:?}: {told}");
    assert!(told.contains("hint: ") && told.contains(hint), "no {hint:?}: {told}");
}

const NO_IDENTITY: (&str, &str) = ("it is sealed, and no identity was given", "--identity FILE");

#[test]
fn a_sealed_recording_is_replayed_and_reviewed_as_another() {
    if !needs("sealing::replay") {
        return;
    }
    let recorded = record(&[]);
    let folder = recorded.cassettes();
    assert_tells_nothing(&folder);
    let ours = key("ssh");
    let identity = ["--identity", &ours];

    refused(&recorded.replay("none", PATIENT, &[]).0, NO_IDENTITY.0, NO_IDENTITY.1);
    recorded.replay("none", PATIENT, &identity).0.expect_code(0);
    recorded.replay("value", PATIENT, &identity).0.expect_code(1);
    let waiting = files(&folder).into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "new"));
    assert_eq!(waiting.count(), 2);
    assert_tells_nothing(&folder);
    let named = recorded.replay("none", PATIENT, &[&identity[..], &["--filter", "get-health"]].concat());
    assert_eq!(named.1.expect("a report").outcomes.len(), 1, "a route that only the content tells");

    let review = |arguments: &[&str]| Process::start(regress().arg("review").arg(&folder).args(arguments)).finish();
    recorded.replay("value", PATIENT, &identity).0.expect_code(1);
    refused(&review(&["--accept-all"]), NO_IDENTITY.0, NO_IDENTITY.1);
    let listed = review(&[&identity[..], &["--list"]].concat());
    assert!(listed.stdout.contains("response/body/currency"), "{}", listed.stdout);
    let by_path = listed.stdout.lines().find_map(|line| line.split_once("  GET ")).expect("a proposal").0.trim();
    let by_path = format!("{by_path}:response/body/currency");
    review(&[&identity[..], &["--accept", &by_path]].concat()).expect_code(0);
    // The other recipient opens what was proposed: it is sealed for whom the cassette is.
    review(&["--identity", &key("ssh-rsa"), "--accept-all"]).expect_code(0);
    assert_tells_nothing(&folder);
    recorded.replay("value", PATIENT, &identity).0.expect_code(0);
    recorded.replay("none", PATIENT, &[&identity[..], &["--no-pending"]].concat()).0.expect_code(1);
    recorded.replay("none", PATIENT, &[&identity[..], &["--update"]].concat()).0.expect_code(1);
    recorded.replay("none", PATIENT, &identity).0.expect_code(0);
    assert_tells_nothing(&folder);
    assert_eq!(Corpus::read_with(&folder, keys("ssh-rsa")).cassettes.len(), 9);
}

#[test]
fn what_an_interrupted_replay_keeps_is_sealed() {
    if !needs("sealing::resume") {
        return;
    }
    let recorded = record(&[]);
    let ours = key("ssh");
    let killed = recorded.begin_replay("hang", PATIENT, &["--identity", &ours]);
    killed.wait_for_line("GET /orders/7");
    killed.signal(Signal::SIGKILL);
    killed.finish();
    let kept = recorded.cassettes().join(".regress/replay.jsonl");
    let known = std::fs::read_to_string(&kept).expect("it kept what it knew").lines().count() - 1;
    assert!((2..=3).contains(&known), "{known}");
    assert_tells_nothing(&recorded.cassettes());
    let (finished, _) = recorded.replay("none", PATIENT, &["--identity", &ours, "--resume"]);
    finished.expect_code(0);
    assert!(finished.stderr.contains(&format!("going on: {known} known from before")), "{}", finished.stderr);
}

#[test]
fn a_readable_header_lists_cassettes_to_everybody() {
    if !needs("sealing::header") {
        return;
    }
    let recorded = record(&["--seal-header"]);
    let folder = recorded.cassettes();
    let listed = cassette(&["list"], &folder);
    listed.expect_code(0);
    let row = listed.stdout.lines().find(|line| line.contains("get-health")).expect("the route is told");
    assert!(row.contains("sealed") && row.trim_end().ends_with("?"), "{row}");
    let in_full = cassette(&["list", "--identity", &key("ssh")], &folder);
    in_full.expect_code(0);
    assert!(in_full.stdout.lines().any(|line| line.contains("get-health") && line.contains("  200  ")));
    refused(&cassette(&["show"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    refused(&cassette(&["stats"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    cassette(&["verify", "--identity", &key("ssh")], &folder).expect_code(0);
    recorded.replay("none", PATIENT, &["--identity", &key("ssh")]).0.expect_code(0);

    // A header that says something else is noticed.
    let (path, whole) =
        files(&folder).into_iter().find(|(path, _)| path.to_string_lossy().contains("get-health")).unwrap();
    let at = whole.windows(19).position(|window| window == b"-> regress-header-1").expect("it has a header") + 24;
    let mut changed = whole.clone();
    changed[at] ^= 1;
    std::fs::write(&path, changed).expect("a folder of our own");
    let finished = cassette(&["verify", "--identity", &key("ssh")], &folder);
    finished.expect_code(2);
    assert!(finished.stdout.contains("its head was changed or cut off"), "{}", finished.stdout);
    recorded.replay("none", PATIENT, &["--identity", &key("ssh")]).0.expect_code(2);
}

#[test]
fn without_a_header_nothing_is_listed() {
    if !needs("sealing::list") {
        return;
    }
    let recorded = record(&[]);
    let folder = recorded.cassettes();
    for command in ["list", "show", "stats"] {
        refused(&cassette(&[command], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    }
    let verified = cassette(&["verify"], &folder);
    verified.expect_code(2);
    assert!(verified.stdout.contains(NO_IDENTITY.0) && verified.stdout.contains("hint: "), "{}", verified.stdout);
    let stranger = cassette(&["show", "--identity", &key("ssh-rsa")], &folder);
    stranger.expect_code(0);
    let packed = folder.with_extension("cassettes.zst");
    cassette(&["pack"], &folder).expect_code(0);
    refused(&cassette(&["show"], &packed), NO_IDENTITY.0, NO_IDENTITY.1);
    assert_eq!(cassette(&["show", "--identity", &key("ssh")], &packed).stdout, stranger.stdout);
}

/// Everything that a recording can leave behind.
#[test]
fn the_log_the_self_check_and_the_summary_are_sealed_or_tell_nothing() {
    if !needs("sealing::all") {
        return;
    }
    let summary = tempfile::NamedTempFile::new().expect("there is a temporary folder");
    let summary = format!("json={}", summary.path().display());
    let recorded = record(&["--owner-log", "--self-check", "--summary", &summary]);
    let folder = recorded.cassettes();
    assert_tells_nothing(&folder);
    let names: Vec<_> = files(&folder).into_iter().map(|(path, _)| path.display().to_string()).collect();
    assert!(names.iter().any(|name| name.ends_with(".owners.gz.age")), "{names:?}");
    assert!(names.iter().all(|name| name.ends_with(".age")), "{names:?}");
    let text = std::fs::read_to_string(summary.strip_prefix("json=").expect("a file")).expect("it is written");
    assert!(!text.contains("currency") && !text.contains("GET /"), "{text}");
    refused(&cassette(&["recorrelate"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    let again = cassette(&["recorrelate", "--identity", &key("ssh")], &folder);
    again.expect_code(0);
    assert!(again.stdout.contains("entries             9"), "{}", again.stdout);
    let redacted = cassette(&["redact", "--identity", &key("ssh")], &folder);
    redacted.expect_code(0);
    refused(&cassette(&["redact"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    refused(&cassette(&["prune", "--keep", "1"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    assert_eq!(Corpus::read_with(&folder, keys("ssh")).cassettes.len(), 9, "nothing was removed");
    assert_tells_nothing(&folder);
}

#[test]
fn a_folder_is_sealed_rekeyed_and_opened_by_commands() {
    if !needs("sealing::commands") {
        return;
    }
    let recorded = RecordedShop::record(Language::Python, Source::Proxy);
    let folder = recorded.cassettes();
    let before = files(&folder);
    refused(&cassette(&["seal"], &folder), "nobody to seal for", "--to");
    cassette(&["seal", "--to", &key("ssh.pub")], &folder).expect_code(0);
    assert_tells_nothing(&folder);
    refused(&cassette(&["rekey", "--to", &key("ssh-rsa.pub")], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    let to = std::fs::read_to_string(key("ssh-rsa.pub")).expect("the key is there");
    let mut rekey = regress();
    rekey.args(["cassette", "rekey"]).arg(&folder).env("REGRESS_SEAL_TO", to).env("REGRESS_IDENTITY_FILE", key("ssh"));
    Process::start(&mut rekey).finish().expect_code(0);
    let ours = recorded.replay("none", PATIENT, &["--identity", &key("ssh")]).0;
    ours.expect_code(2);
    assert!(ours.stderr.contains("it is sealed for others than the given identities"), "{}", ours.stderr);
    recorded.replay("none", PATIENT, &["--identity", &key("ssh-rsa"), "--no-pending"]).0.expect_code(0);
    refused(&cassette(&["open"], &folder), NO_IDENTITY.0, NO_IDENTITY.1);
    let mut open = regress();
    let text = std::fs::read_to_string(key("ssh-rsa")).expect("the key is there");
    open.args(["cassette", "open"]).arg(&folder).env("REGRESS_IDENTITY", text);
    Process::start(&mut open).finish().expect_code(0);
    std::fs::remove_dir_all(folder.join(".regress")).ok();
    assert_eq!(files(&folder), before);
}

#[test]
fn a_folder_is_recorded_to_sealed_or_not_and_never_both() {
    if !needs("sealing::both") {
        return;
    }
    let recorded = record(&[]);
    let (folder, settings) = (recorded.cassettes().display().to_string(), recorded.settings("again", PATIENT));
    let record = |arguments: &[&str]| {
        let mut command = regress();
        command.args(["record", "--via", "proxy", "-o", &folder, "--duration", "1"]).arg("--config").arg(&settings);
        let finished = Process::start(command.args(arguments).args(["--", "sleep", "30"])).finish();
        assert_tells_nothing(&recorded.cassettes());
        finished
    };
    refused(&record(&[]), "its cassettes are sealed, and this recording would not be", "--seal");
    refused(
        &record(&["--seal", &key("ssh.pub")]),
        "the ambient cassette of an earlier recording, which this one would be added to",
        "record to another folder",
    );
}

/// Neither the recorded service nor the one that is replayed is given what opens its cassettes.
#[test]
fn services_are_not_given_identities() {
    if !needs("sealing::environment") {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (shop, told) = (Shop::new(Language::Python), folder.path().join("environment"));
    let out = folder.path().join("cassettes");
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, format!("[service]\nports = [{}]\n", shop.port)).expect("a folder of our own");
    let script = format!("env >> {}; exec {}", told.display(), shop.language.command().join(" "));
    let secret = std::fs::read_to_string(key("ssh")).expect("the key is there");
    let secrets = || [("REGRESS_IDENTITY", secret.clone()), ("REGRESS_IDENTITY_FILE", key("ssh"))];
    let arguments = ["--via", "proxy", "--seal", &key("ssh.pub"), "--config", &settings.display().to_string(), "--"];
    let command = [&arguments[..], &["sh", "-c", &script]].concat();
    let recording = Recording::start(&out, command, shop.environment("none").into_iter().chain(secrets()));
    recording.wait_for_service(LISTENS, shop.port);
    assert_eq!(Client::new(shop.port).get("/health").status, 200);
    recording.stop().expect_code(0);
    let mut replay = regress();
    replay.arg("replay").arg(&out).arg("--config").arg(&settings).args(["--", "sh", "-c", &script]);
    replay.envs(shop.environment("none")).envs(secrets());
    Process::start(&mut replay).finish().expect_code(0);
    let told = std::fs::read_to_string(told).expect("the service told its environment");
    assert_eq!(told.lines().filter(|line| line.starts_with("PATH=")).count(), 2, "{told}");
    assert!(!told.contains("REGRESS_IDENTITY") && !told.contains("PRIVATE KEY"), "{told}");
}

#[test]
fn what_is_no_key_is_refused_without_telling_it() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name).display().to_string();
        std::fs::write(&path, text).expect("a folder of our own");
        path
    };
    let out = folder.path().join("cassettes").display().to_string();
    let port = free_port().to_string();
    let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    let record = |arguments: &[&str]| {
        let mut command = regress();
        command.args(["record", "-o", &out, "--via", "proxy", "--port", &port]).args(arguments);
        Process::start(command.args(["--", "true"])).finish()
    };
    let team = file("team", "# the team\nann\n");
    for (arguments, error, hint) in [
        (&["--seal", secret][..], "it is a secret key, not a recipient", "age-keygen -y"),
        (&["--seal", &file("secret", secret)], "it is a secret key", "age-keygen -y"),
        (&["--seal", &key("ssh")], "line 1: it is a secret key", ".pub file"),
        (&["--seal", &team], "line 2: it is no recipient", "ssh-ed25519"),
        (&["--seal", &file("nobody", "# nobody\n")], "no recipient is in it", "age1.."),
        (&["--seal", "missing.pub"], "cannot read recipients missing.pub", "age1.."),
        (&["--seal", "age1qqqq"], "it is no recipient", "age1.."),
        (&["--seal-header"], "--seal-header is about sealed cassettes", "--seal"),
        (&["--seal", &key("ssh.pub"), "--identity", "missing"], "cannot read the identity missing", "age-keygen -o"),
    ] {
        let finished = record(arguments);
        refused(&finished, error, hint);
        assert!(!finished.stderr.contains(&secret[..30]), "{}", finished.stderr);
        assert!(!Path::new(&out).exists(), "{arguments:?} wrote");
    }
    let settings = file("regress.toml", "[seal]\nto = [\"team\"]\n");
    refused(&record(&["--config", &settings]), "line 2: it is no recipient", "ssh-ed25519");
    let settings = file("regress.toml", "[seal]\nfor = [\"team\"]\n");
    refused(&record(&["--config", &settings]), "unknown field `for`", "docs/configuration.md");

    std::fs::create_dir(&out).expect("a folder of our own");
    for (name, text, error, hint) in [
        ("public", &*std::fs::read_to_string(key("ssh.pub")).unwrap(), "it is a public key", "secret key"),
        ("text", "hunter2\n", "line 1 is no identity", "AGE-SECRET-KEY-1"),
        ("nothing", "", "no identity is in it", "AGE-SECRET-KEY-1"),
        ("locked", &std::fs::read_to_string(key("ssh-locked")).unwrap(), "protected by a passphrase", "terminal"),
    ] {
        let finished = cassette(&["list", "--identity", &file(name, text)], Path::new(&out));
        refused(&finished, error, hint);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    }
    let mut command = regress();
    command.args(["cassette", "list", &out]).env("REGRESS_IDENTITY", "hunter2");
    let finished = Process::start(&mut command).finish();
    refused(&finished, "REGRESS_IDENTITY: line 1 is no identity", "AGE-SECRET-KEY-1");
    assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal() {
    if !needs("sealing::passphrase") {
        return;
    }
    let locked = key("ssh-locked.pub");
    let recorded = RecordedShop::record(Language::Python, Source::Proxy);
    cassette(&["seal", "--to", &locked], &recorded.cassettes()).expect_code(0);
    for (passphrase, code) in [("open sesame", 0), ("sesame", 2)] {
        let mut command = regress();
        command.args(["cassette", "verify", "--identity", &key("ssh-locked")]).arg(recorded.cassettes());
        let mut terminal = Terminal::start(&mut command);
        terminal.answer("passphrase of ", passphrase);
        assert_eq!(terminal.finish(), code, "{passphrase}");
    }
}

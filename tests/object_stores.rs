use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{Authority, Corpus, Fault, Finished, Need, ObjectStore, Process, Recording, nobody, regress, require},
    services::{LISTENS, Language, PATIENT, RecordedShop, Shop, tour},
};

fn needs(test: &str) -> bool {
    require(test, &[Need::S3, Need::Python, Need::Sandbox])
}

type Environment = Vec<(&'static str, String)>;

/// Record a tour of the shop into a spool.
fn record(recorded: &RecordedShop, environment: &Environment, arguments: &[&str]) -> Finished {
    let recording = begin(recorded, environment, arguments);
    tour(recorded.shop.port);
    let finished = recording.stop();
    recorded.shop.inventory.take_served();
    recorded.shop.pricing.take_served();
    finished
}

fn begin(recorded: &RecordedShop, environment: &Environment, arguments: &[&str]) -> Recording {
    let settings = recorded.settings("record", PATIENT);
    let mut all: Vec<String> = vec!["--via".into(), "proxy".into(), "--config".into(), settings.display().to_string()];
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    all.push("--".into());
    all.extend(recorded.shop.language.command());
    let environment = recorded.shop.environment("none").into_iter().chain(environment.clone());
    let recording = Recording::start(&recorded.cassettes(), all, environment);
    recording.wait_for_service(LISTENS, recorded.shop.port);
    recording
}

/// A store knows to the second when it got something: what it gets next is younger.
fn wait_for_another_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    let this = second();
    while second() == this {
        std::thread::yield_now();
    }
}

fn cassette(environment: &Environment, arguments: &[&str]) -> Finished {
    Process::start(regress().arg("cassette").args(arguments).envs(environment.iter().cloned())).finish()
}

/// What is in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let mut names: Vec<String> = found.map(|found| found.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(finished: &Finished, error: &str, hint: &str) {
    finished.expect_code(2);
    let told = &finished.stderr;
    assert!(told.contains("error: ") && told.contains(error), "no {error:?}: {told}");
    assert!(told.contains("hint: ") && told.contains(hint), "no {hint:?}: {told}");
    assert!(!told.contains("secret-of-a-test"), "{told}");
}

/// Two recordings, each by a recorder of its own, in one place: they are replayed as one folder, whatever happens on the way.
#[test]
fn recordings_of_several_recorders_are_replayed_from_where_they_were_sent() {
    if !needs("object_stores::replay") {
        return;
    }
    let store = ObjectStore::start();
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (url, mut environment) = (store.url("staging/shop"), store.environment());
    let cache = tempfile::tempdir().expect("there is a temporary folder");
    environment.push(("REGRESS_STORE_CACHE", cache.path().display().to_string()));
    for faults in [&[Fault::Unavailable][..], &[Fault::Closed, Fault::Unavailable, Fault::AnswerLost]] {
        store.fail(faults);
        let finished = record(&recorded, &environment, &["--upload", &url]);
        finished.expect_code(0);
        assert!(finished.stderr.contains(&format!("sent: {url}/")), "{}", finished.stderr);
        assert_eq!(names(&recorded.cassettes()), Vec::<String>::new(), "the spool is empty");
        assert_eq!(store.faults_left(), 0);
    }

    let replay = |change: &'static str, arguments: &[&str]| {
        let mut command = regress();
        command.arg("replay").arg(&url).arg("--config").arg(recorded.settings("replay", PATIENT)).args(arguments);
        command.arg("--").args(recorded.shop.language.command());
        let environment = recorded.shop.environment(change).into_iter().chain(environment.clone());
        let finished = Process::start(command.envs(environment)).finish();
        let escaped = [recorded.shop.inventory.take_served(), recorded.shop.pricing.take_served()].concat();
        assert!(escaped.is_empty(), "{escaped:?}");
        finished
    };
    store.fail(&[Fault::Closed, Fault::CutOff(700), Fault::CutOff(2000)]);
    let same = replay("none", &[]);
    same.expect_code(0);
    assert!(same.stderr.contains(&format!("2 recordings at {url}, ")), "{}", same.stderr);
    let changed = replay("value", &[]);
    changed.expect_code(1);
    assert!(changed.stderr.contains(", 0 bytes fetched"), "once is enough: {}", changed.stderr);
    refused(&replay("none", &["--update"]), "is not changed by a replay", "regress cassette pull");

    let folder = cache.path().join("pulled");
    cassette(&environment, &["pull", &url, &folder.display().to_string()]).expect_code(0);
    let pulled = Corpus::read(&folder);
    assert_eq!(pulled.cassettes.len(), 18);
    assert_eq!(pulled.losses(), Vec::<&_>::new());
    // Each began by asking for its settings, which no entry caused.
    let ambient: Vec<u64> = pulled.ambient.iter().map(|call| call.connection.id).collect();
    assert_eq!(pulled.ambient.len() % 2, 0);
    assert!(!ambient.is_empty() && ambient.iter().collect::<std::collections::BTreeSet<_>>().len() == ambient.len());
    let listed = cassette(&environment, &["list", &url]);
    assert_eq!(listed.expect_code(0).stdout.lines().filter(|line| line.contains(" GET ")).count() % 2, 0);
    refused(
        &cassette(&environment, &["pull", &url, &folder.display().to_string()]),
        "it is there already",
        "delete it",
    );
}

/// A store that is away loses nothing: what was recorded waits in the spool for the next recorder.
#[test]
fn what_could_not_be_sent_is_sent_by_the_next() {
    if !needs("object_stores::spool") {
        return;
    }
    let store = ObjectStore::start();
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (url, environment) = (store.url("later"), store.environment());
    let upload = ["--upload", &url, "--upload-wait", "1s"];
    let away = [Fault::Closed; 40];
    let recording = begin(&recorded, &environment, &upload);
    tour(recorded.shop.port);
    store.fail(&away);
    let finished = recording.stop();
    finished.expect_code(2);
    assert!(finished.stderr.contains("warning: not sent to"), "{}", finished.stderr);
    assert!(finished.stderr.contains("the next recording with this spool sends it"), "{}", finished.stderr);
    let kept = names(&recorded.cassettes());
    assert!(matches!(&kept[..], [kept] if kept.ends_with(".cassettes.zst")), "{kept:?}");

    store.fail(&[]);
    let finished = record(&recorded, &environment, &["--upload", &url]);
    finished.expect_code(0);
    assert!(finished.stderr.contains("an earlier recording was left: sent: "), "{}", finished.stderr);
    assert_eq!(names(&recorded.cassettes()), Vec::<String>::new());
    let listed = cassette(&environment, &["list", &url]).stdout;
    assert_eq!(listed.lines().filter(|line| line.contains("get-health")).count(), 2, "{listed}");

    // Who does not want to wait does not have to.
    let recording = begin(&recorded, &environment, &["--upload", &url]);
    tour(recorded.shop.port);
    store.fail(&[Fault::Closed; 400]);
    recording.signal(Signal::SIGINT);
    recording.wait_for_line("sending to");
    recording.signal(Signal::SIGINT);
    let finished = recording.finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("caused by: ended by SIGINT"), "{}", finished.stderr);
    store.fail(&[]);
    let kept = names(&recorded.cassettes()).remove(0);
    let path = recorded.cassettes().join(&kept);
    cassette(&environment, &["push", &path.display().to_string(), &url]).expect_code(0);
    assert!(!cassette(&environment, &["list", &url]).stderr.contains("not among them"));
    // Whether it had come to be packed by then.
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.expect("a folder of our own");

    // One that is not there at the beginning is told at once, and nothing is begun.
    let mut command = regress();
    command.args(["record", "--via", "proxy", "-o"]).arg(recorded.cassettes()).args(["--upload", &url]);
    let finished = Process::start(command.args(["--", "sleep", "30"]).envs(nobody())).finish();
    refused(&finished, "cannot write to", "check the network");
    assert_eq!(names(&recorded.cassettes()), Vec::<String>::new());
    let elsewhere = url.replace("tapes", "no-such-bucket");
    refused(
        &cassette(&environment, &["push", &recorded.cassettes().display().to_string(), &elsewhere]),
        "no-such-bucket",
        "bucket",
    );
}

/// Of a recorder that was killed the store knows, and its spool; neither passes for a whole recording.
#[test]
fn a_killed_recorder_is_not_forgotten() {
    if !needs("object_stores::killed") {
        return;
    }
    let store = ObjectStore::start();
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (url, environment) = (store.url("killed"), store.environment());
    let recording = begin(&recorded, &environment, &["--upload", &url]);
    tour(recorded.shop.port);
    recording.kill();
    refused(&cassette(&environment, &["list", &url]), "no recordings at", "--upload");

    let finished = record(&recorded, &environment, &["--upload", &url]);
    finished.expect_code(0);
    assert!(
        finished.stderr.contains("warning: not sent to") && finished.stderr.contains(".recording"),
        "{}",
        finished.stderr
    );
    let left = names(&recorded.cassettes());
    assert!(matches!(&left[..], [left] if !left.ends_with(".zst")), "{left:?}");
    let listed = cassette(&environment, &["list", &url]);
    listed.expect_code(0);
    let told = format!("not among them: {url}/{}, which has not ended", left[0]);
    assert!(listed.stderr.contains(&told), "{}", listed.stderr);

    // Whoever takes what there is takes it knowingly.
    let folder = recorded.cassettes().join(&left[0]);
    let name = left[0].as_str();
    let path = folder.display().to_string();
    refused(&cassette(&environment, &["push", &path, &url]), "did not end", "delete this file");
    let mark = names(&folder).into_iter().find(|name| name.ends_with(".recording")).expect("the mark");
    std::fs::remove_file(folder.join(mark)).expect("a folder of our own");
    cassette(&environment, &["push", "--name", name, &path, &url]).expect_code(0);
    assert!(!cassette(&environment, &["list", &url]).stderr.contains("not among them"));
}

/// The disk of a spool is bounded: what has no room is left out, and counted.
#[test]
fn a_full_spool_leaves_entries_out() {
    if !needs("object_stores::full") {
        return;
    }
    let store = ObjectStore::start();
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (url, environment) = (store.url("full"), store.environment());
    std::fs::create_dir(recorded.cassettes()).expect("a folder of our own");
    std::fs::write(recorded.cassettes().join("waiting"), vec![0; 70_000]).expect("a folder of our own");
    let summary = recorded.cassettes().join("summary.json");
    let summary_argument = format!("json={}", summary.display());
    let arguments = ["--upload", &url, "--spool-limit", "64K", "--summary", &summary_argument];
    let finished = record(&recorded, &environment, &arguments);
    // Nothing was recorded, which is not what anybody wants.
    finished.expect_code(2);
    assert!(finished.stderr.contains("it is full, entries are left out"), "{}", finished.stderr);
    assert!(finished.stderr.contains("9 for want of room in the spool"), "{}", finished.stderr);
    let summary = std::fs::read_to_string(summary).expect("it was written");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("it is JSON");
    assert_eq!((&summary["entries"], &summary["unselected"]["no-room"]), (&0.into(), &9.into()));

    std::fs::remove_file(recorded.cassettes().join("waiting")).expect("a folder of our own");
    let finished = record(&recorded, &environment, &arguments);
    assert!(!finished.expect_code(0).stderr.contains("for want of room"), "{}", finished.stderr);
}

/// A folder goes there and comes back byte for byte, in parts where it is large; what is old is removed.
#[test]
fn folders_are_pushed_pulled_and_pruned() {
    if !needs("object_stores::commands") {
        return;
    }
    let store = ObjectStore::start();
    let recorded = RecordedShop::record(Language::Python, crate::services::Source::Proxy);
    let (url, environment) = (store.url("commands"), store.environment());
    let folder = recorded.cassettes();
    let text = |path: &Path| path.display().to_string();
    // Larger than a part of an upload, and nothing to compress.
    let body: Vec<u8> = (0..1_300_000u32).flat_map(|number| Sha256::digest(number.to_le_bytes())).collect();
    let name: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::create_dir_all(folder.join("bodies")).expect("a folder of our own");
    std::fs::write(folder.join("bodies").join(name), body).expect("a folder of our own");

    store.fail(&[Fault::Closed, Fault::AnswerLost, Fault::Unavailable, Fault::Closed]);
    let pushed = cassette(&environment, &["push", &text(&folder), &url]);
    pushed.expect_code(0);
    assert!(pushed.stderr.contains(&format!("sent: {url}/cassettes.cassettes.zst, 4")), "{}", pushed.stderr);
    let again = cassette(&environment, &["push", &text(&folder), &url]);
    assert!(again.expect_code(0).stderr.contains("was there already"), "{}", again.stderr);
    let pulled = folder.with_file_name("pulled");
    store.fail(&[Fault::CutOff(100_000), Fault::CutOff(5_000_000)]);
    cassette(&environment, &["pull", &url, &text(&pulled)]).expect_code(0);
    assert_eq!(content(&pulled), content(&folder));

    let first = names(&folder).into_iter().find(|name| name.starts_with("get-")).expect("a route");
    std::fs::remove_dir_all(folder.join(first)).expect("a folder of our own");
    refused(&cassette(&environment, &["push", &text(&folder), &url]), "is another one", "--replace");
    cassette(&environment, &["push", "--replace", &text(&folder), &url]).expect_code(0);
    wait_for_another_second();
    cassette(&environment, &["push", "--name", "other", &text(&folder), &url]).expect_code(0);
    let one = format!("{url}/other.cassettes.zst");
    assert!(cassette(&environment, &["list", &one]).expect_code(0).stderr.contains("1 recording at"));
    // The same cassettes in both are the same, and once in the folder.
    let twice = folder.with_file_name("twice");
    cassette(&environment, &["pull", &url, &text(&twice)]).expect_code(0);
    assert_eq!(Corpus::read(&twice).cassettes.len(), Corpus::read(&folder).cassettes.len());

    let prune = |arguments: &[&str]| cassette(&environment, &[&["prune", &url], arguments].concat());
    assert!(prune(&["--older-than", "1h"]).expect_code(0).stderr.contains("removed 0 "));
    assert_eq!(prune(&["--keep", "1", "--dry-run"]).expect_code(0).stdout.lines().count(), 1);
    assert_eq!(prune(&["--keep", "1"]).expect_code(0).stdout, format!("{url}/cassettes.cassettes.zst\n"));
    assert!(cassette(&environment, &["list", &url]).expect_code(0).stderr.contains("1 recording at"));
    assert_eq!(prune(&["--keep", "0"]).expect_code(0).stdout, format!("{one}\n"));
    refused(&cassette(&environment, &["list", &url]), "no recordings at", "push");

    // Not where a recording goes on, whose bodies wait for their cassettes.
    let mark = pulled.join("20261122T101502.000000Z-0000.recording");
    std::fs::write(&mark, "").expect("a folder of our own");
    refused(&cassette(&environment, &["prune", "--keep", "2", &text(&pulled)]), "did not end", "delete this file");
    std::fs::remove_file(mark).expect("a folder of our own");
    // A folder on this host likewise, by the times in the ids.
    let count = || Corpus::read(&pulled).cassettes.len();
    cassette(&environment, &["prune", "--older-than", "1h", &text(&pulled)]).expect_code(0);
    assert_eq!(count(), 9);
    cassette(&environment, &["prune", "--keep", "2", &text(&pulled)]).expect_code(0);
    assert_eq!((count(), names(&pulled.join("bodies"))), (2, vec![]), "and bodies that nothing refers to");
}

/// The store has to be known to the host, or to the file that stands for what the host knows.
#[test]
fn a_store_inside_tls_has_to_be_trusted() {
    if !require("object_stores::inside_tls", &[Need::S3, Need::Curl, Need::Python, Need::Sandbox]) {
        return;
    }
    let authority = Authority::new();
    let (_server, mut environment, url) = ObjectStore::inside_tls(&authority);
    let recorded = RecordedShop::record(Language::Python, crate::services::Source::Proxy);
    let folder = recorded.cassettes().display().to_string();
    refused(&cassette(&environment, &["push", &folder, &url]), "ertificate", "SSL_CERT_FILE");
    environment.push(("SSL_CERT_FILE", authority.file("authority.pem").display().to_string()));
    cassette(&environment, &["push", &folder, &url]).expect_code(0);
    assert!(cassette(&environment, &["list", &url]).expect_code(0).stderr.contains("1 recording at"));
}

/// Paths below a folder, and what is there.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    let files = found.filter(|found| found.file_type().is_file()).map(|found| found.into_path());
    let read = |path: &PathBuf| std::fs::read(path).expect("the file can be read");
    files.map(|path| (path.strip_prefix(folder).expect("it is below").to_owned(), read(&path))).collect()
}

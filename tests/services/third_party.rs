//! A service that somebody else wrote, recorded once, to be replayed with other settings.

use std::{fs, path::PathBuf};

use crate::harness::{Client, Corpus, Finished, Recording, Replay, Reply, Report};

/// Such a service, and the folder of its files and of its recording.
pub struct ThirdParty {
    folder: tempfile::TempDir,
    /// The port it listens on.
    pub port: u16,
    /// What its standard error says once it listens.
    pub listens: &'static str,
}

impl ThirdParty {
    /// A service on this port.
    pub fn new(port: u16, listens: &'static str) -> ThirdParty {
        ThirdParty { folder: tempfile::tempdir().expect("there is a temporary folder"), port, listens }
    }

    /// A path in its folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Write a file in its folder.
    pub fn write(&self, below: &str, text: &str) -> String {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be written");
        fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    }

    /// Record this build while a client makes its requests, one after the other; each must call downstream once.
    pub fn record(&self, build: &[String], drive: impl FnOnce(&Client) -> Vec<Reply>) {
        let mut arguments =
            vec!["--via".to_owned(), "ebpf".into(), "--port".into(), self.port.to_string(), "--".into()];
        arguments.extend_from_slice(build);
        let recording = Recording::start(&self.path("cassettes"), arguments, []);
        recording.wait_for_service(self.listens, self.port);
        let mut asked = drive(&Client::new(self.port));
        let finished = recording.stop();
        finished.expect_code(0);
        let corpus = Corpus::read(&self.path("cassettes"));
        asked.sort();
        assert_eq!(corpus.replies(), asked);
        assert!(corpus.cassettes.iter().all(|cassette| cassette.downstream.len() == 1), "{}", finished.stderr);
    }

    /// Replay the recording against a build.
    pub fn replay(&self, build: &[String]) -> (Finished, Option<Report>) {
        self.write("regress.toml", &format!("[service]\nports = [{}]\n\n[replay]\nsettle = 0.5\n", self.port));
        let (cassettes, settings) = (self.path("cassettes"), self.path("regress.toml"));
        let arguments = &["--no-pending", "--report", "text=-"];
        Replay { cassettes: &cassettes, settings: &settings, command: build, environment: vec![], arguments }.run()
    }
}

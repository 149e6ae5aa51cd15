//! What else compares JSON.

use std::{fs, path::Path, path::PathBuf, process::Command, time::Duration};

use crate::{Measured, documents::Pair, summed_up, tools};

/// Another program, ready to be measured or not.
pub struct Peer {
    pub name: String,
    /// The interpreter and the script's file name.
    run: (PathBuf, &'static str),
    script: String,
    /// What is there where it is installed.
    installed: PathBuf,
}

/// How long a peer may take for all its rounds, in seconds.
const LONGEST: &str = "120";

/// The peers, whether installed or not.
pub fn all() -> Vec<Peer> {
    let tools = tools::folder().unwrap_or_default();
    let module = tools.join("diff-npm/node_modules/jsondiffpatch/lib/index.js");
    vec![
        Peer {
            name: "jsondiffpatch".to_owned(),
            run: ("node".into(), "peer.mjs"),
            script: include_str!("jsondiffpatch.mjs").replace("MODULE", &module.to_string_lossy()),
            installed: module,
        },
        Peer {
            name: "DeepDiff".to_owned(),
            run: (tools.join("diff-venv/bin/python"), "peer.py"),
            script: include_str!("deepdiff.py").to_owned(),
            installed: tools.join("diff-venv/asked-for"),
        },
    ]
}

impl Peer {
    /// Whether it is installed.
    pub fn is_there(&self) -> bool {
        self.installed.exists()
    }

    /// Lets the peer compare a pair.
    pub fn measure(&self, pair: &Pair, folder: &Path) -> Result<Measured, String> {
        let [expected, actual, script] = ["expected.json", "actual.json", self.run.1].map(|name| folder.join(name));
        let write = |path: &Path, text: &str| fs::write(path, text).map_err(|error| error.to_string());
        write(&expected, &pair.expected)?;
        write(&actual, &pair.actual)?;
        write(&script, &self.script)?;
        let mut command = Command::new("timeout");
        command.arg(LONGEST).arg(&self.run.0).args([&script, &expected, &actual]);
        let output = command.output().map_err(|error| error.to_string())?;
        match output.status.code() {
            Some(0) => {}
            Some(124) => return Err(format!("took more than {LONGEST} s")),
            _ => {
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(told.lines().rfind(|line| line.contains("Error")).unwrap_or("failed").to_owned());
            }
        }
        // How many differences, then a line a round with its milliseconds.
        let told = String::from_utf8_lossy(&output.stdout);
        let mut lines = told.lines();
        let found = lines.next().and_then(|line| line.parse().ok()).ok_or("it told nothing")?;
        let times: Vec<Duration> =
            lines.filter_map(|line| Some(Duration::from_secs_f64(line.parse::<f64>().ok()? / 1e3))).collect();
        if times.is_empty() {
            return Err("it told no times".to_owned());
        }
        Ok(Measured { times: summed_up(times), found })
    }
}

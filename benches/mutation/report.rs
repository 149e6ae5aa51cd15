//! The tables, and the file that programs read.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{matrix::mutants::Score, peers::Comparison, tally::Tally};

/// All that was found.
#[derive(Default)]
pub struct Results {
    /// By service.
    pub tallies: Vec<(String, Tally)>,
    /// By service: altered calls, altered responses.
    pub scores: Vec<(String, [Score; 2])>,
    /// What other tools noticed.
    pub peers: Option<Comparison>,
    /// What took no part, and why.
    pub absent: Vec<(String, String)>,
}

impl Results {
    pub fn print_tallies(&self) {
        println!(
            "{:24}{:>12}{:>14}{:>14}{:>12}{:>16}",
            "service", "harmless", "false alarms", "regressions", "caught", "at right path"
        );
        for (service, tally) in &self.tallies {
            let Tally { harmless, false_alarms, regressions, caught, placed, .. } = tally;
            let (caught, placed) = (percent(*caught, *regressions), percent(*placed, *regressions));
            println!("{service:24}{harmless:>12}{false_alarms:>14}{regressions:>14}{caught:>11.1}%{placed:>15.1}%");
        }
        for (service, tally) in &self.tallies {
            tally.wrong.iter().for_each(|(wrong, times)| println!("does not hold, {times} times: {service}: {wrong}"));
        }
    }

    pub fn print_scores(&self) {
        println!("\n{:24}{:>20}{:>20}", "altered recordings", "calls seen", "responses seen");
        for (service, scores) in &self.scores {
            let [calls, responses] =
                scores.each_ref().map(|Score { of, survived }| format!("{} of {of}", of - survived.len()));
            println!("{service:24}{calls:>20}{responses:>20}");
        }
        for (service, scores) in &self.scores {
            scores.iter().flat_map(|score| &score.survived).for_each(|it| println!("not seen: {service}: {it}"));
        }
    }

    pub fn print_peers(&self) {
        let Some(Comparison { tools, rows }) = &self.peers else { return };
        let columns = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>18}")).collect::<String>();
        println!("\n{:24}{}", "change of the shop", columns(tools.clone()));
        for (row, noticed) in rows {
            println!("{:24}{}", row.name, columns(noticed.iter().map(|it| told(*it).to_owned()).collect()));
        }
        for (what, is_regression) in [("regressions noticed", true), ("false alarms", false)] {
            let counts = counts(self.peers.as_ref(), is_regression);
            println!("{what:24}{}", columns(counts.iter().map(|(_, count, of)| format!("{count} of {of}")).collect()));
        }
    }

    pub fn print_absent(&self) {
        println!();
        self.absent.iter().for_each(|(name, reason)| println!("absent: {name}: {reason}"));
    }

    /// No false alarm, every regression caught at its path, every altered recording seen.
    pub fn hold(&self) -> bool {
        let scores = self.scores.iter().flat_map(|(_, scores)| scores);
        self.tallies.iter().all(|(_, tally)| tally.wrong.is_empty())
            && scores.into_iter().all(|it| it.survived.is_empty())
    }

    /// `{rows: [{case, metric, value, unit, limit, peers, target, met}], noticed: [{change, by}], absent: [{name, reason}]}`.
    pub fn write(&self) -> io::Result<PathBuf> {
        let target = Path::new(env!("CARGO_BIN_EXE_regress")).ancestors().nth(2).expect("target/PROFILE/regress");
        let path = target.join("bench/mutation.json");
        let absent: Vec<Value> =
            self.absent.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
        let document = json!({"rows": self.rows(), "noticed": self.noticed(), "absent": absent});
        std::fs::create_dir_all(target.join("bench"))?;
        std::fs::write(&path, format!("{document:#}\n"))?;
        Ok(path)
    }

    fn rows(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for (service, tally) in self.tallies.iter().filter(|(_, tally)| tally.regressions > 0) {
            let alarms = tally.false_alarms;
            rows.push(json!({
                "case": service, "metric": "false alarms", "value": alarms, "of": tally.harmless, "unit": "replays",
                "limit": null, "peers": {}, "target": 0, "met": alarms == 0,
            }));
            for (metric, count) in [("caught", tally.caught), ("caught at the right path", tally.placed)] {
                rows.push(share(service, metric, count, tally.regressions, json!({})));
            }
        }
        for (service, [calls, responses]) in &self.scores {
            for (metric, score) in [("altered calls seen", calls), ("altered responses seen", responses)] {
                rows.push(share(service, metric, score.of - score.survived.len(), score.of, json!({})));
            }
        }
        for (metric, is_regression) in [("regressions noticed", true), ("false alarms", false)] {
            let counts = counts(self.peers.as_ref(), is_regression);
            let Some((_, ours, of)) = counts.first().cloned() else { continue };
            let peers = counts[1..].iter().map(|(tool, count, of)| (tool.clone(), json!(percent(*count, *of))));
            let mut row = share("shop in Python, beside peers", metric, ours, of, Value::Object(peers.collect()));
            if !is_regression {
                (row["target"], row["met"]) = (json!(0), json!(ours == 0));
            }
            rows.push(row);
        }
        rows
    }

    fn noticed(&self) -> Vec<Value> {
        let Some(Comparison { tools, rows }) = &self.peers else { return Vec::new() };
        let by = |noticed: &[bool]| {
            let tools = tools.iter().zip(noticed).filter(|(_, noticed)| **noticed);
            tools.map(|(tool, _)| json!(tool)).collect::<Vec<_>>()
        };
        rows.iter().map(|(row, noticed)| json!({"change": row.name, "by": by(noticed)})).collect()
    }
}

/// Tool, changes of that kind that it noticed, of how many.
fn counts(peers: Option<&Comparison>, is_regression: bool) -> Vec<(String, usize, usize)> {
    let Some(Comparison { tools, rows }) = peers else { return Vec::new() };
    let of_kind =
        |harmless: bool| move |row: &&(&crate::matrix::shop::Row, Vec<bool>)| row.0.expected.is_harmless() == harmless;
    let rows: Vec<_> = rows.iter().filter(of_kind(!is_regression)).collect();
    let count = |tool: usize| rows.iter().filter(|(_, noticed)| noticed[tool]).count();
    tools.iter().enumerate().map(|(number, tool)| (tool.clone(), count(number), rows.len())).collect()
}

fn share(case: &str, metric: &str, count: usize, of: usize, peers: Value) -> Value {
    json!({
        "case": case, "metric": metric, "value": percent(count, of), "count": count, "of": of, "unit": "percent",
        "limit": null, "peers": peers, "target": 100, "met": count == of,
    })
}

fn percent(count: usize, of: usize) -> f64 {
    100.0 * count as f64 / of.max(1) as f64
}

fn told(noticed: bool) -> &'static str {
    if noticed { "yes" } else { "-" }
}

//! What a recording gave, for people and for programs.

use std::{fmt::Write, path::Path};

use regress_cassettes::redact::{Kind, Place};
use regress_recorder::{
    Lack, Summary,
    select::{LeftOut, Reason},
};
use regress_replayer::{noise::Checked, report::shown};
use serde_json::{Map, Value, json};

use crate::output::Failure;

/// The version of the JSON summary, MAJOR.MINOR.
const VERSION: &str = "1.8";

/// The summary for people.
pub fn table(summary: &Summary, out: &Path) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut text, summary, out);
    text
}

fn write_table(text: &mut String, summary: &Summary, out: &Path) -> std::fmt::Result {
    if let Some(exit) = &summary.exit {
        writeln!(text, "{exit}")?;
    }
    write!(text, "{} recorded to {}", plural(summary.entries, "entry", "entries"), out.display())?;
    if summary.defective > 0 {
        write!(text, ", {} of them incomplete or uncertain (they replay as inconclusive)", summary.defective)?;
    }
    let width =
        summary.downstream.keys().map(|name| shown(name).chars().count()).max().unwrap_or(0).max("downstream".len());
    if !summary.downstream.is_empty() {
        write!(text, "\n\n{:width$}  {:>8}  {:>9}  {:>8}", "downstream", "of entry", "ambiguous", "ambient")?;
        for (name, counts) in &summary.downstream {
            let name = shown(name);
            write!(text, "\n{name:width$}  {:>8}  {:>9}  {:>8}", counts.certain, counts.ambiguous, counts.ambient)?;
        }
        writeln!(text)?;
    }
    write_redacted(text, summary)?;
    write_ledger(text, summary)?;
    let notes = [
        (summary.likely(), "exchange is", "exchanges are", "likely of an entry, by values alone (docs/owners.md)"),
        (
            summary.ambiguous(),
            "exchange has",
            "exchanges have",
            "an unknown owner: record with fewer requests at a time",
        ),
        (summary.left_out, "entry was", "entries were", "left out: which calls they caused is uncertain"),
        (summary.unfinished, "entry was", "entries were", "still open at the end"),
        (
            summary.opaque,
            "connection into the service was",
            "connections into the service were",
            "encrypted or not HTTP: no cassette was written for what came over them",
        ),
        (
            summary.unix_not_http,
            "Unix connection was",
            "Unix connections were",
            "in no protocol that is read, a socketpair, or to the host's own services (docs/recording.md)",
        ),
    ];
    for (count, one, many, what) in notes.into_iter().filter(|note| note.0 > 0) {
        write!(text, "\n{} {what}", plural(count, one, many))?;
    }
    write_unselected(text, &summary.unselected)?;
    write_backed_off(text, summary)?;
    if summary.entries == 0 {
        write!(text, "\nnothing was recorded\nhint: send requests to the service while it is recorded")?;
        if summary.opaque > 0 {
            write!(text, "; encrypted entries cannot be read yet, use a plain port")?;
        }
    }
    Ok(())
}

/// How many entries were left out by choice, and why.
fn write_unselected(text: &mut String, unselected: &LeftOut) -> std::fmt::Result {
    if unselected.total() == 0 {
        return Ok(());
    }
    let reasons: Vec<String> = unselected.rows().map(|(reason, count)| format!("{count} {}", why(reason))).collect();
    let entries = plural(unselected.total(), "entry was", "entries were");
    write!(text, "\n{entries} left out by choice (docs/selection.md): {}", reasons.join(", "))
}

/// What was done while the host was loaded.
fn write_backed_off(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let Some(backed_off) = summary.backed_off.as_ref().filter(|backed_off| !backed_off.events.is_empty()) else {
        return Ok(());
    };
    write!(text, "\nthe host was loaded: at least one entry of {} was kept", backed_off.thinnest.max(1))?;
    if backed_off.opened > 0 {
        let times = plural(backed_off.opened, "time", "times");
        write!(text, ", and nothing was captured {times}, for {:.1} s in all", backed_off.paused.as_secs_f64())?;
    }
    Ok(())
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::HealthCheck => "health checks",
        Reason::Never => "by a rule",
        Reason::Rate => "beyond the rate",
        Reason::InFlight => "beyond the number in flight",
        Reason::Shape => "of a shape with enough examples",
        Reason::ShapesFull => "of a new shape, beyond the number that is remembered",
        Reason::BackOff => "while the host was loaded",
        Reason::NoRoom => "for want of room in the spool",
    }
}

/// What was redacted, by kind and place; or that nothing was.
fn write_redacted(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let Some(redacted) = &summary.redacted else {
        return write!(text, "\nNOT REDACTED: secrets are in the cassettes as they are (--no-redact)");
    };
    if redacted.is_empty() {
        return Ok(());
    }
    let what: Vec<String> =
        redacted.rows().map(|(kind, place, count)| format!("{count} {kind} ({})", place.word())).collect();
    write!(text, "\nredacted: {}", what.join(", "))
}

/// One line for each way in which something is missing.
fn write_ledger(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let names: Vec<&str> = summary.ledger.rows().map(|(lack, _)| describe(lack)).collect();
    let title = if summary.ledger.has_losses() { "LOST" } else { "not read" };
    let Some(width) = names.iter().map(|name| name.len()).max() else { return Ok(()) };
    let apart = if text.ends_with('\n') { "\n" } else { "\n\n" };
    write!(text, "{apart}{title:width$}  {:>8}  {:>12}  {:>11}  {:>9}", "times", "bytes", "connections", "cassettes")?;
    for (name, (_, tally)) in names.iter().zip(summary.ledger.rows()) {
        let connections = if tally.connections > 0 { tally.connections.to_string() } else { "?".to_owned() };
        let (times, bytes, cassettes) = (tally.events, tally.bytes, tally.cassettes);
        write!(text, "\n{name:width$}  {times:>8}  {bytes:>12}  {connections:>11}  {cassettes:>9}")?;
    }
    writeln!(text)?;
    let has = |lack| summary.ledger.get(lack).events > 0;
    if has(Lack::BufferFull) {
        write!(text, "\nhint: give the recorder more room (--buffer) or record less at a time")?;
    }
    if has(Lack::AmbientFull) {
        write!(
            text,
            "\nhint: record for a shorter time, or into a new folder: the ambient cassette has its largest size"
        )?;
    }
    Ok(())
}

fn describe(lack: Lack) -> &'static str {
    match lack {
        Lack::BufferFull => "events: the buffer was full",
        Lack::Unreadable => "events: memory was not readable",
        Lack::TableFull => "events: a table was full",
        Lack::Privileged => "processes that gained privileges: not followed",
        Lack::Skipped => "events: the kernel skipped a program",
        Lack::UnknownConnection => "calls of TLS whose connection is unknown",
        Lack::Gap => "gaps: bytes that moved unseen",
        Lack::Memory => "data beyond the memory bound",
        Lack::Reordered => "data that stayed out of order",
        Lack::AmbientFull => "exchanges: the ambient cassette was full",
        Lack::JoinedMidStream => "exchanges under way at the start",
        Lack::Opaque => "exchanges of an unknown protocol",
        Lack::Encrypted => "encrypted exchanges",
        Lack::BodyCap => "bodies beyond the size that is wanted",
        Lack::Paused => "pauses while the host was loaded",
    }
}

/// What the self-check found, for people.
pub fn checked(checked: &Checked) -> String {
    let mut text = format!(
        "self-check: {} replayed as recorded, {} not, {} could not be checked",
        plural(checked.same as u64, "entry", "entries"),
        checked.varying.len(),
        checked.unchecked.len()
    );
    for (id, reasons) in &checked.varying {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{id} is labelled non-deterministic:");
        for reason in reasons {
            let _ = write!(text, "\n  {}", shown(reason));
        }
    }
    for (id, why) in &checked.unchecked {
        let _ = write!(text, "\n{id} could not be checked: {}", shown(why));
    }
    if !checked.varying.is_empty() {
        text += "\nhint: `regress noise` proposes rules for what varies";
    }
    text
}

/// Write the summary for programs; docs/summary-schema.md describes it.
pub fn write_json(summary: &Summary, checked: Option<&Checked>, path: &Path) -> Result<(), Failure> {
    let text = format!("{:#}\n", value(summary, checked));
    regress_cassettes::write_file(path, text.as_bytes()).map_err(|error| {
        Failure::from_error(error)
            .hint("the cassettes are written, their summary is not: name a file that can be written to")
    })
}

fn value(summary: &Summary, checked: Option<&Checked>) -> Value {
    let downstream: Map<String, Value> = summary
        .downstream
        .iter()
        .map(|(name, counts)| {
            let counts = json!({
                "of_entry": counts.certain, "likely": counts.likely, "ambiguous": counts.ambiguous, "ambient": counts.ambient,
            });
            (name.clone(), counts)
        })
        .collect();
    let ledger: Map<String, Value> = Lack::ALL
        .iter()
        .map(|&lack| {
            let tally = summary.ledger.get(lack);
            let tally = json!({
                "events": tally.events, "bytes": tally.bytes,
                "connections": tally.connections, "cassettes": tally.cassettes,
            });
            (lack.word().to_owned(), tally)
        })
        .collect();
    json!({
        "summary": VERSION,
        "complete": summary.complete(),
        "via": summary.via.map(|via| match via {
            regress_cassettes::Via::Socket => "socket",
            regress_cassettes::Via::Inet => "inet",
            regress_cassettes::Via::Syscall => "syscall",
            regress_cassettes::Via::Proxy => "proxy",
        }),
        "entries": summary.entries,
        "defective": summary.defective,
        "left_out": summary.left_out,
        "unselected": Reason::ALL
            .iter()
            .map(|&reason| (reason.word().to_owned(), summary.unselected.get(reason).into()))
            .collect::<Map<String, Value>>(),
        "back_off": summary.backed_off.as_ref().map(|backed_off| json!({
            "opened": backed_off.opened,
            "paused_seconds": backed_off.paused.as_secs_f64(),
            "thinnest": backed_off.thinnest,
            "events": backed_off.events.iter().map(|happened| json!({
                "at": happened.at, "what": happened.what, "cpu": happened.cpu, "buffer": happened.buffer,
            })).collect::<Vec<_>>(),
            "untold": backed_off.untold,
        })),
        "unfinished": summary.unfinished,
        "opaque_connections": summary.opaque,
        "unix_not_http": summary.unix_not_http,
        "ended": summary.exit,
        "self_check": checked.map(|checked| json!({
            "same": checked.same, "nondeterministic": checked.varying.len(), "unchecked": checked.unchecked.len(),
        })),
        "redacted": summary.redacted.as_ref().map(|redacted| {
            let row = |(kind, place, count): (Kind, Place, u64)| json!({ "kind": kind.word(), "place": place.word(), "count": count });
            redacted.rows().map(row).collect::<Vec<_>>()
        }),
        "downstream": downstream,
        "ledger": ledger,
    })
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regress_cassettes::redact::Replaced;
    use regress_recorder::{BackedOff, Counts, Happened, Ledger, Tally};

    use super::*;

    fn lossy() -> Summary {
        let rows = [(Kind::Authorization, Place::Header, 3), (Kind::Password, Place::Body, 1)];
        let redacted = Some(Replaced::from_iter(rows));
        let mut summary = Summary { entries: 2, defective: 1, redacted, ..Summary::default() };
        summary.downstream.insert("stock:8081".into(), Counts { certain: 3, likely: 1, ambiguous: 0, ambient: 12 });
        summary.ledger = Ledger::from_iter([
            (Lack::BufferFull, Tally { events: 7, bytes: 70_000, connections: 0, cassettes: 1 }),
            (Lack::Gap, Tally { events: 2, bytes: 70_000, connections: 1, cassettes: 1 }),
        ]);
        summary
    }

    #[test]
    fn the_table_names_what_is_missing() {
        insta::assert_snapshot!(table(&lossy(), Path::new("tapes")), @r"
        2 entries recorded to tapes, 1 of them incomplete or uncertain (they replay as inconclusive)

        downstream  of entry  ambiguous   ambient
        stock:8081         3          0        12

        redacted: 3 authorization (header), 1 password (body)

        LOST                              times         bytes  connections  cassettes
        events: the buffer was full           7         70000            ?          1
        gaps: bytes that moved unseen         2         70000            1          1

        hint: give the recorder more room (--buffer) or record less at a time
        1 exchange is likely of an entry, by values alone (docs/owners.md)
        ");
        insta::assert_snapshot!(table(&Summary::default(), Path::new("tapes")), @r"
        0 entries recorded to tapes
        NOT REDACTED: secrets are in the cassettes as they are (--no-redact)
        nothing was recorded
        hint: send requests to the service while it is recorded
        ");
    }

    #[test]
    fn what_was_left_out_is_told() {
        let happened = Happened { at: "2026-11-22T10:15:02.000000Z".into(), what: "it".into(), cpu: 97, buffer: 3 };
        let paused = Duration::from_millis(12_345);
        let backed_off = BackedOff { opened: 1, paused, thinnest: 16, events: vec![happened], untold: 0 };
        let unselected = LeftOut::from_iter([(Reason::Shape, 1200), (Reason::HealthCheck, 7)]);
        let summary = Summary { entries: 3, unselected, backed_off: Some(backed_off), ..Summary::default() };
        let text = table(&summary, Path::new("tapes"));
        let left_out = "1207 entries were left out by choice (docs/selection.md): 7 health checks, 1200 of a shape with enough examples";
        assert!(text.contains(left_out), "{text}");
        let paused = "at least one entry of 16 was kept, and nothing was captured 1 time, for 12.3 s in all";
        assert!(text.contains(paused), "{text}");
        assert!(summary.complete(), "leaving out by choice is no loss");
        let summary = value(&summary, None);
        assert_eq!((&summary["unselected"]["shape"], &summary["unselected"]["rate"]), (&json!(1200), &json!(0)));
        assert_eq!(summary["back_off"]["events"][0]["cpu"], json!(97));
        assert_eq!(value(&Summary::default(), None)["back_off"], Value::Null);
    }

    #[test]
    fn programs_read_the_same() {
        let checked = Checked { same: 2, ..Checked::default() };
        let summary = value(&lossy(), Some(&checked));
        assert_eq!(summary["self_check"], json!({ "same": 2, "nondeterministic": 0, "unchecked": 0 }));
        assert_eq!(value(&lossy(), None)["self_check"], Value::Null);
        assert_eq!(summary["redacted"][1], json!({ "kind": "password", "place": "body", "count": 1 }));
        assert_eq!(value(&Summary::default(), None)["redacted"], Value::Null);
        assert_eq!((&summary["complete"], &summary["entries"]), (&json!(false), &json!(2)));
        assert_eq!(summary["downstream"]["stock:8081"]["ambient"], json!(12));
        let gap = json!({ "events": 2, "bytes": 70_000, "connections": 1, "cassettes": 1 });
        assert_eq!(summary["ledger"]["gap"], gap);
        assert_eq!(summary["ledger"].as_object().map(Map::len), Some(Lack::ALL.len()));
        assert_eq!(summary["ledger"]["skipped"]["events"], json!(0));
    }
}

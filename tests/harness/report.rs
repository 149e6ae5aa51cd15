//! The JSON report of a replay, as a script reads it.

use std::path::Path;

use serde::Deserialize;

/// The report.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Counts of verdicts.
    pub summary: Summary,
    /// One an entry.
    pub outcomes: Vec<Outcome>,
    /// Entries that were not driven.
    pub not_driven: Vec<NotDriven>,
}

/// Counts of verdicts.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// All entries.
    pub total: usize,
    /// Those that were the same.
    pub same: usize,
    /// Those that were different.
    pub different: usize,
    /// Those of which nothing can be said.
    pub inconclusive: usize,
    /// Those that were not driven.
    pub not_driven: usize,
}

/// An entry that was not driven.
#[derive(Debug, Deserialize)]
pub struct NotDriven {
    /// The cassette's id.
    pub cassette: String,
}

/// The result of one entry.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    /// The cassette's id.
    pub cassette: String,
    /// The entry, for example `GET /orders/7`.
    pub entry: String,
    /// `same`, `different` or `inconclusive`.
    pub verdict: String,
    /// Why it could not be told.
    pub doubts: Vec<String>,
    /// What to know of it.
    pub notes: Vec<String>,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// One difference.
#[derive(Debug, Deserialize)]
pub struct Difference {
    /// `response` or `downstream`.
    #[serde(rename = "where")]
    pub place: String,
    /// What happened to it.
    pub kind: String,
    /// Which part of the message.
    pub path: String,
}

impl Report {
    /// Read it; its counts must be those of its outcomes.
    pub fn read(path: &Path) -> Report {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("no report {}: {error}", path.display()));
        let report: Report = serde_json::from_slice(&text).unwrap_or_else(|error| {
            panic!("not a report: {error}\n{}", String::from_utf8_lossy(&text));
        });
        let Summary { total, same, different, inconclusive, not_driven } = report.summary;
        assert_eq!(not_driven, report.not_driven.len());
        assert_eq!(total, same + different + inconclusive);
        assert_eq!(same, report.count("same"));
        assert_eq!(different, report.count("different"));
        // A cassette that cannot be read counts as inconclusive without being an outcome.
        assert!(inconclusive >= report.count("inconclusive"));
        report
    }

    fn count(&self, verdict: &str) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
    }
}

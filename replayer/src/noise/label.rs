//! Why an entry does not replay as it was recorded, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use regress_cassettes::CassetteId;

use super::{Run, arrays::take_reordered, gather::gather};

/// The most reasons of one entry.
const MOST: usize = 20;

/// What was found out about the entries of a recording that was replayed at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many entries replayed as recorded in every run.
    pub same: usize,
    /// Those that did not, with the reasons, at most 21 each.
    pub varying: BTreeMap<CassetteId, Vec<String>>,
    /// Those that could not be judged in every run, with the first reason.
    pub unchecked: BTreeMap<CassetteId, String>,
}

/// Sort the entries by what became of them.
pub fn check(runs: &[Run]) -> Checked {
    let mut gathered = gather(runs);
    take_reordered(&mut gathered);
    let mut reasons: BTreeMap<&CassetteId, BTreeSet<String>> = BTreeMap::new();
    for (spot, series) in &gathered.spots {
        let call = spot.call.map(|number| format!("downstream/{number}/")).unwrap_or_default();
        let how = if series.is_steady() { "is not as recorded in any replay" } else { "varies from replay to replay" };
        reasons.entry(&spot.cassette).or_default().insert(format!("{call}{} {how}", spot.place.path));
    }
    for (cassette, happening) in gathered.happenings.keys() {
        reasons.entry(cassette).or_default().insert(happening.reason());
    }
    let mut checked = Checked::default();
    for (cassette, entry) in &gathered.entries {
        if let Some(doubt) = &entry.doubt {
            checked.unchecked.insert(cassette.clone(), doubt.clone());
        } else if let Some(reasons) = reasons.remove(cassette) {
            checked.varying.insert(cassette.clone(), shortened(reasons));
        } else {
            checked.same += 1;
        }
    }
    checked
}

fn shortened(reasons: BTreeSet<String>) -> Vec<String> {
    let more = reasons.len().saturating_sub(MOST);
    let mut told: Vec<String> = reasons.into_iter().take(MOST).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told
}

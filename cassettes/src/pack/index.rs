//! What is where in a packed folder: blocks in the order of the file, records in the order of their block.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::BLOCK;
use crate::{
    file::{BODIES, BODY_LIMIT, LIMIT},
    format::is_hash,
    model::CassetteId,
    seal::{HEAD_LIMIT, SEALED_SUFFIX},
    store::{AMBIENT_FILE, SUFFIX},
};

/// How the file name of a recorder's log ends.
pub const LOG_SUFFIX: &str = ".owners.gz";

/// One line of the index.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Where its frame begins in the file.
    pub at: u64,
    /// The bytes of its frame.
    pub packed: u64,
    /// The files in it: path and size in bytes.
    pub files: Vec<(String, u64)>,
}

/// A file in a packed folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub path: Box<str>,
    pub size: u64,
    /// The index of its block, and where it begins there once that is decompressed.
    pub block: usize,
    pub at: u64,
}

/// Where a block's frame is, and how many bytes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub at: u64,
    pub packed: u64,
    pub size: u64,
}

/// The index as it is looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub frames: Vec<Frame>,
    /// In the order of [`order`].
    pub records: Vec<Record>,
}

impl Index {
    /// Read an index whose blocks lie from `first` to `end` in the file.
    pub fn read(text: &str, first: u64, end: u64) -> Result<Index, String> {
        let mut index = Index::default();
        let mut next = first;
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("block {number} of its index {what}");
            let block: Block = serde_json::from_str(line).map_err(|error| wrong(&format!("is not one: {error}")))?;
            if block.at != next || block.packed == 0 {
                return Err(wrong("does not begin where the one before it ends"));
            }
            next = block
                .at
                .checked_add(block.packed)
                .filter(|next| *next <= end)
                .ok_or_else(|| wrong("ends behind its end"))?;
            let mut size = 0;
            for (path, bytes) in block.files {
                let limit =
                    limit(&path).ok_or_else(|| wrong(&format!("names {path:?}, which no folder of cassettes has")))?;
                if bytes > limit {
                    return Err(wrong(&format!("has {path} with {bytes} bytes, more than {limit}")));
                }
                if index.records.last().is_some_and(|last| order(&last.path, &path) != Ordering::Less) {
                    return Err(wrong(&format!("has {path} in the wrong place, or twice")));
                }
                index.records.push(Record { path: path.into(), size: bytes, block: number, at: size });
                size += bytes;
                if size > BLOCK && size != bytes {
                    return Err(wrong("holds more than a block may"));
                }
            }
            index.frames.push(Frame { at: block.at, packed: block.packed, size });
        }
        if next == end { Ok(index) } else { Err("its index leaves bytes out".to_owned()) }
    }

    /// The record of that path.
    pub fn find(&self, path: &str) -> Option<&Record> {
        let found = self.records.binary_search_by(|record| order(&record.path, path));
        found.ok().map(|at| &self.records[at])
    }
}

/// The order of records: bodies, then logs, the ambient cassette, and the cassettes by id, as they are replayed.
pub fn order(a: &str, b: &str) -> Ordering {
    let key = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let bare = bare(name);
        let class = match () {
            () if folder == BODIES => 0,
            () if bare.ends_with(LOG_SUFFIX) => 1,
            () if folder.is_empty() && bare == AMBIENT_FILE => 2,
            () => 3,
        };
        (class, name.to_owned(), folder.to_owned())
    };
    key(a).cmp(&key(b))
}

/// The most bytes that a file of a folder of cassettes may have, by its path in there; `None` for a path that cannot be
/// one: whatever is taken out of a packed folder stays in the folder it is taken to.
pub fn limit(path: &str) -> Option<u64> {
    let (folder, name) = path.rsplit_once('/').map_or((None, path), |(folder, name)| (Some(folder), name));
    let bare = name.strip_suffix(SEALED_SUFFIX);
    // What sealing adds: a head, and less than a thousandth.
    let grown = |limit: u64| if bare.is_some() { limit + limit / 1024 + HEAD_LIMIT as u64 } else { limit };
    let name = bare.unwrap_or(name);
    let id = |suffix: &str| name.strip_suffix(suffix).is_some_and(|id| CassetteId(id.to_owned()).is_valid());
    match folder {
        Some(BODIES) => is_hash(name).then_some(BODY_LIMIT),
        Some(folder) => (is_folder(folder) && id(SUFFIX)).then_some(LIMIT),
        None if id(SUFFIX) => Some(LIMIT),
        None => id(LOG_SUFFIX).then_some(BODY_LIMIT),
    }
    .map(grown)
}

/// The path without what says that it is sealed.
pub fn bare(path: &str) -> &str {
    path.strip_suffix(SEALED_SUFFIX).unwrap_or(path)
}

/// Whether a folder is one that a store looks into.
fn is_folder(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_a_folder_of_cassettes_are_taken() {
        let hash = "a".repeat(64);
        for path in ["ambient.cassette.json", "x.cassette.json", "get-a/x-1.cassette.json", "x-1.owners.gz"] {
            assert!(limit(path).is_some(), "{path}");
        }
        assert_eq!(limit(&format!("bodies/{hash}")), Some(BODY_LIMIT));
        for path in [
            "ambient.cassette.json.age",
            "sealed/x.cassette.json.age",
            "x-1.owners.gz.age",
            &format!("bodies/{hash}.age"),
        ] {
            assert!(limit(path).is_some(), "{path}");
        }
        for path in [
            "",
            "/",
            "/etc/x.cassette.json",
            "../x.cassette.json",
            "a/../x.cassette.json",
            "a/b/x.cassette.json",
            "./x.cassette.json",
            ".git/x.cassette.json",
            "a\\b/x.cassette.json",
            "a\0/x.cassette.json",
            "get-a/.cassette.json",
            "get-a/..cassette.json",
            "get-a/x.cassette.json.new",
            "get-a/x.cassette.json.age.new",
            "get-a/x.cassette.json.age.age",
            "get-a/.age",
            "bodies/x",
            "regress.toml",
            "get-a/x.owners.gz",
        ] {
            assert_eq!(limit(path), None, "{path:?}");
        }
    }

    #[test]
    fn an_index_that_contradicts_itself_is_refused() {
        let line = |at: u64, packed: u64, files: &str| format!(r#"{{"at":{at},"packed":{packed},"files":[{files}]}}"#);
        let one = line(30, 70, r#"["a/1.cassette.json",5]"#);
        assert_eq!(Index::read(&one, 30, 100).unwrap().find("a/1.cassette.json").unwrap().size, 5);
        for (text, end, what) in [
            (one.clone(), 101, "leaves bytes out"),
            (one.clone(), 99, "ends behind its end"),
            (line(31, 69, ""), 100, "does not begin where"),
            (line(30, u64::MAX, ""), 100, "ends behind its end"),
            (line(30, 0, ""), 30, "does not begin where"),
            ("{".to_owned(), 100, "is not one"),
            (line(30, 70, r#"["../1.cassette.json",5]"#), 100, "which no folder"),
            (line(30, 70, r#"["a/1.cassette.json",18446744073709551615]"#), 100, "more than"),
            (line(30, 70, r#"["a/1.cassette.json",200000],["a/2.cassette.json",200000]"#), 100, "more than a block"),
            (line(30, 70, r#"["a/2.cassette.json",2],["a/1.cassette.json",2]"#), 100, "in the wrong place"),
            (line(30, 70, r#"["a/1.cassette.json",2],["a/1.cassette.json",2]"#), 100, "or twice"),
        ] {
            let why = Index::read(&text, 30, end).unwrap_err();
            assert!(why.contains(what), "{text}: {why}");
        }
    }
}

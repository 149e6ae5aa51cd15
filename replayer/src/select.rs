//! Which entries of a corpus a replay is about.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use regress_cassettes::{CassetteId, Located, glob};
use sha2::{Digest, Sha256};

/// Which entries are replayed: those that every part of it selects. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Routes or ids, one of which has to match: a part of it, or a pattern with `*` and `?`. Empty = all.
    pub filters: Vec<String>,
    /// Only what differs from a revision.
    pub changed: Option<Changed>,
    /// Only one of several parts.
    pub shard: Option<Shard>,
}

/// What differs from a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The revision, as reports name it.
    pub since: String,
    /// What differs from it.
    pub extent: Extent,
}

/// How far a change reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To every entry, because of this.
    All(String),
    /// To the cassettes among these files, named from the folder of cassettes on.
    Files(BTreeSet<PathBuf>),
}

/// One of several parts of a corpus, as `2/4`. An entry's part depends on its id alone, so that it stays in it whatever
/// else there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    index: u32,
    of: u32,
}

/// What a selection left of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// How many entries there are.
    pub of: usize,
    /// How many of them are selected.
    pub entries: usize,
    /// By what, in words.
    pub by: Vec<String>,
}

impl Selection {
    /// Whether the filters select an entry.
    pub(crate) fn names(&self, located: &Located) -> bool {
        let is_named = |filter: &String| matches(filter, &located.route) || matches(filter, &located.id.0);
        self.filters.is_empty() || self.filters.iter().any(is_named)
    }

    /// Whether what is beside the filters selects an entry of the store in the folder `root`.
    pub(crate) fn has(&self, root: &Path, located: &Located) -> bool {
        let is_in = |files: &BTreeSet<PathBuf>| located.path.strip_prefix(root).is_ok_and(|file| files.contains(file));
        let changed = self.changed.as_ref().is_none_or(|changed| match &changed.extent {
            Extent::All(_) => true,
            Extent::Files(files) => is_in(files),
        });
        changed && self.shard.is_none_or(|shard| shard.has(&located.id))
    }

    /// What it selects by, in words; empty = all is selected.
    pub(crate) fn words(&self) -> Vec<String> {
        let filters: Vec<String> = self.filters.iter().map(|filter| format!("{filter:?}")).collect();
        let filters = (!filters.is_empty()).then(|| format!("filter {}", filters.join(" or ")));
        let changed = self.changed.as_ref().map(|Changed { since, extent }| match extent {
            Extent::All(because) => format!("changed since {since}: all, because {because}"),
            Extent::Files(_) => format!("changed since {since}"),
        });
        filters.into_iter().chain(changed).chain(self.shard.map(|shard| format!("shard {shard}"))).collect()
    }
}

impl Shard {
    /// Whether the entry with this id is in it: the first eight bytes of the SHA-256 of the id, as a big-endian number,
    /// modulo the number of shards.
    pub fn has(self, id: &CassetteId) -> bool {
        let digest = Sha256::digest(id.0.as_bytes());
        let number = digest.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        number % u64::from(self.of) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let number = |digits: &str| digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        let parts = text.split_once('/').and_then(|(number_of, of)| Some((number(number_of)?, number(of)?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { index: number - 1, of }),
            Some((_, 0)) => Err("there are no shards in 0: I/N, for example 1/4".to_owned()),
            Some((_, of)) => Err(format!("the shards of {of} are 1/{of} to {of}/{of}")),
            None => Err("a shard is I/N, for example 1/4: the first of four".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

/// Whether a filter selects a route or an id: a part of it, or with `*` and `?` a pattern for all of it.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern.contains(['*', '?']) { glob(pattern, text) } else { text.contains(pattern) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn located(id: &str) -> Located {
        let path = format!("cassettes/get-items/{id}.cassette.json").into();
        Located { path, id: CassetteId(id.to_owned()), route: "get-items".to_owned() }
    }

    #[test]
    fn a_filter_is_a_part_or_a_pattern_for_the_whole() {
        assert!(matches("orders", "post-orders"));
        assert!(!matches("orders", "get-items"));
        assert!(matches("post-*", "post-orders"));
        assert!(!matches("post-*", "get-post-orders"));
        assert!(matches("*-0007", "20261122T101502.123456Z-0007"));
        assert!(matches("*T??????.*-000?", "20261122T101502.123456Z-0007"));
        assert!(matches("*", ""));
        assert!(!matches("?", ""));
    }

    #[test]
    fn one_of_several_filters_is_enough() {
        let filters = |filters: &[&str]| Selection {
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            ..Selection::default()
        };
        assert!(filters(&[]).names(&located("a")));
        assert!(filters(&["orders", "items"]).names(&located("a")));
        assert!(filters(&["orders", "?"]).names(&located("a")));
        assert!(!filters(&["orders", "b"]).names(&located("a")));
    }

    #[test]
    fn what_changed_is_found_by_its_place_in_the_folder() {
        let changed =
            |extent| Selection { changed: Some(Changed { since: "main".to_owned(), extent }), ..Selection::default() };
        let one = changed(Extent::Files(BTreeSet::from(["get-items/a.cassette.json".into()])));
        assert!(one.has(Path::new("cassettes"), &located("a")));
        assert!(!one.has(Path::new("cassettes"), &located("b")));
        assert!(!one.has(Path::new("elsewhere"), &located("a")));
        assert!(changed(Extent::All("regress.toml differs".to_owned())).has(Path::new("cassettes"), &located("b")));
    }

    #[test]
    fn a_selection_says_what_it_selects_by() {
        assert_eq!(Selection::default().words(), Vec::<String>::new());
        let all = Selection {
            filters: vec!["orders".to_owned(), "*-0007".to_owned()],
            changed: Some(Changed { since: "main".to_owned(), extent: Extent::Files(BTreeSet::new()) }),
            shard: Some("2/4".parse().unwrap()),
        };
        assert_eq!(all.words(), [r#"filter "orders" or "*-0007""#, "changed since main", "shard 2/4"]);
    }

    #[test]
    fn a_shard_is_one_of_several() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 1, of: 4 }));
        assert_eq!("4/4".parse::<Shard>().unwrap().to_string(), "4/4");
        for wrong in
            ["", "a", "1", "/", "1/", "/4", "0/4", "5/4", "0/0", "1/0", "-1/4", "+1/4", "1/4/4", "1/4294967296"]
        {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong:?}");
        }
    }

    /// Whoever split a corpus before must find the same parts after an update.
    #[test]
    fn the_shard_of_an_id_never_changes() {
        let shards = |of: u32| (0..of).map(move |index| Shard { index, of });
        let of = |id: &str| shards(8).position(|shard| shard.has(&CassetteId(id.to_owned()))).unwrap();
        let ids = ["20261122T101502.123456Z-0007", "20261122T101502.123456Z-0008", "a", ""];
        assert_eq!(ids.map(of), [3, 3, 2, 4]);
    }

    proptest! {
        #[test]
        fn an_id_is_in_one_shard(id in ".{0,40}", of in 1..200u32) {
            let holding = (0..of).filter(|index| Shard { index: *index, of }.has(&CassetteId(id.clone())));
            prop_assert_eq!(holding.count(), 1);
        }

        #[test]
        fn what_is_no_shard_is_told_without_a_panic(text in ".{0,20}") {
            if let Ok(shard) = text.parse::<Shard>() {
                prop_assert!(shard.index < shard.of);
            }
        }
    }

    #[test]
    fn shards_are_about_even() {
        let ids: Vec<CassetteId> = (0..4000).map(|n| CassetteId(format!("20261122T101502.{n:06}Z-0000"))).collect();
        for index in 0..4 {
            let size = ids.iter().filter(|id| Shard { index, of: 4 }.has(id)).count();
            assert!((900..1100).contains(&size), "{index}: {size}");
        }
    }
}

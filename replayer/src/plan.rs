//! Which entries are driven, in which order, by which worker.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use regress_cassettes::{Cassette, CassetteId, Located, Store};

use crate::{
    Error,
    outcome::Unreadable,
    select::{Selected, Selection},
};

/// An entry to drive.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The cassette's file.
    pub file: PathBuf,
    /// What it holds.
    pub cassette: Arc<Cassette>,
}

/// The entries to drive, in recorded order, and the cassettes that nobody can read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub entries: Vec<Planned>,
    pub unreadable: Vec<Unreadable>,
    /// What was selected; `None` = all.
    pub selected: Option<Selected>,
}

impl Plan {
    /// Read the selected cassettes of a store.
    ///
    /// # Errors
    /// When there are none, or the filters match none. That none changed or is in the shard is no error: others are
    /// elsewhere.
    pub(crate) fn read(store: &Store, selection: &Selection) -> Result<Plan, Error> {
        let listed = store.list()?;
        let Some(first) = listed.first() else { return Err(Error::NoCassettes(store.root().to_path_buf())) };
        let (total, first) = (listed.len(), format!("{} {}", first.id, first.route));
        let named: Vec<Located> = listed.into_iter().filter(|located| selection.names(located)).collect();
        if named.is_empty() {
            return Err(Error::NothingMatches { filters: selection.filters.clone(), total, first });
        }
        let selected: Vec<Located> = named.into_iter().filter(|one| selection.has(store.root(), one)).collect();
        let by = selection.words();
        let mut plan = Plan {
            entries: Vec::new(),
            unreadable: Vec::new(),
            selected: (!by.is_empty()).then_some(Selected { of: total, entries: selected.len(), by }),
        };
        let mut files: BTreeMap<CassetteId, PathBuf> = BTreeMap::new();
        for located in selected {
            match store.read(&located) {
                Ok(cassette) => match files.entry(cassette.id.clone()) {
                    Entry::Vacant(free) => {
                        free.insert(located.path.clone());
                        plan.entries.push(Planned { file: located.path, cassette: Arc::new(cassette) });
                    }
                    Entry::Occupied(taken) => plan.unreadable.push(Unreadable {
                        file: located.path,
                        why: format!("its id {} is that of {}", cassette.id, taken.get().display()),
                        hint: Some("delete one of the two".to_owned()),
                    }),
                },
                Err(error) => plan.unreadable.push(unreadable(located.path, &error)),
            }
        }
        Ok(plan)
    }
}

/// What to report about a cassette that cannot be read.
pub(crate) fn unreadable(file: PathBuf, error: &regress_cassettes::Error) -> Unreadable {
    Unreadable { file, why: in_full(error), hint: error.hint() }
}

/// An error and its causes in one line.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Cut a list into at most `workers` contiguous parts whose lengths differ by at most one; none is empty.
pub(crate) fn split<T: Clone>(list: &[T], workers: usize) -> Vec<Vec<T>> {
    let workers = workers.clamp(1, list.len().max(1));
    let (each, more) = (list.len() / workers, list.len() % workers);
    let mut rest = list;
    let mut parts = Vec::new();
    for worker in 0..workers {
        let (part, after) = rest.split_at(each + usize::from(worker < more));
        rest = after;
        parts.push(part.to_vec());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cassette;

    #[test]
    fn what_cannot_be_read_does_not_hide_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let all = Selection::default();
        assert!(matches!(Plan::read(&store, &all), Err(Error::NoCassettes(_))));
        let file = store.write(&cassette()).unwrap();
        std::fs::copy(&file, file.with_file_name("copy.cassette.json")).unwrap();
        std::fs::write(file.with_file_name("broken.cassette.json"), "{").unwrap();
        let plan = Plan::read(&store, &all).unwrap();
        assert_eq!(plan.entries.iter().map(|entry| &entry.file).collect::<Vec<_>>(), [&file]);
        let names = plan.unreadable.iter().map(|one| one.file.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(names.collect::<Vec<_>>(), ["broken.cassette.json", "copy.cassette.json"]);
        let nothing = Selection { filters: vec!["nothing".to_owned()], ..Selection::default() };
        assert!(matches!(Plan::read(&store, &nothing), Err(Error::NothingMatches { total: 3, .. })));
    }

    #[test]
    fn the_shards_are_all_entries_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        for number in 0..20 {
            let id = CassetteId(format!("20261122T101502.123456Z-{number:04}"));
            store.write(&Cassette { id, ..cassette() }).unwrap();
        }
        let files = |selection: &Selection| -> Vec<PathBuf> {
            let plan = Plan::read(&store, selection).unwrap();
            plan.entries.into_iter().map(|planned| planned.file).collect()
        };
        let all = files(&Selection::default());
        assert_eq!(all.len(), 20);
        for of in [1, 3, 64] {
            let shards = (1..=of).map(|number| Selection {
                shard: Some(format!("{number}/{of}").parse().unwrap()),
                ..Selection::default()
            });
            let mut found: Vec<PathBuf> = shards.flat_map(|shard| files(&shard)).collect();
            found.sort();
            assert_eq!(found, all, "{of}");
        }
    }

    #[test]
    fn a_shard_without_entries_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        store.write(&cassette()).unwrap();
        let shard = |shard: &str| Selection { shard: Some(shard.parse().unwrap()), ..Selection::default() };
        let selected = ["1/2", "2/2"].map(|one| Plan::read(&store, &shard(one)).unwrap().selected.unwrap());
        assert_eq!(selected.iter().map(|one| one.entries).sum::<usize>(), 1);
        assert!(selected.iter().all(|one| one.of == 1));
    }

    #[test]
    fn parts_are_contiguous_and_even() {
        let list: Vec<u32> = (0..10).collect();
        assert_eq!(split(&list, 4), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7], vec![8, 9]]);
        assert_eq!(split(&list, 1), vec![list.clone()]);
        assert_eq!(split(&list[..2], 8), [vec![0], vec![1]]);
        assert_eq!(split(&list, 0), vec![list.clone()]);
        assert!(split::<u32>(&[], 3).is_empty());
    }
}

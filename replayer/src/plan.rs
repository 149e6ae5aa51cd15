//! Which entries are driven, in which order, by which worker.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    thread,
};

use regress_cassettes::{Cassette, CassetteId, Located, Store};
use regress_mockserver::survey::Survey;

use crate::{
    Error,
    outcome::Unreadable,
    select::{Selected, Selection},
};

/// An entry that is driven now.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The cassette's file.
    pub file: PathBuf,
    /// What it holds.
    pub cassette: Arc<Cassette>,
}

/// The entries to drive, in recorded order, and the cassettes that nobody can read. Every cassette was read for it and
/// none is kept: a worker reads one again when it comes to it, so that memory grows with the longest cassettes and not
/// with their number.
#[derive(Debug)]
pub struct Plan {
    /// What to drive. Their ids are those in the cassettes.
    pub entries: Vec<Located>,
    /// What cannot be driven.
    pub unreadable: Vec<Unreadable>,
    /// What was selected; `None` = all.
    pub selected: Option<Selected>,
    /// What the entries tell together.
    pub survey: Survey,
}

impl Plan {
    /// Survey the selected cassettes of a store; threads share the work.
    ///
    /// # Errors
    /// When the store cannot be listed or is empty, a recording into it has not ended, or the filters match nothing. That none changed or is in the shard is
    /// no error: others are elsewhere. What concerns single cassettes is among the unreadable.
    pub fn read(store: &Store, selection: &Selection) -> Result<Plan, Error> {
        store.check_ended()?;
        let listed = store.list()?;
        let Some(first) = listed.first() else { return Err(Error::NoCassettes(store.root().to_path_buf())) };
        let (total, first) = (listed.len(), format!("{} {}", first.id, first.route));
        store.check_keys()?;
        let listed = if selection.filters.is_empty() { listed } else { store.with_routes(listed) };
        // One that cannot be opened may be meant, and is told to be unreadable.
        let is_named = |located: &Located| selection.names(located) || located.is_route_hidden();
        let named: Vec<Located> = listed.into_iter().filter(is_named).collect();
        if named.is_empty() {
            return Err(Error::NothingMatches { filters: selection.filters.clone(), total, first });
        }
        let selected: Vec<Located> = named.into_iter().filter(|one| selection.has(store.root(), one)).collect();
        let by = selection.words();
        let mut plan = Plan {
            entries: Vec::new(),
            unreadable: Vec::new(),
            selected: (!by.is_empty()).then_some(Selected { of: total, entries: selected.len(), by }),
            survey: Survey::default(),
        };
        let mut surveyed = Vec::new();
        for (seen, survey) in survey(store, &selected) {
            surveyed.extend(seen);
            plan.survey.merge(survey);
        }
        let mut files: BTreeMap<CassetteId, usize> = BTreeMap::new();
        for (located, seen) in selected.into_iter().zip(surveyed) {
            match seen {
                Ok(id) => match files.entry(id.clone()) {
                    Entry::Vacant(free) => {
                        free.insert(plan.entries.len());
                        plan.entries.push(Located { id, ..located });
                    }
                    Entry::Occupied(taken) => plan.unreadable.push(Unreadable {
                        file: located.path,
                        why: format!("its id {id} is that of {}", plan.entries[*taken.get()].path.display()),
                        hint: Some("delete one of the two".to_owned()),
                    }),
                },
                Err(error) => plan.unreadable.push(unreadable(located.path, &error)),
            }
        }
        Ok(plan)
    }
}

/// What all cassettes of a store tell together; `None` where some cannot be read.
pub(crate) fn survey_all(store: &Store) -> Option<Survey> {
    let mut all = Survey::default();
    for (seen, survey) in survey(store, &store.list().ok()?) {
        if seen.iter().any(Result::is_err) {
            return None;
        }
        all.merge(survey);
    }
    Some(all)
}

/// What a thread saw of its part: each cassette's id, and what they tell together.
type Seen = (Vec<Result<CassetteId, regress_cassettes::Error>>, Survey);

/// Read every cassette once, in as many threads as there are processors; the parts are in order.
fn survey(store: &Store, selected: &[Located]) -> Vec<Seen> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let part = selected.len().div_ceil(threads).max(1);
    let seen = |part: &[Located], store: Store| {
        let mut survey = Survey::default();
        let seen = part.iter().map(|located| {
            let cassette = store.read(located)?;
            survey.add(&cassette);
            Ok(cassette.id)
        });
        (seen.collect(), survey)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = selected
            .chunks(part)
            .map(|part| {
                let store = store.clone();
                scope.spawn(move || seen(part, store))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|seen| seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

impl Planned {
    /// Read a cassette again that the plan has surveyed.
    ///
    /// # Errors
    /// When it is no longer what it was then.
    pub(crate) fn read(store: &Store, located: &Located) -> Result<Planned, String> {
        match store.read(located) {
            Ok(cassette) if cassette.id == located.id => {
                Ok(Planned { file: located.path.clone(), cassette: Arc::new(cassette) })
            }
            Ok(cassette) => Err(format!("the cassette became that of {} while it was replayed", cassette.id)),
            Err(error) => Err(in_full(&error)),
        }
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
    use regress_cassettes::redact::Redactor;

    use super::*;
    use crate::testing::cassette;

    #[test]
    fn what_cannot_be_read_does_not_hide_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let all = Selection::default();
        assert!(matches!(Plan::read(&store, &all), Err(Error::NoCassettes(_))));
        let file = store.write(&Redactor::off().cassette(cassette())).unwrap();
        std::fs::copy(&file, file.with_file_name("copy.cassette.json")).unwrap();
        std::fs::write(file.with_file_name("broken.cassette.json"), "{").unwrap();
        let plan = Plan::read(&store, &all).unwrap();
        assert_eq!(plan.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>(), [&file]);
        let names = plan.unreadable.iter().map(|one| one.file.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(names.collect::<Vec<_>>(), ["broken.cassette.json", "copy.cassette.json"]);
        let nothing = Selection { filters: vec!["nothing".to_owned()], ..Selection::default() };
        assert!(matches!(Plan::read(&store, &nothing), Err(Error::NothingMatches { total: 3, .. })));
    }

    #[test]
    fn many_cassettes_are_planned_in_order_and_surveyed_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap().sync_later();
        let numbered = |number: usize| {
            let mut cassette = cassette();
            cassette.id = CassetteId(format!("20261122T101502.123456Z-{number:04}"));
            cassette.downstream[0].connection.peer = format!("10.1.0.{number}:80").parse().unwrap();
            cassette
        };
        let all: Vec<Cassette> = (0..50).map(numbered).collect();
        all.iter()
            .for_each(|cassette| drop(store.write(&Redactor::off().cassette(Cassette::clone(cassette))).unwrap()));
        let plan = Plan::read(&store, &Selection::default()).unwrap();
        assert_eq!(
            plan.entries.iter().map(|one| &one.id).collect::<Vec<_>>(),
            all.iter().map(|one| &one.id).collect::<Vec<_>>()
        );
        assert_eq!(plan.survey, all.iter().collect());
    }

    #[test]
    fn a_cassette_that_changed_since_it_was_planned_is_not_played() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let file = store.write(&Redactor::off().cassette(cassette())).unwrap();
        let plan = Plan::read(&store, &Selection::default()).unwrap();
        assert_eq!(*Planned::read(&store, &plan.entries[0]).unwrap().cassette, cassette());
        let other = Cassette { id: CassetteId("other".to_owned()), ..cassette() };
        std::fs::write(&file, regress_cassettes::render(&other)).unwrap();
        let why = Planned::read(&store, &plan.entries[0]).unwrap_err();
        assert_eq!(why, "the cassette became that of other while it was replayed");
        std::fs::write(&file, "{").unwrap();
        assert!(Planned::read(&store, &plan.entries[0]).unwrap_err().contains("ends in the middle"));
    }

    #[test]
    fn the_shards_are_all_entries_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        for number in 0..20 {
            let id = CassetteId(format!("20261122T101502.123456Z-{number:04}"));
            store.write(&Redactor::off().cassette(Cassette { id, ..cassette() })).unwrap();
        }
        let files = |selection: &Selection| -> Vec<PathBuf> {
            let plan = Plan::read(&store, selection).unwrap();
            plan.entries.into_iter().map(|located| located.path).collect()
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
        store.write(&Redactor::off().cassette(cassette())).unwrap();
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

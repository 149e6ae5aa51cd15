//! Owners decided again, by the rules of this version, from the log that a recording has kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use regress_cassettes::{
    Cassette, CassetteId, Cause, Defect, Exchange, Located, Recorded, Store, redact::Redactor, seal::Keys,
};

use crate::{
    Error, assemble,
    correlate::{CallKey, Correlator, EntryKey, EntrySet, Fact, Patience, Ruling, Verdict},
    owner_log::{self, LogLine, Reader},
    wall::{Wall, parsed},
};

/// What became of the entries and calls of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorrelated {
    /// Entries of which the log tells and that have a cassette.
    pub entries: u64,
    /// Those that are certain now and were not.
    pub now_certain: u64,
    /// Those that were certain and are not.
    pub now_uncertain: u64,
    /// Calls that an entry has now and had not.
    pub given: u64,
    /// Calls that an entry had and has no more.
    pub taken: u64,
    /// Calls that belong to an entry and are not in the folder any more: their entries are uncertain.
    pub missing: u64,
}

/// Decides the owners of all recordings in a folder again, as far as they have kept a log, and puts calls where they belong.
/// `keys` open what is sealed. `write`: whether the cassettes are changed, or only counted what would be.
///
/// Cassettes that were changed since keep what they are: calls are known by connection and time, whatever they say.
///
/// # Errors
/// When there is no log, or a log or a cassette cannot be read or written.
pub fn recorrelate(folder: &Path, keys: &Keys, write: bool) -> Result<Recorrelated, Error> {
    let store = Store::open(folder)?.with_keys(keys.clone());
    store.check_keys()?;
    let logs = owner_log::find(folder)?;
    if logs.is_empty() {
        return Err(Error::NoOwnerLog { path: folder.to_owned() });
    }
    let located: HashMap<CassetteId, Located> =
        store.list()?.into_iter().map(|found| (found.id.clone(), found)).collect();
    let mut folder =
        Folder { store: &store, located, ambient: store.ambient()?, counts: Recorrelated::default(), write };
    for log in logs {
        folder.apply(&Decided::from(Reader::open(&log, keys)?)?)?;
    }
    Ok(folder.counts)
}

/// Calls by the number of their connection, and by when they began in microseconds since 1970.
#[derive(Default)]
struct Places(HashMap<(u64, i64), CallKey>);

impl Places {
    /// The call of an exchange on the connection of this number, in something that began at `start`. Both times are rounded, by
    /// a microsecond at most, in which no connection has two.
    fn call(&self, start: i64, connection: u64, exchange: &Exchange) -> Option<CallKey> {
        let at = start.saturating_add(exchange.at);
        let near = [at, at.saturating_sub(1), at.saturating_add(1)];
        near.iter().find_map(|at| self.0.get(&(connection, *at)).copied())
    }
}

/// What a log says in the end.
struct Decided {
    wall: Wall,
    started: u64,
    connections: u64,
    /// When entries began, and whether calls of theirs are uncertain.
    entries: BTreeMap<EntryKey, (u64, bool)>,
    /// On which connection calls began, and when.
    calls: HashMap<CallKey, (u64, u64)>,
    places: Places,
    verdicts: HashMap<CallKey, Verdict>,
}

impl Decided {
    fn from(mut log: Reader) -> Result<Decided, Error> {
        let mut correlator = Correlator::new(Patience::default());
        let mut decided = Decided {
            wall: Wall { offset: 0 },
            started: 0,
            connections: 0,
            entries: BTreeMap::new(),
            calls: HashMap::new(),
            places: Places::default(),
            verdicts: HashMap::new(),
        };
        let (mut passed, mut last, mut is_stopped) = (HashMap::new(), (0, 0), false);
        while let Some(line) = log.line()? {
            match line {
                LogLine::Start { started, wall, connections, .. } => {
                    (decided.started, decided.connections) = (started, connections);
                    decided.wall.offset = i128::from(wall);
                }
                LogLine::Call { call, connection, began } => drop(decided.calls.insert(call, (connection, began))),
                LogLine::Fact { moment, fact } => {
                    last = (last.0.max(moment.mark), last.1.max(moment.at));
                    if let Fact::EntryBegan { entry, .. } = fact {
                        decided.entries.insert(entry, (moment.at, false));
                    }
                    correlator.fact(moment, fact);
                    correlator.advance(last.1);
                }
                LogLine::Stop { mark, at } => {
                    correlator.stop(mark, at);
                    is_stopped = true;
                }
            }
            decided.rulings(&mut correlator, &mut passed);
        }
        if !is_stopped {
            correlator.stop(last.0 + 1, last.1);
            decided.rulings(&mut correlator, &mut passed);
        }
        decided.pass_on(&passed);
        let place = |(&call, &(connection, began))| ((connection, decided.wall.micros(began)), call);
        decided.places = Places(decided.calls.iter().map(place).collect());
        Ok(decided)
    }

    fn rulings(&mut self, correlator: &mut Correlator, passed: &mut HashMap<EntryKey, Verdict>) {
        while let Some(ruling) = correlator.next() {
            match ruling {
                Ruling::Call { call, verdict } => drop(self.verdicts.insert(call, verdict)),
                Ruling::Passed { hop, of } => drop(passed.insert(hop, of)),
                Ruling::Finished { entry, ambiguous: true } => {
                    self.entries.entry(entry).and_modify(|(_, is_uncertain)| *is_uncertain = true);
                }
                Ruling::Finished { .. } => {}
                Ruling::Doubt { entries } => self.doubt(&entries),
            }
        }
    }

    fn doubt(&mut self, entries: &EntrySet) {
        for (key, (_, is_uncertain)) in &mut self.entries {
            *is_uncertain |= entries.contains(key.0);
        }
    }

    /// What is of a hop is of whoever the hop is of.
    fn pass_on(&mut self, passed: &HashMap<EntryKey, Verdict>) {
        for verdict in self.verdicts.values_mut() {
            while let Verdict::Owner { entry, cause } = verdict
                && let Some(of) = passed.get(entry)
            {
                *verdict = match of {
                    Verdict::Owner { entry, .. } => Verdict::Owner { entry: *entry, cause: cause.clone() },
                    of => of.clone(),
                };
            }
        }
        self.entries.retain(|entry, _| !passed.contains_key(entry));
    }

    fn id(&self, entry: EntryKey, began: u64) -> CassetteId {
        self.wall.id(began, entry.0)
    }
}

/// Microseconds from one moment to another, as cassettes have them.
fn offset(start: u64, began: u64) -> i64 {
    i64::try_from((i128::from(began) - i128::from(start)).div_euclid(1000)).unwrap_or(0)
}

/// A folder of cassettes on which logs are applied.
struct Folder<'s> {
    store: &'s Store,
    located: HashMap<CassetteId, Located>,
    ambient: Option<Cassette>,
    counts: Recorrelated,
    write: bool,
}

/// An exchange that is taken out of where it stands, and when it began.
struct Moved {
    exchange: Exchange,
    began: u64,
}

impl Moved {
    /// The exchange as part of something that began at `start`.
    fn at(self, start: u64, cause: Option<Cause>) -> Exchange {
        let mut exchange = Exchange { at: offset(start, self.began), cause, ..self.exchange };
        exchange.defects.retain(|defect| *defect != Defect::AmbiguousOwner);
        exchange
    }
}

fn is_doubtful(cassette: &Cassette) -> bool {
    cassette.defects.contains(&Defect::AmbiguousOwner)
}

/// Say of a cassette and its calls whether they are certain.
fn settle(cassette: &mut Cassette, is_uncertain: bool) {
    cassette.defects.retain(|defect| *defect != Defect::AmbiguousOwner);
    for exchange in &mut cassette.downstream {
        exchange.defects.retain(|defect| *defect != Defect::AmbiguousOwner);
    }
    if is_uncertain {
        assemble::doubt(cassette);
    }
}

impl Folder<'_> {
    fn apply(&mut self, decided: &Decided) -> Result<(), Error> {
        let (mut changed, mut pool) = (BTreeMap::new(), HashMap::new());
        let mut has: HashSet<CallKey> = HashSet::new();
        for (&entry, &(began, is_uncertain)) in &decided.entries {
            let Some(located) = self.located.get(&decided.id(entry, began)) else { continue };
            let mut cassette = self.store.read(located)?;
            self.counts.entries += 1;
            let before = cassette.clone();
            self.take_out(decided, entry, began, &mut cassette, &mut pool, &mut has);
            changed.insert(entry, (before, cassette, is_uncertain));
        }
        let ambient_before = self.ambient.clone();
        self.take_out_of_ambient(decided, |owner| changed.contains_key(&owner), &has, &mut pool);
        let mut calls: Vec<(&CallKey, &Verdict)> = decided.verdicts.iter().collect();
        calls.sort_by_key(|(call, _)| **call);
        for (call, verdict) in calls {
            let Verdict::Owner { entry, cause } = verdict else { continue };
            let Some((_, cassette, is_uncertain)) = changed.get_mut(entry) else { continue };
            match pool.remove(call) {
                // One that was written in the middle of an earlier attempt is where it belongs; this is its other place.
                Some(_) if has.contains(call) => {}
                Some(moved) => {
                    let began = decided.entries.get(entry).map_or(0, |(began, _)| *began);
                    cassette.downstream.push(moved.at(began, Some(cause.clone())));
                    self.counts.given += 1;
                }
                None if has.contains(call) => {}
                None if decided.calls.contains_key(call) => {
                    self.counts.missing += 1;
                    *is_uncertain = true;
                }
                // A hop.
                None => {}
            }
        }
        let recorded = changed.values().next().map(|(before, ..): &(Cassette, _, _)| before.recorded.clone());
        self.return_to_ambient(decided, recorded.as_ref(), pool);
        let (mut gain, mut lose) = (Vec::new(), Vec::new());
        for (before, mut cassette, is_uncertain) in changed.into_values() {
            cassette.downstream.sort_by_key(|exchange| exchange.at);
            settle(&mut cassette, is_uncertain);
            let (was, is) = (is_doubtful(&before), is_doubtful(&cassette));
            self.counts.now_certain += u64::from(was && !is);
            self.counts.now_uncertain += u64::from(!was && is);
            let gains = cassette.downstream.len() > before.downstream.len();
            if cassette != before {
                if gains { gain.push(cassette) } else { lose.push(cassette) }
            }
        }
        if !self.write {
            return Ok(());
        }
        // Where this ends in the middle, a call may stand in two places and not in none.
        let write = |cassette: &Cassette| self.store.write(&Redactor::from_files(cassette.clone())).map(drop);
        gain.iter().try_for_each(write)?;
        if let Some(ambient) = self.ambient.as_ref().filter(|ambient| Some(*ambient) != ambient_before.as_ref()) {
            self.store.replace_ambient(&Redactor::from_files(ambient.clone()))?;
        }
        lose.iter().try_for_each(write)?;
        Ok(())
    }

    /// Calls that are another's now; those that stay have the rule by which they do.
    fn take_out(
        &mut self,
        decided: &Decided,
        entry: EntryKey,
        began: u64,
        cassette: &mut Cassette,
        pool: &mut HashMap<CallKey, Moved>,
        has: &mut HashSet<CallKey>,
    ) {
        let start = decided.wall.micros(began);
        for mut exchange in std::mem::take(&mut cassette.downstream) {
            let call = decided.places.call(start, exchange.connection.id, &exchange);
            match call.and_then(|call| Some((call, decided.verdicts.get(&call)?))) {
                Some((call, Verdict::Owner { entry: owner, cause })) if *owner == entry => {
                    has.insert(call);
                    exchange.cause = Some(cause.clone());
                    cassette.downstream.push(exchange);
                }
                Some((call, _)) => {
                    self.counts.taken += 1;
                    let began = decided.calls.get(&call).map_or(0, |(_, began)| *began);
                    pool.insert(call, Moved { exchange, began });
                }
                None => cassette.downstream.push(exchange),
            }
        }
    }

    /// Calls in the ambient cassette that an entry owns which has a cassette; of those that stay it says whether they may be
    /// somebody's. A call that stands in two places, as an attempt that was stopped leaves it, is in one afterwards.
    fn take_out_of_ambient(
        &mut self,
        decided: &Decided,
        has_cassette: impl Fn(EntryKey) -> bool,
        has: &HashSet<CallKey>,
        pool: &mut HashMap<CallKey, Moved>,
    ) {
        let Some(ambient) = &mut self.ambient else { return };
        let Some(start) = parsed(&ambient.recorded.at) else { return };
        for mut exchange in std::mem::take(&mut ambient.downstream) {
            let connection = exchange.connection.id.checked_sub(decided.connections);
            let call = connection.and_then(|connection| decided.places.call(start, connection, &exchange));
            match call.and_then(|call| Some((call, decided.verdicts.get(&call)?))) {
                Some((call, Verdict::Owner { entry, .. })) if has_cassette(*entry) => {
                    if !has.contains(&call) && !pool.contains_key(&call) {
                        let (connection, began) = decided.calls.get(&call).copied().unwrap_or_default();
                        exchange.connection.id = connection;
                        pool.insert(call, Moved { exchange, began });
                    }
                    continue;
                }
                Some((_, Verdict::Ambiguous { .. })) => {
                    assemble::add(&mut exchange.defects, Defect::AmbiguousOwner);
                }
                Some((_, Verdict::Ambient)) => exchange.defects.retain(|defect| *defect != Defect::AmbiguousOwner),
                Some((_, Verdict::Owner { .. })) | None => {}
            }
            if let Some(call) = call {
                pool.remove(&call);
            }
            ambient.downstream.push(exchange);
        }
    }

    /// What belongs to no entry that has a cassette.
    fn return_to_ambient(&mut self, decided: &Decided, recorded: Option<&Recorded>, pool: HashMap<CallKey, Moved>) {
        let Some(recorded) = recorded.filter(|_| !pool.is_empty()) else { return };
        let ambient = self.ambient.get_or_insert_with(|| Cassette {
            id: CassetteId(CassetteId::AMBIENT.to_owned()),
            recorded: Recorded { at: decided.wall.rfc3339(decided.started), ..recorded.clone() },
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: None,
            downstream: Vec::new(),
            defects: Vec::new(),
        });
        let start = parsed(&ambient.recorded.at).unwrap_or_default();
        for (call, moved) in pool {
            let is_ambiguous = matches!(decided.verdicts.get(&call), Some(Verdict::Ambiguous { .. }));
            let mut exchange = moved.at(decided.started, None);
            exchange.at += decided.wall.micros(decided.started).saturating_sub(start);
            exchange.connection.id = exchange.connection.id.saturating_add(decided.connections);
            if is_ambiguous {
                assemble::add(&mut exchange.defects, Defect::AmbiguousOwner);
            }
            ambient.downstream.push(exchange);
        }
        ambient.downstream.sort_by_key(|exchange| (exchange.at, exchange.connection.id));
    }
}

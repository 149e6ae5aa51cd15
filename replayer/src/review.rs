//! Accepting and rejecting proposals, whole or by path.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use regress_cassettes::{
    Cassette, CassetteId, Content, Exchange, HttpExchange, Pending, Store, WireExchange,
    diff::{
        self, Applied, Difference, Kind, Lens, Rules, Schemas,
        edit::{self, Places},
    },
    redact::Redactor,
    shown,
};
use regress_protocols::{Request, Value, http1::Message};

use crate::{
    Error,
    alignment::{self, Aligned},
    groups::{self, Group, Place as At},
    judge,
    merge::{Together, merge},
    order,
    pending::{add_novel, hold_back, is_unanswered},
    rules::EntryRules,
    spot::{Called, Spot, SpotKind},
    stream,
};

/// One difference between a cassette and the proposal beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path: `response/body/total`, `downstream/2`, `downstream/0/request/body/qty`.
    pub path: String,
    /// How it differs.
    pub kind: Kind,
    /// What the cassette has.
    pub expected: Option<String>,
    /// What the proposal has.
    pub actual: Option<String>,
    /// The call it is about. `None` = the response.
    pub call: Option<Called>,
    /// It is a new call to which no real answer is known: record it anew before it is relied on.
    pub unanswered: bool,
}

impl Change {
    /// The same, as a replay tells differences.
    pub fn spot(&self) -> Spot {
        let is_whole_call = self.call.is_some() && self.path.split('/').count() == 2;
        let kind = match (is_whole_call, self.kind) {
            (true, Kind::Added) => SpotKind::Novel,
            (true, Kind::Removed) => SpotKind::Omitted,
            (_, kind) => kind.into(),
        };
        let Change { path, expected, actual, call, .. } = self.clone();
        Spot { path, kind, expected, actual, call }
    }
}

/// The changes of all proposals, grouped as a replay groups differences. The entry of a place is the index of its proposal.
pub fn groups(proposals: &[Proposal]) -> Vec<Group> {
    groups::group(proposals.iter().enumerate().flat_map(|(entry, proposal)| {
        let changes = proposal.changes().into_iter().enumerate();
        changes.map(move |(number, change)| (At { entry, number, spot: change.spot() }, false))
    }))
}

/// A proposal and the cassette it is beside.
#[derive(Debug)]
pub struct Proposal {
    /// The cassette as it is.
    pub original: Cassette,
    /// What it would be.
    pub proposed: Cassette,
    /// It was made from what the cassette is not any more; it can only be rejected.
    pub stale: bool,
    files: Pending,
    schemas: Schemas,
}

impl Proposal {
    /// Every proposal of a store, in the order of their ids, whose messages are read by these schemas.
    ///
    /// # Errors
    /// When a cassette or a proposal cannot be read.
    pub fn all(store: &Store, schemas: &Schemas) -> Result<Vec<Proposal>, Error> {
        let mut all = Vec::new();
        for files in store.pending()? {
            let original = store.read_at(&files.original)?;
            let proposed = store.read_at(&files.proposed)?;
            let stale = files.is_stale()?;
            all.push(Proposal { original, proposed, stale, files, schemas: schemas.clone() });
        }
        all.sort_by(|a, b| a.original.id.cmp(&b.original.id));
        Ok(all)
    }

    /// The cassette's id.
    pub fn id(&self) -> &CassetteId {
        &self.original.id
    }

    /// The cassette's file.
    pub fn file(&self) -> &Path {
        &self.files.original
    }

    /// The entry's method and target.
    pub fn entry(&self) -> String {
        self.original.entry.as_ref().map(judge::request_line).unwrap_or_default()
    }

    /// What it would change.
    pub fn changes(&self) -> Vec<Change> {
        changes(&self.original, &self.proposed, &self.schemas)
    }

    /// The proposal becomes the cassette.
    ///
    /// # Errors
    /// When it is stale, or the file cannot be replaced.
    pub fn accept(self) -> Result<(), Error> {
        self.fresh()?;
        Ok(self.files.accept()?)
    }

    /// The proposal is deleted.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn reject(self) -> Result<(), Error> {
        Ok(self.files.reject()?)
    }

    /// Accept the changes at or below some paths, reject those at or below others, and leave the rest waiting.
    ///
    /// # Errors
    /// When it is stale, when nothing differs at one of the paths, when a part cannot be taken alone, or when a file cannot
    /// be written.
    pub fn settle(self, store: &Store, accepted: &[String], rejected: &[String]) -> Result<(), Error> {
        let (original, proposed) = self.settled(accepted, rejected)?;
        let is_left = !changes(&original, &proposed, &self.schemas).is_empty();
        if original != self.original {
            // By way of the proposal's file, so that the cassette is replaced in one step, wherever it lies.
            store.write_pending(&self.files.original, &Redactor::from_files(original))?;
            self.files.accept()?;
        } else if proposed != self.proposed {
            self.files.reject()?;
        }
        if is_left {
            store.write_pending(&self.files.original, &Redactor::from_files(proposed))?;
        }
        Ok(())
    }

    /// Cassette and proposal as [`Proposal::settle`] would leave them.
    ///
    /// # Errors
    /// As there, as far as no file is written.
    pub fn settled(&self, accepted: &[String], rejected: &[String]) -> Result<(Cassette, Cassette), Error> {
        self.fresh()?;
        let known: Vec<String> = self.changes().into_iter().map(|change| change.path).collect();
        for path in accepted.iter().chain(rejected) {
            if !known.iter().any(|known| covers(path, known)) {
                return Err(Error::NoSuchChange { cassette: self.id().clone(), path: path.clone(), paths: known });
            }
        }
        let among = |paths: &[String], path: &str| paths.iter().any(|taken| covers(taken, path));
        let original = take(&self.original, &self.proposed, &self.schemas, |path| among(accepted, path))?;
        let proposed = take(&self.original, &self.proposed, &self.schemas, |path| {
            !among(rejected, path) || among(accepted, path)
        })?;
        Ok((original, proposed))
    }

    /// # Errors
    /// When it is stale.
    pub fn fresh(&self) -> Result<(), Error> {
        if self.stale { Err(Error::Stale(self.id().clone())) } else { Ok(()) }
    }
}

/// Whether a path given by the user means the one of a difference: the same or one above it.
pub fn covers(given: &str, path: &str) -> bool {
    path.strip_prefix(given).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What differs between a cassette and its proposal, the response first, then the calls.
pub fn changes(original: &Cassette, proposed: &Cassette, schemas: &Schemas) -> Vec<Change> {
    let mut changes = Vec::new();
    if let (Some(old), Some(new)) = (entry_http(original), entry_http(proposed)) {
        response_changes("response", None, (old, new), schemas, &mut changes);
        let held = new.response.as_ref().and_then(|new| stream::held_back(original, new, &Applied::none()));
        changes.extend(held.map(|held| change(format!("response/{}", held.path), held, None)));
    }
    let places = alignment::align(original, proposed);
    let moved: BTreeMap<usize, Difference> = moved(original, &places, schemas).collect();
    for place in &places {
        let path = format!("downstream/{}", place.number);
        let title = |exchange: &Exchange| Called {
            downstream: judge::downstream(exchange),
            request: judge::request_line(exchange),
        };
        let whole = |kind, exchange: &Exchange| Change {
            path: path.clone(),
            kind,
            expected: (kind == Kind::Removed).then(|| judge::request_line(exchange)),
            actual: (kind == Kind::Added).then(|| judge::request_line(exchange)),
            call: Some(title(exchange)),
            unanswered: kind == Kind::Added && is_unanswered(exchange),
        };
        match (place.old, place.new) {
            (Some(old), None) => changes.push(whole(Kind::Removed, old)),
            (None, Some((_, new))) => changes.push(whole(Kind::Added, new)),
            (Some(old), Some((_, new))) => {
                let call = Some(title(old));
                if let (Some(old), Some(new)) = (old.request(), new.request()) {
                    let moved = moved.get(&place.number).cloned();
                    let request = diff::requests(old, new, &Lens::of(schemas.of_request(old)));
                    changes.extend(
                        request
                            .into_iter()
                            .chain(moved)
                            .map(|d| change(format!("{path}/request/{}", d.path), d, call.clone())),
                    );
                }
                if let (Some(old), Some(new)) = (old.wire(), new.wire())
                    && old.response != new.response
                {
                    let response = |wire: &WireExchange| wire.response.as_ref().map(excerpt);
                    changes.push(Change {
                        path: format!("{path}/response"),
                        kind: if old.response.is_none() { Kind::Added } else { Kind::Changed },
                        expected: response(old),
                        actual: response(new),
                        call: call.clone(),
                        unanswered: false,
                    });
                }
                if let (Some(old), Some(new)) = (old.http(), new.http()) {
                    response_changes(&format!("{path}/response"), call, (old, new), schemas, &mut changes);
                }
            }
            (None, None) => {}
        }
    }
    changes
}

/// The calls that a proposal has in another order, with their numbers.
fn moved(
    original: &Cassette,
    places: &[Aligned<'_>],
    schemas: &Schemas,
) -> impl Iterator<Item = (usize, Difference)> + use<> {
    let rules = Rules::none().with_schemas(schemas.clone());
    let order = order::of(original, &alignment::kept(places), &EntryRules::of(&rules, original));
    order.into_iter().filter_map(|made| Some((made.number, made.moved?)))
}

fn response_changes(
    path: &str,
    call: Option<Called>,
    (old, new): (&HttpExchange, &HttpExchange),
    schemas: &Schemas,
    out: &mut Vec<Change>,
) {
    let lens = Lens::of(schemas.of_response(&old.request));
    let status = |response: &Message| format!("a response with status {}", response.status());
    match (&old.response, &new.response) {
        (Some(old), Some(new)) if old.is_complete() && new.is_complete() => {
            let differences = diff::responses(old, new, &lens);
            out.extend(differences.into_iter().map(|d| change(format!("{path}/{}", d.path), d, call.clone())));
        }
        (old, new) if old == new => {}
        (old, new) => out.push(Change {
            path: path.to_owned(),
            kind: if old.is_none() { Kind::Added } else { Kind::Changed },
            expected: old.as_ref().map(status),
            actual: new.as_ref().map(status),
            call,
            unanswered: false,
        }),
    }
}

fn change(path: String, difference: Difference, call: Option<Called>) -> Change {
    let Difference { kind, expected, actual, .. } = difference;
    Change { path, kind, expected, actual, call, unanswered: false }
}

/// The original with those changes whose path `accept` says yes to.
pub(crate) fn take(
    original: &Cassette,
    proposed: &Cassette,
    schemas: &Schemas,
    accept: impl Fn(&str) -> bool,
) -> Result<Cassette, Error> {
    let together = |prefix: String| {
        move |Together { taken, with }: Together| {
            let full = |paths: Vec<String>| paths.into_iter().map(|path| format!("{prefix}/{path}")).collect();
            Error::NotAlone { paths: full(taken), with: full(with) }
        }
    };
    let mut taken = original.clone();
    if let (Some(old), Some(new)) = (&mut taken.entry, &proposed.entry) {
        let lens = answer_lens(old, schemas);
        take_response(old, new, &lens, "response", &accept).map_err(together("response".to_owned()))?;
        let response = new.http().and_then(|http| http.response.as_ref());
        if let Some(response) = response.filter(|_| accept(&format!("response/{}", stream::FIELD)))
            && stream::held_back(original, response, &Applied::none()).is_some()
        {
            hold_back(old, response);
        }
    }
    taken.downstream.clear();
    let mut numbers: Vec<usize> = Vec::new();
    let places = alignment::align(original, proposed);
    for place in &places {
        let path = format!("downstream/{}", place.number);
        let Some(old) = place.old else { continue };
        let mut exchange = old.clone();
        let answer = answer_lens(old, schemas);
        match place.new {
            None if accept(&path) => continue,
            None => {}
            Some((_, new)) => {
                if let (Content::Http1(old), Some(new)) = (&mut exchange.content, new.http()) {
                    let request = format!("{path}/request");
                    let lens = Lens::of(schemas.of_request(&old.request));
                    let wanted = |field: &str| accept(&format!("{request}/{field}"));
                    old.request =
                        merge(&old.request, &new.request, &lens, wanted).map_err(together(request.clone()))?;
                }
                if let (Content::Wire(old), Some(new)) = (&mut exchange.content, new.wire()) {
                    take_wire(old, new, &path, &accept).map_err(together(format!("{path}/request")))?;
                }
                let response = format!("{path}/response");
                take_response(&mut exchange, new, &answer, &response, &accept).map_err(together(response.clone()))?;
            }
        }
        numbers.push(place.number);
        taken.downstream.push(exchange);
    }
    let made: Vec<usize> =
        alignment::kept(&places).iter().filter_map(|number| numbers.binary_search(number).ok()).collect();
    let rules = Rules::none().with_schemas(schemas.clone());
    let order = order::of(&taken, &made, &EntryRules::of(&rules, &taken));
    let told: BTreeSet<usize> = moved(original, &places, schemas).map(|(number, _)| number).collect();
    order::arrange(&mut taken.downstream, &order, |made| {
        let number = numbers[made.number];
        // Where a call that is left out was all that it was made beside, that it is left out says so.
        !told.contains(&number) || accept(&format!("downstream/{number}/request/{}", order::FIELD))
    });
    for place in places.iter().filter(|place| place.old.is_none()) {
        if let Some((_, new)) = place.new.filter(|_| accept(&format!("downstream/{}", place.number))) {
            add_novel(&mut taken.downstream, new.clone());
        }
    }
    Ok(taken)
}

/// Of a request its values are taken one by one, where they are set against each other; a response is taken whole.
fn take_wire(
    old: &mut WireExchange,
    new: &WireExchange,
    path: &str,
    accept: impl Fn(&str) -> bool,
) -> Result<(), Together> {
    let paths = |from: &Value, to: &Value| -> Vec<String> {
        let requests = [from, to].map(|request| Request::Wire(old.protocol, request));
        diff::requests(requests[0], requests[1], &Lens::exact()).into_iter().map(|d| d.path).collect()
    };
    let (taken, left): (Vec<String>, Vec<String>) =
        paths(&old.request, &new.request).into_iter().partition(|field| accept(&format!("{path}/request/{field}")));
    if !taken.is_empty() {
        let pointers: Vec<String> = taken.iter().map(|path| format!("/{path}")).collect();
        let places = Places::new(pointers.iter().map(String::as_str));
        let edited = edit::value(&old.request, &new.request, &places);
        match edited.filter(|edited| paths(edited, &new.request) == left) {
            Some(edited) => old.request = edited,
            None if left.is_empty() => old.request = new.request.clone(),
            None => return Err(Together { taken, with: left }),
        }
    }
    if accept(&format!("{path}/response")) {
        old.response.clone_from(&new.response);
    }
    Ok(())
}

/// The beginning of a value, for reading.
fn excerpt(value: &Value) -> String {
    const LONGEST: usize = 200;
    let shown = shown(value);
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}\u{2026}", &shown[..end]),
        None => shown,
    }
}

fn take_response(
    exchange: &mut Exchange,
    new: &Exchange,
    lens: &Lens<'_>,
    path: &str,
    accept: impl Fn(&str) -> bool,
) -> Result<(), Together> {
    let (Content::Http1(http), Some(proposed)) = (&mut exchange.content, new.http()) else { return Ok(()) };
    match (&http.response, &proposed.response) {
        (Some(old), Some(new)) if old.is_complete() && new.is_complete() => {
            let merged = merge(old, new, lens, |field| accept(&format!("{path}/{field}")))?;
            http.streamed = stream::arrivals(http, &merged);
            http.response = Some(merged);
        }
        (old, new) if old == new => {}
        _ if accept(path) => {
            exchange.content = Content::Http1(proposed.clone());
            exchange.took = new.took;
            exchange.ended = new.ended;
        }
        _ => {}
    }
    Ok(())
}

/// How the response of an exchange is looked at.
fn answer_lens(exchange: &Exchange, schemas: &Schemas) -> Lens<'static> {
    exchange.request().map_or_else(Lens::exact, |request| Lens::of(schemas.of_response(request)))
}

fn entry_http(cassette: &Cassette) -> Option<&HttpExchange> {
    cassette.entry.as_ref().and_then(Exchange::http)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regress_cassettes::diff::Rules;
    use regress_mockserver::mock::Attempted;
    use regress_protocols::wire::Protocol;

    use super::*;
    use crate::{
        pending::propose,
        testing::{cassette, created, hit, json, miss, reserve, unanswered},
    };

    /// A store with the cassette and a proposal that changes the total, one call's qty, leaves out one call and adds one.
    fn waiting() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let original = cassette();
        let file = store.write(&Redactor::off().cassette(original.clone())).unwrap();
        let journal = [
            miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), json(200, r#"{"reserved": true}"#)),
            miss("audit", "10.0.0.10:80", Attempted::Http(reserve(1)), unanswered()),
        ];
        let proposed =
            propose(&original, &created("13"), Duration::ZERO, &journal, &Default::default(), &Rules::none());
        store.write_pending(&file, &Redactor::off().cassette(proposed.clone())).unwrap();
        (folder, store)
    }

    fn the_one(store: &Store) -> Proposal {
        let mut all = Proposal::all(store, &Schemas::none()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn paths(proposal: &Proposal) -> Vec<String> {
        proposal.changes().into_iter().map(|change| change.path).collect()
    }

    fn settle(store: &Store, accepted: &[&str], rejected: &[&str]) -> Result<(), Error> {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        the_one(store).settle(store, &owned(accepted), &owned(rejected))
    }

    const ALL: [&str; 4] = ["response/body/total", "downstream/0/request/body/qty", "downstream/1", "downstream/2"];

    #[test]
    fn what_waits_is_told_by_path() {
        let (_folder, store) = waiting();
        assert_eq!(paths(&the_one(&store)), ALL);
        assert_eq!(the_one(&store).entry(), "POST /orders");
    }

    #[test]
    fn an_accepted_proposal_is_the_cassette() {
        let (_folder, store) = waiting();
        let proposed = the_one(&store).proposed;
        the_one(&store).accept().unwrap();
        assert_eq!(Proposal::all(&store, &Schemas::none()).unwrap().len(), 0);
        assert_eq!(store.read(&store.list().unwrap()[0]).unwrap(), proposed);
    }

    #[test]
    fn a_rejected_proposal_is_gone() {
        let (_folder, store) = waiting();
        the_one(&store).reject().unwrap();
        assert_eq!(Proposal::all(&store, &Schemas::none()).unwrap().len(), 0);
        assert_eq!(store.read(&store.list().unwrap()[0]).unwrap(), cassette());
    }

    #[test]
    fn accepting_by_path_leaves_the_rest_waiting() {
        for taken in ALL {
            let (_folder, store) = waiting();
            settle(&store, &[taken], &[]).unwrap();
            let proposal = the_one(&store);
            assert_eq!(proposal.changes().len(), 3, "after {taken}: {:?}", paths(&proposal));
            let changed = changes(&cassette(), &proposal.original, &Schemas::none());
            assert_eq!(changed.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), [taken]);
        }
    }

    #[test]
    fn a_path_takes_what_is_below_it() {
        let (_folder, store) = waiting();
        settle(&store, &["downstream/0", "response"], &[]).unwrap();
        assert_eq!(paths(&the_one(&store)), ["downstream/1", "downstream/2"]);
        let taken = the_one(&store).original;
        let entry = taken.entry.as_ref().and_then(Exchange::http).unwrap();
        assert_eq!(entry.response, Some(created("13")));
    }

    #[test]
    fn all_paths_one_by_one_are_the_whole() {
        let (_folder, store) = waiting();
        let proposed = the_one(&store).proposed;
        settle(&store, &ALL, &[]).unwrap();
        assert_eq!(Proposal::all(&store, &Schemas::none()).unwrap().len(), 0);
        assert_eq!(store.read(&store.list().unwrap()[0]).unwrap(), proposed);
    }

    #[test]
    fn rejecting_by_path_leaves_the_cassette_alone() {
        for left in ALL {
            let (_folder, store) = waiting();
            settle(&store, &[], &[left]).unwrap();
            let proposal = the_one(&store);
            assert_eq!(proposal.original, cassette());
            assert_eq!(proposal.changes().len(), 3, "after {left}: {:?}", paths(&proposal));
        }
        let (_folder, store) = waiting();
        settle(&store, &["response"], &["downstream"]).unwrap();
        assert_eq!(Proposal::all(&store, &Schemas::none()).unwrap().len(), 0);
    }

    #[test]
    fn a_path_where_nothing_differs_is_an_error_and_changes_nothing() {
        let (_folder, store) = waiting();
        for path in ["response/status", "downstream/9", "downstream/0/request/body/q", ""] {
            let error = settle(&store, &["response", path], &[]).unwrap_err();
            assert!(matches!(&error, Error::NoSuchChange { path: named, .. } if named == path), "{error}");
        }
        assert_eq!(paths(&the_one(&store)), ALL);
        assert_eq!(the_one(&store).original, cassette());
    }

    #[test]
    fn a_proposal_for_another_version_can_only_be_rejected() {
        let (_folder, store) = waiting();
        let located = store.list().unwrap().remove(0);
        let mut edited = store.read(&located).unwrap();
        edited.recorded.service = "another".to_owned();
        store.write(&Redactor::off().cassette(edited.clone())).unwrap();
        assert!(the_one(&store).stale);
        assert!(matches!(settle(&store, &["response"], &[]), Err(Error::Stale(_))));
        assert!(matches!(the_one(&store).accept(), Err(Error::Stale(_))));
        assert_eq!(store.read(&located).unwrap(), edited);
        the_one(&store).reject().unwrap();
        assert_eq!(Proposal::all(&store, &Schemas::none()).unwrap().len(), 0);
    }

    #[test]
    fn what_waits_is_grouped_as_a_replay_groups_it() {
        let (_folder, store) = waiting();
        let told: Vec<String> = groups(&Proposal::all(&store, &Schemas::none()).unwrap())
            .iter()
            .map(|group| format!("{} {}: {}", group.entries(), group.subject(), group.what()))
            .collect();
        assert_eq!(
            told,
            [
                "1 downstream/* of audit  POST /reserve: the call is new: nobody recorded it",
                "1 downstream/* of prices:9000  GET /sku/*: the call is not made any more",
                "1 downstream/*/request/body/qty of inventory  POST /reserve: is now 3, was 2",
                "1 response/body/total: is now 13, was 12.50",
            ]
        );
    }

    #[test]
    fn equal_calls_are_kept_apart_by_their_time() {
        let mut original = cassette();
        let mut again = original.downstream[0].clone();
        again.at += 10;
        original.downstream.insert(1, again);
        let journal = [hit(&original, 0), hit(&original, 2)];
        let proposed =
            propose(&original, &created("12.50"), Duration::ZERO, &journal, &Default::default(), &Rules::none());
        let paths: Vec<String> =
            changes(&original, &proposed, &Schemas::none()).into_iter().map(|change| change.path).collect();
        assert_eq!(paths, ["downstream/1"]);
    }

    #[test]
    fn values_of_other_protocols_are_accepted_one_by_one() {
        let with = |params: &[&str]| {
            let params = Value::List(params.iter().map(|param| Value::text(*param)).collect());
            let request = Value::map([("query", Value::text("select $1, $2")), ("params", params)]);
            let mut cassette = cassette();
            cassette.downstream[0].content =
                Content::Wire(WireExchange { protocol: Protocol::Postgres, request, response: Some(Value::Null) });
            cassette
        };
        let paths = |a: &Cassette, b: &Cassette| -> Vec<String> {
            changes(a, b, &Schemas::none()).into_iter().map(|c| c.path).collect()
        };
        let [first, second] = ["downstream/0/request/params/0", "downstream/0/request/params/1"];
        let (original, proposed) = (with(&["a", "b"]), with(&["x", "y"]));
        assert_eq!(paths(&original, &proposed), [first, second]);
        assert_eq!(take(&original, &proposed, &Schemas::none(), |path| path == second).unwrap(), with(&["a", "y"]));

        let longer = with(&["new", "x", "b"]);
        let all = paths(&original, &longer);
        let error = take(&original, &longer, &Schemas::none(), |path| path == all[0]).unwrap_err();
        assert!(
            matches!(&error, Error::NotAlone { paths, with } if *paths == all[..1] && *with == all[1..]),
            "{error}"
        );
        assert!(error.hint().unwrap().ends_with(&all[1..].join(", ")), "{:?}", error.hint());
        assert_eq!(take(&original, &longer, &Schemas::none(), |_| true).unwrap(), longer);
    }
}

//! Which recorded conversation of no recognised protocol a connection is having. Pure: bytes in, bytes out.
//!
//! Nothing is known of such bytes but who said them, and when in turn. So all conversations that were recorded with the destination are
//! followed at once, and each falls away at the first byte of the client that it does not have. The server's part is said as far as those
//! that are left agree on it. Where they do not, the client's next bytes tell, if some of them has more of the client first; else nothing can, and the
//! oldest counts, as with requests that are the same.

use std::sync::Arc;

use regress_cassettes::{
    Cassette, Ended, Turn,
    diff::{Difference, Kind},
};
use regress_protocols::Side;

use crate::journal::{HitScope, NearMiss};

/// How many bytes are shown of those that differ.
const MOST_SHOWN: usize = 64;

/// A recorded conversation, and how far a connection has followed it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub cassette: Arc<Cassette>,
    /// Its index among the downstream exchanges.
    pub number: usize,
    pub whose: HitScope,
    /// It was played before.
    pub again: bool,
    /// The first turn of the client that was not heard to its end, and how much of it was.
    hearing: usize,
    offset: usize,
    /// The turns before this one were said, where they are the server's.
    saying: usize,
    heard: u64,
}

/// Where a client left the conversation that it had followed longest.
#[derive(Clone, Debug)]
struct Strayed {
    heard: u64,
    near: NearMiss,
}

/// What a connection does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Say this.
    Say(Vec<u8>),
    /// Wait for the client.
    Hear,
    /// All was said: the first candidate is what was played.
    End(Ended),
    /// No conversation goes on like this.
    Stray,
}

/// One connection among the conversations that were recorded with its destination.
#[derive(Debug)]
pub(crate) struct Following {
    /// Those that it may be having: what counts first comes first.
    candidates: Vec<Candidate>,
    strayed: Option<Strayed>,
    /// Some conversation would go on like this, and another connection is having or has had it.
    taken: bool,
    /// The client says no more.
    finished: bool,
}

impl Candidate {
    /// The conversation with that index, at its beginning. It has to be one ([`regress_cassettes::Exchange::conversation`]).
    pub(crate) fn new(cassette: Arc<Cassette>, number: usize, whose: HitScope, again: bool) -> Candidate {
        let mut candidate = Candidate { cassette, number, whose, again, hearing: 0, offset: 0, saying: 0, heard: 0 };
        candidate.hearing = candidate.client_from(0);
        candidate
    }

    fn turns(&self) -> &[Turn] {
        self.cassette.downstream[self.number].conversation().unwrap_or_default()
    }

    fn ended(&self) -> Ended {
        self.cassette.downstream[self.number].ended
    }

    /// The first turn of the client from there on, else how many turns there are.
    fn client_from(&self, from: usize) -> usize {
        let turns = self.turns();
        (from..turns.len())
            .find(|at| turns[*at].from == Side::Client && !turns[*at].bytes.is_empty())
            .unwrap_or(turns.len())
    }

    /// The client said this; gives where it differs from what was recorded.
    fn hear(&mut self, said: &[u8]) -> Option<Difference> {
        let mut left = said;
        while !left.is_empty() {
            let turns = self.turns();
            let Some(turn) = turns.get(self.hearing) else {
                return Some(difference(turns.len(), 0, &[], left));
            };
            let expected = &turn.bytes[self.offset..];
            let equal = expected.iter().zip(left).take_while(|(a, b)| a == b).count();
            if equal < expected.len().min(left.len()) {
                let differs = difference(self.hearing, self.offset + equal, &expected[equal..], &left[equal..]);
                self.heard += equal as u64;
                return Some(differs);
            }
            let is_whole = equal == expected.len();
            left = &left[equal..];
            self.heard += equal as u64;
            self.offset += equal;
            if is_whole {
                (self.hearing, self.offset) = (self.client_from(self.hearing + 1), 0);
            }
        }
        None
    }

    /// What the client has still to say, if anything.
    fn unheard(&self) -> Option<Difference> {
        let turn = self.turns().get(self.hearing)?;
        Some(difference(self.hearing, self.offset, &turn.bytes[self.offset..], &[]))
    }

    /// Whether nobody has said anything.
    fn is_new(&self) -> bool {
        self.heard == 0 && self.saying == 0
    }

    /// What the server says now.
    fn pending(&self) -> impl Iterator<Item = &[u8]> {
        let turns = self.turns().get(self.saying..self.hearing).unwrap_or_default();
        turns.iter().filter(|turn| turn.from == Side::Server && !turn.bytes.is_empty()).map(|turn| &turn.bytes[..])
    }

    /// Whether the server says just this now.
    fn says(&self, said: &[u8]) -> bool {
        let rest = self.pending().try_fold(said, |rest, bytes| rest.strip_prefix(bytes));
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// Whether the client speaks next.
    fn hears(&self) -> bool {
        self.hearing < self.turns().len() && self.pending().next().is_none()
    }

    fn next(&self) -> Next {
        let pending: Vec<u8> = self.pending().flatten().copied().collect();
        match pending.is_empty() {
            false => Next::Say(pending),
            true if self.hears() => Next::Hear,
            true => Next::End(self.ended()),
        }
    }

    /// Whether it goes on in that way.
    fn goes_on(&self, next: &Next) -> bool {
        match next {
            Next::Say(said) => self.says(said),
            Next::Hear => self.hears(),
            Next::End(ended) => self.says(b"") && !self.hears() && self.ended() == *ended,
            Next::Stray => false,
        }
    }

    fn rank(&self) -> (bool, bool) {
        (self.whose == HitScope::Ambient, self.again)
    }

    /// What a client said once it had all of the conversation.
    pub(crate) fn beyond(&self, said: &[u8]) -> NearMiss {
        self.near(difference(self.turns().len(), 0, &[], said)).near
    }

    /// The exchange that the client strayed from.
    fn near(&self, difference: Difference) -> Strayed {
        let near =
            NearMiss { cassette: self.cassette.id.clone(), exchange: self.number, differences: vec![difference] };
        Strayed { heard: self.heard, near }
    }
}

impl Following {
    /// A connection that may be having any of these, of which those count first that come first. An entry's count before ambient
    /// ones, and those that were not played before others.
    pub(crate) fn new(mut candidates: Vec<Candidate>) -> Following {
        candidates.sort_by_key(Candidate::rank);
        Following { candidates, strayed: None, taken: false, finished: false }
    }

    /// The client said this.
    pub(crate) fn hear(&mut self, said: &[u8]) {
        self.keep(|candidate| candidate.hear(said));
    }

    /// The client says no more.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.keep(|candidate| candidate.unheard());
    }

    /// Keeps those that the client does not stray from.
    fn keep(&mut self, mut strays: impl FnMut(&mut Candidate) -> Option<Difference>) {
        let strayed = &mut self.strayed;
        self.candidates.retain_mut(|candidate| {
            let Some(difference) = strays(candidate) else { return true };
            let found = candidate.near(difference);
            if strayed.as_ref().is_none_or(|known| known.heard < found.heard) {
                *strayed = Some(found);
            }
            false
        });
    }

    /// What to do next. `is_free` says of a conversation whether no other connection is having it, or has had it. What is to be said
    /// counts as said.
    pub(crate) fn next(&mut self, is_free: impl Fn(&Candidate) -> bool) -> Next {
        let free: Vec<&Candidate> = self.candidates.iter().filter(|candidate| is_free(candidate)).collect();
        let Some(&first) = free.first() else {
            self.taken = !self.candidates.is_empty();
            return Next::Stray;
        };
        let next = first.next();
        let agree = free.iter().filter(|other| other.rank() == first.rank()).all(|other| other.goes_on(&next));
        // At the very beginning a client may wait for a greeting that some have and others do not.
        let may_tell = !self.finished && !first.is_new() && free.iter().any(|candidate| candidate.hears());
        if !agree && may_tell {
            return Next::Hear;
        }
        match &next {
            Next::Hear | Next::Stray => {}
            Next::Say(said) => {
                self.candidates.retain(|candidate| candidate.says(said));
                self.candidates.iter_mut().for_each(|candidate| candidate.saying = candidate.hearing);
            }
            Next::End(_) => self.candidates = vec![first.clone()],
        }
        next
    }

    /// The one conversation that it is having: none while that is not sure.
    pub(crate) fn settled(&self, is_free: impl Fn(&Candidate) -> bool) -> Option<&Candidate> {
        let mut free = self.candidates.iter().filter(|candidate| is_free(candidate));
        free.next().filter(|_| free.next().is_none())
    }

    /// Whether the client has begun a turn and not ended it.
    pub(crate) fn is_amid(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.offset > 0)
    }

    /// What was recorded that comes nearest to what the client said.
    pub(crate) fn nearest(&self) -> Option<&NearMiss> {
        self.strayed.as_ref().map(|strayed| &strayed.near)
    }

    /// Whether what the client said was recorded, and other connections have said it as often.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.taken
    }
}

/// Bytes that differ from those recorded in a turn, from the first that does.
fn difference(turn: usize, offset: usize, expected: &[u8], actual: &[u8]) -> Difference {
    let shown = |bytes: &[u8]| {
        let cut = &bytes[..bytes.len().min(MOST_SHOWN)];
        let more = if cut.len() < bytes.len() { format!(" ({} bytes)", bytes.len()) } else { String::new() };
        (!bytes.is_empty()).then(|| format!("from byte {offset}: {}{more}", cut.escape_ascii()))
    };
    let (expected, actual) = (shown(expected), shown(actual));
    let kind = match (&expected, &actual) {
        (None, _) => Kind::Added,
        (_, None) => Kind::Removed,
        _ => Kind::Changed,
    };
    Difference { path: format!("turns/{turn}"), kind, expected, actual, noise: None }
}

#[cfg(test)]
mod tests;

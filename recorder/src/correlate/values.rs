//! Values that only one open entry has received, in its request or in responses to its calls, and that stand in a call.
//!
//! Such a value may come from elsewhere all the same (a cache, a configuration, another entry that nobody saw), and no sign
//! would tell. Therefore the rule is asked for, decides only what is ambiguous otherwise, and what it says is *likely*.

use regress_cassettes::{Cause, Confidence, Rule};

use super::{
    Call, Correlator, EntryKey, Verdict,
    ids::Rivals,
    rule::{Because, Opinion},
};

/// Values of responses to the calls of one entry that are remembered.
const MOST_HEARD: usize = 256;

impl Correlator {
    /// What all rules say, and the values where they say nothing.
    pub(super) fn with_values(&self, call: &Call, opinion: Opinion, force: bool) -> Opinion {
        let is_unknown = matches!(opinion, Opinion::Verdict(Verdict::Ambiguous { .. }, Because::Nothing));
        if !is_unknown || call.said.values.is_empty() {
            return opinion;
        }
        match self.rivals(call) {
            Rivals::ToBeKnown if !force => Opinion::Wait,
            Rivals::ToBeKnown | Rivals::Unknown => opinion,
            Rivals::Known => match self.only_of(call) {
                Some(entry) => {
                    let cause = Cause { rule: Rule::Values, confidence: Confidence::Likely, after_response: false };
                    Opinion::Verdict(Verdict::Owner { entry, cause }, Because::Nothing)
                }
                None => opinion,
            },
        }
    }

    /// The one entry that was open and received a value of the call that no other one did.
    fn only_of(&self, call: &Call) -> Option<EntryKey> {
        let brought = call.said.values.iter().filter_map(|value| self.values.entry(*value));
        let mut entries = brought.filter(|entry| call.open.contains(entry));
        let first = entries.next()?;
        entries.all(|entry| entry == first).then_some(first)
    }

    /// The call was ruled: what its response holds is known to its owner, or to nobody in particular.
    pub(super) fn hear(&mut self, call: &Call, verdict: &Verdict) {
        let is_live = |entry| self.entries.contains_key(&entry);
        let owner = match verdict {
            Verdict::Owner { entry, .. } => self.entries.get(entry).map(|owner| (*entry, owner.began)),
            Verdict::Ambient | Verdict::Ambiguous { .. } => None,
        };
        let Some((owner, began)) = owner else {
            return call.said.heard.iter().for_each(|value| self.values.tells_nothing(*value, is_live));
        };
        let before = self.entries.get(&owner).map_or(0, |entry| entry.heard);
        let heard = call.said.heard.iter().take(MOST_HEARD.saturating_sub(before));
        heard.clone().for_each(|value| self.values.of_entry(*value, owner, began, is_live));
        let heard = before + heard.len();
        if let Some(entry) = self.entries.get_mut(&owner) {
            entry.heard = heard;
        }
    }
}

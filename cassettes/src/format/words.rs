//! The words that stand for the model's plain values in a cassette.

use std::fmt;

use regress_protocols::Side;

use super::json::{Fault, Node};
use crate::model::{Confidence, Ended, Rule, Via};

/// A value that is one word in a cassette.
pub trait Word: Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The value's word.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map(|(word, _)| *word).expect("every value has its word")
    }

    /// The value of a word.
    fn read(node: Node<'_>) -> Result<Self, Fault> {
        let found = node.text()?;
        Self::WORDS.iter().find(|(word, _)| *word == found).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
            node.fault(format!("expected one of {}", words.join(", ")))
        })
    }
}

impl Word for Via {
    const WORDS: &'static [(&'static str, Via)] =
        &[("socket", Via::Socket), ("inet", Via::Inet), ("syscall", Via::Syscall), ("proxy", Via::Proxy)];
}

impl Word for Side {
    const WORDS: &'static [(&'static str, Side)] = &[("client", Side::Client), ("server", Side::Server)];
}

impl Word for Ended {
    const WORDS: &'static [(&'static str, Ended)] = &[
        ("ok", Ended::Ok),
        ("reset", Ended::Reset),
        ("refused", Ended::Refused),
        ("timeout", Ended::Timeout),
        ("closed", Ended::Closed),
        ("unfinished", Ended::Unfinished),
    ];
}

impl Word for Rule {
    const WORDS: &'static [(&'static str, Rule)] = &[
        ("last-read", Rule::LastRead),
        ("connect", Rule::Connect),
        ("lineage", Rule::Lineage),
        ("alone", Rule::Alone),
        ("propagated-id", Rule::PropagatedId),
        ("values", Rule::Values),
    ];
}

impl Word for Confidence {
    const WORDS: &'static [(&'static str, Confidence)] =
        &[("certain", Confidence::Certain), ("likely", Confidence::Likely), ("ambiguous", Confidence::Ambiguous)];
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

//! Comparison of two messages, and the canonical form of a request that says the same thing in bytes.
//!
//! Pure: no I/O, no clock. A message becomes a tree ([`View`]): its line, its fields, and its body, opened up as far as
//! it can be. Two trees are compared place by place; what rules let pass is noise, told and marked. What counts as
//! different where is in `docs/replay.md`.

mod align;
mod coding;
mod compare;
mod drawn;
pub mod edit;
mod excerpt;
mod found;
mod headers;
mod json;
mod mask;
mod messages;
#[cfg(test)]
mod noise_tests;
mod open;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod view;

pub use coding::{decoded_body, decoded_messages, event_ends, event_ends_in};
pub(crate) use coding::{gunzip, inflate};
pub use drawn::Drawn;
pub use found::{Difference, Kind, MOST_DIFFERENCES, Noise};
pub use headers::{VOLATILE_REQUEST_HEADERS, VOLATILE_RESPONSE_HEADERS, is_volatile};
pub use messages::{Lens, Same, canonical_request, requests, responses};
pub use rules::{Applied, Keys, Number, Rule, RuleError, RuleText, Rules};
pub use schema::{SchemaError, Schemas};
pub use view::View;

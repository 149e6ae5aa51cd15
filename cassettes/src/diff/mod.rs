//! Comparison of two messages, and the canonical form of a request that says the same thing in bytes.
//!
//! Pure: no I/O, no clock. What counts as different:
//!
//! - `method` and `target` of a request, byte for byte; the `status` of a response (version and reason phrase of
//!   either say nothing about behaviour and are not compared);
//! - `header/<name>` and `trailer/<name>`, names in lower case, repeats in order, order between names ignored,
//!   volatile headers left out;
//! - `body`, its content coding removed. A body that is a JSON object or array on both sides is compared by
//!   structure at `body` + JSON Pointer (RFC 6901): member order and white space do not matter, numbers are
//!   compared by their text, strings after unescaping, repeated names one by one, arrays by index. Anything else is
//!   compared as text where both sides are UTF-8, else as bytes.

mod body;
mod compare;
mod excerpt;
mod found;
mod headers;
mod json;
#[cfg(test)]
mod tests;

pub use body::decoded_body;
pub use compare::{canonical_request, requests, responses};
pub use found::{Difference, Kind, MOST_DIFFERENCES};
pub use headers::{VOLATILE_REQUEST_HEADERS, VOLATILE_RESPONSE_HEADERS, is_volatile};

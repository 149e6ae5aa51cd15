//! What a service is told when nothing recorded answers it.

use std::fmt::Write;

use regress_cassettes::diff::{Difference, Kind};
use regress_protocols::{Request, http1::Message};

use crate::journal::{MissReason, NearMiss};

/// How many differences of a near miss are told.
const MOST_TOLD: usize = 20;

/// The answer to a request that missed: 502 with the header `x-regress: miss` and the reason as text.
pub(crate) fn answer(why: String) -> Message {
    let headers = [("x-regress", "miss"), ("Content-Type", "text/plain; charset=utf-8")];
    Message::response(502, "Bad Gateway", &headers, why)
}

/// Why nothing recorded answers a request.
pub(crate) fn text(request: Request<'_>, downstream: &str, reason: MissReason, nearest: &[NearMiss]) -> String {
    let mut text =
        format!("regress: no recorded exchange answers {} to {downstream}: {}\n", request.line(), told(reason));
    for near in nearest {
        writeln!(text, "\nnearest: downstream exchange {} of {}", near.exchange, near.cassette)
            .expect("writing to a String does not fail");
        if near.differences.is_empty() {
            text.push_str("  says the same and was played already\n");
        }
        for difference in near.differences.iter().take(MOST_TOLD) {
            text.push_str(&line(difference));
        }
        if let Some(more) = near.differences.len().checked_sub(MOST_TOLD + 1) {
            writeln!(text, "  and {} differences more", more + 1).expect("writing to a String does not fail");
        }
    }
    text
}

fn line(Difference { path, kind, expected, actual, .. }: &Difference) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    match kind {
        Kind::Changed | Kind::Type | Kind::Moved => {
            format!("  {path}: recorded {}, came {}\n", value(expected), value(actual))
        }
        Kind::Added => format!("  {path}: not recorded, came {}\n", value(actual)),
        Kind::Removed => format!("  {path}: recorded {}, did not come\n", value(expected)),
    }
}

fn told(reason: MissReason) -> &'static str {
    match reason {
        MissReason::UnknownDestination => "nothing recorded went to this downstream",
        MissReason::UnknownOperation => "this downstream was never asked with this method and path",
        MissReason::DifferentRequest => "what was recorded with this method and path differs",
        MissReason::AllUsed => "it was asked as often as recorded already",
        MissReason::Opaque | MissReason::OtherProtocol | MissReason::NotKept => "it cannot be judged",
    }
}

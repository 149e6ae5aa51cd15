//! What a service is told when nothing recorded answers it.

use std::fmt::Write;

use regress_cassettes::diff::{Difference, Kind};
use regress_protocols::{Request, http1::Message, http2};

use crate::journal::{MissReason, NearMiss};

/// How many differences of a near miss are told.
const MOST_TOLD: usize = 20;

/// The `UNAVAILABLE` of gRPC.
const UNAVAILABLE: &str = "14";
/// How much of the reason is told in a header.
const LONGEST_HEADER: usize = 2048;

/// The answer to a request that missed: 502 with the header `x-regress: miss` and the reason as text. A call of gRPC gets
/// the status UNAVAILABLE with it.
pub(crate) fn answer(request: &Message, why: &str) -> Message {
    let miss = ("x-regress", "miss");
    let content_type = request.header_text("content-type").unwrap_or_default();
    if content_type.starts_with("application/grpc") {
        let message = percent_encoded(why.trim_end());
        let headers =
            [("content-type", &*content_type), miss, ("grpc-status", UNAVAILABLE), ("grpc-message", &message)];
        return if request.is_http2() {
            http2::response(200, &headers, "", &[])
        } else {
            Message::response(200, "OK", &headers, "")
        };
    }
    let plain = "text/plain; charset=utf-8";
    match request.is_http2() {
        true => http2::response(502, &[miss, ("content-type", plain)], why.to_owned(), &[]),
        false => Message::response(502, "Bad Gateway", &[miss, ("Content-Type", plain)], why.to_owned()),
    }
}

/// A text as gRPC has it in `grpc-message`: printable ASCII but for the percent sign, everything else by its bytes.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if encoded.len() + 3 > LONGEST_HEADER {
            break;
        }
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    encoded
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
        MissReason::Opaque | MissReason::OtherProtocol | MissReason::LeftOpen | MissReason::NotKept => {
            "it cannot be judged"
        }
    }
}

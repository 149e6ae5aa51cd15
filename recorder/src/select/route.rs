//! Routes: paths with what looks like an id taken out.

use regress_cassettes::{Exchange, is_id};

/// Longer segments of a path are no words.
const LONGEST_WORD: usize = 32;
/// So many digits are no part of a name.
const MOST_DIGITS: usize = 2;

/// Method and path of an exchange, the segments that look like an id replaced by `{id}`: `GET /orders/{id}`. In other
/// protocols the command and what it is for. `opaque` where nothing is read.
pub(crate) fn template(exchange: &Exchange) -> String {
    let Some(request) = exchange.request() else { return "opaque".to_owned() };
    let operation = request.operation();
    let mut template = operation.method;
    if !operation.path.is_empty() {
        template.push(' ');
        template.push_str(&path_template(&operation.path));
    }
    template
}

/// A path with `{id}` for numbers, UUIDs, hashes and the like.
pub(super) fn path_template(path: &str) -> String {
    let segments = path.split('/').map(|segment| if stands_for_one(segment) { "{id}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether a segment names one thing of many: it looks like an id, a part of it between dashes does (`tea-7`), it has
/// many digits (`sku123`), or it is no word at all.
pub(super) fn stands_for_one(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let parts = || segment.split(['-', '_', '.', ':']);
    !segment.is_empty()
        && (segment.len() > LONGEST_WORD
            || segment.contains('%')
            || digits > MOST_DIGITS
            || parts().any(|part| !part.is_empty() && is_id(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_out_and_words_stay() {
        for (path, template) in [
            ("/", "/"),
            ("/orders/7", "/orders/{id}"),
            ("/orders/3f2504e0-4f89-11d3-9a0c-0305e82c3301/lines", "/orders/{id}/lines"),
            ("/blobs/9f86d081884c7d65", "/blobs/{id}"),
            ("/stock/tea-7", "/stock/{id}"),
            ("/stock/sku123", "/stock/{id}"),
            ("/days/2026-03-29", "/days/{id}"),
            ("/users/J%C3%BCrgen", "/users/{id}"),
            ("/api/v2/oauth2/token", "/api/v2/oauth2/token"),
            ("/deadbeef-list", "/deadbeef-list"),
        ] {
            assert_eq!(path_template(path), template, "{path}");
        }
    }
}

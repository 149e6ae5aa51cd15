//! The mark of a proposal: which text of the cassette it was made from. It is the last member of the file
//! (`"proposed_for"`, SHA-256 in hexadecimal), so that every line before it is the cassette's.

use crate::format;

const BEFORE: &str = ",\n  \"proposed_for\": \"";
const AFTER: &str = "\"\n}\n";

/// The text of a proposal for the cassette with the text `original`. A text that does not end as cassettes do stays as
/// it is.
pub(crate) fn marked(text: &str, original: &[u8]) -> String {
    match text.strip_suffix("\n}\n") {
        Some(open) => format!("{open}{BEFORE}{}{AFTER}", format::hash(original)),
        None => text.to_owned(),
    }
}

/// The text without the mark, and the hash in it.
pub(crate) fn unmarked(text: &str) -> (String, Option<String>) {
    let found = text.strip_suffix(AFTER).and_then(|open| open.rsplit_once(BEFORE));
    match found.filter(|(_, hash)| hash.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some((open, hash)) => (format!("{open}\n}}\n"), Some(hash.to_owned())),
        None => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_off_as_it_went_on() {
        let text = "{\n  \"regress\": \"1.0\",\n  \"defects\": []\n}\n";
        let proposal = marked(text, b"original");
        assert!(serde_json::from_str::<serde_json::Value>(&proposal).is_ok());
        assert_eq!(unmarked(&proposal), (text.to_owned(), Some(format::hash(b"original"))));
        assert_eq!(unmarked(text), (text.to_owned(), None));
        assert_eq!(marked("no cassette", b""), "no cassette");
    }
}

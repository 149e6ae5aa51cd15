//! FastCGI 1.0 (<https://fastcgi-archives.github.io/FastCGI_Specification.html>), as far as it takes to see where requests
//! and responses begin and end. What they say is not read.

mod cut;

pub use cut::{Cutter, Turn};

/// Bytes of a record's header: version, type, request id, length of the content, length of the padding, reserved.
const HEADER: usize = 8;

/// Whether these bytes begin as a web server begins its first request: a record that begins one, for a responder.
#[must_use]
pub fn is_opening(bytes: &[u8]) -> bool {
    const BEGIN_REQUEST: u8 = 1;
    const RESPONDER: [u8; 2] = [0, 1];
    matches!(bytes, [1, BEGIN_REQUEST, _, _, 0, 8, 0, _, role @ ..] if role.len() < 2 || role.starts_with(&RESPONDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes() {
        let nginx = [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 4];
        assert!(is_opening(&nginx) && is_opening(&nginx[..HEADER]));
        assert!(!is_opening(&nginx[..HEADER - 1]), "too few to tell");
        let authorizer = [1, 1, 0, 1, 0, 8, 0, 0, 0, 2];
        assert!(!is_opening(&authorizer) && !is_opening(b"GET / HTTP/1.1\r\n") && !is_opening(&[]));
    }
}

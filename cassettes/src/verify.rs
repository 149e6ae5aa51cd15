//! Finding every problem of a cassette file.

use std::path::Path;

use bytes::Bytes;
use regress_protocols::http1::{Framing, Limits, Message, RequestReader, ResponseReader};

use crate::{
    Error, FORMAT,
    file::{self, Source, Text},
    format::{self, Fault},
    model::{Cassette, HttpExchange},
    seal::Keys,
};

/// Every problem of a cassette file: its schema, unknown fields, body files, decoded views, its name, and
/// whether writing it again gives the same text; also messages whose framing does not fit their body, which an edited body leaves
/// behind. Empty when there is none.
pub fn verify(path: &Path) -> Vec<Error> {
    verify_with(path, &Keys::default())
}

/// The same, also where it is sealed.
pub fn verify_with(path: &Path, keys: &Keys) -> Vec<Error> {
    verify_in(Source { pack: None, keys }, path)
}

/// The same for a file there.
pub fn verify_in(source: Source<'_>, path: &Path) -> Vec<Error> {
    let Text { text, sealed, .. } = match source.text(path) {
        Ok(text) => text,
        Err(error) => return vec![error],
    };
    let session = sealed.as_ref().map(|sealed| &*sealed.session);
    let mut problems = Vec::new();
    let decoded = format::decode(&text, &mut |hash, size| {
        source.body(path, hash, size, session).or_else(|error| {
            problems.push(error);
            Ok(Bytes::new())
        })
    });
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(flaw) => {
            problems.push(file::flaw_error(path, &text, flaw));
            return problems;
        }
    };
    let faults = decoded.unknown.into_iter().chain(decoded.false_views);
    problems.extend(faults.map(|fault| file::fault_error(path, &text, fault)));
    if problems.is_empty() {
        problems.extend(misnamed(path, &decoded.cassette));
        let sealed = sealed.as_ref().filter(|_| problems.is_empty());
        problems.extend(sealed.and_then(|sealed| file::check_sealed(path, sealed, &decoded.cassette).err()));
        problems.extend(inconsistent(path, &decoded.cassette));
    }
    // Only a text of this very format, read without loss, can be written again.
    if problems.is_empty() && decoded.format <= FORMAT {
        let again = file::render(&decoded.cassette);
        if again != text {
            let at = again.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let what = "regress would write this otherwise: the text differs from here on";
            problems.push(file::fault_error(path, &text, Fault::new(at, what)));
        }
    }
    problems
}

/// A store tells a cassette's id by the name of its file.
fn misnamed(path: &Path, cassette: &Cassette) -> Option<Error> {
    let name = path.file_name()?.to_str()?;
    let id = file::id_of(name)?;
    (id != cassette.id.0).then(|| Error::Misnamed { path: path.to_owned(), id: cassette.id.to_string() })
}

/// The messages that do not read back from their own bytes.
fn inconsistent(path: &Path, cassette: &Cassette) -> Vec<Error> {
    let entry = cassette.entry.iter().map(|entry| ("entry".to_owned(), entry));
    let downstream = cassette.downstream.iter().enumerate().map(|(index, call)| (format!("downstream[{index}]"), call));
    let mut problems = Vec::new();
    for (place, exchange) in entry.chain(downstream) {
        // A message that is known to lack bytes cannot be expected to read back.
        let Some(http) = exchange.http().filter(|_| exchange.defects.is_empty()) else { continue };
        for (message, readable) in [("request", request_reads_back(http)), ("response", response_reads_back(http))] {
            if !readable {
                let place = format!("{place}.{message}");
                problems.push(Error::Inconsistent { path: path.to_owned(), place });
            }
        }
    }
    problems
}

fn request_reads_back(http: &HttpExchange) -> bool {
    if !http.request.is_complete() {
        return true;
    }
    if http.request.is_http2() {
        return is_framed(&http.request);
    }
    let mut reader = RequestReader::new(Limits::default());
    let read = reader.feed(&http.request.wire());
    read.is_ok_and(|messages| messages == [http.request.clone()]) && matches!(reader.finish(), Ok(None))
}

/// Whether the DATA frames of a message of HTTP/2 hold its body (RFC 9113 section 8.1.1 has `content-length` say the same).
fn is_framed(message: &Message) -> bool {
    let length = message.body.len() as u64;
    let is_held = match &message.framing {
        Framing::Empty => length == 0,
        Framing::Length => true,
        Framing::Chunked { chunks, .. } => chunks.iter().map(|chunk| chunk.size).sum::<u64>() == length,
        Framing::Close => false,
    };
    let told = message.header_text("content-length").map(|told| told.parse());
    // A response to HEAD tells the length of a body that is not there.
    is_held && (message.framing == Framing::Empty || told.is_none_or(|told| told == Ok(length)))
}

fn response_reads_back(http: &HttpExchange) -> bool {
    let Some(response) = http.response.as_ref().filter(|response| response.is_complete()) else { return true };
    if response.is_http2() {
        return is_framed(response);
    }
    let expected: Vec<&Message> = http.interim.iter().chain([response]).collect();
    let wire: Vec<u8> = expected.iter().flat_map(|message| message.wire()).collect();
    let mut reader = ResponseReader::new(http.request.method(), Limits::default());
    let Ok(mut read) = reader.feed(&wire) else { return false };
    let rest = reader.remaining().len();
    read.extend(reader.finish());
    rest == 0 && read.iter().eq(expected)
}

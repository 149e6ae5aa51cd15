//! What can go wrong with an object store.

use std::{io, path::PathBuf};

/// Why cassettes could not be sent, fetched or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no object store.
    #[error("{url}: {why}")]
    Url {
        /// What was given, without what may be secret in it.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store said no, or nothing.
    #[error("cannot {action} {at}: {why}")]
    Store {
        /// What was attempted, for example `list`.
        action: &'static str,
        /// The URL of the object, or of what is above it.
        at: String,
        /// What kind of no it is.
        kind: Refusal,
        /// What the store said, or why it could not be asked.
        why: String,
    },
    /// An object of that name is there.
    #[error("{at}: it is there already, and is another one")]
    Taken {
        /// Its URL.
        at: String,
    },
    /// There is nothing below the URL.
    #[error("no recordings at {at}")]
    Nothing {
        /// The URL.
        at: String,
    },
    /// There is more than is read.
    #[error("{at}: {what}")]
    TooMuch {
        /// The URL.
        at: String,
        /// What there is too much of.
        what: String,
    },
    /// What came is not what the store said there would be.
    #[error("{at}: {got} bytes came, not {size}")]
    CutOff {
        /// The object's URL.
        at: String,
        /// The size that the store tells.
        size: u64,
        /// What came.
        got: u64,
    },
    /// A folder for copies.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, for example `write`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder of cassettes.
    #[error(transparent)]
    Cassettes(#[from] regress_cassettes::Error),
    /// A file in the folder of a recording is no part of it.
    #[error("{}: it is no part of a recording", .0.display())]
    Foreign(PathBuf),
    /// The store took longer than there was time.
    #[error("cannot write to {0}: it took too long")]
    TimeOut(String),
    /// Somebody wanted it to end.
    #[error("ended by {0}")]
    Stopped(&'static str),
}

/// What kind of no a store said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such bucket, or no such object.
    NotFound,
    /// The keys do not allow it.
    Denied,
    /// This host does not trust its certificate.
    Untrusted,
    /// It could not be reached, or failed.
    Failed,
}

impl Error {
    pub(crate) fn store(action: &'static str, at: String, source: &object_store::Error) -> Error {
        use object_store::Error as Said;
        let kind = match source {
            Said::NotFound { .. } => Refusal::NotFound,
            Said::PermissionDenied { .. } | Said::Unauthenticated { .. } => Refusal::Denied,
            _ if is_of_certificate(source) => Refusal::Untrusted,
            _ => Refusal::Failed,
        };
        Error::Store { action, at, kind, why: told(source) }
    }

    /// Whether it may go well the next time.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Error::Store { kind: Refusal::Failed, .. } | Error::CutOff { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Url { .. } => {
                "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER; keys and endpoints come from \
                 the environment (docs/stores.md)"
            }
            Error::Store { kind: Refusal::NotFound, .. } => {
                "check the bucket's name, and make it where it is not there"
            }
            Error::Store { kind: Refusal::Denied, .. } => {
                "check the keys in the environment, and what they allow: list, read, write and delete (docs/stores.md)"
            }
            Error::Store { kind: Refusal::Untrusted, .. } => {
                "where the store is the right one, name a file with its authority by SSL_CERT_FILE (docs/stores.md)"
            }
            Error::Store { .. } => {
                "check the network, the endpoint and the keys in the environment (docs/stores.md); what was not sent stays where it is"
            }
            Error::Taken { .. } => "give another name with --name, or --replace it",
            Error::Nothing { .. } => "send some: `regress record --upload URL`, or `regress cassette push DIR URL`",
            Error::TooMuch { .. } => {
                "name less of it: a longer prefix, or one recording; or remove what is old (`cassette prune`)"
            }
            Error::CutOff { .. } => "try again; if it stays so, the object was changed meanwhile, or is damaged",
            Error::Io { .. } => "check that the folder can be written to, and the space on its disk",
            Error::Cassettes(error) => return error.hint(),
            Error::Foreign(_) => "move it elsewhere: the folder is removed once it was sent",
            Error::TimeOut(_) | Error::Stopped(_) => "what was not sent stays where it is",
        };
        Some(hint.to_owned())
    }
}

/// Whether a certificate is what is wrong, as TLS says below the client's and the system's errors.
fn is_of_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // What an error of the system wraps is not its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => is_of_certificate(wrapped),
        None => error.source().is_some_and(is_of_certificate),
    }
}

/// What an error says, and what caused it in the end: each of those between repeats what is below it.
fn told(error: &object_store::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let (whole, cause) = (error.to_string(), deepest.to_string());
    if whole.contains(&cause) { whole } else { format!("{whole}: {cause}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_found_in_what_is_wrapped() {
        let tls = |error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let wrapped = |error| object_store::Error::Generic { store: "S3", source: Box::new(tls(error)) };
        assert!(is_of_certificate(&wrapped(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired))));
        assert!(!is_of_certificate(&wrapped(rustls::Error::DecryptError)));
        assert!(!is_of_certificate(&object_store::Error::Generic { store: "S3", source: "no route".into() }));
    }

    #[test]
    fn the_cause_is_told_once() {
        let refused = || Box::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        let error = object_store::Error::Generic { store: "S3", source: refused() };
        assert_eq!(told(&error), "Generic S3 error: connection refused");
        let denied = object_store::Error::PermissionDenied { path: "a".to_owned(), source: refused() };
        let error = Error::store("list", "s3://a".to_owned(), &denied);
        assert!(matches!(error, Error::Store { kind: Refusal::Denied, .. }));
        assert_eq!(error.to_string().matches("connection refused").count(), 1, "{error}");
        assert!(error.hint().unwrap().contains("keys"));
    }
}

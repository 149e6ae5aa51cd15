//! What can go wrong in a replay or a review.

use std::path::PathBuf;

use regress_cassettes::CassetteId;

use crate::NotResumed;

/// Why a replay or a review could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store or a cassette in it.
    #[error("cannot use the cassettes")]
    Cassettes(#[from] regress_cassettes::Error),
    /// The store holds no cassette.
    #[error("no cassettes in {}", .0.display())]
    NoCassettes(PathBuf),
    /// No entry is selected.
    #[error("no entry matches the filter {}; there are {total}, the first is {first}", quoted(.filters))]
    NothingMatches {
        /// The filters.
        filters: Vec<String>,
        /// How many entries there are.
        total: usize,
        /// Id and route of the first.
        first: String,
    },
    /// The sandbox, the command in it or the certificates it has to trust.
    #[error("cannot run the service in a sandbox")]
    Sandbox(#[from] regress_mockserver::Error),
    /// A folder for the run's own files.
    #[error("cannot make a temporary folder")]
    Folder(#[source] std::io::Error),
    /// An interrupted replay cannot be gone on with.
    #[error("cannot go on with the interrupted replay")]
    NotResumed(#[source] NotResumed),
    /// A worker has no runtime.
    #[error("cannot start a replay worker")]
    Runtime(#[source] std::io::Error),
    /// A worker died.
    #[error("a replay worker ended early")]
    Worker(#[source] tokio::task::JoinError),
    /// A path that names no difference.
    #[error("nothing differs at {path} in {cassette}")]
    NoSuchChange {
        /// The cassette.
        cassette: CassetteId,
        /// The path.
        path: String,
        /// The paths there are.
        paths: Vec<String>,
    },
    /// A proposal that was made from what the cassette is not any more.
    #[error("the proposal for {0} was made from another version of that cassette")]
    Stale(CassetteId),
    /// Differences that cannot be taken apart.
    #[error("cannot accept {} apart from the rest of the message", .paths.join(", "))]
    NotAlone {
        /// Their paths.
        paths: Vec<String>,
        /// The paths of what they can be accepted with.
        with: Vec<String>,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Cassettes(error) => error.hint(),
            Error::NoCassettes(_) => Some("record some first: regress record -o DIR -- COMMAND".to_owned()),
            Error::NothingMatches { .. } => {
                Some("the filter is a part of the route or id, or a pattern with * and ?".to_owned())
            }
            Error::Sandbox(error) => error.hint(),
            Error::Folder(_) => Some("check TMPDIR".to_owned()),
            Error::NotResumed(NotResumed::InUse) => Some("wait for it, or replay another shard".to_owned()),
            Error::NotResumed(_) => Some("begin anew: replay without --resume".to_owned()),
            Error::Runtime(_) => Some("are there descriptors left? ulimit -n, or fewer --jobs".to_owned()),
            Error::Worker(_) => None,
            Error::NoSuchChange { paths, .. } => Some(format!("what differs: {}", paths.join(", "))),
            Error::Stale(id) => {
                Some(format!("replay again to have it made anew, or reject it: regress review DIR --reject {id}"))
            }
            Error::NotAlone { with, .. } if with.is_empty() => {
                Some("accept the whole body, the whole message or the whole cassette".to_owned())
            }
            Error::NotAlone { with, .. } => {
                const MOST: usize = 8;
                let more = if with.len() > MOST { format!(" and {} more", with.len() - MOST) } else { String::new() };
                let with = with[..with.len().min(MOST)].join(", ");
                Some(format!(
                    "it is written in one piece with what else differs there, so accept that with it: {with}{more}"
                ))
            }
        }
    }
}

fn quoted(filters: &[String]) -> String {
    filters.iter().map(|filter| format!("{filter:?}")).collect::<Vec<_>>().join(" or ")
}

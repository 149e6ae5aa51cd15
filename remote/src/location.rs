//! What a URL stands for.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectMeta, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, local::LocalFileSystem, path::Path,
};
use regress_cassettes::PACK_SUFFIX;
use url::Url;

use crate::Error;

/// Whether an argument is meant as a URL and not as a path.
pub fn is_url(argument: &str) -> bool {
    let scheme = argument.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A place in an object store, below which recordings are.
#[derive(Clone)]
pub struct Location {
    /// Without a password or a query.
    shown: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// An object of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its path below the location.
    pub name: String,
    pub meta: ObjectMeta,
}

/// What is at or below a location.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Recordings, by name, which is by time where recorders named them.
    pub recordings: Vec<Object>,
    /// Marks of recordings that have begun, and have not been sent.
    pub begun: Vec<Object>,
}

/// So many objects are listed at most.
const MOST_OBJECTS: usize = 1 << 20;

/// How the name of the mark of a recording ends.
pub(crate) const MARK: &str = ".recording";

impl Object {
    /// The recording's name.
    pub fn recording(&self) -> &str {
        [PACK_SUFFIX, MARK].iter().find_map(|suffix| self.name.strip_suffix(suffix)).unwrap_or(&self.name)
    }
}

impl Location {
    /// What a URL stands for. Keys, regions and endpoints come from the environment, in the variables that the tools of each
    /// store have (`AWS_*`, `GOOGLE_*`, `AZURE_*`).
    ///
    /// # Errors
    /// When it names no store that there is, or its settings contradict each other. Nothing is asked of the store.
    pub fn open(text: &str) -> Result<Location, Error> {
        let shown = shown(text);
        let refused = |why: String| Error::Url { url: shown.clone(), why };
        let url = Url::parse(text).map_err(|error| refused(format!("this is no URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
            return Err(refused("a URL with a password, a query or a fragment is not taken".to_owned()));
        }
        let (scheme, prefix) =
            ObjectStoreScheme::parse(&url).map_err(|_| refused("there is no such store".to_owned()))?;
        // Whoever has said for all of the process which TLS there is has said so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built: Result<Arc<dyn ObjectStore>, object_store::Error> = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(text).with_retry(retries());
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(text).with_retry(retries());
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(text).with_retry(retries());
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::Local => Ok(Arc::new(LocalFileSystem::new())),
            _ => return Err(refused("there is no such store".to_owned())),
        };
        let store = built.map_err(|error| refused(error.to_string()))?;
        Ok(Location { shown: shown.trim_end_matches('/').to_owned(), store, prefix })
    }

    /// The URL of something below it.
    pub(crate) fn url_of(&self, name: &str) -> String {
        if name.is_empty() { self.shown.clone() } else { format!("{}/{name}", self.shown) }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn path_of(&self, name: &str) -> Path {
        self.prefix.parts().chain(name.split('/').map(Into::into)).collect()
    }

    pub(crate) fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> Error + use<> {
        let at = self.url_of(name);
        move |source| Error::store(action, at, &source)
    }

    /// What is at or below it.
    pub(crate) async fn contents(&self) -> Result<Contents, Error> {
        patiently(async || self.listed().await).await
    }

    async fn listed(&self) -> Result<Contents, Error> {
        use futures_util::{StreamExt as _, TryStreamExt as _};
        let listed = self.store.list(Some(&self.prefix)).take(MOST_OBJECTS + 1).try_collect::<Vec<_>>().await;
        let mut listed = listed.map_err(self.failed("list", ""))?;
        if listed.len() > MOST_OBJECTS {
            return Err(Error::TooMuch { at: self.to_string(), what: format!("more than {MOST_OBJECTS} objects") });
        }
        if listed.is_empty() && self.prefix.as_ref().ends_with(PACK_SUFFIX) {
            // The URL names one of them.
            listed.push(self.store.head(&self.prefix).await.map_err(self.failed("find", ""))?);
        }
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let mut contents = Contents::default();
        for meta in listed {
            let Some(below) = meta.location.prefix_match(&self.prefix) else { continue };
            let name = below.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            match meta.location.filename() {
                Some(file) if file.ends_with(PACK_SUFFIX) => contents.recordings.push(Object { name, meta }),
                Some(file) if file.ends_with(MARK) => contents.begun.push(Object { name, meta }),
                _ => {}
            }
        }
        let sent: HashSet<String> = contents.recordings.iter().map(|object| object.recording().to_owned()).collect();
        contents.begun.retain(|mark| !sent.contains(mark.recording()));
        Ok(contents)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.shown).finish()
    }
}

/// A URL without what may be secret in it.
fn shown(text: &str) -> String {
    // Of what is no URL nobody knows where the secret is.
    let Ok(mut url) = Url::parse(text) else {
        let (scheme, _) = text.split_once("://").unwrap_or_default();
        return format!("{scheme}://..");
    };
    // Where it has a container in place of a name, that is no secret.
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Does something again where an answer broke off, which is not tried again as a request is.
pub(crate) async fn patiently<T>(attempt: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for pause in PAUSES {
        match attempt().await {
            Err(error) if error.may_pass() => {
                tracing::debug!("{error}: tried again");
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
    attempt().await
}

/// Between one attempt and the next.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// How one request is tried again: a store that is away for some seconds is waited for.
fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: 8, retry_timeout: Duration::from_secs(30) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://bucket/prefix", "gs://bucket", "az://container/a", "file:///srv/cassettes", "ftp://x"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["cassettes", "./a", "/a/b", "a:b", "://x", "a b://c", ""] {
            assert!(!is_url(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_store_is_refused_and_no_secret_told() {
        for (url, why) in [
            ("ftp://host/x", "no such store"),
            ("https://example.org/x", "no such store"),
            ("memory:///x", "no such store"),
            ("s3://", "no such store"),
            ("s3://name:hunter2@bucket/x", "a password"),
            ("s3://bucket/x?X-Amz-Signature=hunter2", "a query"),
            ("s3://bad host:hunter2@/x", "no URL"),
        ] {
            let error = Location::open(url).unwrap_err();
            let told = format!("{error} {error:?} {}", error.hint().unwrap());
            assert!(told.contains(why), "{url}: {told}");
            assert!(!told.contains("hunter2"), "{url}: {told}");
        }
    }

    #[test]
    fn names_are_below_the_prefix() {
        let location = Location::open("file:///srv/cassettes/").unwrap();
        assert_eq!(location.to_string(), "file:///srv/cassettes");
        assert_eq!(location.path_of("a.zst").as_ref(), "srv/cassettes/a.zst");
        assert_eq!(location.url_of("a.zst"), "file:///srv/cassettes/a.zst");
    }
}

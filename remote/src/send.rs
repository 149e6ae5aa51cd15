//! From a folder to the store.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, PutPayload, WriteMultipart};
use regress_cassettes::{PACK_SUFFIX, Pack};
use sha2::{Digest as _, Sha256};

use crate::{Error, Location, location::patiently};

/// The size of the parts in which what is larger is sent: S3 takes 10,000 of them, of 5 MiB and more.
const PART: usize = 16 << 20;
/// How many parts are on their way at a time.
const PARTS_AT_ONCE: usize = 3;

/// A recording that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its URL.
    pub at: String,
    /// Its bytes.
    pub bytes: u64,
    /// Whether the same was there already.
    pub was_there: bool,
    /// What is in the folder and no part of the recording, and was not sent.
    pub left_out: Vec<std::path::PathBuf>,
}

/// Send a folder of cassettes, or a packed one, as the recording of this name. One of the name that is there already is replaced
/// where that is asked for.
///
/// # Errors
/// When the folder cannot be packed (a recording into it has not ended, a proposal waits for review), another recording has the
/// name, or the store refuses.
pub async fn push(folder: &Path, location: &Location, name: &str, replace: bool) -> Result<Sent, Error> {
    if Pack::is_at(folder) {
        Pack::open(folder)?;
        return patiently(async || send(folder, location, name, replace).await).await;
    }
    let failed = |source| Error::Io { action: "make a folder in", path: std::env::temp_dir(), source };
    let scratch = tempfile::tempdir().map_err(failed)?;
    let packed = scratch.path().join(format!("packed{PACK_SUFFIX}"));
    let left_out = regress_cassettes::pack(folder, &packed)?.left_out;
    let sent = patiently(async || send(&packed, location, name, replace).await).await?;
    Ok(Sent { left_out, ..sent })
}

/// Send a packed folder. It is in the store as a whole or not at all.
pub(crate) async fn send(packed: &Path, location: &Location, name: &str, replace: bool) -> Result<Sent, Error> {
    let name = format!("{name}{PACK_SUFFIX}");
    let at = location.url_of(&name);
    let path = location.path_of(&name);
    let failed = |source| Error::Io { action: "read", path: packed.to_owned(), source };
    let mut file = File::open(packed).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let sent = Sent { at: at.clone(), bytes, was_there: false, left_out: Vec::new() };
    if !replace {
        match location.store().head(&path).await {
            Ok(found) if found.size == bytes && is_same(packed, location, &name).await? => {
                return Ok(Sent { was_there: true, ..sent });
            }
            Ok(_) => return Err(Error::Taken { at }),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(location.failed("look for", &name)(error)),
        }
    }
    if bytes <= PART as u64 {
        let mut content = Vec::with_capacity(bytes as usize);
        file.read_to_end(&mut content).map_err(failed)?;
        let mode = if replace { PutMode::Overwrite } else { PutMode::Create };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = location.store().put_opts(&path, PutPayload::from(content), options).await;
        return match put {
            Ok(_) => Ok(sent),
            // The answer to an earlier try was lost, or somebody was sooner.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                match is_same(packed, location, &name).await? {
                    true => Ok(sent),
                    false => Err(Error::Taken { at }),
                }
            }
            Err(error) => Err(location.failed("write", &name)(error)),
        };
    }
    let upload = location.store().put_multipart(&path).await.map_err(location.failed("write", &name))?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
    loop {
        let part = match read_part(&mut file) {
            Ok(part) => part,
            Err(source) => {
                let _ = upload.abort().await;
                return Err(failed(source));
            }
        };
        if part.is_empty() {
            break;
        }
        upload.wait_for_capacity(PARTS_AT_ONCE).await.map_err(location.failed("write", &name))?;
        upload.put(part);
    }
    upload.finish().await.map_err(location.failed("write", &name))?;
    Ok(sent)
}

fn read_part(file: &mut File) -> io::Result<Bytes> {
    let mut part = BytesMut::zeroed(PART);
    let mut filled = 0;
    while filled < PART {
        match file.read(&mut part[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    part.truncate(filled);
    Ok(part.freeze())
}

/// Whether the object has the file's content.
async fn is_same(packed: &Path, location: &Location, name: &str) -> Result<bool, Error> {
    use futures_util::TryStreamExt as _;
    let failed = |source| Error::Io { action: "read", path: packed.to_owned(), source };
    let found = location.store().get(&location.path_of(name)).await.map_err(location.failed("read", name))?;
    let mut theirs = Sha256::new();
    let mut parts = found.into_stream();
    while let Some(part) = parts.try_next().await.map_err(location.failed("read", name))? {
        theirs.update(&part);
    }
    let (mut ours, mut file) = (Sha256::new(), File::open(packed).map_err(failed)?);
    loop {
        let part = read_part(&mut file).map_err(failed)?;
        if part.is_empty() {
            return Ok(ours.finalize() == theirs.finalize());
        }
        ours.update(&part);
    }
}

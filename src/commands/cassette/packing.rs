//! `regress cassette pack` and `unpack`.

use std::path::{Path, PathBuf};

use regress_cassettes::PACK_SUFFIX;

use super::{counted, failure};
use crate::output::{self, Exit, Failure};

pub fn pack(folder: &Path, to: Option<PathBuf>) -> Result<Exit, Failure> {
    let to = match to {
        Some(to) if to.to_string_lossy().ends_with(PACK_SUFFIX) => to,
        Some(to) => {
            return Err(Failure::new(format_args!("{}: packed folders end in {PACK_SUFFIX}", to.display()))
                .hint("that is how they are told from cassette files"));
        }
        None => beside(folder)?,
    };
    let packed = regress_cassettes::pack(folder, &to).map_err(failure)?;
    for path in &packed.left_out {
        output::say(format_args!("warning: left out, as no file of a folder of cassettes: {}", path.display()));
    }
    let (files, path) = (counted(packed.files, "file"), to.display());
    output::say(format_args!("{path}: {files}, {} bytes in {}", packed.bytes, packed.packed));
    Ok(Exit::Same)
}

/// `DIR.cassettes.zst`, also where DIR is written `dir/` or `.`.
fn beside(folder: &Path) -> Result<PathBuf, Failure> {
    let name = folder.file_name().ok_or_else(|| {
        Failure::new(format_args!("{} has no name to give to the file", folder.display())).hint("name the file with -o")
    })?;
    let mut file = name.to_owned();
    file.push(PACK_SUFFIX);
    Ok(folder.with_file_name(file))
}

pub fn unpack(file: &Path, to: Option<PathBuf>) -> Result<Exit, Failure> {
    let stem = || Some(file.with_file_name(file.file_name()?.to_str()?.strip_suffix(PACK_SUFFIX)?));
    let to = to.or_else(stem).ok_or_else(|| {
        Failure::new(format_args!("{} does not end in {PACK_SUFFIX}", file.display())).hint("name the folder with -o")
    })?;
    let files = regress_cassettes::unpack(file, &to).map_err(failure)?;
    output::say(format_args!("{}: {}", to.display(), counted(files, "file")));
    Ok(Exit::Same)
}

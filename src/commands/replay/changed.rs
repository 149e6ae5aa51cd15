//! What of a folder of cassettes differs from a revision, asked of git.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use regress_cassettes::{AMBIENT_FILE, BODIES, seal::SEALED_SUFFIX};
use regress_replayer::{Changed, Extent};

use crate::output::Failure;

/// How many digits of a commit are shown.
const SHORT: usize = 12;

/// What differs in the folder `store` from `revision`, or else from where the branch left the default branch.
/// `settings` are the places of `regress.toml` that were looked at.
///
/// # Errors
/// Without git, outside a repository, without such a revision.
pub fn since(store: &Path, revision: Option<&str>, settings: &[PathBuf]) -> Result<Changed, Failure> {
    let git = Git { folder: store };
    git.ask(&["rev-parse", "--git-dir"])?.map_err(|why| {
        Failure::new(format_args!("git knows nothing of {}: {why}", store.display()))
            .hint("--changed-only compares with what git has: leave it out, or replay a folder of a repository")
    })?;
    let Base { commit, name } = match revision {
        Some(revision) => named(git, revision)?,
        None => default_base(git)?,
    };
    let extent = extent(git, &commit, settings)?;
    Ok(Changed { since: format!("{name} ({})", &commit[..SHORT.min(commit.len())]), extent })
}

/// The commit to compare with.
struct Base {
    /// Its full id.
    commit: String,
    /// What it is.
    name: String,
}

fn named(git: Git<'_>, revision: &str) -> Result<Base, Failure> {
    let commit = git.commit(revision)?.ok_or_else(|| {
        Failure::new(format_args!("git has no revision {revision:?} in {}", git.folder.display())).hint(
            "fetch it first (git fetch origin BRANCH; in CI fetch the whole history), or name another: --changed-only=REV",
        )
    })?;
    Ok(Base { commit, name: revision.to_owned() })
}

/// Where the branch left the default branch; the last commit, where there is no default branch.
fn default_base(git: Git<'_>) -> Result<Base, Failure> {
    let history = "fetch the whole history (actions/checkout: fetch-depth: 0; GitLab: GIT_DEPTH: 0), \
                   or name a revision: --changed-only=REV";
    let Some(branch) = default_branch(git)? else {
        if git.ask(&["rev-parse", "--is-shallow-repository"])?.is_ok_and(|answer| answer.starts_with(b"true")) {
            return Err(Failure::new("git has no default branch here, only the end of a history").hint(history));
        }
        let commit = git.commit("HEAD")?.ok_or_else(|| {
            Failure::new("git has no commit to compare with yet").hint("leave out --changed-only: everything is new")
        })?;
        return Ok(Base { commit, name: "HEAD".to_owned() });
    };
    let found = git.ask(&["merge-base", "HEAD", &branch])?;
    let commit =
        found.ok().map(|answer| line(&answer)).filter(|commit| !commit.is_empty()).ok_or_else(|| {
            Failure::new(format_args!("git does not know where this branch left {branch}")).hint(history)
        })?;
    Ok(Base { commit, name: format!("the merge base with {branch}") })
}

fn default_branch(git: Git<'_>) -> Result<Option<String>, Failure> {
    if let Ok(branch) = git.ask(&["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"])?
        && git.commit(&line(&branch))?.is_some()
    {
        return Ok(Some(line(&branch)));
    }
    for branch in ["origin/main", "origin/master", "main", "master"] {
        if git.commit(branch)?.is_some() {
            return Ok(Some(branch.to_owned()));
        }
    }
    Ok(None)
}

fn extent(git: Git<'_>, commit: &str, settings: &[PathBuf]) -> Result<Extent, Failure> {
    for file in settings {
        if differs(commit, file)? {
            return Ok(Extent::All(format!("{} differs", file.display())));
        }
    }
    let differing = git.differing(commit, Path::new("."))?;
    let untracked = git.must(&["ls-files", "--others", "-z", "--", "."])?;
    let changes = changes(&differing).chain(parts(&untracked).map(|file| (Change::Added, path(file))));
    let mut files = BTreeSet::new();
    for (change, file) in changes {
        // A body has the name of its content, so that a cassette with another body is another cassette.
        let is_broken_body = change == Change::Other && file.starts_with(BODIES);
        let is_ambient =
            file.to_str().is_some_and(|file| file.strip_suffix(SEALED_SUFFIX).unwrap_or(file) == AMBIENT_FILE);
        if is_ambient || is_broken_body {
            return Ok(Extent::All(format!("{} differs", file.display())));
        }
        files.insert(file);
    }
    Ok(Extent::Files(files))
}

/// Whether a file, which need not exist, is another one than in a commit, or in no repository that has the commit.
fn differs(commit: &str, file: &Path) -> Result<bool, Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (git, name) = (Git { folder }, Path::new(file.file_name().unwrap_or_default()));
    let is_known = folder.is_dir() && git.commit(commit)?.is_some();
    if !is_known {
        return Ok(file.exists());
    }
    if !git.differing(commit, name)?.is_empty() {
        return Ok(true);
    }
    let is_tracked = git.run(&["ls-files", "-z", "--"], Some(name))?.is_ok_and(|answer| !answer.is_empty());
    Ok(file.exists() && !is_tracked)
}

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The revision does not have it.
    Added,
    /// It is gone, or another one.
    Other,
}

/// What `git diff --name-status -z --no-renames` says: a status and a path, each ended by a NUL.
fn changes(output: &[u8]) -> impl Iterator<Item = (Change, PathBuf)> {
    let mut parts = parts(output);
    std::iter::from_fn(move || {
        let (status, file) = (parts.next()?, parts.next()?);
        Some((if status == b"A" { Change::Added } else { Change::Other }, path(file)))
    })
}

fn parts(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The first line of an answer.
fn line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).lines().next().unwrap_or_default().trim().to_owned()
}

/// git, in a folder.
#[derive(Clone, Copy)]
struct Git<'a> {
    folder: &'a Path,
}

impl Git<'_> {
    /// The commit that a revision names.
    fn commit(self, revision: &str) -> Result<Option<String>, Failure> {
        let commit = format!("{revision}^{{commit}}");
        Ok(self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])?.ok().map(|id| line(&id)))
    }

    /// What differs from a commit at or below a path of this folder, as [`changes`] reads it.
    fn differing(self, commit: &str, path: &Path) -> Result<Vec<u8>, Failure> {
        let diff = ["diff", "--no-ext-diff", "--no-renames", "--name-status", "-z", "--relative", commit, "--"];
        self.run(&diff, Some(path))?.map_err(|why| self.failed("diff", &why))
    }

    fn must(self, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        self.ask(arguments)?.map_err(|why| self.failed(arguments[0], &why))
    }

    fn failed(self, what: &str, why: &str) -> Failure {
        Failure::new(format_args!("git {what} in {} failed: {why}", self.folder.display()))
            .hint("leave out --changed-only to replay everything")
    }

    /// What git answers, or what it says is wrong.
    fn ask(self, arguments: &[&str]) -> Result<Result<Vec<u8>, String>, Failure> {
        self.run(arguments, None)
    }

    fn run(self, arguments: &[&str], path: Option<&Path>) -> Result<Result<Vec<u8>, String>, Failure> {
        let mut command = Command::new("git");
        command.args(["--no-optional-locks", "--literal-pathspecs", "-C"]).arg(self.folder).args(arguments).args(path);
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            Failure::new(format_args!("cannot run git: {error}")).hint("install git, or leave out --changed-only")
        })?;
        let said = || line(&output.stderr).trim_start_matches("fatal: ").to_owned();
        Ok(if output.status.success() { Ok(output.stdout) } else { Err(said()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_read_whatever_the_names() {
        let read: Vec<_> = changes(b"M\0a b/c\n.json\0A\0x\xff\0D\0gone\0").collect();
        let expected =
            [(Change::Other, path(b"a b/c\n.json")), (Change::Added, path(b"x\xff")), (Change::Other, path(b"gone"))];
        assert_eq!(read, expected);
        assert_eq!(changes(b"").count(), 0);
        assert_eq!(changes(b"M\0").count(), 0);
    }
}

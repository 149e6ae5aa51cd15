//! Where a service looks for the certificates that it trusts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::wire::Instructions;
use crate::tls::{SYSTEM_BUNDLES, TrustFiles};

/// Where the trust files are inside: readable for a service that changes its user, and gone with the sandbox.
const INSIDE: &str = "/run/regress";
/// Bounds of the search below the working directory.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 20_000;

/// Variables that name a file of all trusted certificates.
const BUNDLE_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// The variable that names a file of certificates to trust beside those that Node.js has built in.
const NODE: &str = "NODE_EXTRA_CA_CERTS";
/// The variable that names the only certificates that libpq trusts, and has it look at them.
const POSTGRES: &str = "PGSSLROOTCERT";

/// Makes the service trust our authority: files over those that it would read, and variables for runtimes with built-in
/// certificates. Where real servers answer as well (not all are `played`), what trusts nothing else is left alone.
pub(super) fn install(
    files: &TrustFiles,
    played: bool,
    program: &Path,
    cwd: &Path,
    env: &mut Vec<(OsString, OsString)>,
    instructions: &mut Instructions,
) {
    let variable = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| PathBuf::from(value));
    let mut places = Places::default();
    places.system();
    let python_path = variable("PYTHONPATH").unwrap_or_default();
    places.packages(std::env::split_paths(&python_path));
    places.python(program, cwd, variable("VIRTUAL_ENV"), variable("HOME"));
    places.java(program, variable("JAVA_HOME"));
    let bind = |(source, targets): (&Path, Vec<PathBuf>)| {
        targets
            .into_iter()
            .map(|target| (source.to_owned().into_os_string(), target.into_os_string()))
            .collect::<Vec<_>>()
    };
    instructions.binds.extend(bind((&files.bundle, places.bundles)));
    instructions.binds.extend(bind((&files.java, places.keystores)));

    let mut inside = |file: &Path| {
        let Some(name) = file.file_name().filter(|_| Path::new("/run").is_dir()) else { return file.to_owned() };
        let target = Path::new(INSIDE).join(name);
        instructions.copies.push((file.to_owned().into_os_string(), target.clone().into_os_string()));
        target
    };
    let (bundle, authority) = (inside(&files.bundle), inside(&files.authority));
    let authorities: &[&str] = if played { &[NODE, POSTGRES] } else { &[NODE] };
    let bundles = BUNDLE_VARIABLES.iter().map(|name| (*name, &bundle));
    let set: Vec<(&str, &PathBuf)> = bundles.chain(authorities.iter().map(|name| (*name, &authority))).collect();
    env.retain(|(name, _)| name != "SSL_CERT_DIR" && set.iter().all(|(ours, _)| name != ours));
    env.extend(set.into_iter().map(|(name, file)| (name.into(), file.into())));
}

/// Existing files, links resolved, each once.
#[derive(Debug, Default)]
struct Places {
    bundles: Vec<PathBuf>,
    keystores: Vec<PathBuf>,
}

impl Places {
    fn bundle(&mut self, path: &Path) {
        add(&mut self.bundles, path);
    }

    fn system(&mut self) {
        for path in SYSTEM_BUNDLES {
            self.bundle(Path::new(path));
        }
    }

    /// The certificates that come with Python packages (certifi, its copy in pip, botocore).
    fn python(&mut self, program: &Path, cwd: &Path, virtual_env: Option<PathBuf>, home: Option<PathBuf>) {
        let mut prefixes: Vec<PathBuf> = ["/usr", "/usr/local"].map(PathBuf::from).into();
        prefixes.extend(virtual_env);
        for program in [Some(program.to_owned()), fs::canonicalize(program).ok()].into_iter().flatten() {
            // PREFIX/bin/program
            prefixes.extend(program.ancestors().nth(2).map(Path::to_owned));
        }
        // pyenv's programs are scripts that choose one of the versions beside them.
        prefixes.extend(home.iter().flat_map(|home| children(&home.join(".pyenv/versions"))));
        for prefix in prefixes {
            let libraries = children(&prefix.join("lib"));
            self.packages(
                libraries.iter().flat_map(|library| ["site-packages", "dist-packages"].map(|name| library.join(name))),
            );
        }
        let mut left = MAX_ENTRIES;
        self.search(cwd, 1, &mut left);
    }

    fn packages(&mut self, directories: impl Iterator<Item = PathBuf>) {
        for directory in directories {
            for file in ["certifi/cacert.pem", "pip/_vendor/certifi/cacert.pem", "botocore/cacert.pem"] {
                self.bundle(&directory.join(file));
            }
        }
    }

    fn search(&mut self, directory: &Path, depth: usize, left: &mut usize) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let name = entry.file_name();
            let Ok(file_type) = entry.file_type() else { continue };
            if name == "cacert.pem" {
                self.bundle(&entry.path());
            } else if file_type.is_dir()
                && depth < MAX_DEPTH
                && name != ".git"
                && name != "node_modules"
                && name != "target"
            {
                self.search(&entry.path(), depth + 1, left);
            }
        }
    }

    /// The keystore of every Java found: the one that runs, `JAVA_HOME`, and those under `/usr/lib/jvm`.
    fn java(&mut self, program: &Path, java_home: Option<PathBuf>) {
        let mut homes = children(Path::new("/usr/lib/jvm"));
        homes.extend(java_home);
        for java in [program, Path::new("/usr/bin/java"), Path::new("/usr/local/bin/java")] {
            // HOME/bin/java
            homes.extend(fs::canonicalize(java).ok().and_then(|java| java.ancestors().nth(2).map(Path::to_owned)));
        }
        for home in homes {
            for file in ["lib/security/cacerts", "jre/lib/security/cacerts"] {
                add(&mut self.keystores, &home.join(file));
            }
        }
        add(&mut self.keystores, Path::new("/etc/ssl/certs/java/cacerts"));
    }
}

fn add(places: &mut Vec<PathBuf>, path: &Path) {
    if let Ok(path) = fs::canonicalize(path)
        && path.is_file()
        && !places.contains(&path)
    {
        places.push(path);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_a_virtual_environment_are_found_by_program_and_by_search() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let in_venv = root.join("venv/lib/python3.11/site-packages/certifi/cacert.pem");
        let deep = root.join("app/vendor/certifi/cacert.pem");
        for file in [&in_venv, &deep] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let mut places = Places::default();
        places.python(&root.join("venv/bin/gunicorn"), &root.join("app"), None, None);
        assert!(places.bundles.contains(&in_venv));
        assert!(places.bundles.contains(&deep));
    }

    #[test]
    fn variables_name_our_files_and_the_directory_of_certificates_is_gone() {
        let files = TrustFiles {
            bundle: "/tmp/x/bundle.pem".into(),
            authority: "/tmp/x/ca.pem".into(),
            java: "/tmp/x/java.jks".into(),
        };
        let mut env = vec![("SSL_CERT_DIR".into(), "/etc/ssl".into()), ("PIP_CERT".into(), "old".into())];
        let mut install = |played| {
            install(&files, played, Path::new("/bin/true"), Path::new("/dev"), &mut env, &mut Instructions::default());
            env.clone()
        };
        assert!(install(false).iter().all(|(name, _)| name != "PGSSLROOTCERT"));
        let env = install(true);
        let value =
            |name: &str| env.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect::<Vec<_>>();
        assert!(value("SSL_CERT_DIR").is_empty());
        assert_eq!(value("PIP_CERT").len(), 1);
        assert!(Path::new(value("PIP_CERT")[0]).ends_with("bundle.pem"));
        assert!(Path::new(value("NODE_EXTRA_CA_CERTS")[0]).ends_with("ca.pem"));
        assert!(Path::new(value("PGSSLROOTCERT")[0]).ends_with("ca.pem"));
    }
}

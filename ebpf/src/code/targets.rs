//! The code to probe in the processes that are followed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use object::ReadCache;

use crate::joined::monotonic_now;

use super::file::{self, Bounded, Budget};
use super::python::{PythonLayout, PythonProgram};
use super::{CurrentTask, GoroutineFields, Inspected, Php, ProbePoint, inspect, maps};

/// Which files have been looked into.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    inside_tls: bool,
    files: HashMap<Identity, Known>,
    /// The same by what `/proc/PID/maps` says.
    mapped: HashMap<String, Known>,
    /// Folders of Python's packages that were looked into.
    packages: HashSet<PathBuf>,
    /// A file that is not looked into for now.
    passed_over: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(file: &File) -> Option<Identity> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What is known of a file with code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    /// Since when its TLS is read.
    readable_since: Option<u64>,
    goroutines: Option<GoroutineFields>,
    php: Option<Php>,
    python: Option<PythonLayout>,
    /// Of a program with tokio: where the current task stands.
    tokio: Option<CurrentTask>,
}

/// What is known of all code of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    /// Since when its TLS is read, all of it (monotonic, in nanoseconds).
    pub(crate) readable_since: Option<u64>,
    /// Of a Go program.
    pub(crate) goroutines: Option<GoroutineFields>,
    /// It takes one request at a time.
    pub(crate) one_by_one: bool,
    /// Of the Python interpreter.
    pub(crate) python: Option<PythonProgram>,
    /// Of a program with tokio: where the current task stands.
    pub(crate) tokio: Option<CurrentTask>,
}

/// Where distributions and images put libssl. It is probed before anything loads it, because a short-lived process has said
/// all it has to say by the time its libraries have been looked into.
const LIBRARY_FOLDERS: [&str; 7] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib64",
    "usr/lib",
    "usr/local/lib",
    "usr/local/lib64",
];
const LIBSSL: [&str; 2] = ["libssl.so.3", "libssl.so.1.1"];
/// How the name of each copy of libssl begins: those that packages bring along have a hash in theirs.
const LIBSSL_NAME: &str = "libssl";
/// Where the packages of a Python program are, below `PREFIX/lib/python3.x`, for `PREFIX/bin/PROGRAM`.
const PACKAGE_FOLDERS: [&str; 2] = ["site-packages", "dist-packages"];
/// Where a package of Python keeps the libraries that it brings along (auditwheel).
const PACKAGE_LIBRARIES: &str = ".libs";

impl Targets {
    /// `inside_tls`: whether to probe what reads TLS.
    pub(crate) fn new(inside_tls: bool) -> Targets {
        Targets { inside_tls, ..Targets::default() }
    }

    /// Whether the program of this process is passed over: a child of it that is about to run another one still runs that.
    pub(crate) fn pass_over_own(&mut self, pass: bool) {
        let own = || file::open("/proc/self/exe").ok().as_ref().and_then(identity);
        self.passed_over = pass.then(own).flatten();
    }

    fn is_passed_over(&self, file: &File) -> bool {
        self.passed_over.is_some() && identity(file) == self.passed_over
    }

    /// What is known of the program of a process that was looked at before, but for what its libraries say.
    pub(crate) fn program(&self, pid: u32) -> Option<Code> {
        let program = file::open(format!("/proc/{pid}/exe")).ok()?;
        if self.is_passed_over(&program) {
            return None;
        }
        let known = self.files.get(&identity(&program)?)?;
        Some(Code { goroutines: known.goroutines, tokio: known.tokio, ..Code::default() })
    }

    /// Looks at the code that a process has mapped, and has `attach` probe what is new (with a number of its own for each
    /// file). A process that is gone, or a file that cannot be probed, has none.
    pub(crate) fn scan(&mut self, pid: u32, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) -> Code {
        let mut code = Code::default();
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if let Some(program) = arguments.split(|byte| *byte == 0).next().and_then(|program| program.strip_prefix(b"/"))
        {
            let program = Path::new(&format!("/proc/{pid}/root")).join(OsStr::from_bytes(program));
            self.expect_packages(&program, attach);
        }
        let mut code_files = maps::executable(pid).unwrap_or_default();
        // What says something before long comes first: looking into a file takes a while.
        code_files.sort_by_key(|mapped| !is_libssl(&mapped.path));
        for mapped in code_files {
            // Within one mount; another mount may use the same numbers for another file.
            let known = match self.mapped.get(&mapped.file) {
                Some(known) => *known,
                None => {
                    let Ok(file) = mapped.open(pid) else { continue };
                    if self.is_passed_over(&file) {
                        continue;
                    }
                    let known = self.known(&file, attach);
                    self.mapped.insert(mapped.file, known);
                    known
                }
            };
            code.readable_since = code.readable_since.max(known.readable_since);
            code.one_by_one |= known.php.is_some_and(|php| php.is_one_by_one(&arguments));
            if let Some(layout) = known.python {
                code.python = Some(layout.loaded(mapped.start, mapped.offset));
            }
        }
        // Not that of a library, which keeps the current goroutine or task elsewhere.
        if let Ok(program) = file::open(format!("/proc/{pid}/exe"))
            && !self.is_passed_over(&program)
        {
            let known = self.known(&program, attach);
            (code.goroutines, code.tokio) = (known.goroutines, known.tokio);
        }
        code
    }

    /// Looks at the libraries that the process may come to load.
    pub(crate) fn expect_libraries(&mut self, pid: u32, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) {
        if !self.inside_tls {
            return;
        }
        for folder in LIBRARY_FOLDERS {
            for name in LIBSSL {
                if let Ok(file) = file::open(format!("/proc/{pid}/root/{folder}/{name}")) {
                    self.look(&file, attach);
                }
            }
        }
    }

    /// Looks at the copies of libssl that packages of Python bring along, where it is a Python program or a script of one.
    pub(crate) fn expect_packages(
        &mut self,
        program: &Path,
        attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool,
    ) {
        // PREFIX/bin/PROGRAM
        let Some(prefix) = program.ancestors().nth(2).filter(|_| self.inside_tls) else { return };
        let pythons = children(&prefix.join("lib")).filter(|folder| begins(folder, "python3"));
        for packages in pythons.flat_map(|python| PACKAGE_FOLDERS.map(|name| python.join(name))) {
            if !self.packages.insert(packages.clone()) {
                continue;
            }
            let libraries = children(&packages)
                .filter(|folder| folder.as_os_str().as_bytes().ends_with(PACKAGE_LIBRARIES.as_bytes()));
            for library in libraries.flat_map(|folder| children(&folder)).filter(|library| is_libssl(library)) {
                if let Ok(file) = file::open(library) {
                    self.look(&file, attach);
                }
            }
        }
    }

    /// Probes a file unless it has been.
    pub(crate) fn look(&mut self, file: &File, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) {
        self.known(file, attach);
    }

    fn known(&mut self, file: &File, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) -> Known {
        let Some(identity) = identity(file) else { return Known::default() };
        let number = self.files.len() as u64 + 1;
        *self.files.entry(identity).or_insert_with(|| {
            let (cache, budget) = (ReadCache::new(file), Budget::new());
            let inspected = inspect(Bounded { file: &cache, budget: &budget });
            let Inspected { library, goroutines, php, python, queue, tokio, cell, loader, probes } = inspected;
            let is_readable = self.inside_tls
                && (probes.is_empty() || attach(file, number, &probes))
                && library.is_some_and(|library| library.is_readable());
            let readable_since = is_readable.then(monotonic_now);
            let goroutines = goroutines.map(|goroutines| {
                // Without them who has a request made is not known; who runs is.
                let _ = attach(file, number, &goroutines.probes);
                goroutines.fields
            });
            if let Some(loader) = loader {
                // Without it what libraries have that are loaded later is not probed.
                let _ = attach(file, number, &[loader]);
            }
            if !queue.is_empty() {
                // Without them for whom a thread of a pool works is not known.
                let _ = attach(file, number, &queue);
            }
            if let Some(cell) = cell {
                // Without it the contexts that its threads tell are not heard.
                let _ = attach(file, number, &[cell]);
            }
            // Without them a context could pass for one that was before it.
            let python = python.filter(|python| attach(file, number, &python.probes)).map(|python| python.layout);
            // Without them a task that writes for others would pass for one that writes for itself.
            let tokio = tokio.filter(|tokio| attach(file, number, &tokio.probes)).map(|tokio| tokio.current);
            Known { readable_since, goroutines, php, python, tokio }
        })
    }
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn begins(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file.as_bytes().starts_with(name.as_bytes()))
}

fn is_libssl(path: &Path) -> bool {
    begins(path, LIBSSL_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_about_to_be_another_is_not_looked_into() {
        let own = identity(&file::open("/proc/self/exe").expect("this program")).expect("it has an identity");
        let mut attach = |_: &File, _, _: &[ProbePoint]| true;
        let mut targets = Targets::new(false);
        targets.pass_over_own(true);
        targets.scan(std::process::id(), &mut attach);
        assert!(!targets.files.contains_key(&own) && !targets.files.is_empty(), "libraries stay what they are");
        // It may be what is run then.
        targets.pass_over_own(false);
        targets.scan(std::process::id(), &mut attach);
        assert!(targets.files.contains_key(&own));
    }

    #[test]
    fn a_program_that_was_looked_at_is_known_before_its_libraries_are() {
        let mut targets = Targets::new(false);
        let own = std::process::id();
        assert_eq!(targets.program(own), None);
        let program = file::open("/proc/self/exe").expect("this program");
        targets.look(&program, &mut |_: &File, _, _: &[ProbePoint]| true);
        let Code { goroutines, tokio, .. } = targets.scan(own, &mut |_: &File, _, _: &[ProbePoint]| true);
        assert_eq!(targets.program(own), Some(Code { goroutines, tokio, ..Code::default() }));
        targets.pass_over_own(true);
        assert_eq!(targets.program(own), None);
    }

    #[test]
    fn copies_of_libssl_in_python_packages_are_expected_once() {
        let folder = std::env::temp_dir().join(format!("regress-packages-{}", std::process::id()));
        let libraries = folder.join("lib/python3.11/site-packages/driver_binary.libs");
        std::fs::create_dir_all(&libraries).expect("a temporary folder");
        let system = ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib64/libssl.so.3", "/usr/lib/libssl.so.3"];
        let Some(libssl) = system.into_iter().find(|file| Path::new(file).exists()) else {
            assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|needed| needed != "all"), "no libssl.so.3");
            return;
        };
        for name in ["libssl-c434c5f0.so.3", "libother.so"] {
            std::fs::copy(libssl, libraries.join(name)).expect("a temporary file");
        }
        let mut probed = Vec::new();
        let mut attach = |_: &File, number, points: &[ProbePoint]| {
            probed.extend(points.first().map(|_| number));
            true
        };
        let mut targets = Targets::new(true);
        for program in ["bin/python", "bin/gunicorn"] {
            targets.expect_packages(&folder.join(program), &mut attach);
        }
        Targets::new(false).expect_packages(&folder.join("bin/python"), &mut attach);
        std::fs::remove_dir_all(&folder).expect("our own folder");
        assert_eq!(probed, [1]);
    }
}

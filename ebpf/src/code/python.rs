//! Where the Python interpreter (CPython) keeps what tells contexts apart, where they come and go, and where threads hand
//! each other jobs.

use std::collections::HashMap;

use object::ReadRef;

use super::functions::returns_of;
use super::{Elf, ProbePoint};

/// What a file that holds the interpreter has for us: a program, or a library that programs load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    pub(crate) layout: PythonLayout,
    /// Probes of `bpf/python_probes.h`.
    pub(crate) probes: Vec<ProbePoint>,
}

/// Addresses before the file is loaded somewhere, and the place of `context` in `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PythonLayout {
    key: u64,
    context_type: u64,
    context_at: u64,
    /// See [`Elf::code_shift`].
    code_shift: u64,
}

/// `struct python_program` in `bpf/python.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PythonProgram {
    /// Given by whoever tells the programs of it.
    pub(crate) instance: u64,
    key_at: u64,
    context_type: u64,
    context_at: u64,
}

impl PythonLayout {
    /// Where the interpreter is in a process, of which the code from `offset` in the file on lies at `start`.
    pub(crate) fn loaded(&self, start: u64, offset: u64) -> PythonProgram {
        let shift = start.wrapping_sub(offset).wrapping_sub(self.code_shift);
        PythonProgram {
            instance: 0,
            key_at: self.key.wrapping_add(shift),
            context_type: self.context_type.wrapping_add(shift),
            context_at: self.context_at,
        }
    }
}

/// `tp_dealloc` in `PyTypeObject`, Include/cpython/object.h.
const DESTRUCTOR_AT: u64 = 48;

/// `None` for what holds no interpreter of a version whose structures are known, or does not export what extensions need.
pub(crate) fn of_file<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<Python> {
    let [Some(version), Some(runtime), Some(context_type)] =
        elf.variables(["Py_Version", "_PyRuntime", "PyContext_Type"])
    else {
        return None;
    };
    let [Some(copy)] = elf.functions(["PyContext_CopyCurrent"]) else { return None };
    let version = u32::from_le_bytes(elf.memory(version, 4)?.try_into().ok()?);
    let (key_at, context_at) = fields(version)?;
    let destructor = elf.pointer(context_type + DESTRUCTOR_AT)?;
    let probes = vec![elf.probe("context_freed", destructor)?, elf.probe("context_copied", copy)?];
    let layout = PythonLayout { key: runtime + key_at, context_type, context_at, code_shift: elf.code_shift()? };
    Some(Python { layout, probes })
}

/// Where `autoTSSkey._key` is in `_PyRuntime`, and `context` in `PyThreadState`: by the C compiler, from the headers of
/// 3.11.7, 3.12.1, 3.13.0 and 3.14.3. `version` is `PY_VERSION_HEX`. Without the GIL threads have other structures; those
/// builds are told by the type check in `bpf/python.h`, which then finds no context.
fn fields(version: u32) -> Option<(u64, u64)> {
    match version >> 16 {
        0x030b => Some((596, 224)),
        0x030c => Some((1548, 208)),
        0x030d => Some((2164, 208)),
        0x030e => Some((2340, 208)),
        _ => None,
    }
}

/// Probes of the queue through which `concurrent.futures.ThreadPoolExecutor` and `multiprocessing.pool.ThreadPool` give jobs
/// to their threads: `queue.SimpleQueue`, which is in an extension module of its own (Modules/_queuemodule.c). Its functions
/// have no names in the file, but Python finds them by the names of the methods.
pub(crate) fn queue<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Vec<ProbePoint> {
    if elf.functions(["PyInit__queue"]) == [None] {
        return Vec::new();
    }
    // PyMethodDef, Include/methodobject.h: the name, and behind it the function.
    let pointers: HashMap<u64, u64> = elf.pointers().into_iter().collect();
    let method = |name| {
        let at = |(at, pointer): (&u64, &u64)| elf.holds(*pointer, name).then(|| pointers.get(&(at + 8))).flatten();
        let mut found: Vec<u64> = pointers.iter().filter_map(at).copied().collect();
        // Of more than one nobody knows which it is.
        found.pop().filter(|_| found.is_empty())
    };
    let [Some(put), Some(put_nowait), Some(get), Some(get_nowait)] =
        ["put", "put_nowait", "get", "get_nowait"].map(method)
    else {
        return Vec::new();
    };
    let puts = [("job_put", put), ("job_put", put_nowait)];
    // Threads wait for jobs within `get`, perhaps since before they are recorded.
    let takes: Vec<(&str, u64)> = match [get, get_nowait].map(|function| returns_of(elf, function)) {
        [Some(mut returns), Some(others)] => {
            returns.extend(others);
            returns.sort_unstable();
            returns.dedup();
            returns.into_iter().map(|address| ("job_taken", address)).collect()
        }
        _ => vec![("job_get_returned", get), ("job_get_returned", get_nowait)],
    };
    let points = takes.into_iter().chain(puts).map(|(program, address)| elf.probe(program, address));
    points.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "skipped tests say why")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::code::{executable, inspect};

    #[test]
    fn other_versions_are_not_guessed() {
        assert_eq!(fields(0x030b_02f0), Some((596, 224)));
        assert_eq!([0x0300_00f0, 0x030a_0df0, 0x030f_00f0, 0x040b_00f0].map(fields), [None; 4]);
    }

    #[test]
    fn addresses_move_with_the_code() {
        let layout = PythonLayout { key: 0x5000, context_type: 0x6000, context_at: 224, code_shift: 0x1000 };
        let loaded = layout.loaded(0x7f00_0000_3000, 0x2000);
        assert_eq!((loaded.key_at, loaded.context_type), (0x7f00_0000_5000, 0x7f00_0000_6000));
        assert_eq!(layout.loaded(0x3000, 0x2000).key_at, 0x5000);
    }

    /// The version of `python3`, and the files that it runs, with the module of queues; `None`, and said, without it.
    fn python3(test: &str) -> Option<(String, Vec<PathBuf>)> {
        let script = "import queue, sys; print(*sys.version_info[:2], flush=True); sys.stdin.read()";
        let mut python = std::process::Command::new("python3");
        let python =
            python.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let Ok(mut python) = python.spawn() else {
            assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "there is no python3");
            println!("skipped: {test}: there is no python3");
            return None;
        };
        let mut version = String::new();
        let mut output = std::io::BufReader::new(python.stdout.take().expect("a pipe"));
        std::io::BufRead::read_line(&mut output, &mut version).expect("a line");
        let files = executable(python.id()).unwrap().into_iter().map(|mapped| mapped.path).collect();
        drop(python.stdin.take());
        python.wait().expect("our own child");
        Some((version.trim().to_owned(), files))
    }

    #[test]
    fn the_interpreter_is_found_in_what_python3_runs() {
        let Some((version, files)) = python3("the_interpreter_is_found_in_what_python3_runs") else { return };
        let known = ["3 11", "3 12", "3 13", "3 14"].contains(&version.as_str());
        let found: Vec<Python> =
            files.iter().filter_map(|file| inspect(&std::fs::read(file).ok()?[..]).python).collect();
        assert_eq!(found.len(), usize::from(known), "Python {version} in {files:?}");
        for python in found {
            assert_eq!(
                python.probes.iter().map(|probe| probe.program).collect::<Vec<_>>(),
                ["context_freed", "context_copied"]
            );
        }
    }

    #[test]
    fn jobs_are_taken_where_the_queue_returns_them() {
        let Some((version, files)) = python3("jobs_are_taken_where_the_queue_returns_them") else { return };
        let files = files.iter().filter_map(|file| std::fs::read(file).ok());
        let mut found: Vec<(Vec<u8>, Vec<ProbePoint>)> =
            files.map(|file| (inspect(&file[..]).queue, file)).map(|(queue, file)| (file, queue)).collect();
        found.retain(|(_, queue)| !queue.is_empty());
        let Some((file, queue)) = found.first().filter(|(_, queue)| queue[0].program == "job_taken") else {
            // Debian's has all that it takes.
            assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "Python {version}: no queue");
            println!("skipped: jobs_are_taken_where_the_queue_returns_them: Python {version} hides where it returns");
            return;
        };
        let (taken, put): (Vec<&ProbePoint>, Vec<&ProbePoint>) =
            queue.iter().partition(|point| point.program == "job_taken");
        assert!(taken.len() >= 2, "{queue:?}");
        // RET, or REP RET.
        let is_return = |point: &&ProbePoint| matches!(file[usize::try_from(point.offset).unwrap()], 0xc3 | 0xf3);
        assert!(taken.iter().all(is_return), "{queue:?}");
        assert_eq!(put.iter().map(|point| point.program).collect::<Vec<_>>(), ["job_put"; 2]);
    }
}

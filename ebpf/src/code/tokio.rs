//! Where a Rust program with tokio keeps which task a thread runs, and where tasks wake each other.
//!
//! Nothing of it has a name in a stripped program. It is found by its form: each type of task has a table of seven
//! functions and three offsets (`runtime::task::raw::Vtable`), of which one finds the task's id behind its header; the
//! functions by which a task is woken stand in a table (`WAKER_VTABLE`) that its first function, which counts references,
//! refers to itself. The function that polls a task stores its id in the thread's own memory before, at a place that
//! is read from its code. The same from tokio 1.25 to 1.54.

use std::collections::{BTreeSet, HashMap, HashSet};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::ReadRef;

use super::stored::{self, Before, Code, Place};
use super::{Elf, ProbePoint};

/// What a program with tokio has for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokio {
    pub(crate) current: CurrentTask,
    /// Probes of `bpf/tokio_probes.h`.
    pub(crate) probes: Vec<ProbePoint>,
}

/// Where a thread has the id of its current task, seen from what its FS register points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CurrentTask {
    pub(crate) at: i64,
    /// The word before it is 1 where there is one. Otherwise ids are 0 where there is none.
    pub(crate) is_marked: bool,
}

impl CurrentTask {
    /// `None` unless all agree. Other things may be done to the word before by functions that have the future's code in them.
    fn of(places: &HashSet<Place>) -> Option<CurrentTask> {
        let at = places.iter().next()?.at;
        let has = |before| places.contains(&Place { at, before });
        let is_marked = match (has(Before::One), has(Before::Untouched)) {
            (true, false) => true,
            (false, true) => false,
            _ => return None,
        };
        // Threads have nothing of their own above it.
        let agree = places.iter().all(|place| place.at == at) && at < 0 && at % 8 == 0;
        agree.then_some(CurrentTask { at, is_marked })
    }
}

/// How long a table of pointers may be.
const LARGEST_SECTION: usize = 256 << 20;
/// How many types of tasks are looked at for the place of the id, and of how many results are read.
const MOST_POLLS: usize = 64;
const MOST_RESULTS: usize = 1024;
/// How many instructions count a reference.
const CLONE: usize = 16;
const ONE_REFERENCE: u64 = 64;

/// `runtime::task::raw::Vtable`: seven functions, and three offsets behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vtable {
    poll: u64,
    try_read_output: u64,
    id_at: u64,
}

/// `None` for what has no tokio, or several, or one of another form.
pub(crate) fn of_program<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<Tokio> {
    // Only a program knows where a thread's own memory is without asking.
    elf.thread_local_size().filter(|_| elf.is_program())?;
    let program = Program::of(elf)?;
    let [wake_by_value, wake_by_reference] = program.wakes()?;
    let vtables = program.vtables();
    let mut places = HashSet::new();
    for vtable in vtables.iter().take(MOST_POLLS) {
        places.extend(stored::places(&program, vtable.poll, vtable.id_at));
    }
    let current = CurrentTask::of(&places)?;
    let mut probes = vec![elf.probe("task_woken", wake_by_value)?, elf.probe("task_woken", wake_by_reference)?];
    let results: BTreeSet<u64> = vtables.iter().map(|vtable| vtable.try_read_output).collect();
    let results = results.into_iter().take(MOST_RESULTS);
    probes.extend(results.filter_map(|function| elf.probe("task_awaited", function)));
    Some(Tokio { current, probes })
}

/// A program's code, and its table of pointers.
struct Program<'e, 'data, R: ReadRef<'data>> {
    elf: &'e Elf<'data, R>,
    text: std::ops::Range<u64>,
    pointers: HashMap<u64, u64>,
    /// The words of `.data.rel.ro` as they are once the program is loaded, and the address of the first.
    words: Vec<u64>,
    words_at: u64,
}

impl<'data, R: ReadRef<'data>> Code for Program<'_, 'data, R> {
    fn code(&self, address: u64, length: usize) -> Option<&[u8]> {
        self.text.contains(&address).then(|| self.elf.memory(address, length as u64)).flatten()
    }

    fn pointer(&self, address: u64) -> Option<u64> {
        self.pointers.get(&address).copied().or_else(|| {
            let bytes = self.elf.memory(address, 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        })
    }
}

impl<'e, 'data, R: ReadRef<'data>> Program<'e, 'data, R> {
    fn of(elf: &'e Elf<'data, R>) -> Option<Program<'e, 'data, R>> {
        let (text_at, text) = elf.section(".text")?;
        let (words_at, content) = elf.section(".data.rel.ro").filter(|(_, content)| content.len() < LARGEST_SECTION)?;
        let pointers: HashMap<u64, u64> = elf.pointers().into_iter().collect();
        let in_file = content.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes).unwrap_or_default());
        let addresses = (words_at..).step_by(8);
        let words = addresses.zip(in_file).map(|(at, word)| pointers.get(&at).copied().unwrap_or(word)).collect();
        let text = text_at..text_at.checked_add(text.len() as u64)?;
        Some(Program { elf, text, pointers, words, words_at })
    }

    fn are_functions(&self, words: &[u64]) -> bool {
        words.iter().all(|word| self.text.contains(word))
    }

    fn vtables(&self) -> Vec<Vtable> {
        self.words.windows(10).filter_map(|words| self.vtable(words)).collect()
    }

    /// The header takes 32 bytes or a few more; behind it come the scheduler, the id, the future, and the trailer.
    fn vtable(&self, words: &[u64]) -> Option<Vtable> {
        let &[poll, _, _, try_read_output, _, _, _, trailer_at, scheduler_at, id_at] = words else { return None };
        let fits = (32..=128).contains(&scheduler_at)
            && (scheduler_at..=scheduler_at + 64).contains(&id_at)
            && (id_at + 8..1 << 30).contains(&trailer_at)
            && [scheduler_at, id_at, trailer_at].iter().all(|at| at % 8 == 0);
        (fits && self.are_functions(&words[..7])).then_some(Vtable { poll, try_read_output, id_at })
    }

    /// The functions that wake a task, with and without giving up the reference to it; `None` unless there is one pair.
    fn wakes(&self) -> Option<[u64; 2]> {
        let addresses = (self.words_at..).step_by(8);
        let mut found = addresses.zip(self.words.windows(4)).filter_map(|(at, words)| {
            let &[clone, by_value, by_reference, _] = words else { return None };
            (self.are_functions(words) && self.counts_and_names(clone, at)).then_some([by_value, by_reference])
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether a function refers to the table, and counts a reference, or has another function do it.
    fn counts_and_names(&self, function: u64, table: u64) -> bool {
        let names = |instruction: &Instruction| {
            let at = instruction.memory_displacement64();
            instruction.is_ip_rel_memory_operand() && (at == table || self.pointer(at) == Some(table))
        };
        let counts = |instruction: &Instruction| match instruction.op0_kind() {
            OpKind::NearBranch64 => self.counts(instruction.near_branch64()),
            OpKind::Memory if instruction.mnemonic() == Mnemonic::Call && instruction.is_ip_rel_memory_operand() => {
                self.pointer(instruction.memory_displacement64()).is_some_and(|called| self.counts(called))
            }
            _ => false,
        };
        self.instructions(function).any(|instruction| names(&instruction))
            && (self.counts(function) || self.instructions(function).any(|instruction| counts(&instruction)))
    }

    /// Whether a function adds one reference to what its argument points to, as one piece: what is counted begins behind six bits
    /// that say other things.
    fn counts(&self, function: u64) -> bool {
        let is_one = |instruction: &Instruction| {
            let last = instruction.op_count().saturating_sub(1);
            instruction.try_immediate(last).is_ok_and(|number| number == ONE_REFERENCE)
        };
        let adds = |instruction: &Instruction| {
            let is_argument =
                instruction.memory_base() == Register::RDI && instruction.memory_index() == Register::None;
            instruction.has_lock_prefix() && is_argument && instruction.memory_displacement64() == 0
        };
        self.instructions(function).any(|instruction| adds(&instruction))
            && self.instructions(function).any(|instruction| is_one(&instruction))
    }

    /// The first of a function.
    fn instructions(&self, function: u64) -> impl Iterator<Item = Instruction> {
        let code = self.code(function, CLONE * 8).unwrap_or_default();
        let all = Decoder::with_ip(64, code, function, DecoderOptions::NONE).into_iter().take(CLONE);
        // Behind its end is another.
        all.take_while(|instruction| !matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::INVALID))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`stored`] finds: mov rbx, rdi; mov r15, [rbx+0x28]; mov fs:[-0x118], r15; ret
    const POLL: &[u8] = b"\x48\x89\xfb\x4c\x8b\x7b\x28\x64\x4c\x89\x3c\x25\xe8\xfe\xff\xff\xc3";
    /// mov eax, 64; lock xadd [rdi], rax; mov rax, the table; ret, but for where the table is.
    const CLONE_WAKER: &[u8] = b"\xb8\x40\x00\x00\x00\xf0\x48\x0f\xc1\x07\x48\x8d\x05";
    const TEXT: u64 = 0x1000;
    const DATA: u64 = 0x2000;
    /// Where in the code functions are that nothing is known of.
    const OTHER: u64 = TEXT + 0x80;

    /// A program of one section of code and one of pointers, which is loaded as it is.
    fn program(code: &[u8], words: &[u64]) -> Vec<u8> {
        fn put(file: &mut Vec<u8>, fields: &[(u64, usize)]) {
            fields.iter().for_each(|(value, bytes)| file.extend(&value.to_le_bytes()[..*bytes]));
        }
        let names = b"\0.text\0.data.rel.ro\0.shstrtab\0";
        let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let sections = DATA + data.len() as u64 + names.len() as u64;
        put(&mut file, &[(2, 2), (62, 2), (1, 4), (TEXT, 8), (64, 8), (sections, 8), (0, 4), (64, 2), (56, 2)]);
        put(&mut file, &[(3, 2), (64, 2), (4, 2), (3, 2)]);
        for (kind, flags, at, length) in [(1, 5, TEXT, code.len()), (1, 6, DATA, data.len()), (7, 4, DATA, 8)] {
            let length = length as u64;
            put(&mut file, &[(kind, 4), (flags, 4), (at, 8), (at, 8), (at, 8), (length, 8), (length, 8), (8, 8)]);
        }
        file.resize(TEXT as usize, 0);
        file.extend(code);
        file.resize(DATA as usize, 0);
        file.extend(&data);
        file.extend(names);
        let names_at = sections - names.len() as u64;
        let described = [
            (0, 0, 0, 0),
            (1, 1, TEXT, code.len() as u64),
            (7, 1, DATA, data.len() as u64),
            (20, 3, names_at, names.len() as u64),
        ];
        for (name, kind, at, length) in described {
            put(&mut file, &[(name, 4), (kind, 4), (0, 8), (at, 8), (at, 8), (length, 8), (0, 8), (8, 8), (0, 8)]);
        }
        file
    }

    /// With this many copies of tokio.
    fn with_tokio(copies: u64) -> Vec<u8> {
        let mut code = POLL.to_vec();
        code.resize(0x40, 0xcc);
        let mut words = vec![7];
        words.extend([TEXT, OTHER, OTHER, OTHER + 16, OTHER, OTHER, OTHER, 320, 32, 40]);
        for _ in 0..copies {
            let clone = TEXT + code.len() as u64;
            let table = DATA + 8 * words.len() as u64;
            code.extend(CLONE_WAKER);
            let behind = TEXT + code.len() as u64 + 4;
            code.extend(&u32::try_from(table - behind).expect("a small program").to_le_bytes());
            code.push(0xc3);
            words.extend([clone, OTHER + 32, OTHER + 48, OTHER, 0]);
        }
        code.resize(0x100, 0xcc);
        program(&code, &words)
    }

    fn found(file: &[u8]) -> Option<Tokio> {
        of_program(&Elf::parse(file)?)
    }

    #[test]
    fn the_place_of_the_id_and_the_functions_to_probe_are_found_by_their_form() {
        let tokio = found(&with_tokio(1)).expect("tokio");
        assert_eq!(tokio.current, CurrentTask { at: -0x118, is_marked: false });
        let probes: Vec<_> = tokio.probes.iter().map(|probe| (probe.program, probe.offset - OTHER)).collect();
        assert_eq!(probes, [("task_woken", 32), ("task_woken", 48), ("task_awaited", 16)]);
    }

    #[test]
    fn none_or_several_are_none() {
        assert_eq!([0, 2].map(|copies| found(&with_tokio(copies))), [None, None]);
        // What adds something else than one reference.
        let mut file = with_tokio(1);
        file[TEXT as usize + 0x41] = 1;
        assert_eq!(found(&file), None);
    }

    #[test]
    fn places_that_disagree_are_none() {
        let place = |at, before| Place { at, before };
        let of = |places: &[Place]| CurrentTask::of(&places.iter().copied().collect());
        let [one, untouched, touched] = [Before::One, Before::Untouched, Before::Touched].map(|b| place(-80, b));
        assert_eq!(of(&[one, touched]), Some(CurrentTask { at: -80, is_marked: true }));
        assert_eq!(of(&[untouched, touched]), Some(CurrentTask { at: -80, is_marked: false }));
        for bad in [&[][..], &[touched], &[one, untouched], &[one, place(-88, Before::One)], &[place(8, Before::One)]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn damaged_files_are_read_to_an_end() {
        let whole = with_tokio(1);
        for length in (0..whole.len()).step_by(7) {
            let _ = found(&whole[..length]);
        }
        let header_and_tables = (0..0x120).chain(TEXT as usize..TEXT as usize + 0x60).chain(DATA as usize..whole.len());
        for at in header_and_tables {
            for byte in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = found(&damaged);
            }
        }
    }
}

//! Functions of Go programs, also of stripped ones: the runtime needs its table of functions (pclntab), so it is always
//! there. The layout is that of Go 1.20 to 1.27 (src/internal/abi/symtab.go, src/runtime/symtab.go: `pcHeader`).

use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};
use object::ReadRef;

use super::ProbePoint;
use super::elf::Elf;
use super::functions::returns;

/// `CurrentPCLnTabMagic`, since Go 1.20.
const MAGIC: u32 = 0xffff_fff1;

/// How many functions a program may have; a table that claims more is none.
const MOST_FUNCTIONS: u64 = 1 << 24;
/// How long a function's code may be.
const LONGEST_FUNCTION: u64 = 1 << 20;
/// In how many bytes of a function its frame is made.
const PROLOGUE: usize = 64;

/// The parts of a program that reading crypto/tls needs; empty if one is missing.
pub(crate) fn crypto_tls<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Vec<ProbePoint> {
    let [Some(read), Some(close), Some(write)] =
        functions(elf, ["crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Close", "crypto/tls.(*Conn).Write"])
    else {
        return Vec::new();
    };
    points(elf, &read, &close, &write).unwrap_or_default()
}

/// Where in the file functions of these names begin their work: their arguments are in their registers, and they do not start
/// again.
pub(crate) fn entries<'data, const N: usize>(
    elf: &Elf<'data, impl ReadRef<'data>>,
    names: [&str; N],
) -> [Option<u64>; N] {
    functions(elf, names).map(|function| {
        let function = function?;
        elf.code_offset(behind_stack_check(code(elf, &function)?, function.address)?)
    })
}

fn points<'data>(
    elf: &Elf<'data, impl ReadRef<'data>>,
    read: &Function,
    close: &Function,
    write: &Function,
) -> Option<Vec<ProbePoint>> {
    let point = |program, address| elf.probe(program, address);
    let read_code = code(elf, read)?;
    let mut points = Vec::new();
    let returns = returns(read_code, read.address);
    if returns.is_empty() {
        return None;
    }
    for address in returns {
        points.push(point("go_read_returns", address)?);
    }
    points.push(point("go_close", behind_stack_check(code(elf, close)?, close.address)?)?);
    points.push(point("go_read", behind_stack_check(read_code, read.address)?)?);
    points.push(point("go_write", behind_stack_check(code(elf, write)?, write.address)?)?);
    Some(points)
}

/// A function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    address: u64,
    length: u64,
}

fn code<'data>(elf: &Elf<'data, impl ReadRef<'data>>, function: &Function) -> Option<&'data [u8]> {
    let code = elf.memory(function.address, function.length)?;
    (code.len() as u64 == function.length).then_some(code)
}

/// The address of the instruction that saves the frame pointer. Before it a function looks whether the stack is large
/// enough, and starts again after it has been enlarged; behind it the arguments are still in their registers.
fn behind_stack_check(code: &[u8], address: u64) -> Option<u64> {
    let mut decoder = Decoder::with_ip(64, &code[..code.len().min(PROLOGUE)], address, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        match instruction.mnemonic() {
            Mnemonic::Push if instruction.op0_register() == Register::RBP => return Some(instruction.ip()),
            Mnemonic::INVALID | Mnemonic::Call | Mnemonic::Ret => return None,
            _ => {}
        }
    }
    None
}

/// The functions of these names.
fn functions<'data, const N: usize>(elf: &Elf<'data, impl ReadRef<'data>>, names: [&str; N]) -> [Option<Function>; N] {
    let none = [None; N];
    // With -buildmode=pie the table is among the data that is made read-only after relocation.
    let table = elf.section(".gopclntab").or_else(|| elf.section(".data.rel.ro.gopclntab"));
    let (Some((address, table)), Some((text, code))) = (table, elf.section(".text")) else { return none };
    let candidates = [module_text(elf, address), Some(text)];
    let wanted = |start| {
        find(table, start, names).filter(|found| {
            found.iter().flatten().all(|function| {
                let end = function.address.checked_add(function.length);
                function.address >= text && end.is_some_and(|end| end <= text.saturating_add(code.len() as u64))
            })
        })
    };
    let header_text = Fields(table).u64_at(24).filter(|start| *start != 0);
    header_text.into_iter().chain(candidates.into_iter().flatten()).find_map(wanted).unwrap_or(none)
}

/// The start of Go's text as its module data says: behind C code in programs with cgo. Since Go 1.26 the table's header does
/// not say it, and the module data has a section of its own. `moduledata` begins with a pointer to the table; `text` is the
/// first of its fields behind 22 words (src/runtime/symtab.go): pcHeader, six slices of three words, findfunctab, minpc,
/// maxpc.
fn module_text<'data>(elf: &Elf<'data, impl ReadRef<'data>>, table: u64) -> Option<u64> {
    const TEXT: usize = 22 * 8;
    let (_, module) = elf.section(".go.module")?;
    let fields = Fields(module);
    // In a PIE pointers are filled in at load, and the file may have zeroes.
    let begins = fields.u64_at(0)?;
    (begins == table || begins == 0).then(|| fields.u64_at(TEXT)).flatten().filter(|text| *text != 0)
}

/// Looks names up in the table, given where the program's text begins.
fn find<const N: usize>(table: &[u8], text: u64, names: [&str; N]) -> Option<[Option<Function>; N]> {
    let fields = Fields(table);
    let [quantum, pointer] = [*table.get(6)?, *table.get(7)?];
    if fields.u32_at(0)? != MAGIC || quantum != 1 || pointer != 8 {
        return None;
    }
    let count = fields.u64_at(8).filter(|count| *count <= MOST_FUNCTIONS)?;
    let names_at = usize::try_from(fields.u64_at(32)?).ok()?;
    let functions_at = usize::try_from(fields.u64_at(64)?).ok()?;
    let names_table = table.get(names_at..)?;
    let functions = Fields(table.get(functions_at..)?);
    let mut found = [None; N];
    // Pairs of the code's start, from the start of the text, and of where the function is described; one more start ends
    // the last.
    for index in 0..usize::try_from(count).ok()? {
        let entry = functions.u32_at(index.checked_mul(8)?)?;
        let described = functions.u32_at(index * 8 + 4)?;
        let end = functions.u32_at(index * 8 + 8)?;
        let name = functions.u32_at(usize::try_from(described).ok()?.checked_add(4)?)?;
        let name = names_table.get(usize::try_from(name).ok()?..)?;
        for (wanted, found) in names.iter().zip(&mut found) {
            let rest = name.strip_prefix(wanted.as_bytes());
            if rest.is_some_and(|rest| rest.first() == Some(&0)) {
                let length = u64::from(end.checked_sub(entry)?);
                let function = Function { address: text.checked_add(entry.into())?, length };
                *found = Some(function).filter(|_| (1..=LONGEST_FUNCTION).contains(&length));
            }
        }
    }
    Some(found)
}

/// Little-endian fields of a table.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    fn u32_at(&self, offset: usize) -> Option<u32> {
        self.at(offset).map(u32::from_le_bytes)
    }

    fn u64_at(&self, offset: usize) -> Option<u64> {
        self.at(offset).map(u64::from_le_bytes)
    }
}

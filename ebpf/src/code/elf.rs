//! ELF files: where a function's code is.

use object::elf::{
    DF_1_PIE, DT_FLAGS_1, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_X, PT_INTERP, PT_LOAD, PT_TLS,
    R_X86_64_RELATIVE, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_OBJECT,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Rela as _, SectionHeader as _, Sym as _};
use object::{Endianness, ReadRef};

use super::ProbePoint;

/// What a file exports and imports, and all of its symbols, which most do not have.
const TABLES: [u32; 2] = [SHT_DYNSYM, SHT_SYMTAB];

/// A program or library for x86-64.
pub(crate) struct Elf<'data, R: ReadRef<'data>> {
    data: R,
    endian: Endianness,
    header: &'data FileHeader64<Endianness>,
}

impl<'data, R: ReadRef<'data>> Elf<'data, R> {
    /// `None` for what is no such file.
    pub(crate) fn parse(data: R) -> Option<Elf<'data, R>> {
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let kind = header.e_type(endian);
        let fits = header.e_machine(endian) == EM_X86_64 && endian == Endianness::Little;
        (fits && (kind == ET_EXEC || kind == ET_DYN)).then_some(Elf { data, endian, header })
    }

    /// Whether it can be started, and is no mere library.
    pub(crate) fn is_program(&self) -> bool {
        let endian = self.endian;
        let Ok(segments) = self.header.program_headers(endian, self.data) else { return false };
        let is_pie = |entry: &object::elf::Dyn64<Endianness>| {
            entry.d_tag(endian) == DT_FLAGS_1 && entry.d_val(endian) & u64::from(DF_1_PIE) != 0
        };
        let is_static_pie = || {
            let entries = segments.iter().filter_map(|segment| segment.dynamic(endian, self.data).ok().flatten());
            entries.flatten().any(is_pie)
        };
        self.header.e_type(endian) == ET_EXEC
            || segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP)
            || is_static_pie()
    }

    /// The functions of these names, as addresses, in the order of the names: what the file exports, else what its full
    /// table of symbols has.
    pub(crate) fn functions<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        self.symbols(&TABLES, STT_FUNC, names)
    }

    /// The functions of these names that other files may use, which is quick to tell: the other symbols of a program with
    /// debug information are many.
    pub(crate) fn exported_functions<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        self.symbols(&TABLES[..1], STT_FUNC, names)
    }

    /// The variables of these names, in the same way.
    pub(crate) fn variables<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        self.symbols(&TABLES, STT_OBJECT, names)
    }

    fn symbols<const N: usize>(&self, tables: &[u32], kind: u8, names: [&str; N]) -> [Option<u64>; N] {
        let mut found = [None; N];
        let Ok(sections) = self.header.sections(self.endian, self.data) else { return found };
        for table in tables {
            let Ok(symbols) = sections.symbols(self.endian, self.data, *table) else { continue };
            // All at once: one after the other they are as many reads as there are symbols.
            let Ok(strings) = sections.section(symbols.string_section()) else { continue };
            let Ok(strings) = strings.data(self.endian, self.data) else { continue };
            for symbol in symbols.iter() {
                if symbol.st_type() != kind || symbol.is_undefined(self.endian) {
                    continue;
                }
                let Some(rest) = strings.get(symbol.st_name(self.endian) as usize..) else { continue };
                let is_name =
                    |wanted: &&str| rest.strip_prefix(wanted.as_bytes()).is_some_and(|end| end.first() == Some(&0));
                if let Some(at) = names.iter().position(is_name) {
                    found[at].get_or_insert(symbol.st_value(self.endian));
                }
            }
        }
        found
    }

    /// A pointer that the file holds at an address, as an address: the dynamic loader puts it there, or it is there.
    pub(crate) fn pointer(&self, address: u64) -> Option<u64> {
        let relocated = self.pointers().into_iter().find(|(at, _)| *at == address);
        relocated.map(|(_, pointer)| pointer).or_else(|| {
            let bytes = self.memory(address, 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes)).filter(|&pointer| pointer != 0)
        })
    }

    /// The pointers into the file itself that the dynamic loader has to adapt: where they are, and where they lead.
    pub(crate) fn pointers(&self) -> Vec<(u64, u64)> {
        let Ok(sections) = self.header.sections(self.endian, self.data) else { return Vec::new() };
        let mut pointers = Vec::new();
        for section in sections.iter() {
            let Ok(Some((relocations, _))) = section.rela(self.endian, self.data) else { continue };
            let own = relocations.iter().filter(|r| r.r_type(self.endian, false) == R_X86_64_RELATIVE);
            pointers.extend(own.filter_map(|relocation| {
                let pointer = u64::try_from(relocation.r_addend(self.endian)).ok()?;
                Some((relocation.r_offset(self.endian), pointer))
            }));
        }
        pointers
    }

    /// Whether a string that ends in a zero byte is at an address.
    pub(crate) fn holds(&self, address: u64, string: &str) -> bool {
        let with_end = self.memory(address, string.len() as u64 + 1).and_then(|bytes| bytes.strip_suffix(&[0]));
        with_end == Some(string.as_bytes())
    }

    /// Whether the constants of the program have this in them.
    pub(crate) fn mentions(&self, part: &str) -> bool {
        let constants = self.section(".rodata").map(|(_, content)| content).unwrap_or_default();
        constants.windows(part.len()).any(|window| window == part.as_bytes())
    }

    /// A section's address and content.
    pub(crate) fn section(&self, name: &str) -> Option<(u64, &'data [u8])> {
        let sections = self.header.sections(self.endian, self.data).ok()?;
        let (_, section) = sections.section_by_name(self.endian, name.as_bytes())?;
        Some((section.sh_addr(self.endian), section.data(self.endian, self.data).ok()?))
    }

    /// How much memory each thread has of its own for this file.
    pub(crate) fn thread_local_size(&self) -> Option<u64> {
        let segments = self.header.program_headers(self.endian, self.data).ok()?;
        let segment = segments.iter().find(|segment| segment.p_type(self.endian) == PT_TLS)?;
        Some(segment.p_memsz(self.endian))
    }

    /// What is at an address in memory, as far as the file has it, at most `length` bytes.
    pub(crate) fn memory(&self, address: u64, length: u64) -> Option<&'data [u8]> {
        let (offset, available) = self.locate(address, false)?;
        self.data.read_bytes_at(offset, length.min(available)).ok()
    }

    /// How much lower the code lies in the file than in memory, before it is loaded somewhere.
    pub(crate) fn code_shift(&self) -> Option<u64> {
        let segments = self.header.program_headers(self.endian, self.data).ok()?;
        let is_code = |flags| flags & PF_X != 0;
        let code = segments
            .iter()
            .find(|segment| segment.p_type(self.endian) == PT_LOAD && is_code(segment.p_flags(self.endian)))?;
        Some(code.p_vaddr(self.endian).wrapping_sub(code.p_offset(self.endian)))
    }

    /// A probe of the code at an address.
    pub(crate) fn probe(&self, program: &'static str, address: u64) -> Option<ProbePoint> {
        Some(ProbePoint { program, offset: self.code_offset(address)? })
    }

    /// Where in the file the code at an address is.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        Some(self.locate(address, true)?.0)
    }

    /// The offset of an address, and how many bytes of the file follow it in its segment.
    fn locate(&self, address: u64, code: bool) -> Option<(u64, u64)> {
        let segments = self.header.program_headers(self.endian, self.data).ok()?;
        segments.iter().find_map(|segment| {
            let loaded = segment.p_type(self.endian) == PT_LOAD;
            if !loaded || (code && segment.p_flags(self.endian) & PF_X == 0) {
                return None;
            }
            let into = address.checked_sub(segment.p_vaddr(self.endian))?;
            let available = segment.p_filesz(self.endian).checked_sub(into).filter(|available| *available > 0)?;
            Some((segment.p_offset(self.endian).checked_add(into)?, available))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_program(path: &str) -> bool {
        let file = std::fs::read(path).unwrap();
        Elf::parse(&file[..]).unwrap().is_program()
    }

    #[test]
    fn programs_are_told_from_libraries() {
        assert!(is_program("/proc/self/exe"));
        // The library that unwinds stacks, where it is one.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let library =
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libgcc_s"));
        assert!(!library.is_some_and(is_program));
    }
}

//! Where functions return. A probe there also sees the end of calls that were under way when it came, which a probe of the
//! return address does not: the kernel exchanges that as a call begins.

use gimli::{BaseAddresses, EhFrame, LittleEndian, UnwindSection as _};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use object::ReadRef;

use super::Elf;

/// Into how many parts a compiler may have cut a function, or with how many others it shares its end.
const MOST_PARTS: usize = 8;
/// How long a part may be.
const LONGEST: u64 = 1 << 16;

/// The addresses of all return instructions; empty if some byte is no instruction, because then nothing behind it is sure.
pub(crate) fn returns(code: &[u8], address: u64) -> Vec<u64> {
    let Some(instructions) = instructions(code, address) else { return Vec::new() };
    let is_return = |instruction: &&Instruction| instruction.mnemonic() == Mnemonic::Ret;
    instructions.iter().filter(is_return).map(Instruction::ip).collect()
}

/// The addresses of all return instructions of the function that begins at an address, by the file's own word about how long
/// it is (`.eh_frame`, Linux Standard Base Core 5.0, chapter 10.6). `None` where it has none, or where the function goes on at a
/// place that is only known when it runs.
pub(crate) fn returns_of<'data>(elf: &Elf<'data, impl ReadRef<'data>>, function: u64) -> Option<Vec<u64>> {
    let (address, frames) = elf.section(".eh_frame")?;
    let frames = EhFrame::new(frames, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut entries = vec![function];
    let mut found = Vec::new();
    while let Some(entry) = entries.pop() {
        if parts.iter().any(|(start, end)| (*start..*end).contains(&entry)) {
            continue;
        }
        let frame = frames.fde_for_address(&bases, entry, EhFrame::cie_from_offset).ok()?;
        let (start, length) = (frame.initial_address(), frame.len());
        let end = start.checked_add(length)?;
        if parts.len() == MOST_PARTS || length > LONGEST || (entry == function && start != function) {
            return None;
        }
        let code = elf.memory(start, length).filter(|code| code.len() as u64 == length)?;
        for instruction in instructions(code, start)? {
            let target = instruction.near_branch_target();
            match instruction.flow_control() {
                FlowControl::Return => found.push(instruction.ip()),
                FlowControl::IndirectBranch => return None,
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                    if !(start..end).contains(&target) =>
                {
                    entries.push(target);
                }
                _ => {}
            }
        }
        parts.push((start, end));
    }
    found.sort_unstable();
    (!found.is_empty()).then_some(found)
}

/// `None` if some byte is no instruction.
fn instructions(code: &[u8], address: u64) -> Option<Vec<Instruction>> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let sound = |instruction: Instruction| (instruction.code() != Code::INVALID).then_some(instruction);
    decoder.into_iter().map(sound).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The C library that this test runs with, where it is one.
    fn libc() -> Option<Vec<u8>> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let path =
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libc.so"))?;
        std::fs::read(path).ok()
    }

    #[test]
    fn functions_return_within_what_they_are() {
        let Some(file) = libc() else { return };
        let elf = Elf::parse(&file[..]).expect("a library");
        let names = ["fopen", "qsort", "strtok_r", "getenv", "fgets"];
        for (name, address) in names.into_iter().zip(elf.functions(names)) {
            let Some(found) = address.map(|address| returns_of(&elf, address)) else { continue };
            // Of those that end in a jump to where a register says, nothing is known.
            for at in found.into_iter().flatten() {
                let byte = elf.memory(at, 1).and_then(|bytes| bytes.first());
                assert!(matches!(byte, Some(0xc3 | 0xc2 | 0xf3)), "{name}: {byte:x?}");
            }
        }
        assert!(elf.functions(["getenv"])[0].and_then(|address| returns_of(&elf, address)).is_some());
        assert_eq!(returns_of(&elf, 1), None, "no function");
    }

    proptest! {
        #[test]
        fn damaged_frames_are_read_to_an_end(at in 0usize..4096, bytes in prop::collection::vec(any::<u8>(), 1..64)) {
            let Some(mut file) = libc() else { return Ok(()) };
            let elf = Elf::parse(&file[..]).expect("a library");
            let function = elf.functions(["getenv"])[0].expect("it is part of C");
            let Some((_, frames)) = elf.section(".eh_frame") else { return Ok(()) };
            let start = frames.as_ptr() as usize - file.as_ptr() as usize + at;
            file[start..start + bytes.len()].copy_from_slice(&bytes);
            let _ = returns_of(&Elf::parse(&file[..]).expect("a library"), function);
        }
    }
}

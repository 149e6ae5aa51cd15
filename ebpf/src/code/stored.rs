//! Where a function puts a field of its argument into the memory that each thread has of its own.
//!
//! The code is read from front to back, as often as it is written, and what is known of each register goes with it: enough to
//! follow one value from a load to a store, also into functions that are called with it. A compiler keeps what it needs in
//! registers that are saved by whoever uses them, so that reading on behind the end of a function finds nothing.

use std::collections::{HashMap, HashSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// How many instructions of a function are read, and of all that it calls.
const LONGEST_FUNCTION: usize = 600;
const MOST_INSTRUCTIONS: usize = 20_000;
/// How many of a function that is given nothing, and may say where the thread's memory is.
const SHORT_FUNCTION: usize = 12;
/// The longest instruction of x86-64.
const INSTRUCTION: usize = 15;
/// How deep calls are followed.
const DEPTH: usize = 5;
/// A jump further than this leaves the function.
const FAR: u64 = 4096;

/// The code of a program, by address.
pub(crate) trait Code {
    /// At most `length` bytes of it.
    fn code(&self, address: u64, length: usize) -> Option<&[u8]>;
    /// The pointer that is there once the program is loaded.
    fn pointer(&self, address: u64) -> Option<u64>;
}

/// What a register or a place on the stack holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Value {
    #[default]
    Unknown,
    Number(i64),
    /// An address so far behind the argument.
    Argument(i64),
    /// An address so far from what the FS register points to.
    Thread(i64),
    /// The field that is looked for.
    Field,
}

impl Value {
    fn plus(self, number: i64) -> Value {
        match self {
            Value::Number(at) => Value::Number(at.wrapping_add(number)),
            Value::Argument(at) => Value::Argument(at.wrapping_add(number)),
            Value::Thread(at) => Value::Thread(at.wrapping_add(number)),
            Value::Field | Value::Unknown => Value::Unknown,
        }
    }

    fn is_of_argument(&self) -> bool {
        matches!(self, Value::Argument(_) | Value::Field)
    }
}

/// A place in the memory that each thread has of its own, seen from what its FS register points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) at: i64,
    pub(crate) before: Before,
}

/// What the function that stores something does with the word before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    /// Nothing.
    Untouched,
    /// It becomes 1.
    One,
    Touched,
}

/// Where the function stores the field of its first argument that is so far behind its beginning: all places that are
/// found.
pub(crate) fn places(code: &impl Code, function: u64, field_at: u64) -> HashSet<Place> {
    let mut search = Search { code, field_at: field_at.cast_signed(), found: HashSet::new(), read: 0 };
    search.function(function, [Value::Argument(0), Value::Unknown], DEPTH);
    search.found
}

struct Search<'a, C> {
    code: &'a C,
    field_at: i64,
    found: HashSet<Place>,
    /// How many instructions were.
    read: usize,
}

/// What is known at one instruction.
#[derive(Clone, Default)]
struct State {
    registers: HashMap<Register, Value>,
    stack: HashMap<(Register, u64), Value>,
}

/// What a function did with the thread's memory.
#[derive(Default)]
struct Own {
    stored: HashSet<i64>,
    ones: HashSet<i64>,
    touched: HashSet<i64>,
}

impl Own {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.stored.iter().map(|&at| {
            let before = match at - 8 {
                before if self.ones.contains(&before) => Before::One,
                before if self.touched.contains(&before) => Before::Touched,
                _ => Before::Untouched,
            };
            Place { at, before }
        })
    }
}

/// Registers that a called function may change.
const CHANGED: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

impl State {
    fn get(&self, register: Register) -> Value {
        // Half of a register may be a number, and is no address.
        let value = self.registers.get(&register.full_register()).copied().unwrap_or_default();
        if register.is_gpr64() || matches!(value, Value::Number(_)) { value } else { Value::Unknown }
    }

    fn set(&mut self, register: Register, value: Value) {
        let known = register.is_gpr64() || (register.is_gpr32() && matches!(value, Value::Number(_)));
        self.registers.insert(register.full_register(), if known { value } else { Value::Unknown });
    }

    fn called(&mut self) {
        for register in CHANGED {
            self.registers.remove(&register);
        }
    }

    /// What is known where two ways meet: what either of them knows.
    fn join(&mut self, other: State) {
        for (register, value) in other.registers {
            let known = self.registers.entry(register).or_default();
            if *known == Value::Unknown {
                *known = value;
            }
        }
        for (slot, value) in other.stack {
            self.stack.entry(slot).or_insert(value);
        }
    }

    /// The address that a memory operand means.
    fn address(&self, instruction: &Instruction) -> Value {
        if instruction.memory_index() != Register::None {
            return Value::Unknown;
        }
        let displacement = instruction.memory_displacement64().cast_signed();
        let base = match instruction.memory_base() {
            Register::None => Value::Number(0),
            Register::RIP | Register::EIP => return Value::Number(displacement),
            base => self.get(base),
        };
        match (instruction.segment_prefix(), base) {
            (Register::FS, Value::Number(at)) => Value::Thread(at.wrapping_add(displacement)),
            (Register::FS, _) => Value::Unknown,
            (_, base) => base.plus(displacement),
        }
    }

    fn slot(instruction: &Instruction) -> Option<(Register, u64)> {
        let base = instruction.memory_base();
        let is_stack = matches!(base, Register::RSP | Register::RBP) && instruction.memory_index() == Register::None;
        is_stack.then(|| (base, instruction.memory_displacement64()))
    }
}

impl<C: Code> Search<'_, C> {
    /// Gives what the function returns, as far as that is known.
    fn function(&mut self, address: u64, arguments: [Value; 2], depth: usize) -> Value {
        let length = if arguments.iter().any(Value::is_of_argument) { LONGEST_FUNCTION } else { SHORT_FUNCTION };
        let Some(code) = self.code.code(address, length * INSTRUCTION) else { return Value::Unknown };
        let mut state = State::default();
        state.set(Register::RDI, arguments[0]);
        state.set(Register::RSI, arguments[1]);
        let mut returned = Value::Unknown;
        let mut own = Own::default();
        let mut ahead: HashMap<u64, State> = HashMap::new();
        let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        for (index, instruction) in decoder.into_iter().take(length).enumerate() {
            self.read += 1;
            if instruction.is_invalid() || self.read > MOST_INSTRUCTIONS {
                break;
            }
            if let Some(other) = ahead.remove(&instruction.ip()) {
                state.join(other);
            }
            let is_near = |to: u64| to > instruction.ip() && to - instruction.ip() < FAR;
            match instruction.flow_control() {
                FlowControl::Next => self.step(&mut state, &mut own, &instruction),
                FlowControl::Call | FlowControl::IndirectCall => {
                    let result = self.follow(&state, &instruction, depth);
                    state.called();
                    state.set(Register::RAX, result);
                }
                FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                    let to = target(self.code, &state, &instruction);
                    let leaves = to.is_some_and(|to| index == 0 || to < address || to > address.saturating_add(FAR));
                    if let Some(to) = to.filter(|to| is_near(*to)) {
                        ahead.entry(to).or_insert_with(|| state.clone());
                    }
                    if leaves {
                        let result = self.follow(&state, &instruction, depth);
                        returned = if let Value::Thread(_) = result { result } else { returned };
                        state.called();
                    }
                    if index == 0 {
                        break;
                    }
                }
                FlowControl::Return => {
                    if let value @ Value::Thread(_) = state.get(Register::RAX) {
                        returned = value;
                    }
                    state.called();
                }
                FlowControl::ConditionalBranch => {
                    if is_near(instruction.near_branch64()) {
                        ahead.entry(instruction.near_branch64()).or_insert_with(|| state.clone());
                    }
                }
                FlowControl::Interrupt | FlowControl::XbeginXabortXend | FlowControl::Exception => {}
            }
        }
        self.found.extend(own.places());
        returned
    }

    /// A call, or a jump to another function.
    fn follow(&mut self, state: &State, instruction: &Instruction, depth: usize) -> Value {
        let arguments = [state.get(Register::RDI), state.get(Register::RSI)];
        match target(self.code, state, instruction) {
            Some(to) if depth > 0 => {
                let depth = if arguments.iter().any(Value::is_of_argument) { depth - 1 } else { 0 };
                self.function(to, arguments, depth)
            }
            _ => Value::Unknown,
        }
    }

    fn step(&self, state: &mut State, own: &mut Own, instruction: &Instruction) {
        let [to, from] = [instruction.op0_kind(), instruction.op1_kind()];
        let register = instruction.op0_register();
        if let (true, Value::Thread(at)) = (to == OpKind::Memory || from == OpKind::Memory, state.address(instruction))
            && instruction.mnemonic() != Mnemonic::Lea
        {
            own.touched.insert(at);
        }
        match instruction.mnemonic() {
            Mnemonic::Mov if to == OpKind::Memory && instruction.op1_kind() != OpKind::Register => {
                if let (1, Value::Thread(at)) = (instruction.immediate(1), state.address(instruction)) {
                    own.ones.insert(at);
                }
                if let Some(slot) = State::slot(instruction) {
                    state.stack.remove(&slot);
                }
            }
            Mnemonic::Mov | Mnemonic::Xchg if to == OpKind::Memory && from == OpKind::Register => {
                let value = state.get(instruction.op1_register());
                match (value, state.address(instruction)) {
                    (Value::Field, Value::Thread(at)) => drop(own.stored.insert(at)),
                    (Value::Number(1), Value::Thread(at)) => drop(own.ones.insert(at)),
                    _ => {}
                }
                if let Some(slot) = State::slot(instruction) {
                    state.stack.insert(slot, value);
                }
                if instruction.mnemonic() == Mnemonic::Xchg {
                    state.set(instruction.op1_register(), Value::Unknown);
                }
            }
            Mnemonic::Mov if to == OpKind::Register => {
                let value = match from {
                    OpKind::Register => state.get(instruction.op1_register()),
                    OpKind::Memory => self.load(state, instruction),
                    _ => Value::Number(instruction.immediate(1).cast_signed()),
                };
                state.set(register, value);
            }
            Mnemonic::Lea => {
                let address = state.address(instruction);
                state.set(register, address);
            }
            Mnemonic::Add | Mnemonic::Sub if to == OpKind::Register => {
                let added = match from {
                    OpKind::Register => state.get(instruction.op1_register()),
                    OpKind::Memory => self.load(state, instruction),
                    _ => Value::Number(instruction.immediate(1).cast_signed()),
                };
                let value = match (state.get(register), added) {
                    (Value::Number(number), base) if instruction.mnemonic() == Mnemonic::Add => base.plus(number),
                    (base, Value::Number(number)) if instruction.mnemonic() == Mnemonic::Add => base.plus(number),
                    (base, Value::Number(number)) => base.plus(number.wrapping_neg()),
                    _ => Value::Unknown,
                };
                state.set(register, value);
            }
            Mnemonic::Push | Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Nop => {}
            _ if to == OpKind::Register => state.set(register, Value::Unknown),
            _ => {}
        }
    }

    fn load(&self, state: &State, instruction: &Instruction) -> Value {
        match state.address(instruction) {
            Value::Argument(at) if at == self.field_at && instruction.op0_register().is_gpr64() => Value::Field,
            // What FS points to begins with its own address.
            Value::Thread(0) => Value::Thread(0),
            _ => State::slot(instruction).and_then(|slot| state.stack.get(&slot).copied()).unwrap_or_default(),
        }
    }
}

/// Where a call or jump leads, if that is in the program.
fn target(code: &impl Code, state: &State, instruction: &Instruction) -> Option<u64> {
    match instruction.op0_kind() {
        OpKind::NearBranch64 => Some(instruction.near_branch64()),
        OpKind::Memory => match state.address(instruction) {
            Value::Number(at) => code.pointer(at.cast_unsigned()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Bytes(Vec<u8>);

    impl Code for Bytes {
        fn code(&self, address: u64, length: usize) -> Option<&[u8]> {
            let rest = self.0.get(usize::try_from(address).ok()?..)?;
            Some(&rest[..rest.len().min(length)])
        }

        fn pointer(&self, address: u64) -> Option<u64> {
            Some(address)
        }
    }

    /// mov rbx, rdi; mov r15, [rbx+0x28]; mov rbp, fs:[-0x118]; mov fs:[-0x118], r15
    #[rustfmt::skip]
    const INLINE: &[u8] = &[
        0x53, 0x48, 0x89, 0xfb, 0x4c, 0x8b, 0x7b, 0x28, 0x64, 0x48, 0x8b, 0x2c, 0x25, 0xe8, 0xfe, 0xff,
        0xff, 0x64, 0x4c, 0x89, 0x3c, 0x25, 0xe8, 0xfe, 0xff, 0xff, 0xc3,
    ];

    /// The field and a 1 are given to a function that first has the memory set up, on one of two ways, and stores both.
    #[rustfmt::skip]
    const CALLED: &[u8] = &[
        0x48, 0x8b, 0x7f, 0x28, 0xe8, 0x01, 0x00, 0x00, 0x00, 0xc3, 0x48, 0x89, 0xfe, 0xbf, 0x01, 0x00,
        0x00, 0x00, 0xe8, 0x01, 0x00, 0x00, 0x00, 0xc3, 0x41, 0x57, 0x48, 0x89, 0xf3, 0x49, 0x89, 0xfe,
        0x64, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x80, 0x80, 0xfe, 0xff, 0xff,
        0x0f, 0xb6, 0x48, 0x50, 0x83, 0xf9, 0x01, 0x74, 0x0d, 0x48, 0x89, 0xc7, 0xe8, 0xc9, 0xff, 0xff,
        0xff, 0x48, 0x85, 0xc0, 0x74, 0x10, 0x48, 0x8b, 0x48, 0x20, 0x48, 0x8b, 0x50, 0x28, 0x4c, 0x89,
        0x70, 0x20, 0x48, 0x89, 0x58, 0x28, 0x41, 0x5f, 0xc3,
    ];

    /// By way of the stack, to an address that is added up; the word before is read.
    #[rustfmt::skip]
    const SPILLED: &[u8] = &[
        0x48, 0x83, 0xec, 0x18, 0x48, 0x8b, 0x47, 0x28, 0x48, 0x89, 0x44, 0x24, 0x08, 0x48, 0xc7, 0xc1,
        0xc0, 0xff, 0xff, 0xff, 0x64, 0x48, 0x03, 0x0c, 0x25, 0x00, 0x00, 0x00, 0x00, 0x48, 0x8b, 0x54,
        0x24, 0x08, 0x48, 0x8b, 0x71, 0xf8, 0x48, 0x89, 0x11, 0xc3,
    ];

    /// Another argument's field, another field, and half of it.
    #[rustfmt::skip]
    const OTHER: &[u8] = &[
        0x48, 0x8b, 0x46, 0x28, 0x64, 0x48, 0x89, 0x04, 0x25, 0xe8, 0xfe, 0xff, 0xff, 0x48, 0x8b, 0x47,
        0x30, 0x64, 0x48, 0x89, 0x04, 0x25, 0xe8, 0xfe, 0xff, 0xff, 0x8b, 0x47, 0x28, 0x64, 0x48, 0x89,
        0x04, 0x25, 0xe8, 0xfe, 0xff, 0xff, 0xc3,
    ];

    fn found(code: &[u8]) -> Vec<Place> {
        places(&Bytes(code.to_vec()), 0, 0x28).into_iter().collect()
    }

    #[test]
    fn the_field_is_followed_to_where_it_is_stored() {
        assert_eq!(found(INLINE), [Place { at: -0x118, before: Before::Untouched }]);
        assert_eq!(found(CALLED), [Place { at: -0x180 + 0x28, before: Before::One }]);
        assert_eq!(found(SPILLED), [Place { at: -0x40, before: Before::Touched }]);
    }

    #[test]
    fn other_values_are_not_it() {
        assert_eq!(found(OTHER), []);
        assert_eq!(places(&Bytes(INLINE.to_vec()), 0, 0x30).len(), 0);
        assert!((0..0x11).all(|length| found(&INLINE[..length]).is_empty()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(code in prop::collection::vec(any::<u8>(), 0..2000), at in any::<usize>(), byte in any::<u8>()) {
            found(&code);
            for code in [INLINE, CALLED, SPILLED] {
                let mut damaged = code.to_vec();
                let at = at % damaged.len();
                damaged[at] = byte;
                found(&damaged);
            }
        }
    }
}

//! The packed form of a folder of cassettes: one file, zstd frames of whole records with an index at the end
//! (`FORMAT.md`, "The packed form"). Packing and unpacking are exact inverses.

mod index;
mod merge;
mod read;
mod write;

pub use merge::{Merged, merge};
pub use read::{Pack, unpack};
pub use write::{Packed, pack};

/// How the name of a packed folder ends.
pub const PACK_SUFFIX: &str = ".cassettes.zst";

/// The version of the packed form, MAJOR.MINOR, apart from that of the cassettes in it. A newer MAJOR is refused.
///
/// * 1.0: the first.
/// * 1.1: sealed files.
pub const PACK_FORMAT: (u16, u16) = (1, 1);

/// The first four bytes of frames that zstd skips: the head and the tail of the file.
const SKIPPED: [u8; 4] = 0x184D_2A5C_u32.to_le_bytes();

/// What the head holds, before the version and a newline.
const HEAD: &str = "regress cassettes ";

/// What the tail ends in, after where the index is and how long.
const TAIL: &[u8; 8] = b"regress\n";

/// Bytes of the tail: a skipped frame of 24.
const TAIL_BYTES: u64 = 32;

/// The most that a block holds before it is compressed, unless it is one record alone.
const BLOCK: u64 = 256 << 10;

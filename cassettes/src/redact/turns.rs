//! Secrets in bytes that sides said in turns, and in the frames of WebSocket among them.

use regress_protocols::Side;

use super::{
    http::Moved,
    pass::{DEEPEST, Edit, Edits, Pass, applied},
    report::{Kind, Place},
};
use crate::model::Turn;

/// Replaces what has to be in turns. What is no WebSocket keeps its length, as nobody knows what counts it.
pub(super) fn redact(pass: &mut Pass<'_>, turns: &mut [Turn], is_web_socket: bool) {
    pass.place = Place::Bytes;
    for side in [Side::Client, Side::Server] {
        // What was said, wherever it was interrupted.
        let said: Vec<u8> =
            turns.iter().filter(|turn| turn.from == side).flat_map(|turn| turn.bytes.to_vec()).collect();
        let edits = match is_web_socket {
            true => frames(pass, &said),
            false => fixed(pass, &said),
        };
        let Some(made) = applied(&said, &edits) else { continue };
        let moved = Moved::By(edits);
        let (mut old, mut new) = (0, 0);
        for turn in turns.iter_mut().filter(|turn| turn.from == side) {
            old += turn.bytes.len() as u64;
            let end = usize::try_from(moved.at(old)).unwrap_or(made.len()).clamp(new, made.len());
            turn.bytes = made[new..end].to_vec().into();
            new = end;
        }
    }
}

fn fixed(pass: &mut Pass<'_>, bytes: &[u8]) -> Edits {
    let before = std::mem::replace(&mut pass.fixed, true);
    let edits = pass.scan(bytes, DEEPEST);
    pass.fixed = before;
    edits
}

/// The messages in the frames of WebSocket (RFC 6455 section 5.2). Those that are compressed or in several frames are replaced as a whole.
fn frames(pass: &mut Pass<'_>, bytes: &[u8]) -> Edits {
    let mut edits = Edits::new();
    let mut at = 0;
    while let Some(frame) = frame(&bytes[at..]) {
        let content = at + frame.head..at + frame.head + frame.length;
        let Some(written) = bytes.get(content.clone()) else { break };
        let unmasked: Vec<u8> = masked(written, frame.mask);
        let is_message = matches!(frame.opcode, 1 | 2) && frame.is_whole && !frame.is_compressed;
        let made = match frame.opcode {
            _ if is_message => {
                let found = pass.text(&unmasked, DEEPEST);
                applied(&unmasked, &found)
            }
            0..=2 => blank(pass, &unmasked),
            _ => None,
        };
        if let Some(made) = made {
            let with = written_frame(bytes[at], frame.mask, &made);
            edits.push(Edit { at: at..content.end, with });
        }
        at = content.end;
    }
    let rest = fixed(pass, &bytes[at..]);
    edits.extend(rest.into_iter().map(|edit| edit.moved(at)));
    edits
}

fn blank(pass: &mut Pass<'_>, content: &[u8]) -> Option<Vec<u8>> {
    let blank: Vec<u8> = b"redacted ".iter().copied().cycle().take(content.len()).collect();
    (content != blank).then(|| {
        pass.replaced.count(Kind::Unreadable, pass.place);
        blank
    })
}

struct Frame {
    opcode: u8,
    is_whole: bool,
    is_compressed: bool,
    mask: Option<[u8; 4]>,
    head: usize,
    length: usize,
}

fn frame(bytes: &[u8]) -> Option<Frame> {
    let [first, second, ..] = bytes else { return None };
    let (length, mut head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = Some(bytes.get(head..head + 4)?.try_into().ok()?);
        head += 4;
    }
    let opcode = first & 0x0f;
    head.checked_add(length)?;
    Some(Frame {
        opcode,
        is_whole: first & 0x80 != 0 && opcode != 0,
        is_compressed: first & 0x70 != 0,
        mask,
        head,
        length,
    })
}

fn masked(content: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask = mask.unwrap_or_default();
    content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

fn written_frame(first: u8, mask: Option<[u8; 4]>, content: &[u8]) -> Vec<u8> {
    let has_mask = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match content.len() {
        short @ 0..126 => frame.push(has_mask | short as u8),
        middle @ 126..0x1_0000 => {
            frame.push(has_mask | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(has_mask | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    frame.extend(masked(content, mask));
    frame
}

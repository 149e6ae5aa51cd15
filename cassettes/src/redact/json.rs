//! Secrets in JSON. The text is walked without a tree: what is not replaced stays as it was written.

use super::{
    names,
    pass::{Edit, Edits, Pass, applied, may_be_base64},
    report::Kind,
    rules::Pointer,
    scan::hits,
};

/// The shortest text in which a secret is told by its form.
const SHORTEST: usize = 12;

/// Bytes that stand outside of strings.
const OUTSIDE: [bool; 256] = {
    let mut outside = [false; 256];
    let allowed = b" \t\r\n{}[]:,0123456789+-.eEtrufalsn";
    let mut index = 0;
    while index < allowed.len() {
        outside[allowed[index] as usize] = true;
        index += 1;
    }
    outside
};

impl Pass<'_> {
    /// What has to be replaced in a JSON text, or several one after the other; `None` for any other text.
    pub(super) fn json(&mut self, text: &[u8], depth: usize) -> Option<Edits> {
        if self.fixed || !matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
            return None;
        }
        let mut edits = Edits::new();
        let mut hits = hits(text).peekable();
        let mut pointer = self.rules.pointer();
        // The kind of secret that the value at hand is by its name, until the value is over.
        let mut name: Option<Kind> = None;
        // What the member `name` said that the member `value` is.
        let (mut is_name, mut pending, mut is_value) = (false, None, false);
        let (mut at, mut nested) = (0, 0_usize);
        let wants_all = self.carried.is_some() || self.redactor.email || self.rules.has_patterns();
        let names_fields = self.rules.has_fields();
        while at < text.len() {
            if let Some(pointer) = &mut pointer {
                pointer.step(text[at]);
            }
            match text[at] {
                b'"' => {
                    let (end, escaped) = string(text, at + 1)?;
                    let content = &text[at + 1..end];
                    while hits.next_if(|hit| hit.end() <= at).is_some() {}
                    let hit = hits.peek().is_some_and(|hit| hit.start() < end);
                    let behind = end + 1 + space(&text[end + 1..]);
                    if text.get(behind) == Some(&b':') {
                        name = if hit || names_fields {
                            self.rules.field(content).or_else(|| names::secret(content))
                        } else {
                            None
                        };
                        is_name = matches!(content, b"name" | b"key" | b"field");
                        is_value = pending.is_some() && content == b"value";
                        if let Some(pointer) = &mut pointer {
                            pointer.key(content);
                        }
                        if let Some(with) = self.name(content, escaped) {
                            edits.push(Edit { at: at + 1..end, with });
                        }
                        at = behind + 1;
                        continue;
                    }
                    let mut kind = name.or(if is_value { pending } else { None });
                    kind = pointer.as_ref().and_then(Pointer::here).or(kind);
                    if is_name && hit {
                        pending = names::secret(content);
                    }
                    let is_worth = kind.is_some()
                        || hit
                        || escaped
                        || (content.len() >= SHORTEST && (may_be_base64(content) || may_be_card(content)))
                        || (wants_all && content.len() > 3);
                    if is_worth && let Some(with) = self.string(content, escaped, kind, depth) {
                        edits.push(Edit { at: at + 1..end, with });
                    }
                    at = end + 1;
                }
                b'{' => {
                    nested += 1;
                    (name, is_name, pending, is_value) = (None, false, None, false);
                    at += 1;
                }
                b'[' => {
                    nested += 1;
                    at += 1;
                }
                b'}' | b']' => {
                    nested = nested.checked_sub(1)?;
                    (name, is_name, is_value) = (None, false, false);
                    pending = if text[at] == b'}' { None } else { pending };
                    at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let length = text[at..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
                    let end = at + length.count();
                    let kind = pointer
                        .as_ref()
                        .and_then(Pointer::here)
                        .or(name.filter(|kind| matches!(kind, Kind::Password | Kind::Rule)));
                    let number = &text[at..end];
                    if (kind.is_some() || number.len() >= SHORTEST) && number.iter().all(u8::is_ascii_digit) {
                        let kind = kind.or_else(|| super::forms::card(number).map(|_| Kind::Card));
                        if let Some(with) = kind.and_then(|kind| self.token(kind, number)) {
                            edits.push(Edit { at: at..end, with });
                        }
                    }
                    at = end;
                }
                other if OUTSIDE[usize::from(other)] => at += 1,
                _ => return None,
            }
        }
        (nested == 0).then_some(edits)
    }

    /// The name of a member as it has to be written; `None` where it stays.
    fn name(&mut self, content: &[u8], escaped: bool) -> Option<Vec<u8>> {
        let plain = escaped.then(|| unescaped(content)).flatten();
        let name = plain.as_deref().unwrap_or(content);
        let known = self.known(name);
        let made = applied(name, &known)?;
        if plain.is_none() && escaped { Some(made) } else { Some(quoted(&made)) }
    }

    /// The string as it has to be written; `None` where it stays.
    fn string(&mut self, content: &[u8], escaped: bool, kind: Option<Kind>, depth: usize) -> Option<Vec<u8>> {
        let plain = escaped.then(|| unescaped(content)).flatten();
        let made = self.leaf(plain.as_deref().unwrap_or(content), kind, depth)?;
        match plain.is_none() && escaped {
            // What no text can say (a lone surrogate) is left as it is written.
            true => Some(made),
            false => Some(quoted(&made)),
        }
    }
}

/// Where the string ends that began before `start`, and whether anything is escaped in it.
fn string(text: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    let mut escaped = false;
    loop {
        // Most strings are short.
        let near = text.get(at..)?.iter().take(16).position(|byte| matches!(byte, b'"' | b'\\'));
        at += match near {
            Some(near) => near,
            None => {
                let from = (at + 16).min(text.len());
                16.min(text.len() - at) + memchr::memchr2(b'"', b'\\', &text[from..])?
            }
        };
        if text[at] == b'"' {
            return Some((at, escaped));
        }
        escaped = true;
        at += 2;
    }
}

fn space(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

/// Whether digits stand in a text as close as in the number of a card.
fn may_be_card(text: &[u8]) -> bool {
    let mut at = 13;
    while let Some(byte) = text.get(at) {
        if byte.is_ascii_digit() || matches!(byte, b' ' | b'-') {
            return text.iter().filter(|byte| byte.is_ascii_digit()).count() > 13;
        }
        at += 14;
    }
    false
}

/// The text that a JSON string says; `None` where that is none (a lone surrogate).
pub(super) fn unescaped(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    serde_json::from_str::<String>(&format!("\"{text}\"")).ok().map(String::into_bytes)
}

/// A text as it stands in a JSON string. Bytes that are not UTF-8 stay.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 8);
    for byte in text {
        match byte {
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', *byte]),
            b'\n' => quoted.extend_from_slice(b"\\n"),
            b'\r' => quoted.extend_from_slice(b"\\r"),
            b'\t' => quoted.extend_from_slice(b"\\t"),
            0..0x20 => quoted.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => quoted.push(*other),
        }
    }
    quoted
}

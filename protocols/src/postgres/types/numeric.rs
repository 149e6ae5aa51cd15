//! `numeric` in binary: digits to the base 10,000 (`numeric_send` in `src/backend/utils/adt/numeric.c`).

use super::super::message::Reader;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITE: u16 = 0xd000;
const MINUS_INFINITE: u16 = 0xf000;
/// A number of more digits before its point is left alone: zeros that nobody wrote would take the memory.
const HIGHEST_WEIGHT: i16 = 4_000;

pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let mut body = Reader(bytes);
    let count = body.i16()?;
    let (weight, sign, scale) = (body.i16()?, body.i16()? as u16, body.i16()?);
    let digits: Vec<i16> = (0..count).map(|_| body.i16()).collect::<Option<_>>()?;
    let is_readable = body.is_over()
        && (0..=0x3fff).contains(&scale)
        && (-HIGHEST_WEIGHT..=HIGHEST_WEIGHT).contains(&weight)
        && digits.iter().all(|digit| (0..10_000).contains(digit));
    if !is_readable {
        return None;
    }
    let mut text = match sign {
        0 => String::new(),
        NEGATIVE => "-".to_owned(),
        NAN => return Some("NaN".to_owned()),
        INFINITE => return Some("Infinity".to_owned()),
        MINUS_INFINITE => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let digit = |place: i32| {
        usize::try_from(i32::from(weight) - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0)
    };
    if weight < 0 {
        text.push('0');
    }
    for place in (0..=i32::from(weight)).rev() {
        let written = digit(place).to_string();
        let is_first = place == i32::from(weight);
        text.extend(std::iter::repeat_n('0', if is_first { 0 } else { 4 - written.len() }));
        text.push_str(&written);
    }
    let scale = scale as usize;
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut place = -1;
        while text.len() < end {
            text.push_str(&format!("{:04}", digit(place)));
            place -= 1;
        }
        text.truncate(end);
    }
    Some(text)
}

pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let special = |sign: u16, scale| Some([0, 0, 0, 0, (sign >> 8) as u8, 0, 0, scale].to_vec());
    match text {
        "NaN" => return special(NAN, 0),
        // The scale is read out of the bits that say what it is.
        "Infinity" => return special(INFINITE, 0x20),
        "-Infinity" => return special(MINUS_INFINITE, 0x20),
        _ => {}
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or((0, text), |rest| (NEGATIVE, rest));
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number =
        !whole.is_empty() && [whole, part].iter().all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_number || unsigned.ends_with('.') || part.len() > 0x3fff || whole.len() > 4 * HIGHEST_WEIGHT as usize {
        return None;
    }
    let before = "0".repeat((4 - whole.len() % 4) % 4);
    let after = "0".repeat((4 - part.len() % 4) % 4);
    let all = [&before, whole, part, &after].concat();
    let mut digits: Vec<i16> = all
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |all, digit| all * 10 + i16::from(digit - b'0')))
        .collect();
    let mut weight = ((before.len() + whole.len()) / 4) as i16 - 1;
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..zeros);
    weight -= zeros as i16;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let (weight, sign) = if digits.is_empty() { (0, 0) } else { (weight, sign) };
    let mut bytes = Vec::with_capacity(8 + digits.len() * 2);
    for number in [digits.len() as i16, weight, sign as i16, part.len() as i16].into_iter().chain(digits) {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_all_their_digits() {
        for (numbers, text) in [
            (&[0_i16, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 7], "7"),
            (&[2, 1, 0, 0, 1, 2345], "12345"),
            (&[1, 1, 0, 0, 1], "10000"),
            (&[2, 0, 0x4000, 2, 12, 3400], "-12.34"),
            (&[1, -1, 0, 4, 1], "0.0001"),
            (&[1, -2, 0, 8, 1], "0.00000001"),
            (&[3, 0, 0, 5, 1, 2345, 6000], "1.23456"),
            (&[0, 0, NAN as i16, 0], "NaN"),
        ] {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            assert_eq!(decode(&bytes).as_deref(), Some(text));
            assert_eq!(encode(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1.", ".5", "1e5", "+1", "1_0", "0x1"] {
            assert_eq!(encode(text), None, "{text}");
        }
        assert_eq!(decode(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), None);
    }
}

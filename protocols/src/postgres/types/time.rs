//! Dates and times: days and microseconds since 2000 (`src/backend/utils/adt/timestamp.c`, `datetime.c`), written as ISO 8601 has them
//! with a space. Only the years 1 to 9999 are told.

/// Days from 0000-03-01 to 2000-01-01 in the Gregorian calendar.
const EPOCH: i64 = 730_425;
const DAY: i64 = 86_400_000_000;

pub(super) fn date(days: i32) -> Option<String> {
    match days {
        i32::MAX => Some("infinity".to_owned()),
        i32::MIN => Some("-infinity".to_owned()),
        days => civil(i64::from(days)),
    }
}

pub(super) fn parse_date(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(i32::MAX),
        "-infinity" => Some(i32::MIN),
        text => i32::try_from(parse_civil(text)?).ok(),
    }
}

pub(super) fn of_day(micros: i64) -> Option<String> {
    if !(0..=DAY).contains(&micros) {
        return None;
    }
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let part = if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() };
    Some(format!("{:02}:{:02}:{:02}{part}", seconds / 3_600, seconds / 60 % 60, seconds % 60))
}

pub(super) fn parse_of_day(text: &str) -> Option<i64> {
    let (clock, part) = text.split_once('.').unwrap_or((text, ""));
    let mut numbers = clock.split(':').map(|two| two_digits(two, 2));
    let (hours, minutes, seconds) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() || minutes > 59 || seconds > 60 || part.len() > 6 {
        return None;
    }
    let micros = if part.is_empty() { 0 } else { two_digits(part, part.len())? * 10_i64.pow(6 - part.len() as u32) };
    let all = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    (all <= DAY && !text.ends_with('.')).then_some(all)
}

/// With what stands for the zone.
pub(super) fn timestamp(micros: i64, zone: &str) -> Option<String> {
    match micros {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        micros => {
            let date = civil(micros.div_euclid(DAY))?;
            Some(format!("{date} {}{zone}", of_day(micros.rem_euclid(DAY))?))
        }
    }
}

/// Of one with a zone the offset counts.
pub(super) fn parse_timestamp(text: &str, zoned: bool) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (date, rest) = text.split_once(' ')?;
    let (time, offset) = match rest.find(['+', '-']) {
        Some(at) if zoned => (&rest[..at], parse_offset(&rest[at..])?),
        None if !zoned => (rest, 0),
        _ => return None,
    };
    parse_civil(date)?.checked_mul(DAY)?.checked_add(parse_of_day(time)?)?.checked_sub(offset)
}

/// `+02`, `-03:30`, `+01:02:03`, in microseconds.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, clock) = text.split_at_checked(1)?;
    let mut seconds = 0;
    let mut unit = 3_600;
    for two in clock.split(':') {
        seconds += two_digits(two, 2)? * unit;
        unit /= 60;
    }
    Some(seconds * 1_000_000 * if sign == "-" { -1 } else { 1 })
}

fn two_digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The date so many days from 2000-01-01 on. Years begin in March, so that the odd day is the last of one.
fn civil(days: i64) -> Option<String> {
    let days = days.checked_add(EPOCH)?;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    (1..=9_999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn parse_civil(text: &str) -> Option<i64> {
    let mut numbers = text.split('-');
    let year = two_digits(numbers.next()?, 4)?;
    let (month, day) = (two_digits(numbers.next()?, 2)?, two_digits(numbers.next()?, 2)?);
    if numbers.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    let year_of_march = if month > 2 { year } else { year - 1 };
    let (era, rest) = (year_of_march.div_euclid(400), year_of_march.rem_euclid(400));
    let months = if month > 2 { month - 3 } else { month + 9 };
    let days = era * 146_097 + rest * 365 + rest / 4 - rest / 100 + (153 * months + 2) / 5 + day - 1 - EPOCH;
    // A day that the month does not have is none.
    (civil(days)? == text).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        assert_eq!(civil(0).as_deref(), Some("2000-01-01"));
        assert_eq!(civil(59).as_deref(), Some("2000-02-29"));
        assert_eq!(civil(-1).as_deref(), Some("1999-12-31"));
        for days in (-730_000..2_900_000).step_by(17) {
            let text = civil(days).unwrap();
            assert_eq!(parse_civil(&text), Some(days), "{text}");
        }
        assert_eq!((civil(-731_000), civil(3_000_000)), (None, None));
        assert_eq!((parse_civil("2001-02-29"), parse_civil("2001-2-3"), parse_civil("x")), (None, None, None));
    }

    #[test]
    fn offsets_count() {
        let utc = parse_timestamp("2024-05-06 07:08:09.5+00", true);
        assert_eq!(parse_timestamp("2024-05-06 09:08:09.5+02", true), utc);
        assert_eq!(parse_timestamp("2024-05-06 03:38:09.500000-03:30", true), utc);
        assert_eq!(
            (parse_timestamp("2024-05-06 07:08:09", true), parse_timestamp("2024-05-06 07:08:09+00", false)),
            (None, None)
        );
    }
}

//! Floating-point numbers as text: the fewest digits that come back (`src/backend/utils/adt/float.c`, `src/common/d2s.c`).

/// As `float8` is written.
pub(super) fn double(value: f64) -> String {
    written(&format!("{value:e}"), 15)
}

/// As `float4` is written.
pub(super) fn single(value: f32) -> String {
    written(&format!("{value:e}"), 6)
}

/// From `-1.25e7`: with an exponent from so many digits on, and below 0.0001.
fn written(scientific: &str, digits_before: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            _ => "NaN",
        }
        .to_owned();
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if !(-4..digits_before).contains(&exponent) {
        let by = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{by}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let Ok(whole) = usize::try_from(exponent + 1) else {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    };
    match digits.split_at_checked(whole) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some(("", part)) => format!("{sign}0.{part}"),
        Some((whole, part)) => format!("{sign}{whole}.{part}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
    }
}

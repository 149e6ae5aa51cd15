//! Decimal numbers, exact.

/// The longest number that is read.
const LONGEST: usize = 64;

/// A decimal number: `digits` times ten to the power of minus `scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diff) struct Decimal {
    digits: i128,
    scale: i32,
}

impl Decimal {
    /// Reads a number as JSON writes it; `None` for anything else, and for one with more digits than fit.
    pub(super) fn read(text: &str) -> Option<Decimal> {
        if text.len() > LONGEST {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole.strip_prefix('-').unwrap_or(whole)) || !is_number(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Decimal { digits, scale: fraction.len() as i32 - i32::from(exponent) })
    }

    /// Whether it is below zero.
    pub(super) fn is_negative(self) -> bool {
        self.digits < 0
    }

    /// Whether `actual` is not more than this away from `expected`. Numbers too far apart in size to tell are not.
    pub(super) fn covers(self, expected: Decimal, actual: Decimal) -> bool {
        let apart = || {
            let [expected, actual] = same_scale([expected, actual])?;
            Some(Decimal { digits: expected.digits.checked_sub(actual.digits)?.checked_abs()?, scale: expected.scale })
        };
        apart().and_then(|apart| same_scale([apart, self])).is_some_and(|[apart, most]| apart.digits <= most.digits)
    }

    /// Whether `actual` is not more than this many percent of `expected` away from it.
    pub(super) fn covers_percent(self, expected: Decimal, actual: Decimal) -> bool {
        let share = || {
            let digits = expected.digits.checked_abs()?.checked_mul(self.digits)?;
            Some(Decimal { digits, scale: expected.scale.checked_add(self.scale)?.checked_add(2)? })
        };
        share().is_some_and(|share| share.covers(expected, actual))
    }
}

/// The numbers with the scale of the finest.
fn same_scale(numbers: [Decimal; 2]) -> Option<[Decimal; 2]> {
    let scale = numbers[0].scale.max(numbers[1].scale);
    let scaled = |number: Decimal| {
        if number.digits == 0 {
            return Some(Decimal { digits: 0, scale });
        }
        let factor = 10_i128.checked_pow(u32::try_from(scale.checked_sub(number.scale)?).ok()?)?;
        Some(Decimal { digits: number.digits.checked_mul(factor)?, scale })
    };
    Some([scaled(numbers[0])?, scaled(numbers[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(most: &str, expected: &str, actual: &str) -> bool {
        let read = |text| Decimal::read(text).unwrap_or_else(|| panic!("{text} is a number"));
        match most.strip_suffix('%') {
            Some(percent) => read(percent).covers_percent(read(expected), read(actual)),
            None => read(most).covers(read(expected), read(actual)),
        }
    }

    #[test]
    fn tolerances_are_exact() {
        assert!(covers("0.01", "1.00", "1.01"));
        assert!(!covers("0.01", "1.00", "1.010000000000000001"));
        assert!(covers("0", "1", "1.0"));
        assert!(covers("1", "-0.5", "0.5"));
        assert!(!covers("0.9", "12345678901234567890123", "12345678901234567890124"));
        assert!(covers("1%", "200", "202"));
        assert!(!covers("1%", "200", "202.0001"));
        assert!(covers("1%", "-200", "-198"));
        assert!(covers("100", "1e2", "2E+2"));
        assert!(!covers("1", "0", "1e3000"));
        assert!(!covers("50%", "1e-3000", "1e3000"));
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", ".5", "1.", "+1", "1e", "e1", "1e99999", "0x1", "1 ", "NaN", &"9".repeat(50)] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }
}

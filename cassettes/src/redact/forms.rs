//! Secrets that say by their form what they are: credentials of well-known issuers, and numbers of cards.

use std::sync::LazyLock;

/// Which characters a credential is made of, after its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    /// Letters and digits.
    Plain,
    /// Those and `_`.
    Word,
    /// Those and `-`.
    Url,
    /// Those and `.`, `=`, `+`, `/`.
    Any,
    /// Letters, digits, `_`, `-` and `/`.
    Path,
    /// Upper-case letters and digits.
    Upper,
    /// Hexadecimal digits in lower case, and `-`.
    Hex,
}

impl Letters {
    fn has(self, byte: u8) -> bool {
        match self {
            Letters::Plain => byte.is_ascii_alphanumeric(),
            Letters::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Letters::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Letters::Any => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=' | b'+' | b'/'),
            Letters::Path => Letters::Url.has(byte) || byte == b'/',
            Letters::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Letters::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'),
        }
    }
}

/// A credential that begins with what only such credentials begin with.
#[derive(Debug)]
pub(super) struct Credential {
    /// How it begins.
    pub prefix: &'static str,
    letters: Letters,
    /// How many characters follow, at least and at most.
    length: (usize, usize),
}

const fn credential(prefix: &'static str, letters: Letters, least: usize, most: usize) -> Credential {
    Credential { prefix, letters, length: (least, most) }
}

/// The longest credential that is looked for.
const LONGEST: usize = 2048;

/// The forms that issuers document, or that the rules of gitleaks and secretlint have. One that begins like another comes before it.
pub(super) const CREDENTIALS: &[Credential] = &[
    credential("AKIA", Letters::Upper, 16, 16),
    credential("ASIA", Letters::Upper, 16, 16),
    credential("ABIA", Letters::Upper, 16, 16),
    credential("ghp_", Letters::Plain, 36, 255),
    credential("gho_", Letters::Plain, 36, 255),
    credential("ghu_", Letters::Plain, 36, 255),
    credential("ghs_", Letters::Plain, 36, 255),
    credential("ghr_", Letters::Plain, 36, 255),
    credential("github_pat_", Letters::Word, 22, 255),
    credential("glpat-", Letters::Url, 20, 255),
    credential("gldt-", Letters::Url, 20, 255),
    credential("glrt-", Letters::Url, 20, 255),
    credential("xoxb-", Letters::Url, 10, 255),
    credential("xoxp-", Letters::Url, 10, 255),
    credential("xoxa-", Letters::Url, 10, 255),
    credential("xoxr-", Letters::Url, 10, 255),
    credential("xoxs-", Letters::Url, 10, 255),
    credential("xoxe-", Letters::Url, 10, 255),
    credential("xapp-", Letters::Url, 10, 255),
    credential("hooks.slack.com/services/", Letters::Path, 20, 100),
    credential("discord.com/api/webhooks/", Letters::Path, 20, 200),
    credential("sk_live_", Letters::Plain, 16, 255),
    credential("sk_test_", Letters::Plain, 16, 255),
    credential("rk_live_", Letters::Plain, 16, 255),
    credential("rk_test_", Letters::Plain, 16, 255),
    credential("whsec_", Letters::Any, 24, 255),
    credential("AIza", Letters::Url, 35, 35),
    credential("GOCSPX-", Letters::Url, 28, 28),
    credential("ya29.", Letters::Any, 20, LONGEST),
    credential("sk-ant-", Letters::Url, 20, 255),
    credential("sk-proj-", Letters::Url, 20, 255),
    credential("sk-", Letters::Plain, 40, 255),
    credential("npm_", Letters::Plain, 36, 36),
    credential("pypi-AgE", Letters::Url, 50, LONGEST),
    credential("SG.", Letters::Any, 40, 100),
    credential("key-", Letters::Hex, 32, 32),
    credential("shpat_", Letters::Plain, 32, 32),
    credential("shpss_", Letters::Plain, 32, 32),
    credential("shpca_", Letters::Plain, 32, 32),
    credential("dop_v1_", Letters::Hex, 64, 64),
    credential("doo_v1_", Letters::Hex, 64, 64),
    credential("hvs.", Letters::Url, 24, 255),
    credential("hvb.", Letters::Url, 24, 255),
    credential("dapi", Letters::Hex, 32, 34),
    credential("sq0atp-", Letters::Url, 22, 60),
    credential("sq0csp-", Letters::Url, 43, 60),
    credential("lin_api_", Letters::Plain, 40, 60),
    credential("hf_", Letters::Plain, 34, 40),
    credential("AGE-SECRET-KEY-1", Letters::Upper, 58, 58),
    credential("dckr_pat_", Letters::Url, 27, 60),
    credential("ATATT3", Letters::Any, 60, 255),
    credential("PMAK-", Letters::Hex, 59, 59),
    credential("dp.pt.", Letters::Plain, 40, 60),
    credential("glsa_", Letters::Word, 32, 60),
    credential("NRAK-", Letters::Upper, 27, 27),
    credential("sntrys_", Letters::Any, 40, 500),
    credential("sntryu_", Letters::Hex, 64, 64),
    credential("xkeysib-", Letters::Url, 60, 100),
    credential("rubygems_", Letters::Hex, 48, 48),
    credential("figd_", Letters::Url, 30, 60),
    credential("pscale_tkn_", Letters::Any, 30, 60),
    credential("gsk_", Letters::Plain, 48, 60),
    credential("sbp_", Letters::Hex, 40, 40),
];

impl Credential {
    /// How long the credential is that a text begins with.
    pub fn read(&self, text: &[u8]) -> Option<usize> {
        let rest = text.strip_prefix(self.prefix.as_bytes())?;
        let count = rest.iter().take(self.length.1 + 1).take_while(|byte| self.letters.has(**byte)).count();
        let (least, most) = self.length;
        ((least..=most).contains(&count)).then_some(self.prefix.len() + count)
    }
}

/// The known credential that is all of a text.
pub(super) fn prefix_of(text: &[u8]) -> Option<&'static Credential> {
    static FIRST: LazyLock<[bool; 256]> = LazyLock::new(|| {
        let mut first = [false; 256];
        CREDENTIALS.iter().for_each(|one| first[usize::from(one.prefix.as_bytes()[0])] = true);
        first
    });
    if !FIRST[usize::from(*text.first()?)] {
        return None;
    }
    CREDENTIALS.iter().find(|one| one.read(text) == Some(text.len()))
}

/// The numbers of cards that an issuer gives: how they begin, as a range of so many digits, and how long they are.
const ISSUERS: &[(u32, u32, usize, &[usize])] = &[
    // Visa
    (4, 4, 1, &[16, 19]),
    // Mastercard
    (51, 55, 2, &[16]),
    (2221, 2720, 4, &[16]),
    // American Express
    (34, 34, 2, &[15]),
    (37, 37, 2, &[15]),
    // Discover
    (6011, 6011, 4, &[16, 19]),
    (644, 649, 3, &[16, 19]),
    (65, 65, 2, &[16, 19]),
    // Diners Club
    (300, 305, 3, &[14, 16]),
    (36, 36, 2, &[14, 16]),
    (38, 39, 2, &[14, 16]),
    // JCB
    (3528, 3589, 4, &[16, 19]),
    // UnionPay
    (62, 62, 2, &[16, 19]),
];

/// The fewest and the most digits of a card, and the most bytes with what separates groups.
pub(super) const CARD: (usize, usize, usize) = (14, 19, 24);

/// How many digits of a text say who issued the card that it is the number of; `None` where it is none. Digits may be
/// in groups, with one and the same space or hyphen between them.
pub(super) fn card(text: &[u8]) -> Option<usize> {
    if text.len() < CARD.0 || text.len() > CARD.2 {
        return None;
    }
    let mut digits = [0; CARD.1];
    let mut count = 0;
    let mut separator = None;
    let mut apart = true;
    for byte in text {
        match byte {
            b'0'..=b'9' if count < CARD.1 => {
                digits[count] = *byte;
                count += 1;
                apart = false;
            }
            b' ' | b'-' if !apart && separator.is_none_or(|other| other == *byte) => {
                separator = Some(*byte);
                apart = true;
            }
            _ => return None,
        }
    }
    let digits = &digits[..count];
    let issuer = ISSUERS.iter().find(|(first, last, length, lengths)| {
        let begins = digits.iter().take(*length).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        lengths.contains(&count) && (*first..=*last).contains(&begins)
    });
    issuer.filter(|_| !apart && has_checksum(digits)).map(|(_, _, length, _)| *length)
}

/// ISO/IEC 7812-1: every second digit from the right counts twice.
pub(super) fn has_checksum(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|digit| u32::from(digit - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(index, digit)| match digit * 2 {
            _ if index % 2 == 0 => digit,
            twice if twice > 9 => twice - 9,
            twice => twice,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_an_issuer_a_length_and_a_checksum() {
        for card_number in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
            "6200000000000005",
        ] {
            assert!(card(card_number.as_bytes()).is_some(), "{card_number}");
        }
        for other in [
            "4111111111111112",
            "411111111111111",
            "4111  1111 1111 1111",
            "4111 1111-1111 1111",
            "4111 1111 1111 1111 ",
            "1764362499123456789",
            "1111111111111117",
            "4006381333931",
        ] {
            assert!(card(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn credentials_are_known_as_a_whole() {
        let known = |text: &str| prefix_of(text.as_bytes()).map(|one| one.prefix);
        assert_eq!(known("AKIAIOSFODNN7EXAMPLE"), Some("AKIA"));
        assert_eq!(known("AKIAIOSFODNN7EXAMPL"), None);
        assert_eq!(known("AKIAIOSFODNN7EXAMPLES"), None);
        assert_eq!(known("sk-ant-api03-0123456789abcdef"), Some("sk-ant-"));
        assert_eq!(known(""), None);
    }
}

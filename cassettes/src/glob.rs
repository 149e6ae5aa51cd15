//! Patterns for whole texts.

/// Whether `pattern` stands for all of `text`: `*` for any bytes, `?` for one, anything else for itself. At most
/// |pattern|·|text| steps.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Only the last star is tried again.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|&c| c == b'?' || c == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_for_the_whole_text() {
        assert!(glob("post-*", "post-orders"));
        assert!(!glob("post-*", "get-post-orders"));
        assert!(glob("*T??????.*-000?", "20261122T101502.123456Z-0007"));
        assert!(glob("*", ""));
        assert!(!glob("?", ""));
        assert!(!glob("", "a"));
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!glob(&format!("{}b", "*a".repeat(40)), &"a".repeat(20_000)));
    }
}

//! Names and values: forms, cookies, queries; and the segments of a path.

use super::{Places, text};
use crate::{
    diff::open,
    percent::{form_encoded, percent_decoded},
};

/// One of several texts, by what it is called.
pub(super) struct Named<'a> {
    pub name: String,
    pub text: &'a [u8],
}

/// The texts of `olds` with those of `news` at these places. Texts of one name are taken together, where the first of them
/// stood, else at the end; `inside` edits one, by the indices on both sides, that is the only one of its name on both.
pub(super) fn named(
    olds: &[Named<'_>],
    news: &[Named<'_>],
    places: &Places,
    inside: impl Fn(usize, usize, &Places) -> Option<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    let of = |all: &[Named<'_>], name: &str| all.iter().filter(|one| one.name == name).count();
    let mut taken: Vec<&str> = Vec::new();
    let mut edited = Vec::with_capacity(olds.len());
    for (index, old) in olds.iter().enumerate() {
        let below = places.below(&old.name);
        if below.is_empty() {
            edited.push(old.text.to_vec());
            continue;
        }
        let mut same = news.iter().enumerate().filter(|(_, new)| new.name == old.name);
        if !below.are_whole() && of(olds, &old.name) == 1 && of(news, &old.name) == 1 {
            edited.push(inside(index, same.next()?.0, &below)?);
        } else if !taken.contains(&old.name.as_str()) {
            edited.extend(same.map(|(_, new)| new.text.to_vec()));
        }
        taken.push(&old.name);
    }
    let is_added = |new: &&Named<'_>| of(olds, &new.name) == 0 && !places.below(&new.name).is_empty();
    edited.extend(news.iter().filter(is_added).map(|new| new.text.to_vec()));
    Some(edited)
}

/// The texts of `olds` with those of `news` at these places, by number.
pub(super) fn numbered<'a>(
    olds: &[&'a [u8]],
    news: &[&'a [u8]],
    places: &Places,
    inside: impl Fn(&[u8], &[u8], &Places) -> Option<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    if olds.len() != news.len() {
        return None;
    }
    let pairs = olds.iter().zip(news).enumerate();
    let edited = pairs.map(|(index, (old, new))| match places.at(index) {
        below if below.is_empty() => Some(old.to_vec()),
        below if below.are_whole() => Some(new.to_vec()),
        below => inside(old, new, &below),
    });
    edited.collect()
}

/// A form (WHATWG URL section 5.1).
pub(super) fn form(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    let (olds, news) = (form_pairs(old)?, form_pairs(new)?);
    let edited = named(&olds, &news, places, |i, j, below| {
        let ((label, old), (_, new)) = (open::pair_of(olds[i].text), open::pair_of(news[j].text));
        let decoded = |value: Option<&[u8]>| String::from_utf8(percent_decoded(value?, true)?.into_owned()).ok();
        let value = text(&decoded(old)?, &decoded(new)?, below)?;
        Some([label, b"=", form_encoded(&value).as_bytes()].concat())
    })?;
    Some(edited.join(&b"&"[..]))
}

fn form_pairs(content: &[u8]) -> Option<Vec<Named<'_>>> {
    let pair = |text| {
        let name = String::from_utf8(percent_decoded(open::pair_of(text).0, true)?.into_owned()).ok()?;
        Some(Named { name, text })
    };
    content.split(|byte| *byte == b'&').map(pair).collect()
}

/// A `Cookie` field.
pub(super) fn cookies(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    pairs(old, new, "; ", places)
}

/// Pairs as they are written.
fn pairs(old: &[u8], new: &[u8], separator: &str, places: &Places) -> Option<Vec<u8>> {
    let (olds, news) = (split(old, separator)?, split(new, separator)?);
    let edited = named(&olds, &news, places, |i, j, below| {
        let ((label, old), (_, new)) = (open::pair_of(olds[i].text), open::pair_of(news[j].text));
        let value = text(std::str::from_utf8(old?).ok()?, std::str::from_utf8(new?).ok()?, below)?;
        Some([label, b"=", value.as_bytes()].concat())
    })?;
    Some(edited.join(separator.as_bytes()))
}

fn split<'a>(content: &'a [u8], separator: &str) -> Option<Vec<Named<'a>>> {
    let pairs = std::str::from_utf8(content).ok()?.split(separator);
    let named = |pair: &'a str| {
        let name = pair.split('=').next().unwrap_or_default().to_owned();
        Named { name, text: pair.as_bytes() }
    };
    Some(pairs.map(named).collect())
}

/// `Set-Cookie` fields by the names of their cookies.
pub(super) fn set_cookies(olds: &[&[u8]], news: &[&[u8]], places: &Places) -> Option<Vec<Vec<u8>>> {
    fn by_name<'a>(fields: &[&'a [u8]]) -> Option<Vec<Named<'a>>> {
        let named = |field: &&'a [u8]| {
            let name = std::str::from_utf8(field).ok()?.split('=').next().unwrap_or_default();
            Some(Named { name: name.trim().to_owned(), text: field })
        };
        fields.iter().map(named).collect()
    }
    named(&by_name(olds)?, &by_name(news)?, places, |i, j, below| set_cookie(olds[i], news[j], below))
}

/// A `Set-Cookie` field: `/value` and its attributes.
fn set_cookie(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    let parts = |field| {
        let mut parts = split(field, ";")?;
        parts.iter_mut().for_each(|part| part.name = part.name.trim().to_ascii_lowercase());
        parts.first_mut()?.name = "value".to_owned();
        Some(parts)
    };
    let edited = named(&parts(old)?, &parts(new)?, places, |_, _, _| None)?;
    Some(edited.join(&b";"[..]))
}

/// A target (RFC 9112 section 3.2.1), as written.
pub(super) fn target(old: &str, new: &str, places: &Places) -> Option<String> {
    let path_and_query = |target: &str| target.find('?').unwrap_or(target.len());
    let ((old_path, old_query), (new_path, new_query)) =
        (old.split_at(path_and_query(old)), new.split_at(path_and_query(new)));
    let (of_path, of_query) = (places.below("path"), places.below("query"));
    let path = match of_path.is_empty() {
        true => old_path.as_bytes().to_vec(),
        false => numbered(&segments(old_path), &segments(new_path), &of_path, |_, _, _| None)?.join(&b"/"[..]),
    };
    let query = match (old_query.strip_prefix('?'), new_query.strip_prefix('?')) {
        _ if of_query.is_empty() => old_query.as_bytes().to_vec(),
        _ if of_query.are_whole() => new_query.as_bytes().to_vec(),
        (Some(old), Some(new)) => [b"?".to_vec(), pairs(old.as_bytes(), new.as_bytes(), "&", &of_query)?].concat(),
        _ => return None,
    };
    String::from_utf8([path, query].concat()).ok()
}

fn segments(path: &str) -> Vec<&[u8]> {
    path.split('/').map(str::as_bytes).collect()
}

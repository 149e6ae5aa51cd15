//! The whitespace of a JSON body, noted apart from its tokens so that the body reads like JSON in a cassette
//! whatever its spacing was on the wire.

use super::json::{Document, Fault, Kind, Node};

/// The added end of a named layout whose text ends in one newline.
const NEWLINE: &str = " + newline";

/// The whitespace between the tokens of a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    Named {
        style: Style,
        /// One newline after the value.
        newline: bool,
    },
    /// Runs of whitespace: one slot before every token and one after the last.
    Listed(Vec<(usize, String)>),
}

/// A way of spacing that many programs write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// None at all.
    Compact,
    /// A space after `,` and `:` (Python's default).
    Spaced,
    /// One member a line, indented by this much, a space after `:`.
    Indent(String),
}

impl Layout {
    /// What nothing noted means.
    pub const DEFAULT: Layout = Layout::Named { style: Style::Compact, newline: false };

    /// The layout that gives the document's text back.
    pub fn of(document: &Document<'_>) -> Layout {
        let text = document.text;
        let named = |style: Style| {
            let newline = text.ends_with('\n');
            let layout = Layout::Named { style, newline };
            (layout.apply(document.root()).as_deref() == Ok(text)).then_some(layout)
        };
        let style = match document.tokens.get(1) {
            Some(second) => {
                let before = &text[document.tokens[0].end..second.start];
                match before.strip_prefix('\n') {
                    Some(indent) => Style::Indent(indent.to_owned()),
                    None => Style::Spaced,
                }
            }
            None => Style::Compact,
        };
        let indent_has_name = !matches!(&style, Style::Indent(indent) if indent_name(indent).is_none());
        named(Style::Compact)
            .or_else(|| indent_has_name.then(|| named(style)).flatten())
            .unwrap_or_else(|| Layout::Listed(runs(document)))
    }

    /// The text that a value's tokens make in this layout.
    pub fn apply(&self, value: Node<'_>) -> Result<String, Fault> {
        match self {
            Layout::Named { style, newline } => {
                let mut text = style.apply(value);
                if *newline {
                    text.push('\n');
                }
                Ok(text)
            }
            Layout::Listed(runs) => {
                let mut slots = runs.iter().flat_map(|(count, space)| std::iter::repeat_n(space.as_str(), *count));
                let mut text = String::new();
                for (_, token) in value.tokens() {
                    let space = slots.next().ok_or_else(|| value.fault("the layout is too short for this body"))?;
                    text.push_str(space);
                    text.push_str(token);
                }
                text.push_str(slots.next().ok_or_else(|| value.fault("the layout is too short for this body"))?);
                match slots.next() {
                    None => Ok(text),
                    Some(_) => Err(value.fault("the layout is too long for this body")),
                }
            }
        }
    }

    /// As written in a cassette: the name, or the list of runs (a count where it is not one, then the whitespace).
    pub fn written(&self) -> Result<String, Vec<String>> {
        match self {
            Layout::Named { style, newline } => {
                let name = match style {
                    Style::Compact => "compact".to_owned(),
                    Style::Spaced => "spaced".to_owned(),
                    Style::Indent(indent) => format!("indent {}", indent_name(indent).unwrap_or_default()),
                };
                Ok(name + if *newline { NEWLINE } else { "" })
            }
            Layout::Listed(runs) => Err(runs
                .iter()
                .map(|(count, space)| if *count == 1 { space.clone() } else { format!("{count}{space}") })
                .collect()),
        }
    }

    /// Read what [`Layout::written`] wrote.
    pub fn read(node: Node<'_>) -> Result<Layout, Fault> {
        if node.kind() == Kind::ArrayOpen {
            return node.items()?.into_iter().map(read_run).collect::<Result<_, _>>().map(Layout::Listed);
        }
        let written = node.string()?;
        let (name, newline) = match written.strip_suffix(NEWLINE) {
            Some(name) => (name, true),
            None => (written.as_str(), false),
        };
        let style = match name {
            "compact" => Style::Compact,
            "spaced" => Style::Spaced,
            "indent tab" => Style::Indent("\t".to_owned()),
            _ => match name.strip_prefix("indent ").and_then(|n| n.parse().ok()).filter(|n| (1..=8).contains(n)) {
                Some(spaces) => Style::Indent(" ".repeat(spaces)),
                None => return Err(node.fault("not a layout: compact, spaced, indent 1 to 8, indent tab, or a list")),
            },
        };
        Ok(Layout::Named { style, newline })
    }
}

impl Style {
    fn apply(&self, value: Node<'_>) -> String {
        let (gap, indent) = match self {
            Style::Compact => ("", None),
            Style::Spaced => (" ", None),
            Style::Indent(indent) => (" ", Some(indent)),
        };
        let mut text = String::with_capacity(value.tokens().map(|(_, token)| token.len()).sum());
        let mut depth = 0;
        let mut before = None;
        for (kind, token) in value.tokens() {
            let empty = kind.closes() && before.is_some_and(Kind::opens);
            if kind.closes() {
                depth -= 1;
            }
            let breaks = (before.is_some_and(Kind::opens) || before == Some(Kind::Comma) || kind.closes()) && !empty;
            match indent {
                Some(indent) if breaks => {
                    text.push('\n');
                    text.extend(std::iter::repeat_n(indent.as_str(), depth));
                }
                None if before == Some(Kind::Comma) => text.push_str(gap),
                _ => {}
            }
            if before == Some(Kind::Colon) {
                text.push_str(gap);
            }
            text.push_str(token);
            if kind.opens() {
                depth += 1;
            }
            before = Some(kind);
        }
        text
    }
}

fn indent_name(indent: &str) -> Option<String> {
    match indent {
        "\t" => Some("tab".to_owned()),
        _ if (1..=8).contains(&indent.len()) && indent.bytes().all(|b| b == b' ') => Some(indent.len().to_string()),
        _ => None,
    }
}

fn runs(document: &Document<'_>) -> Vec<(usize, String)> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    let mut from = 0;
    let ends = document.tokens.iter().map(|token| (token.start, token.end));
    for (start, end) in ends.chain([(document.text.len(), document.text.len())]) {
        let space = &document.text[from..start];
        match runs.last_mut() {
            Some((count, last)) if last == space => *count += 1,
            _ => runs.push((1, space.to_owned())),
        }
        from = end;
    }
    runs
}

fn read_run(node: Node<'_>) -> Result<(usize, String), Fault> {
    let written = node.string()?;
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (count, space) = written.split_at(digits);
    let count = if digits == 0 { Some(1) } else { count.parse().ok() };
    match count {
        Some(count) if space.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) => {
            Ok((count, space.to_owned()))
        }
        _ => Err(node.fault("not a run of whitespace: an optional count, then spaces, tabs, newlines")),
    }
}

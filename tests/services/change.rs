//! What a new build of the shop does differently.

use serde_json::json;

/// A change of the shop.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// One that is written in its source, by its name there.
    Named(&'static str),
    /// One of what it says.
    Edit(Edit),
}

/// Part of what is said, replaced.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// Who is told: `answer` the client, `call` a downstream.
    pub at: &'static str,
    /// Method and target of those requests begin so.
    pub operation: &'static str,
    /// `status` of an answer, `method` and `target` of a call; `body`; `header/NAME`; `header` for one that is added,
    /// `Name: value`.
    pub part: &'static str,
    /// What is replaced wherever it stands in the part; the shop ends where it does not. Empty for the whole part.
    pub from: &'static str,
    /// What it is replaced by. A header that becomes empty is left out.
    pub to: &'static str,
}

impl From<&'static str> for Change {
    fn from(name: &'static str) -> Change {
        Change::Named(name)
    }
}

impl Change {
    /// The environment variable that tells the shop.
    pub fn variable(self) -> (&'static str, String) {
        match self {
            Change::Named(name) => ("SHOP_CHANGE", name.to_owned()),
            Change::Edit(Edit { at, operation, part, from, to }) => {
                let edit = json!({"at": at, "operation": operation, "part": part, "from": from, "to": to});
                ("SHOP_EDIT", edit.to_string())
            }
        }
    }
}

//! What identifies an operation.

use std::fmt;

/// What a request asks for, without the data that it brings. Two requests of different operations never answer one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    /// In HTTP the method, else the command.
    pub method: String,
    /// In HTTP the path of the target as written: no query, no authority (but the whole target of a CONNECT). Else what the
    /// command is for where that is part of what is asked, as the tables of an SQL statement; empty where it is not.
    pub path: String,
}

/// `POST /orders`, `GET`, `SELECT orders`
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.method)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " {}", self.path) }
    }
}

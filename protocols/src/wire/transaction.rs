//! Transactions of databases, as far as exchanges tell.

/// What an exchange tells of the transaction on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// It begins one, and asks for nothing else.
    pub begins: bool,
    /// It says how the transaction goes (`BEGIN`, `SAVEPOINT a`, `COMMIT`), and asks for nothing else.
    pub frames: bool,
    /// It throws it away, or a part of it (`ROLLBACK`), and asks for nothing else.
    pub drops: bool,
    /// Whether one is open when it is over; `None` where that is not told.
    pub goes_on: Option<bool>,
}

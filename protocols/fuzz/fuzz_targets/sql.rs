//! Any text as SQL: it has an operation, the same each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_protocols::sql::{Dialect, is_write, operation};

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        assert_eq!(operation(text, dialect), operation(text, dialect));
        is_write(text, dialect);
    }
});

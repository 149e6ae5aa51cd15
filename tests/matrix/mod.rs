//! The regression matrix: one recording of each service, replayed against the same build, against builds that changed
//! harmlessly and against builds with a seeded regression. A table for each says what replay must say of each change.

pub mod expected;
pub mod shop;

use crate::{
    harness::{Need, require},
    services::{Language, RecordedShop, Source},
};

#[test]
fn shop_in_python() {
    hold("matrix::python", Language::Python, Source::Proxy);
}

#[test]
fn shop_in_node() {
    hold("matrix::node", Language::Node, Source::Ebpf);
}

#[test]
fn shop_in_go() {
    hold("matrix::go", Language::Go, Source::Ebpf);
}

/// Record the shop once, replay it with every change, and report all rows that do not hold.
#[cfg(test)]
fn hold(test: &str, language: Language, source: Source) {
    let mut needs = vec![language.need(), Need::Sandbox];
    if source == Source::Ebpf {
        needs.push(Need::Ebpf);
    }
    if !require(test, &needs) {
        return;
    }
    let recorded = RecordedShop::record(language, source);
    let rows: Vec<_> = shop::rows(language).collect();
    let broken: Vec<String> = rows.iter().filter_map(|row| row.hold(&recorded).err()).collect();
    assert!(broken.is_empty(), "{} of {} rows do not hold\n{}", broken.len(), rows.len(), broken.join("\n"));
}

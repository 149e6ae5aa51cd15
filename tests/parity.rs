use crate::{
    harness::{Corpus, Need, neutral, require},
    services::{Language, RecordedShop, Source},
};

#[test]
fn python_says_the_same_by_every_source() {
    compare("parity::python", Language::Python);
}

#[test]
fn node_says_the_same_by_every_source() {
    compare("parity::node", Language::Node);
}

#[test]
fn go_says_the_same_by_every_source() {
    compare("parity::go", Language::Go);
}

/// The same tour on the same ports, recorded by every kernel source that the host has and by proxy.
fn compare(test: &str, language: Language) {
    if !require(test, &[language.need(), Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let working = regress_ebpf::probe().sources.into_iter().filter(|probed| probed.result.is_ok());
    let mut others: Vec<Source> = working.map(|probed| Source::Kernel(probed.source)).collect();
    assert!(!others.is_empty(), "the kernel has a source");
    others.push(Source::Proxy);
    let mut recorded = RecordedShop::record(language, others.remove(0));
    let first = Corpus::read(&recorded.cassettes());
    for source in others {
        recorded = recorded.record_again(source);
        let other = Corpus::read(&recorded.cassettes());
        assert_eq!(first.cassettes.len(), other.cassettes.len());
        for (one, other) in first.cassettes.iter().zip(&other.cassettes) {
            let (one, other) = (neutral(one.clone()), neutral(other.clone()));
            assert!(one == other, "by the first source: {one:#?}\nby {source:?}: {other:#?}");
        }
        assert_eq!(first.ambient.len(), other.ambient.len(), "the start-up call, by {source:?}");
    }
}

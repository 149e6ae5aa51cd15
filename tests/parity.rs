use crate::{
    harness::{Corpus, Need, neutral, require},
    services::{Language, RecordedShop, Source},
};

#[test]
fn python_says_the_same_by_kernel_and_by_proxy() {
    compare("parity::python", Language::Python);
}

#[test]
fn node_says_the_same_by_kernel_and_by_proxy() {
    compare("parity::node", Language::Node);
}

#[test]
fn go_says_the_same_by_kernel_and_by_proxy() {
    compare("parity::go", Language::Go);
}

/// The same tour, recorded twice on the same ports.
fn compare(test: &str, language: Language) {
    if !require(test, &[language.need(), Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(language, Source::Ebpf);
    let by_kernel = Corpus::read(&recorded.cassettes());
    let again = recorded.record_again(Source::Proxy);
    let by_proxy = Corpus::read(&again.cassettes());
    assert_eq!(by_kernel.cassettes.len(), by_proxy.cassettes.len());
    for (kernel, proxy) in by_kernel.cassettes.into_iter().zip(by_proxy.cassettes) {
        pretty_equal(&neutral(kernel), &neutral(proxy));
    }
    assert_eq!(by_kernel.ambient.len(), by_proxy.ambient.len(), "the start-up call");
}

#[track_caller]
fn pretty_equal(kernel: &regress_cassettes::Cassette, proxy: &regress_cassettes::Cassette) {
    assert!(kernel == proxy, "by kernel: {kernel:#?}\nby proxy: {proxy:#?}");
}

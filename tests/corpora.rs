//! What the fuzz targets say holds for each input that fuzzing kept, without a nightly compiler: the targets are compiled in here as they
//! are, with a `fuzz_target!` of our own.

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use flate2::read::GzDecoder;

/// Targets by their source, and a test of each.
macro_rules! targets {
    ($($name:ident: $source:literal;)*) => {
        $(
            #[allow(unused_attributes, clippy::duplicate_mod, reason = "it is a crate of its own for the fuzzer")]
            #[path = $source]
            mod $name;
        )*
        mod holds_for {
            $(
                #[test]
                fn $name() {
                    super::holds_for_all($source, super::$name::run);
                }
            )*
        }
    };
}

/// What a target has to say of one input.
pub trait Input<'a>: Sized {
    /// `None` where the fuzzer would not give it these bytes.
    fn of(bytes: &'a [u8]) -> Option<Self>;
}

impl<'a> Input<'a> for &'a [u8] {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        Some(bytes)
    }
}

/// As far as it is text.
impl<'a> Input<'a> for &'a str {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        std::str::from_utf8(&bytes[..valid]).ok()
    }
}

targets! {
    cassette_files: "../cassettes/fuzz/fuzz_targets/files.rs";
    redaction: "../cassettes/fuzz/fuzz_targets/redaction.rs";
    sealed: "../cassettes/fuzz/fuzz_targets/sealed.rs";
    programs: "../ebpf/fuzz/fuzz_targets/program.rs";
    kernel_records: "../ebpf/fuzz/fuzz_targets/records.rs";
    texts_of_proc: "../ebpf/fuzz/fuzz_targets/texts.rs";
    tls_records: "../ebpf/fuzz/fuzz_targets/tls.rs";
    fastcgi: "../protocols/fuzz/fuzz_targets/fastcgi_cut.rs";
    http1_pairs: "../protocols/fuzz/fuzz_targets/http1_pair.rs";
    http1_requests: "../protocols/fuzz/fuzz_targets/http1_requests.rs";
    http1_responses: "../protocols/fuzz/fuzz_targets/http1_responses.rs";
    http2_pairs: "../protocols/fuzz/fuzz_targets/http2_pair.rs";
    redis: "../protocols/fuzz/fuzz_targets/redis.rs";
    mysql: "../protocols/fuzz/fuzz_targets/mysql.rs";
    postgres: "../protocols/fuzz/fuzz_targets/postgres.rs";
    dns: "../protocols/fuzz/fuzz_targets/dns.rs";
    connections: "../protocols/fuzz/fuzz_targets/pairer.rs";
    sql: "../protocols/fuzz/fuzz_targets/sql.rs";
    server_and_agents: "../recorder/fuzz/fuzz_targets/wire.rs";
}

/// One that is added is not forgotten.
#[test]
fn every_wire_protocol_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocols/fuzz/fuzz_targets");
    let this =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file!())).expect("this file is there");
    for protocol in regress_protocols::wire::Protocol::ALL {
        let holds = format!("holds(Protocol::{protocol:?}, input)");
        let says_so = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&holds));
        let files = std::fs::read_dir(&folder).expect("the folder can be read").flatten();
        let target = files.map(|file| file.file_name()).find(|name| says_so(&folder.join(name)));
        let target = target.unwrap_or_else(|| panic!("no fuzz target {holds}")).to_string_lossy().into_owned();
        assert!(this.contains(&format!("fuzz_targets/{target}\"")), "{target} is not run with what fuzzing kept");
    }
}

/// In place of libfuzzer's. Below the targets: they get it by its path, as for the fuzzer.
macro_rules! fuzz_target {
    (|$input:ident: $type:ty| $body:block) => {
        pub fn run(bytes: &[u8]) {
            if let Some($input) = <$type as crate::corpora::Input>::of(bytes) {
                $body
            }
        }
    };
}
pub(crate) use fuzz_target;

/// The inputs that are kept for the target with this source, `../CRATE/fuzz/fuzz_targets/NAME.rs`, are in `CRATE/fuzz/corpus/NAME.tar.gz`.
fn holds_for_all(source: &str, target: fn(&[u8])) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let name = source.file_stem().expect("it is a file").to_str().expect("it is text");
    let kept = source.with_file_name("../corpus").join(format!("{name}.tar.gz"));
    let file = File::open(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
    let mut inputs = 0;
    for entry in tar::Archive::new(GzDecoder::new(file)).entries().expect("it is an archive") {
        let mut entry = entry.expect("it is whole");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut input = Vec::new();
        entry.read_to_end(&mut input).expect("it is whole");
        // Why is said already.
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("it does not hold for {} of {}", entry.path().expect("it has a name").display(), kept.display());
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} has no input", kept.display());
}

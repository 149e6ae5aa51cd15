//! The integration tests: the `regress` command as a user has it, real services, real sockets.
//!
//! A test that needs what a host may not have (a runtime, a privilege) says so with [`harness::require`] and is
//! skipped, with the reason on stderr, where it is missing; `REGRESS_TEST_REQUIRE=all` makes that a failure.
//! `tests/install.sh` installs everything. `REGRESS_TEST_REPEATS=10` replays recorded builds ten times instead of three where they
//! have to be the same each time; with `REGRESS_TEST_SERVER=SOCKET` what is recorded by eBPF goes by way of the `regress server` there.

/// What the tests share: processes, downstreams, clients, reading cassettes.
mod harness;
/// The services under test.
mod services;
// The fuzz targets in `corpora` say that they use it.
extern crate self as libfuzzer_sys;
pub(crate) use corpora::fuzz_target;

/// Attaching to what runs: by pid, port and cgroup, in containers, with connections that were open before.
mod attach;
/// Less is recorded while the host is loaded.
mod back_off;
/// Bad input: every mistake ends in exit code 2, with `error:` and `hint:`, and nothing half-written.
mod bad_input;
/// What a service makes anew is bound to what was recorded.
mod bound;
/// The report for a browser, in a browser.
mod browser;
/// Recording a running service under concurrent clients: nothing is lost, no owner is wrong.
mod capture;
/// What the commands print.
mod cli;
/// What fuzzing kept, without the fuzzer.
mod corpora;
/// What rules say to be drawn anew is learned, bound and asserted.
mod drawn;
/// Nothing is half-written, whatever happens to its writer; x86-64 alone, by whose registers calls are made to fail.
#[cfg(target_arch = "x86_64")]
mod durable;
/// HTTP at its edges, over real sockets.
mod edges;
/// The direction of the dependencies and the size of the files.
mod house;
/// What is said inside TLS, read from the libraries that say it.
mod inside_tls;
/// A recorder that is killed leaves nothing half done.
mod killed;
/// Streams that the service ends because their client is gone.
mod left;
/// What is lost is said to be lost.
mod losses;
/// The regression matrix: what each change of a service must lead to.
mod matrix;
/// What Prometheus is told.
mod metrics;
/// What varies by itself: rules proposed, accepted, and no more than that covered.
mod noise;
/// Recordings in an object store.
mod object_stores;
/// Owners that only what is said can tell.
mod owners;
/// Kernel and proxy recording of the same traffic say the same.
mod parity;
mod proof;
/// Reports where they are used.
mod reports;
/// Accepting and rejecting differences.
mod review;
/// The crate for Rust tests: what differs is a snapshot of insta.
mod rust_tests;
/// Nothing gets out of the sandbox.
mod sealed;
/// Cassettes that only who has an identity can read.
mod sealing;
/// A part of a corpus, and a replay that was interrupted.
mod select;
/// Which entries a recording keeps.
mod selection;
/// Recording by way of a server: whose processes, and how either ends.
mod server;
/// Connections on which nothing is said.
mod silence;
/// A recorded build is the same as itself, every time.
mod stable;
/// Services that keep things in Redis and databases.
mod stores;
/// Downstreams behind TLS: recorded and replayed.
mod tls;
/// Entries and downstreams over Unix sockets.
mod unix;

//! Services that keep things in a store, by the clients that Go, Java and Rust programs commonly use: of each language one program,
//! whose argument says which service it is.

use std::{path::Path, process::Command, sync::OnceLock};

use crate::{
    harness::{Process, tools},
    services::source,
};

/// The command that runs one of the services in Go.
pub(super) fn go_client(service: &str) -> Vec<String> {
    static BUILT: OnceLock<String> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let program = built("clients-go");
        let mut build = Command::new("go");
        build.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").current_dir(source("clients-go"));
        Process::start(build.args(["build", "-o", &program, "."])).finish().expect_code(0);
        program
    });
    vec![built.clone(), service.to_owned()]
}

/// The command that runs one of the services in Java, out of what `tests/install.sh` copied.
pub(super) fn java_client(service: &str) -> Vec<String> {
    static BUILT: OnceLock<String> = OnceLock::new();
    let classes = BUILT.get_or_init(|| {
        let (classes, jars) = (built("clients-java"), tools().join("clients-java"));
        let mut build = Command::new("javac");
        build.args(["-d", &classes, "-cp", &format!("{}/*", jars.display()), "-sourcepath"]);
        build.arg(source("clients-java")).arg(source("clients-java/Clients.java"));
        Process::start(&mut build).finish().expect_code(0);
        format!("{classes}:{}/*", jars.display())
    });
    // A virtual machine that is quick to start.
    let options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", classes, "Clients", service];
    std::iter::once("java").chain(options).map(str::to_owned).collect()
}

/// The command that runs one of the services in Rust, which `tests/install.sh` has built, so that what is left is what changed since.
pub(super) fn rust_client(service: &str) -> Vec<String> {
    static BUILT: OnceLock<String> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let target = tools().join("clients-rust").display().to_string();
        let mut build = Command::new("cargo");
        build.args(["build", "--locked", "--offline", "--quiet", "--manifest-path"]);
        build.arg(source("clients-rust/Cargo.toml")).args(["--target-dir", &target]);
        Process::start(&mut build).finish().expect_code(0);
        format!("{target}/debug/clients-rust")
    });
    vec![program.clone(), service.to_owned()]
}

fn built(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display().to_string()
}

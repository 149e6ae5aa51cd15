use std::{collections::BTreeMap, path::Path, process::Command};

/// What each crate of ours may depend on among ours, in the order of the house.
const HOUSE: &[(&str, &[&str])] = &[
    ("regress-protocols", &[]),
    ("regress-ebpf", &[]),
    ("regress-cassettes", &["regress-protocols"]),
    ("regress-mockserver", &["regress-cassettes", "regress-protocols"]),
    ("regress-recorder", &["regress-cassettes", "regress-ebpf", "regress-mockserver", "regress-protocols"]),
    ("regress-remote", &["regress-cassettes"]),
    ("regress-replayer", &["regress-cassettes", "regress-mockserver", "regress-protocols"]),
    // It runs the command and reads its report, as a user's tests do.
    ("regress-test", &[]),
    (
        "regress",
        &[
            "regress-cassettes",
            "regress-ebpf",
            "regress-mockserver",
            "regress-protocols",
            "regress-recorder",
            "regress-remote",
            "regress-replayer",
            "regress-test",
        ],
    ),
];

/// The longest a file may be.
const LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn dependencies_point_one_way() {
    let asked = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs this test");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let house: BTreeMap<&str, &[&str]> = HOUSE.iter().copied().collect();

    let mut seen = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let allowed = house.get(name).unwrap_or_else(|| panic!("{name} has no place in the house"));
        for dependency in package["dependencies"].as_array().expect("a package has dependencies") {
            let on = dependency["name"].as_str().expect("a dependency has a name");
            let ours = on == "regress" || on.starts_with("regress-");
            assert!(!ours || allowed.contains(&on), "{name} must not depend on {on}");
        }
        seen.push(name);
    }
    assert_eq!(seen.len(), house.len(), "the house has {:?}, the workspace has {seen:?}", house.keys());
}

#[test]
fn no_source_file_is_too_long() {
    let sources = walkdir::WalkDir::new(root()).into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        !(name.starts_with('.') || name.starts_with("target") || name == "node_modules")
    });
    let mut looked_at = 0;
    for entry in sources {
        let entry = entry.expect("the source can be read");
        let written_by_hand = ["rs", "c", "h", "py", "mjs", "go", "sh"];
        let extension = entry.path().extension().unwrap_or_default();
        if !written_by_hand.iter().any(|known| extension == *known) || entry.file_name() == "vmlinux.h" {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("source is text");
        let lines = text.lines().count();
        assert!(lines <= LINES, "{} has {lines} lines; split it", entry.path().display());
        looked_at += 1;
    }
    assert!(looked_at > 20, "the source is here");
}

/// What is written as it is was read from a store before. Whoever else needs that redacts.
#[test]
fn few_write_what_they_read() {
    let allowed = [
        "cassettes/src/pack/merge.rs",
        "cassettes/src/redact/mod.rs",
        "recorder/src/recorrelate.rs",
        "recorder/src/sink.rs",
        "replayer/src/review.rs",
        "src/commands/cassette/redact.rs",
        "src/commands/record/self_check.rs",
    ];
    let mut found = Vec::new();
    for folder in ["cassettes/src", "mockserver/src", "recorder/src", "replayer/src", "src"] {
        for entry in walkdir::WalkDir::new(root().join(folder)) {
            let path = entry.expect("the source can be read").into_path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if is_rust && std::fs::read_to_string(&path).expect("source is text").contains("from_files(") {
                found.push(path.strip_prefix(root()).expect("it is below the root").display().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(found, allowed);
}

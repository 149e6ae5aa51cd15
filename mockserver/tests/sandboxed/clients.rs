//! Unchanged clients over TLS: by name and by address, without a word about our authority.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regress_mockserver::intercept::{Arrival, Intercepted};
use regress_mockserver::sandbox::Spec;
use regress_mockserver::tls::{Authority, is_client_hello};

use crate::harness::{Ran, Running, Test, block_on, find, respond, spec};

pub const TESTS: &[Test] = &[
    ("curl", curl),
    ("curl_without_variables", curl_without_variables),
    ("python_urllib", python_urllib),
    ("python_requests", python_requests),
    ("python_httpx", python_httpx),
    ("python_certifi_by_path", python_certifi_by_path),
    ("node", node),
    ("go_static", go_static),
    ("java", java),
    ("php_curl", php_curl),
    ("php_streams", php_streams),
];

const NAME: &str = "https://api.example.com/";
const ADDRESS: &str = "https://203.0.113.9/";
const V6: &str = "https://[2001:db8::9]/";

/// Runs a client that prints the answers of `urls` without anything between them.
fn client(spec: Spec, urls: &[&str]) -> Ran {
    let names = [("api.example.com", "203.0.113.9")];
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let trust = authority.trust_files(directory.path()).unwrap();
    block_on(async {
        let mut running = Running::start(Spec { trust: Some(trust), ..spec }, &names).await.unwrap();
        let status = loop {
            tokio::select! {
                status = running.sandbox.exited() => break status,
                seen = running.seen.recv() => {
                    if let Some(Intercepted::Connection(arrival)) = seen
                        && let Err(error) = play(&authority, arrival).await
                    {
                        println!("while playing: {error}");
                    }
                }
            }
        };
        let output = running.sandbox.last_output();
        let expected: String = urls
            .iter()
            .map(|url| if *url == V6 { "played for [2001:db8::9]:443" } else { "played for 203.0.113.9:443" })
            .collect();
        assert_eq!((output.replace('\n', ""), status.code()), (expected, Some(0)));
    });
    Ok(())
}

async fn play(authority: &Authority, arrival: Arrival) -> std::io::Result<()> {
    let mut first = [0];
    arrival.stream.peek(&mut first).await?;
    assert!(is_client_hello(first[0]));
    let stream = authority.acceptor(arrival.destination, false).accept(arrival.stream).await?;
    respond(stream, arrival.destination).await?;
    Ok(())
}

fn command(program: &Path, arguments: &[&str]) -> Spec {
    let mut command = vec![OsString::from(program)];
    command.extend(arguments.iter().map(OsString::from));
    spec(command)
}

/// The command with an environment that names no certificates, as a service that clears it would have.
fn without_variables(program: &Path, arguments: &[&str]) -> Spec {
    let mut all = vec!["-i", "PATH=/usr/bin:/bin", program.to_str().unwrap()];
    all.extend(arguments);
    command(Path::new("/usr/bin/env"), &all)
}

fn curl() -> Ran {
    client(command(&find("curl")?, &["-sS", NAME, ADDRESS, V6]), &[NAME, ADDRESS, V6])
}

fn curl_without_variables() -> Ran {
    client(without_variables(&find("curl")?, &["-sS", NAME, ADDRESS]), &[NAME, ADDRESS])
}

fn python(needs: &str, program: &str) -> Ran {
    let python = find("python3")?;
    let has =
        Command::new(&python).args(["-c", &format!("import {needs}")]).output().map_err(|error| error.to_string())?;
    if !has.status.success() {
        return Err(format!("no Python package {needs}"));
    }
    client(command(&python, &["-c", program, NAME, ADDRESS]), &[NAME, ADDRESS])
}

fn python_urllib() -> Ran {
    python(
        "urllib.request",
        "import sys, urllib.request\nfor url in sys.argv[1:]: print(urllib.request.urlopen(url).read().decode())",
    )
}

fn python_requests() -> Ran {
    python("requests", "import sys, requests\nfor url in sys.argv[1:]: print(requests.get(url).text)")
}

fn python_httpx() -> Ran {
    python("httpx", "import sys, httpx\nfor url in sys.argv[1:]: print(httpx.get(url).text)")
}

/// What botocore, gRPC and many others do: name certifi's file themselves.
fn python_certifi_by_path() -> Ran {
    let program = "import sys, ssl, certifi, urllib.request\n\
        context = ssl.create_default_context(cafile=certifi.where())\n\
        for url in sys.argv[1:]: print(urllib.request.urlopen(url, context=context).read().decode())";
    python("certifi", program)
}

fn node() -> Ran {
    let program = "const https = require('https');\n\
        const get = url => new Promise((ok, no) => https.get(url, r => { let t = ''; r.on('data', d => t += d); r.on('end', () => ok(t)); }).on('error', no));\n\
        (async () => { for (const url of process.argv.slice(1)) { console.log(await (await fetch(url)).text()); console.log(await get(url)); } })();";
    client(command(&find("node")?, &["-e", program, NAME, ADDRESS]), &[NAME, NAME, ADDRESS, ADDRESS])
}

fn go_static() -> Ran {
    let program = "package main\nimport (\"fmt\"; \"io\"; \"net/http\"; \"os\")\nfunc main() { for _, url := range os.Args[1:] {\n\
        r, err := http.Get(url); if err != nil { panic(err) }; b, _ := io.ReadAll(r.Body); fmt.Println(string(b)) } }\n";
    let go = find("go")?;
    // Built by the first user who comes here, and run by all: its standard library takes a while.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-client");
    if !built.exists() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("main.go");
        std::fs::write(&source, program).unwrap();
        let output = Command::new(go)
            .args(["build", "-o"])
            .args([&built, &source])
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", directory.path().join("cache"))
            .env("GOFLAGS", "-mod=mod")
            .env("GOTOOLCHAIN", "local")
            .current_dir(directory.path())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("go cannot build: {}", String::from_utf8_lossy(&output.stderr)));
        }
        std::fs::set_permissions(&built, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    client(command(&built, &[NAME, ADDRESS]), &[NAME, ADDRESS])
}

fn java() -> Ran {
    let program = "import java.net.*; import java.net.http.*;\npublic class Client { public static void main(String[] urls) throws Exception {\n\
        for (String url : urls) { System.out.println(HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(),\n\
        HttpResponse.BodyHandlers.ofString()).body()); } } }\n";
    let java = find("java")?;
    find("javac")?;
    let directory = tempfile::tempdir().unwrap();
    let source: PathBuf = directory.path().join("Client.java");
    std::fs::write(&source, program).unwrap();
    client(command(&java, &[source.to_str().unwrap(), NAME, ADDRESS]), &[NAME, ADDRESS])
}

fn php(needs: &str, program: &str) -> Ran {
    let php = find("php")?;
    let modules = Command::new(&php).arg("-m").output().map_err(|error| error.to_string())?;
    if !String::from_utf8_lossy(&modules.stdout).lines().any(|module| module == needs) {
        return Err(format!("no PHP extension {needs}"));
    }
    client(command(&php, &["-r", program, NAME, ADDRESS]), &[NAME, ADDRESS])
}

fn php_curl() -> Ran {
    php(
        "curl",
        "foreach (array_slice($argv, 1) as $url) { $c = curl_init($url); curl_setopt($c, CURLOPT_RETURNTRANSFER, true);\n\
         $t = curl_exec($c); echo $t === false ? curl_error($c) : $t, \"\\n\"; }",
    )
}

fn php_streams() -> Ran {
    php("openssl", "foreach (array_slice($argv, 1) as $url) { echo file_get_contents($url), \"\\n\"; }")
}

//! What a test needs of the host, and the skip that must be earned.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Something a host may not have.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// CPython 3.
    Python,
    /// CPython 3 where every user may run it.
    PythonForAll,
    /// Node.js.
    Node,
    /// The Go toolchain.
    Go,
    /// Cargo, and the packages that the tests are built of.
    Cargo,
    /// curl.
    Curl,
    /// git.
    Git,
    /// Chromium.
    Browser,
    /// PHP for the command line, with its curl.
    Php,
    /// PHP's server for FastCGI.
    PhpFpm,
    /// A Java development kit.
    Java,
    /// The clients in Java that `tests/install.sh` copies, and a development kit.
    JavaClients,
    /// The services of `tests/services/clients-rust`, as `tests/install.sh` builds them, and cargo.
    RustClients,
    /// nginx.
    Nginx,
    /// httpbin and gunicorn, as `tests/install.sh` puts them.
    Httpbin,
    /// redis-py and ioredis, as `tests/install.sh` puts them, and a Redis server.
    Redis,
    /// aiohttp, as `tests/install.sh` puts it.
    Aiohttp,
    /// grpcio and grpc-js, as `tests/install.sh` puts them.
    Grpc,
    /// grpc-java, as `tests/install.sh` puts it, and a Java development kit.
    GrpcJava,
    /// The gRPC shop on tonic, as `tests/install.sh` builds it, and cargo.
    Tonic,
    /// PyMySQL and mysql2, as `tests/install.sh` puts them, and a MariaDB server.
    Mysql,
    /// PHP with its clients of MySQL.
    PhpMysql,
    /// PHP with its clients of PostgreSQL.
    PhpPgsql,
    /// Adminer.
    Adminer,
    /// webdis.
    Webdis,
    /// Prometheus' exporter for Redis.
    RedisExporter,
    /// psycopg and node-postgres, as `tests/install.sh` puts them, a PostgreSQL server, and the right to run it as its user.
    Postgres,
    /// Prometheus' exporter for PostgreSQL.
    PostgresExporter,
    /// moto's server of S3, as `tests/install.sh` puts it.
    S3,
    /// verdaccio, as `tests/install.sh` puts it.
    Verdaccio,
    /// The rights to load and attach kernel programs.
    Ebpf,
    /// User namespaces in which a sandbox can be built.
    Sandbox,
    /// Root, and a user `nobody` to become.
    Nobody,
    /// The right to trace a process of one's own.
    Trace,
    /// Root, to mount.
    Root,
    /// A cgroup2 hierarchy in which cgroups can be made.
    Cgroup,
}

/// Whether the host has all of it. If not, says so and returns false, so that the test can return; panics where
/// `REGRESS_TEST_REQUIRE=all` forbids to skip.
pub fn require(test: &str, needs: &[Need]) -> bool {
    for need in needs {
        if let Err(reason) = need.check() {
            let everything = std::env::var("REGRESS_TEST_REQUIRE").is_ok_and(|value| value == "all");
            assert!(!everything, "{test} needs {need:?}: {reason}");
            // Not `eprintln!`, which libtest hides when a test passes.
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
            return false;
        }
    }
    true
}

impl Need {
    /// Whether the host has it, or why not.
    pub fn check(self) -> Result<(), String> {
        match self {
            Need::Python => runs("python3", &["--version"]),
            Need::PythonForAll => python_for_all().map(drop).ok_or_else(|| "no Python that nobody may run".to_owned()),
            Need::Node => runs("node", &["--version"]),
            Need::Go => runs("go", &["version"]),
            Need::Cargo => runs("cargo", &["--version"]),
            Need::Curl => runs("curl", &["--version"]),
            Need::Git => runs("git", &["--version"]),
            Need::Browser => runs("chromium", &["--version"]),
            Need::Php => runs("php", &["-r", "exit(function_exists('curl_init') ? 0 : 1);"]),
            Need::PhpFpm => php_fpm().map(drop).ok_or_else(|| "no php-fpm in /usr/sbin".to_owned()),
            Need::Java => runs("java", &["--version"]),
            Need::JavaClients => runs("javac", &["--version"]).and(installed("clients-java")),
            Need::RustClients => installed("clients-rust/debug/clients-rust").and(Need::Cargo.check()),
            Need::Nginx => runs("nginx", &["-v"]),
            Need::Httpbin => installed("venv/bin/gunicorn"),
            Need::Redis => runs("redis-server", &["--version"])
                .and(installed("node_modules/ioredis"))
                .and(runs(&tools().join("venv/bin/python").display().to_string(), &["-c", "import redis"])),
            Need::Aiohttp => runs(&tools().join("venv/bin/python").display().to_string(), &["-c", "import aiohttp"]),
            Need::Grpc => installed("node_modules/@grpc/grpc-js")
                .and(runs(&tools().join("venv/bin/python").display().to_string(), &["-c", "import grpc"])),
            Need::GrpcJava => installed("grpc-java/asked-for").and(Need::Java.check()),
            Need::Tonic => installed("grpc-tonic/release/grpc-tonic").and(Need::Cargo.check()),
            Need::Mysql => runs("mariadbd", &["--version"])
                .and(installed("node_modules/mysql2"))
                .and(runs(&tools().join("venv/bin/python").display().to_string(), &["-c", "import pymysql"])),
            Need::PhpMysql => {
                runs("php", &["-r", "exit(extension_loaded('mysqli') && extension_loaded('pdo_mysql') ? 0 : 1);"])
            }
            Need::PhpPgsql => {
                runs("php", &["-r", "exit(extension_loaded('pgsql') && extension_loaded('pdo_pgsql') ? 0 : 1);"])
            }
            Need::Adminer => installed("/usr/share/adminer/adminer/index.php"),
            Need::Webdis => runs("sh", &["-c", "command -v webdis"]),
            Need::RedisExporter => runs("prometheus-redis-exporter", &["-version"]),
            Need::Postgres => postgres_programs()
                .map(drop)
                .ok_or_else(|| "no server in /usr/lib/postgresql".to_owned())
                .and(runs("runuser", &["-u", "postgres", "--", "true"]))
                .and(installed("node_modules/pg"))
                .and(runs(&tools().join("venv/bin/python").display().to_string(), &["-c", "import psycopg_pool"])),
            Need::PostgresExporter => runs("prometheus-postgres-exporter", &["--version"]),
            Need::S3 => installed("venv/bin/moto_server"),
            Need::Verdaccio => installed("node_modules/verdaccio/bin/verdaccio"),
            Need::Ebpf if !nix::unistd::geteuid().is_root() => Err("not root".into()),
            Need::Ebpf => std::fs::metadata("/sys/kernel/btf/vmlinux")
                .map(drop)
                .map_err(|error| format!("/sys/kernel/btf/vmlinux: {error}")),
            Need::Sandbox => runs("unshare", &["--user", "--map-root-user", "--net", "--mount", "true"]),
            Need::Nobody => runs("runuser", &["-u", "nobody", "--", "true"]),
            Need::Cgroup => {
                let top = cgroup_hierarchy()?;
                let made = tempfile::Builder::new().prefix("regress-test-").tempdir_in(&top);
                let made = made.map_err(|error| format!("{}: {error}", top.display()))?;
                std::fs::remove_dir(made.keep()).map_err(|error| error.to_string())
            }
            Need::Trace => match std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
                Ok(scope) if scope.trim() == "3" => Err("kernel.yama.ptrace_scope forbids it".to_owned()),
                _ => Ok(()),
            },
            Need::Root if nix::unistd::geteuid().is_root() => Ok(()),
            Need::Root => Err("not root".into()),
        }
    }
}

fn runs(program: &str, args: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {}: {status}", args.join(" "))),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Where the programs of a PostgreSQL server are: of the newest, by the name of its folder.
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let programs = versions.map(|version| version.path().join("bin")).filter(|folder| folder.join("postgres").exists());
    programs.max()
}

/// The interpreter that `nobody` has for Python: that of another user's may be where nobody else looks.
pub fn python_for_all() -> Option<String> {
    // By a shell: who becomes another user may still look where that user may not.
    let find = "for python in python3 /usr/bin/python3; do $python -c 'import sys; print(sys.executable)' && exit; done; exit 1";
    let asked =
        Command::new("runuser").args(["-u", "nobody", "--", "sh", "-c", find]).current_dir("/").output().ok()?;
    let python = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    (asked.status.success() && !python.is_empty()).then_some(python)
}

/// PHP's server for FastCGI, whose name has its version.
pub fn php_fpm() -> Option<PathBuf> {
    let programs = std::fs::read_dir("/usr/sbin").ok()?.flatten().map(|file| file.path());
    programs.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))).max()
}

/// Where the unified cgroup hierarchy is mounted.
pub fn cgroup_hierarchy() -> Result<PathBuf, String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let point = line.and_then(|line| line.split(' ').nth(1));
    point.map(PathBuf::from).ok_or_else(|| "no cgroup2 file system is mounted".to_owned())
}

/// The folder in which `tests/install.sh` puts what it installs.
pub fn tools() -> PathBuf {
    if let Some(named) = std::env::var_os("REGRESS_TEST_TOOLS") {
        return named.into();
    }
    let caches = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    caches.unwrap_or_else(std::env::temp_dir).join("regress-tests")
}

fn installed(path: &str) -> Result<(), String> {
    let path = tools().join(path);
    if path.exists() { Ok(()) } else { Err(format!("no {}: run tests/install.sh", path.display())) }
}

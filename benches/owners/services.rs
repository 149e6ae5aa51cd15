//! The services, one file a runtime.

pub mod tokio;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};

use crate::{cell::Failure, databases::Kind, tools};

/// A way in which a service makes its two calls.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    runtime: Runtime,
    /// The service's first argument.
    mode: &'static str,
    /// How many percent of the owners have to be known.
    pub owned: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Runtime {
    Python,
    Node,
    /// With the hook of `regress hook node`.
    HookedNode,
    Go,
    /// With drivers for databases.
    GoModules,
    Java,
    /// With drivers for databases, and a pool.
    JavaModules,
    /// With the hook of `regress hook java`.
    HookedJava,
    Tokio,
    Ruby,
    /// Its own server, with eight processes.
    Php,
    /// In Apache, with a process for each connection.
    ModPhp,
    PhpFpm,
    /// Calls once.
    Nginx,
}

impl Case {
    /// It calls without being asked as well.
    pub fn has_background(&self) -> bool {
        self.mode.ends_with("background")
    }

    /// It gives up calls, which the downstream then need not serve.
    pub fn gives_up(&self) -> bool {
        self.mode.ends_with("cancel")
    }

    /// The database that it asks instead of the downstream.
    pub fn database(&self) -> Option<Kind> {
        let asks = |name| self.mode.split('-').any(|word| word == name);
        asks("postgres").then_some(Kind::Postgres).or(asks("mysql").then_some(Kind::Mysql))
    }

    /// How many calls it makes for an entry there.
    pub fn calls(&self) -> u64 {
        if self.mode.contains("transactions") { 6 } else { 2 }
    }
}

const fn case(name: &'static str, runtime: Runtime, mode: &'static str, owned: f64) -> Case {
    Case { name, runtime, mode, owned }
}

pub const CASES: &[Case] = &[
    case("python-threads", Runtime::Python, "threads", 99.9),
    case("python-threads-timer", Runtime::Python, "timer", 99.9),
    case("two-services", Runtime::Python, "two-services", 99.9),
    case("python-executor", Runtime::Python, "executor", 99.9),
    case("python-asyncio", Runtime::Python, "asyncio", 99.9),
    case("python-asyncio-timer", Runtime::Python, "asyncio-timer", 99.9),
    case("python-asyncio-pool-of-10", Runtime::Python, "asyncio-pool", 99.9),
    case("python-asyncio-parallel", Runtime::Python, "asyncio-parallel", 99.9),
    case("python-asyncio-executor", Runtime::Python, "asyncio-executor", 99.9),
    case("python-asyncio-to-thread", Runtime::Python, "asyncio-to-thread", 99.9),
    case("python-asyncio-workers", Runtime::Python, "asyncio-workers", 99.9),
    case("python-asyncio-after-response", Runtime::Python, "asyncio-after-response", 99.9),
    case("python-uvloop", Runtime::Python, "uvloop", 99.0),
    case("python-uvloop-timer", Runtime::Python, "uvloop-timer", 99.0),
    case("python-uvloop-parallel", Runtime::Python, "uvloop-parallel", 99.0),
    case("aiohttp", Runtime::Python, "aiohttp", 99.9),
    case("aiohttp-pool-of-10", Runtime::Python, "aiohttp-pool", 99.9),
    case("python-redis", Runtime::Python, "redis", 99.9),
    case("python-redis-pool-of-10", Runtime::Python, "redis-pool", 99.9),
    case("python-asyncio-redis", Runtime::Python, "asyncio-redis", 99.9),
    case("python-asyncio-redis-pool-of-10", Runtime::Python, "asyncio-redis-pool", 99.9),
    case("python-psycopg", Runtime::Python, "postgres", 99.9),
    case("python-psycopg-pool-of-10", Runtime::Python, "postgres-pool", 99.9),
    case("python-psycopg-transactions-pool-of-10", Runtime::Python, "postgres-transactions-pool", 99.9),
    case("python-psycopg-transactions-background", Runtime::Python, "postgres-transactions-background", 99.9),
    case("python-asyncio-psycopg", Runtime::Python, "asyncio-postgres", 99.9),
    case("python-asyncio-psycopg-pool-of-10", Runtime::Python, "asyncio-postgres-pool", 99.9),
    case("python-pymysql", Runtime::Python, "mysql", 99.9),
    case("python-pymysql-pool-of-10", Runtime::Python, "mysql-pool", 99.9),
    case("node-http", Runtime::Node, "http", 99.9),
    case("node-http-pool-of-10", Runtime::Node, "pool", 99.9),
    case("node-fetch", Runtime::Node, "fetch", 99.9),
    case("node-fetch-timer", Runtime::Node, "fetch-timer", 99.9),
    case("node-http-timer", Runtime::Node, "timer", 99.9),
    case("node-http-parallel", Runtime::Node, "parallel", 99.9),
    case("node-axios", Runtime::Node, "axios", 99.9),
    case("node-undici-pool-of-10", Runtime::Node, "undici", 99.9),
    case("node-ioredis", Runtime::Node, "ioredis", 99.9),
    case("node-pg-pool-of-10", Runtime::Node, "postgres", 99.9),
    case("node-mysql2-pool-of-10", Runtime::Node, "mysql", 99.9),
    case("node-queue", Runtime::Node, "queue", 99.9),
    case("node-background", Runtime::Node, "background", 99.9),
    case("node-after-response", Runtime::Node, "after", 99.9),
    case("node-hook-http", Runtime::HookedNode, "http", 99.9),
    case("node-hook-http-timer", Runtime::HookedNode, "timer", 99.9),
    case("node-hook-http-pool-of-10", Runtime::HookedNode, "pool", 99.9),
    case("node-hook-http-parallel", Runtime::HookedNode, "parallel", 99.9),
    case("node-hook-fetch", Runtime::HookedNode, "fetch", 99.9),
    case("node-hook-fetch-timer", Runtime::HookedNode, "fetch-timer", 99.9),
    case("node-hook-fetch-parallel", Runtime::HookedNode, "fetch-parallel", 99.9),
    case("node-hook-axios", Runtime::HookedNode, "axios", 99.9),
    case("node-hook-undici-pool-of-10", Runtime::HookedNode, "undici", 99.9),
    case("node-hook-ioredis", Runtime::HookedNode, "ioredis", 99.9),
    case("node-hook-pg-pool-of-10", Runtime::HookedNode, "postgres", 99.9),
    case("node-hook-mysql2-pool-of-10", Runtime::HookedNode, "mysql", 99.9),
    case("node-hook-workers", Runtime::HookedNode, "workers", 99.9),
    case("node-hook-lost-context", Runtime::HookedNode, "queue", 99.9),
    case("node-hook-background", Runtime::HookedNode, "background", 99.9),
    case("node-hook-after-response", Runtime::HookedNode, "after", 99.9),
    case("go", Runtime::Go, "sequential", 99.9),
    case("go-timer", Runtime::Go, "timer", 99.9),
    case("go-pool-of-10", Runtime::Go, "pool", 99.9),
    case("go-parallel", Runtime::Go, "parallel", 99.9),
    case("go-http2", Runtime::Go, "http2-sequential", 99.9),
    case("go-http2-timer", Runtime::Go, "http2-timer", 99.9),
    case("go-http2-parallel", Runtime::Go, "http2-parallel", 99.9),
    case("go-http2-workers", Runtime::Go, "http2-workers", 99.9),
    case("go-http2-cancel", Runtime::Go, "http2-cancel", 99.9),
    case("go-http2-after-response", Runtime::Go, "http2-after", 99.9),
    case("go-cancel", Runtime::Go, "cancel", 99.9),
    case("go-redis-pool-of-10", Runtime::Go, "redis", 99.9),
    case("go-pq-pool-of-10", Runtime::GoModules, "postgres-pq", 99.9),
    case("go-pgx-pool-of-10", Runtime::GoModules, "postgres-pgx", 99.9),
    case("go-pgx-transactions-pool-of-10", Runtime::GoModules, "postgres-pgx-transactions", 99.9),
    case("go-mysql-pool-of-10", Runtime::GoModules, "mysql", 99.9),
    case("go-workers", Runtime::Go, "workers", 99.9),
    case("go-after-response", Runtime::Go, "after", 99.9),
    case("java-url-connection", Runtime::Java, "threads", 99.9),
    case("java-http-client", Runtime::Java, "send", 99.0),
    case("java-http-client-async", Runtime::Java, "send-async", 99.0),
    case("java-http-client-timer", Runtime::Java, "timer", 99.0),
    case("java-http-client-async-timer", Runtime::Java, "async-timer", 99.0),
    case("java-http-client-parallel", Runtime::Java, "parallel", 99.0),
    case("java-http-client-pool-of-10", Runtime::Java, "pool", 99.0),
    case("java-http-client-after-response", Runtime::Java, "after", 99.0),
    case("java-executor", Runtime::Java, "executor", 99.0),
    case("java-executor-client", Runtime::Java, "executor-client", 99.0),
    case("java-completable", Runtime::Java, "completable", 99.0),
    case("java-async-handler", Runtime::Java, "async-handler", 99.0),
    case("java-mailbox", Runtime::Java, "mailbox", 99.0),
    case("java-virtual", Runtime::Java, "virtual", 99.0),
    case("java-virtual-client", Runtime::Java, "virtual-client", 99.0),
    case("java-jdbc-postgres-pool-of-10", Runtime::JavaModules, "postgres", 99.9),
    case("java-jdbc-postgres-transactions-pool-of-10", Runtime::JavaModules, "postgres-transactions", 99.9),
    case("java-jdbc-mysql-pool-of-10", Runtime::JavaModules, "mysql", 99.9),
    case("java-hook-url-connection", Runtime::HookedJava, "threads", 99.9),
    case("java-hook-http-client", Runtime::HookedJava, "send", 99.0),
    case("java-hook-http-client-async", Runtime::HookedJava, "send-async", 99.0),
    case("java-hook-http-client-timer", Runtime::HookedJava, "timer", 99.0),
    case("java-hook-http-client-async-timer", Runtime::HookedJava, "async-timer", 99.0),
    case("java-hook-http-client-parallel", Runtime::HookedJava, "parallel", 99.0),
    case("java-hook-http-client-pool-of-10", Runtime::HookedJava, "pool", 99.0),
    case("java-hook-http-client-after-response", Runtime::HookedJava, "after", 99.0),
    case("java-hook-executor", Runtime::HookedJava, "executor", 99.0),
    case("java-hook-executor-client", Runtime::HookedJava, "executor-client", 99.0),
    case("java-hook-completable", Runtime::HookedJava, "completable", 99.0),
    case("java-hook-async-handler", Runtime::HookedJava, "async-handler", 99.0),
    case("java-hook-mailbox", Runtime::HookedJava, "mailbox", 99.0),
    case("java-hook-virtual", Runtime::HookedJava, "virtual", 99.0),
    case("java-hook-virtual-client", Runtime::HookedJava, "virtual-client", 99.0),
    case("tokio", Runtime::Tokio, "sequential", 99.0),
    case("tokio-timer", Runtime::Tokio, "timer", 99.0),
    case("tokio-pool-of-10", Runtime::Tokio, "pool", 99.0),
    case("tokio-parallel", Runtime::Tokio, "parallel", 99.0),
    case("tokio-spawn", Runtime::Tokio, "spawn", 99.0),
    case("tokio-blocking", Runtime::Tokio, "blocking", 99.0),
    case("tokio-after-response", Runtime::Tokio, "after", 99.0),
    case("puma", Runtime::Ruby, "threads", 99.9),
    case("puma-timer", Runtime::Ruby, "timer", 99.9),
    case("puma-executor", Runtime::Ruby, "executor", 99.0),
    case("puma-after-response", Runtime::Ruby, "after", 99.0),
    case("php", Runtime::Php, "file", 99.9),
    case("php-curl", Runtime::Php, "curl", 99.9),
    case("php-curl-parallel", Runtime::Php, "parallel", 99.9),
    case("php-after-response", Runtime::Php, "after", 99.0),
    case("mod-php", Runtime::ModPhp, "file", 99.9),
    case("mod-php-timer", Runtime::ModPhp, "timer", 99.9),
    case("mod-php-curl", Runtime::ModPhp, "curl", 99.9),
    case("mod-php-curl-parallel", Runtime::ModPhp, "parallel", 99.9),
    case("mod-php-after-response", Runtime::ModPhp, "after", 99.0),
    case("php-fpm", Runtime::PhpFpm, "file", 99.9),
    case("php-fpm-timer", Runtime::PhpFpm, "timer", 99.9),
    case("php-fpm-curl", Runtime::PhpFpm, "curl", 99.9),
    case("php-fpm-curl-parallel", Runtime::PhpFpm, "parallel", 99.9),
    case("php-fpm-after-response", Runtime::PhpFpm, "after", 99.0),
    case("php-fpm-pdo-pgsql", Runtime::PhpFpm, "postgres", 99.9),
    case("php-fpm-mysqli", Runtime::PhpFpm, "mysql", 99.9),
    case("nginx", Runtime::Nginx, "1", 99.0),
    case("nginx-2-workers", Runtime::Nginx, "2", 99.0),
];

/// A running service; dropping it ends it.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
}

impl Service {
    pub fn start(case: &Case, downstream: SocketAddr, has_ids: bool, folder: &Path) -> Result<Service, Failure> {
        let mut command = match case.runtime {
            Runtime::Nginx => return nginx(case.mode, downstream, folder),
            Runtime::Php => return php(case.mode, downstream, folder),
            Runtime::ModPhp => return mod_php(case.mode, downstream, folder),
            Runtime::PhpFpm => return php_fpm(case.mode, downstream, folder),
            Runtime::Python => python(folder)?,
            Runtime::Node => node(folder)?,
            Runtime::HookedNode => hooked(node(folder)?, "node", "NODE_OPTIONS", "--require ", folder)?,
            Runtime::Java => java(folder)?,
            Runtime::JavaModules => java_modules(folder)?,
            Runtime::HookedJava => hooked(java(folder)?, "java", "JAVA_TOOL_OPTIONS", "-javaagent:", folder)?,
            Runtime::Go => go(folder)?,
            Runtime::GoModules => go_modules(folder)?,
            Runtime::Ruby => script("ruby", "owners.rb", include_str!("services/owners.rb"), folder)?,
            Runtime::Tokio => {
                let mut command = Command::new(env::current_exe().map_err(Failure::broken)?);
                command.arg("serve-tokio");
                command
            }
        };
        command.envs(has_ids.then_some((tokio::PASS_ON, "1")));
        command.arg(case.mode).arg(format!("http://{downstream}")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(Failure::absent)?;
        let mut line = String::new();
        let output = child.stdout.take().expect("stdout is a pipe");
        // Whatever fails here shows as a line that is no port.
        let _ = BufReader::new(output).read_line(&mut line);
        if let Some(missing) = line.strip_prefix("absent ") {
            return Err(Failure::missing(missing.trim()));
        }
        let port = line.trim().parse();
        let mut service = Service { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let port = port.map_err(|_| Failure::broken(format!("{} does not say its port, but {line:?}", case.name)))?;
        service.address.set_port(port);
        Ok(service)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where one has ended on its own there is nobody to end. Not everyone ends the children that it has.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id())).unwrap_or_default();
        for pid in iter::once(&*self.child.id().to_string()).chain(children.split_whitespace()) {
            let _ = pid.parse().map(|pid| signal::kill(Pid::from_raw(pid), signal::Signal::SIGTERM));
        }
        let _ = self.child.wait();
    }
}

fn script(interpreter: &str, name: &str, text: &str, folder: &Path) -> Result<Command, Failure> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(Failure::broken)?;
    let mut command = Command::new(interpreter);
    command.arg(path);
    Ok(command)
}

fn python(folder: &Path) -> Result<Command, Failure> {
    let mut command = script("python3", "owners.py", include_str!("services/owners.py"), folder)?;
    if let Some(tools) = tools::folder() {
        command.env("PYTHONPATH", tools.join("owners-python"));
    }
    Ok(command)
}

fn node(folder: &Path) -> Result<Command, Failure> {
    let mut command = script("node", "owners.mjs", include_str!("services/owners.mjs"), folder)?;
    if let Some(tools) = tools::folder() {
        command.env("NODE_MODULES", tools.join("npm"));
    }
    Ok(command)
}

fn java(folder: &Path) -> Result<Command, Failure> {
    // Compiled in memory, before it serves.
    script(&java_command(), "Owners.java", include_str!("services/Owners.java"), folder)
}

fn java_modules(folder: &Path) -> Result<Command, Failure> {
    let modules = tools::folder().map(|tools| tools.join("owners-java")).filter(|modules| modules.exists());
    let modules = modules.ok_or_else(|| Failure::missing("Java's drivers for databases"))?;
    let path = folder.join("OwnersSql.java");
    fs::write(&path, include_str!("services/OwnersSql.java")).map_err(Failure::broken)?;
    let mut command = Command::new(java_command());
    command.arg("-cp").arg(modules.join("*")).arg(path);
    Ok(command)
}

fn java_command() -> String {
    env::var("REGRESS_BENCH_JAVA").unwrap_or_else(|_| "java".to_owned())
}

/// As whoever starts a service would do it that is recorded later.
fn hooked(mut command: Command, name: &str, variable: &str, option: &str, folder: &Path) -> Result<Command, Failure> {
    let mut regress = Command::new(env!("CARGO_BIN_EXE_regress"));
    let printed = regress.args(["hook", name]).output().map_err(Failure::broken)?;
    let hook = folder.join(format!("hook-{name}"));
    fs::write(&hook, printed.stdout).map_err(Failure::broken)?;
    command.env(variable, format!("{option}{}", hook.display()));
    Ok(command)
}

/// An address for those who do not choose one.
fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(Failure::broken)
}

/// Those who do not tell when they listen.
fn listening(command: &mut Command, address: SocketAddr) -> Result<Service, Failure> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let service = Service { child: command.spawn().map_err(Failure::absent)?, address };
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > Duration::from_secs(10) {
            return Err(Failure::broken(format!("{command:?} does not listen")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(service)
}

fn php(mode: &str, downstream: SocketAddr, folder: &Path) -> Result<Service, Failure> {
    let script = folder.join("owners.php");
    fs::write(&script, include_str!("services/owners.php")).map_err(Failure::broken)?;
    let address = free_address()?;
    let mut command = Command::new("php");
    command.arg("-S").arg(address.to_string()).arg(script).env("PHP_CLI_SERVER_WORKERS", "8");
    listening(command.env("MODE", mode).env("DOWNSTREAM", format!("http://{downstream}")), address)
}

fn mod_php(mode: &str, downstream: SocketAddr, folder: &Path) -> Result<Service, Failure> {
    let modules = Path::new("/usr/lib/apache2/modules");
    let names = fs::read_dir(modules).map_err(Failure::absent)?.flatten().map(|file| file.file_name());
    let php = names.filter_map(|name| name.into_string().ok()).find(|name| name.starts_with("libphp"));
    let php = php.ok_or_else(|| Failure::missing("Apache's mod_php"))?;
    // Its processes are nobody's in particular.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(Failure::broken)?;
    let script = folder.join("owners.php");
    fs::write(&script, include_str!("services/owners.php")).map_err(Failure::broken)?;
    let address = free_address()?;
    let settings = format!(
        "LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
        LoadModule authz_core_module {modules}/mod_authz_core.so
        LoadModule alias_module {modules}/mod_alias.so
        LoadModule php_module {modules}/{php}
        Listen {address}
        ServerName {address}
        ServerRoot {folder}
        PidFile apache.pid
        ErrorLog apache.log
        User nobody
        Group nogroup
        ServerLimit 256
        StartServers 64
        MaxRequestWorkers 256
        MaxSpareServers 256
        MaxKeepAliveRequests 0
        KeepAliveTimeout 60
        AliasMatch ^/r/ {script}
        <FilesMatch php$>
            SetHandler application/x-httpd-php
        </FilesMatch>
        ",
        modules = modules.display(),
        folder = folder.display(),
        script = script.display(),
    );
    let path = folder.join("apache.conf");
    fs::write(&path, settings).map_err(Failure::broken)?;
    let mut command = Command::new("apache2");
    // It ends with all of its group.
    command.args(["-D", "FOREGROUND", "-f"]).arg(path).process_group(0);
    listening(command.env("MODE", mode).env("DOWNSTREAM", format!("http://{downstream}")), address)
}

/// nginx passes entries on by FastCGI; both are recorded.
fn php_fpm(mode: &str, downstream: SocketAddr, folder: &Path) -> Result<Service, Failure> {
    let programs = fs::read_dir("/usr/sbin").map_err(Failure::absent)?.flatten().map(|file| file.path());
    let is_fpm = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"));
    let fpm = programs.filter(is_fpm).max().ok_or_else(|| Failure::missing("PHP-FPM"))?;
    // Its processes are nobody's in particular.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(Failure::broken)?;
    let script = folder.join("owners.php");
    fs::write(&script, include_str!("services/owners.php")).map_err(Failure::broken)?;
    let address = free_address()?;
    // No line may begin with a blank.
    let pool = [
        "[global]",
        &format!("error_log = {}/fpm.log", folder.display()),
        "[www]",
        "user = nobody",
        "group = nogroup",
        &format!("listen = {}/fpm.sock", folder.display()),
        "listen.mode = 0666",
        "pm = static",
        "pm.max_children = 32",
        "clear_env = no\n",
    ]
    .join("\n");
    let settings = format!(
        "pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            server {{
                listen {address};
                keepalive_requests 1000000;
                location /r/ {{
                    fastcgi_pass unix:{folder}/fpm.sock;
                    fastcgi_param SCRIPT_FILENAME {script};
                    fastcgi_param REQUEST_METHOD $request_method;
                    fastcgi_param REQUEST_URI $request_uri;
                }}
            }}
        }}",
        folder = folder.display(),
        script = script.display(),
    );
    let (pool_path, settings_path) = (folder.join("fpm.conf"), folder.join("nginx.conf"));
    fs::write(&pool_path, pool).map_err(Failure::broken)?;
    fs::write(&settings_path, settings).map_err(Failure::broken)?;
    // One tree of processes: PHP-FPM's first is nginx's child.
    const START: &str = r#"
        "$1" --nodaemonize --fpm-config "$2" &
        until [ -S "$4" ]; do sleep 0.01; done
        exec nginx -c "$3" -g 'daemon off;'"#;
    let mut command = Command::new("sh");
    command.args(["-c", START, "sh"]).args([fpm, pool_path, settings_path, folder.join("fpm.sock")]);
    listening(command.env("MODE", mode).env("DOWNSTREAM", format!("http://{downstream}")), address)
}

/// With so many workers, which keep connections to the downstream open.
fn nginx(workers: &str, downstream: SocketAddr, folder: &Path) -> Result<Service, Failure> {
    let address = free_address()?;
    let settings = format!(
        "worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            upstream downstream {{ server {downstream}; keepalive 256; }}
            server {{
                listen {address};
                keepalive_requests 1000000;
                location /r/ {{
                    proxy_pass http://downstream/a/; proxy_http_version 1.1; proxy_set_header Connection '';
                }}
            }}
        }}",
        folder = folder.display()
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, settings).map_err(Failure::broken)?;
    let mut command = Command::new("nginx");
    listening(command.arg("-c").arg(path).args(["-g", "daemon off;"]), address)
}

fn go(folder: &Path) -> Result<Command, Failure> {
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off");
    built(build, "owners-go", &[("owners.go", include_str!("services/owners.go"))], folder)
}

fn go_modules(folder: &Path) -> Result<Command, Failure> {
    let modules = tools::folder().map(|tools| tools.join("owners-go")).filter(|modules| modules.exists());
    let mut build = Command::new("go");
    build.current_dir(modules.ok_or_else(|| Failure::missing("Go's drivers for databases"))?);
    let sources =
        [("owners.go", include_str!("services/owners.go")), ("owners_sql.go", include_str!("services/owners_sql.go"))];
    built(build, "owners-go-modules", &sources, folder)
}

/// A program of these files, made once.
fn built(mut build: Command, name: &str, sources: &[(&str, &str)], folder: &Path) -> Result<Command, Failure> {
    let program = folder.join(name);
    if !program.exists() {
        build.env("GOTOOLCHAIN", "local").args(["build", "-o"]).arg(&program);
        for (name, text) in sources {
            fs::write(folder.join(name), text).map_err(Failure::broken)?;
            build.arg(folder.join(name));
        }
        let built = build.output().map_err(Failure::absent)?;
        if !built.status.success() {
            return Err(Failure::broken(String::from_utf8_lossy(&built.stderr)));
        }
    }
    Ok(Command::new(program))
}

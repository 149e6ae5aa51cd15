//! Servers of PostgreSQL and MariaDB, each thrown away at the end.

use std::{
    cell::OnceCell,
    fs,
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use nix::{sys::signal, unistd};

use crate::cell::Failure;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Mysql,
}

/// One server of each kind, from where it is asked for.
#[derive(Default)]
pub struct Databases {
    postgres: OnceCell<Database>,
    mysql: OnceCell<Database>,
}

impl Databases {
    /// Where one listens that lets everybody in: `postgres` with the database of that name, or `root`.
    pub fn address(&self, kind: Kind) -> Result<SocketAddr, Failure> {
        let (cell, start): (_, fn() -> _) = match kind {
            Kind::Postgres => (&self.postgres, Database::postgres),
            Kind::Mysql => (&self.mysql, Database::mysql),
        };
        if let Some(database) = cell.get() {
            return Ok(database.address);
        }
        let started = start()?;
        Ok(cell.get_or_init(|| started).address)
    }
}

struct Database {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Database {
    fn postgres() -> Result<Database, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::broken)?;
        let data = folder.path().join("data");
        // It does not run as root.
        let command = |program: &str| {
            let program = newest_postgres()?.join(program);
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            Ok::<_, Failure>(command)
        };
        run(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()))?;
        run(command("initdb")?
            .args(["--encoding", "UTF8", "--no-locale", "-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(&data))?;
        let mut server = command("postgres")?;
        let settings = ["fsync=off", "unix_socket_directories=", "max_connections=400"];
        server.args(["-h", "127.0.0.1"]).args(settings.iter().flat_map(|setting| ["-c", setting])).arg("-D").arg(data);
        Database::listening(server, "-p", folder)
    }

    fn mysql() -> Result<Database, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::broken)?;
        let path = folder.path().display();
        let user = if unistd::geteuid().is_root() { "root" } else { "" };
        let common = ["--no-defaults".to_owned(), format!("--user={user}"), format!("--datadir={path}")];
        let mut install = Command::new("mariadb-install-db");
        run(install.args(&common).args(["--auth-root-authentication-method=normal", "--skip-test-db"]))?;
        let mut server = Command::new("mariadbd");
        server.args(common).args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=400"]);
        server.args(["--innodb-flush-log-at-trx-commit=0", &format!("--socket={path}/socket")]);
        Database::listening(server, "--port", folder)
    }

    /// `option`: how it is told its port.
    fn listening(mut server: Command, option: &str, folder: tempfile::TempDir) -> Result<Database, Failure> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(Failure::broken)?;
        server.arg(option).arg(address.port().to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = server.spawn().map_err(Failure::absent)?;
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let database = Database { child, address, _folder: folder };
        let mut said = String::new();
        // Postgres: to accept connections; MariaDB: for connections.
        while !said.contains("ready ") {
            if errors.read_line(&mut said).map_err(Failure::broken)? == 0 {
                return Err(Failure::broken(format!("{server:?} is not ready: {said}")));
            }
        }
        // Whoever says more must not wait for a reader.
        thread::spawn(move || io::copy(&mut errors, &mut io::sink()));
        Ok(database)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).map(unistd::Pid::from_raw);
        // Where it has ended on its own there is nobody to end.
        let _ = pid.map(|pid| signal::kill(pid, signal::Signal::SIGTERM));
        let _ = self.child.wait();
    }
}

/// Debian keeps the programs of each version in a folder of their own.
fn newest_postgres() -> Result<PathBuf, Failure> {
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(Failure::absent)?.flatten();
    let programs = versions.map(|version| version.path().join("bin")).filter(|path| has_server(path)).max();
    programs.ok_or_else(|| Failure::missing("PostgreSQL's server"))
}

fn has_server(folder: &Path) -> bool {
    folder.join("postgres").exists() && folder.join("initdb").exists()
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let done = command.output().map_err(Failure::absent)?;
    if done.status.success() {
        return Ok(());
    }
    Err(Failure::broken(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr))))
}

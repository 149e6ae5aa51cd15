//! The services that are recorded, each on one CPU.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};

use crate::cpu::{self, Spender};

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Nginx {
        sendfile: bool,
    },
    /// With so many microseconds of computing in each request.
    Go {
        work: u32,
    },
    Node,
    Python,
}

/// A running service; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    child: Child,
    pub pids: Vec<u32>,
    pub address: SocketAddr,
}

impl Service {
    /// # Errors
    /// In words, where the program is absent or does not start.
    pub fn start(program: Program, folder: &Path, cpu: usize) -> Result<Service, String> {
        let (child, port) = match program {
            Program::Nginx { sendfile } => nginx(sendfile, folder, cpu),
            Program::Go { work } => go(work, folder, cpu),
            Program::Node => script("node", "hello.mjs", include_str!("services/hello.mjs"), folder, cpu),
            Program::Python => script("python3", "hello.py", include_str!("services/hello.py"), folder, cpu),
        }?;
        let mut service = Service { child, pids: Vec::new(), address: SocketAddr::from(([127, 0, 0, 1], port)) };
        wait_for(service.address)?;
        service.pids = cpu::with_descendants(service.child.id());
        Ok(service)
    }

    pub fn spenders(&self) -> Vec<Spender> {
        self.pids.iter().copied().map(Spender::Process).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        end(&mut self.child, signal::Signal::SIGTERM);
    }
}

/// Ends a child by a signal, and by force if it does not listen.
pub fn end(child: &mut Child, by: signal::Signal) {
    let Ok(pid) = i32::try_from(child.id()) else { return };
    // Where it has ended on its own there is nobody to tell.
    let _ = signal::kill(Pid::from_raw(pid), by);
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until somebody accepts connections there.
pub fn wait_for(address: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = TcpStream::connect(address) {
        if Instant::now() > deadline {
            return Err(format!("nobody accepts on {address}: {error}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn need(program: &str) -> Result<(), String> {
    if is_there(program) { Ok(()) } else { Err(format!("{program} is not installed")) }
}

fn nginx(sendfile: bool, folder: &Path, cpu: usize) -> Result<(Child, u16), String> {
    need("nginx")?;
    let port = free_port()?;
    let folder = folder.join(format!("nginx-{port}"));
    let in_folder = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&folder).map_err(in_folder)?;
    for (name, length) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
        fs::write(folder.join(name), vec![b'x'; length]).map_err(in_folder)?;
    }
    let at = folder.display();
    let switch = if sendfile { "on" } else { "off" };
    let settings = format!(
        "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1; user root;
         events {{ worker_connections 256; }}
         http {{
             access_log off; sendfile {switch}; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
             client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;
             uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;
             server {{ listen 127.0.0.1:{port}; root {at}; }}
         }}"
    );
    fs::write(folder.join("nginx.conf"), settings).map_err(in_folder)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(folder.join("nginx.conf"));
    let child = cpu::spawn_on(cpu, command.stdout(Stdio::null()).stderr(Stdio::null()));
    Ok((child.map_err(|e| format!("nginx: {e}"))?, port))
}

fn go(work: u32, folder: &Path, cpu: usize) -> Result<(Child, u16), String> {
    need("go")?;
    let program = folder.join("hello-go");
    if !program.exists() {
        let source = folder.join("hello.go");
        fs::write(&source, include_str!("services/hello.go")).map_err(|e| e.to_string())?;
        let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(&source).output();
        let built = built.map_err(|e| format!("go: {e}"))?;
        if !built.status.success() {
            return Err(format!("go build: {}", String::from_utf8_lossy(&built.stderr)));
        }
    }
    let mut command = Command::new(&program);
    if work > 0 {
        command.arg(work.to_string());
    }
    announced(command.env("GOMAXPROCS", "1"), cpu)
}

fn script(interpreter: &str, name: &str, text: &str, folder: &Path, cpu: usize) -> Result<(Child, u16), String> {
    need(interpreter)?;
    let path = folder.join(name);
    fs::write(&path, text).map_err(|e| e.to_string())?;
    announced(Command::new(interpreter).arg(path), cpu)
}

/// Starts a service that prints its port.
fn announced(command: &mut Command, cpu: usize) -> Result<(Child, u16), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = cpu::spawn_on(cpu, command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut child = child.map_err(|e| format!("{name}: {e}"))?;
    let mut line = String::new();
    let output = child.stdout.take().expect("stdout is a pipe");
    // Whatever fails here shows as a line that is no port.
    let _ = BufReader::new(output).read_line(&mut line);
    match line.trim().parse() {
        Ok(port) => Ok((child, port)),
        Err(_) => {
            end(&mut child, signal::Signal::SIGKILL);
            Err(format!("{name} does not say its port, but {line:?}"))
        }
    }
}

//! A process of its own that connects, speaks and changes as it is told: bash and its `/dev/tcp`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Shell {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Shell {
    pub fn start() -> Shell {
        let mut child = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is bash");
        let told = child.stdin.take().expect("piped");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        Shell { child, told, says }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command and waits until it is done; gives what it printed.
    pub fn run(&mut self, command: &str) -> String {
        self.tell(&format!("{command}; echo done"));
        let mut printed = String::new();
        while !printed.ends_with("done\n") {
            assert!(self.says.read_line(&mut printed).expect("the shell speaks") > 0, "the shell has ended");
        }
        printed.truncate(printed.len() - "done\n".len());
        printed
    }

    /// Replaces the program by another of its kind (exec keeps the process).
    pub fn exec(&mut self) {
        self.tell("exec bash --norc --noprofile");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told, "{line}").expect("the shell listens");
    }

    /// Connects its descriptor `number` to the listener; gives the other end.
    pub fn connect(&mut self, number: u32, listener: &TcpListener) -> TcpStream {
        let port = listener.local_addr().expect("bound").port();
        self.run(&format!("exec {number}<>/dev/tcp/127.0.0.1/{port}"));
        listener.accept().expect("accepts").0
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

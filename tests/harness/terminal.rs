//! A command on a terminal of its own.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use nix::pty::openpty;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command whose standard input and error are a terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown since the last key.
    shown: String,
}

impl Terminal {
    /// Start it.
    pub fn start(command: &mut Command) -> Terminal {
        let pty = openpty(None, None).expect("the system has terminals");
        let end = || Stdio::from(pty.slave.try_clone().expect("a file can be opened twice"));
        let child = command.stdin(end()).stderr(end()).stdout(Stdio::null()).spawn().expect("the command starts");
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().expect("a file can be opened twice");
        // The command's own ends alone keep the terminal open.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let (sender, screen) = channel();
        // Reader to the test: what is shown, until nobody has the terminal open.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keyboard, screen, shown: String::new() }
    }

    /// Wait for a question, then answer it; gives what was shown until then.
    pub fn answer(&mut self, question: &str, key: &str) -> String {
        while !self.shown.contains(question) {
            let more = self.screen.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|error| panic!("{question:?} was not asked ({error}): {}", self.shown));
            self.shown += &String::from_utf8_lossy(&more);
        }
        self.keyboard.write_all(format!("{key}\n").as_bytes()).expect("the terminal is open");
        std::mem::take(&mut self.shown)
    }

    /// Wait for the end; gives the exit code.
    pub fn finish(mut self) -> i32 {
        self.child.wait().expect("the command can be waited for").code().unwrap_or(-1)
    }
}

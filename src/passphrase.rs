//! Asks for a passphrase, which does not show as it is typed.

use std::io::{self, BufRead, IsTerminal, Stdin};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::output;

/// What is typed on the terminal; `None` where there is none.
pub fn ask(question: &str) -> Option<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    // First, as what is typed before that is dropped.
    let _unseen = Unseen::begin(&stdin)?;
    output::say(question);
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line).ok()?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    (read > 0).then_some(line)
}

/// Until it is dropped, nothing that is typed shows.
struct Unseen<'t> {
    terminal: &'t Stdin,
    before: Termios,
}

impl Unseen<'_> {
    fn begin(terminal: &Stdin) -> Option<Unseen<'_>> {
        let before = tcgetattr(terminal).ok()?;
        let mut unseen = before.clone();
        unseen.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &unseen).ok()?;
        Some(Unseen { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

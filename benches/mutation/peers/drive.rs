//! The shop as a process of its own, and a client that sends it the recorded entries and compares the answers.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use regress_cassettes::diff::{self, Lens};
use regress_protocols::http1::{Message, ResponseReader};

use super::exchanges::Recording;
use crate::{harness::free_port, services::Change};

/// How long the shop may take to listen, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to run the shop.
pub struct Shop {
    /// The command.
    pub command: Vec<String>,
    /// The base URLs of its downstreams.
    pub inventory: String,
    pub pricing: String,
}

impl Shop {
    /// Run it with a change and send it the entries: whether one is not answered as recorded.
    pub fn differs(&self, change: Change, recording: &Recording) -> io::Result<bool> {
        let port = free_port();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PORT", port.to_string()).env("INVENTORY_URL", &self.inventory).env("PRICING_URL", &self.pricing);
        let mut shop = Running(command.envs([change.variable()]).spawn()?);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let is_different = |(request, response): &(Message, Message)| !matches!(ask(address, request), Ok(Some(answer)) if diff::responses(response, &answer, &Lens::exact()).is_empty());
        Ok(!shop.listens(address) || recording.entries.iter().any(is_different))
    }
}

/// Ended when dropped.
pub struct Running(pub Child);

impl Running {
    fn listens(&mut self, address: SocketAddr) -> bool {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > PATIENCE || matches!(self.0.try_wait(), Ok(Some(_))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to end where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer, where one comes whole.
fn ask(address: SocketAddr, request: &Message) -> io::Result<Option<Message>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request.wire())?;
    let mut reader = ResponseReader::new(request.method(), Default::default());
    let mut buffer = [0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(reader.finish().filter(Message::is_complete));
        }
        let Ok(messages) = reader.feed(&buffer[..count]) else { return Ok(None) };
        if let Some(answer) = messages.into_iter().find(|message| message.status() >= 200) {
            return Ok(Some(answer));
        }
    }
}

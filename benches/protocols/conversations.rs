//! What is said in each protocol.

use regress_protocols::Side;

/// What one side says at once.
pub type Piece = (Side, Vec<u8>);

/// A connection.
pub struct Conversation {
    pub name: &'static str,
    /// What is said first, once.
    pub opening: Vec<Piece>,
    /// What is said again and again.
    pub turn: Vec<Piece>,
}

impl Conversation {
    /// The bytes of a turn.
    pub fn bytes(&self) -> usize {
        self.turn.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// One or two of each protocol: small messages, where the cost of each counts, and larger ones.
pub fn all() -> Vec<Conversation> {
    vec![http1(), redis_small(), redis_pipeline()]
}

fn http1() -> Conversation {
    let body = "x".repeat(1024);
    let request = b"GET /orders/7?full=1 HTTP/1.1\r\nHost: inventory:9000\r\nAccept: application/json\r\n\r\n".to_vec();
    let response =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n{body}").into_bytes();
    let turn = vec![(Side::Client, request), (Side::Server, response)];
    Conversation { name: "HTTP/1, body of 1 KiB", opening: Vec::new(), turn }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_said: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words_said}", words.len()).into_bytes()
}

fn redis_small() -> Conversation {
    let turn = vec![(Side::Client, command(&["GET", "note:tea"])), (Side::Server, b"$5\r\ngreen\r\n".to_vec())];
    Conversation { name: "Redis, GET of 5 bytes", opening: Vec::new(), turn }
}

fn redis_pipeline() -> Conversation {
    let value = "v".repeat(1024);
    let asked = (0..16).flat_map(|number| command(&["SET", &format!("note:{number}"), &value])).collect();
    let keys: Vec<String> = (0..16).map(|number| format!("note:{number}")).collect();
    let many: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let values = format!("$1024\r\n{value}\r\n").repeat(16);
    let turn = vec![
        (Side::Client, asked),
        (Side::Server, b"+OK\r\n".repeat(16)),
        (Side::Client, command(&many)),
        (Side::Server, format!("*16\r\n{values}").into_bytes()),
    ];
    Conversation { name: "Redis, 16 SET at once, MGET of 16", opening: Vec::new(), turn }
}

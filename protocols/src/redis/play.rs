//! A Redis server on one connection, as clients know it.

use std::collections::VecDeque;

use super::{
    Conversation,
    command::{args, command, word},
    reply,
};
use crate::{
    Value,
    wire::{Ask, Dialect, Heard, Inbox, Server, Step},
};

/// What `HELLO` tells where nothing else is known.
const VERSION: &str = "7.4.0";

/// A server that lets everybody in. Handshakes, settings of the connection and signs of life are answered at once, all other
/// commands are left to be judged.
#[derive(Debug, Default)]
pub struct Player {
    requests: Conversation,
    said: Inbox,
    /// What the recorded server told to `HELLO`.
    hello: Option<Value>,
    resp3: bool,
    subscribed: bool,
    steps: VecDeque<Step>,
}

impl Player {
    /// A server that introduces itself as one did whose reply to `HELLO` was recorded.
    pub fn new(hello: Option<&Value>) -> Player {
        Player { hello: hello.cloned(), ..Player::default() }
    }

    /// What concerns the connection is answered, all else is to be judged.
    fn decide(&mut self, ask: Ask) {
        let Ask { value, setup, answered } = ask;
        if !setup {
            self.steps.push_back(if answered { Step::Judge(value) } else { Step::Note(value) });
            return;
        }
        let ok = Value::map([("simple", Value::text("OK"))]);
        let first = args(&value).first().cloned();
        let reply = match command(&value).as_str() {
            "HELLO" => self.introduce(word(&value, 0).as_deref()),
            "PING" if self.subscribed && !self.resp3 => {
                Value::List(vec![Value::text("pong"), first.unwrap_or_else(|| Value::text(""))])
            }
            "PING" => first.unwrap_or_else(|| Value::map([("simple", Value::text("PONG"))])),
            "ECHO" => first.unwrap_or_default(),
            "RESET" => {
                (self.resp3, self.subscribed) = (false, false);
                Value::map([("simple", Value::text("RESET"))])
            }
            "CLIENT" => match word(&value, 0).as_deref() {
                Some("ID") => Value::number(1),
                Some("GETNAME") => Value::Null,
                _ => ok,
            },
            _ => ok,
        };
        if answered {
            let mut bytes = Vec::new();
            reply::write(&reply, self.resp3, &mut bytes);
            self.steps.push_back(Step::Say(bytes));
        }
        if command(&value) == "QUIT" {
            self.steps.push_back(Step::Close);
        }
    }

    /// The reply to `HELLO`, which may ask for another version of RESP.
    fn introduce(&mut self, version: Option<&str>) -> Value {
        match version {
            Some("3") => self.resp3 = true,
            Some("2") => self.resp3 = false,
            None => {}
            Some(_) => return Value::map([("error", Value::text("NOPROTO unsupported protocol version"))]),
        }
        let proto = Value::number(if self.resp3 { 3 } else { 2 });
        let known = |pair: &Value| match pair.as_list() {
            Some([name, value]) => Some((name.clone(), value.clone())),
            _ => None,
        };
        let told = self.hello.as_ref();
        let recorded = match told.and_then(|told| told.get("map")).and_then(Value::as_list) {
            Some(pairs) => pairs.iter().filter_map(known).collect(),
            None => told.and_then(Value::as_list).map_or(Vec::new(), |flat| {
                flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
            }),
        };
        let introduction = if recorded.is_empty() {
            let text = |name: &str, value: &str| (Value::text(name), Value::text(value));
            vec![
                text("server", "redis"),
                text("version", VERSION),
                (Value::text("proto"), Value::Null),
                (Value::text("id"), Value::number(1)),
                text("mode", "standalone"),
                text("role", "master"),
                (Value::text("modules"), Value::List(Vec::new())),
            ]
        } else {
            recorded
        };
        let pair = |(name, value)| {
            let value = if name == Value::text("proto") { proto.clone() } else { value };
            Value::List(vec![name, value])
        };
        Value::map([("map", Value::List(introduction.into_iter().map(pair).collect()))])
    }
}

impl Server for Player {
    fn hear(&mut self, said: &[u8]) {
        self.said.push(said);
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            match self.said.take(|said| self.requests.client(said))? {
                Ok(Heard::Request(ask)) => self.decide(ask),
                Ok(Heard::Part | Heard::Aside) => {}
                Err(_) => self.steps.push_back(Step::Garbage),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.said.is_empty()
    }

    fn answer(&mut self, _request: &Value, response: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        match response.get("stream").and_then(Value::as_list) {
            Some(told) => {
                self.subscribed = true;
                told.iter().for_each(|reply| reply::write(reply, self.resp3, &mut bytes));
            }
            None => reply::write(response, self.resp3, &mut bytes),
        }
        bytes
    }

    fn refuse(&mut self, _request: &Value, why: &str) -> Vec<u8> {
        [b"-REGRESS ", &reply::one_line(why.as_bytes())[..], b"\r\n"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(player: &mut Player, words: &str) -> Vec<Step> {
        let words: Vec<&str> = words.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        player.hear(&bytes);
        std::iter::from_fn(|| player.step()).collect()
    }

    fn said(steps: Vec<Step>) -> String {
        match &steps[..] {
            [Step::Say(bytes)] => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn handshakes_are_answered_whatever_the_password() {
        let mut player = Player::new(None);
        assert_eq!(said(say(&mut player, "AUTH secret")), "+OK\r\n");
        assert_eq!(said(say(&mut player, "HELLO 2")).lines().next(), Some("*14"));
        assert!(said(say(&mut player, "HELLO 3 AUTH a b")).contains("$5\r\nproto\r\n:3\r\n"));
        assert_eq!(said(say(&mut player, "HELLO 4")), "-NOPROTO unsupported protocol version\r\n");
        assert_eq!(said(say(&mut player, "CLIENT SETINFO LIB-NAME x")), "+OK\r\n");
        assert_eq!(said(say(&mut player, "PING")), "+PONG\r\n");
        assert_eq!(say(&mut player, "QUIT"), [Step::Say(b"+OK\r\n".to_vec()), Step::Close]);
    }

    #[test]
    fn it_introduces_itself_as_the_recorded_one() {
        let recorded = Value::List(["version", "6.2.0", "proto", "2"].map(Value::text).into());
        let mut player = Player::new(Some(&recorded));
        assert_eq!(said(say(&mut player, "HELLO 3")), "%2\r\n$7\r\nversion\r\n$5\r\n6.2.0\r\n$5\r\nproto\r\n:3\r\n");
    }

    #[test]
    fn what_is_asked_is_judged_in_its_order_with_its_database() {
        let mut player = Player::new(None);
        player.hear(b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPI");
        assert_eq!(player.step(), Some(Step::Say(b"+OK\r\n".to_vec())));
        let Some(Step::Judge(request)) = player.step() else { panic!() };
        assert_eq!(request.get("db"), Some(&Value::number(2)));
        assert_eq!(player.answer(&request, &Value::text("x")), b"$1\r\nx\r\n");
        assert_eq!(player.step(), None);
        player.hear(b"NG\r\n");
        assert_eq!(player.step(), Some(Step::Say(b"+PONG\r\n".to_vec())));
        assert_eq!(player.refuse(&request, "no\nsuch"), b"-REGRESS no such\r\n");
        player.hear(b"\xff\r\n*x\r\n");
        assert!(matches!(player.step(), Some(Step::Judge(_))));
        assert_eq!((player.step(), player.step()), (Some(Step::Garbage), None));
    }

    #[test]
    fn a_transaction_is_judged_as_a_whole() {
        let mut player = Player::new(None);
        assert!(matches!(say(&mut player, "MULTI")[..], [Step::Judge(_)]));
        assert!(matches!(say(&mut player, "PING")[..], [Step::Judge(_)]));
        assert!(matches!(say(&mut player, "EXEC")[..], [Step::Judge(_)]));
        assert_eq!(said(say(&mut player, "PING")), "+PONG\r\n");
    }

    #[test]
    fn a_subscriber_is_told_all_that_was_recorded() {
        let mut player = Player::new(None);
        let [Step::Judge(request)] = &say(&mut player, "SUBSCRIBE a")[..] else { panic!() };
        let message = |words: [&str; 3]| Value::List(words.map(Value::text).into());
        let stream = Value::List(vec![message(["subscribe", "a", "1"]), message(["message", "a", "x"])]);
        let bytes = player.answer(request, &Value::map([("stream", stream)]));
        assert!(bytes.ends_with(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"));
        assert_eq!(said(say(&mut player, "PING")), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    }
}

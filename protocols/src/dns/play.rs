//! A name server on one connection.

use super::{message, pair};
use crate::{
    Value,
    wire::{Cut, Inbox, Server, Step, Unreadable},
};

/// A server that answers one question after the other.
#[derive(Debug, Default)]
pub struct Player {
    said: Inbox,
    /// The query that is being judged.
    query: Vec<u8>,
}

impl Player {
    fn say(&self, response: &Value) -> Vec<u8> {
        let failed = Value::map([("code", Value::text(message::SERVER_FAILURE))]);
        let reply =
            message::reply(&self.query, response, false).or_else(|| message::reply(&self.query, &failed, false));
        let reply = reply.unwrap_or_default();
        // Longer ones cannot be said, and none that was recorded is.
        u16::try_from(reply.len()).map_or_else(|_| Vec::new(), |length| [&length.to_be_bytes()[..], &reply].concat())
    }
}

impl Server for Player {
    fn hear(&mut self, said: &[u8]) {
        self.said.push(said);
    }

    fn is_idle(&self) -> bool {
        self.said.is_empty()
    }

    fn step(&mut self) -> Option<Step> {
        let cut = |said: &[u8]| match pair::message(said) {
            Err(wanted) => Ok(Cut::Partial(wanted)),
            Ok(query) => {
                let asked = message::question(query).ok_or(Unreadable::Garbage)?;
                Ok(Cut::Whole(2 + query.len(), (query.to_vec(), asked)))
            }
        };
        Some(match self.said.take(cut)? {
            Ok((query, asked)) => {
                self.query = query;
                Step::Judge(asked)
            }
            Err(_) => Step::Garbage,
        })
    }

    fn answer(&mut self, _request: &Value, response: &Value) -> Vec<u8> {
        self.say(response)
    }

    /// The name is unknown: a reply has no room for a reason.
    fn refuse(&mut self, _request: &Value, _why: &str) -> Vec<u8> {
        self.say(&Value::map([("code", Value::text(message::NO_SUCH_NAME))]))
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{op::ResponseCode, rr::RData, rr::rdata::A};

    use super::*;
    use crate::dns::{
        read_reply,
        samples::{framed, query, reply},
    };

    #[test]
    fn questions_are_judged_one_by_one_and_answered_with_their_number() {
        let mut player = Player::default();
        let asked = query(5, "A.test", "A");
        let wire = [framed(&asked), framed(&query(6, "b.test", "A"))].concat();
        player.hear(&wire[..9]);
        assert_eq!(player.step(), None);
        player.hear(&wire[9..]);
        let Some(Step::Judge(question)) = player.step() else { panic!("a question") };
        let answers = vec![("a.test", RData::A(A::new(10, 0, 0, 5)))];
        let (_, response) = read_reply(&reply(&asked, ResponseCode::NoError, answers)).unwrap();
        let said = player.answer(&question, &response);
        assert_eq!(said[2..4], [0, 5]);
        assert_eq!(read_reply(&said[2..]), Some((question.clone(), response)));
        assert!(matches!(player.step(), Some(Step::Judge(_))));
        let said = player.refuse(&question, "nobody knows");
        assert_eq!((&said[2..4], said[5] & 0x0f), (&[0, 6][..], 3));
        player.hear(b"\0\x03abc");
        assert_eq!((player.step(), player.step()), (Some(Step::Garbage), None));
    }
}

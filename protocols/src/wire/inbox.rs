//! What a client said and nobody has understood yet.

use bytes::{Buf, BytesMut};

use super::{Cut, Unreadable};

/// The bytes of one client, for whoever plays its server. After what is not of the protocol nothing more is taken.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: BytesMut,
    /// Fewer bytes than these are not looked at again.
    wanted: usize,
    is_broken: bool,
}

impl Inbox {
    /// Takes in what the client said.
    pub fn push(&mut self, said: &[u8]) {
        if !self.is_broken {
            self.bytes.extend_from_slice(said);
        }
    }

    /// Whether nothing waits to be understood.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes off all of it, which is of another protocol.
    pub fn take_all(&mut self) -> Vec<u8> {
        self.wanted = 0;
        self.bytes.split().into()
    }

    /// Takes off what stands at the front, as `cut` has it; `None` while that is not whole, and after an error.
    pub fn take<T>(&mut self, cut: impl FnOnce(&[u8]) -> Result<Cut<T>, Unreadable>) -> Option<Result<T, Unreadable>> {
        if self.is_broken || self.bytes.is_empty() || self.bytes.len() < self.wanted {
            return None;
        }
        match cut(&self.bytes) {
            Ok(Cut::Partial(wanted)) => {
                self.wanted = wanted;
                None
            }
            Ok(Cut::Whole(count, told)) => {
                self.bytes.advance(count.min(self.bytes.len()));
                self.wanted = 0;
                Some(Ok(told))
            }
            Err(unreadable) => {
                self.is_broken = true;
                self.bytes.clear();
                Some(Err(unreadable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that says how many follow; 255 is none.
    fn cut(said: &[u8]) -> Result<Cut<u8>, Unreadable> {
        match said[0] {
            255 => Err(Unreadable::Garbage),
            count if said.len() <= usize::from(count) => Ok(Cut::Partial(usize::from(count) + 1)),
            count => Ok(Cut::Whole(usize::from(count) + 1, count)),
        }
    }

    #[test]
    fn what_is_whole_is_taken_once_and_what_is_not_waits() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.take(cut), None);
        inbox.push(&[1, 9, 3, 0]);
        assert_eq!(inbox.take(cut), Some(Ok(1)));
        assert_eq!(inbox.take(cut), None);
        assert_eq!(inbox.take(|_| panic!("too little to be looked at again")), None::<Result<u8, _>>);
        inbox.push(&[0, 0]);
        assert_eq!((inbox.take(cut), inbox.is_empty()), (Some(Ok(3)), true));
        inbox.push(&[3, 0]);
        assert_eq!((inbox.take(cut), inbox.take_all()), (None, vec![3, 0]));
        inbox.push(&[0]);
        assert_eq!(inbox.take(cut), Some(Ok(0)));
    }

    #[test]
    fn after_an_error_there_is_nothing_more() {
        let mut inbox = Inbox::default();
        inbox.push(&[255, 0]);
        assert_eq!(inbox.take(cut), Some(Err(Unreadable::Garbage)));
        inbox.push(&[0]);
        assert_eq!((inbox.take(cut), inbox.is_empty()), (None, true));
    }
}

//! Whether a client's message has the form that its type has in PostgreSQL's protocol 3.0.
//!
//! `pgwire` takes lengths and counts inside messages as they are told, and ends the program where
//! they lead beyond the message: here nobody passes whose do.

/// What a message without a type asks for, in place of a version of the protocol.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const KERBEROS: u32 = 80_877_104;
/// The longest key of a request to cancel (protocol 3.2).
const CANCEL_KEY_MAX: usize = 256;

/// A message of a connection that has not begun yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It asks how to go on; another one follows.
    Request,
    /// It begins, or cancels a statement of another connection.
    Start,
}

/// What a message without a type is; `None`: it has no form that there is.
pub(super) fn first(body: &[u8]) -> Option<First> {
    let mut form = Form(body);
    match form.number()? {
        TLS | KERBEROS => form.end().then_some(First::Request),
        CANCEL => (8..=4 + CANCEL_KEY_MAX).contains(&form.0.len()).then_some(First::Start),
        _ => {
            // Names and values, and the end of them.
            while !form.text()?.is_empty() {
                form.text()?;
            }
            form.end().then_some(First::Start)
        }
    }
}

/// Whether a message's body has the form of its type.
pub(super) fn is_good(kind: u8, body: &[u8]) -> bool {
    let mut form = Form(body);
    let read = match kind {
        b'Q' | b'f' => form.text().map(drop),
        b'P' => form.parse(),
        b'B' => form.bind(),
        b'C' | b'D' => form.take(1).and_then(|_| form.text()).map(drop),
        b'E' => form.text().and_then(|_| form.number()).map(drop),
        b'H' | b'S' | b'X' | b'c' => Some(()),
        b'p' | b'd' => return true,
        _ => None,
    };
    read.is_some() && form.end()
}

/// Whether an answer to a request to log in is the beginning of one that SASL makes.
pub(super) fn is_login(body: &[u8]) -> bool {
    let mut form = Form(body);
    form.text().and_then(|_| form.value()).is_some() && form.end()
}

/// What is left of a body.
struct Form<'a>(&'a [u8]);

impl<'a> Form<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(usize::from(u16::from_be_bytes(bytes)))
    }

    /// What comes before the next zero.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }

    /// A value behind its length, or the length that says that there is none.
    fn value(&mut self) -> Option<()> {
        match i32::from_be_bytes(self.number()?.to_be_bytes()) {
            -1 => Some(()),
            length => self.take(usize::try_from(length).ok()?).map(drop),
        }
    }

    fn parse(&mut self) -> Option<()> {
        self.text()?;
        self.text()?;
        let types = self.count()?;
        self.take(4 * types).map(drop)
    }

    fn bind(&mut self) -> Option<()> {
        self.text()?;
        self.text()?;
        let formats = self.count()?;
        self.take(2 * formats)?;
        for _ in 0..self.count()? {
            self.value()?;
        }
        let formats = self.count()?;
        self.take(2 * formats).map(drop)
    }

    const fn end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_each_type_is_good_and_none_that_is_shorter_or_longer() {
        let bind = b"\0p\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\x01\0\0";
        let messages: [(u8, &[u8]); 8] = [
            (b'Q', b"SELECT 1\0"),
            (b'P', b"p\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', bind),
            (b'C', b"Sp\0"),
            (b'D', b"P\0"),
            (b'E', b"\0\0\0\0\x07"),
            (b'S', b""),
            (b'f', b"no\0"),
        ];
        for (kind, body) in messages {
            assert!(is_good(kind, body), "{}", char::from(kind));
            assert!(!is_good(kind, &[body, b"\0"].concat()), "{} and more", char::from(kind));
            for length in 0..body.len() {
                assert!(!is_good(kind, &body[..length]), "{length} of {}", char::from(kind));
            }
        }
        assert!(!is_good(b'?', b""));
        let negative = b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0";
        assert!(!is_good(b'B', negative), "only -1 is a length below 0");
    }

    #[test]
    fn a_first_message_begins_asks_or_cancels() {
        let start = b"\0\x03\0\0user\0me\0\0";
        assert_eq!(first(start), Some(First::Start));
        assert_eq!(first(&start[..10]), None);
        assert_eq!(first(&TLS.to_be_bytes()), Some(First::Request));
        let cancel = [&CANCEL.to_be_bytes()[..], &[0; 8]].concat();
        assert_eq!(first(&cancel), Some(First::Start));
        assert_eq!(first(&cancel[..8]), None);
        assert_eq!(first(b""), None);
    }

    #[test]
    fn a_login_begins_with_a_mechanism() {
        assert!(is_login(b"SCRAM-SHA-256\0\0\0\0\x03n,,"));
        assert!(is_login(b"SCRAM-SHA-256\0\xff\xff\xff\xff"));
        assert!(!is_login(b"SCRAM-SHA-256\0\0\0\0\x04n,,"));
        assert!(!is_login(b"SCRAM-SHA-256\0\0\0"));
    }
}

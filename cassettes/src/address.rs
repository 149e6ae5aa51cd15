//! Where the ends of a connection are, and how that is written.

use std::{fmt, net::SocketAddr, str::FromStr};

use bytes::Bytes;

/// What stands before the name of a Unix socket.
const UNIX: &str = "unix:";

/// Where one end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Of a TCP socket: `IP:PORT` or `[IP]:PORT`.
    Inet(SocketAddr),
    /// Of a Unix socket, `sun_path` as in unix(7): a path, or a zero byte and a name in the abstract namespace; empty
    /// for a socket without a name. Written `unix:/path`, `unix:@name`, `unix:`.
    Unix(Bytes),
}

impl Address {
    /// That of a TCP socket.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

/// `%` and two hexadecimal digits stand for each byte of a Unix name that is `%`, a control character or no part of
/// UTF-8, and for an `@` that begins a path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Address::Inet(address) => return write!(f, "{address}"),
            Address::Unix(name) => name,
        };
        f.write_str(UNIX)?;
        let rest = match name.split_first() {
            Some((0, rest)) => {
                f.write_str("@")?;
                rest
            }
            Some((b'@', rest)) => {
                f.write_str("%40")?;
                rest
            }
            _ => name,
        };
        for chunk in rest.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '%' || character.is_ascii_control() {
                    write!(f, "%{:02X}", character as u32)?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        Ok(())
    }
}

/// The text is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Address, NoAddress> {
        let Some(name) = text.strip_prefix(UNIX) else {
            return text.parse().map(Address::Inet).map_err(|_| NoAddress);
        };
        let (mut bytes, escaped) = match name.strip_prefix('@') {
            Some(rest) => (vec![0], rest),
            None => (Vec::new(), name),
        };
        let mut parts = escaped.split('%');
        bytes.extend(parts.next().unwrap_or_default().bytes());
        for part in parts {
            let (digits, rest) = part.split_at_checked(2).ok_or(NoAddress)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| NoAddress)?);
            bytes.extend(rest.bytes());
        }
        Ok(Address::Unix(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_unix_sockets() {
        for (name, text) in [
            (&b"/run/app.sock"[..], "unix:/run/app.sock"),
            (b"\0app", "unix:@app"),
            (b"", "unix:"),
            (b"@app", "unix:%40app"),
            (b"\0@app", "unix:@@app"),
            ("/tmp/größe 5%".as_bytes(), "unix:/tmp/größe 5%25"),
            (b"\0\0\n\xff", "unix:@%00%0A%FF"),
        ] {
            let address = Address::Unix(Bytes::from_static(name));
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(address));
        }
        for wrong in ["/run/app.sock", "unix", "unix:%", "unix:%4", "unix:%zz", "", "127.0.0.1"] {
            assert_eq!(wrong.parse::<Address>(), Err(NoAddress), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(name in prop::collection::vec(any::<u8>(), 0..108)) {
            let address = Address::Unix(name.into());
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}

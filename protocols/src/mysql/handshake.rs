//! How a connection begins: the server greets, the client says who it is
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>). Passwords and what is made of them are left out.

use super::{
    bits::{self, CAPABILITIES, STATUS, capability},
    data::Reader,
    value::Members,
};
use crate::Value;

/// The only version of the protocol that is read.
pub(super) const VERSION: u8 = 10;

/// The first packet of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: Vec<u8>,
    pub(super) capabilities: u64,
    pub(super) charset: u8,
    pub(super) status: u16,
    /// How clients prove who they are, unless told otherwise.
    pub(super) plugin: Vec<u8>,
}

impl Greeting {
    /// Reads a greeting. `None` if it is none.
    pub(super) fn read(payload: &[u8]) -> Option<Greeting> {
        let mut reader = Reader(payload);
        if reader.u8()? != VERSION {
            return None;
        }
        let version = reader.until_zero()?.to_vec();
        reader.take(4 + 8 + 1)?;
        let mut capabilities = reader.integer(2)?;
        let charset = reader.u8()?;
        let status = reader.u16()?;
        capabilities |= reader.integer(2)? << 16;
        let challenge = usize::from(reader.u8()?);
        reader.take(6)?;
        let of_mariadb = reader.integer(4)?;
        if capabilities & capability::LONG_PASSWORD == 0 {
            capabilities |= of_mariadb << 32;
        }
        reader.take(challenge.saturating_sub(8).max(13))?;
        let plugin = reader.rest();
        let plugin = plugin.strip_suffix(b"\0").unwrap_or(plugin).to_vec();
        Some(Greeting { version, capabilities, charset, status, plugin })
    }

    /// As it is shown.
    pub(super) fn to_value(&self) -> Value {
        Value::map([
            ("version", Value::data(&self.version)),
            ("plugin", Value::data(&self.plugin)),
            ("charset", Value::number(self.charset)),
            ("status", bits::to_value(u64::from(self.status), STATUS)),
            ("capabilities", bits::to_value(self.capabilities, CAPABILITIES)),
        ])
    }

    /// The greeting of such a value. `None` if it lacks something.
    pub(super) fn of_value(value: &Value) -> Option<Greeting> {
        Some(Greeting {
            version: value.get("version")?.as_data()?.to_vec(),
            capabilities: bits::of_value(Some(value.get("capabilities")?), CAPABILITIES),
            charset: value.get("charset")?.as_number()?,
            status: bits::of_value(value.get("status"), STATUS) as u16,
            plugin: value.get("plugin")?.as_data()?.to_vec(),
        })
    }

    /// Writes it for the connection of that number, with a challenge of 20 bytes without zeros.
    pub(super) fn write(&self, connection: u32, challenge: &[u8; 20]) -> Vec<u8> {
        let capabilities = self.capabilities.to_le_bytes();
        let mut to = vec![VERSION];
        to.extend_from_slice(&self.version);
        to.push(0);
        to.extend_from_slice(&connection.to_le_bytes());
        to.extend_from_slice(&challenge[..8]);
        to.push(0);
        to.extend_from_slice(&capabilities[..2]);
        to.push(self.charset);
        to.extend_from_slice(&self.status.to_le_bytes());
        to.extend_from_slice(&capabilities[2..4]);
        to.push(challenge.len() as u8 + 1);
        to.extend_from_slice(&[0; 6]);
        to.extend_from_slice(&capabilities[4..]);
        to.extend_from_slice(&challenge[8..]);
        to.push(0);
        to.extend_from_slice(&self.plugin);
        to.push(0);
        to
    }
}

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// What it is capable of; none of what the server is not.
    pub(super) capabilities: u64,
    pub(super) charset: u16,
    pub(super) user: Vec<u8>,
    pub(super) database: Option<Vec<u8>>,
    /// How it proves who it is.
    pub(super) plugin: Option<Vec<u8>>,
    /// Whether it has a password.
    pub(super) has_password: bool,
}

impl Login {
    /// Whether it is no login but asks for TLS.
    pub(super) fn asks_for_tls(payload: &[u8]) -> bool {
        payload.len() == 32 && Reader(payload).integer(2).is_some_and(|low| low & capability::SSL != 0)
    }

    /// Reads the answer to a greeting of those capabilities. `None` if it is none, or of a time before MySQL 4.1.
    pub(super) fn read(payload: &[u8], of_server: u64) -> Option<Login> {
        let mut reader = Reader(payload);
        let mut capabilities = reader.integer(4)?;
        if capabilities & capability::PROTOCOL_41 == 0 {
            return None;
        }
        reader.take(4)?;
        let charset = u16::from(reader.u8()?);
        reader.take(19)?;
        let of_mariadb = reader.integer(4)?;
        if capabilities & capability::LONG_PASSWORD == 0 {
            capabilities |= of_mariadb << 32;
        }
        let user = reader.until_zero()?.to_vec();
        let proof = if capabilities & capability::PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 {
            reader.string()?
        } else if capabilities & capability::SECURE_CONNECTION != 0 {
            let length = reader.u8()?;
            reader.take(usize::from(length))?
        } else {
            reader.until_zero()?
        };
        let has_password = !matches!(proof, [] | [0]);
        let database = (capabilities & capability::CONNECT_WITH_DB != 0).then(|| zero_or_rest(&mut reader));
        let plugin = (capabilities & capability::PLUGIN_AUTH != 0).then(|| zero_or_rest(&mut reader));
        let database = database.filter(|name| !name.is_empty());
        Some(Login { capabilities: capabilities & of_server, charset, user, database, plugin, has_password })
    }

    /// Reads what changes the user of a connection of those capabilities (COM_CHANGE_USER, without its first byte).
    pub(super) fn read_change(payload: &[u8], capabilities: u64) -> Option<Login> {
        let mut reader = Reader(payload);
        let user = reader.until_zero()?.to_vec();
        let proof = if capabilities & capability::SECURE_CONNECTION != 0 {
            let length = reader.u8()?;
            reader.take(usize::from(length))?
        } else {
            reader.until_zero()?
        };
        let has_password = !matches!(proof, [] | [0]);
        let database = Some(zero_or_rest(&mut reader)).filter(|name| !name.is_empty());
        let charset = reader.u16().unwrap_or(0);
        let plugin = (capabilities & capability::PLUGIN_AUTH != 0).then(|| zero_or_rest(&mut reader));
        Some(Login { capabilities, charset, user, database, plugin, has_password })
    }

    /// As it is shown: what it says but for the proof, the name of the program and its number.
    pub(super) fn to_value(&self, command: &'static str, tls: bool) -> Value {
        Members::new()
            .with("command", Value::text(command))
            .with("user", Value::data(&self.user))
            .maybe("db", self.database.as_deref().map(Value::data))
            .maybe("plugin", self.plugin.as_deref().map(Value::data))
            .with("charset", Value::number(self.charset))
            .with("capabilities", bits::to_value(self.capabilities, CAPABILITIES))
            .maybe("tls", tls.then_some(Value::Bool(true)))
            .into()
    }
}

/// A string up to a zero, or all that is left: clients forget it at the end.
fn zero_or_rest(reader: &mut Reader<'_>) -> Vec<u8> {
    reader.until_zero().unwrap_or_else(|| reader.rest()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(capabilities: u64) -> Greeting {
        Greeting {
            version: b"8.0.36".to_vec(),
            capabilities,
            charset: 45,
            status: 2,
            plugin: b"caching_sha2_password".to_vec(),
        }
    }

    #[test]
    fn a_greeting_comes_back() {
        for capabilities in [0xf7fe | 1 << 24 | 7 << 32, 0xffff_ffff] {
            let greeting = greeting(capabilities);
            let written = greeting.write(7, b"abcdefghijklmnopqrst");
            assert_eq!(Greeting::read(&written), Some(greeting.clone()));
            assert_eq!(Greeting::of_value(&greeting.to_value()), Some(greeting));
            assert!((0..40).all(|end| Greeting::read(&written[..end]).is_none()));
        }
        assert_eq!(Greeting::read(b"\x09abc"), None);
    }

    #[test]
    fn a_login_is_read_without_its_password() {
        let capabilities = capability::PROTOCOL_41
            | capability::SECURE_CONNECTION
            | capability::CONNECT_WITH_DB
            | capability::PLUGIN_AUTH
            | capability::LONG_PASSWORD;
        let mut said = (capabilities as u32).to_le_bytes().to_vec();
        said.extend_from_slice(b"\0\0\0\x01\x2d");
        said.extend_from_slice(&[0; 23]);
        said.extend_from_slice(b"app\0\x06SECRETshop\0mysql_native_password\0attributes");
        let login = Login::read(&said, u64::MAX).unwrap();
        assert_eq!((&login.user[..], login.database.as_deref()), (&b"app"[..], Some(&b"shop"[..])));
        assert_eq!(login.plugin.as_deref(), Some(&b"mysql_native_password"[..]));
        assert!(login.has_password && login.charset == 45);
        assert!(!format!("{:?}", login.to_value("login", false)).contains("SECRET"));
        assert_eq!(Login::read(&said, capability::PROTOCOL_41).unwrap().capabilities, capability::PROTOCOL_41);
        assert_eq!(Login::read(&said[..40], u64::MAX), None);
    }

    #[test]
    fn another_user_of_the_same_connection() {
        let capabilities = capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        let login = Login::read_change(b"eve\0\x00shop\0\x2d\x00mysql_native_password\0", capabilities).unwrap();
        assert_eq!((&login.user[..], login.database.as_deref()), (&b"eve"[..], Some(&b"shop"[..])));
        assert!(!login.has_password);
        let short = Login::read_change(b"eve\0\x00\0", 0).unwrap();
        assert_eq!((short.database, short.plugin, short.charset), (None, None, 0));
    }
}

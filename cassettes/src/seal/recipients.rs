//! For whom is sealed: public keys.

use std::fmt;

use age::ssh::ParseRecipientKeyError;

/// For whom is sealed; at least one.
pub struct Recipients(Vec<Box<dyn age::Recipient + Send + Sync>>);

/// Why a text is no recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecipient {
    /// Nothing is there.
    #[error("no recipient is in it")]
    Nothing,
    /// It is an identity.
    #[error("it is a secret key, not a recipient")]
    Secret,
    /// A key that age does not take.
    #[error("an SSH key of the kind {0} cannot be a recipient")]
    Kind(String),
    /// Another size than may be.
    #[error("an RSA key of this size cannot be a recipient: 2048 to 4096 bits")]
    Size,
    /// Anything else.
    #[error("it is no recipient")]
    Other,
    /// Where in a file.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong there.
        why: Box<NoRecipient>,
    },
}

impl NoRecipient {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            NoRecipient::Line { why, .. } => why.hint(),
            NoRecipient::Secret => {
                "a recording needs public keys alone: give what `age-keygen -y KEYFILE` prints, or the .pub file of the SSH key"
            }
            NoRecipient::Kind(_) | NoRecipient::Size => {
                "use an ssh-ed25519 or ssh-rsa key, or one of age (`age-keygen`)"
            }
            NoRecipient::Nothing | NoRecipient::Other => {
                "a recipient is age1.., ssh-ed25519 .., ssh-rsa .., or a file with one of these a line"
            }
        }
    }
}

impl Recipients {
    /// Those in texts: each is one recipient, or the content of a file with one a line, in which lines that begin with `#`
    /// are remarks.
    ///
    /// # Errors
    /// When there are none, or something is none.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Recipients, NoRecipient> {
        let mut recipients = Vec::new();
        for text in texts {
            let before = recipients.len();
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                recipients.push(one(line).map_err(|why| match text.lines().count() {
                    1 => why,
                    _ => NoRecipient::Line { line: number + 1, why: Box::new(why) },
                })?);
            }
            if recipients.len() == before {
                return Err(NoRecipient::Nothing);
            }
        }
        if recipients.is_empty() { Err(NoRecipient::Nothing) } else { Ok(Recipients(recipients)) }
    }

    /// Whether a text is meant as a recipient, not as the name of a file.
    pub fn is_meant(text: &str) -> bool {
        let is_age = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        is_age("age1") && !text.contains(['.', '/'])
            || is_age("AGE-SECRET-KEY-")
            || text.starts_with("ssh-") && text.contains(' ')
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(dyn age::Recipient + Send + Sync)> {
        self.0.iter().map(|recipient| &**recipient)
    }
}

fn one(text: &str) -> Result<Box<dyn age::Recipient + Send + Sync>, NoRecipient> {
    if text.starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY-----") {
        return Err(NoRecipient::Secret);
    }
    if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(recipient));
    }
    match text.parse::<age::ssh::Recipient>() {
        Ok(recipient) => Ok(Box::new(recipient)),
        Err(ParseRecipientKeyError::Unsupported(kind)) => Err(NoRecipient::Kind(kind)),
        Err(ParseRecipientKeyError::RsaModulusTooLarge | ParseRecipientKeyError::RsaModulusTooSmall) => {
            Err(NoRecipient::Size)
        }
        Err(ParseRecipientKeyError::Ignore | ParseRecipientKeyError::Invalid(_)) => Err(NoRecipient::Other),
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipients({})", self.0.len())
    }
}

use std::{
    io::{Read, Write},
    sync::Arc,
};

use proptest::prelude::*;

use super::{Header, Identities, Keys, NoIdentity, NoRecipient, Recipients, Session, Unopened, readable};

/// Made for these tests with `ssh-keygen -t ed25519`; the second has the passphrase `open sesame`.
const SSH: &str = include_str!("../../tests/keys/ssh");
const SSH_PUBLIC: &str = include_str!("../../tests/keys/ssh.pub");
const SSH_LOCKED: &str = include_str!("../../tests/keys/ssh-locked");
const SSH_LOCKED_PUBLIC: &str = include_str!("../../tests/keys/ssh-locked.pub");
const SSH_RSA: &str = include_str!("../../tests/keys/ssh-rsa");
const SSH_RSA_PUBLIC: &str = include_str!("../../tests/keys/ssh-rsa.pub");

/// A key pair of age: the identity and the recipient.
fn pair() -> (String, String) {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

fn session<'t>(recipients: impl IntoIterator<Item = &'t str>) -> Arc<Session> {
    Arc::new(Session::new(&Recipients::parse(recipients).unwrap()).unwrap())
}

fn keys(identity: &str) -> Keys {
    Keys::new([Identities::parse(identity, &mut || None).unwrap()])
}

fn header() -> Header {
    Header { id: "x-1".into(), route: "get-orders-id".into(), at: "2026-11-22T10:15:02Z".into(), bytes: 17 }
}

/// Of several chunks.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + (at % 25) as u8).collect()
}

#[test]
fn every_recipient_opens_what_is_sealed_and_nobody_else() {
    let (first, second, stranger) = (pair(), pair(), pair());
    let session = session([&*first.1, &format!("# the team\n{}\n\n{SSH_PUBLIC}", second.1), SSH_RSA_PUBLIC]);
    for size in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let sealed = session.seal(None, &content(size)).unwrap();
        for identity in [&*first.0, &second.0, SSH, SSH_RSA] {
            let opened = keys(identity).open(&sealed).unwrap();
            assert_eq!((opened.content.len(), opened.header), (size, None));
            assert!(opened.content == content(size));
        }
        assert_eq!(keys(&stranger.0).open(&sealed).unwrap_err(), Unopened::OtherIdentity);
        assert_eq!(Keys::default().open(&sealed).unwrap_err(), Unopened::NoIdentity);
    }
}

#[test]
fn what_is_sealed_as_it_is_written_opens_however_it_was_cut() {
    let (identity, recipient) = pair();
    let session = session([&*recipient]);
    for size in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        for piece in [1000, 65_536, 65_537, 300_000] {
            let mut sealed = session.seal_to(None, Vec::new()).unwrap();
            content(size).chunks(piece).for_each(|piece| sealed.write_all(piece).unwrap());
            let opened = keys(&identity).open(&sealed.finish().unwrap()).unwrap();
            assert!(opened.content == content(size), "{size} in pieces of {piece}");
        }
        let mut slow = Slow(Vec::new());
        session.seal_into(None, &content(size), &mut slow).unwrap();
        assert!(keys(&identity).open(&slow.0).unwrap().content == content(size), "{size}");
    }
}

/// Takes a few bytes at a time.
struct Slow(Vec<u8>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(4099)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_sealed_twice_is_never_the_same_and_shows_nothing() {
    let session = session([&*pair().1]);
    let (one, two) = (session.seal(None, b"a secret").unwrap(), session.seal(None, b"a secret").unwrap());
    let end = |file: &[u8]| file[file.len() - 24..].to_vec();
    assert_ne!(end(&one), end(&two));
    // Not the key, and not the nonce either.
    let salt = |file: &[u8]| {
        String::from_utf8_lossy(file).lines().find(|line| line.starts_with("-> regress-file")).map(str::to_owned)
    };
    assert!(salt(&one).is_some());
    assert_ne!(salt(&one), salt(&two));
    let nonce = |file: &[u8]| file[file.len() - 24 - 16..file.len() - 24].to_vec();
    assert_ne!(nonce(&one), nonce(&two));
    assert!(!one.windows(8).any(|window| window == b"a secret"));
    assert_ne!(session.body_name("abc"), "abc");
    assert_eq!(session.body_name("abc"), session.body_name("abc"));
}

#[test]
fn whoever_has_opened_one_seals_for_the_same_recipients() {
    let (mine, theirs) = (pair(), pair());
    let recording = session([&*mine.1, &theirs.1]);
    let opened = keys(&mine.0).open(&recording.seal(None, b"old").unwrap()).unwrap();
    let again = opened.session.seal(None, b"new").unwrap();
    assert_eq!(keys(&theirs.0).open(&again).unwrap().content, b"new");
}

#[test]
fn a_recorder_opens_what_it_has_sealed_itself() {
    let session = session([&*pair().1]);
    let sealed = session.seal(None, b"old").unwrap();
    assert_eq!(Keys::of(&session).open(&sealed).unwrap().content, b"old");
}

#[test]
fn every_byte_counts() {
    let (identity, recipient) = pair();
    let other = pair().1;
    let sealed = session([&*recipient, &other]).seal(Some(&header()), &content(70_000)).unwrap();
    let keys = keys(&identity);
    let head = sealed.windows(5).position(|window| window == b"\n--- ").unwrap() + 60;
    let far = (head..sealed.len()).step_by(997).chain([sealed.len() - 1]);
    for at in (0..head).chain(far) {
        for bit in [1, 0x20, 0x80] {
            let mut changed = sealed.clone();
            changed[at] ^= bit;
            assert!(keys.open(&changed).is_err(), "bit {bit} of byte {at} of {}", sealed.len());
        }
    }
}

#[test]
fn what_is_cut_off_or_longer_is_not_opened() {
    let (identity, recipient) = pair();
    let keys = keys(&identity);
    for size in [0, 100, 65_536, 131_072, 140_000] {
        let sealed = session([&*recipient]).seal(None, &content(size)).unwrap();
        let head = sealed.len() - size - 16 * size.div_ceil(65_536).max(1);
        let blocks = (head..sealed.len()).step_by(65_552).flat_map(|block| [block - 1, block, block + 1, block + 16]);
        for length in (0..head).chain(blocks).chain([sealed.len() - 1]).filter(|length| *length < sealed.len()) {
            assert!(keys.open(&sealed[..length]).is_err(), "{length} of {}", sealed.len());
        }
        assert!(keys.open(&[&sealed[..], b"x"].concat()).is_err());
        assert!(keys.open(&[&sealed[..], &sealed[..]].concat()).is_err());
    }
}

#[test]
fn blocks_of_two_files_cannot_be_swapped() {
    let (identity, recipient) = pair();
    let session = session([&*recipient]);
    let (one, two) = (session.seal(None, &content(140_000)).unwrap(), session.seal(None, &content(140_000)).unwrap());
    let block = one.len() - 140_000 - 3 * 16 + 65_552;
    let swapped = [&one[..block], &two[two.len() - (one.len() - block)..]].concat();
    assert_eq!(keys(&identity).open(&swapped).unwrap_err(), Unopened::Content);
}

#[test]
fn heads_of_two_files_cannot_be_swapped() {
    let (identity, recipient) = pair();
    let session = session([&*recipient]);
    let sealed = |bytes| session.seal(Some(&Header { bytes, ..header() }), b"content").unwrap();
    let (one, two) = (sealed(1), sealed(2));
    let line = |file: &[u8]| {
        let text = String::from_utf8_lossy(file).into_owned();
        let at = text.find("-> regress-header-1\n").unwrap() + 20;
        at..at + text[at..].find("\n-").unwrap()
    };
    let forged = [&one[..line(&one).start], &two[line(&two)], &one[line(&one).end..]].concat();
    assert_eq!(readable(&forged).unwrap().unwrap().bytes, 2);
    assert_eq!(keys(&identity).open(&forged).unwrap_err(), Unopened::Head);
}

#[test]
fn a_header_is_read_by_everybody_and_authenticated_for_who_opens_it() {
    let (identity, recipient) = pair();
    let sealed = session([&*recipient]).seal(Some(&header()), b"content").unwrap();
    assert_eq!(readable(&sealed), Ok(Some(header())));
    assert_eq!(keys(&identity).open(&sealed).unwrap().header, Some(header()));
    let long = Header { route: "r".repeat(500), ..header() };
    let sealed = session([&*recipient]).seal(Some(&long), b"content").unwrap();
    assert_eq!(readable(&sealed), Ok(Some(long)));
    assert_eq!(readable(&session([&*recipient]).seal(None, b"content").unwrap()), Ok(None));
    for (head, why) in
        [(&b""[..], Unopened::Head), (b"{", Unopened::NotSealed), (b"age-encryption.org/v1\n-> x\n", Unopened::Head)]
    {
        assert_eq!(readable(head), Err(why));
    }
}

#[test]
fn other_files_of_age_are_told_apart() {
    let (identity, recipient) = pair();
    let recipient: age::x25519::Recipient = recipient.parse().unwrap();
    let sealed = age::encrypt(&recipient, b"by hand").unwrap();
    assert_eq!(keys(&identity).open(&sealed).unwrap_err(), Unopened::OtherForm);
    for other in [&b"{}\n"[..], b"\xff\xfe", b"age-encryption.org/v2\n"] {
        assert_eq!(keys(&identity).open(other).unwrap_err(), Unopened::NotSealed);
    }
}

#[test]
fn a_file_is_opened_bit_by_bit_as_well() {
    let (identity, recipient) = pair();
    let sealed = session([&*recipient]).seal(None, &content(300_000)).unwrap();
    let mut read = Vec::new();
    keys(&identity).reader(&sealed[..]).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == content(300_000));
    let mut cut = keys(&identity).reader(&sealed[..200_000]).unwrap();
    assert!(cut.read_to_end(&mut read).is_err());
    assert!(Keys::default().reader(&sealed[..]).is_err());
}

#[test]
fn lines_are_sealed_one_by_one() {
    let (identity, recipient) = pair();
    let line = session([&*recipient]).seal_line(b"{\"secret\": 1}").unwrap();
    assert!(!line.contains(['\n', '{']));
    assert_eq!(keys(&identity).open_line(line.as_bytes()).unwrap(), b"{\"secret\": 1}");
    assert!(keys(&identity).open_line(b"{\"secret\": 1}").is_err());
}

#[test]
fn what_is_no_recipient_is_told() {
    let (identity, recipient) = pair();
    for (text, why) in [
        ("", NoRecipient::Nothing),
        ("# nobody\n\n", NoRecipient::Nothing),
        (&*identity, NoRecipient::Secret),
        (SSH.lines().next().unwrap(), NoRecipient::Secret),
        (&recipient[..recipient.len() - 1], NoRecipient::Other),
        ("ssh-ed25519 AAAA", NoRecipient::Other),
        ("ann@example.org", NoRecipient::Other),
        (&format!("{recipient}\nbob"), NoRecipient::Line { line: 2, why: Box::new(NoRecipient::Other) }),
        (SSH, NoRecipient::Line { line: 1, why: Box::new(NoRecipient::Secret) }),
    ] {
        let found = Recipients::parse([text]).unwrap_err();
        assert_eq!(found, why);
        assert!(!found.hint().is_empty() && !found.to_string().contains(&identity));
    }
    assert!(Recipients::parse([]).is_err());
    for (text, is_meant) in [
        (&*recipient, true),
        (&*identity, true),
        (SSH_PUBLIC, true),
        ("team.pub", false),
        ("age1/x.pub", false),
        ("ssh-key", false),
    ] {
        assert_eq!(Recipients::is_meant(text), is_meant, "{text}");
    }
}

#[test]
fn what_is_no_identity_is_told() {
    let (identity, recipient) = pair();
    let mut nobody = || None;
    let mut parsed = |text: &str| Identities::parse(text, &mut nobody).map(drop).unwrap_err();
    for (text, why) in [
        ("", NoIdentity::Nothing),
        ("# remark\n", NoIdentity::Nothing),
        (&*recipient, NoIdentity::Public),
        (SSH_PUBLIC, NoIdentity::Public),
        (&identity[..identity.len() - 1], NoIdentity::Line(1)),
        (&format!("{identity}\nx"), NoIdentity::Line(2)),
        (SSH_LOCKED, NoIdentity::Locked),
        (&SSH[..200], NoIdentity::Damaged),
        ("age-encryption.org/v1\n-> scrypt x\n", NoIdentity::Encrypted),
    ] {
        let found = parsed(text);
        assert_eq!(found, why);
        assert!(!found.hint().is_empty() && !found.to_string().contains(&identity[..20]));
    }
}

#[test]
fn a_protected_key_opens_with_its_passphrase_alone() {
    let sealed = session([SSH_LOCKED_PUBLIC]).seal(None, b"content").unwrap();
    let with = |passphrase: &str| Identities::parse(SSH_LOCKED, &mut || Some(passphrase.to_owned()));
    assert_eq!(Keys::new([with("open sesame").unwrap()]).open(&sealed).unwrap().content, b"content");
    assert_eq!(with("sesame").map(drop).unwrap_err(), NoIdentity::Passphrase);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(
        start in prop_oneof![Just(""), Just("age-encryption.org/v1\n"), Just("age-encryption.org/v1\n-> regress-header-1\n")],
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        lines in "(-> [a-z0-9-]{0,20}( [!-~]{0,20}){0,3}\n|[A-Za-z0-9+/]{0,70}\n|---[ -~]{0,50}\n){0,8}",
    ) {
        let keys = keys(SSH);
        for file in [[start.as_bytes(), &bytes].concat(), [start, &lines].concat().into_bytes()] {
            prop_assert!(keys.open(&file).is_err());
            let _ = readable(&file);
        }
    }

    #[test]
    fn any_text_is_a_key_or_refused_without_a_panic(text in "(ssh-ed25519 |ssh-rsa |age1|AGE-SECRET-KEY-1|-----BEGIN OPENSSH PRIVATE KEY-----\n)?[ -~\n]{0,80}") {
        let _ = Recipients::parse([&*text]);
        let _ = Identities::parse(&text, &mut || Some(String::new()));
    }
}

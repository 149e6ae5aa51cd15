//! Netlink (RFC 3549) by hand: one message encoder, one exchange with the kernel, and the two local routes.
#![allow(unsafe_code, reason = "bringing the loopback interface up is an ioctl")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

/// Index of the loopback interface, the first one of every network namespace.
const LOOPBACK: u32 = 1;
const HEADER: usize = 16;

/// One netlink message under construction; nested attributes are closures, so lengths cannot be forgotten.
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` with its family-specific fixed part.
    pub(super) fn new(kind: u16, flags: i32, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags as u16).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(fixed);
        Self { bytes }
    }

    /// Appends one attribute, padded to four bytes.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.append(kind, |message| message.bytes.extend(value))
    }

    /// Appends one attribute whose value is a string ended by a zero byte.
    pub(super) fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        self.append(kind, |message| {
            message.bytes.extend(value.as_bytes());
            message.bytes.push(0);
        })
    }

    /// Appends one attribute whose value is made of attributes.
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.append(kind | libc::NLA_F_NESTED as u16, fill)
    }

    fn append(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// The finished message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// What the kernel refused: the sequence number of the message and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) sequence: u32,
    pub(super) source: io::Error,
}

/// Sends `messages` in one datagram and reads acknowledgements until that of `last`, or the first refusal.
pub(super) fn exchange(protocol: SockProtocol, messages: &[u8], last: u32) -> Result<(), Refused> {
    let refused = |sequence| move |error: nix::Error| Refused { sequence, source: error.into() };
    let kernel = NetlinkAddr::new(0, 0);
    let netlink: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map_err(refused(0))?;
    bind(netlink.as_raw_fd(), &kernel).map_err(refused(0))?;
    sendto(netlink.as_raw_fd(), messages, &kernel, MsgFlags::empty()).map_err(refused(0))?;
    let mut answer = [0; 32 * 1024];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).map_err(refused(0))?;
        let mut rest = &answer[..length];
        while rest.len() >= HEADER {
            let size = (word(rest, 0) as usize).clamp(HEADER, rest.len());
            let (message, after) = rest.split_at(size);
            rest = after.get(size.next_multiple_of(4) - size..).unwrap_or_default();
            if i32::from(u16::from_ne_bytes([message[4], message[5]])) != libc::NLMSG_ERROR || size < HEADER + 8 {
                continue;
            }
            // struct nlmsgerr: the error, then the header of the message that it answers.
            let error = -(word(message, HEADER) as i32);
            let sequence = word(message, 8);
            if error != 0 {
                return Err(Refused { sequence, source: io::Error::from_raw_os_error(error) });
            }
            if sequence == last {
                return Ok(());
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Makes every address of both families local: whatever the service connects to is this machine.
pub(super) fn route_everything_here() -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        exchange(SockProtocol::NetlinkRoute, &local_route(family), 1).map_err(|refused| refused.source)?;
    }
    Ok(())
}

/// `ip route add local default dev lo`.
fn local_route(family: i32) -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, 32 bits of flags.
    let rtmsg = [
        family as u8,
        0,
        0,
        0,
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
        0,
        0,
        0,
        0,
    ];
    let mut message = Message::new(libc::RTM_NEWROUTE, flags, 1, &rtmsg);
    message.attribute(libc::RTA_OIF, &LOOPBACK.to_ne_bytes());
    message.finish()
}

/// Brings the loopback interface of the current network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    match unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_route_is_forty_bytes_with_one_attribute() {
        let message = local_route(libc::AF_INET6);
        assert_eq!(message.len(), 16 + 12 + 8 + 4 - 4);
        assert_eq!(word(&message, 0) as usize, message.len());
        assert_eq!(message[16], 10, "AF_INET6");
        assert_eq!(&message[28..], [8, 0, 4, 0, 1, 0, 0, 0], "RTA_OIF = lo");
    }

    #[test]
    fn attributes_are_padded_and_nested_lengths_cover_their_padding() {
        let mut message = Message::new(1, 0, 7, &[]);
        message.nested(3, |inner| {
            inner.attribute(1, &[9]).string(2, "abc");
        });
        let bytes = message.finish();
        assert_eq!(bytes[16..20], [20, 0, 3, 0x80]);
        assert_eq!(bytes[20..28], [5, 0, 1, 0, 9, 0, 0, 0]);
        assert_eq!(bytes[28..36], [8, 0, 2, 0, b'a', b'b', b'c', 0]);
    }
}

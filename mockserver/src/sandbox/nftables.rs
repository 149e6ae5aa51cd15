//! The netfilter ruleset of a sandbox, as nfnetlink batches (`linux/netfilter/nf_tables.h`).
//!
//! ```text
//! table inet regress { chain capture { type filter hook prerouting priority mangle; policy accept;
//!     meta mark MARK accept                                 # our own sockets and the entry driver's
//!     ip  daddr 127.0.0.0/8 socket transparent 0 accept     # the service's own sockets on loopback
//!     ip6 daddr ::1         socket transparent 0 accept
//!     socket wildcard 0 accept                              # connections, and listeners bound to that very address
//!     ip daddr ADDRESS tcp dport PORT reject with tcp reset # recorded as refused
//!     udp dport 53 accept                                   # our DNS sockets
//!     meta l4proto tcp tproxy to :PORT accept               # everything else
//!     meta l4proto udp tproxy to :PORT accept } }
//! ```
//! No connection tracking: a long replay would fill its table, and marking our own sockets does the same for free.
//! `socket transparent` (unlike `wildcard`) also sees sockets in TIME_WAIT; those of ours are left to `tproxy`, which
//! hands a new connection from the same port to the listener.

use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Refused, exchange};
use super::wire::{Failure, Step};

const TABLE: &str = "regress";
const CHAIN: &str = "capture";
/// Refused addresses in one batch, so that it fits the send buffer of a netlink socket.
const REFUSED_PER_BATCH: usize = 128;

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const FAMILY_INET: u8 = 1;
const PRIORITY_MANGLE: i32 = -150;
const VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const META_MARK: u32 = 3;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const SOCKET_TRANSPARENT: u32 = 0;
const SOCKET_WILDCARD: u32 = 2;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const REJECT_TCP_RESET: u32 = 1;

/// Installs the ruleset in the current network namespace.
pub(super) fn install(mark: u32, port: u16, refused: &[SocketAddr]) -> Result<(), Failure> {
    for batch in batches(mark, port, refused) {
        let (bytes, last) = batch.encode();
        exchange(SockProtocol::NetlinkNetFilter, &bytes, last).map_err(|refused| batch.failure(refused))?;
    }
    Ok(())
}

fn batches(mark: u32, port: u16, refused: &[SocketAddr]) -> Vec<Batch> {
    let mut own = Batch::default();
    own.table();
    own.chain();
    own.rule("meta mark", |rule| {
        rule.meta(META_MARK).equals(&mark.to_ne_bytes()).accept();
    });
    own.rule("socket transparent", |rule| {
        rule.meta(META_FAMILY).equals(&[libc::AF_INET as u8]);
        rule.payload(NETWORK_HEADER, 16, 1).equals(&[127]);
        rule.socket(SOCKET_TRANSPARENT).equals(&[0]).accept();
    });
    own.rule("socket transparent", |rule| {
        rule.destination(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
        rule.socket(SOCKET_TRANSPARENT).equals(&[0]).accept();
    });
    own.rule("socket wildcard", |rule| {
        rule.socket(SOCKET_WILDCARD).equals(&[0]).accept();
    });

    let rejections = refused.chunks(REFUSED_PER_BATCH).map(|addresses| {
        let mut batch = Batch::default();
        for address in addresses {
            batch.rule("reject", |rule| {
                rule.destination(address.ip());
                rule.protocol(libc::IPPROTO_TCP).destination_port(address.port()).reset();
            });
        }
        batch
    });

    let mut capture = Batch::default();
    capture.rule("payload", |rule| {
        rule.protocol(libc::IPPROTO_UDP).destination_port(super::DNS_PORT).accept();
    });
    for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
        capture.rule("tproxy", |rule| {
            rule.protocol(protocol).tproxy(port).accept();
        });
    }
    std::iter::once(own).chain(rejections).chain([capture]).collect()
}

/// Messages that take effect together or not at all; the name of a message is what an error calls it.
#[derive(Default)]
struct Batch {
    messages: Vec<(&'static str, Vec<u8>)>,
}

impl Batch {
    fn message(&mut self, name: &'static str, kind: u16, flags: i32, fill: impl FnOnce(&mut Message)) {
        let sequence = self.messages.len() as u32 + 1;
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_CREATE | flags;
        let mut message = Message::new(kind, flags, sequence, &[FAMILY_INET, 0, 0, 0]);
        message.string(1, TABLE);
        fill(&mut message);
        self.messages.push((name, message.finish()));
    }

    fn table(&mut self) {
        self.message("table", NEW_TABLE, 0, |_| {});
    }

    fn chain(&mut self) {
        self.message("chain", NEW_CHAIN, 0, |chain| {
            chain.string(3, CHAIN).string(7, "filter");
            chain.nested(4, |hook| {
                hook.attribute(1, &(libc::NF_INET_PRE_ROUTING as u32).to_be_bytes());
                hook.attribute(2, &PRIORITY_MANGLE.to_be_bytes());
            });
        });
    }

    fn rule(&mut self, name: &'static str, fill: impl FnOnce(&mut Rule)) {
        self.message(name, NEW_RULE, libc::NLM_F_APPEND, |message| {
            message.string(2, CHAIN);
            message.nested(4, |message| fill(&mut Rule { message }));
        });
    }

    /// The batch and the sequence number of the message that is acknowledged when all went well.
    fn encode(&self) -> (Vec<u8>, u32) {
        // struct nfgenmsg: family, version, subsystem in network order.
        let mark = |kind| Message::new(kind, libc::NLM_F_REQUEST, 0, &[0, 0, 0, SUBSYSTEM as u8]).finish();
        let mut bytes = mark(BATCH_BEGIN);
        let last = self.messages.len();
        for (index, (_, message)) in self.messages.iter().enumerate() {
            let start = bytes.len();
            bytes.extend(message);
            if index + 1 == last {
                bytes[start + 6] |= libc::NLM_F_ACK as u8;
            }
        }
        bytes.extend(mark(BATCH_END));
        (bytes, last as u32)
    }

    fn failure(&self, refused: Refused) -> Failure {
        let message = (refused.sequence as usize).checked_sub(1).and_then(|index| self.messages.get(index));
        let name = message.map_or("batch", |(name, _)| name);
        Failure::new(Step::Nftables(name.to_owned()), refused.source)
    }
}

/// The expressions of one rule, evaluated in order until one does not hold.
struct Rule<'a> {
    message: &'a mut Message,
}

impl Rule<'_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Message)) -> &mut Self {
        self.message.nested(1, |element| {
            element.string(1, name).nested(2, fill);
        });
        self
    }

    fn meta(&mut self, key: u32) -> &mut Self {
        self.expression("meta", |meta| {
            meta.attribute(2, &key.to_be_bytes()).attribute(1, &REGISTER.to_be_bytes());
        })
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32) -> &mut Self {
        self.expression("payload", |payload| {
            payload.attribute(1, &REGISTER.to_be_bytes()).attribute(2, &base.to_be_bytes());
            payload.attribute(3, &offset.to_be_bytes()).attribute(4, &length.to_be_bytes());
        })
    }

    fn socket(&mut self, key: u32) -> &mut Self {
        self.expression("socket", |socket| {
            socket.attribute(1, &key.to_be_bytes()).attribute(2, &REGISTER.to_be_bytes());
        })
    }

    fn equals(&mut self, value: &[u8]) -> &mut Self {
        self.expression("cmp", |cmp| {
            cmp.attribute(1, &REGISTER.to_be_bytes()).attribute(2, &0u32.to_be_bytes());
            cmp.nested(3, |data| {
                data.attribute(1, value);
            });
        })
    }

    fn protocol(&mut self, protocol: i32) -> &mut Self {
        self.meta(META_PROTOCOL).equals(&[protocol as u8])
    }

    fn destination(&mut self, address: IpAddr) -> &mut Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                self.meta(META_FAMILY).equals(&[libc::AF_INET as u8]);
                self.payload(NETWORK_HEADER, 16, 4).equals(&address.octets())
            }
            IpAddr::V6(address) => {
                self.meta(META_FAMILY).equals(&[libc::AF_INET6 as u8]);
                self.payload(NETWORK_HEADER, 24, 16).equals(&address.octets())
            }
        }
    }

    fn destination_port(&mut self, port: u16) -> &mut Self {
        self.payload(TRANSPORT_HEADER, 2, 2).equals(&port.to_be_bytes())
    }

    fn immediate(&mut self, register: u32, data: impl FnOnce(&mut Message)) -> &mut Self {
        self.expression("immediate", |immediate| {
            immediate.attribute(1, &register.to_be_bytes()).nested(2, data);
        })
    }

    fn accept(&mut self) {
        self.immediate(VERDICT, |data| {
            data.nested(2, |verdict| {
                verdict.attribute(1, &(libc::NF_ACCEPT as u32).to_be_bytes());
            });
        });
    }

    fn tproxy(&mut self, port: u16) -> &mut Self {
        self.immediate(REGISTER, |data| {
            data.attribute(1, &port.to_be_bytes());
        });
        self.expression("tproxy", |tproxy| {
            tproxy.attribute(1, &0u32.to_be_bytes()).attribute(3, &REGISTER.to_be_bytes());
        })
    }

    fn reset(&mut self) {
        self.expression("reject", |reject| {
            reject.attribute(1, &REJECT_TCP_RESET.to_be_bytes()).attribute(2, &[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expressions of `meta mark 0x52 accept` as `nft -f` 1.0.6 sends them, without its padding of `socket`.
    #[test]
    fn a_rule_is_byte_for_byte_what_nft_sends() {
        let (bytes, last) = batches(0x52, 4, &[])[0].encode();
        let expected = b"\x24\x00\x01\x80\x09\x00\x01\x00meta\x00\x00\x00\x00\x14\x00\x02\x80\x08\x00\x02\x00\x00\x00\x00\x03\
            \x08\x00\x01\x00\x00\x00\x00\x01\x2c\x00\x01\x80\x08\x00\x01\x00cmp\x00\x20\x00\x02\x80\x08\x00\x01\x00\x00\x00\x00\x01\
            \x08\x00\x02\x00\x00\x00\x00\x00\x0c\x00\x03\x80\x08\x00\x01\x00\x52\x00\x00\x00\x30\x00\x01\x80\x0e\x00\x01\x00immediate\
            \x00\x00\x00\x1c\x00\x02\x80\x08\x00\x01\x00\x00\x00\x00\x00\x10\x00\x02\x80\x0c\x00\x02\x80\x08\x00\x01\x00\x00\x00\x00\x01";
        assert!(bytes.windows(expected.len()).any(|window| window == expected));
        assert_eq!(last, 6, "table, chain, four rules");
    }

    #[test]
    fn refused_addresses_are_split_over_batches_between_the_fixed_ones() {
        let refused: Vec<SocketAddr> = (0..300).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let batches = batches(0x52, 4, &refused);
        assert_eq!(batches.iter().map(|batch| batch.messages.len()).collect::<Vec<_>>(), [6, 128, 128, 44, 3]);
        assert!(batches.iter().all(|batch| batch.encode().0.len() < 100_000));
    }

    #[test]
    fn an_error_names_the_expression_of_its_message() {
        let batch = &batches(0x52, 4, &[])[1];
        let failure = batch.failure(Refused { sequence: 2, source: std::io::Error::from_raw_os_error(2) });
        assert_eq!(failure.step, Step::Nftables("tproxy".into()));
    }
}

//! Names from the host's resolver, outside the sandbox.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::message::{A, AAAA, Outcome, Question, is_truncated, read_reply};
use super::names::canonical;

/// How long one server has; what resolvers allow as a rule.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer of a server that supports EDNS.
const MAX_DATAGRAM: usize = 64 * 1024;

/// The host's hosts file and name servers, and every address that was given out.
#[derive(Debug)]
pub struct Forward {
    hosts: HashMap<String, Vec<IpAddr>>,
    servers: Vec<SocketAddr>,
    remembered: Mutex<BTreeMap<String, Vec<IpAddr>>>,
}

impl Forward {
    /// Reads the host's `/etc/hosts` and `/etc/resolv.conf`; what is missing counts as empty (`resolv.conf(5)`).
    pub fn from_host() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::new(parse_hosts(&read("/etc/hosts")), parse_servers(&read("/etc/resolv.conf")))
    }

    fn new(hosts: HashMap<String, Vec<IpAddr>>, servers: Vec<SocketAddr>) -> Self {
        Self { hosts, servers, remembered: Mutex::default() }
    }

    /// Every name that was answered so far, with its addresses in the order in which they were given.
    pub fn remembered(&self) -> BTreeMap<String, Vec<IpAddr>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses given for `name` so far.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&canonical(name)).cloned().unwrap_or_default()
    }

    /// The first name, in order, for which `address` was given.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut having = remembered.iter().filter(|(_, addresses)| addresses.contains(&address));
        having.next().map(|(name, _)| name.clone())
    }

    pub(super) async fn answer(&self, query: &[u8], question: &Question, over_udp: bool) -> (Vec<u8>, Outcome) {
        if let Some(addresses) = self.hosts.get(&question.name) {
            self.remember(&question.name, addresses);
            let (reply, outcome) = question.answer_from(query, Some(addresses), over_udp);
            return (reply, if outcome == Outcome::Answered { Outcome::OfFile } else { outcome });
        }
        let reply = self.ask_servers(query, over_udp).await;
        if let Some((outcome, addresses)) = reply.as_deref().and_then(read_reply)
            && matches!(outcome, Outcome::Answered | Outcome::Empty)
        {
            self.remember(&question.name, &addresses);
            return (reply.unwrap_or_default(), outcome);
        }
        // A name that only the host's other ways know, such as mdns or a container engine's.
        if matches!(question.kind, A | AAAA)
            && let Ok(found) = lookup_host((question.name.as_str(), 0)).await
        {
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            self.remember(&question.name, &addresses);
            return question.answer_from(query, Some(&addresses), over_udp);
        }
        match reply {
            Some(reply) => {
                let outcome = read_reply(&reply).map_or(Outcome::Failed, |(outcome, _)| outcome);
                (reply, outcome)
            }
            None => question.failure(query),
        }
    }

    fn remember(&self, name: &str, addresses: &[IpAddr]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            let known = remembered.entry(name.to_owned()).or_default();
            if !known.contains(address) {
                known.push(*address);
            }
        }
    }

    /// The reply of the first server that gives one. A reply cut to a datagram goes to a service that asked by datagram,
    /// which then asks again over TCP.
    async fn ask_servers(&self, query: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        for server in &self.servers {
            if let Ok(Ok(reply)) = timeout(PATIENCE, over_datagram(*server, query)).await
                && (over_udp || !is_truncated(&reply))
            {
                return Some(reply);
            }
            if let Ok(Ok(reply)) = timeout(PATIENCE, over_stream(*server, query)).await {
                return Some(reply);
            }
        }
        None
    }
}

async fn over_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut reply = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut reply).await?;
        if length >= 2 && reply[..2] == query[..2] {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn over_stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(query.len() as u16).await?;
    stream.write_all(query).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// `hosts(5)`: an address and its names.
fn parse_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_whitespace();
        let Some(Ok(address)) = fields.next().map(str::parse::<IpAddr>) else { continue };
        for name in fields {
            hosts.entry(canonical(name)).or_default().push(address);
        }
    }
    hosts
}

/// The `nameserver` lines of `resolv.conf(5)`; without one, the local host is asked.
fn parse_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|address| address.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, crate::sandbox::DNS_PORT))
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, crate::sandbox::DNS_PORT)));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: u16) -> Vec<u8> {
        let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x02db\x04test\0".to_vec();
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    #[test]
    fn the_files_of_the_host_are_read() {
        let hosts = parse_hosts("127.0.0.1 localhost # here\n10.0.0.7\tDB db.test\n10.0.0.8 db\nnot-an-address x\n");
        assert_eq!(hosts["db"], ["10.0.0.7".parse::<IpAddr>().unwrap(), "10.0.0.8".parse().unwrap()]);
        assert_eq!(hosts.len(), 3);
        let servers = parse_servers("# x\nnameserver 10.0.0.1\nsearch a\nnameserver ::1\n");
        assert_eq!(servers, ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse::<SocketAddr>().unwrap()]);
        assert_eq!(parse_servers(""), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_of_the_hosts_file_is_answered_and_remembered() {
        let forward = Forward::new(parse_hosts("10.0.0.7 db.test"), Vec::new());
        let question = Question::parse(&query(A)).unwrap();
        let (reply, outcome) = forward.answer(&query(A), &question, true).await;
        assert_eq!(outcome, Outcome::OfFile);
        assert_eq!(read_reply(&reply).unwrap().1, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(forward.name_of("10.0.0.7".parse().unwrap()).as_deref(), Some("db.test"));
    }

    #[tokio::test]
    async fn a_server_is_asked_with_the_very_query_and_its_reply_is_passed_on_and_remembered() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let forward = Forward::new(HashMap::new(), vec![server.local_addr().unwrap()]);
        let addresses: Vec<IpAddr> = vec!["192.0.2.9".parse().unwrap()];
        let serve = async {
            let mut bytes = [0; 512];
            let (length, from) = server.recv_from(&mut bytes).await.unwrap();
            assert_eq!(bytes[..length], query(A)[..]);
            let question = Question::parse(&bytes[..length]).unwrap();
            let (reply, _) = question.answer_from(&bytes[..length], Some(&addresses), true);
            server.send_to(&reply, from).await.unwrap();
        };
        let question = Question::parse(&query(A)).unwrap();
        let asked = query(A);
        let ((), (_, outcome)) = tokio::join!(serve, forward.answer(&asked, &question, true));
        assert_eq!(outcome, Outcome::Answered);
        assert_eq!(forward.addresses("DB.test"), addresses);
    }
}

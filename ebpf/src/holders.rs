//! The processes that listen on a port, whatever network namespace they are in.
//!
//! Each network namespace is read through one process in it (`/proc/PID/net/tcp` and `tcp6`; MPTCP listeners, Go's
//! default, stand in these under their own inode). Whoever holds one of the listening sockets, inherited, passed or its
//! own, shows it among its descriptors as `socket:[INODE]`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::Error;
use crate::listeners::{Listening, listening};

/// Every process that holds a socket which listens on one of the ports, in rising order.
///
/// A systemd that keeps a socket for the service which it started with it is not counted among the holders.
///
/// # Errors
/// [`Error::NobodyListens`] when there is none for one of the ports, [`Error::SeveralListen`] when they are of more
/// than one network namespace (they are different services then), [`Error::Permission`] when processes that may hold it
/// cannot be looked into.
pub fn listening_on(ports: &[u16]) -> Result<Vec<u32>, Error> {
    let processes = processes().map_err(Error::Processes)?;
    let mut sockets: HashMap<u64, (u16, PathBuf)> = HashMap::new();
    let mut namespaces = HashSet::new();
    for &pid in &processes {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        if namespaces.insert(namespace.clone()) {
            let wanted = listeners_of(pid).filter(|listener| ports.contains(&listener.address.port()));
            sockets.extend(wanted.map(|listener| (listener.inode, (listener.address.port(), namespace.clone()))));
        }
    }
    let mut holders: BTreeMap<u32, HashSet<u64>> = BTreeMap::new();
    let mut denied = None;
    if !sockets.is_empty() {
        for pid in processes {
            match held(pid, &sockets) {
                Ok(held) if held.is_empty() => {}
                Ok(held) => drop(holders.insert(pid, held)),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => denied = Some(e),
                // It has ended.
                Err(_) => {}
            }
        }
    }
    holders.retain(|pid, _| !is_socket_activator(*pid));
    for &port in ports {
        let held = holders.values().flatten().any(|inode| sockets[inode].0 == port);
        if held {
            continue;
        }
        let listens = sockets.values().any(|(listened, _)| *listened == port);
        return Err(match denied {
            Some(source) if listens => {
                Error::Permission { what: "look into the processes of others", source: Box::new(source) }
            }
            _ => Error::NobodyListens { port },
        });
    }
    let places: HashSet<&PathBuf> = holders.values().flatten().map(|inode| &sockets[inode].1).collect();
    if places.len() > 1 {
        let holders = holders.into_keys().map(|pid| format!("{} ({pid})", name_of(pid))).collect();
        return Err(Error::SeveralListen { ports: ports.to_vec(), holders });
    }
    Ok(holders.into_keys().collect())
}

fn processes() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

/// What the network namespace of a process listens on.
fn listeners_of(pid: u32) -> impl Iterator<Item = Listening> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    tables.into_iter().flatten().flat_map(|table| table.lines().filter_map(listening).collect::<Vec<_>>())
}

/// Which of the sockets a process holds.
fn held(pid: u32, sockets: &HashMap<u64, (u16, PathBuf)>) -> io::Result<HashSet<u64>> {
    let mut held = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed at any time while we look.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        held.extend(target.to_str().and_then(socket_inode).filter(|inode| sockets.contains_key(inode)));
    }
    Ok(held)
}

/// What `/proc/PID/fd` links a socket to: `socket:[INODE]`.
pub(crate) fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// systemd listens for services until it starts them, and keeps the socket (systemd.socket(5)). Whoever follows it
/// follows everything that it starts.
fn is_socket_activator(pid: u32) -> bool {
    name_of(pid) == "systemd"
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_from_other_files() {
        assert_eq!(socket_inode("socket:[38265]"), Some(38265));
        for other in ["pipe:[38265]", "/tmp/socket:[1]", "socket:[]", "socket:[1", "anon_inode:[eventpoll]"] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
    }
}

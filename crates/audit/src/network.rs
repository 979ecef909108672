//! Who listens, who talks to the server, and from how far away it can be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Absent, Facts, Outcome, ProbeId as P, Severity, Spec, known,
    ports::{self, Kind},
    storage::is_remote,
    storage::mounts,
};

/// From where a listener can be reached, as far as its address says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// From the server itself.
    Loopback,
    /// From the networks of one address.
    Address,
    /// From every network that the server is in.
    All,
}

impl Exposure {
    fn of(address: &str) -> Self {
        let address = address.split('%').next().unwrap_or_default();
        let address = address.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => Self::All,
            Ok(address) if is_loopback(address) => Self::Loopback,
            Ok(_) => Self::Address,
            Err(_) => Self::All,
        }
    }

    /// Whether only the server itself reaches it.
    pub fn is_loopback(self) -> bool {
        self == Self::Loopback
    }

    /// As documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Address => "one address",
            Self::All => "all addresses",
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    }
}

/// A port that something listens on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address as the system writes it.
    pub address: String,
    /// From where it can be reached.
    pub exposure: Exposure,
    /// What the port is for.
    pub service: String,
    /// The program; empty where it is not known.
    pub process: String,
}

/// Everything that listens. By `ss`; else by the tables of `/proc`, which know no programs.
pub fn listeners(facts: &Facts<'_>) -> Result<Vec<Listener>, String> {
    let mut found = BTreeSet::new();
    let sockets = facts.text(P::Sockets);
    if let Ok(text) = &sockets {
        found.extend(text.lines().filter_map(socket));
    }
    if found.is_empty() {
        let tables = [(P::Tcp, "tcp"), (P::Tcp6, "tcp"), (P::Udp, "udp"), (P::Udp6, "udp")];
        let mut read = 0;
        for (id, protocol) in tables {
            let Ok(text) = facts.text(id) else { continue };
            read += 1;
            found.extend(text.lines().filter_map(|line| table_listener(line, protocol)));
        }
        if read == 0 {
            let why = facts.text(P::Tcp).err().unwrap_or_default();
            return Err(sockets.err().map_or(why.clone(), |sockets| format!("{sockets}; {why}")));
        }
    }
    Ok(found.into_iter().collect())
}

/// A line of `ss -lntup`.
fn socket(line: &str) -> Option<Listener> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let [protocol @ ("tcp" | "udp"), _, _, _, local, _, users @ ..] = fields.as_slice() else {
        return None;
    };
    let (address, port) = local.rsplit_once(':')?;
    let port = port.parse().ok()?;
    // `users:(("sshd",pid=1,fd=3),…)`
    let users = users.join(" ");
    let process = users.split('"').nth(1).unwrap_or_default();
    Some(Listener {
        port,
        protocol: (*protocol).to_owned(),
        address: address.to_owned(),
        exposure: Exposure::of(if address == "*" { "0.0.0.0" } else { address }),
        service: ports::name(port),
        process: process.chars().take(64).collect(),
    })
}

/// A line of `/proc/net/tcp` and its kin: `0: 0100007F:0019 00000000:0000 0A …`.
struct Row {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    state: u8,
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (end(fields.next()?)?, end(fields.next()?)?);
    Some(Row { local, remote, state: u8::from_str_radix(fields.next()?, 16).ok()? })
}

/// An address in hexadecimal, each four bytes in the order of the machine, and a port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = address
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?.to_le_bytes()))
        .collect::<Option<_>>()?;
    let address = match words.as_slice() {
        [a] => IpAddr::V4(Ipv4Addr::from(*a)),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        }
        _ => return None,
    };
    Some((address, port))
}

/// States of `/proc/net/tcp`.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// Everything between the two in which a peer has been heard: closing connections too, so that one
/// that is open for a moment is seen for a minute.
const HEARD: [u8; 8] = [ESTABLISHED, 4, 5, 6, 8, 9, 11, 3];

fn table_listener(line: &str, protocol: &str) -> Option<Listener> {
    let row = row(line)?;
    let listens = match protocol {
        "tcp" => row.state == LISTEN,
        // Unconnected.
        _ => row.state == 7,
    };
    (listens && row.local.1 != 0).then(|| Listener {
        port: row.local.1,
        protocol: protocol.to_owned(),
        address: row.local.0.to_string(),
        exposure: Exposure::of(&row.local.0.to_string()),
        service: ports::name(row.local.1),
        process: String::new(),
    })
}

/// Which side began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The peer is a client of this server.
    In,
    /// This server is a client of the peer.
    Out,
}

impl Direction {
    /// As documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Another machine that talks to the server, or that the server talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address, or the name by which a mount knows it.
    pub address: String,
    /// Who began.
    pub direction: Direction,
    /// The port of the side that was called.
    pub port: u16,
    /// What it is for.
    pub service: String,
    /// Different connections that were seen.
    pub connections: u64,
    /// In how many of the samples.
    pub samples: u64,
    /// Of the server's program, where it is known.
    pub process: String,
}

/// Most connections that are told apart: more only count as the same.
const MOST_CONNECTIONS: usize = 100_000;

/// Connections that were seen over some time.
#[derive(Clone, Debug, Default)]
pub struct PeerMap {
    /// How often the tables were read.
    pub samples: u64,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// Why they could not be read, if so.
    pub failure: Option<Absent>,
    seen: BTreeMap<(IpAddr, Direction, u16), Seen>,
    connections: usize,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    connections: BTreeSet<u16>,
    samples: u64,
}

impl PeerMap {
    /// Adds one reading of the tables of TCP. Connections of the server with itself do not count.
    pub fn add(&mut self, tables: &[&str]) {
        self.samples += 1;
        let rows: Vec<Row> =
            tables.iter().flat_map(|table| table.lines().filter_map(row)).collect();
        let listening: BTreeSet<u16> =
            rows.iter().filter(|row| row.state == LISTEN).map(|row| row.local.1).collect();
        let mut now = BTreeSet::new();
        for row in rows.iter().filter(|row| HEARD.contains(&row.state)) {
            let own = is_loopback(row.remote.0) || row.remote.0 == row.local.0;
            if own || row.remote.1 == 0 {
                continue;
            }
            let (direction, port, other) = match listening.contains(&row.local.1) {
                true => (Direction::In, row.local.1, row.remote.1),
                false => (Direction::Out, row.remote.1, row.local.1),
            };
            let key = (row.remote.0, direction, port);
            if self.connections >= MOST_CONNECTIONS && !self.seen.contains_key(&key) {
                continue;
            }
            let seen = self.seen.entry(key).or_default();
            if self.connections < MOST_CONNECTIONS && seen.connections.insert(other) {
                self.connections += 1;
            }
            if now.insert(key) {
                seen.samples += 1;
            }
        }
    }

    /// Everyone who was seen, and the servers of what is mounted: clients first.
    pub fn peers(&self, facts: &Facts<'_>) -> Vec<Peer> {
        let listeners = listeners(facts).unwrap_or_default();
        let process = |port: u16| {
            let named = listeners.iter().find(|l| l.port == port && !l.process.is_empty());
            named.map(|listener| listener.process.clone()).unwrap_or_default()
        };
        let mut peers: Vec<Peer> = self
            .seen
            .iter()
            .map(|((address, direction, port), seen)| Peer {
                address: address.to_string(),
                direction: *direction,
                port: *port,
                service: ports::name(*port),
                connections: seen.connections.len() as u64,
                samples: seen.samples,
                process: if *direction == Direction::In { process(*port) } else { String::new() },
            })
            .collect();
        for mount in mounts(facts).unwrap_or_default() {
            let kind = mount.file_system.as_str();
            if !is_remote(kind) {
                continue;
            }
            let device = mount.device.trim_start_matches('/');
            let server = match kind {
                "nfs" | "nfs4" => mount.device.rsplit_once(":/").map_or("", |(server, _)| server),
                _ => device.split(['/', ':']).next().unwrap_or_default(),
            };
            let port = if kind.starts_with("nfs") { 2049 } else { 445 };
            if !server.is_empty() && !peers.iter().any(|p| p.address == server && p.port == port) {
                peers.push(Peer {
                    address: server.to_owned(),
                    direction: Direction::Out,
                    port,
                    service: format!("{} mounted at {}", ports::name(port), mount.at),
                    connections: 0,
                    samples: 0,
                    process: String::new(),
                });
            }
        }
        peers.sort_by(|a, b| {
            (a.direction, a.port, &a.address).cmp(&(b.direction, b.port, &b.address))
        });
        peers
    }
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "dependency-map",
        title: "Who talks to the server is known",
        severity: Severity::Info,
        likelihood: "low",
        impact: "high",
        remedy: "Sample for longer, over a working day, before the cutover: a modality that sends at \
                 night is cut off otherwise.",
        reference: "NIST SP 800-53 CA-9, CM-8; 45 CFR 164.308(a)(1)(ii)(A)",
        asks: &[P::Tcp, P::Tcp6, P::Mounts],
        run: dependencies,
    },
    Spec {
        id: "database-exposed",
        title: "Databases are reached from the server only",
        severity: Severity::High,
        likelihood: "medium",
        impact: "high",
        remedy: "Bind the database to the addresses that its clients need, and filter the rest.",
        reference: "NIST SP 800-53 SC-7, AC-4; 45 CFR 164.312(a)(1)",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: databases,
    },
    Spec {
        id: "medical-in-clear",
        title: "Images and messages of patients do not cross networks in the clear",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Plan DICOM and HL7 over TLS, or a tunnel, for the way to the cloud; until then keep them \
                 on a network of their own.",
        reference: "NIST SP 800-53 SC-8; 45 CFR 164.312(e)(1)",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: medical,
    },
    Spec {
        id: "remote-desktop",
        title: "No desktop is offered to the network",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Stop VNC and Remote Desktop, or let them be reached through SSH only.",
        reference: "NIST SP 800-53 AC-17, SC-7",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: desktops,
    },
    Spec {
        id: "packet-filter",
        title: "Packets are filtered",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Allow the ports that the dependency map names, and drop the rest; or note which device \
                 before the server does so.",
        reference: "NIST SP 800-53 SC-7; 45 CFR 164.312(e)(1)",
        asks: &[P::Firewall, P::Iptables],
        run: filter,
    },
];

fn dependencies(facts: &Facts<'_>) -> Outcome {
    if let Some(absent) = &facts.peers.failure {
        return Outcome::CouldNotCheck(facts.why(P::Tcp, absent));
    }
    let peers = facts.peers.peers(facts);
    let clients = peers.iter().filter(|peer| peer.direction == Direction::In).count();
    Outcome::Pass(format!(
        "{clients} clients and {} servers in {} samples over {:.0} s",
        peers.len() - clients,
        facts.peers.samples,
        facts.peers.seconds
    ))
}

/// The listeners of a kind that others reach.
fn exposed(facts: &Facts<'_>, of: impl Fn(u16) -> bool) -> Result<Vec<String>, String> {
    let mut found: Vec<_> = listeners(facts)?
        .into_iter()
        .filter(|l| l.protocol == "tcp" && !l.exposure.is_loopback() && of(l.port))
        .map(|l| format!("{} ({}/tcp, {})", l.service, l.port, l.exposure.as_str()))
        .collect();
    found.dedup();
    Ok(found)
}

fn databases(facts: &Facts<'_>) -> Outcome {
    let found = known!(exposed(facts, |port| ports::kind(port) == Kind::Database));
    Outcome::of(found, "none listens on the network", "listen on the network")
}

fn medical(facts: &Facts<'_>) -> Outcome {
    let found = known!(exposed(facts, |port| ports::kind(port) == Kind::Medical));
    Outcome::of(
        found,
        "no DICOM or HL7 listens on the network at a known port",
        "listen without TLS",
    )
}

fn desktops(facts: &Facts<'_>) -> Outcome {
    let found = known!(exposed(facts, |port| matches!(port, 3389 | 5900..=5910)));
    Outcome::of(found, "none is offered", "are offered")
}

fn filter(facts: &Facts<'_>) -> Outcome {
    let nft = facts.text(P::Firewall);
    let iptables = facts.text(P::Iptables);
    if let Ok(text) = &nft
        && text.contains("hook input")
    {
        return Outcome::Pass("nftables has rules for what comes in".to_owned());
    }
    if let Ok(text) = &iptables
        && text.lines().any(|line| line.starts_with("-A INPUT") || line == "-P INPUT DROP")
    {
        return Outcome::Pass("iptables has rules for what comes in".to_owned());
    }
    match (nft, iptables) {
        (Ok(_), _) | (_, Ok(_)) => {
            Outcome::finding("there are no rules for what comes in", Vec::new())
        }
        (Err(why), _) if !facts.is_missing(P::Firewall) => Outcome::CouldNotCheck(why),
        (_, Err(why)) if !facts.is_missing(P::Iptables) => Outcome::CouldNotCheck(why),
        _ => Outcome::CouldNotCheck("neither nft nor iptables is there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Synthetic: of three connections one is with the server itself.
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2B68 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0A00000A:2B68 0B00000A:C001 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 0A00000A:9C40 0C00000A:0A0F 06 00000000:00000000 00:00000000 00000000     0        0 1 1
   3: 0100007F:2B68 0100007F:C002 01 00000000:00000000 00:00000000 00000000     0        0 1 1
";

    #[test]
    fn directions_go_by_who_listens() {
        let mut map = PeerMap::default();
        map.add(&[TABLE, ""]);
        map.add(&[TABLE]);
        let answers = crate::Answers::default();
        let facts = Facts { answers: &answers, peers: &map, tls: &[], now: Default::default() };
        let peers = map.peers(&facts);
        let shown: Vec<_> = peers
            .iter()
            .map(|p| {
                (
                    p.address.as_str(),
                    p.direction.as_str(),
                    p.service.as_str(),
                    p.connections,
                    p.samples,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("10.0.0.11", "in", "DICOM", 1, 2), ("10.0.0.12", "out", "HL7 (MLLP)", 1, 2),]
        );
    }

    #[test]
    fn listeners_and_how_far_they_reach() {
        let of = |line: &str| socket(line).map(|l| (l.port, l.exposure, l.process));
        assert_eq!(
            of("tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))"),
            Some((22, Exposure::All, "sshd".into()))
        );
        assert_eq!(
            of("udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*"),
            Some((53, Exposure::Loopback, String::new()))
        );
        assert_eq!(of("tcp LISTEN 0 5 [::1]:631 [::]:*").map(|l| l.1), Some(Exposure::Loopback));
        assert_eq!(of("tcp LISTEN 0 5 *:80 *:*").map(|l| l.1), Some(Exposure::All));
        assert_eq!(of("Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port"), None);
        assert!(table_listener("0: 000000000000000001000000:1538 0:0 0A", "tcp").is_none());
        let v6 =
            "0: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A";
        let listener = table_listener(v6, "tcp").unwrap();
        assert_eq!((listener.port, listener.exposure), (5432, Exposure::Loopback));
    }
}

//! `drover audit`: what a server is, who talks to it, and what is risky about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{self, FindingItem};
use crate::{
    Page, Table, Text, Tone, format,
    page::TERMINAL_ROWS,
    page::warnings,
    plot::{Figure, Link, Plot},
};

/// What a server is. What is not known is empty or absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditSystem {
    /// Its name.
    pub name: Text,
    /// The operating system, as people say it.
    pub os: Text,
    /// The operating system's name for programs.
    pub family: Text,
    /// Its version.
    pub version: Text,
    /// The last day of its general support.
    pub supported_until: Text,
    /// The running kernel.
    pub kernel: Text,
    /// Seconds since it was started.
    pub uptime: Option<u64>,
    /// Processors.
    pub processors: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// One check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditCheck {
    /// Stable.
    pub id: Text,
    /// `pass`, `finding` or `could-not-check`.
    pub result: Text,
    /// How much a finding matters: `info`, `low`, `medium`, `high`.
    pub severity: Text,
    /// What is checked, as it should be.
    pub title: Text,
    /// What was seen, or why nothing was.
    pub evidence: Text,
    /// What to do about a finding.
    pub remedy: Text,
    /// Controls that it serves.
    pub reference: Text,
}

/// A port that something listens on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditListener {
    /// The port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: Text,
    /// The address.
    pub address: Text,
    /// `loopback`, `one address`, `all addresses`.
    pub exposure: Text,
    /// What the port is for.
    pub service: Text,
    /// The program; may be empty.
    pub process: Text,
}

/// A port that was asked for TLS.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditTls {
    /// The port.
    pub port: u16,
    /// The newest version up to 1.2 that it speaks; empty where it speaks none.
    pub version: Text,
    /// The version that it speaks with who knows nothing newer than 1.1; empty where it refuses.
    pub old_version: Text,
    /// Whose certificate it shows.
    pub subject: Text,
    /// Who issued it: nobody checked.
    pub issuer: Text,
    /// From when it is valid.
    pub not_before: Option<Text>,
    /// Until when.
    pub not_after: Option<Text>,
    /// Sort and length of its key.
    pub key: Text,
    /// Why something is not known; may be empty.
    pub why: Text,
}

/// Another machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditPeer {
    /// Its address.
    pub address: Text,
    /// `in` where it is a client of the server, `out` where the server is its client.
    pub direction: Text,
    /// The port that is called.
    pub port: u16,
    /// What it is for.
    pub service: Text,
    /// Different connections that were seen.
    pub connections: u64,
    /// In how many samples.
    pub samples: u64,
    /// The server's program; may be empty.
    pub process: Text,
}

/// An account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditAccount {
    /// Its name.
    pub name: Text,
    /// Its number.
    pub uid: u32,
    /// Whether its shell lets someone in.
    pub login: bool,
    /// `none`, `locked`, `empty`, `set` or `unknown`.
    pub password: Text,
    /// How the password is kept; may be empty.
    pub scheme: Text,
    /// Days since the password was changed.
    pub password_age_days: Option<i64>,
    /// Whether it may act as root.
    pub administrator: bool,
    /// Keys that let someone in as it.
    pub keys: u64,
    /// A day, `never`, or empty where it is not known.
    pub last_login: Text,
}

/// A block device.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditDisk {
    /// Its name.
    pub name: Text,
    /// `disk`, `part`, `crypt`, `lvm`, `raid1`, ….
    pub kind: Text,
    /// What it lies on; may be empty.
    pub parent: Text,
    /// Bytes.
    pub size: u64,
    /// What it calls itself.
    pub model: Text,
    /// What is on it.
    pub file_system: Text,
    /// Where it is mounted.
    pub mount: Text,
}

/// A mount.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditMount {
    /// Where.
    pub path: Text,
    /// Device, or server and export.
    pub device: Text,
    /// File system.
    pub file_system: Text,
    /// Bytes.
    pub size: Option<u64>,
    /// Free bytes.
    pub free: Option<u64>,
    /// Whether it lies on an encrypted device, where that is known.
    pub encrypted: Option<bool>,
}

/// A service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditService {
    /// Its unit.
    pub name: Text,
    /// `active`, `inactive`, `failed`.
    pub state: Text,
    /// Whether it starts with the server: `enabled`, `disabled`, `static`, ….
    pub enabled: Text,
    /// What it is.
    pub description: Text,
}

/// A timer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditTimer {
    /// Its unit.
    pub name: Text,
    /// What it starts.
    pub unit: Text,
    /// When it last did.
    pub last: Option<Text>,
    /// How that ended.
    pub result: Text,
}

/// A scheduled job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditJob {
    /// The file.
    pub file: Text,
    /// When.
    pub when: Text,
    /// What, with `***` for what may be a secret.
    pub command: Text,
}

/// A directory that is shared.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditShare {
    /// `SMB` or `NFS`.
    pub protocol: Text,
    /// Its name.
    pub name: Text,
    /// The directory.
    pub path: Text,
    /// Who may.
    pub clients: Text,
    /// Whether they may write.
    pub writable: bool,
}

/// A sign of a backup.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditBackup {
    /// The program.
    pub tool: Text,
    /// Where it was seen.
    pub seen_in: Text,
    /// When it last succeeded.
    pub last_success: Option<Text>,
    /// What is known besides.
    pub note: Text,
}

/// A question that the server did not answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditUnanswered {
    /// The command or file.
    pub asked: Text,
    /// Why.
    pub why: Text,
}

/// One server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditServer {
    /// How it was reached: a name, or host and port.
    pub host: Text,
    /// The account it was asked as.
    pub user: Text,
    /// Whether that account asked as root besides, by `sudo -n`.
    pub sudo: bool,
    /// When.
    pub time: Text,
    /// What was negotiated with it; empty of this machine.
    pub connection: Text,
    /// What it is.
    pub system: AuditSystem,
    /// Every check.
    pub checks: Vec<AuditCheck>,
    /// The checks that found something, the worst first.
    pub findings: Vec<FindingItem>,
    /// What listens.
    pub listeners: Vec<AuditListener>,
    /// What speaks TLS.
    pub tls: Vec<AuditTls>,
    /// Who talks to it, clients first.
    pub peers: Vec<AuditPeer>,
    /// How often peers were looked for.
    pub samples: u64,
    /// Over how many seconds.
    pub sampled_seconds: f64,
    /// Its accounts.
    pub accounts: Vec<AuditAccount>,
    /// Its disks.
    pub disks: Vec<AuditDisk>,
    /// Its mounts.
    pub mounts: Vec<AuditMount>,
    /// Its services.
    pub services: Vec<AuditService>,
    /// Its timers.
    pub timers: Vec<AuditTimer>,
    /// Its scheduled jobs.
    pub jobs: Vec<AuditJob>,
    /// What it shares.
    pub shares: Vec<AuditShare>,
    /// Signs of backups.
    pub backups: Vec<AuditBackup>,
    /// What it did not answer.
    pub unanswered: Vec<AuditUnanswered>,
    /// Why nothing more is known, where it could not be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<super::Failure>,
}

/// An audit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditReport {
    /// The server, where there is one.
    #[serde(flatten)]
    pub server: AuditServer,
    /// The servers, where there are several; the fields above are then empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<AuditServer>,
    /// What is worth knowing besides.
    pub warnings: Vec<Text>,
}

impl AuditReport {
    /// Of what was found on each server.
    pub fn new(mut servers: Vec<AuditServer>, warnings: Vec<Text>) -> Self {
        match servers.len() {
            1 => Self { server: servers.remove(0), hosts: Vec::new(), warnings },
            _ => Self { server: AuditServer::default(), hosts: servers, warnings },
        }
    }

    /// Each server.
    pub fn servers(&self) -> &[AuditServer] {
        match self.hosts.as_slice() {
            [] => std::slice::from_ref(&self.server),
            hosts => hosts,
        }
    }

    /// Whether some checks could not be made.
    pub fn is_incomplete(&self) -> bool {
        let mut checks = self.servers().iter().flat_map(|server| &server.checks);
        checks.any(|check| check.result.as_str() == "could-not-check")
    }

    /// Whether a server was reached and answered nothing that a check could go by.
    pub fn is_unanswered(&self) -> bool {
        let nothing = |server: &AuditServer| {
            let mut checks = server.checks.iter();
            !server.checks.is_empty() && checks.all(|c| c.result.as_str() == "could-not-check")
        };
        self.servers().iter().any(nothing)
    }

    pub(super) fn page(&self) -> Page {
        let findings: Vec<_> = self.servers().iter().flat_map(|server| &server.findings).collect();
        let high = findings.iter().filter(|finding| finding.severity.as_str() == "high").count();
        let counted = format::counted(findings.len() as u64, "finding", "findings");
        let (tone, verdict) = match (findings.len(), high) {
            (0, _) if self.is_incomplete() => {
                (Tone::Caution, "nothing found, and not all seen".into())
            }
            (0, _) => (Tone::Good, "nothing found".to_owned()),
            (_, 0) => (Tone::Caution, counted),
            (_, high) => (Tone::Bad, format!("{counted}, {high} of them high")),
        };
        let mut page = Page::new("Server audit", tone, verdict);
        let checks = || self.servers().iter().flat_map(|server| &server.checks);
        let of = |result: &str| checks().filter(|c| c.result.as_str() == result).count() as u64;
        let unmade = of("could-not-check");
        page.explanation = format!(
            "{}: {} passed, {} found something, {} could not be made.",
            format::counted(checks().count() as u64, "check", "checks"),
            format::count(of("pass")),
            format::count(of("finding")),
            format::count(unmade),
        );
        if unmade > 0 {
            page.next.push(
                "A check that could not be made says nothing: its evidence tells what is missing. An \
                 account with more rights sees more, and so does one that may use sudo without a \
                 password, with --sudo."
                    .to_owned(),
            );
        }
        for server in self.servers() {
            server.add_to(&mut page, !self.hosts.is_empty());
        }
        page.table(warnings(&self.warnings));
        page
    }
}

impl AuditServer {
    fn add_to(&self, page: &mut Page, several: bool) {
        let title = |title: &str| match several {
            true => format!("{}: {title}", self.host),
            false => title.to_owned(),
        };
        let system = &self.system;
        let sudo = if self.sudo { " with sudo" } else { "" };
        page.fact("Host", format!("{} as {}{sudo}, {}", self.host, self.user, self.time));
        page.fact("System", system.os.to_string());
        page.fact("Supported until", system.supported_until.to_string());
        page.fact("Kernel", system.kernel.to_string());
        page.fact("Up for", system.uptime.map(|s| format::duration(s as f64)).unwrap_or_default());
        page.fact("Processors", system.processors.map(format::count).unwrap_or_default());
        page.fact("Memory", system.memory.map(format::bytes).unwrap_or_default());
        page.fact("Connection", self.connection.to_string());
        let findings = finding::table(&self.findings);
        page.table(Table { title: title("Findings"), ..findings });
        figure(page, &title("Who talks to whom"), &self.peers);
        let mut add =
            |name: &str, columns: Vec<&'static str>, rows: Vec<Vec<String>>, note: &str| {
                page.table(Table {
                    title: title(name),
                    columns,
                    rows,
                    note: note.to_owned(),
                    terminal_rows: TERMINAL_ROWS,
                });
            };
        let unmade = self.checks.iter().filter(|c| c.result.as_str() == "could-not-check");
        add(
            "Could not be checked",
            vec!["check", "what", "why"],
            unmade
                .map(|c| vec![c.id.to_string(), c.title.to_string(), c.evidence.to_string()])
                .collect(),
            "",
        );
        let peer = |p: &AuditPeer| {
            vec![
                if p.direction.as_str() == "in" { "client" } else { "server" }.to_owned(),
                p.address.to_string(),
                p.port.to_string(),
                p.service.to_string(),
                p.process.to_string(),
                format::count(p.connections),
                format!("{} of {}", p.samples, self.samples),
            ]
        };
        add(
            "Who talks to this server",
            vec!["is its", "address", "port", "service", "program", "connections", "samples"],
            self.peers.iter().map(peer).collect(),
            "Whoever is silent while peers are sampled is not here: --sample-peers says for how long.",
        );
        let listener = |l: &AuditListener| {
            vec![
                format!("{}/{}", l.port, l.protocol),
                l.service.to_string(),
                l.process.to_string(),
                l.address.to_string(),
                l.exposure.to_string(),
            ]
        };
        add(
            "Listening ports",
            vec!["port", "service", "program", "address", "reached from"],
            self.listeners.iter().map(listener).collect(),
            "",
        );
        let tls = |t: &AuditTls| {
            vec![
                t.port.to_string(),
                t.version.to_string(),
                t.old_version.to_string(),
                t.subject.to_string(),
                t.not_after.as_ref().map(Text::to_string).unwrap_or_default(),
                t.key.to_string(),
                t.why.to_string(),
            ]
        };
        add(
            "TLS",
            vec!["port", "speaks", "old", "certificate of", "valid until", "key", "not known"],
            self.tls.iter().map(tls).collect(),
            "",
        );
        let people = self.accounts.iter().filter(|account| account.login);
        let account = |a: &AuditAccount| {
            vec![
                a.name.to_string(),
                a.uid.to_string(),
                match a.scheme.is_empty() {
                    true => a.password.to_string(),
                    false => format!("{} ({})", a.password, a.scheme),
                },
                a.password_age_days.map(|days| days.to_string()).unwrap_or_default(),
                if a.administrator { "yes" } else { "" }.to_owned(),
                a.keys.to_string(),
                a.last_login.to_string(),
            ]
        };
        add(
            "Accounts that let someone in",
            vec!["account", "number", "password", "days old", "root", "keys", "last used"],
            people.map(account).collect(),
            "",
        );
        let mount = |m: &AuditMount| {
            vec![
                m.path.to_string(),
                m.device.to_string(),
                m.file_system.to_string(),
                m.size.map(format::bytes).unwrap_or_default(),
                m.free.map(format::bytes).unwrap_or_default(),
                m.encrypted.map(|e| if e { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
            ]
        };
        add(
            "Mounts",
            vec!["at", "device", "file system", "size", "free", "encrypted"],
            self.mounts.iter().map(mount).collect(),
            "",
        );
        let disk = |d: &AuditDisk| {
            vec![
                d.name.to_string(),
                d.kind.to_string(),
                d.parent.to_string(),
                format::bytes(d.size),
                d.model.to_string(),
                d.file_system.to_string(),
                d.mount.to_string(),
            ]
        };
        add(
            "Disks",
            vec!["name", "kind", "lies on", "size", "model", "holds", "mounted at"],
            self.disks.iter().map(disk).collect(),
            "",
        );
        let share = |s: &AuditShare| {
            vec![
                s.protocol.to_string(),
                s.name.to_string(),
                s.path.to_string(),
                s.clients.to_string(),
                if s.writable { "yes" } else { "" }.to_owned(),
            ]
        };
        add(
            "Shares",
            vec!["protocol", "name", "directory", "who may", "writable"],
            self.shares.iter().map(share).collect(),
            "",
        );
        let backup = |b: &AuditBackup| {
            let last = b.last_success.as_ref().map(Text::to_string).unwrap_or_default();
            vec![b.tool.to_string(), b.seen_in.to_string(), last, b.note.to_string()]
        };
        add(
            "Signs of backups",
            vec!["program", "seen in", "last success", "note"],
            self.backups.iter().map(backup).collect(),
            "",
        );
        let job =
            |j: &AuditJob| vec![j.when.to_string(), j.command.to_string(), j.file.to_string()];
        add(
            "Scheduled jobs",
            vec!["when", "command", "file"],
            self.jobs.iter().map(job).collect(),
            "*** stands for what may be a secret.",
        );
        let timer = |t: &AuditTimer| {
            let last = t.last.as_ref().map(Text::to_string).unwrap_or_default();
            vec![t.name.to_string(), t.unit.to_string(), last, t.result.to_string()]
        };
        add(
            "Timers",
            vec!["timer", "starts", "last", "ended"],
            self.timers.iter().map(timer).collect(),
            "",
        );
        let running = self.services.iter().filter(|service| {
            service.state.as_str() != "inactive" || service.enabled.as_str() == "enabled"
        });
        let service = |s: &AuditService| {
            vec![
                s.name.to_string(),
                s.state.to_string(),
                s.enabled.to_string(),
                s.description.to_string(),
            ]
        };
        add(
            "Services",
            vec!["service", "state", "with the server", "what"],
            running.map(service).collect(),
            "",
        );
        let check = |c: &AuditCheck| {
            vec![
                c.result.to_string(),
                c.severity.to_string(),
                c.id.to_string(),
                c.title.to_string(),
                c.evidence.to_string(),
                c.reference.to_string(),
            ]
        };
        add(
            "All checks",
            vec!["result", "severity", "check", "what is right", "evidence", "reference"],
            self.checks.iter().map(check).collect(),
            "",
        );
        add(
            "Not answered",
            vec!["what was asked", "why"],
            self.unanswered.iter().map(|u| vec![u.asked.to_string(), u.why.to_string()]).collect(),
            "",
        );
        if let Some(error) = &self.error {
            let row =
                vec![error.kind.to_string(), error.message.to_string(), error.remedy.to_string()];
            add("Could not be audited", vec!["kind", "message", "remedy"], vec![row], "");
        }
    }
}

/// Peers on the left, what is called on the right: what must not be cut off.
fn figure(page: &mut Page, title: &str, peers: &[AuditPeer]) {
    /// More cannot be told apart; the table has all.
    const MOST: usize = 60;
    let (mut left, mut right, mut links) = (Vec::new(), Vec::new(), Vec::new());
    let at = |names: &mut Vec<String>, name: String| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    for peer in peers.iter().take(MOST) {
        let way = if peer.direction.as_str() == "out" { " (called by this server)" } else { "" };
        let called = format!("{} {}{way}", peer.port, peer.service);
        let link =
            Link { left: at(&mut left, peer.address.to_string()), right: at(&mut right, called) };
        if !links.contains(&link) {
            links.push(link);
        }
    }
    let note = "Peers on the left, the ports that are called on the right.";
    page.figure(Figure::new(title, note, Plot::Map { left, right, links }));
}

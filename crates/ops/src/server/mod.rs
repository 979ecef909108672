//! The audit of a server itself: asks what the table of [`drover_audit`] says, and nothing else.
//!
//! `PROBES → Host → Answers → checks → ServerAudit`
//!
//! (The tamper-evident record of what drover did is [`crate::audit`].)

mod ask;
mod handshake;
mod tls;

use std::time::Duration;

use drover_audit::{
    Absent, Account, Answers, Backup, Check, CronJob, Disk, Facts, Listener, Mount, Peer, PeerMap,
    ProbeId, Share, System, Timer, Unit, accounts, backup, checks, cron_jobs, disks, listeners,
    mounts, shares, system, timers,
    tls::{TlsPort, tls_ports},
    units,
};
use drover_source::host::Host;
use drover_types::{Timestamp, clock};

use crate::{Cancel, Error};

/// What an audit looks for, beside what it always does.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// For how long peers are sampled.
    pub sample: Duration,
    /// The time between two samples.
    pub every: Duration,
    /// Whether ports are asked for TLS.
    pub tls: bool,
    /// Ports to ask, beside those that are known for it.
    pub tls_ports: Vec<u16>,
    /// Whether what only root may see is asked for through `sudo -n`.
    pub sudo: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            sample: Duration::from_secs(10),
            every: Duration::from_secs(1),
            tls: true,
            tls_ports: Vec::new(),
            sudo: false,
        }
    }
}

/// After so many seconds no further port is asked for TLS.
const LONGEST_TLS: i64 = 10 * 60;
/// Why it is not.
const LATE: &str = "was not asked: the ports before it took too long";

/// How an audit waits between samples, and learns the time: tests have clocks of their own.
pub trait Pace {
    /// Waits; `false` where someone asked to stop.
    fn wait(&self, time: Duration) -> bool;

    /// Now.
    fn now(&self) -> Timestamp {
        clock::now()
    }
}

/// What was found on a server.
#[derive(Clone, Debug)]
pub struct ServerAudit {
    /// How it was reached: a name, or host and port.
    pub place: String,
    /// The account.
    pub user: String,
    /// Whether it let the account ask as root.
    pub sudo: bool,
    /// When.
    pub time: Timestamp,
    /// What it is.
    pub system: System,
    /// Every check.
    pub checks: Vec<Check>,
    /// What listens.
    pub listeners: Vec<Listener>,
    /// Who talks to it.
    pub peers: Vec<Peer>,
    /// What speaks TLS.
    pub tls: Vec<TlsPort>,
    /// How often peers were looked for, and over how many seconds.
    pub samples: (u64, f64),
    /// Its accounts.
    pub accounts: Vec<Account>,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Its services.
    pub units: Vec<Unit>,
    /// Its timers.
    pub timers: Vec<Timer>,
    /// Its scheduled jobs.
    pub cron: Vec<CronJob>,
    /// What it shares.
    pub shares: Vec<Share>,
    /// Signs of backups.
    pub backups: Vec<Backup>,
    /// What could not be asked, each with why; what is not there is no such thing.
    pub unanswered: Vec<(String, String)>,
}

/// Asks the host, and judges what it says. Only an interruption is an error: what a host does not
/// answer is part of the result.
pub fn audit_server(
    host: &dyn Host,
    options: &ServerOptions,
    pace: &dyn Pace,
    cancel: &Cancel,
) -> Result<ServerAudit, Error> {
    let (answers, sudo) = ask::all(host, options.sudo, pace, cancel)?;
    let peers = sample(host, options, pace, cancel)?;
    let facts = Facts { answers: &answers, peers: &peers, tls: &[], now: pace.now() };
    let listeners = listeners(&facts).unwrap_or_default();
    let ports = if options.tls { tls_ports(&listeners, &options.tls_ports) } else { Vec::new() };
    let (started, mut tls) = (pace.now().seconds, Vec::new());
    for port in ports {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        tls.push(match pace.now().seconds - started > LONGEST_TLS {
            false => tls::look(host, port),
            true => TlsPort { port, failure: Some(LATE.to_owned()), ..TlsPort::default() },
        });
    }
    let facts = Facts { tls: &tls, ..facts };
    Ok(ServerAudit {
        place: host.place().to_owned(),
        user: host.user().to_owned(),
        sudo,
        time: facts.now,
        system: system(&facts),
        checks: checks(&facts),
        peers: peers.peers(&facts),
        samples: (peers.samples, peers.seconds),
        accounts: accounts::accounts(&facts).unwrap_or_default(),
        disks: disks(&facts).unwrap_or_default(),
        mounts: mounts(&facts).unwrap_or_default(),
        units: units(&facts).unwrap_or_default(),
        timers: timers(&facts).unwrap_or_default(),
        cron: cron_jobs(&facts),
        shares: shares(&facts),
        backups: backup::backups(&facts),
        unanswered: unanswered(&answers),
        listeners,
        tls: tls.clone(),
    })
}

/// Reads the tables of connections again and again.
fn sample(
    host: &dyn Host,
    options: &ServerOptions,
    pace: &dyn Pace,
    cancel: &Cancel,
) -> Result<PeerMap, Error> {
    let mut peers = PeerMap::default();
    let mut gone = Duration::ZERO;
    loop {
        let tables =
            [ProbeId::Tcp, ProbeId::Tcp6].map(|id| ask::Asker::plain(host).one(id.probe()));
        match &tables {
            [Err(absent), _] => peers.failure = Some(absent.clone()),
            tables => {
                let text: Vec<_> = tables.iter().flatten().map(|content| content.text()).collect();
                peers.add(&text.iter().map(AsRef::as_ref).collect::<Vec<_>>());
            }
        }
        peers.seconds = gone.as_secs_f64();
        if peers.failure.is_some() || gone >= options.sample {
            return Ok(peers);
        }
        let step = options.every.min(options.sample - gone);
        if !pace.wait(step) || cancel.is_set() {
            return Err(Error::Interrupted);
        }
        gone += step;
    }
}

fn unanswered(answers: &Answers) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for probe in drover_audit::PROBES {
        for (of, answer) in answers.all(probe.id) {
            if let Err(absent) = answer
                && *absent != Absent::Missing
            {
                let of = if of.is_empty() { probe.ask.to_string() } else { of.clone() };
                found.push((of, absent.why()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;

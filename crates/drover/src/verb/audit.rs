//! `drover audit`: the server itself.

mod commands;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use drover_audit::{Outcome, tls::version_name};
use drover_ops::server::{Pace, ServerAudit, ServerOptions, audit_server};
use drover_plan::{Location, Plan};
use drover_report::{
    AuditAccount, AuditBackup, AuditCheck, AuditDisk, AuditJob, AuditListener, AuditMount,
    AuditPeer, AuditReport, AuditServer, AuditService, AuditShare, AuditSystem, AuditTimer,
    AuditTls, AuditUnanswered, FindingItem, Text, format,
};
use drover_source::host::{Host, LocalHost};
use drover_types::{Timestamp, path::escape};

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
    source::{Origin, SshArgs},
};

const EXAMPLES: &str = "\
Examples:
  This machine, as a page:
    drover audit --html audit.html

  Another server, its peers watched for an hour:
    drover audit --host ssh://auditor@old-server --sample-peers 3600 --json > audit.json

  The servers of a plan's sources:
    drover audit plan.toml

  Everything that is run and read there, for whoever has to allow it:
    drover audit --show-commands

  By an account that may run some of it as root without a password, and what that is:
    drover audit --host ssh://auditor@old-server --sudo --html audit.html
    drover audit --show-commands --sudo

Nothing is written on the server. What an account may not see is listed as such, and the exit code
is then 3; findings are no failure.";

/// The longest that peers are sampled: a week.
const LONGEST_SAMPLE: u64 = 7 * 86_400;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// A plan file: the servers of its sources
    #[arg(conflicts_with = "host")]
    plan: Option<PathBuf>,
    /// The server: ssh://user@host:port [default: this machine]
    #[arg(long, value_name = "URL")]
    host: Option<OsString>,
    /// For how long to watch who talks to the server
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(..=LONGEST_SAMPLE))]
    sample_peers: u64,
    /// Ask this port for TLS too, beside those that are known for it; may be given several times
    #[arg(long, value_name = "PORT", conflicts_with = "no_tls")]
    tls_port: Vec<u16>,
    /// Ask no port for TLS: connect to nothing
    #[arg(long)]
    no_tls: bool,
    /// Ask by `sudo -n` for what only root may see; where it would want a password, it is not asked
    #[arg(long)]
    sudo: bool,
    /// Only list every command and file that an audit looks at
    #[arg(long, conflicts_with_all = ["plan", "host"])]
    show_commands: bool,
    #[command(flatten)]
    ssh: SshArgs,
}

impl AuditArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        if self.show_commands {
            context.no_document("audit --show-commands")?;
            output::to_stdout(commands::listed(self.sudo).as_bytes())?;
            return Ok(Answer::Listed(None));
        }
        let options = ServerOptions {
            sample: Duration::from_secs(self.sample_peers),
            every: interval(self.sample_peers),
            tls: !self.no_tls,
            tls_ports: self.tls_port.clone(),
            sudo: self.sudo,
        };
        let origins = self.origins()?;
        let several = origins.len() > 1;
        let mut servers = Vec::new();
        let mut failed = None;
        for origin in origins {
            match audit(&origin, &options, context) {
                Ok(server) => servers.push(server),
                Err(error) if !several || error.is_interruption() => return Err(error),
                // The other servers are looked at all the same.
                Err(error) => {
                    let failure = error.failure();
                    let host = Text::from(origin.to_string());
                    servers.push(AuditServer {
                        host,
                        error: Some(failure.clone()),
                        ..AuditServer::default()
                    });
                    failed.get_or_insert(failure);
                }
            }
        }
        let report = AuditReport::new(servers, context.warnings());
        let incomplete = report.is_incomplete();
        Ok(match failed {
            Some(failure) => Answer::failed(report, failure),
            None if report.is_unanswered() => Answer::failed(report, Error::Unanswered.failure()),
            None => Answer::with_exceptions(report, incomplete),
        })
    }

    /// The servers, each once.
    fn origins(&self) -> Result<Vec<Origin>, Error> {
        let base = env::current_dir().map_err(Error::WorkingDirectory)?;
        if let Some(path) = &self.plan {
            let plan = Plan::load(path)?;
            let mut origins: Vec<Origin> = Vec::new();
            for source in &plan.sources {
                let origin = Origin::new(&source.url, &self.ssh, Some(&source.ssh))?;
                if !origins.iter().any(|other| other.same_server(&origin)) {
                    origins.push(origin);
                }
            }
            return Ok(origins);
        }
        let Some(host) = &self.host else {
            return Ok(vec![Origin::Directory(base)]);
        };
        Ok(vec![Origin::new(&server(host, &base)?, &self.ssh, None)?])
    }
}

/// `ssh://user@host:port`, also with a path, which does not matter, or as a source has it.
fn server(host: &OsString, base: &Path) -> Result<Location, Error> {
    let wrong = || {
        Error::Usage(format!("--host: a server is written ssh://user@host:port, not {}", {
            // What was written may hold a password.
            match host.to_str().is_some_and(|text| text.contains('@')) {
                true => "that".to_owned(),
                false => escape(host.as_encoded_bytes()),
            }
        }))
    };
    let text = host.to_str().ok_or_else(wrong)?;
    let rest = text.strip_prefix("ssh://").or_else(|| text.strip_prefix("sftp://"));
    let rest = rest.ok_or_else(wrong)?;
    let rooted = if rest.contains('/') { rest.to_owned() } else { format!("{rest}/") };
    Location::parse(&format!("sftp://{rooted}"), base)
        .map_err(|error| Error::Usage(format!("--host: {error}")))
}

/// Between two samples: seconds at first, a minute at most where someone watches for days. Short
/// connections stay in the tables for about a minute.
fn interval(sample: u64) -> Duration {
    Duration::from_secs((sample / 60).clamp(1, 30))
}

fn audit(
    origin: &Origin,
    options: &ServerOptions,
    context: &Context,
) -> Result<AuditServer, Error> {
    let over = |host: &dyn Host| audit_server(host, options, context, &context.cancel);
    match origin.ssh_options(context)? {
        None => Ok(document(over(&LocalHost::new())?, "")),
        Some(options) => {
            let host = origin.ssh_host(&options, context)?;
            Ok(document(over(&host)?, host.algorithms()))
        }
    }
}

impl Pace for Context<'_> {
    fn wait(&self, time: Duration) -> bool {
        Context::wait(self, time)
    }
}

fn document(audit: ServerAudit, connection: &str) -> AuditServer {
    let text = |text: &String| Text::from(text.as_str());
    let at = |seconds: i64| format::time(Timestamp { seconds, nanos: 0 });
    let checks: Vec<AuditCheck> = audit
        .checks
        .iter()
        .map(|check| {
            let (result, evidence) = match &check.outcome {
                Outcome::Pass(evidence) => ("pass", evidence),
                Outcome::Finding { evidence, .. } => ("finding", evidence),
                Outcome::CouldNotCheck(why) => ("could-not-check", why),
            };
            AuditCheck {
                id: Text::from(check.spec.id),
                result: Text::from(result),
                severity: Text::from(check.severity().as_str()),
                title: Text::from(check.spec.title),
                evidence: text(evidence),
                remedy: Text::from(check.spec.remedy),
                reference: Text::from(check.spec.reference),
            }
        })
        .collect();
    let mut findings: Vec<FindingItem> = audit
        .checks
        .iter()
        .filter_map(|check| {
            let Outcome::Finding { evidence, of, .. } = &check.outcome else { return None };
            Some(FindingItem {
                id: Text::from(check.spec.id),
                severity: Text::from(check.severity().as_str()),
                likelihood: Text::from(check.spec.likelihood),
                impact: Text::from(check.spec.impact),
                title: Text::from(check.spec.title),
                evidence: text(evidence),
                remedy: Text::from(check.spec.remedy),
                paths: of.iter().map(text).collect(),
            })
        })
        .collect();
    findings.sort_by_key(FindingItem::rank);
    let system = &audit.system;
    AuditServer {
        host: text(&audit.place),
        user: text(&audit.user),
        sudo: audit.sudo,
        time: format::time(audit.time),
        connection: Text::from(connection),
        system: AuditSystem {
            name: text(&system.name),
            os: text(&system.os),
            family: text(&system.family),
            version: text(&system.version),
            supported_until: text(&system.supported_until),
            kernel: text(&system.kernel),
            uptime: system.uptime,
            processors: system.processors,
            memory: system.memory,
        },
        checks,
        findings,
        listeners: audit
            .listeners
            .iter()
            .map(|l| AuditListener {
                port: l.port,
                protocol: text(&l.protocol),
                address: text(&l.address),
                exposure: Text::from(l.exposure.as_str()),
                service: text(&l.service),
                process: text(&l.process),
            })
            .collect(),
        tls: audit
            .tls
            .iter()
            .map(|t| {
                let shown = t.certificate.clone().unwrap_or_default();
                let name = |version| match version {
                    0 => Text::default(),
                    version => Text::from(version_name(version)),
                };
                AuditTls {
                    port: t.port,
                    version: name(t.version),
                    old_version: name(t.old),
                    subject: text(&shown.subject),
                    issuer: text(&shown.issuer),
                    not_before: t.certificate.as_ref().map(|c| at(c.not_before)),
                    not_after: t.certificate.as_ref().map(|c| at(c.not_after)),
                    key: text(&shown.key),
                    why: text(&t.failure.clone().unwrap_or_default()),
                }
            })
            .collect(),
        peers: audit
            .peers
            .iter()
            .map(|p| AuditPeer {
                address: text(&p.address),
                direction: Text::from(p.direction.as_str()),
                port: p.port,
                service: text(&p.service),
                connections: p.connections,
                samples: p.samples,
                process: text(&p.process),
            })
            .collect(),
        samples: audit.samples.0,
        sampled_seconds: audit.samples.1,
        accounts: audit
            .accounts
            .iter()
            .map(|a| AuditAccount {
                name: text(&a.name),
                uid: a.uid,
                login: a.login,
                password: Text::from(a.password),
                scheme: Text::from(a.scheme),
                password_age_days: a.password_age,
                administrator: a.administrator,
                keys: a.keys,
                last_login: text(&a.last_login),
            })
            .collect(),
        disks: audit
            .disks
            .iter()
            .map(|d| AuditDisk {
                name: text(&d.name),
                kind: text(&d.kind),
                parent: text(&d.parent),
                size: d.size,
                model: text(&d.model),
                file_system: text(&d.file_system),
                mount: text(&d.mount),
            })
            .collect(),
        mounts: audit
            .mounts
            .iter()
            .map(|m| AuditMount {
                path: text(&m.at),
                device: text(&m.device),
                file_system: text(&m.file_system),
                size: m.size.map(|(size, _)| size),
                free: m.size.map(|(_, free)| free),
                encrypted: m.encrypted,
            })
            .collect(),
        services: audit
            .units
            .iter()
            .map(|u| AuditService {
                name: text(&u.name),
                state: text(&u.state),
                enabled: text(&u.enabled),
                description: text(&u.description),
            })
            .collect(),
        timers: audit
            .timers
            .iter()
            .map(|t| AuditTimer {
                name: text(&t.name),
                unit: text(&t.unit),
                last: t.last.map(at),
                result: text(&t.result),
            })
            .collect(),
        jobs: audit
            .cron
            .iter()
            .map(|j| AuditJob {
                file: text(&j.file),
                when: text(&j.when),
                command: text(&j.command),
            })
            .collect(),
        shares: audit
            .shares
            .iter()
            .map(|s| AuditShare {
                protocol: Text::from(s.protocol),
                name: text(&s.name),
                path: text(&s.path),
                clients: text(&s.clients),
                writable: s.writable,
            })
            .collect(),
        backups: audit
            .backups
            .iter()
            .map(|b| AuditBackup {
                tool: text(&b.tool),
                seen_in: text(&b.seen_in),
                last_success: b.last_success.map(at),
                note: text(&b.note),
            })
            .collect(),
        unanswered: audit
            .unanswered
            .iter()
            .map(|(asked, why)| AuditUnanswered { asked: text(asked), why: text(why) })
            .collect(),
        error: None,
    }
}

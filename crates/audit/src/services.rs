//! Services, timers, scheduled jobs, and the clock.

use crate::{
    Facts, Outcome, ProbeId as P, Severity, Spec, known,
    network::listeners,
    system::listed,
    words::{blocks, settings, systemd_time, value},
};

/// A service of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `ssh.service`
    pub name: String,
    /// `active`, `inactive`, `failed`.
    pub state: String,
    /// `enabled`, `disabled`, `static`, …; empty where it is not known.
    pub enabled: String,
    /// What it is, in its own words.
    pub description: String,
}

/// A timer of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// `apt-daily.timer`
    pub name: String,
    /// What it starts.
    pub unit: String,
    /// When it last did, in seconds since 1970.
    pub last: Option<i64>,
    /// How that ended: `success`, `exit-code`, …; empty where it is not known.
    pub result: String,
}

/// A scheduled job of cron.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronJob {
    /// The file.
    pub file: String,
    /// When: five fields, `@daily`, or the name of the folder.
    pub when: String,
    /// What, without what looks like a secret.
    pub command: String,
}

/// Services that run, that failed, or that start with the server.
pub fn units(facts: &Facts<'_>) -> Result<Vec<Unit>, String> {
    let text = facts.text(P::Units)?;
    let files = facts.text(P::UnitFiles).unwrap_or_default();
    let enabled = |name: &str| {
        let line = files.lines().find(|line| line.split_ascii_whitespace().next() == Some(name));
        line.and_then(|line| line.split_ascii_whitespace().nth(1)).unwrap_or_default().to_owned()
    };
    let unit = |line: &str| {
        let line = line.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let mut fields = line.split_ascii_whitespace();
        let (name, load, state) = (fields.next()?, fields.next()?, fields.next()?);
        let description = fields.skip(1).collect::<Vec<_>>().join(" ");
        (load == "loaded").then(|| Unit {
            enabled: enabled(name),
            name: name.to_owned(),
            state: state.to_owned(),
            description,
        })
    };
    Ok(text.lines().filter_map(unit).collect())
}

/// Timers, with how what they start last ended.
pub fn timers(facts: &Facts<'_>) -> Result<Vec<Timer>, String> {
    let text = facts.text(P::Timers)?;
    let results = facts.text(P::ServiceResults).unwrap_or_default();
    let results: Vec<_> = blocks(&results).collect();
    let timer = |block: Vec<(&str, &str)>| {
        let (name, unit) = (value(&block, "Id"), value(&block, "Unit"));
        let result = results.iter().find(|result| value(result, "Id") == unit);
        (!name.is_empty()).then(|| Timer {
            name: name.to_owned(),
            unit: unit.to_owned(),
            last: systemd_time(value(&block, "LastTriggerUSec")),
            result: result.map(|block| value(block, "Result")).unwrap_or_default().to_owned(),
        })
    };
    Ok(blocks(&text).filter_map(timer).collect())
}

/// Jobs of cron, as far as this account sees them.
pub fn cron_jobs(facts: &Facts<'_>) -> Vec<CronJob> {
    let mut jobs = Vec::new();
    // A system's table names an account before the command.
    for (id, account) in
        [(P::Crontab, true), (P::CronD, true), (P::CronTabs, false), (P::CronSpool, false)]
    {
        for (file, answer) in facts.answers.all(id) {
            let Ok(content) = answer else { continue };
            let file = if file.is_empty() { id.probe().ask.to_string() } else { file.clone() };
            let text = content.text();
            jobs.extend(settings(&text).filter_map(|line| job(&file, line, account)));
        }
    }
    for (id, when) in
        [(P::CronHourly, "hourly"), (P::CronDaily, "daily"), (P::CronWeekly, "weekly")]
    {
        let folder = id.probe().ask.to_string();
        let text = facts.text(id).unwrap_or_default();
        jobs.extend(listed(&text).filter(|l| !l.name.starts_with('.')).map(|l| CronJob {
            file: folder.clone(),
            when: when.to_owned(),
            command: l.name,
        }));
    }
    jobs
}

fn job(file: &str, line: &str, account: bool) -> Option<CronJob> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let times = if line.starts_with('@') { 1 } else { 5 };
    let first = fields.first()?;
    // Variables are no jobs.
    if !first.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@') {
        return None;
    }
    let (when, command) = fields.split_at_checked(times)?;
    let command = command.get(usize::from(account)..)?;
    (!command.is_empty()).then(|| CronJob {
        file: file.to_owned(),
        when: when.join(" "),
        command: without_secrets(command),
    })
}

/// Words of a command without what follows a word of passwords: such things are in crontabs.
pub(crate) fn without_secrets(words: &[&str]) -> String {
    const MARKS: [&str; 7] = ["pass", "secret", "token", "key=", "pwd", "credential", "://"];
    let mut shown = Vec::new();
    let mut hide_next = false;
    for word in words {
        let lower = word.to_lowercase();
        let marked = MARKS.iter().any(|mark| lower.contains(mark));
        if hide_next {
            shown.push("***".to_owned());
            hide_next = false;
        } else if marked || lower.starts_with("-p") && lower.len() > 2 {
            match word.split_once('=') {
                Some((name, _)) => shown.push(format!("{name}=***")),
                None if word.starts_with("--") => {
                    shown.push((*word).to_owned());
                    hide_next = true;
                }
                None => shown.push("***".to_owned()),
            }
        } else if lower == "-p" || lower == "-u" || lower == "--user" {
            // Of curl, mysql and their kin: an account, often with its password.
            shown.push((*word).to_owned());
            hide_next = true;
        } else {
            shown.push((*word).to_owned());
        }
    }
    shown.join(" ").chars().take(300).collect()
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "services-failed",
        title: "Services that were started are running",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Look at each with systemctl status: what fails now fails on the new server too, and is \
                 then taken for the move's fault.",
        reference: "NIST SP 800-53 SI-2, CP-10",
        asks: &[P::Units, P::UnitFiles],
        run: services_failed,
    },
    Spec {
        id: "jobs-failed",
        title: "Scheduled services ended well",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Look at each with journalctl -u.",
        reference: "NIST SP 800-53 SI-2; 45 CFR 164.308(a)(1)(ii)(D)",
        asks: &[P::Timers, P::ServiceResults],
        run: jobs_failed,
    },
    Spec {
        id: "time-sync",
        title: "The clock is set by a time server",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Turn a time service on: a clock that is off breaks audit trails, certificates, and what \
                 a delta pass believes.",
        reference: "NIST SP 800-53 AU-8; 45 CFR 164.312(b)",
        asks: &[P::TimeStatus, P::Chrony, P::Ntpq],
        run: time_sync,
    },
    Spec {
        id: "audit-trail",
        title: "Security events are recorded",
        severity: Severity::Low,
        likelihood: "medium",
        impact: "medium",
        remedy: "Run auditd, or send the journal to another machine, until the server is retired.",
        reference: "NIST SP 800-53 AU-12, AU-9; 45 CFR 164.312(b)",
        asks: &[P::Units],
        run: audit_trail,
    },
    Spec {
        id: "legacy-services",
        title: "No service speaks a protocol without protection from times past",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Stop telnet, FTP, TFTP and the r-services; ssh and SFTP do the same with protection. Where a \
                 device knows nothing else, keep it and the service on a network of their own.",
        reference: "NIST SP 800-53 CM-7, SC-8; 45 CFR 164.312(e)(1)",
        asks: &[P::Sockets, P::Tcp, P::Tcp6, P::Udp, P::Udp6, P::Units, P::Inetd, P::XinetdD],
        run: legacy,
    },
];

fn services_failed(facts: &Facts<'_>) -> Outcome {
    let units = known!(units(facts));
    let failed = units.iter().filter(|unit| unit.state == "failed").map(|unit| unit.name.clone());
    Outcome::of(
        failed.collect(),
        format!("{} services, none failed", units.len()),
        "services failed",
    )
}

fn jobs_failed(facts: &Facts<'_>) -> Outcome {
    let timers = known!(timers(facts));
    let bad = |timer: &&Timer| !matches!(timer.result.as_str(), "" | "success");
    let failed = timers.iter().filter(bad).map(|t| format!("{} ({})", t.unit, t.result));
    Outcome::of(
        failed.collect(),
        format!("{} timers, none failed", timers.len()),
        "failed last time",
    )
}

fn time_sync(facts: &Facts<'_>) -> Outcome {
    if let Ok(text) = facts.text(P::TimeStatus) {
        let line = text.lines().map(str::trim).find(|line| {
            line.starts_with("System clock synchronized:") || line.starts_with("NTP synchronized:")
        });
        if let Some(line) = line {
            return match line.ends_with("yes") {
                true => Outcome::Pass(line.to_owned()),
                false => match chrony(facts).or_else(|| ntpq(facts)) {
                    Some(pass @ Outcome::Pass(_)) => pass,
                    _ => Outcome::finding(line.to_owned(), Vec::new()),
                },
            };
        }
    }
    if let Some(outcome) = chrony(facts).or_else(|| ntpq(facts)) {
        return outcome;
    }
    match facts.text(P::TimeStatus) {
        Ok(_) => Outcome::CouldNotCheck("timedatectl does not say whether the clock is set".into()),
        Err(why) => Outcome::CouldNotCheck(format!("{why}, and neither chronyc nor ntpq answers")),
    }
}

fn chrony(facts: &Facts<'_>) -> Option<Outcome> {
    let text = facts.text(P::Chrony).ok()?;
    let line = text.lines().find(|line| line.starts_with("Leap status"))?;
    Some(match line.ends_with("Normal") {
        true => Outcome::Pass("chronyd has a time source".to_owned()),
        false => Outcome::finding("chronyd has no time source", Vec::new()),
    })
}

fn ntpq(facts: &Facts<'_>) -> Option<Outcome> {
    let text = facts.text(P::Ntpq).ok()?;
    Some(match text.lines().any(|line| line.starts_with('*')) {
        true => Outcome::Pass("ntpd has a time source".to_owned()),
        false => Outcome::finding("ntpd has no time source", Vec::new()),
    })
}

fn audit_trail(facts: &Facts<'_>) -> Outcome {
    let units = known!(units(facts));
    const RECORDERS: [&str; 5] =
        ["auditd", "rsyslog", "syslog-ng", "systemd-journal-upload", "filebeat"];
    let running = units
        .iter()
        .filter(|u| u.state == "active")
        .find(|unit| RECORDERS.iter().any(|name| unit.name.strip_suffix(".service") == Some(name)));
    match running {
        Some(unit) => Outcome::Pass(format!("{} is running", unit.name)),
        None => Outcome::finding("neither auditd nor a syslog service is running", Vec::new()),
    }
}

fn legacy(facts: &Facts<'_>) -> Outcome {
    const NAMES: [&str; 12] = [
        "telnet",
        "in.telnetd",
        "ftp",
        "vsftpd",
        "proftpd",
        "pure-ftpd",
        "tftp",
        "tftpd-hpa",
        "rsh",
        "rlogin",
        "rexec",
        "finger",
    ];
    let mut found: Vec<String> = Vec::new();
    let listeners = listeners(facts);
    for listener in listeners.iter().flatten().filter(|l| !l.exposure.is_loopback()) {
        if crate::ports::is_legacy(listener.port, &listener.protocol) {
            found.push(format!("{} ({}/{})", listener.service, listener.port, listener.protocol));
        }
    }
    for unit in units(facts).unwrap_or_default() {
        let name = unit.name.split(['.', '@']).next().unwrap_or_default();
        if unit.state == "active" && NAMES.contains(&name) {
            found.push(unit.name);
        }
    }
    if let Ok(text) = facts.text(P::Inetd) {
        let lines = settings(&text).filter_map(|line| line.split_ascii_whitespace().next());
        found
            .extend(lines.filter(|name| NAMES.contains(name)).map(|n| format!("{n} (inetd.conf)")));
    }
    for (file, answer) in facts.answers.all(P::XinetdD) {
        let Ok(content) = answer else { continue };
        let text = content.text();
        let name = file.rsplit('/').next().unwrap_or_default();
        let off = settings(&text).any(|line| line.starts_with("disable") && line.ends_with("yes"));
        if !off && NAMES.contains(&name) {
            found.push(format!("{name} (xinetd.d)"));
        }
    }
    found.sort();
    found.dedup();
    match (found.is_empty(), listeners) {
        (true, Err(why)) => Outcome::CouldNotCheck(why),
        _ => Outcome::of(found, "none is offered", "are offered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_what_is_not_shown_of_them() {
        let shown = |line: &str, account| job("f", line, account).map(|j| (j.when, j.command));
        assert_eq!(
            shown("17 * * * * root cd / && run-parts /etc/cron.hourly", true),
            Some(("17 * * * *".into(), "cd / && run-parts /etc/cron.hourly".into()))
        );
        assert_eq!(shown("@daily backup", false), Some(("@daily".into(), "backup".into())));
        assert_eq!(shown("PATH=/bin", true), None);
        assert_eq!(shown("* * *", true), None);
        for (line, hidden) in [
            ("mysqldump -psecret1 db", "secret1"),
            ("mysqldump --password=secret1 db", "secret1"),
            ("mysqldump --password secret1 db", "secret1"),
            ("PGPASSWORD=secret1 pg_dump", "secret1"),
            ("curl -u admin:secret1 host", "secret1"),
            ("restic -r rest:https://u:secret1@h/", "secret1"),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            assert!(!without_secrets(&words).contains(hidden), "{line}");
        }
    }
}

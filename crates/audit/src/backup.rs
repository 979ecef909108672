//! Whether anything is backed up, and when that last went well.

use crate::{
    Absent, Facts, Outcome, ProbeId as P, Severity, Spec,
    services::{cron_jobs, timers, units},
    system::listed,
    words::{blocks, day, systemd_time, value},
};

/// A sign of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The program, as far as it is known.
    pub tool: String,
    /// Where it was seen.
    pub seen_in: String,
    /// When it last succeeded, in seconds since 1970, where that is known.
    pub last_success: Option<i64>,
    /// What is known besides.
    pub note: String,
}

/// How programs for backups are called, as a word within names and commands.
const TOOLS: [&str; 22] = [
    "restic",
    "borg",
    "borgmatic",
    "bacula",
    "bareos",
    "veeam",
    "rsnapshot",
    "duplicity",
    "duply",
    "rdiff-backup",
    "amanda",
    "burp",
    "urbackup",
    "rclone",
    "kopia",
    "pg_dump",
    "pg_dumpall",
    "mysqldump",
    "mariadb-dump",
    "xtrabackup",
    "pgbackrest",
    "drover",
];

/// The tool that a name or a command names; `backup` alone names none, and is a sign all the same.
fn tool(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let known = lower
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .find_map(|word| {
            TOOLS.iter().find(|tool| word == **tool || word.starts_with(&format!("{tool}-")))
        });
    known.copied().or_else(|| lower.contains("backup").then_some("backup"))
}

/// Names with `backup` that back nothing of the clinic's up: they come with the system.
fn is_systems_own(name: &str) -> bool {
    name.contains("dpkg-db-backup") || name == "dpkg" || name.contains("alternatives")
}

/// All signs, those that say when first.
pub fn backups(facts: &Facts<'_>) -> Vec<Backup> {
    let mut found = Vec::new();
    for timer in timers(facts).unwrap_or_default() {
        let Some(tool) = tool(&timer.name).or_else(|| tool(&timer.unit)) else { continue };
        if is_systems_own(&timer.name) {
            continue;
        }
        found.push(Backup {
            tool: tool.to_owned(),
            last_success: timer.last.filter(|_| timer.result == "success"),
            note: match timer.result.as_str() {
                "success" | "" => String::new(),
                result => format!("its last run ended with {result}"),
            },
            seen_in: timer.name,
        });
    }
    let results = facts.text(P::ServiceResults).unwrap_or_default();
    for block in blocks(&results) {
        let name = value(&block, "Id");
        let Some(tool) = tool(name).filter(|_| !is_systems_own(name)) else { continue };
        let ended = systemd_time(value(&block, "ExecMainExitTimestamp"));
        let well = value(&block, "Result") == "success" && value(&block, "ExecMainStatus") == "0";
        if found
            .iter()
            .all(|b| b.seen_in.trim_end_matches(".timer") != name.trim_end_matches(".service"))
        {
            found.push(Backup {
                tool: tool.to_owned(),
                seen_in: name.to_owned(),
                last_success: ended.filter(|_| well),
                note: String::new(),
            });
        }
    }
    for unit in units(facts).unwrap_or_default() {
        let Some(tool) = tool(&unit.name).filter(|_| unit.state == "active") else { continue };
        if !is_systems_own(&unit.name) && found.iter().all(|backup| backup.seen_in != unit.name) {
            found.push(Backup {
                tool: tool.to_owned(),
                seen_in: unit.name,
                last_success: None,
                note: "the service is running".to_owned(),
            });
        }
    }
    for job in cron_jobs(facts) {
        let rsync = job.command.contains("rsync ").then_some("rsync");
        let Some(tool) = tool(&job.command).or(rsync) else { continue };
        if !is_systems_own(&job.command) {
            found.push(Backup {
                tool: tool.to_owned(),
                seen_in: format!("{} ({})", job.file, job.when),
                last_success: None,
                note: String::new(),
            });
        }
    }
    found.extend(logs(facts));
    found.sort_by_key(|backup| std::cmp::Reverse(backup.last_success));
    found
}

/// What each program writes into its log when it went well.
const LOGS: [(P, &str, &[&str]); 7] = [
    (P::BorgLog, "borg", &["terminating with success status", "Archive name:"]),
    (P::BorgmaticLog, "borgmatic", &["Archive name:", "terminating with success status"]),
    (P::ResticLog, "restic", &["snapshot ", " saved"]),
    (P::RsnapshotLog, "rsnapshot", &["completed successfully"]),
    (P::RsyncLog, "rsync", &["total size is"]),
    (P::BackupLog, "backup", &["success", "completed"]),
    (P::BaculaLog, "bacula", &["Backup OK"]),
];

fn logs(facts: &Facts<'_>) -> Vec<Backup> {
    let mut found = Vec::new();
    for (id, tool, marks) in LOGS {
        let Ok(content) = facts.answers.one(id) else { continue };
        let text = content.text();
        let modified = content.listed.map(|(_, _, modified)| modified);
        let succeeded = text.lines().rfind(|line| match tool {
            "restic" => marks.iter().all(|mark| line.contains(mark)),
            _ => marks.iter().any(|mark| line.contains(mark)),
        });
        let dated = succeeded.and_then(dated).or(modified.filter(|_| succeeded.is_some()));
        found.push(Backup {
            tool: tool.to_owned(),
            seen_in: id.probe().ask.to_string(),
            last_success: dated,
            note: match succeeded {
                Some(_) => String::new(),
                None => "its end tells of no success".to_owned(),
            },
        });
    }
    let veeam = facts.text(P::VeeamLogs).unwrap_or_default();
    if let Some(newest) = listed(&veeam).map(|l| l.modified).max() {
        found.push(Backup {
            tool: "veeam".to_owned(),
            seen_in: P::VeeamLogs.probe().ask.to_string(),
            last_success: None,
            note: format!("its newest log is of {}", day(newest)),
        });
    }
    found
}

/// The time within a line: `2026-11-27T02:00:01` or with a space or a slash.
fn dated(line: &str) -> Option<i64> {
    let line = line.replace(['T', '[', ']', '/'], " ").replace("  ", " ");
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().position(|w| w.len() == 10 && w.is_ascii() && w.as_bytes()[4] == b'-')?;
    systemd_time(&words[at..words.len().min(at + 2)].join(" "))
}

pub(crate) const CHECKS: &[Spec] = &[Spec {
    id: "backup",
    title: "A backup succeeded lately",
    severity: Severity::High,
    likelihood: "medium",
    impact: "high",
    remedy: "Take and test a backup before anything is moved; ask who takes it, where to, and when it was \
             last restored. Backups taken from elsewhere do not show on the server.",
    reference: "NIST SP 800-53 CP-9; 45 CFR 164.308(a)(7)(ii)(A)",
    asks: &[
        P::Timers,
        P::ServiceResults,
        P::Units,
        P::Crontab,
        P::CronD,
        P::CronDaily,
        P::CronWeekly,
        P::CronHourly,
        P::CronTabs,
        P::CronSpool,
        P::VarLog,
        P::BorgLog,
        P::BorgmaticLog,
        P::ResticLog,
        P::RsnapshotLog,
        P::RsyncLog,
        P::BackupLog,
        P::BaculaLog,
        P::VeeamLogs,
    ],
    run: backup,
}];

fn backup(facts: &Facts<'_>) -> Outcome {
    let found = backups(facts);
    let newest = found.iter().find_map(|b| b.last_success.map(|time| (b, time)));
    let seen = |b: &Backup| format!("{} in {}", b.tool, b.seen_in);
    match newest {
        Some((backup, time)) if facts.days_since(time) <= 7 => {
            Outcome::Pass(format!("{}: succeeded on {}", seen(backup), day(time)))
        }
        Some((backup, time)) => Outcome::finding(
            format!(
                "{} last succeeded on {}, {} days ago",
                seen(backup),
                day(time),
                facts.days_since(time)
            ),
            found.iter().map(|backup| backup.seen_in.clone()).collect(),
        ),
        None if found.is_empty() => {
            let ids = [P::Timers, P::Crontab, P::CronD, P::CronDaily, P::CronTabs, P::CronSpool];
            let answers =
                || ids.iter().flat_map(|id| facts.answers.all(*id).iter().map(|a| (*id, &a.1)));
            // What is not there is no backup; what may not be seen can be one.
            let hidden = answers().find_map(|(id, answer)| match answer {
                Err(Absent::Missing) | Ok(_) => None,
                Err(absent) => Some(facts.why(id, absent)),
            });
            match hidden {
                Some(why) => Outcome::CouldNotCheck(format!("{why}, and no other sign is there")),
                None if answers().all(|(_, answer)| answer.is_err()) => Outcome::CouldNotCheck(
                    "neither timers nor cron can be seen, and no backup's log is there".to_owned(),
                ),
                None => Outcome::finding("there is no sign of a backup", Vec::new()),
            }
        }
        None => Outcome::finding(
            format!(
                "{}; nothing says that it ever succeeded",
                crate::check::listed(&found.iter().map(seen).collect::<Vec<_>>())
            ),
            found.iter().map(|backup| backup.seen_in.clone()).collect(),
        )
        .at(Severity::Medium),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_and_times() {
        assert_eq!(tool("/usr/bin/restic backup /srv"), Some("restic"));
        assert_eq!(tool("nightly-backup.timer"), Some("backup"));
        assert_eq!(tool("cyborg.service"), None);
        assert!(is_systems_own("dpkg-db-backup.timer"));
        let expected = systemd_time("x 2026-11-27 02:00:01 UTC");
        assert!(expected.is_some());
        assert_eq!(dated("[2026-11-27T02:00:01] completed successfully"), expected);
        assert_eq!(dated("2026-11-27 02:00:01 done"), expected);
        assert_eq!(dated("completed"), None);
    }
}

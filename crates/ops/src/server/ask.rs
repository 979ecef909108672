//! Asking a host the questions of the table. This is the only place that gives a host anything to do.

use drover_audit::{Absent, Answer, Answers, Ask, Content, PROBES, Probe, ProbeId, homes};
use drover_source::host::{Host, HostCommand, HostError, Listed, ListedKind, Part};
use drover_types::path::escape;

use super::Pace;
use crate::{Cancel, Error};

/// At most this many files of a directory are read.
const MOST_FILES: usize = 200;
/// At most this many disks are asked.
const MOST_DISKS: usize = 64;

/// After so many seconds nothing more is asked: a server that lets each question wait is not to keep an
/// audit for hours.
const LONGEST: i64 = 20 * 60;

/// Asks everything.
pub(super) fn all(host: &dyn Host, pace: &dyn Pace, cancel: &Cancel) -> Result<Answers, Error> {
    let started = pace.now().seconds;
    let mut answers = Answers::default();
    // The first question tells whether commands are run at all: an account for SFTP alone answers
    // each with silence.
    let mut runs = true;
    for probe in PROBES {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        if pace.now().seconds - started > LONGEST {
            let why = "the server let the questions before it wait for too long".to_owned();
            answers.add(probe.id, "", Err(Absent::Failed(why)));
            continue;
        }
        if probe.ask.is_command() && !runs {
            answers.add(probe.id, "", Err(Absent::NoCommands));
            continue;
        }
        match probe.ask {
            Ask::FilesIn(folder) => files_in(host, probe, folder, &mut answers),
            Ask::HomeFile(name) => {
                let homes = answers.text(ProbeId::Passwd).map(|text| homes(&text));
                for home in homes.unwrap_or_default() {
                    let path = format!("{home}/{name}");
                    let answer = read(host, &path, Part::Head, probe.most);
                    answers.add(probe.id, path, answer);
                }
            }
            Ask::DiskCommand(words) => {
                for disk in whole_disks(&answers) {
                    let device = format!("/dev/{disk}");
                    let words: Vec<_> = words
                        .iter()
                        .map(|word| if *word == "{}" { &device } else { *word })
                        .collect();
                    let answer = run(host, &words, probe);
                    answers.add(probe.id, disk, answer);
                }
            }
            _ => {
                let answer = one(host, probe);
                if probe.id == ProbeId::Uname {
                    runs = answer.as_ref().is_ok_and(|c| c.text().starts_with("Linux "));
                    let answer = if runs { answer } else { answer.and(Err(Absent::NoCommands)) };
                    answers.add(probe.id, "", answer);
                } else {
                    answers.add(probe.id, "", answer);
                }
            }
        }
    }
    Ok(answers)
}

/// Asks a question that has one answer.
pub(super) fn one(host: &dyn Host, probe: &Probe) -> Answer {
    match probe.ask {
        Ask::Command(words) => run(host, words, probe),
        Ask::File(path) => read(host, path, Part::Head, probe.most),
        Ask::Tail(path) => read(host, path, Part::Tail, probe.most).map(|content| {
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
            let listed = host.list(folder).unwrap_or_default();
            let listed = listed.into_iter().find(|entry| entry.name == name);
            Content { listed: listed.map(|l| (l.mode, l.owner, l.modified)), ..content }
        }),
        Ask::Listing(path) => match host.list(path) {
            Ok(listed) => Ok(Content {
                status: Some(0),
                bytes: listed.iter().map(line).collect::<String>().into_bytes(),
                ..Content::default()
            }),
            Err(error) => Err(absent(error)),
        },
        // These have several.
        Ask::FilesIn(_) | Ask::HomeFile(_) | Ask::DiskCommand(_) => Err(Absent::Missing),
    }
}

/// A line of a listing as the parsers read it: kind, mode, owner, size, time, name.
fn line(listed: &Listed) -> String {
    let kind = match listed.kind {
        ListedKind::File => 'f',
        ListedKind::Directory => 'd',
        ListedKind::Link => 'l',
        ListedKind::Other => 'o',
    };
    let Listed { mode, owner, size, modified, name, .. } = listed;
    format!("{kind} {mode:o} {owner} {size} {modified} {}\n", escape(name))
}

fn files_in(host: &dyn Host, probe: &Probe, folder: &str, answers: &mut Answers) {
    let listed = match host.list(folder) {
        Ok(listed) => listed,
        Err(error) => return answers.add(probe.id, folder, Err(absent(error))),
    };
    let files = listed.iter().filter(|l| matches!(l.kind, ListedKind::File | ListedKind::Link));
    // What is no text cannot be named to the host again.
    let names = files.filter_map(|listed| str::from_utf8(&listed.name).ok());
    for name in names.filter(|name| !name.starts_with('.')).take(MOST_FILES) {
        let path = format!("{folder}/{name}");
        let answer = read(host, &path, Part::Head, probe.most);
        answers.add(probe.id, path, answer);
    }
}

/// The disks that `lsblk` names and whose names are plain.
fn whole_disks(answers: &Answers) -> Vec<String> {
    let text = answers.text(ProbeId::Lsblk).unwrap_or_default();
    let value = |line: &str, key: &str| {
        let start = line.find(&format!("{key}=\""))? + key.len() + 2;
        line[start..].split('"').next().map(str::to_owned)
    };
    let disks = text.lines().filter(|line| line.contains("TYPE=\"disk\""));
    let names = disks.filter_map(|line| value(line, "KNAME"));
    let plain = names.filter(|name| {
        !name.is_empty() && name.len() < 32 && name.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    // Those that are memory or files are no disks.
    let real = plain.filter(|n| !["loop", "ram", "zram", "nbd"].iter().any(|p| n.starts_with(p)));
    real.take(MOST_DISKS).collect()
}

fn run(host: &dyn Host, words: &[&str], probe: &Probe) -> Answer {
    let command = HostCommand { words, timeout: probe.timeout, most: probe.most };
    match host.run(&command) {
        Ok(output) => Ok(Content {
            // One that was cut off is not asked how it ended.
            status: if output.truncated { Some(0) } else { output.status },
            bytes: output.stdout,
            errors: output.stderr,
            truncated: output.truncated,
            listed: None,
        }),
        Err(error) => Err(absent(error)),
    }
}

fn read(host: &dyn Host, path: &str, part: Part, most: usize) -> Answer {
    match host.read(path, part, most) {
        Ok(file) => Ok(Content {
            status: Some(0),
            bytes: file.bytes,
            truncated: file.truncated,
            ..Content::default()
        }),
        Err(error) => Err(absent(error)),
    }
}

fn absent(error: HostError) -> Absent {
    match error {
        HostError::Missing => Absent::Missing,
        HostError::Denied => Absent::Denied,
        HostError::TimedOut(_) => Absent::TimedOut,
        error => Absent::Failed(error.to_string()),
    }
}

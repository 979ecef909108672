//! Asking a host the questions of the table. This is the only place that gives a host anything to do.

use std::cell::OnceCell;

use drover_audit::{Absent, Answer, Answers, Ask, Content, PROBES, Probe, ProbeId, Rights, homes};
use drover_source::host::{AsRoot, Host, HostCommand, HostError, Listed, ListedKind, Part};
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

/// Asks everything, with `sudo` also what only root is told; says whether it was.
pub(super) fn all(
    host: &dyn Host,
    sudo: bool,
    pace: &dyn Pace,
    cancel: &Cancel,
) -> Result<(Answers, bool), Error> {
    let started = pace.now().seconds;
    let mut answers = Answers::default();
    // Root needs no other root.
    let mut asker = Asker { sudo: sudo && host.user() != "root", ..Asker::plain(host) };
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
            Ask::FilesIn(folder) => asker.files_in(probe, folder, &mut answers),
            Ask::HomeFile(name) => {
                let homes = answers.text(ProbeId::Passwd).map(|text| homes(&text));
                for home in homes.unwrap_or_default() {
                    let path = format!("{home}/{name}");
                    let answer = asker.read(&path, Part::Head, probe);
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
                    let answer = asker.run(&words, probe);
                    answers.add(probe.id, disk, answer);
                }
            }
            _ => {
                let answer = asker.one(probe);
                if probe.id == ProbeId::Uname {
                    runs = answer.as_ref().is_ok_and(|c| c.text().starts_with("Linux "));
                    asker.sudo &= runs;
                    let answer = if runs { answer } else { answer.and(Err(Absent::NoCommands)) };
                    answers.add(probe.id, "", answer);
                } else {
                    answers.add(probe.id, "", answer);
                }
            }
        }
        // What was seen of it without root stands before it.
        let refused = asker.refused.take();
        refused.into_iter().for_each(|why| {
            answers.add(probe.id, format!("sudo -n {}", probe.ask), Err(Absent::NoSudo(why)));
        });
    }
    let as_root = matches!(asker.root.get(), Some(Ok(_)));
    Ok((answers, as_root))
}

/// Asks one host.
pub(super) struct Asker<'h> {
    host: &'h dyn Host,
    /// Whether what only root is told is asked for by `sudo -n`.
    sudo: bool,
    /// The host as root sees it, or why it does not let us.
    root: OnceCell<Result<AsRoot<'h>, String>>,
    /// Why the last command was not run as root, where it was answered in part without.
    refused: OnceCell<String>,
}

impl<'h> Asker<'h> {
    /// As nobody but the account.
    pub(super) fn plain(host: &'h dyn Host) -> Self {
        Self { host, sudo: false, root: OnceCell::new(), refused: OnceCell::new() }
    }

    /// Asks a question that has one answer.
    pub(super) fn one(&self, probe: &Probe) -> Answer {
        match probe.ask {
            Ask::Command(words) => self.run(words, probe),
            Ask::File(path) => self.read(path, Part::Head, probe),
            Ask::Tail(path) => self.read(path, Part::Tail, probe).map(|content| {
                let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
                let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
                let listed = self.list(folder, probe).unwrap_or_default();
                let listed = listed.into_iter().find(|entry| entry.name == name);
                Content { listed: listed.map(|l| (l.mode, l.owner, l.modified)), ..content }
            }),
            Ask::Listing(path) => self.list(path, probe).map(|listed| Content {
                status: Some(0),
                bytes: listed.iter().map(line).collect::<String>().into_bytes(),
                ..Content::default()
            }),
            // These have several.
            Ask::FilesIn(_) | Ask::HomeFile(_) | Ask::DiskCommand(_) => Err(Absent::Missing),
        }
    }

    fn files_in(&self, probe: &Probe, folder: &str, answers: &mut Answers) {
        let listed = match self.list(folder, probe) {
            Ok(listed) => listed,
            Err(absent) => return answers.add(probe.id, folder, Err(absent)),
        };
        let files = listed.iter().filter(|l| matches!(l.kind, ListedKind::File | ListedKind::Link));
        // What is no text cannot be named to the host again.
        let names = files.filter_map(|listed| str::from_utf8(&listed.name).ok());
        for name in names.filter(|name| !name.starts_with('.')).take(MOST_FILES) {
            let path = format!("{folder}/{name}");
            let answer = self.read(&path, Part::Head, probe);
            answers.add(probe.id, path, answer);
        }
    }

    /// As root at once where root sees more; what cannot be, without.
    fn run(&self, words: &[&str], probe: &Probe) -> Answer {
        let why = match self.as_root(probe) {
            None => return run(self.host, words, probe),
            Some(Ok(root)) => match run(root, words, probe) {
                Err(Absent::NoSudo(why)) => why,
                // It looks in places of its own.
                Err(Absent::Missing) => "sudo does not find the command".to_owned(),
                answer => return answer,
            },
            Some(Err(why)) => why.clone(),
        };
        match run(self.host, words, probe) {
            Ok(content) if content.status == Some(0) => {
                let _ = self.refused.set(why);
                Ok(content)
            }
            Err(Absent::Missing) => Err(Absent::Missing),
            _ => Err(Absent::NoSudo(why)),
        }
    }

    fn read(&self, path: &str, part: Part, probe: &Probe) -> Answer {
        let file = self.denied_to(probe, |host| host.read(path, part, probe.most))?;
        Ok(Content {
            status: Some(0),
            bytes: file.bytes,
            truncated: file.truncated,
            ..Content::default()
        })
    }

    fn list(&self, path: &str, probe: &Probe) -> Result<Vec<Listed>, Absent> {
        self.denied_to(probe, |host| host.list(path))
    }

    /// As the account, and as root only what is denied to it.
    fn denied_to<T>(
        &self,
        probe: &Probe,
        ask: impl Fn(&dyn Host) -> Result<T, HostError>,
    ) -> Result<T, Absent> {
        let denied = match ask(self.host) {
            Err(HostError::Denied) => Absent::Denied,
            answer => return answer.map_err(absent),
        };
        match self.as_root(probe) {
            None => Err(denied),
            Some(Ok(root)) => ask(root).map_err(absent),
            Some(Err(why)) => Err(Absent::NoSudo(why.clone())),
        }
    }

    /// The host as root sees it, for a question of which root sees more.
    fn as_root(&self, probe: &Probe) -> Option<Result<&AsRoot<'h>, &String>> {
        if !self.sudo || probe.rights == Rights::Any {
            return None;
        }
        let open = || AsRoot::new(self.host).map_err(|error| error.to_string());
        Some(self.root.get_or_init(open).as_ref())
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

fn absent(error: HostError) -> Absent {
    match error {
        HostError::Missing => Absent::Missing,
        HostError::Denied => Absent::Denied,
        HostError::Refused(why) => Absent::NoSudo(why),
        HostError::TimedOut(_) => Absent::TimedOut,
        error => Absent::Failed(error.to_string()),
    }
}

//! What the demo does and says, step by step, as data.
//!
//! Whoever plays it goes through [`STEPS`], says title, explanation and command of each, does what
//! [`Action`] names, and holds the outcome against [`Step::exit`]: a demo that turns out otherwise
//! has failed.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::damage::Damage;

/// What is done at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the clinic and the password file.
    MakeClinic,
    /// `drover init`
    Init,
    /// `drover sync`
    Sync,
    /// Let the clinic work for a day.
    OneDayLater,
    /// `drover verify --read-data`
    Verify,
    /// Invert one byte of a pack.
    Damage,
    /// Put that byte back.
    Repair,
    /// `drover restore`
    Restore,
    /// Compare the clinic with what came back, without drover's own machinery.
    Compare,
    /// `drover verify --target`
    VerifyTarget,
}

/// One step of the demo.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// A heading.
    pub title: &'static str,
    /// What a user would type, with `{places}` to fill in; see [`Step::command`].
    command: &'static str,
    /// What it does and what to look for, in plain sentences; see [`Step::explanation`].
    explanation: &'static str,
    /// The exit code that drover must give here, 0 where it is not asked.
    pub exit: u8,
}

impl Step {
    /// What a user would type here. `damage` is what [`Action::Damage`] did, or is about to undo.
    pub fn command(&self, places: &Places, damage: Option<&Damage>) -> String {
        fill(self.command, |name| {
            Some(match name {
                "clinic" => quoted(&places.clinic()),
                "repository" => quoted(&places.repository()),
                "restored" => quoted(&places.restored()),
                "state" => quoted(&places.state()),
                "password" => quoted(&places.password()),
                "pack" => quoted(&damage?.pack),
                "offset" => damage?.offset.to_string(),
                "before" => format!("\\{:03o}", damage?.before),
                "after" => format!("\\{:03o}", damage?.after),
                _ => return None,
            })
        })
    }

    /// What drover is given here, its own name left out; `None` where the step is no command of
    /// drover.
    pub fn arguments(&self, places: &Places) -> Option<Vec<OsString>> {
        let words = self.command.strip_prefix("drover ")?.split(' ');
        let filled = words.map(|word| match word {
            "{clinic}" => places.clinic().into_os_string(),
            "{repository}" => places.repository().into_os_string(),
            "{restored}" => places.restored().into_os_string(),
            _ => word.into(),
        });
        Some(filled.collect())
    }

    /// The explanation with the places filled in.
    pub fn explanation(&self, places: &Places) -> String {
        let clinic = places.clinic().to_string_lossy().into_owned();
        fill(self.explanation, |name| (name == "clinic").then(|| clinic.clone()))
    }
}

/// Where the demo keeps what it makes: everything below one directory.
#[derive(Clone, Debug)]
pub struct Places {
    /// That directory.
    pub dir: PathBuf,
}

impl Places {
    /// The clinic's server.
    pub fn clinic(&self) -> PathBuf {
        self.dir.join("clinic")
    }

    /// The bucket, here a directory.
    pub fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// What comes back.
    pub fn restored(&self) -> PathBuf {
        self.dir.join("restored")
    }

    /// The state of the machine that runs the passes.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The file that holds the repository's password.
    pub fn password(&self) -> PathBuf {
        self.dir.join("password")
    }
}

/// The demo from beginning to end.
pub const STEPS: &[Step] = &[
    Step {
        action: Action::MakeClinic,
        title: "A clinic that does not exist",
        command: "export DROVER_STATE_DIR={state} DROVER_PASSWORD_FILE={password}",
        explanation: "\
A small clinic's server is written to {clinic}: letters, invoices, scans, images of four devices, \
messages of a laboratory, a mailbox, a database file with holes, links, and names that are hard \
to copy. Every person and every value in it is invented. With these two settings all further \
commands can be typed as they stand.",
        exit: 0,
    },
    Step {
        action: Action::Init,
        title: "A repository, and its keys",
        command: "drover init --repo {repository}",
        explanation: "\
The repository would be a bucket (s3://, az:// or gs://); here it is a directory. The keys are \
made on this machine, and the password opens them. Whoever holds the bucket sees neither \
contents nor names.",
        exit: 0,
    },
    Step {
        action: Action::Sync,
        title: "The baseline pass",
        command: "drover sync --repo {repository} --source {clinic}",
        explanation: "\
Everything is read once, cut into chunks, compressed, encrypted and stored, while the clinic \
could go on working. The source is only read. In the end there is a signed snapshot, and it \
exists only because everything it names was stored before.",
        exit: 0,
    },
    Step {
        action: Action::OneDayLater,
        title: "The clinic works for a day",
        command: "",
        explanation: "\
New studies, messages and mails come in, letters and invoices are edited, a page of the database \
is written, a study and a letter get other names, and old messages are removed: about one file \
in fifty.",
        exit: 0,
    },
    Step {
        action: Action::Sync,
        title: "The delta pass",
        command: "drover sync --repo {repository} --source {clinic}",
        explanation: "\
The same command again. Only what changed is read, and only chunks that are not there yet are \
sent: the study that was renamed is read again, and not sent again. Compare the bytes with those \
of the first pass.",
        exit: 0,
    },
    Step {
        action: Action::Verify,
        title: "Is everything there?",
        command: "drover verify --repo {repository} --read-data",
        explanation: "\
Every pack of both snapshots is fetched, decrypted and hashed, and every chain and signature is \
checked. The verdict must be: verified.",
        exit: 0,
    },
    Step {
        action: Action::Damage,
        title: "One byte goes wrong",
        command: "printf '{after}' | dd of={pack} bs=1 seek={offset} conv=notrunc",
        explanation: "\
Now the repository is damaged on purpose: a single byte in the middle of one pack is inverted, \
as a failing disk or a meddling hand would do it. The length stays the same, and a listing shows \
nothing.",
        exit: 0,
    },
    Step {
        action: Action::Verify,
        title: "The damage is found",
        command: "drover verify --repo {repository} --read-data",
        explanation: "\
The same check as before must now fail with exit code 4, and name the pack and the files that \
need it.",
        exit: 4,
    },
    Step {
        action: Action::Repair,
        title: "The byte is put back",
        command: "printf '{before}' | dd of={pack} bs=1 seek={offset} conv=notrunc",
        explanation: "\
In earnest one would bring the pack back from the bucket's versions or its replica. Here the \
byte is known.",
        exit: 0,
    },
    Step {
        action: Action::Restore,
        title: "Everything comes back",
        command: "drover restore --repo {repository} latest {restored}",
        explanation: "\
The newest snapshot is written to an empty directory, with permissions, times, links, holes and \
extended attributes, and each file is checked against its hash on the way.",
        exit: 0,
    },
    Step {
        action: Action::Compare,
        title: "Is it the same?",
        command: "diff -r --no-dereference --exclude=.drover-restore {clinic} {restored}",
        explanation: "\
Both trees are compared file by file, by means that share nothing with the restore. There must \
be no difference, but for the mark .drover-restore, by which a later restore knows that this \
directory may be brought up to date.",
        exit: 0,
    },
    Step {
        action: Action::VerifyTarget,
        title: "The same, as evidence",
        command: "drover verify --repo {repository} --target {restored}",
        explanation: "\
What landed is hashed and held against the signed manifest: what one would show to someone who \
has only the repository and the new server.",
        exit: 0,
    },
];

/// Puts values in the place of `{names}`, in one go, so that braces in a value stay. A name without
/// a value stays as well.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((text, (name, after))) =
        rest.split_once('{').and_then(|(text, opened)| Some((text, opened.split_once('}')?)))
    {
        filled += text;
        filled += &value(name).unwrap_or_else(|| format!("{{{name}}}"));
        rest = after;
    }
    filled + rest
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.into_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

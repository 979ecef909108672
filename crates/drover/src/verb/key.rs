//! `drover key`: who can open a repository, and who can write to it.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use drover_crypt::hierarchy::{KdfParameters, Role, UnlockSecret};
use drover_ops::keys::{KeySession, Last, ListedSlot, ListedWriter};
use drover_report::{KeyReport, SlotItem, Text, WriterItem, format};

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
    password,
    place::{Place, RepositoryArgs},
};

const EXAMPLES: &str = "\
Examples:
  Who can open the repository, and who can write to it:
    drover key list plan.toml

  A second way in, and one that reads names and hashes but no content:
    drover key add plan.toml --label 'safe in the office'
    drover key add plan.toml --role auditor --new-password-file auditor.txt

  A key file of 32 random bytes:
    head -c 32 /dev/urandom > clinic.key && drover key add plan.toml --new-key-file clinic.key

  A server that can write and cannot read:
    drover key export-writer --repo s3://clinic-archive/server1 --label server1 --out server1.cred
    drover sync plan.toml --credential server1.cred

  Close the repository to a key, for what is written from now on:
    drover key remove plan.toml 5f3a && drover key rotate plan.toml

  A server was stolen, with its credential: nothing counts that it writes from now on, or after
  the snapshot that was its last for certain:
    drover key revoke plan.toml 2c91
    drover key revoke plan.toml 2c91 --after 8d21f07a";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// List ways in and writers
    List(WhereArgs),
    /// Add a way in
    Add(AddArgs),
    /// Remove a way in
    Remove(RemoveArgs),
    /// Make a credential for a machine that shall write and not read
    ExportWriter(ExportArgs),
    /// Begin a new generation of keys, which protects what is written from now on
    Rotate(WhereArgs),
    /// End a machine's right to write
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
struct WhereArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    place: WhereArgs,
    /// What it shall open
    #[arg(long, value_name = "ROLE", default_value = "owner")]
    role: RoleArg,
    /// What to call it; only those who can open the repository can read it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,
    /// Read the new password from a file, instead of a prompt
    #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
    new_password_file: Option<PathBuf>,
    /// Open with the content of this file, of at least 32 random bytes, instead of a password
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(override_usage = "drover key remove [OPTIONS] [PLAN] SLOT")]
struct RemoveArgs {
    /// A plan file, unless --repo is given; then the slot's id, or its beginning
    #[arg(value_name = "PLAN, SLOT", num_args = 1..=2, required = true)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    place: WhereArgs,
    /// What to call the machine
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// Where to write the credential; the file must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(override_usage = "drover key revoke [OPTIONS] [PLAN] WRITER")]
struct RevokeArgs {
    /// A plan file, unless --repo is given; then the writer's id, or its beginning
    #[arg(value_name = "PLAN, WRITER", num_args = 1..=2, required = true)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Its last snapshot that counts: an id, or its beginning; `none` where not one does [default: its
    /// newest]
    #[arg(long, value_name = "SNAPSHOT")]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Everything, the keys included
    Owner,
    /// Names and content
    Reader,
    /// Names, hashes and attributes, no content
    Auditor,
}

impl KeyArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        match self.action {
            KeyAction::List(args) => {
                let place = args.repository.place(&mut args.plan.into_iter().collect())?;
                listed(&place, context).map(Answer::done)
            }
            KeyAction::Add(args) => args.run(context),
            KeyAction::Remove(args) => args.run(context),
            KeyAction::ExportWriter(args) => args.run(context),
            KeyAction::Rotate(args) => {
                let (place, session) = args.open(context)?;
                let rotated = session.rotate().map(|epoch| epoch.to_string()).map_err(Error::from);
                done(&place, &session, context, "rotate", rotated, None)
            }
            KeyAction::Revoke(args) => args.run(context),
        }
    }
}

impl WhereArgs {
    fn open(&self, context: &Context) -> Result<(Place, KeySession), Error> {
        let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
        let session = open(&place, context)?;
        Ok((place, session))
    }
}

impl AddArgs {
    fn run(self, context: &Context) -> Result<Answer, Error> {
        let (place, session) = self.place.open(context)?;
        let secret = match (&self.new_key_file, &self.new_password_file) {
            (Some(file), _) => UnlockSecret::KeyFile(password::key_file(file)?),
            (None, Some(file)) => UnlockSecret::Passphrase(password::from_file(file, &|line| {
                context.progress.warn(line);
            })?),
            (None, None) => UnlockSecret::Passphrase(context.prompt("New password")?),
        };
        let role = match self.role {
            RoleArg::Owner => Role::Owner,
            RoleArg::Reader => Role::Reader,
            RoleArg::Auditor => Role::Auditor,
        };
        let added = session.add(&secret, role, &self.label, KdfParameters::default());
        let added = added.map(|slot| slot.hex()).map_err(Error::from);
        done(&place, &session, context, "add", added, None)
    }
}

impl RemoveArgs {
    fn run(mut self, context: &Context) -> Result<Answer, Error> {
        let (place, wanted) = place_and_id(&self.repository, &mut self.positionals, "slot")?;
        let session = open(&place, context)?;
        let removed = session.remove(&wanted).map(|slot| slot.hex()).map_err(Error::from);
        done(&place, &session, context, "remove", removed, None)
    }
}

impl ExportArgs {
    fn run(self, context: &Context) -> Result<Answer, Error> {
        let (place, session) = self.place.open(context)?;
        // The file is made first: a writer without its credential would be of use to nobody.
        let fail = |source| Error::File {
            what: "cannot write the credential",
            path: self.out.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.out)
            .map_err(fail)?;
        let write =
            |file: &mut dyn Write, bytes: &[u8]| -> io::Result<()> { file.write_all(bytes) };
        let made = session.export_writer(&self.label).map_err(Error::from).and_then(|credential| {
            write(&mut file, &credential.encode()).and_then(|()| file.sync_all()).map_err(fail)?;
            Ok(credential.writer_id().to_string())
        });
        let made = made.inspect_err(|_| {
            // An empty file is no credential; if it stays, that is all that is wrong with it.
            let _ = std::fs::remove_file(&self.out);
        });
        done(&place, &session, context, "export-writer", made, Some(&self.out))
    }
}

impl RevokeArgs {
    fn run(mut self, context: &Context) -> Result<Answer, Error> {
        let (place, wanted) = place_and_id(&self.repository, &mut self.positionals, "writer")?;
        let last = match self.after.as_deref() {
            None => Last::Newest,
            Some("none") => Last::None,
            Some(id) => Last::Snapshot(id),
        };
        let session = open(&place, context)?;
        let revoked = session.revoke(&wanted, last).map(|id| id.to_string()).map_err(Error::from);
        done(&place, &session, context, "revoke", revoked, None)
    }
}

/// Where the repository is, and what in it is meant.
fn place_and_id(
    repository: &RepositoryArgs,
    positionals: &mut Vec<OsString>,
    what: &str,
) -> Result<(Place, String), Error> {
    let place = repository.place(positionals)?;
    match positionals.as_slice() {
        [wanted] => Ok((place, wanted.to_string_lossy().into_owned())),
        _ => Err(Error::Usage(format!("which {what}? drover key list names them"))),
    }
}

fn open(place: &Place, context: &Context) -> Result<KeySession, Error> {
    let objects = place.connect(false)?;
    KeySession::open(objects, &context.secret()?).map_err(|error| place.explain(error))
}

/// Records what was done to the slot, writer or epoch that `result` names, and shows what is
/// there now.
fn done(
    place: &Place,
    session: &KeySession,
    context: &Context,
    action: &str,
    result: Result<String, Error>,
    file: Option<&Path>,
) -> Result<Answer, Error> {
    let (subject, outcome) = match &result {
        Ok(subject) => (subject.as_str(), "done".to_owned()),
        Err(error) => ("", error.outcome()),
    };
    context.record(&session.repository, &format!("key {action}"), subject, &outcome);
    let subject = result?;
    let start = KeyReport {
        action: Text::from(action),
        subject: Some(Text::from(subject)),
        file: file.map(|path| Text::from(output::shown(path))),
        ..KeyReport::default()
    };
    match open(place, context) {
        Ok(session) => report(place, &session, start),
        // It is done; only the key that did it may have been the one removed.
        Err(_) => Ok(Answer::done(KeyReport { repository: place.text(), ..start })),
    }
}

/// What `key list` says.
pub fn listed(place: &Place, context: &Context) -> Result<KeyReport, Error> {
    let session = open(place, context)?;
    filled(place, &session, KeyReport { action: "list".into(), ..Default::default() })
}

fn report(place: &Place, session: &KeySession, start: KeyReport) -> Result<Answer, Error> {
    filled(place, session, start).map(Answer::done)
}

fn filled(place: &Place, session: &KeySession, start: KeyReport) -> Result<KeyReport, Error> {
    Ok(KeyReport {
        repository: place.text(),
        slots: session.slots()?.iter().map(slot).collect(),
        writers: session.writers().iter().map(writer).collect(),
        epoch: session.keyring.newest_epoch(),
        ..start
    })
}

fn slot(slot: &ListedSlot) -> SlotItem {
    SlotItem {
        id: Text::from(slot.info.hex()),
        kind: Text::from(slot.info.kind.as_str()),
        role: Text::from(slot.info.role.as_str()),
        created: format::time(slot.info.created),
        label: Text::from(slot.label.as_deref().unwrap_or_default()),
        current: slot.current,
    }
}

fn writer(writer: &ListedWriter) -> WriterItem {
    WriterItem {
        id: Text::from(writer.id.to_string()),
        label: Text::from(writer.label.as_str()),
        issued: format::time(writer.issued),
        epoch: writer.epoch,
        revoked_after: writer.revoked_after,
    }
}

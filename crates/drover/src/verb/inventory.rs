//! `drover inventory`: what is on a server, which machines feed it, and what is risky.

use std::{ffi::OsString, path::Path, time::Instant};

use clap::Args;
use drover_ops::{
    Error as OpsError, ReaderSession, WAITING_READERS,
    inventory::{self, Inventory, InventoryOptions, Since},
};
use drover_plan::Plan;
use drover_report::{Failure, InventoryReport, InventorySource, Text};
use drover_source::{Filtered, Source};
use drover_types::RelativePath;
use jiff::tz::TimeZone;

use crate::{
    context::Context,
    error::Error,
    filter::{FilterArgs, filter},
    output::Answer,
    place::{self, RepositoryArgs},
    reading,
    source::{Origin, SshArgs},
    verb::sync::exclusions,
};

const EXAMPLES: &str = "\
Examples:
  A directory, here or on another server; nothing is written anywhere:
    drover inventory --source /srv/pacs --html inventory.html
    drover inventory --source sftp://archive@pacs/srv/pacs --json > inventory.json

  Everything that a plan names, without what its rules leave out:
    drover inventory plan.toml

  Sizes, times and names alone, without opening a file:
    drover inventory --source /srv --no-content --no-duplicates

  For someone who must not see names of files, which may be names of patients:
    drover inventory plan.toml --hide-paths --html inventory.html

  What changed since the last pass:
    drover inventory plan.toml --since latest";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InventoryArgs {
    /// A plan file, instead of --source
    plan: Option<OsString>,
    /// A directory, sftp://user@host:port/path, or the name of a source in the plan; may be given
    /// several times
    #[arg(long = "source", value_name = "URL | NAME")]
    sources: Vec<OsString>,
    /// Open no file to see what it is: types are told by names, and nothing is found of machines
    /// and patients' data
    #[arg(long)]
    no_content: bool,
    /// Look into ISO images as well
    #[arg(long)]
    iso: bool,
    /// Do not look for copies, which takes reading files of the same size
    #[arg(long)]
    no_duplicates: bool,
    /// Write paths as codes: they can be patients' data
    #[arg(long)]
    hide_paths: bool,
    /// Compare sizes and times with a snapshot: `latest`, or the beginning of an id; needs the
    /// repository and its password
    #[arg(long, value_name = "SNAPSHOT")]
    since: Option<String>,
    /// Whose hours and days are counted, such as America/Chicago [default: this machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,
    /// Do not enter what is mounted below the source's root
    #[arg(long)]
    one_file_system: bool,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    ssh: SshArgs,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "there is no such time zone; they are named like Europe/Berlin".into())
}

/// A source, how to read it, and what it is called.
struct Planned {
    origin: Origin,
    filter: drover_plan::Filter,
    options: InventoryOptions,
}

impl InventoryArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let planned = self.planned(context)?;
        let mut session = match &self.since {
            Some(_) => {
                let mut plan = self.plan.clone().into_iter().collect();
                Some(reading::open(&self.repository.place(&mut plan)?, context)?)
            }
            None => None,
        };
        let index = session.as_mut().map(ReaderSession::load_index).transpose()?;
        let reader =
            session.as_ref().zip(index.as_ref()).map(|(session, index)| session.chunks(index));
        let look = |planned: &Planned| -> Result<InventorySource, Error> {
            let started = Instant::now();
            let source = planned.open(context)?;
            let since = match (&session, &reader, &self.since) {
                (Some(session), Some(reader), Some(wanted)) => {
                    let name = planned.name(&source);
                    let snapshot = session.find(wanted, Some(&name))?;
                    let tree = session.tree(reader, snapshot, RelativePath::root())?;
                    let entries = tree.map(|entry| entry.map_err(OpsError::from));
                    let (id, time) = (snapshot.id().to_string(), snapshot.stored.open.time);
                    Some(Since::new(&id, time, Box::new(entries)))
                }
                _ => None,
            };
            let Context { progress, cancel, .. } = context;
            let open = || planned.origin.open_files(context).ok().flatten();
            let Inventory { report, exclusions: shares, .. } =
                inventory::inventory(&source, since, &open, &planned.options(), progress, cancel)?;
            Ok(InventorySource {
                exclusions: exclusions(source.filter(), &shares),
                seconds: started.elapsed().as_secs_f64(),
                ..report
            })
        };
        let mut done = Vec::new();
        let mut failed: Option<Failure> = None;
        for source in &planned {
            match look(source) {
                Ok(found) => done.push(found),
                Err(error) if planned.len() == 1 => return Err(error),
                // The other sources are looked at all the same.
                Err(error) => {
                    let interrupted = error.is_interruption();
                    let failure = error.failure();
                    let source = match &source.options.name {
                        Some(name) => Text::from(name.as_str()),
                        None => Text::from(source.origin.to_string()),
                    };
                    let error = Some(failure.clone());
                    done.push(InventorySource { source, error, ..InventorySource::default() });
                    failed.get_or_insert(failure);
                    if interrupted {
                        break;
                    }
                }
            }
        }
        let mut report = InventoryReport::new(done, started.elapsed().as_secs_f64());
        report.warnings = context.warnings();
        let exceptions = report.has_exceptions();
        Ok(match failed {
            Some(failure) => Answer::failed(report, failure),
            None => Answer::with_exceptions(report, exceptions),
        })
    }

    fn planned(&self, context: &Context) -> Result<Vec<Planned>, Error> {
        let options = InventoryOptions {
            name: None,
            one_file_system: self.one_file_system,
            content: !self.no_content,
            iso: self.iso,
            duplicates: !self.no_duplicates,
            hide_paths: self.hide_paths,
            parallel: 0,
            zone: self.time_zone.clone().unwrap_or_else(TimeZone::system),
        };
        let Some(plan) = &self.plan else {
            let filter = self.filter.with(&drover_plan::Filter::default());
            let planned =
                |origin| Planned { origin, filter: filter.clone(), options: options.clone() };
            let given = Origin::given(&self.sources, &self.ssh)?;
            return Ok(given.into_iter().map(planned).collect());
        };
        let plan = Plan::load(Path::new(plan))?;
        let chosen = place::chosen(&plan, &self.sources)?;
        let planned = |source: &&drover_plan::Source| {
            Ok(Planned {
                origin: Origin::of(source, &self.ssh)?,
                filter: self.filter.with(&source.filter),
                options: InventoryOptions {
                    name: Some(source.name.to_string()),
                    one_file_system: options.one_file_system || source.one_file_system,
                    ..options.clone()
                },
            })
        };
        chosen.iter().filter(|source| seen_without_a_pass(source, context)).map(planned).collect()
    }
}

/// Whether a source can be looked at: what a command prints runs in passes alone.
pub fn seen_without_a_pass(source: &drover_plan::Source, context: &Context) -> bool {
    if source.command.is_some() {
        let name = source.name.as_str();
        let message =
            format!("{name} is what a command prints: its first pass tells how much it is");
        context.progress.warn(&message);
    }
    source.command.is_none()
}

impl Planned {
    /// The source, without what its rules leave out, which is counted.
    fn open(&self, context: &Context) -> Result<Filtered, Error> {
        let rules = std::sync::Arc::new(filter(&self.filter)?);
        if self.origin.directory().is_none() && self.options.one_file_system {
            context.progress.warn("SFTP does not tell file systems apart: all of them are walked");
        }
        Ok(Filtered::new(self.origin.open(context)?, rules).counting())
    }

    /// How it is looked at.
    fn options(&self) -> InventoryOptions {
        let mut options = self.options.clone();
        if self.origin.directory().is_none() {
            options.parallel = WAITING_READERS;
        }
        options
    }

    /// What snapshots call it: by its name in the plan, else by where it is.
    fn name(&self, source: &Filtered) -> String {
        let root = || String::from_utf8_lossy(&source.description().root).into_owned();
        self.options.name.clone().unwrap_or_else(root)
    }
}

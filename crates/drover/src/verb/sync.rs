//! `drover sync`: one pass, which leaves a snapshot of each source.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use clap::Args;
use drover_crypt::hierarchy::WriterCredential;
use drover_ops::{
    Exclusions, LastPass, Preview, SyncOptions, SyncOutcome, WAITING_READERS, WriterSession,
};
use drover_plan::{Age, Hooks, HooksOn, Limits};
use drover_repo::state::StateFolder;
use drover_report::{
    ExceptionItem, Failure, FidelityItem, SyncBytes, SyncEntries, SyncExclusion, SyncReport,
    SyncRequests, SyncRound, SyncSource, SyncStage, Text, format,
};
use drover_source::{
    Filter, Filtered, Pace, Paced, Share,
    host::{Host, LocalHost},
};
use drover_types::{Observer, clock};

use crate::{
    bandwidth::Keeper,
    context::Context,
    error::Error,
    filter::{FilterArgs, filter},
    fleet, hooks,
    output::Answer,
    pace::PaceArgs,
    password,
    place::{self, Place, RepositoryArgs},
    repeat::{Repeats, Round},
    source::{Origin, SshArgs},
};

const EXAMPLES: &str = "\
Examples:
  Everything that a plan names, or one source of it:
    drover sync plan.toml
    drover sync plan.toml --source pacs

  A directory, without a plan; the same again sends only what changed:
    drover sync --repo s3://clinic-archive/server1 --source /srv/pacs

  What a pass would take, and what each rule leaves out:
    drover sync plan.toml --dry-run
    drover sync --repo s3://clinic-archive/server1 --source /srv --exclude '*.tmp' --dry-run

  Delta passes until they become no shorter, and then one each hour:
    drover sync plan.toml --until-converged
    drover sync plan.toml --every '1 hours'

  By night, from a timer:
    drover sync plan.toml --json --progress none > /var/log/drover/last.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SyncArgs {
    /// A plan file, instead of --repo and --source
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// A directory, sftp://user@host:port/path, or the name of a source in the plan; may be given
    /// several times
    #[arg(long = "source", value_name = "URL | NAME")]
    sources: Vec<OsString>,
    /// Accept a source that is empty or on another file system, where the last pass saw entries
    #[arg(long)]
    allow_empty: bool,
    /// Do not enter what is mounted below the source's root
    #[arg(long)]
    one_file_system: bool,
    /// Read every file again, whatever its times say
    #[arg(long)]
    reread: bool,
    /// Take this machine's right to write from a file that `drover key export-writer` made
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
    /// Only say what a pass would take, and what each rule leaves out; asks neither the repository
    /// nor for a password
    #[arg(long, conflicts_with = "credential")]
    dry_run: bool,
    /// Repeat until a pass takes as long as the one before: as little is left as there will be
    #[arg(long, conflicts_with = "dry_run")]
    until_converged: bool,
    /// Repeat, with so much time from the beginning of one pass to that of the next, such as
    /// "1 hours"; ends when interrupted
    #[arg(long, value_name = "AGE", value_parser = age, conflicts_with = "dry_run")]
    every: Option<Age>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    ssh: SshArgs,
}

fn age(text: &str) -> Result<Age, String> {
    text.parse::<Age>().map_err(|error| error.to_string())
}

/// A source and how to read it.
pub struct Planned {
    pub origin: Origin,
    pub options: SyncOptions,
    pub filter: drover_plan::Filter,
    pub hooks: Hooks,
    pub pace: Option<Arc<Pace>>,
}

impl Planned {
    /// As the plan has it.
    pub fn new(
        source: &drover_plan::Source,
        options: &SyncOptions,
        ssh: &SshArgs,
    ) -> Result<Self, Error> {
        Ok(Self {
            origin: Origin::of(source, ssh)?,
            filter: source.filter.clone(),
            hooks: source.hooks.clone(),
            pace: None,
            options: SyncOptions {
                name: Some(source.name.to_string()),
                allow_empty: options.allow_empty || source.allow_empty,
                one_file_system: options.one_file_system || source.one_file_system,
                ..options.clone()
            },
        })
    }

    /// The source, without what its rules leave out.
    pub fn open(&self, context: &Context) -> Result<Filtered, Error> {
        let filter = Arc::new(filter(&self.filter)?);
        let source = self.origin.open(context)?;
        if source.description().kind == "sftp" && self.options.one_file_system {
            context.progress.warn("SFTP does not tell file systems apart: all of them are walked");
        }
        let source = match &self.pace {
            Some(pace) => Arc::new(Paced::new(source, pace.clone())),
            None => source,
        };
        Ok(Filtered::new(source, filter))
    }

    /// The machine that the plan's commands run on.
    pub fn hooks_host(&self, context: &Context) -> Result<Box<dyn Host>, Error> {
        match self.hooks.on {
            HooksOn::Here => Ok(Box::new(LocalHost::new())),
            HooksOn::Server => self.origin.host(context),
        }
    }

    /// What to call it where there is no snapshot to say it.
    fn name(&self) -> Text {
        match &self.options.name {
            Some(name) => Text::from(name.as_str()),
            None => Text::from(self.origin.to_string()),
        }
    }
}

impl SyncArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
        self.pace.give_way(place.plan.as_ref(), context);
        let planned = self.planned(&place, context)?;
        let state = context.state_dir()?;
        for source in &planned {
            let Some(root) = source.origin.directory() else { continue };
            place.refuse_around(root, "the source")?;
            let one_file_system = source.options.one_file_system;
            place.refuse_within(root, "the source", one_file_system)?;
            place::refuse_state_within(&state, root, one_file_system)?;
        }
        if let Some(file) = &self.credential {
            import(file, &place, context)?;
        }
        let run = match self.dry_run {
            true => Run::Look(LastPass::find(&state, &place.url.to_string())?),
            false => Run::Pass(Box::new(open(&place, context)?)),
        };
        let _kept = match &run {
            Run::Pass(session) => Keeper::start(&place, &session.objects, context),
            Run::Look(_) => None,
        };
        let repeats = Repeats { every: self.every, until_converged: self.until_converged };
        repeats.run(context, |rounds| self.once(&run, &place, &planned, rounds, context))
    }

    /// One pass over each source.
    fn once(
        &self,
        run: &Run,
        place: &Place,
        planned: &[Planned],
        rounds: &[SyncRound],
        context: &Context,
    ) -> Result<Round, Error> {
        let (started, began) = (Instant::now(), clock::now());
        let mut done = Vec::new();
        let mut failed: Option<Failure> = None;
        for (source, result) in planned.iter().zip(self.each(run, place, planned, context)) {
            match result {
                // An interruption came before its turn.
                None => {}
                // A pass that was done, and something after it that was not.
                Some(Ok(mut outcome)) => {
                    let failure = match planned.len() {
                        1 => outcome.error.take(),
                        _ => outcome.error.clone(),
                    };
                    if let Some(failure) = failure {
                        failed.get_or_insert(failure);
                    }
                    done.push(outcome);
                }
                Some(Err(error)) if planned.len() == 1 => return Err(error),
                // The other sources are taken all the same.
                Some(Err(error)) => {
                    let failure = error.failure();
                    done.push(SyncSource {
                        source: source.name(),
                        error: Some(failure.clone()),
                        ..SyncSource::default()
                    });
                    failed.get_or_insert(failure);
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let mut report = SyncReport::new(place.text(), done, seconds);
        report.warnings = context.warnings();
        report.dry_run = self.dry_run;
        report.rounds = rounds.to_vec();
        report.rounds.push(SyncRound {
            began: format::time(began),
            seconds,
            entries: report.sums.entries,
            uploaded: report.sums.bytes.uploaded,
            exceptions: report.sums.exceptions.len() as u64,
        });
        Ok(Round { report, failed })
    }

    /// What came of each source: of several machines at a time, as far as nobody interrupts it.
    fn each(
        &self,
        run: &Run,
        place: &Place,
        planned: &[Planned],
        context: &Context,
    ) -> Vec<Option<Result<SyncSource, Error>>> {
        let origins: Vec<&Origin> = planned.iter().map(|source| &source.origin).collect();
        let machines = place.plan.as_ref().and_then(|plan| plan.limits.machines);
        let machines = machines.unwrap_or(fleet::MACHINES);
        let together = fleet::Together::new(&context.progress, planned.len());
        let interrupted = AtomicBool::new(false);
        fleet::each(&origins, machines, |number| {
            if interrupted.load(Ordering::SeqCst) {
                return None;
            }
            let one = together.one(number);
            let alone: &dyn Observer = if planned.len() == 1 { &context.progress } else { &one };
            let result = run.over(&planned[number], context, alone);
            if result.as_ref().is_err_and(Error::is_interruption) {
                interrupted.store(true, Ordering::SeqCst);
            }
            Some(result)
        })
    }

    fn planned(&self, place: &Place, context: &Context) -> Result<Vec<Planned>, Error> {
        let options = SyncOptions {
            allow_empty: self.allow_empty,
            one_file_system: self.one_file_system,
            reread: self.reread,
            operator: context.operator(),
            ..SyncOptions::default()
        };
        let Some(plan) = &place.plan else {
            let filter = self.filter.with(&drover_plan::Filter::default());
            let planned = |origin| Planned {
                origin,
                options: options.clone(),
                filter: filter.clone(),
                hooks: Hooks::default(),
                pace: self.pace.pace(&Limits::default(), context),
            };
            let given = Origin::given(&self.sources, &self.ssh)?;
            return Ok(given.into_iter().map(planned).collect());
        };
        place::chosen(plan, &self.sources)?
            .into_iter()
            .map(|source| {
                let planned = Planned::new(source, &options, &self.ssh)?;
                let pace = self.pace.pace(&plan.limits, context);
                Ok(Planned { filter: self.filter.with(&source.filter), pace, ..planned })
            })
            .collect()
    }
}

/// What is done with each source.
enum Run {
    /// A pass.
    Pass(Box<WriterSession>),
    /// Nothing: it is only said what a pass would take.
    Look(Option<LastPass>),
}

impl Run {
    fn over(
        &self,
        planned: &Planned,
        context: &Context,
        observer: &dyn Observer,
    ) -> Result<SyncSource, Error> {
        match self {
            Self::Pass(session) => {
                let name = planned.name();
                hooks::around(&planned.hooks, name.as_str(), &planned.origin, context, || {
                    pass(session, planned, context, observer)
                })
            }
            Self::Look(last) => look(last.as_ref(), planned, context, observer),
        }
    }
}

/// Opens the repository for writing; a password is asked for only where the state holds no
/// credential.
pub fn open(place: &Place, context: &Context) -> Result<WriterSession, Error> {
    let refused = RefCell::new(None);
    let ask = || match context.secret() {
        Ok(secret) => Ok(Some(secret)),
        Err(error) => {
            *refused.borrow_mut() = Some(error);
            Ok(None)
        }
    };
    let objects = place.connect(false)?;
    let state = context.state_dir()?;
    WriterSession::open(objects, &place.url.to_string(), &state, &ask, &context.progress).map_err(
        |error| match (error, refused.take()) {
            // Why there was no password says more than that there was none.
            (drover_ops::Error::NoCredential, Some(reason)) => Error::Password(reason),
            (error, _) => place.explain(error),
        },
    )
}

/// Puts an exported credential into the state, where passes look for it.
fn import(file: &Path, place: &Place, context: &Context) -> Result<(), Error> {
    let bytes = password::key_file(file)?;
    let credential = WriterCredential::decode(&bytes).map_err(|error| {
        let shown = crate::output::shown(file);
        Error::Usage(format!("{shown} is no credential of a writer: {error}"))
    })?;
    let state = context.state_dir()?;
    let folder =
        StateFolder::create(&state, credential.repository()).map_err(drover_ops::Error::from)?;
    match folder.credential().map_err(drover_ops::Error::from)? {
        // It may have had later grants since.
        Some(known)
            if WriterCredential::decode(&known)
                .is_ok_and(|known| known.writer_id() == credential.writer_id()) =>
        {
            Ok(())
        }
        Some(_) => Err(Error::Usage(
            "this machine's state has another credential for this repository already".to_owned(),
        )),
        None => {
            folder.store_credential(&bytes).map_err(drover_ops::Error::from)?;
            let location = folder.remember_location(&place.url.to_string());
            Ok(location.map_err(drover_ops::Error::from)?)
        }
    }
}

/// One pass over a source, without what runs around it.
pub fn pass(
    session: &WriterSession,
    planned: &Planned,
    context: &Context,
    observer: &dyn Observer,
) -> Result<SyncSource, Error> {
    let started = Instant::now();
    let source = planned.open(context)?;
    let mut options = planned.options.clone();
    if planned.origin.directory().is_none() && options.parallel == 0 {
        options.parallel = WAITING_READERS;
    }
    let outcome = drover_ops::sync(session, &source, &options, observer, &context.cancel)?;
    let exclusions = exclusions(source.filter(), &outcome.exclusions);
    let item = item(outcome, started.elapsed().as_secs_f64());
    Ok(SyncSource { exclusions, ..item })
}

/// What a pass would take.
fn look(
    last: Option<&LastPass>,
    planned: &Planned,
    context: &Context,
    observer: &dyn Observer,
) -> Result<SyncSource, Error> {
    let started = Instant::now();
    let source = planned.open(context)?.counting();
    let preview = drover_ops::preview(last, &source, &planned.options, observer, &context.cancel)?;
    let Preview { new, changed, unchanged, removed, excluded, .. } = preview;
    let total = preview.total();
    Ok(SyncSource {
        source: Text::from(preview.source.as_str()),
        entries: SyncEntries { total, new, changed, metadata: 0, unchanged, removed, excluded },
        bytes: SyncBytes { source: preview.bytes, read: preview.read, ..SyncBytes::default() },
        exceptions: preview.exceptions.iter().map(ExceptionItem::from).collect(),
        exclusions: exclusions(source.filter(), &preview.exclusions),
        seconds: started.elapsed().as_secs_f64(),
        ..SyncSource::default()
    })
}

/// Every rule with its share, also one that left out nothing: it may be misspelt.
pub fn exclusions(filter: &Filter, shares: &Exclusions) -> Vec<SyncExclusion> {
    let mut labels = filter.labels();
    labels.extend(shares.keys().filter(|rule| !labels.contains(rule)).cloned().collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    labels.retain(|label| seen.insert(label.clone()));
    let one = |rule: &Arc<str>| {
        let share = shares.get(rule).copied().unwrap_or_default();
        let Share { entries, bytes, unseen } = share;
        SyncExclusion { rule: Text::from(&**rule), entries, bytes, unseen }
    };
    labels.iter().map(one).collect()
}

/// A pass as reports have it.
pub fn item(outcome: SyncOutcome, seconds: f64) -> SyncSource {
    let counts = outcome.counts;
    SyncSource {
        source: Text::from(outcome.source.as_str()),
        snapshot: Some(Text::from(outcome.snapshot.to_string())),
        parent: outcome.parent.map(|parent| Text::from(parent.to_string())),
        entries: SyncEntries {
            total: counts.total(),
            new: counts.new,
            changed: counts.changed,
            metadata: counts.metadata,
            unchanged: counts.unchanged,
            removed: counts.removed,
            excluded: counts.excluded,
        },
        bytes: SyncBytes {
            source: counts.bytes,
            read: outcome.read,
            new: outcome.new,
            stored: outcome.stored,
            uploaded: outcome.usage.bytes_sent,
        },
        requests: SyncRequests {
            put: outcome.usage.put,
            get: outcome.usage.get,
            head: outcome.usage.head,
            list: outcome.usage.list,
        },
        exceptions: outcome.exceptions.into_iter().map(|e| ExceptionItem::from(&e)).collect(),
        fidelity: outcome
            .fidelity
            .iter()
            .map(|line| FidelityItem {
                class: Text::from(line.class),
                count: line.count,
                outcome: Text::from(line.outcome),
            })
            .collect(),
        stages: outcome
            .stages
            .iter()
            .map(|time| SyncStage {
                stage: Text::from(time.stage),
                threads: time.threads as u64,
                busy: time.busy.as_secs_f64(),
                input: time.input.as_secs_f64(),
                room: time.room.as_secs_f64(),
            })
            .collect(),
        connection: Some(outcome.connection.as_str()).filter(|c| !c.is_empty()).map(Text::from),
        seconds,
        ..SyncSource::default()
    }
}

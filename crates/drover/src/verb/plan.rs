//! `drover plan`: what a migration will take, cost and lose. Writes nothing to the repository.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use drover_ops::{
    WAITING_READERS,
    estimate::{EstimateOptions, estimate},
    inventory::{self, Inventory, InventoryOptions},
};
use drover_plan::{Plan, Size, SourceName};
use drover_report::{AuditReport, Body, Failure, InventorySource, PlanIdentity, Text, format};
use drover_source::{Filtered, Source as _};
use drover_types::clock;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::{
    context::Context,
    error::Error,
    filter::{FilterArgs, filter},
    output::{Answer, shown, to_stdout},
    place::{self, RepositoryArgs},
    planning::{self, Looked, template},
    reading,
    source::{Origin, SshArgs},
    verb::{inventory::seen_without_a_pass, sync::exclusions},
};

const EXAMPLES: &str = "\
Examples:
  The report for the kick-off meeting; nothing is written but the page:
    drover plan plan.toml --html report.html

  With the speed of the link, measured by objects that are put beside the repository and deleted:
    drover plan plan.toml --probe-upload

  With what an audit of the server found in the risk register:
    drover audit --host ssh://auditor@server1 --json > audit.json
    drover plan plan.toml --audit audit.json --markdown plan.md

  A look at a directory, without a plan:
    drover plan --repo s3://clinic-archive/server1 --source /srv/pacs

  A plan to begin with, from what is there:
    drover plan --new --repo s3://clinic-archive/server1 --source /srv/pacs > plan.toml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// A plan file, instead of --repo and --source
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// A directory, sftp://user@host:port/path, or the name of a source in the plan; may be given
    /// several times
    #[arg(long = "source", value_name = "URL | NAME")]
    sources: Vec<OsString>,
    /// How much of each source is read to foretell the rest by
    #[arg(long, value_name = "SIZE", default_value = "512 MiB", value_parser = size)]
    sample: Size,
    /// Which of the possible samples is read
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Measure the link: put objects of 32 MiB in all beside the repository, and delete them
    #[arg(long)]
    probe_upload: bool,
    /// Do not ask the store anything
    #[arg(long, conflicts_with = "probe_upload")]
    offline: bool,
    /// What drover audit --json said of a source's server, for the risk register; may be given
    /// several times
    #[arg(long = "audit", value_name = "FILE")]
    audits: Vec<PathBuf>,
    /// Open no file to see what it is
    #[arg(long)]
    no_content: bool,
    /// Write paths as codes: they can be patients' data
    #[arg(long)]
    hide_paths: bool,
    /// Whose hours and days are counted, such as America/Chicago [default: this machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,
    /// Print a plan with comments, made from what is there, instead of a report
    #[arg(long, conflicts_with_all = ["plan", "schema"])]
    new: bool,
    /// Print the JSON schema of plans
    #[arg(long)]
    schema: bool,
    /// Do not enter what is mounted below the source's root
    #[arg(long)]
    one_file_system: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    ssh: SshArgs,
}

fn size(text: &str) -> Result<Size, String> {
    text.parse::<Size>().map_err(|error| error.to_string())
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "there is no such time zone; they are named like Europe/Berlin".into())
}

/// The JSON schema of plans, for editors.
const SCHEMA: &str = include_str!("../../../../docs/schemas/plan.json");

/// A source, how to read it, and what it is called.
struct Planned {
    origin: Origin,
    filter: drover_plan::Filter,
    name: Option<SourceName>,
    one_file_system: bool,
    wave: usize,
    owner: Option<String>,
}

impl PlanArgs {
    pub fn run(mut self, context: &Context) -> Result<Answer, Error> {
        if self.schema {
            context.no_document("plan --schema")?;
            to_stdout(SCHEMA.as_bytes())?;
            return Ok(Answer::Listed(None));
        }
        let started = Instant::now();
        let file = self.plan.clone();
        let mut positionals: Vec<OsString> = self.plan.take().into_iter().collect();
        let place = self.repository.place(&mut positionals)?;
        let planned = self.planned(place.plan.as_ref(), context)?;
        // What can go wrong here does so before the sources are looked at.
        let audits = self.audits.iter().map(|file| audit(file)).collect::<Result<Vec<_>, _>>()?;
        let mut looked = Vec::new();
        let mut failed: Option<Failure> = None;
        for source in &planned {
            match self.look(source, context) {
                Ok(found) => looked.push(found),
                Err(error) if error.is_interruption() || self.new => return Err(error),
                // That a source cannot be reached is what a plan has to say.
                Err(error) => {
                    let failure = error.failure();
                    looked.push(source.unreachable(&failure));
                    failed.get_or_insert(failure);
                }
            }
        }
        if self.new {
            context.no_document("plan --new")?;
            to_stdout(template::write(&place, &looked).as_bytes())?;
            return Ok(Answer::Listed(None));
        }
        let identity = identity(file.as_ref(), self.seed)?;
        let store = match self.offline {
            true => planning::store::Asked::not(&place),
            false => planning::store::ask(&place, self.probe_upload, context),
        };
        let zone = self.time_zone.clone().unwrap_or_else(TimeZone::system);
        let passes = planning::passes::ask(&place, &looked, store.snapshots, context);
        let mut report = planning::report(&place, looked, store, &passes, &audits, &zone)?;
        report.plan = identity;
        report.inventory.warnings = context.warnings();
        report.inventory.sum.seconds = started.elapsed().as_secs_f64();
        let exceptions = report.inventory.has_exceptions();
        Ok(match failed {
            Some(failure) => Answer::failed(report, failure),
            None => Answer::with_exceptions(report, exceptions),
        })
    }

    fn look(&self, planned: &Planned, context: &Context) -> Result<Looked, Error> {
        let started = Instant::now();
        let rules = std::sync::Arc::new(filter(&planned.filter)?);
        let source = Filtered::new(planned.origin.open(context)?, rules).counting();
        let parallel = match planned.origin.directory() {
            Some(_) => 0,
            None => WAITING_READERS,
        };
        let options = InventoryOptions {
            name: planned.name.as_ref().map(ToString::to_string),
            one_file_system: planned.one_file_system,
            content: !self.no_content,
            hide_paths: self.hide_paths,
            parallel,
            zone: self.time_zone.clone().unwrap_or_else(TimeZone::system),
            ..InventoryOptions::default()
        };
        let Context { progress, cancel, .. } = context;
        let open = || planned.origin.open_files(context).ok().flatten();
        let Inventory { report, exclusions: shares, copies } =
            inventory::inventory(&source, None, &open, &options, progress, cancel)?;
        let inventory = InventorySource {
            exclusions: exclusions(source.filter(), &shares),
            seconds: started.elapsed().as_secs_f64(),
            ..report
        };
        let sampling = EstimateOptions {
            sample: self.sample.0,
            seed: self.seed,
            one_file_system: planned.one_file_system,
            parallel,
            ..EstimateOptions::default()
        };
        let copied = |class: &_| copies.get(class).copied().unwrap_or(0);
        let estimate = estimate(&source, &copied, &sampling, progress, cancel)?;
        let losses = source.losses().iter().map(|loss| (loss.class, loss.of_files)).collect();
        let (wave, owner) = (planned.wave, planned.owner.clone());
        Ok(Looked { inventory, estimate: Some(estimate), losses, wave, owner })
    }

    fn planned(&self, plan: Option<&Plan>, context: &Context) -> Result<Vec<Planned>, Error> {
        let Some(plan) = plan else {
            let filter = self.filter.with(&drover_plan::Filter::default());
            let planned = |origin| Planned {
                origin,
                filter: filter.clone(),
                name: None,
                one_file_system: self.one_file_system,
                wave: 1,
                owner: None,
            };
            let given = Origin::given(&self.sources, &self.ssh)?;
            return Ok(given.into_iter().map(planned).collect());
        };
        let chosen = place::chosen(plan, &self.sources)?;
        let planned = |source: &&drover_plan::Source| {
            Ok(Planned {
                origin: Origin::of(source, &self.ssh)?,
                filter: self.filter.with(&source.filter),
                name: Some(source.name.clone()),
                one_file_system: self.one_file_system || source.one_file_system,
                wave: source.wave,
                owner: source.risk_owner.clone(),
            })
        };
        chosen.iter().filter(|source| seen_without_a_pass(source, context)).map(planned).collect()
    }
}

impl Planned {
    fn unreachable(&self, failure: &Failure) -> Looked {
        let source = match &self.name {
            Some(name) => Text::from(name.as_str()),
            None => Text::from(self.origin.to_string()),
        };
        let inventory =
            InventorySource { source, error: Some(failure.clone()), ..InventorySource::default() };
        let (wave, owner) = (self.wave, self.owner.clone());
        Looked { inventory, estimate: None, losses: Vec::new(), wave, owner }
    }
}

/// A report of an audit that was kept.
fn audit(path: &Path) -> Result<AuditReport, Error> {
    let document = reading::report(path, "cannot read the audit")?;
    match document.body {
        Some(Body::Audit(report)) => Ok(report),
        _ => Err(Error::Usage(format!("{} is no report of drover audit", shown(path)))),
    }
}

/// The plan by its hashes, and by whom the report is.
fn identity(file: Option<&OsString>, seed: u64) -> Result<PlanIdentity, Error> {
    let mut identity = PlanIdentity {
        program: Text::from(drover_ops::PROGRAM),
        made: format::time(clock::now()),
        seed,
        ..PlanIdentity::default()
    };
    if let Some(file) = file {
        let path = Path::new(file);
        let bytes = fs::read(path).map_err(|source| Error::File {
            what: "cannot read the plan",
            path: path.to_owned(),
            source,
        })?;
        identity.file = Text::from(shown(path));
        identity.blake3 = Text::from(blake3::hash(&bytes).to_hex().as_str());
        let hash = Sha256::digest(&bytes);
        identity.sha256 = Text::from(hash.iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
    Ok(identity)
}

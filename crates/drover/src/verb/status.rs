//! `drover status`: passes, whether they become shorter, and how long the freeze will be.

use std::{collections::BTreeSet, ffi::OsString, time::Instant};

use clap::Args;
use drover_ops::cutover::{Chain, Pass, passes, seconds};
use drover_report::{StatusPass, StatusReport, StatusSource, Text, format};
use drover_types::clock;

use crate::{
    context::Context,
    cutover::{LOOKED_AT, foretell, last_rehearsal},
    error::Error,
    output::Answer,
    place::RepositoryArgs,
    reading,
};

const EXAMPLES: &str = "\
Examples:
  Each source of a plan, with the freeze that its passes foretell:
    drover status plan.toml

  As a page with plots:
    drover status --repo s3://clinic-archive/server1 --html status.html";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl StatusArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let place = self.repository.place(&mut self.plan.into_iter().collect())?;
        let mut session = reading::open(&place, context)?;
        let chain = Chain::load(&session)?;
        let mut names: BTreeSet<String> =
            session.sources().keys().map(|name| (*name).to_owned()).collect();
        let cutover = place.plan.as_ref().map(|plan| plan.cutover.clone()).unwrap_or_default();
        if let Some(plan) = &place.plan {
            let planned: BTreeSet<String> =
                plan.sources.iter().map(|source| source.name.to_string()).collect();
            names.retain(|name| planned.contains(name));
            names.extend(planned);
        }
        if let Some(wanted) = &self.source {
            if !names.contains(wanted) {
                let known: Vec<_> = names.into_iter().collect();
                let name = drover_types::path::escape(wanted.as_bytes());
                return Err(Error::NoSuchSource { name, known: known.join(", ") });
            }
            names.retain(|name| name == wanted);
        }
        let mut sources = Vec::new();
        for name in names {
            let found = passes(&mut session, &name, LOOKED_AT)?;
            let rehearsal = last_rehearsal(&chain, &name).map(|taken| &taken.to);
            let foretold = foretell(&found, &cutover, rehearsal);
            let state = chain.state(&name, found.len());
            sources.push(StatusSource {
                source: Text::from(name.as_str()),
                state: Text::from(state.as_str()),
                age: found.last().map(|pass| seconds(pass.ended, clock::now())),
                when: Text::from(when(&foretold, &found, &name)),
                passes: found.iter().enumerate().map(item).collect(),
                bytes_per_hour: foretold.bytes_per_hour,
                items_per_hour: foretold.items_per_hour,
                load: foretold.load,
                converges: foretold.converges,
                freeze: foretold.freeze,
                basis: Text::from(foretold.basis),
            });
        }
        let report = StatusReport {
            repository: place.text(),
            sources,
            warnings: context.warnings(),
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok(Answer::done(report))
    }
}

fn when(foretold: &crate::cutover::Foretold, passes: &[Pass], name: &str) -> String {
    match (foretold.converges, foretold.freeze.p90) {
        (Some(false), _) => format!(
            "{name}: as much changes as is sent. Raise the bandwidth, leave out what need not move, or \
             move it in parts."
        ),
        (_, Some(p90)) => format!(
            "{name}: a window of {} is enough in 9 of 10 cases; rehearse with drover cutover PLAN \
             --rehearse.",
            format::duration(p90)
        ),
        _ if passes.is_empty() => format!("{name}: take the first pass with drover sync."),
        _ => format!("{name}: take another pass with drover sync: it tells how much changes."),
    }
}

fn item((number, pass): (usize, &Pass)) -> StatusPass {
    StatusPass {
        snapshot: Text::from(pass.snapshot.to_string()),
        kind: Text::from(if number == 0 { "baseline" } else { "delta" }),
        started: format::time(pass.started),
        seconds: pass.seconds(),
        entries: pass.entries,
        bytes: pass.bytes,
        changed: pass.changed.map(|(items, _)| items),
        changed_bytes: pass.changed.map(|(_, bytes)| bytes),
        exceptions: pass.exceptions,
    }
}

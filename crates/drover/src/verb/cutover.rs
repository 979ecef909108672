//! `drover cutover`: the switch from server to cloud, rehearsed, gated, timed, with a way back.

use std::{ffi::OsString, path::PathBuf, time::Instant};

use clap::Args;
use drover_plan::{Plan, Source};
use drover_report::Text;

use crate::{
    context::Context,
    cutover::{Address, Choices, Cutover, Live},
    error::Error,
    output::Answer,
    place::RepositoryArgs,
    source::SshArgs,
    verb::verify,
};

const EXAMPLES: &str = "\
Examples:
  Where it stands, and what is missing:
    drover cutover plan.toml --show

  At noon, everything but freeze and switch:
    drover --operator anna cutover plan.toml --rehearse

  In the window; the same again goes on where a run ended:
    drover --operator anna cutover plan.toml

  The same, with a page that shows it as it happens:
    drover --operator anna cutover plan.toml --serve 8080

  Back, with what the target took since:
    drover --operator anna cutover plan.toml --rollback

  Sign for an exception, by its path:
    drover --operator anna cutover plan.toml --accept 'old/broken.dcm'

Exit codes: 5 where a gate refuses, 4 where verification finds a difference; before the switch the source
is thawed then.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CutoverArgs {
    /// The plan file
    plan: OsString,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Which source, where the plan has several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Say where it stands, what is next and what is missing, and do nothing
    #[arg(long, group = "action")]
    show: bool,
    /// Everything but freeze and switch
    #[arg(long, group = "action")]
    rehearse: bool,
    /// Lead clients back to the source, with what the target took
    #[arg(long, group = "action")]
    rollback: bool,
    /// Make it final: there is no way back after it
    #[arg(long, group = "action")]
    commit: bool,
    /// Sign for an exception, by its path; may be given several times
    #[arg(long, value_name = "PATH", group = "action")]
    accept: Vec<String>,
    /// Write a certificate of the verification of the last pass, or of the rehearsal's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["show", "rollback", "commit", "accept"])]
    certificate: Option<PathBuf>,
    /// Nobody else works on this cutover, though the store would not keep them from it
    #[arg(long)]
    sole_operator: bool,
    /// Go on without a way back that loses nothing
    #[arg(long)]
    no_way_back: bool,
    /// Show it as it happens on a page at this port of this machine, or at this address; the URL,
    /// with a token that nobody guesses, is printed
    #[arg(long, value_name = "PORT | ADDRESS:PORT")]
    serve: Option<Address>,
    #[command(flatten)]
    ssh: SshArgs,
}

impl CutoverArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let file = PathBuf::from(&self.plan);
        let place = self.repository.place(&mut vec![self.plan.clone()])?;
        let Some(plan) = &place.plan else {
            return Err(Error::Usage("a cutover takes a plan file, and no --repo".to_owned()));
        };
        if !self.show && context.operator().is_empty() {
            let message = "who does this? Give --operator NAME: each step is signed for";
            return Err(Error::Usage(message.to_owned()));
        }
        let sources = self.sources(plan)?;
        let key = match &self.certificate {
            Some(file) => Some((file, verify::verifier(file, context)?)),
            None => None,
        };
        let choices = Choices { sole_operator: self.sole_operator, no_way_back: self.no_way_back };
        let mut cutover =
            Cutover::open(context, &place, (plan, file), &sources, &self.ssh, choices)?;
        let _kept = cutover.keep_bandwidth();
        if let Some(address) = self.serve {
            let (live, url) = Live::start(address, &context.progress)?;
            if !address.0.ip().is_loopback() {
                context.progress.warn("the page is not encrypted: whoever can listen in sees it");
            }
            context.progress.note(&format!("look at {url}"));
            cutover.live = Some(live);
        }
        let (action, done) = if self.show {
            ("show", cutover.look())
        } else if self.rehearse {
            ("rehearse", cutover.rehearse())
        } else if self.rollback {
            ("roll back", cutover.roll_back())
        } else if self.commit {
            ("commit", cutover.look().and_then(|()| cutover.commit()))
        } else if !self.accept.is_empty() {
            ("accept", cutover.accept(&self.accept).and_then(|()| cutover.look()))
        } else {
            ("cut over", cutover.go())
        };
        let done = match &key {
            // Also where it was given up: a certificate says what was found.
            Some((file, key)) => {
                let certified = cutover.certify(file, key);
                done.and(certified)
            }
            None => done,
        };
        // What it says is of what is there now; what went wrong says more than that it could not.
        let told = cutover.end();
        if let Some(live) = &cutover.live {
            live.end(&done.as_ref().err().map_or("it is done".to_owned(), ToString::to_string));
        }
        let mut report = cutover.report;
        report.action = Text::from(action);
        report.warnings = context.warnings();
        report.seconds = started.elapsed().as_secs_f64();
        match done.and(told) {
            Ok(()) => Ok(Answer::done(report)),
            Err(error) => Ok(Answer::failed(report, error.failure())),
        }
    }

    /// The one that is named, or all that go together.
    fn sources<'p>(&self, plan: &'p Plan) -> Result<Vec<&'p Source>, Error> {
        let names: Vec<OsString> = self.source.iter().map(OsString::from).collect();
        let sources = crate::place::chosen(plan, &names)?;
        let several = plan.sources.len() > 1;
        let known = plan.sources.iter().map(|source| source.name.as_str());
        let known = || known.clone().collect::<Vec<_>>().join(", ");
        let wrong = |message: String| Err(Error::Usage(message));
        if !several {
            return Ok(sources);
        }
        let accepts = !self.accept.is_empty();
        if !plan.cutover.together || accepts {
            return match sources.len() {
                1 => Ok(sources),
                _ if accepts => {
                    wrong(format!("whose exceptions? Name a source with --source: {}", known()))
                }
                _ => wrong(format!(
                    "the plan has several sources, each with a cutover of its own: name one with \
                     --source, or have them go together ([cutover] together = true): {}",
                    known()
                )),
            };
        }
        if self.source.is_some() {
            return wrong(format!("by the plan they go together, and none alone: {}", known()));
        }
        Ok(sources)
    }
}

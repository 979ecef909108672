//! `drover init`: a new repository and its keys.

use std::time::Instant;

use clap::Args;
use drover_crypt::hierarchy::KdfParameters;
use drover_repo::state::StateFolder;
use drover_report::{InitReport, Text};
use drover_store::CreateOnly;

use crate::{context::Context, error::Error, output::Answer, place::RepositoryArgs};

const EXAMPLES: &str = "\
Examples:
  In a directory, and in a bucket that exists:
    drover init --repo /mnt/backup/server1
    drover init --repo s3://clinic-archive/server1

  With a password from a safe place:
    drover init plan.toml --password-command 'pass show clinic/drover'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// A plan file, instead of --repo
    plan: Option<std::ffi::OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Memory in MiB that each guess at the password shall cost, from 64 to 2048
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(64..=2048))]
    kdf_memory: u32,
}

impl InitArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let place = self.repository.place(&mut self.plan.into_iter().collect())?;
        let objects = place.connect(true)?;
        let secret = context.new_secret()?;
        let kdf = KdfParameters { memory: self.kdf_memory << 10, ..KdfParameters::default() };
        let made = drover_ops::init(objects, &secret, kdf).map_err(|error| place.explain(error))?;
        if let Ok(state) = context.state_dir() {
            StateFolder::forget(&state, &place.url.to_string()).map_err(drover_ops::Error::from)?;
        }
        let mut report = InitReport {
            url: place.text(),
            repository: Text::from(made.repository.id().to_string()),
            slot: Text::from(made.keyring.slot().hex()),
            ..InitReport::default()
        };
        if let Some(found) = made.capabilities {
            report.create_only = Text::from(match found.create_only {
                CreateOnly::Honoured => "honoured",
                CreateOnly::Ignored => "ignored",
                CreateOnly::Refused => "refused",
            });
            if found.create_only != CreateOnly::Honoured {
                report.warnings.push(Text::from(
                    "This store does not keep a write from replacing an object: drover looks \
                     before it writes. Allow nobody else to write there.",
                ));
            }
        }
        report.warnings.extend(context.warnings());
        report.seconds = started.elapsed().as_secs_f64();
        Ok(Answer::done(report))
    }
}

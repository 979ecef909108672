//! The command line: what clap sees.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{context::Context, error::Error, output::Answer, progress::ProgressMode, verb};

const ABOUT: &str = "Moves the data of servers to cloud object storage, encrypted and proven";

const EXAMPLES: &str = "\
Examples:
  A repository, a pass, and the proof:
    drover init   --repo s3://clinic-archive/server1
    drover sync   --repo s3://clinic-archive/server1 --source /srv/pacs
    drover verify --repo s3://clinic-archive/server1

  The same from a plan file, as often as you like:
    drover sync plan.toml

  Back on a file system:
    drover restore --repo s3://clinic-archive/server1 latest /srv/restored

Exit codes:
  0 done   1 failed   2 command line or plan is wrong   3 done, with exceptions
  4 verification found a difference or damage   5 a gate refused   10 no repository there
  12 wrong or missing password or key   130 interrupted: run it again, it goes on";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "drover", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Print exactly one JSON document on stdout, on failure too
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// Write the report as one self-contained HTML page
    #[arg(long, global = true, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
    /// Write the report as Markdown
    #[arg(long, global = true, value_name = "FILE", help_heading = "Output")]
    pub markdown: Option<PathBuf>,
    /// Write each list of the report as CSV into a new or empty directory
    #[arg(long, global = true, value_name = "DIR", help_heading = "Output")]
    pub csv: Option<PathBuf>,
    /// How to show progress on stderr
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Output"
    )]
    pub progress: ProgressMode,
    /// Where this machine keeps its state [default: DROVER_STATE_DIR, else ~/.local/state/drover]
    #[arg(long, global = true, value_name = "DIR", help_heading = "State and keys")]
    pub state_dir: Option<PathBuf>,
    /// Read the password from a file [else: DROVER_PASSWORD_FILE, DROVER_PASSWORD, a prompt]
    #[arg(long, global = true, value_name = "FILE", help_heading = "State and keys")]
    pub password_file: Option<PathBuf>,
    /// Read the password from what a shell command prints
    #[arg(long, global = true, value_name = "COMMAND", help_heading = "State and keys")]
    pub password_command: Option<OsString>,
    /// Open the repository with a key file instead of a password
    #[arg(long, global = true, value_name = "FILE", help_heading = "State and keys")]
    pub key_file: Option<PathBuf>,
    /// Who runs this, for the audit log
    #[arg(long, global = true, value_name = "NAME", help_heading = "State and keys")]
    pub operator: Option<String>,
}

impl Global {
    /// Whether the report goes into files, for which it has to be whole.
    pub fn has_files(&self) -> bool {
        self.html.is_some() || self.markdown.is_some() || self.csv.is_some()
    }
}

macro_rules! verbs {
    ($($(#[$meta:meta])* $variant:ident($args:ty) = $name:literal,)*) => {
        /// One variant for each verb.
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($(#[$meta])* #[command(name = $name)] $variant($args),)*
        }

        impl Verb {
            /// The verb as its documents' schema names it.
            pub fn name(&self) -> &'static str {
                match self { $(Verb::$variant(_) => $name,)* }
            }

            /// Does it.
            pub fn run(self, context: &Context) -> Result<Answer, Error> {
                match self { $(Verb::$variant(args) => args.run(context),)* }
            }
        }

        /// The names of all verbs.
        pub const VERBS: &[&str] = &[$($name),*];
    };
}

verbs! {
    /// Make a new repository and its keys
    Init(verb::init::InitArgs) = "init",
    /// Say what is on a server, which machines feed it, where patients' data is, what is risky
    Inventory(verb::inventory::InventoryArgs) = "inventory",
    /// Say what a migration will take, cost and lose; writes nothing to the repository
    Plan(verb::plan::PlanArgs) = "plan",
    /// Take one pass over the sources; leaves a snapshot of each
    Sync(verb::sync::SyncArgs) = "sync",
    /// Show passes, whether they become shorter, and how long the freeze will be
    Status(verb::status::StatusArgs) = "status",
    /// Check that what is in the cloud is what was on the server
    Verify(verb::verify::VerifyArgs) = "verify",
    /// Switch from server to cloud: rehearsed, gated, timed, with a way back
    Cutover(verb::cutover::CutoverArgs) = "cutover",
    /// Write the night's runbook for a plan
    Runbook(verb::runbook::RunbookArgs) = "runbook",
    /// Put a snapshot, or a part of it, back on a file system
    Restore(verb::restore::RestoreArgs) = "restore",
    /// List what passes left
    Snapshots(verb::snapshots::SnapshotsArgs) = "snapshots",
    /// List what is in a snapshot
    Ls(verb::ls::LsArgs) = "ls",
    /// Show what changed from one snapshot to another
    Diff(verb::diff::DiffArgs) = "diff",
    /// Print a file of a snapshot
    Cat(verb::cat::CatArgs) = "cat",
    /// Manage who can open the repository, and who can write to it
    Key(verb::key::KeyArgs) = "key",
    /// Show or check the tamper-evident audit log
    Log(verb::log::LogArgs) = "log",
    /// Put together one folder of evidence: verification, certificate, log, keys, and how to check it
    Evidence(verb::evidence::EvidenceArgs) = "evidence",
    /// Look at a server itself: system, services, listeners, peers, accounts, and what is risky
    Audit(verb::audit::AuditArgs) = "audit",
    /// Migrate a made-up clinic end to end on this machine
    Demo(verb::demo::DemoArgs) = "demo",
    /// Render a report again
    Report(verb::report::ReportArgs) = "report",
    /// Print a completion script for a shell
    Completions(verb::completions::CompletionsArgs) = "completions",
    /// Read a tree for a drover on another machine, which asks on standard input
    #[command(hide = true)]
    Helper(verb::helper::HelperArgs) = "helper",
    /// Print the manual page
    Man(verb::man::ManArgs) = "man",
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The line of usage of a verb, and of those below it.
    fn usages(command: &mut clap::Command, found: &mut Vec<String>) {
        found.push(command.render_usage().to_string());
        command.get_subcommands_mut().for_each(|below| usages(below, found));
    }

    #[test]
    fn usages_are_well_formed() {
        let mut found = Vec::new();
        usages(&mut Cli::command(), &mut found);
        for usage in found {
            let count = |c: char| usage.matches(c).count();
            assert_eq!((count('['), count('<')), (count(']'), count('>')), "{usage}");
            assert!(!usage.contains("] ...") && !usage.contains("<PLAN,"), "{usage}");
        }
    }

    #[test]
    fn every_verb_teaches_by_example() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.clone().render_help().to_string();
            assert!(help.contains("Example"), "{}", verb.get_name());
            assert!(VERBS.contains(&verb.get_name()));
        }
    }
}

//! What a pass leaves to others: bytes a second that it reads, a load that it waits for, and priority.

use std::{process::Command, sync::Arc};

use clap::Args;
use drover_plan::{Limits, Plan, Rate};
use drover_source::Pace;

use crate::context::Context;

/// How a pass gives way to whatever else the machines do.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Giving way")]
pub struct PaceArgs {
    /// The most that is read of each source, such as "50 MiB/s"
    #[arg(long, value_name = "RATE")]
    read_rate: Option<Rate>,
    /// Read nothing while the load average of this machine is higher
    #[arg(long, value_name = "LOAD", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    max_load: Option<u16>,
    /// Let whatever else this machine does go before
    #[arg(long)]
    polite: bool,
}

impl PaceArgs {
    /// The pace of a source; `None` where it may be read as fast as it goes.
    pub fn pace(&self, limits: &Limits, context: &Context) -> Option<Arc<Pace>> {
        let rate = self.read_rate.or(limits.read).map(|rate| rate.bytes_per_second().get());
        let load = self.max_load.map(f64::from).or(limits.load.map(|load| load as f64));
        if rate.is_none() && load.is_none() {
            return None;
        }
        Some(Arc::new(Pace::new(rate, load, Box::new(context.waiter()))))
    }

    /// Has the system let others go before this process, if that is asked for. Whatever it starts from
    /// now on does the same.
    pub fn give_way(&self, plan: Option<&Plan>, context: &Context) {
        if !self.polite && !plan.is_some_and(|plan| plan.limits.polite) {
            return;
        }
        if let Err(error) = rustix::process::nice(19) {
            context.progress.warn(&format!("this process keeps its priority: {error}"));
        }
        let pid = std::process::id().to_string();
        let idle = Command::new("ionice").args(["-c", "3", "-p", &pid]).output();
        if !idle.is_ok_and(|output| output.status.success()) {
            context.progress.warn("ionice is not here, or refuses: reads keep their priority");
        }
    }
}

//! Who on the source becomes whom where it lands.

use clap::Args;
use drover_ops::OwnerMap;
use drover_plan::{Plan, Renamed};

use crate::error::Error;

/// Who becomes whom.
#[derive(Debug, Default, Args)]
pub struct OwnerArgs {
    /// Give what one user has on the source to another here, by name or number
    #[arg(long, value_name = "FROM:TO")]
    map_owner: Vec<Renamed>,
    /// The same for a group
    #[arg(long, value_name = "FROM:TO")]
    map_group: Vec<Renamed>,
}

impl OwnerArgs {
    /// What the command line says, and after it the plan. Names of this machine must be known.
    pub fn map(&self, plan: Option<&Plan>) -> Result<OwnerMap, Error> {
        let planned = plan.and_then(|plan| plan.target.as_ref());
        let (owners, groups) = match planned {
            Some(target) => (target.owners.as_slice(), target.groups.as_slice()),
            None => Default::default(),
        };
        let mut map = OwnerMap::default();
        for rule in self.map_owner.iter().chain(owners) {
            map.map_user(rule.from.as_str(), number(&rule.to, "user", user)?);
        }
        for rule in self.map_group.iter().chain(groups) {
            map.map_group(rule.from.as_str(), number(&rule.to, "group", group)?);
        }
        Ok(map)
    }
}

/// The plan's owners the other way round: whose things they are again on the source.
pub fn reversed(plan: &Plan) -> Result<OwnerMap, Error> {
    let mut map = OwnerMap::default();
    let Some(target) = &plan.target else { return Ok(map) };
    for rule in &target.owners {
        let there = number(&rule.to, "user", user)?.to_string();
        map.map_user(there, number(&rule.from, "user", user)?);
    }
    for rule in &target.groups {
        let there = number(&rule.to, "group", group)?.to_string();
        map.map_group(there, number(&rule.from, "group", group)?);
    }
    Ok(map)
}

fn user(name: &str) -> Option<u32> {
    Some(nix::unistd::User::from_name(name).ok()??.uid.as_raw())
}

fn group(name: &str) -> Option<u32> {
    Some(nix::unistd::Group::from_name(name).ok()??.gid.as_raw())
}

fn number(text: &str, what: &str, known: impl Fn(&str) -> Option<u32>) -> Result<u32, Error> {
    // The highest number means nobody to the system.
    let number = text.parse::<u32>().ok().or_else(|| known(text)).filter(|n| *n != u32::MAX);
    number.ok_or_else(|| {
        let shown = drover_types::path::escape(text.as_bytes());
        Error::Usage(format!("this machine has no {what} called {shown}"))
    })
}

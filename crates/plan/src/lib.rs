//! The plan file: what is moved, where to, within which limits.
//!
//! A plan decides about other people's data, so nothing in it is guessed or passed over: an
//! unknown key, a value of the wrong type or one out of bounds is an error that names the line,
//! the column and what was meant. `docs/plan-file.md` describes every key.
//!
//! The file is TOML. It is read as a tree of values with their positions rather than
//! through serde, which would lose the positions that the checks after parsing need.

mod error;
mod filter;
pub mod forecast;
mod location;
mod plan;
pub mod prices;
mod rate;
mod table;
pub mod windows;

pub use error::{PlanError, Problem};
pub use filter::{Age, Filter, FilterError, Renamed, Rule, Size, ignore_file};
pub use location::{Location, LocationError, SftpUrl};
pub use plan::{
    Bucket, CommandOutput, Costs, Cutover, Helper, Hooks, HooksOn, Landing, Limits, Method, Plan,
    Repository, Source, SourceName, Ssh, Target, is_fingerprint,
};
pub use rate::{Rate, RateError};

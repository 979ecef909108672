//! Object storage: where a repository's objects are kept, local or in a cloud.
//!
//! This is the only crate that sees `object_store`. What it adds is what a migration needs and a
//! client library leaves open: a create-only put that stays right when an answer is lost or the
//! store ignores conditions ([`Store::put_new`]), one retry policy that sees every answer,
//! timeouts that follow the size of a body and the progress made, bounds before allocation, a
//! bandwidth limit, a concurrency that adapts to what the store and the link take, and exact
//! counts of what was sent. The flow of one operation:
//!
//! ```text
//! Store (names, retries, comparing) → Backend (object_store) → client (pace, progress, answers)
//! ```
//!
//! Names of objects are those drover makes: lower-case letters, digits, `-`, `.` and `/` between
//! components.

mod backend;
mod bandwidth;
mod buffers;
mod classify;
mod client;
mod concurrency;
mod direct;
mod error;
mod name;
mod options;
mod probe;
mod profile;
mod retry;
mod settings;
mod store;
mod url;
mod usage;
mod validity;

pub use error::{Cause, StoreError};
pub use options::{Checksum, StoreOptions};
pub use probe::{Capabilities, CreateOnly};
pub use settings::{Setting, SettingId};
pub use store::{Metadata, ObjectInfo, PlainPart, PlainUpload, PutOutcome, Store};
pub use url::{StoreKind, StoreUrl};
pub use usage::{Account, Usage};
pub use validity::Validity;

//! Documents: what every verb prints with `--json`, and what `drover report` reads again.
//!
//! `{"schema": "drover.<verb>/1", …the verb's fields…, "error": {…} where it failed}`. Fields are
//! added within a version, never renamed or removed.

pub mod audit;
pub mod bucket;
pub mod cutover;
pub mod demo;
pub mod diff;
pub mod evidence;
pub mod exception;
pub mod finding;
pub mod init;
pub mod inventory;
pub mod key;
pub mod log;
pub mod ls;
pub mod plan;
pub mod restore;
pub mod schemas;
pub mod snapshots;
pub mod status;
pub mod sync;
pub mod verify;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Page, Text, Tone};

/// Why a verb failed, in the form that programs read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Failure {
    /// A stable word for programs: `wrong-password`, `no-repository`, ….
    pub kind: Text,
    /// What happened, to what.
    pub message: Text,
    /// What to do about it; may be empty.
    pub remedy: Text,
    /// The exit code.
    pub exit: u8,
}

/// Why bytes are not a document.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or not with the fields of its schema.
    #[error("not a drover report: {0}")]
    Json(#[from] serde_json::Error),
    /// No `schema`.
    #[error("not a drover report: it has no field `schema`")]
    NoSchema,
    /// A schema that this version does not know.
    #[error("a report with the schema {0}, which this version does not know")]
    UnknownSchema(Text),
}

/// What one run of a verb answered.
#[derive(Clone, Debug)]
pub struct Document {
    verb: &'static str,
    /// The verb's own fields; `None` where it failed before there was anything to say.
    pub body: Option<Body>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// A document as JSON has it.
#[derive(Serialize)]
struct Fields<'a> {
    schema: String,
    #[serde(flatten)]
    body: &'a Option<Body>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: &'a Option<Failure>,
}

macro_rules! bodies {
    ($($(#[doc = $doc:literal])* $variant:ident($type:ty) = $verb:literal,)*) => {
        /// The fields of one verb's document.
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        #[expect(clippy::large_enum_variant, reason = "there is one document in a run")]
        pub enum Body {
            $($(#[doc = $doc])* $variant($type),)*
        }

        impl Body {
            /// The verb as the schema names it.
            pub fn verb(&self) -> &'static str {
                match self { $(Body::$variant(_) => $verb,)* }
            }

            /// What people are to read.
            pub fn page(&self) -> Page {
                match self { $(Body::$variant(report) => report.page(),)* }
            }
        }

        $(impl From<$type> for Body {
            fn from(report: $type) -> Self {
                Body::$variant(report)
            }
        })*

        const VERBS: &[&str] = &[$($verb),*];

        /// The schema of the fields of `verb`'s documents.
        fn body_schema(verb: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
            match verb {
                $($verb => Some(<$type>::json_schema(generator)),)*
                _ => None,
            }
        }

        fn body(verb: &str, value: Value) -> Result<Body, serde_json::Error> {
            match verb {
                $($verb => serde_json::from_value(value).map(Body::$variant),)*
                _ => Err(serde::de::Error::custom("a verb without a document of its own")),
            }
        }
    };
}

bodies! {
    /// A new repository.
    Init(init::InitReport) = "init",
    /// An inventory.
    Inventory(inventory::InventoryReport) = "inventory",
    /// One pass.
    Sync(sync::SyncReport) = "sync",
    /// A verification.
    Verify(verify::VerifyReport) = "verify",
    /// A restore.
    Restore(restore::RestoreReport) = "restore",
    /// The snapshots of a repository.
    Snapshots(snapshots::SnapshotsReport) = "snapshots",
    /// The entries of a snapshot.
    Ls(ls::LsReport) = "ls",
    /// What changed from one snapshot to another.
    Diff(diff::DiffReport) = "diff",
    /// What a migration will take.
    Plan(plan::PlanReport) = "plan",
    /// How passes come along.
    Status(status::StatusReport) = "status",
    /// A cutover.
    Cutover(cutover::CutoverReport) = "cutover",
    /// The keys of a repository.
    Key(key::KeyReport) = "key",
    /// The audit log.
    Log(log::LogReport) = "log",
    /// A folder of evidence.
    Evidence(evidence::EvidenceReport) = "evidence",
    /// What a server is, and what is risky about it.
    Audit(audit::AuditReport) = "audit",
    /// The demo.
    Demo(demo::DemoReport) = "demo",
}

/// Verbs that answer with nothing but success or an error.
pub(crate) const PLAIN_VERBS: &[&str] =
    &["cat", "report", "runbook", "completions", "man", "drover"];

impl Document {
    /// A verb that did what it was told.
    pub fn done(body: impl Into<Body>) -> Self {
        let body = body.into();
        Self { verb: body.verb(), body: Some(body), error: None }
    }

    /// A verb that failed before there was anything to say.
    pub fn failed(verb: &'static str, error: Failure) -> Self {
        Self { verb, body: None, error: Some(error) }
    }

    /// A verb that has something to say and failed all the same.
    pub fn failed_with(body: impl Into<Body>, error: Failure) -> Self {
        Self { error: Some(error), ..Self::done(body) }
    }

    /// `drover.<verb>/1`.
    pub fn schema(&self) -> String {
        schema(self.verb)
    }

    fn fields(&self) -> Fields<'_> {
        Fields { schema: self.schema(), body: &self.body, error: &self.error }
    }

    /// One JSON object, indented, with a line feed at the end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_string_pretty(&self.fields())?;
        json.push('\n');
        Ok(json)
    }

    /// The same object, to be taken apart.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self.fields())
    }

    /// Reads a document again. Fields that are not known are passed over: a later version may
    /// have added them.
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        let mut value: Value = serde_json::from_slice(json)?;
        let Some(schema) = value.get("schema").and_then(Value::as_str) else {
            return Err(ParseError::NoSchema);
        };
        let known = schema
            .strip_prefix("drover.")
            .and_then(|rest| rest.strip_suffix("/1"))
            .and_then(|verb| VERBS.iter().chain(PLAIN_VERBS).find(|known| **known == verb));
        let Some(&verb) = known else {
            return Err(ParseError::UnknownSchema(Text::from(schema)));
        };
        let error = match value.get_mut("error").map(Value::take) {
            None | Some(Value::Null) => None,
            Some(error) => Some(serde_json::from_value::<Failure>(error)?),
        };
        let bare = value
            .as_object()
            .is_some_and(|members| members.keys().all(|name| name == "schema" || name == "error"));
        let body = match error.is_some() && bare {
            true => None,
            false => Some(body(verb, value)?),
        };
        Ok(Self { verb, body, error })
    }

    /// What people are to read.
    pub fn page(&self) -> Page {
        let mut page = match &self.body {
            Some(body) => body.page(),
            None => Page::new("drover", Tone::Bad, "failed"),
        };
        if let Some(error) = &self.error {
            // A verdict that is bad already says more than "failed".
            if page.tone != Tone::Bad {
                page.verdict = "failed".to_owned();
                page.tone = Tone::Bad;
            }
            let stop = if error.message.as_str().ends_with(['.', ':']) { "" } else { "." };
            page.explanation = format!("{}{stop} {}", error.message, page.explanation);
            page.explanation.truncate(page.explanation.trim_end().len());
            if !error.remedy.is_empty() {
                page.next.insert(0, error.remedy.to_string());
            }
        }
        page
    }
}

/// The schema of `verb`'s documents.
pub fn schema(verb: &str) -> String {
    format!("drover.{verb}/1")
}

#[cfg(test)]
mod tests;

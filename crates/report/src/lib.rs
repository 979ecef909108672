//! What a verb answers: one [`Document`], as JSON for programs, as CSV for spreadsheets, as text for a
//! terminal, as Markdown, and as one self-contained HTML page.
//!
//! `what a verb did → Document → JSON | CSV | Page → text | Markdown | HTML`
//!
//! A document is plain data with the names that other programs rely on; a [`Page`] is what people
//! are to read of it, verdict first. Text, Markdown and HTML are renderings of the same page, so that
//! they cannot say different things. Every string in a document is a [`Text`], which cannot hold
//! anything that would change how the text around it is read.

pub mod csv;
mod document;
pub mod format;
mod html;
mod markdown;
mod page;
pub mod plot;
mod stream;
mod text;

/// Longer than the longest report, in bytes: exceptions of ten million entries.
pub const LONGEST: u64 = 4 << 30;

pub use document::{
    Body, Document, Failure, ParseError,
    audit::{
        AuditAccount, AuditBackup, AuditCheck, AuditDisk, AuditJob, AuditListener, AuditMount,
        AuditPeer, AuditReport, AuditServer, AuditService, AuditShare, AuditSystem, AuditTimer,
        AuditTls, AuditUnanswered,
    },
    bucket::BucketSetting,
    cutover::{
        CutoverAccepted, CutoverEvent, CutoverFreeze, CutoverGate, CutoverReport, CutoverSource,
        CutoverStep,
    },
    demo::{DemoReport, DemoStep},
    diff::{ChangeItem, DiffReport, DiffTotals},
    evidence::{EvidencePiece, EvidenceReport},
    exception::{ExceptionItem, PathText},
    finding::FindingItem,
    init::InitReport,
    inventory::{
        InventoryActivity, InventoryAge, InventoryAnomaly, InventoryChange, InventoryCollision,
        InventoryContent, InventoryDatabase, InventoryDay, InventoryDevice, InventoryDirectory,
        InventoryDuplicateGroup, InventoryDuplicates, InventoryFile, InventoryFinding,
        InventoryInterface, InventoryNames, InventoryOpenFile, InventoryPeriod, InventoryPhi,
        InventoryPhiExample, InventoryReconciliation, InventoryReport, InventorySince,
        InventorySize, InventorySoftware, InventorySource, InventoryTotals, InventoryType,
    },
    key::{KeyReport, SlotItem, WriterItem},
    log::{LogItem, LogReport},
    ls::{LsItem, LsReport},
    plan::{
        Likely, PlanBlocker, PlanCost, PlanCostClass, PlanCostLine, PlanEstimate, PlanFidelity,
        PlanForecast, PlanForecastSource, PlanGate, PlanIdentity, PlanReadiness, PlanReport,
        PlanRepository, PlanRisk, PlanSource, PlanStep, PlanWindow,
    },
    restore::{Following, LandingItem, RestoreBytes, RestoreEntries, RestoreReport},
    schema, schemas,
    snapshots::{SnapshotItem, SnapshotsReport},
    status::{StatusPass, StatusReport, StatusSource},
    sync::{
        FidelityItem, SyncBytes, SyncEntries, SyncExclusion, SyncHook, SyncReport, SyncRequests,
        SyncRound, SyncSource, SyncStage,
    },
    verify::{
        CertificateItem, ChangedItem, CheckedSnapshot, Head, Problem, ProofItem, Reconciliation,
        ReconciliationCount, SignedException, Verdict, VerifyReport, VerifySample, VerifyTotals,
    },
};
pub use html::render as html;
pub use markdown::write as write_markdown;
pub use page::{Fact, Page, Table, Tone};
pub use stream::ListWriter;
pub use text::Text;

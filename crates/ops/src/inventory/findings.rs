//! What is risky, by rules over what was found. `docs/inventory.md` has the table of ids.

use drover_report::{InventoryFinding, PathText, Text};

/// How bad it is, how likely harm is, how bad it would be.
#[derive(Clone, Copy)]
struct Rating {
    severity: &'static str,
    likelihood: &'static str,
    impact: &'static str,
}

const fn rating(severity: &'static str, likelihood: &'static str, impact: &'static str) -> Rating {
    Rating { severity, likelihood, impact }
}

/// One kind of finding.
struct Rule {
    id: &'static str,
    rating: Rating,
    title: &'static str,
    remedy: &'static str,
}

macro_rules! rules {
    ($($id:literal $severity:literal $likelihood:literal $impact:literal $title:literal $remedy:literal;)*) => {
        /// All kinds of findings, in the order of their severity.
        const RULES: &[Rule] = &[$(Rule {
            id: $id,
            rating: rating($severity, $likelihood, $impact),
            title: $title,
            remedy: $remedy,
        }),*];
    };
}

rules! {
    "ransom-notes" "critical" "likely" "severe"
        "Files have the names of ransom notes"
        "Disconnect the server and call an incident responder before anything is moved: a copy of encrypted data replaces no backup.";
    "ransomed-files" "critical" "likely" "severe"
        "Files look encrypted and have names that ransomware gives"
        "Find out when it happened, and migrate from a backup made before that.";
    "not-as-named" "high" "possible" "severe"
        "Files look encrypted under names that promise something else"
        "Try to open one. If it cannot be, ransomware or somebody's encryption may be behind it: find out before anything is moved.";
    "database-running" "high" "certain" "severe"
        "A running database's files are among the data"
        "Copied while it runs they are worth nothing: dump it with its own tool in a command before the pass, or stop it for the final pass, and leave its directory out of the others.";
    "unreadable" "high" "certain" "severe"
        "Some of the data cannot be seen or read"
        "Run it as root, or as a user that may read everything; what cannot be read will not be migrated.";
    "key-files" "high" "possible" "severe"
        "Private keys or stores of passwords are among the data"
        "Find out whose they are, leave them out of the migration, and replace those that others could read.";
    "database-maybe-running" "high" "likely" "severe"
        "A database's files are among the data, with a lock that says it may be running"
        "Find out whether it runs. If it does, dump it or stop it before the pass.";
    "machine-running" "high" "likely" "severe"
        "Disks of virtual machines are among the data, with signs that the machine runs"
        "Take a snapshot of the machine, or shut it down, for the pass that counts.";
    "world-writable" "medium" "possible" "severe"
        "Everyone on the server may write to some of the data"
        "Take the right away before the migration, so that it does not move along.";
    "database-files" "medium" "possible" "severe"
        "A database's files are among the data, without a sign that it runs"
        "See that it stays stopped while it is copied, and take a dump as well: files of a database need the same version to be opened.";
    "machine-disks" "medium" "possible" "moderate"
        "Disks of virtual machines are among the data"
        "Decide whether they are to be migrated as files or as machines, and see that they are shut down for the pass that counts.";
    "patient-data" "medium" "certain" "severe"
        "Patients' data is among the files"
        "Encrypt what is moved, keep who may read it few, and keep this report as you keep the data.";
    "encrypted-files" "medium" "possible" "moderate"
        "Files are encrypted, or look so"
        "Find out who has the keys: without them the copy is as closed as the original, and nothing in it can be checked.";
    "dicom-anomalies" "medium" "likely" "moderate"
        "DICOM objects do not add up"
        "Have the archive's owner decide on each kind before the migration: the other side may refuse or mix them up.";
    "open-files" "medium" "likely" "moderate"
        "Files are open for writing"
        "They may be torn in a pass. Stop who writes for the final pass, or take a snapshot of the file system.";
    "names-case" "medium" "certain" "moderate"
        "Names of one directory differ in upper and lower case only"
        "On Windows, macOS and SMB only one of them can be there: rename them first if the target is one of these.";
    "names-normalisation" "medium" "certain" "moderate"
        "Names of one directory differ in their form of Unicode only"
        "On macOS and some stores only one of them can be there: rename them first if the target is one of these.";
    "names-s3" "medium" "certain" "moderate"
        "Names cannot be keys of S3"
        "Only where files are landed as plain objects on S3: rename them first. A drover repository holds any name.";
    "names-azure" "medium" "certain" "moderate"
        "Names cannot be names of Azure blobs"
        "Only where files are landed as plain blobs on Azure: rename them first. A drover repository holds any name.";
    "names-gcs" "medium" "certain" "moderate"
        "Names cannot be names of objects on Google Cloud Storage"
        "Only where files are landed as plain objects there: rename them first. A drover repository holds any name.";
    "hl7-ids" "low" "possible" "moderate"
        "HL7 messages cannot be told apart"
        "A receiver may drop one of two messages of the same id: whoever runs the interface has to know.";
    "names-windows" "low" "certain" "moderate"
        "Names cannot be those of files on Windows or SMB"
        "Only where the target is one of these, or its users are: rename them first.";
    "names-linux" "low" "possible" "minor"
        "Paths are too long for most programs"
        "Drover takes and restores them; other programs will not open them. Move them up if somebody needs them.";
    "future-times" "low" "certain" "minor"
        "Files were changed in the future, by their times"
        "Set the server's clock right: passes tell by times what changed.";
    "setuid" "low" "unlikely" "severe"
        "Programs run with their owner's or group's rights"
        "They seldom belong to data. A restore sets such rights only when told to.";
    "not-privileged" "low" "possible" "moderate"
        "The inventory was not made as root"
        "What other users closed to this one was not seen, and neither were the open files of their processes: run it as root.";
    "looked-at-partly" "low" "possible" "minor"
        "Some files were not looked through to their end"
        "They are larger or deeper than the limits: more patients' data may be in them.";
    "copies" "info" "certain" "minor"
        "Files are copies of others"
        "A drover repository stores them once. Whether all of them are needed is for their owner to say.";
    "programs" "info" "certain" "minor"
        "Programs and scripts are among the data"
        "They may not run on the target: see whether they are needed there.";
}

/// What was found by one rule.
#[derive(Default)]
pub struct Evidence {
    /// What it is known from.
    pub evidence: String,
    /// Entries it concerns; a rule that concerns none is no finding.
    pub count: u64,
    /// Some of them.
    pub paths: Vec<PathText>,
}

/// The findings of an inventory.
#[derive(Default)]
pub struct Findings(Vec<(usize, InventoryFinding)>);

impl Findings {
    /// A finding by the rule `id`, unless it concerns nothing.
    pub fn add(&mut self, id: &str, found: Evidence) {
        let Some(at) = RULES.iter().position(|rule| rule.id == id) else {
            debug_assert!(false, "there is no finding {id}");
            return;
        };
        if found.count == 0 {
            return;
        }
        let rule = &RULES[at];
        let finding = InventoryFinding {
            id: Text::from(rule.id),
            source: None,
            severity: Text::from(rule.rating.severity),
            likelihood: Text::from(rule.rating.likelihood),
            impact: Text::from(rule.rating.impact),
            title: Text::from(rule.title),
            evidence: Text::from(found.evidence),
            remedy: Text::from(rule.remedy),
            count: found.count,
            paths: found.paths,
        };
        self.0.push((at, finding));
    }

    /// All, worst first.
    pub fn finish(mut self) -> Vec<InventoryFinding> {
        self.0.sort_by_key(|(at, _)| *at);
        self.0.into_iter().map(|(_, finding)| finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_documented() {
        let order = ["critical", "high", "medium", "low", "info"];
        let rank = |rule: &Rule| order.iter().position(|s| *s == rule.rating.severity).unwrap();
        assert!(RULES.is_sorted_by_key(rank));
        let docs = include_str!("../../../../docs/inventory.md");
        for rule in RULES {
            let row = format!("| `{}` | {} |", rule.id, rule.rating.severity);
            assert!(docs.contains(&row), "docs/inventory.md lacks: {row}");
            assert!(
                ["certain", "likely", "possible", "unlikely"].contains(&rule.rating.likelihood)
            );
            assert!(["severe", "moderate", "minor"].contains(&rule.rating.impact));
        }
    }

    #[test]
    fn what_concerns_nothing_is_no_finding() {
        let mut findings = Findings::default();
        findings.add("copies", Evidence::default());
        findings.add("setuid", Evidence { count: 1, ..Evidence::default() });
        findings.add("unreadable", Evidence { count: 2, ..Evidence::default() });
        let ids: Vec<_> = findings.finish().into_iter().map(|f| f.id.to_string()).collect();
        assert_eq!(ids, ["unreadable", "setuid"]);
    }
}

//! Which requirement each piece of evidence supports, in words that claim no more than that.
//!
//! The requirements are those of the HIPAA Security Rule (45 CFR part 164, subpart C) and of NIST
//! SP 800-53 revision 5, by their own titles. That a piece supports one does not say that it is met:
//! that takes policies, people and places of which drover sees nothing.

use drover_report::{Page, Table, Tone, csv::row};

use super::Piece;

/// One requirement and one piece.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// The piece's name in the folder.
    pub piece: &'static str,
    /// The paragraph of the rule, or the control of the catalogue.
    pub requirement: &'static str,
    /// Its title there.
    pub title: &'static str,
    /// What the piece shows of it.
    pub shows: &'static str,
    /// What it does not show.
    pub lacks: &'static str,
}

const fn control(
    piece: &'static str,
    requirement: &'static str,
    title: &'static str,
    shows: &'static str,
    lacks: &'static str,
) -> Control {
    Control { piece, requirement, title, shows, lacks }
}

/// All of them.
pub const CONTROLS: &[Control] = &[
    control(
        "certificate.txt",
        "45 CFR 164.312(c)(1)",
        "Integrity",
        "what was verified, by which method, with which verdict, signed by the verifier",
        "that the data on the source was right; what was not verified by the method it names",
    ),
    control(
        "certificate.txt",
        "45 CFR 164.312(c)(2)",
        "Mechanism to authenticate electronic protected health information",
        "hashes from which a later change of any snapshot or pack shows",
        "who is trusted to sign: compare the verifier's key with one that came by another way",
    ),
    control(
        "certificate.txt",
        "NIST SP 800-53 SI-7, SI-7(1)",
        "Software, firmware, and information integrity; integrity checks",
        "that an integrity check by cryptographic hashes took place, and its result",
        "checks that are repeated on a schedule",
    ),
    control(
        "certificate.txt",
        "NIST SP 800-53 AU-10",
        "Non-repudiation",
        "a signature by a key that lies with one machine",
        "which person used that machine",
    ),
    control(
        "verification.json",
        "45 CFR 164.310(d)(2)(iv)",
        "Data backup and storage",
        "whether a retrievable copy is there and matches what was read, as far as its method goes",
        "that it was made before equipment was moved: compare the times",
    ),
    control(
        "verification.json",
        "45 CFR 164.308(a)(7)(ii)(A)",
        "Data backup plan",
        "the result of a verification of the copy",
        "the plan itself and its procedures",
    ),
    control(
        "verification.json",
        "NIST SP 800-53 CP-9, CP-9(1)",
        "System backup; testing for reliability and integrity",
        "the result of a test of the copy's integrity, with its method",
        "a timed restore, unless the method is `landed and hashed`; then that it could be restored",
    ),
    control(
        "files.csv",
        "45 CFR 164.312(c)(2)",
        "Mechanism to authenticate electronic protected health information",
        "the size, time and BLAKE3 of each file as it was taken, which any copy can be compared with",
        "that a copy was compared: b3sum does that, file by file",
    ),
    control(
        "exceptions.csv",
        "45 CFR 164.308(a)(1)(ii)(A)",
        "Risk analysis",
        "every entry that the newest passes could not take, and why",
        "who accepts that, and its weight",
    ),
    control(
        "bucket.csv",
        "NIST SP 800-53 CP-9(8), AC-3",
        "System backup, cryptographic protection; access enforcement",
        "what the store said of versions, locks, public access, encryption and lifecycle of the bucket",
        "policies and identities of the account, and what was set before and after",
    ),
    control(
        "log.json",
        "45 CFR 164.312(b)",
        "Audit controls",
        "records of what drover did to the repository, with time and operator, hash-chained and signed",
        "what was done by other programs, or by a machine without a credential to write",
    ),
    control(
        "log.json",
        "45 CFR 164.308(a)(1)(ii)(D)",
        "Information system activity review",
        "records that can be reviewed",
        "that somebody reviewed them",
    ),
    control(
        "log.json",
        "NIST SP 800-53 AU-3, AU-9, AU-9(3)",
        "Content of audit records; protection of audit information; cryptographic protection",
        "what each record holds, and whether a record was changed or is missing",
        "records that were never written",
    ),
    control(
        "keys.json",
        "45 CFR 164.312(a)(2)(iv)",
        "Encryption and decryption",
        "that the repository is encrypted, and who holds a way in, by label and role",
        "where passwords and key files are kept, and by whom",
    ),
    control(
        "keys.json",
        "45 CFR 164.308(a)(4)(ii)(B)",
        "Access authorization",
        "which ways in and which writers there are",
        "who authorized them",
    ),
    control(
        "keys.json",
        "NIST SP 800-53 SC-12, SC-28(1), AC-6",
        "Cryptographic key establishment and management; cryptographic protection at rest; least \
         privilege",
        "roles of keys, writers that cannot read, the newest generation of keys",
        "that modules are validated: drover uses AES-256-GCM in software that is not",
    ),
    control(
        "snapshots.json",
        "45 CFR 164.310(d)(2)(iii)",
        "Accountability",
        "which passes moved which source, when, from which machine, by whom",
        "movements of hardware",
    ),
    control(
        "snapshots.json",
        "NIST SP 800-53 CP-9",
        "System backup",
        "when passes were taken, with entries, bytes and exceptions",
        "whether that is as often as required",
    ),
    control(
        "plan.toml",
        "45 CFR 164.316(b)(1)",
        "Documentation",
        "what was to be moved, from where to where, with which exclusions and thresholds",
        "that nothing was moved beside it",
    ),
    control(
        "plan.toml",
        "NIST SP 800-53 CM-3",
        "Configuration change control",
        "the configuration that was used, by its bytes",
        "who approved it",
    ),
    control(
        "b3sums.txt",
        "45 CFR 164.316(b)(2)(i)",
        "Time limit",
        "whether these files are still those that were put together",
        "that they are kept for six years",
    ),
];

/// Those whose piece is in the folder. The list of sums itself comes last of all.
fn present<'p>(pieces: &'p [Piece]) -> impl Iterator<Item = &'static Control> + 'p {
    CONTROLS.iter().filter(move |control| {
        control.piece == super::SUMS || pieces.iter().any(|piece| piece.name == control.piece)
    })
}

const COLUMNS: [&str; 5] =
    ["piece", "requirement", "title", "supports it by showing", "does not show"];

fn cells(control: &Control) -> [&'static str; 5] {
    let Control { piece, requirement, title, shows, lacks } = *control;
    [piece, requirement, title, shows, lacks]
}

/// The table as CSV (RFC 4180).
pub fn csv(pieces: &[Piece]) -> String {
    let mut out = String::new();
    row(&mut out, COLUMNS);
    present(pieces).for_each(|control| row(&mut out, cells(control)));
    out
}

/// The table as a page.
pub fn page(pieces: &[Piece]) -> Result<String, String> {
    let rows: Vec<Vec<String>> =
        present(pieces).map(|control| cells(control).map(str::to_owned).to_vec()).collect();
    let mut page = Page::new("Requirements", Tone::Plain, "what each piece supports");
    page.explanation = "Each row names a requirement that a file of this folder supports as \
                        evidence, and what the file does not show of it. None says that the \
                        requirement is met."
        .to_owned();
    page.table(Table {
        title: "HIPAA Security Rule (45 CFR part 164, subpart C) and NIST SP 800-53 revision 5"
            .to_owned(),
        columns: COLUMNS.to_vec(),
        rows,
        note: String::new(),
        terminal_rows: usize::MAX,
    });
    drover_report::html(&page).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_claims_to_be_met() {
        for control in CONTROLS {
            let text = cells(control).join(" ").to_lowercase();
            for word in ["compliant", "compliance", "certified", "guarantee", "satisfies", "fips"] {
                assert!(!text.contains(word), "{word}: {text}");
            }
            assert!(!control.lacks.is_empty() && !control.shows.is_empty());
        }
    }
}

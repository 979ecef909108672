//! The page that explains a folder of evidence to whoever is handed it.

use std::fmt::Write;

use super::{Piece, SIGNATURE, SUMS, VERIFIER};

/// What the folder is of, each in a line that can be shown as it is.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// When it was put together.
    pub time: String,
    /// The repository's URL.
    pub repository: String,
    /// What the verification came to.
    pub verdict: String,
    /// How it was done.
    pub method: String,
    /// What the check of the audit log came to.
    pub log: String,
    /// The verifier's public key in hexadecimal.
    pub verifier: String,
    /// What is not in the folder, and why.
    pub missing: Vec<String>,
}

const CHECK: &str = "\
How to check it, in this folder, with common tools (b3sum, and OpenSSL 3.0 or later):

1. The list of sums is the verifier's:

     openssl pkeyutl -verify -rawin -pubin -inkey verifier.pem \\
         -in b3sums.txt -sigfile b3sums.sig

   It prints \"Signature Verified Successfully\". verifier.pem came with this folder: that it is the
   verifier's, compare with the key that he gives you by another way. In hexadecimal:

     openssl pkey -pubin -in verifier.pem -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \\n'

2. The files are those of the list:

     b3sum --check b3sums.txt

3. The certificate is signed by the same verifier:

     sed '/^-----BEGIN PUBLIC KEY-----$/,$d' certificate.txt >body.txt
     sed -n '/^-----BEGIN DROVER SIGNATURE-----$/,/^-----END/p' certificate.txt |
         sed '/^-----/d' | base64 -d >signature
     openssl pkeyutl -verify -rawin -pubin -inkey verifier.pem \\
         -in body.txt -sigfile signature
     rm body.txt signature

   Or with drover, which needs neither password nor repository:

     drover verify --check-certificate certificate.txt --verifier verifier.pem

4. Whether the repository still is the one that was verified (this takes its password):

     drover verify PLAN --check-certificate certificate.txt --verifier verifier.pem

5. That one file is in the migration, without showing any other:

     drover verify PLAN --prove PATH --proof FILE
     drover verify --check-proof FILE --certificate certificate.txt --verifier verifier.pem

What it does not say: a certificate tells what was found at its time by the method that it names,
and no more. Whether a law or a contract is complied with is for people to judge; controls.csv says
which requirement each file supports as evidence, and what it does not show of it.

These files name sources, machines, operators and, in exceptions.csv, files.csv and the verification,
paths of files. Paths can be patients' names. Keep the folder as you keep the data; the certificate alone
holds no names and can be handed on.
";

/// The page.
pub fn text(pieces: &[Piece], summary: &Summary) -> String {
    let mut out = String::from("Evidence of a migration\n=======================\n\n");
    let facts = [
        ("made", &summary.time),
        ("repository", &summary.repository),
        ("verification", &summary.verdict),
        ("method", &summary.method),
        ("audit log", &summary.log),
        ("verifier", &summary.verifier),
    ];
    // Writing to a string cannot fail.
    for (label, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{label:13} {value}");
    }
    out.push_str("\nWhat is here:\n\n");
    let known = [
        ("README.txt", "this page"),
        (SUMS, "the BLAKE3 of every other file, but for the next"),
        (SIGNATURE, "the verifier's signature of that list: 64 bytes, Ed25519"),
    ];
    let listed = pieces.iter().map(|piece| (piece.name.as_str(), piece.what));
    let width = listed.clone().chain(known).map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, what) in listed.chain(known) {
        let _ = writeln!(out, "  {name:width$}  {what}");
    }
    if !summary.missing.is_empty() {
        out.push_str("\nWhat is missing:\n\n");
        for missing in &summary.missing {
            let _ = writeln!(out, "  {missing}");
        }
    }
    debug_assert!(CHECK.contains(VERIFIER));
    let _ = write!(out, "\n{CHECK}");
    out
}

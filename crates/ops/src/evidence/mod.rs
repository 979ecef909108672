//! A folder of evidence: what was found, and what it takes to check it without drover.
//!
//! Everything in it is a plain file; `b3sums.txt` has the BLAKE3 of each, as `b3sum --check` reads
//! it, and `b3sums.sig` is the verifier's signature of that file. Both are written last, so that a
//! folder that was not finished does not pass for one that was.

mod controls;
mod readme;
mod sums;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use drover_crypt::{sign::SigningKey, text::to_pem};
use drover_types::path::escape;

pub use controls::CONTROLS;
pub use readme::Summary;

use crate::file::{write_whole, write_with};

/// The mark of a folder that drover made.
const MARKER: &str = ".drover-evidence";
const MARKED: &[u8] = b"drover-evidence 1\n";
/// The folder of files that were given from outside.
const INCLUDED: &str = "included";
const SUMS: &str = "b3sums.txt";
const SIGNATURE: &str = "b3sums.sig";
const VERIFIER: &str = "verifier.pem";
/// A list of sums that is read, in bytes.
const LONGEST_SUMS: u64 = 16 << 20;

/// Why evidence cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Something else is in the folder.
    #[error("{} is not empty, and no folder of evidence", shown(.0))]
    NotEmpty(PathBuf),
    /// A file to include whose name cannot stand in a list of sums, or stands there already.
    #[error("{} cannot be included: {why}", shown(path))]
    Include {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A file.
    #[error("{}: {source}", shown(path))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> EvidenceError + '_ {
    move |source| EvidenceError::Io { path: path.to_owned(), source }
}

/// A file of the folder.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its name within the folder.
    pub name: String,
    /// What it is.
    pub what: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its BLAKE3.
    pub blake3: [u8; 32],
}

/// A folder of evidence that is being filled.
#[derive(Debug)]
pub struct EvidenceFolder {
    root: PathBuf,
    pieces: Vec<Piece>,
    /// What an earlier run left, as its list says.
    earlier: Vec<String>,
}

impl EvidenceFolder {
    /// Makes the folder, or takes one that is empty or that drover made before.
    pub fn create(root: &Path) -> Result<Self, EvidenceError> {
        let fail = || io_error(root);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(fail())?;
        let marker = root.join(MARKER);
        let marked = fs::read(&marker).is_ok_and(|bytes| bytes == MARKED);
        if !marked && fs::read_dir(root).map_err(fail())?.next().is_some() {
            return Err(EvidenceError::NotEmpty(root.to_owned()));
        }
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(fail())?;
        let included = root.join(INCLUDED);
        // Through a link, files elsewhere would be replaced.
        if included.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(EvidenceError::NotEmpty(included));
        }
        write_whole(&marker, MARKED, 0o600).map_err(io_error(&marker))?;
        let earlier = match fs::metadata(root.join(SUMS)) {
            Ok(found) if found.len() <= LONGEST_SUMS => {
                let text = fs::read_to_string(root.join(SUMS)).unwrap_or_default();
                sums::names(&text).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        Ok(Self { root: root.to_owned(), pieces: Vec::new(), earlier })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is in it so far.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Adds a file.
    pub fn add(
        &mut self,
        name: &str,
        what: &'static str,
        bytes: &[u8],
    ) -> Result<(), EvidenceError> {
        self.add_with(name, what, |out| out.write_all(bytes))
    }

    /// Adds a file that `write` writes.
    pub fn add_with(
        &mut self,
        name: &str,
        what: &'static str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), EvidenceError> {
        let path = self.root.join(name);
        let (blake3, bytes) = write_with(&path, 0o600, write).map_err(io_error(&path))?;
        self.pieces.push(Piece { name: name.to_owned(), what, bytes, blake3 });
        Ok(())
    }

    /// Adds a copy of a file from elsewhere, under its own name.
    pub fn include(&mut self, file: &Path) -> Result<(), EvidenceError> {
        let refuse = |why| EvidenceError::Include { path: file.to_owned(), why };
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name
            .filter(|name| sums::is_plain(name))
            .ok_or_else(|| refuse("its name has characters that cannot stand in a list of sums"))?;
        if !fs::metadata(file).map_err(io_error(file))?.is_file() {
            return Err(refuse("it is no file"));
        }
        let folder = self.root.join(INCLUDED);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(&folder)(error));
            }
            _ => {}
        }
        let name = format!("{INCLUDED}/{name}");
        if self.pieces.iter().any(|piece| piece.name == name) {
            return Err(refuse("another file of this name is included already"));
        }
        let mut from = File::open(file).map_err(io_error(file))?;
        self.add_with(&name, "a file that was included as it is", |out| {
            io::copy(&mut from, out).map(drop)
        })
    }

    /// Adds what explains the rest, removes what an earlier run left, and signs the list of all.
    /// Returns everything that is in the folder.
    pub fn finish(
        mut self,
        key: &SigningKey,
        summary: &Summary,
    ) -> Result<Vec<Piece>, EvidenceError> {
        let controls = "which piece supports which requirement, and what it does not show";
        self.add("controls.csv", controls, controls::csv(&self.pieces).as_bytes())?;
        let page = controls::page(&self.pieces)
            .map_err(|error| io_error(&self.root.join("controls.html"))(io::Error::other(error)))?;
        self.add("controls.html", controls, page.as_bytes())?;
        self.add(VERIFIER, "the public key of whoever signed", to_pem(&key.public()).as_bytes())?;
        let readme = readme::text(&self.pieces, summary);
        self.add("README.txt", "what each file is, and how it is checked", readme.as_bytes())?;

        for name in &self.earlier {
            if !self.pieces.iter().any(|piece| piece.name == *name) {
                match fs::remove_file(self.root.join(name)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(io_error(&self.root.join(name))(e));
                    }
                    _ => {}
                }
            }
        }
        let text = sums::text(&self.pieces);
        for (name, bytes) in
            [(SUMS, text.as_bytes()), (SIGNATURE, &key.sign_text(text.as_bytes()).0[..])]
        {
            let path = self.root.join(name);
            write_whole(&path, bytes, 0o600).map_err(io_error(&path))?;
        }
        Ok(self.pieces)
    }
}

#[cfg(test)]
mod tests;

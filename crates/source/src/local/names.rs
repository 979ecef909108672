//! The names in one directory, sorted, in as little memory as they can be.
//!
//! A directory may hold a million names or a hundred: they are kept in one block, 17 bytes more
//! each than they are long, and what `stat` says of them is never kept for all at once.

use std::{ffi::CStr, mem::MaybeUninit, os::fd::AsFd};

use drover_types::{limits, path::escape};
use rustix::{fs::RawDir, io::Errno};

/// Bytes of names that the kernel is asked for at once.
pub(super) const BUFFER: usize = 64 << 10;

/// Sorted names, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// All names, each ended by NUL as system calls take it.
    bytes: Vec<u8>,
    index: Vec<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    /// The first eight bytes, as a number that compares as they do: nearly all comparisons of a
    /// sort are decided by it, without going to the name.
    prefix: u64,
    start: u32,
    /// Without the NUL.
    len: u8,
}

/// Why some of a directory's names are not there.
#[derive(Debug)]
pub(super) enum Incomplete {
    /// Listing it failed after some names.
    Failed(Errno),
    /// Names that cannot be kept.
    Refused(String),
}

impl Names {
    /// All names in `directory` but `.` and `..`. `room` is how many bytes a name may have so that
    /// its path is no longer than allowed. Where something is missing, what was found is returned
    /// with the reason.
    pub(super) fn read(
        directory: impl AsFd,
        room: usize,
        buffer: &mut [MaybeUninit<u8>],
    ) -> (Self, Option<Incomplete>) {
        let mut names = Self::default();
        let mut incomplete = None;
        let mut refused = 0_u64;
        let mut listing = RawDir::new(directory, buffer);
        while let Some(next) = listing.next() {
            let entry = match next {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    incomplete = Some(Incomplete::Failed(errno));
                    break;
                }
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Err(why) = names.push(name, room) {
                refused += 1;
                if refused == 1 {
                    let name = escape(name.to_bytes());
                    incomplete = Some(Incomplete::Refused(format!("{name}: {why}")));
                }
            }
        }
        if let Some(Incomplete::Refused(first)) = &mut incomplete
            && refused > 1
        {
            first.push_str(&format!(", and {} more", refused - 1));
        }
        names.sort();
        (names, incomplete)
    }

    fn push(&mut self, name: &CStr, room: usize) -> Result<(), &'static str> {
        let bytes = name.to_bytes();
        if bytes.is_empty() || bytes.contains(&b'/') {
            return Err("it is no name");
        }
        let Ok(len) = u8::try_from(bytes.len()) else {
            return Err("a name over 255 bytes cannot be kept");
        };
        if bytes.len() > room.min(limits::COMPONENT) {
            return Err("its path would be too long");
        }
        let Ok(start) = u32::try_from(self.bytes.len()) else {
            return Err("the directory holds more than 4 GiB of names");
        };
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        let mut prefix = [0; 8];
        let head = bytes.len().min(8);
        prefix[..head].copy_from_slice(&bytes[..head]);
        self.index.push(Name { prefix: u64::from_be_bytes(prefix), start, len });
        Ok(())
    }

    /// Sorts, and drops what a directory changed while it was listed gave twice.
    fn sort(&mut self) {
        let Self { bytes, index } = self;
        let whole = |name: &Name| {
            let start = name.start as usize;
            &bytes[start..start + usize::from(name.len)]
        };
        index.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| whole(a).cmp(whole(b))));
        index.dedup_by(|a, b| a.prefix == b.prefix && whole(a) == whole(b));
        index.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The name at `at`, ended by NUL.
    pub(super) fn get(&self, at: usize) -> &CStr {
        let name = self.index[at];
        let start = name.start as usize;
        CStr::from_bytes_with_nul(&self.bytes[start..=start + usize::from(name.len)])
            .expect("each name was stored with its one NUL")
    }
}

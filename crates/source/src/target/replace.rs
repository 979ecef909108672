//! Taking the place of what is there.
//!
//! A file that replaces another is made beside it under a temporary name and waits. When enough
//! wait, or at a sync, the file system is written out first and then all are renamed: after a
//! crash each name leads to the old or to the new file, whole.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use drover_types::{RelativePath, lock};
use rustix::{
    fs::{AtFlags, renameat, unlinkat},
    io::Errno,
};

use super::{
    Inner, LOCKING, Losses, Object, Parent, Target, TargetError, TargetErrorKind, point_at, reopen,
    set_flags, swapped,
};

/// How many replacements wait for a sync before one is made for them.
pub(super) const WAITING: usize = if cfg!(test) { 64 } else { 4096 };

/// What temporary names begin with; two numbers follow.
const TEMPORARY: &str = ".drover-new-";

/// Whether a name is one that a target gives to a file that is to replace another. A restore that
/// was killed leaves such files behind.
pub fn is_temporary(name: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    name.strip_prefix(TEMPORARY.as_bytes()).is_some_and(|rest| {
        let mut parts = rest.split(|&b| b == b'-');
        parts.next().is_some_and(digits)
            && parts.next().is_some_and(digits)
            && parts.next().is_none()
    })
}

/// A file under its temporary name.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub temporary: Box<[u8]>,
    pub identity: (u64, u64),
    /// Flags that would forbid the rename, set after it.
    pub flags: u32,
}

impl Waiting {
    /// Removes the file. Where that fails, its name tells what it is.
    fn take_away(&self, parent: &Parent) {
        let _ = unlinkat(parent.fd(), &self.temporary[..], AtFlags::empty());
    }
}

impl Target {
    /// A temporary name that no other call gets. It holds the time at which the target was opened
    /// and not a process number, which a restarted container has again.
    pub(super) fn temporary(&self) -> Box<[u8]> {
        let number = self.0.next_temporary.fetch_add(1, Ordering::Relaxed);
        format!("{TEMPORARY}{}-{number}", self.0.opened_at).into_bytes().into()
    }

    /// Whether a name is a temporary one that another run gave, and left behind when it was
    /// killed.
    pub fn is_leftover(&self, name: &[u8]) -> bool {
        let own = || format!("{TEMPORARY}{}-", self.0.opened_at);
        is_temporary(name) && !name.starts_with(own().as_bytes())
    }

    /// Lets a temporary file wait for its place.
    pub(super) fn wait(&self, path: &RelativePath, waiting: Waiting) -> Result<(), TargetError> {
        let (before, full) = {
            let mut all = lock(&self.0.waiting);
            let before = all.insert(path.clone(), waiting);
            (before, all.len() >= WAITING)
        };
        if let Some(before) = before {
            let (parent, _) = self.place(path, "replace")?;
            before.take_away(&parent);
        }
        if full {
            self.0.replace_waiting()?;
        }
        Ok(())
    }

    /// Gives up what waits for the place of `path`.
    pub(super) fn give_up_waiting(&self, parent: &Parent, path: &RelativePath) {
        let waiting = lock(&self.0.waiting).remove(path);
        if let Some(waiting) = waiting {
            waiting.take_away(parent);
        }
    }
}

impl Inner {
    /// Makes what waits durable and lets it take its place.
    pub(super) fn replace_waiting(&self) -> Result<(), TargetError> {
        let _one_at_a_time = lock(&self.replacing);
        // Taken before the flush: what comes to wait during it may not be durable after it.
        let mut batch: Vec<_> = lock(&self.waiting)
            .iter()
            .map(|(path, w)| (path.clone(), w.temporary.clone()))
            .collect();
        if batch.is_empty() {
            return Ok(());
        }
        self.flush()?;
        batch.sort_unstable();
        for (path, temporary) in batch {
            // Gone if it was removed or replaced again meanwhile; its flags may have changed.
            let waiting = lock(&self.waiting).get(&path).cloned();
            let Some(waiting) = waiting.filter(|w| w.temporary == temporary) else { continue };
            let replaced = self.replace(&path, &waiting);
            if replaced.as_ref().is_err_and(TargetError::is_fatal) {
                return replaced;
            }
            // Given up or replaced on another thread while it was renamed: then it is no failure.
            let mut all = lock(&self.waiting);
            if all.get(&path).is_none_or(|now| now.temporary != temporary) {
                continue;
            }
            all.remove(&path);
            drop(all);
            if let Err(error) = replaced {
                if let Ok((parent, _)) = self.parents.of(&self.beneath, &path) {
                    waiting.take_away(&parent);
                }
                lock(&self.failed).push(error);
            }
        }
        Ok(())
    }

    fn replace(&self, path: &RelativePath, waiting: &Waiting) -> Result<(), TargetError> {
        const WHAT: &str = "replace";
        let failed = |errno| TargetError::entry(path, WHAT, errno);
        let (parent, name) = self
            .parents
            .of(&self.beneath, path)
            .map_err(|error| TargetError::io(path, WHAT, error))?;
        rename_over(&parent, &waiting.temporary, name).map_err(failed)?;
        if waiting.flags == 0 {
            return Ok(());
        }
        let fd = point_at(parent.fd(), name).map_err(failed)?;
        let status = Object::pointed(&fd).status().map_err(failed)?;
        if status.identity != waiting.identity {
            return Err(swapped(path, WHAT));
        }
        let opened = reopen(fd.as_fd(), status.kind).map_err(failed)?;
        let mut losses = Losses::new();
        set_flags(Object::opened(&opened), LOCKING, waiting.flags, &mut losses)
            .map_err(|(operation, errno)| TargetError::entry(path, operation, errno))?;
        match losses.pop() {
            None => Ok(()),
            Some(_) => {
                let why = "it was replaced, but cannot be made immutable or append-only here";
                Err(TargetError::because(path, WHAT, TargetErrorKind::Unsupported, why))
            }
        }
    }
}

impl Drop for Inner {
    /// Takes away what was to replace something and no sync came for.
    fn drop(&mut self) {
        for (path, waiting) in std::mem::take(&mut *lock(&self.waiting)) {
            if let Ok((parent, _)) = self.parents.of(&self.beneath, &path) {
                waiting.take_away(&parent);
            }
        }
    }
}

/// Renames within `parent` over what is there and no directory, even if that is immutable.
pub(super) fn rename_over(parent: &Parent, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    let rename = || renameat(parent.fd(), from, parent.fd(), to);
    match rename() {
        Err(Errno::PERM) => {
            unlock_at(parent, to)?;
            rename()
        }
        done => done,
    }
}

/// Takes the flags off that forbid changing `name`; `EPERM` if there are none.
pub(super) fn unlock_at(parent: &Parent, name: &[u8]) -> Result<(), Errno> {
    let fd = point_at(parent.fd(), name)?;
    let status = Object::pointed(&fd).status()?;
    if !status.locked {
        return Err(Errno::PERM);
    }
    Object::opened(&reopen(fd.as_fd(), status.kind)?).unlock()?;
    Ok(())
}

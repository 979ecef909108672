//! What waits until all files are there: removals, symlinks, hard links, attributes of
//! directories.

use std::sync::atomic::Ordering;

use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_source::target::{SettlingMark, Target};
use drover_types::{Counter, ExceptionKind, Kind, RelativePath};

use super::{
    Restore,
    land::Landing,
    later::Later,
    plan::{Found, Job},
    size,
};
use crate::Error;

impl Restore<'_> {
    /// Everything that waits until the files are there. Returns how many entries were removed, and
    /// the mark that is completed when all is durable.
    pub(super) fn finish(
        &self,
        later: Later,
        landing: &Landing<'_>,
        target: &Target,
        below: &RelativePath,
    ) -> Result<(u64, Option<SettlingMark>), Error> {
        let planned_removals = later.removals.len() as u64;
        let mut removed = planned_removals;
        for error in target.sync()? {
            self.failed(error)?;
        }
        // Children come after their directories in the order, so that the reverse removes them
        // first.
        for path in later.removals.iter().rev() {
            if let Err(error) = target.remove(path) {
                removed -= 1;
                self.failed(error)?;
            }
        }
        let mut frames = FrameReader::new(Decompressor::new());
        let Later { mut links, symlinks: mut others, .. } = later;
        for entry in later.after_removals {
            match entry.kind {
                _ if entry.hard_link.is_some() => links.push(&entry)?,
                Kind::File => {
                    landing.plan(Job { entry, found: Found::Nothing }, &mut frames)?;
                }
                _ => others.push(&entry)?,
            }
        }
        landing.land()?;
        for entry in others.iter() {
            let entry = entry?;
            match target.create_other(&entry) {
                Ok(losses) => {
                    self.lost(&entry.path, losses);
                    self.done();
                }
                Err(error) => self.failed(error)?,
            }
        }
        for entry in links.iter() {
            let entry = entry?;
            let first = entry.hard_link.as_ref().expect("it is a link");
            match target.hard_link(first, &entry) {
                Ok(()) => {
                    self.done();
                    self.observer.add(Counter::BytesDone, size(&entry));
                }
                // Its own file, then, with the loss on the list.
                Err(error) if entry.kind == Kind::File => {
                    self.except(
                        &entry.path,
                        ExceptionKind::Unsupported,
                        format!("restored as a file of its own: {error}"),
                    );
                    landing.plan(Job { entry, found: Found::Other }, &mut frames)?;
                }
                Err(error) => self.failed(error)?,
            }
        }
        landing.land()?;
        for error in target.sync()? {
            self.failed(error)?;
        }
        // Every content is durable now. The mark changes the root's time, so it comes before the
        // directories get theirs.
        let surplus = self.surplus.load(Ordering::Relaxed) + planned_removals - removed;
        let whole = below.is_root() && surplus == 0;
        let mark = target.write_marker(&self.begun.settling(whole))?;
        for entry in later.directories.iter().rev() {
            let entry = entry?;
            let seen = entry.evidence.ctime;
            let untouched = seen.is_some() && target.ctime(&entry.path).ok() == seen;
            if untouched || later.unmade.contains(&entry.path) {
                continue;
            }
            match target.set_attributes(&entry) {
                Ok(losses) => self.lost(&entry.path, losses),
                Err(error) => self.failed(error)?,
            }
        }
        Ok((removed, Some(mark)))
    }
}

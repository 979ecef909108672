//! Putting an entry's attributes on an object.
//!
//! The order matters. The owner comes first: changing it clears setuid and capabilities. Extended
//! attributes come before the mode: a file that ends up read-only must still take them, and an
//! ACL changes the mode. Setuid is set on nothing whose owner could not be set, or it would lend
//! someone else's rights. Times come after all that touches them, flags last: an immutable file
//! takes nothing more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use drover_types::{Attributes, Entry, Kind, limits, lock, path::escape};
use rustix::{fs::FileType, io::Errno};

use super::{
    Loss, Losses,
    object::{LOCKING, Object, Status},
};
use crate::SETTABLE_FLAGS;

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// Lends rights as setuid does.
const CAPABILITY: &[u8] = b"security.capability";
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Whom restored entries belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// The numbers they had.
    Keep,
    /// Whoever has the same name here; the number where no one has.
    ByName,
    /// Whoever runs the restore.
    Ignore,
}

/// What a restore may put back that needs particular rights, or gives them. Whatever is left out
/// is reported as a [`Loss`] of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetOptions {
    /// Whom entries belong to.
    pub owners: Owners,
    /// Make character and block devices.
    pub devices: bool,
    /// Set setuid and setgid on files, and their capabilities.
    pub setuid: bool,
}

impl Default for TargetOptions {
    /// Everything for root; for anyone else neither owners nor devices nor setuid.
    fn default() -> Self {
        let root = rustix::process::geteuid().is_root();
        let owners = if root { Owners::Keep } else { Owners::Ignore };
        Self { owners, devices: root, setuid: root }
    }
}

/// How attributes are put on, and what is known of the target's file system.
#[derive(Debug)]
pub(super) struct Policy {
    pub options: TargetOptions,
    users: Names,
    groups: Names,
    /// The file system of this device has been seen to keep times to the nanosecond.
    device: u64,
    keeps_nanos: AtomicBool,
}

/// What the object is already known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// It may have extended attributes that the entry lacks: it was there before, or inherited.
    pub foreign_xattrs: bool,
    /// It may have flags that the entry lacks.
    pub foreign_flags: bool,
    /// Leave append-only and immutable for later.
    pub stay_unlocked: bool,
}

impl Policy {
    pub fn new(options: TargetOptions, device: u64) -> Self {
        Self {
            options,
            users: Names::new(|name| Some(nix::unistd::User::from_name(name).ok()??.uid.as_raw())),
            groups: Names::new(|name| {
                Some(nix::unistd::Group::from_name(name).ok()??.gid.as_raw())
            }),
            device,
            keeps_nanos: AtomicBool::new(false),
        }
    }

    /// Puts everything of `entry` but its content on `object`, which is `before` now. Fails only
    /// where going on makes no sense; what the target does not take is a loss.
    pub fn apply(
        &self,
        object: Object<'_>,
        entry: &Entry,
        before: &Status,
        known: Known,
    ) -> Result<Losses, (&'static str, Errno)> {
        let mut losses = Losses::new();
        let wanted = &entry.attributes;
        if before.locked {
            // Where it fails, so does what follows, and is told there.
            let _ = object.unlock();
        }
        let owner = self.apply_owner(object, wanted, before, &mut losses)?;
        let acl = self.apply_xattrs(object, wanted, known, &mut losses)?;
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            self.apply_mode(object, wanted, before, &owner, &acl, &mut losses)?;
        }
        self.apply_times(object, wanted, before, &mut losses)?;
        apply_flags(object, wanted, known, before.locked, &mut losses)?;
        Ok(losses)
    }

    fn apply_owner(
        &self,
        object: Object<'_>,
        wanted: &Attributes,
        before: &Status,
        losses: &mut Losses,
    ) -> Result<Owner, (&'static str, Errno)> {
        let (uid, gid) = match self.options.owners {
            Owners::Keep | Owners::Ignore => (wanted.uid, wanted.gid),
            Owners::ByName => (
                self.users.id(wanted.user.as_ref()).unwrap_or(wanted.uid),
                self.groups.id(wanted.group.as_ref()).unwrap_or(wanted.gid),
            ),
        };
        let mut owner = Owner { user: before.uid == uid, group: before.gid == gid, changed: false };
        if owner.user && owner.group {
            return Ok(owner);
        }
        if self.options.owners == Owners::Ignore {
            losses.push(Loss {
                what: "owner",
                why: format!("{uid}:{gid} was not asked for; it is {}:{}", before.uid, before.gid),
            });
            return Ok(owner);
        }
        let user = (!owner.user).then_some(uid);
        let group = (!owner.group).then_some(gid);
        match object.set_owner(user, group) {
            Ok(()) => owner = Owner { user: true, group: true, changed: true },
            Err(error) => {
                let mut why = describe(error, "set the owner")?;
                // A user may give a file to a group of their own, and to no other user.
                if group.is_some() && user.is_some() && object.set_owner(None, group).is_ok() {
                    owner.group = true;
                    owner.changed = true;
                    why = format!("user only: {why}");
                }
                losses.push(Loss { what: "owner", why: format!("{uid}:{gid}: {why}") });
            }
        }
        Ok(owner)
    }

    fn apply_xattrs(
        &self,
        object: Object<'_>,
        wanted: &Attributes,
        known: Known,
        losses: &mut Losses,
    ) -> Result<Acl, (&'static str, Errno)> {
        let mut acl = Acl::None;
        if known.foreign_xattrs {
            for name in object.xattr_names().map_err(|error| ("list the attributes of", error))? {
                if !is_ours_to_remove(&name) || wanted.xattrs.iter().any(|x| x.name == name) {
                    continue;
                }
                match object.remove_xattr(&name) {
                    Ok(()) | Err(Errno::NODATA) => {}
                    Err(error) => {
                        let why = describe(error, "remove an attribute of")?;
                        let why = format!("{} cannot be removed: {why}", escape(&name));
                        losses.push(Loss { what: "xattr", why });
                    }
                }
                if *name == *ACCESS_ACL {
                    acl = Acl::Touched;
                }
            }
        }
        let mut room = limits::XATTRS;
        for xattr in &wanted.xattrs {
            let len = xattr.name.len() + xattr.value.len();
            if *xattr.name == *CAPABILITY && !self.options.setuid {
                let why = "security.capability was not asked for".into();
                losses.push(Loss { what: "setuid", why });
                continue;
            }
            let set = if len > room || xattr.name.is_empty() || xattr.name.contains(&0) {
                Err(Errno::INVAL)
            } else {
                room -= len;
                object.set_xattr(&xattr.name, &xattr.value)
            };
            let is_acl = *xattr.name == *ACCESS_ACL;
            match set {
                Ok(()) if is_acl => acl = Acl::Touched,
                Ok(()) => {}
                // What may not be set may well be there already, as a security label often is.
                Err(_) if object.has_xattr(&xattr.name, &xattr.value) => {}
                Err(error) => {
                    // ext4 says that the disk is full when an attribute is too large for it.
                    let why = match error {
                        Errno::NOSPC => "the file system has no room for it".into(),
                        error => describe(error, "set an attribute of")?,
                    };
                    let why = format!("{}: {why}", escape(&xattr.name));
                    losses.push(Loss { what: "xattr", why });
                    if is_acl {
                        acl = Acl::Lost(group_permissions(&xattr.value));
                    }
                }
            }
        }
        Ok(acl)
    }

    fn apply_mode(
        &self,
        object: Object<'_>,
        wanted: &Attributes,
        before: &Status,
        owner: &Owner,
        acl: &Acl,
        losses: &mut Losses,
    ) -> Result<(), (&'static str, Errno)> {
        let mut mode = wanted.mode & 0o7777;
        let mut lending = 0;
        if before.kind != FileType::Directory {
            if !(self.options.setuid && owner.user) {
                lending |= mode & SETUID;
            }
            if !(self.options.setuid && owner.group) {
                lending |= mode & SETGID;
            }
        }
        if lending != 0 {
            let why = if self.options.setuid {
                "its owner could not be set"
            } else {
                "setuid and setgid were not asked for"
            };
            losses.push(Loss { what: "setuid", why: why.into() });
            mode &= !lending;
        }
        if let Acl::Lost(group) = acl {
            // The mode's group bits were the ACL's mask: without the ACL they would let the
            // group do what it could not.
            mode &= !0o070 | (group << 3);
        }
        let special = before.mode & (SETUID | SETGID) != 0;
        if mode == before.mode && *acl != Acl::Touched && !(owner.changed && special) {
            return Ok(());
        }
        if let Err(error) = object.set_mode(mode) {
            let why = describe(error, "set the mode")?;
            losses.push(Loss { what: "mode", why: format!("{mode:04o}: {why}") });
        } else if mode & 0o7000 != 0 {
            // The kernel drops these without a word where this process may not set them.
            let now = object.status().map_err(|error| ("read the mode of", error))?.mode;
            if now != mode {
                let why = format!("{mode:04o} became {now:04o}");
                losses.push(Loss { what: "mode", why });
            }
        }
        Ok(())
    }

    fn apply_times(
        &self,
        object: Object<'_>,
        wanted: &Attributes,
        before: &Status,
        losses: &mut Losses,
    ) -> Result<(), (&'static str, Errno)> {
        let mtime = wanted.mtime;
        if let Err(error) = object.set_mtime(mtime) {
            let why = describe(error, "set the times of")?;
            losses.push(Loss { what: "times", why });
            return Ok(());
        }
        // File systems clamp what they cannot hold, and say nothing. Between 1970 and 2038 all of
        // them hold the second.
        let here = before.identity.0 == self.device;
        let ordinary = (0..1 << 31).contains(&mtime.seconds);
        let fine = mtime.nanos == 0 || (here && self.keeps_nanos.load(Ordering::Relaxed));
        if ordinary && fine {
            return Ok(());
        }
        let now = object.status().map_err(|error| ("read the times of", error))?.mtime;
        if now != mtime {
            let why = format!(
                "{}.{:09} became {}.{:09}",
                mtime.seconds, mtime.nanos, now.seconds, now.nanos
            );
            losses.push(Loss { what: "times", why });
        } else if here && !mtime.nanos.is_multiple_of(10) {
            self.keeps_nanos.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What became of the owner.
struct Owner {
    user: bool,
    group: bool,
    changed: bool,
}

/// What became of the access ACL.
#[derive(PartialEq, Eq)]
enum Acl {
    /// There is none and was none.
    None,
    /// It was set or removed, and the mode with it.
    Touched,
    /// It could not be set; the permissions that it gave the group, 0 to 7.
    Lost(u32),
}

/// Attributes that a restore takes off where the entry lacks them. Labels of security modules
/// are the target system's own.
fn is_ours_to_remove(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == ACCESS_ACL
        || name == DEFAULT_ACL
        || name == CAPABILITY
}

/// What an ACL, as the kernel stores it (a version of four bytes, then eight for each entry: tag,
/// permissions, id, little-endian), lets the owning group do; nothing if it does not say.
pub(super) fn group_permissions(acl: &[u8]) -> u32 {
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    let (mut group, mut mask) = (0, 7);
    for entry in acl.get(4..).unwrap_or_default().chunks_exact(8) {
        let permissions = u32::from(u16::from_le_bytes([entry[2], entry[3]])) & 7;
        match u16::from_le_bytes([entry[0], entry[1]]) {
            GROUP => group = permissions,
            MASK => mask = permissions,
            _ => {}
        }
    }
    group & mask
}

fn apply_flags(
    object: Object<'_>,
    wanted: &Attributes,
    known: Known,
    was_locked: bool,
    losses: &mut Losses,
) -> Result<(), (&'static str, Errno)> {
    let mut wanted = wanted.flags & SETTABLE_FLAGS;
    if wanted == 0 && !known.foreign_flags && !was_locked {
        return Ok(());
    }
    if known.stay_unlocked {
        wanted &= !LOCKING;
    }
    set_flags(object, SETTABLE_FLAGS, wanted, losses)
}

/// Sets the flags within `mask` to `wanted`.
pub(super) fn set_flags(
    object: Object<'_>,
    mask: u32,
    wanted: u32,
    losses: &mut Losses,
) -> Result<(), (&'static str, Errno)> {
    let current = match object.flags() {
        Ok(current) => current,
        Err(error) => {
            let why = describe(error, "read the flags of")?;
            if wanted != 0 {
                losses.push(Loss { what: "flags", why: format!("{wanted:#x}: {why}") });
            }
            return Ok(());
        }
    };
    let all = (current & !mask) | wanted;
    if all == current || object.set_flags(all).is_ok() {
        return Ok(());
    }
    // One that is refused must not take the others with it.
    let mut now = current;
    let mut refused = 0;
    let mut why = String::new();
    for bit in (0..u32::BITS).map(|n| 1 << n).filter(|bit| (all ^ current) & bit != 0) {
        match object.set_flags(now ^ bit) {
            Ok(()) => now ^= bit,
            Err(error) => {
                why = describe(error, "set the flags of")?;
                refused |= bit;
            }
        }
    }
    if refused != 0 {
        losses.push(Loss { what: "flags", why: format!("{refused:#x}: {why}") });
    }
    Ok(())
}

/// The words for an error that costs an attribute; an error that ends more than that is passed
/// on, with what was tried.
fn describe(error: Errno, operation: &'static str) -> Result<String, (&'static str, Errno)> {
    match error {
        Errno::ROFS | Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::NOMEM => {
            Err((operation, error))
        }
        _ => Ok(std::io::Error::from(error).to_string()),
    }
}

/// Numbers of users or groups by name, asked for once each.
#[derive(Debug)]
struct Names {
    known: Mutex<HashMap<Arc<str>, Option<u32>>>,
    ask: fn(&str) -> Option<u32>,
}

impl Names {
    /// Names are forgotten beyond this many, so that a hostile tree cannot fill the memory.
    const BOUND: usize = 65_536;

    fn new(ask: fn(&str) -> Option<u32>) -> Self {
        Self { known: Mutex::default(), ask }
    }

    fn id(&self, name: Option<&Arc<str>>) -> Option<u32> {
        let name = name?;
        let mut known = lock(&self.known);
        if let Some(id) = known.get(name) {
            return *id;
        }
        if known.len() >= Self::BOUND {
            known.clear();
        }
        let id = (self.ask)(name);
        known.insert(name.clone(), id);
        id
    }
}

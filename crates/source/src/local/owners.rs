//! Names of users and groups, each looked up once.
//!
//! A lookup can ask a directory server, so that a walk must not make one for every entry.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use drover_types::limits;
use nix::unistd::{Gid, Group, Uid, User};

type Names = RwLock<HashMap<u32, Option<Arc<str>>>>;

#[derive(Debug, Default)]
pub(super) struct Owners {
    users: Names,
    groups: Names,
}

impl Owners {
    /// The user's name; `None` where there is none, or none that can be kept.
    pub(super) fn user(&self, uid: u32) -> Option<Arc<str>> {
        known(&self.users, uid, || User::from_uid(Uid::from_raw(uid)).ok()?.map(|user| user.name))
    }

    /// The group's name; `None` where there is none, or none that can be kept.
    pub(super) fn group(&self, gid: u32) -> Option<Arc<str>> {
        known(&self.groups, gid, || {
            Group::from_gid(Gid::from_raw(gid)).ok()?.map(|group| group.name)
        })
    }
}

fn known(names: &Names, id: u32, look_up: impl Fn() -> Option<String>) -> Option<Arc<str>> {
    if let Some(name) = names.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return name.clone();
    }
    // Without the lock: this may take long.
    let name = look_up()
        .filter(|name| {
            // U+FFFD stands for bytes that were no UTF-8, and so for another name.
            !name.is_empty() && name.len() <= limits::OWNER_NAME && !name.contains('\u{FFFD}')
        })
        .map(Arc::from);
    names.write().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(name).clone()
}

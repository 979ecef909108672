//! Owners that are others on the machine where a tree lands.

use drover_types::Entry;

/// Which numbers stand for which users and groups of a source. Whoever is not named stays who they
/// are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerMap {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl OwnerMap {
    /// Whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Gives what a user has on the source, by name or number, to this number. Of several rules
    /// for one user the first counts.
    pub fn map_user(&mut self, from: impl Into<String>, to: u32) {
        self.users.push((from.into(), to));
    }

    /// The same for a group.
    pub fn map_group(&mut self, from: impl Into<String>, to: u32) {
        self.groups.push((from.into(), to));
    }

    /// The entry as it is to land. One that is mapped has no name: its number is what counts.
    pub fn mapped(&self, mut entry: Entry) -> Entry {
        let attributes = &mut entry.attributes;
        if let Some(to) = find(&self.users, attributes.user.as_deref(), attributes.uid) {
            (attributes.uid, attributes.user) = (to, None);
        }
        if let Some(to) = find(&self.groups, attributes.group.as_deref(), attributes.gid) {
            (attributes.gid, attributes.group) = (to, None);
        }
        entry
    }
}

/// The rule for a name, else the one for a number.
fn find(rules: &[(String, u32)], name: Option<&str>, number: u32) -> Option<u32> {
    let of = |wanted: &str| rules.iter().find(|(from, _)| from == wanted).map(|(_, to)| *to);
    if rules.is_empty() {
        return None;
    }
    name.and_then(of).or_else(|| of(&number.to_string()))
}

#[cfg(test)]
mod tests {
    use drover_types::{Attributes, Evidence, Kind, RelativePath};

    use super::*;

    fn entry(user: Option<&str>, uid: u32) -> Entry {
        let user = user.map(Into::into);
        Entry {
            path: RelativePath::root(),
            kind: Kind::Directory,
            attributes: Attributes { user, uid, gid: 7, ..Attributes::default() },
            content: None,
            hard_link: None,
            evidence: Evidence::default(),
            stale: false,
        }
    }

    #[test]
    fn names_come_before_numbers_and_others_stay() {
        let mut map = OwnerMap::default();
        assert!(map.is_empty());
        map.map_user("1000", 1);
        map.map_user("pacs", 2);
        map.map_user("pacs", 3);
        map.map_group("7", 8);
        let of = |user, uid| {
            let mapped = map.mapped(entry(user, uid)).attributes;
            (mapped.uid, mapped.user.is_some(), mapped.gid)
        };
        assert_eq!(of(Some("pacs"), 1000), (2, false, 8));
        assert_eq!(of(Some("other"), 1000), (1, false, 8));
        assert_eq!(of(None, 1000), (1, false, 8));
        assert_eq!(of(Some("1000"), 5), (1, false, 8));
        assert_eq!(of(Some("other"), 5), (5, true, 8));
    }
}

//! Whether all of `keys/` is what the root signed, under the names that it belongs under.

use super::{
    HierarchyError, Keyring, Object,
    epoch::{SlotBox, box_name},
    key_name,
    keyring::is_slot,
};

impl Keyring {
    /// The objects of `keys`, everything in the repository's folder below `keys/`, that do not
    /// belong there, and what is wrong with each: slots and boxes that somebody else would open, and
    /// would find out later. What these keys are opened with was checked when they were; grants and
    /// revocations are the history's.
    pub fn check(&self, keys: &[Object]) -> Vec<(String, HierarchyError)> {
        let mut wrong = Vec::new();
        for object in keys {
            let kind = key_name(&object.name).and_then(|name| name.split('-').next());
            let checked = match kind {
                Some("slot") => self.slot_in(object).map(drop),
                Some("epoch") => self.check_epoch(object),
                Some("writer" | "revoked") => Ok(()),
                _ => Err(HierarchyError::OtherName),
            };
            wrong.extend(checked.err().map(|error| (object.name.clone(), error)));
        }
        // Each slot has a box in each epoch.
        for slot in keys.iter().filter(|o| is_slot(&o.name)).filter_map(|o| self.slot_in(o).ok()) {
            for epoch in self.epochs() {
                let name = box_name(self.repository(), epoch, &slot.info.id);
                if !keys.iter().any(|object| object.name == name) {
                    wrong.push((name, HierarchyError::BoxMissing));
                }
            }
        }
        wrong
    }

    /// A box; an epoch's own object was checked when these keys were opened.
    fn check_epoch(&self, object: &Object) -> Result<(), HierarchyError> {
        if super::keyring::epoch_number(&object.name).is_some() {
            return Ok(());
        }
        let found = SlotBox::decode(&object.bytes, self.repository())?;
        found.verify(self.root_public())?;
        match object.name == found.object_name(self.repository()) {
            true => Ok(()),
            false => Err(HierarchyError::OtherName),
        }
    }
}

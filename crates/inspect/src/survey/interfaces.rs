//! Who sends what to whom, over all files.

use std::collections::{BTreeMap, HashSet};

use super::distinct::Hashing;
use crate::{
    date::Date,
    hl7::{InterfaceKey, Messages, widen},
};

/// Interfaces that are told apart.
const INTERFACES: usize = 4096;
/// Control ids that are remembered.
const CONTROL_IDS: usize = 1 << 20;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Who sends what to whom.
    pub key: InterfaceKey,
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that hold any.
    pub files: u64,
    /// The first and last day they were sent.
    pub seen: Option<(Date, Date)>,
    /// Character sets they name.
    pub charsets: Vec<String>,
    /// Messages whose sender and control id another message had before.
    pub duplicate_ids: u64,
    /// Messages without control id.
    pub without_id: u64,
    /// Messages whose control id was not compared, because there were over 1,048,576.
    pub ids_not_compared: u64,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    messages: u64,
    bytes: u64,
    files: u64,
    seen: Option<(Date, Date)>,
    charsets: Vec<String>,
    duplicate_ids: u64,
    without_id: u64,
    ids_not_compared: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Interfaces {
    sums: BTreeMap<InterfaceKey, Sum>,
    /// Control ids seen, hashed with their sender.
    ids: HashSet<u64, Hashing>,
    /// Messages whose control id a merged survey had as well: by which interface is not known any more.
    pub across: u64,
    /// Messages of interfaces beyond those told apart.
    pub others: u64,
    /// Headers that could not be read.
    pub malformed: u64,
}

impl Interfaces {
    fn of(&mut self, key: InterfaceKey) -> Option<&mut Sum> {
        if self.sums.len() >= INTERFACES && !self.sums.contains_key(&key) {
            return None;
        }
        Some(self.sums.entry(key).or_default())
    }

    pub fn add(&mut self, messages: &Messages) {
        self.others += messages.others;
        self.malformed += messages.malformed;
        for (key, traffic) in &messages.interfaces {
            let mut duplicates = 0;
            let mut not_compared = traffic.ids_not_kept;
            for &id in &traffic.control_ids {
                if self.ids.len() >= CONTROL_IDS {
                    not_compared += u64::from(!self.ids.contains(&id));
                    duplicates += u64::from(self.ids.contains(&id));
                } else {
                    duplicates += u64::from(!self.ids.insert(id));
                }
            }
            let Some(sum) = self.of(key.clone()) else {
                self.others += traffic.messages;
                continue;
            };
            sum.messages += traffic.messages;
            sum.bytes = sum.bytes.saturating_add(traffic.bytes);
            sum.files += 1;
            widen(&mut sum.seen, traffic.seen);
            charsets(&mut sum.charsets, &traffic.charsets);
            sum.duplicate_ids += duplicates;
            sum.without_id += traffic.without_id;
            sum.ids_not_compared += not_compared;
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.others += other.others;
        self.malformed += other.malformed;
        self.across += other.across;
        let mut across = 0;
        for id in other.ids {
            if self.ids.len() >= CONTROL_IDS {
                across += u64::from(self.ids.contains(&id));
            } else {
                across += u64::from(!self.ids.insert(id));
            }
        }
        for (key, more) in other.sums {
            let messages = more.messages;
            let Some(sum) = self.of(key) else {
                self.others += messages;
                continue;
            };
            sum.messages += more.messages;
            sum.bytes = sum.bytes.saturating_add(more.bytes);
            sum.files += more.files;
            widen(&mut sum.seen, more.seen);
            charsets(&mut sum.charsets, &more.charsets);
            sum.duplicate_ids += more.duplicate_ids;
            sum.without_id += more.without_id;
            sum.ids_not_compared += more.ids_not_compared;
        }
        self.across += across;
    }

    pub fn rows(&self) -> Vec<Interface> {
        let row = |(key, sum): (&InterfaceKey, &Sum)| Interface {
            key: key.clone(),
            messages: sum.messages,
            bytes: sum.bytes,
            files: sum.files,
            seen: sum.seen,
            charsets: sum.charsets.clone(),
            duplicate_ids: sum.duplicate_ids,
            without_id: sum.without_id,
            ids_not_compared: sum.ids_not_compared,
        };
        let mut rows: Vec<_> = self.sums.iter().map(row).collect();
        rows.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.key.cmp(&b.key)));
        rows
    }
}

fn charsets(kept: &mut Vec<String>, more: &[String]) {
    for charset in more {
        if kept.len() < 8 && !kept.contains(charset) {
            kept.push(charset.clone());
        }
    }
    kept.sort();
}

//! Several sources as one: sums where sums are true, lists one after the other elsewhere.

use std::collections::BTreeMap;

use super::{InventoryContent, InventorySource, InventoryTotals, InventoryType};
use crate::Text;

/// How many of the largest, deepest and widest there are in a sum.
const EXTREMES: usize = 20;

/// Adds these fields of one row to those of another.
macro_rules! add {
    ($($field:ident),*) => { |a, b| { $(a.$field += b.$field;)* } };
}

/// The sum of `sources`. Copies in different sources are not compared with each other, and a
/// machine that feeds two of them stands there twice.
pub(super) fn join(sources: &[InventorySource]) -> InventorySource {
    let mut sum = InventorySource {
        content_read: sources.iter().all(|source| source.content_read),
        duplicates_sought: sources.iter().all(|source| source.duplicates_sought),
        open_files_sought: sources.iter().all(|source| source.open_files_sought),
        privileged: sources.iter().all(|source| source.privileged),
        paths_hidden: sources.iter().any(|source| source.paths_hidden),
        ..InventorySource::default()
    };
    let mut types: BTreeMap<Text, InventoryType> = BTreeMap::new();
    for source in sources {
        if sum.started.is_empty() || source.started < sum.started {
            sum.started = source.started.clone();
        }
        sum.time_zone = source.time_zone.clone();
        totals(&mut sum.totals, &source.totals);
        rows(&mut sum.sizes, &source.sizes, |a, b| a.from == b.from, add!(files, bytes));
        rows(&mut sum.ages, &source.ages, |a, b| a.label == b.label, add!(files, bytes));
        let same_hour = |a: &super::InventoryActivity, b: &super::InventoryActivity| {
            (a.weekday, a.hour) == (b.weekday, b.hour)
        };
        rows(&mut sum.activity, &source.activity, same_hour, add!(files, bytes));
        rows(&mut sum.days, &source.days, |a, b| a.date == b.date, add!(files, bytes));
        for one in &source.types {
            let row = types.entry(one.kind.clone()).or_insert_with(|| InventoryType {
                files: 0,
                bytes: 0,
                ..one.clone()
            });
            row.files += one.files;
            row.bytes += one.bytes;
        }
        sum.largest.extend(source.largest.iter().cloned());
        sum.deepest.extend(source.deepest.iter().cloned());
        sum.widest.extend(source.widest.iter().cloned());
        sum.duplicates.files += source.duplicates.files;
        sum.duplicates.bytes += source.duplicates.bytes;
        sum.duplicates.groups += source.duplicates.groups;
        sum.duplicates.largest.extend(source.duplicates.largest.iter().cloned());
        sum.collisions.extend(source.collisions.iter().cloned());
        let same_name = |a: &super::InventoryNames, b: &super::InventoryNames| {
            (&a.target, &a.reason) == (&b.target, &b.reason)
        };
        rows(&mut sum.names, &source.names, same_name, |a, b| {
            a.count += b.count;
            a.paths.extend(b.paths.iter().cloned());
        });
        sum.open_files.extend(source.open_files.iter().cloned());
        sum.databases.extend(source.databases.iter().cloned());
        content(&mut sum.content, &source.content);
        sum.findings.extend(source.findings.iter().cloned().map(|mut finding| {
            finding.source = Some(source.source.clone());
            finding
        }));
        sum.exceptions.extend(source.exceptions.iter().cloned());
        sum.exceptions_not_listed += source.exceptions_not_listed;
        sum.exclusions.extend(source.exclusions.iter().cloned());
        sum.bytes_read += source.bytes_read;
    }
    sum.days.sort_by(|a, b| a.date.cmp(&b.date));
    sum.types = types.into_values().collect();
    sum.types.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.kind.cmp(&b.kind)));
    sum.largest.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    sum.deepest.sort_by_key(|file| std::cmp::Reverse(file.depth));
    sum.widest.sort_by_key(|directory| std::cmp::Reverse(directory.entries));
    let spare = |g: &super::InventoryDuplicateGroup| g.bytes * g.files.saturating_sub(1);
    sum.duplicates.largest.sort_by_key(|group| std::cmp::Reverse(spare(group)));
    sum.largest.truncate(EXTREMES);
    sum.deepest.truncate(EXTREMES);
    sum.widest.truncate(EXTREMES);
    sum.duplicates.largest.truncate(EXTREMES);
    sum.findings.sort_by_key(|finding| super::page::rank(finding.severity.as_str()));
    sum
}

fn totals(sum: &mut InventoryTotals, more: &InventoryTotals) {
    for (sum, more) in [
        (&mut sum.files, more.files),
        (&mut sum.dirs, more.dirs),
        (&mut sum.symlinks, more.symlinks),
        (&mut sum.special, more.special),
        (&mut sum.bytes, more.bytes),
        (&mut sum.allocated, more.allocated),
        (&mut sum.hard_links, more.hard_links),
        (&mut sum.hard_link_bytes, more.hard_link_bytes),
        (&mut sum.sparse_files, more.sparse_files),
        (&mut sum.hole_bytes, more.hole_bytes),
        (&mut sum.empty_files, more.empty_files),
        (&mut sum.setuid, more.setuid),
        (&mut sum.world_writable, more.world_writable),
        (&mut sum.future, more.future),
    ] {
        *sum = sum.saturating_add(more);
    }
    sum.depth = sum.depth.max(more.depth);
    sum.longest_path = sum.longest_path.max(more.longest_path);
}

/// Adds rows to those that are the same, and puts the others behind them.
fn rows<T: Clone>(
    sum: &mut Vec<T>,
    more: &[T],
    same: impl Fn(&T, &T) -> bool,
    add: impl Fn(&mut T, &T),
) {
    for row in more {
        match sum.iter_mut().find(|known| same(known, row)) {
            Some(known) => add(known, row),
            None => sum.push(row.clone()),
        }
    }
}

fn content(sum: &mut InventoryContent, more: &InventoryContent) {
    sum.devices.extend(more.devices.iter().cloned());
    let way = |i: &super::InventoryInterface| {
        let sides = [&i.sender, &i.sender_facility, &i.receiver, &i.receiver_facility];
        (sides.map(Clone::clone), i.message.clone(), i.version.clone())
    };
    rows(
        &mut sum.interfaces,
        &more.interfaces,
        |a, b| way(a) == way(b),
        |a, b| {
            a.messages += b.messages;
            a.bytes += b.bytes;
            a.files += b.files;
            a.duplicate_ids += b.duplicate_ids;
            a.without_id += b.without_id;
            a.ids_not_compared += b.ids_not_compared;
            a.first_seen = earlier(a.first_seen.take(), b.first_seen.clone());
            a.last_seen = a.last_seen.take().max(b.last_seen.clone());
            let new = b.charsets.iter().filter(|set| !a.charsets.contains(set)).cloned();
            let new: Vec<_> = new.collect();
            a.charsets.extend(new);
        },
    );
    rows(
        &mut sum.phi,
        &more.phi,
        |a, b| a.kind == b.kind,
        |a, b| {
            a.files += b.files;
            a.values += b.values;
            a.bytes += b.bytes;
            a.examples.extend(b.examples.iter().cloned());
        },
    );
}

fn earlier(a: Option<Text>, b: Option<Text>) -> Option<Text> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

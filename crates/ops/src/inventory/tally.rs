//! Sizes, times and extremes of a tree, entry by entry.

use std::collections::BTreeMap;

use drover_report::{
    InventoryActivity, InventoryAge, InventoryDay, InventorySize, InventoryTotals, InventoryType,
    Text,
};
use drover_types::{Entry, Kind, RelativePath, Timestamp};
use jiff::{civil::Date, tz::TimeZone};

use super::EXAMPLES;

/// Where each range of sizes begins; the last has no end.
const SIZES: [u64; 8] = [0, 1, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20, 4 << 30];
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Where each range of ages begins, and what it is called.
const AGES: [(u64, &str); 10] = [
    (0, "up to 1 hour"),
    (HOUR, "1 hour to 1 day"),
    (DAY, "1 day to 1 week"),
    (7 * DAY, "1 week to 30 days"),
    (30 * DAY, "30 to 90 days"),
    (90 * DAY, "90 days to 1 year"),
    (365 * DAY, "1 to 2 years"),
    (730 * DAY, "2 to 5 years"),
    (1826 * DAY, "5 to 10 years"),
    (3652 * DAY, "over 10 years"),
];
/// Clocks that are no further apart than this, in seconds, are right.
const SKEW: i64 = 60;
/// Days that are listed, today included.
const DAYS: i32 = 90;
/// Extensions that are told apart.
const EXTENSIONS: usize = 4096;
/// The longest that follows a dot and may still be an extension.
const LONGEST_EXTENSION: usize = 10;
/// How many extremes are kept of each sort.
pub const EXTREMES: usize = 20;

/// Files and bytes.
type Sum = (u64, u64);

fn add(sum: &mut Sum, bytes: u64) {
    sum.0 += 1;
    sum.1 = sum.1.saturating_add(bytes);
}

/// The few with the largest keys, larger ones first; of the same key, those that came first.
#[derive(Debug)]
pub struct Top<K, T>(Vec<(K, T)>, usize);

impl<K: Ord, T> Top<K, T> {
    /// At most so many.
    pub fn new(most: usize) -> Self {
        Self(Vec::new(), most)
    }

    /// Offers one; it is only made where it is kept.
    pub fn offer(&mut self, key: K, value: impl FnOnce() -> T) {
        let at = self.0.partition_point(|(there, _)| *there >= key);
        if at < self.1 {
            self.0.insert(at, (key, value()));
            self.0.truncate(self.1);
        }
    }

    /// Those that were kept.
    pub fn into_vec(self) -> Vec<(K, T)> {
        self.0
    }
}

/// An extreme: its path, size and time.
#[derive(Debug)]
pub struct Extreme {
    /// Which.
    pub path: RelativePath,
    /// Its logical size in bytes.
    pub bytes: u64,
    /// Its last change.
    pub modified: Timestamp,
}

impl Extreme {
    fn of(entry: &Entry, bytes: u64) -> Self {
        Self { path: entry.path.clone(), bytes, modified: entry.attributes.mtime }
    }
}

/// Entries of one sort, and the first of them.
#[derive(Debug, Default)]
pub struct Examples {
    /// How many.
    pub count: u64,
    /// The first.
    pub paths: Vec<RelativePath>,
}

impl Examples {
    /// One more.
    pub fn add(&mut self, path: &RelativePath) {
        self.count += 1;
        if self.paths.len() < EXAMPLES {
            self.paths.push(path.clone());
        }
    }
}

/// What is counted of every entry.
#[derive(Debug)]
pub struct Tally {
    now: Timestamp,
    zone: TimeZone,
    today: Date,
    /// How much there is.
    pub totals: InventoryTotals,
    sizes: [Sum; SIZES.len()],
    future: Sum,
    ages: [Sum; AGES.len()],
    activity: [[Sum; 24]; 7],
    days: BTreeMap<Date, Sum>,
    extensions: BTreeMap<Vec<u8>, Sum>,
    /// The largest files.
    pub largest: Top<u64, Extreme>,
    /// The deepest entries.
    pub deepest: Top<u64, Extreme>,
    /// Files of the future.
    pub ahead: Examples,
    /// Files that run with their owner's or group's rights.
    pub setuid: Examples,
    /// What everyone may write to.
    pub world_writable: Examples,
}

fn local(time: Timestamp, zone: &TimeZone) -> Option<jiff::civil::DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_second(time.seconds).ok()?))
}

impl Tally {
    /// Nothing yet, at this time; hours and days are those of `zone`.
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        let today = local(now, &zone).map_or(Date::default(), |time| time.date());
        Self {
            now,
            zone,
            today,
            totals: InventoryTotals::default(),
            sizes: Default::default(),
            future: (0, 0),
            ages: Default::default(),
            activity: Default::default(),
            days: BTreeMap::new(),
            extensions: BTreeMap::new(),
            largest: Top::new(EXTREMES),
            deepest: Top::new(EXTREMES),
            ahead: Examples::default(),
            setuid: Examples::default(),
            world_writable: Examples::default(),
        }
    }

    /// Counts an entry below the root; `further` where an earlier one is the same file.
    pub fn add(&mut self, entry: &Entry, further: bool) {
        let (path, kind) = (&entry.path, &entry.kind);
        let depth = path.components().count() as u64;
        let t = &mut self.totals;
        t.depth = t.depth.max(depth);
        t.longest_path = t.longest_path.max(path.as_bytes().len() as u64);
        match kind {
            Kind::Directory => t.dirs += 1,
            Kind::File => t.files += 1,
            Kind::Symlink { .. } => t.symlinks += 1,
            _ => t.special += 1,
        }
        let bytes = if *kind == Kind::File { entry.evidence.size } else { 0 };
        self.deepest.offer(depth, || Extreme::of(entry, bytes));
        let mode = entry.attributes.mode;
        let is_link = matches!(kind, Kind::Symlink { .. });
        let shared = *kind == Kind::Directory && mode & 0o1000 != 0;
        if mode & 0o002 != 0 && !is_link && !shared && matches!(kind, Kind::File | Kind::Directory)
        {
            self.totals.world_writable += 1;
            self.world_writable.add(path);
        }
        if *kind != Kind::File {
            return;
        }
        // Without the right to run it, setgid is a sign of locking.
        if mode & 0o4000 != 0 || mode & 0o2010 == 0o2010 {
            self.totals.setuid += 1;
            self.setuid.add(path);
        }
        if further {
            self.totals.hard_links += 1;
            self.totals.hard_link_bytes = self.totals.hard_link_bytes.saturating_add(bytes);
            return;
        }
        self.file(entry, bytes);
    }

    /// Counts what a file holds, once for all its names.
    fn file(&mut self, entry: &Entry, bytes: u64) {
        let t = &mut self.totals;
        t.bytes = t.bytes.saturating_add(bytes);
        t.empty_files += u64::from(bytes == 0);
        let allocated = entry.evidence.allocated;
        t.allocated = t.allocated.saturating_add(allocated);
        // Small files may have their bytes beside the blocks.
        if allocated < bytes && bytes >= 4096 && (allocated > 0 || entry.evidence.inode != 0) {
            t.sparse_files += 1;
            t.hole_bytes = t.hole_bytes.saturating_add(bytes - allocated);
        }
        self.largest.offer(bytes, || Extreme::of(entry, bytes));
        let at = SIZES.partition_point(|&from| from <= bytes) - 1;
        add(&mut self.sizes[at], bytes);
        let name = entry.path.name();
        let extension = extension(name).unwrap_or_default();
        match self.extensions.get_mut(&extension) {
            Some(sum) => add(sum, bytes),
            None => {
                let full = self.extensions.len() >= EXTENSIONS;
                let key = if full { Vec::new() } else { extension };
                add(self.extensions.entry(key).or_default(), bytes);
            }
        }
        self.time(entry, bytes);
    }

    fn time(&mut self, entry: &Entry, bytes: u64) {
        let time = entry.attributes.mtime;
        let ago = self.now.seconds.saturating_sub(time.seconds);
        if ago < -SKEW {
            self.totals.future += 1;
            self.ahead.add(&entry.path);
            add(&mut self.future, bytes);
            return;
        }
        let ago = ago.max(0).unsigned_abs();
        add(&mut self.ages[AGES.partition_point(|&(from, _)| from <= ago) - 1], bytes);
        let Some(local) = local(time, &self.zone) else { return };
        let weekday = local.weekday().to_monday_zero_offset() as usize;
        add(&mut self.activity[weekday][local.hour() as usize], bytes);
        let days = (self.today - local.date()).get_days();
        if (0..DAYS).contains(&days) {
            add(self.days.entry(local.date()).or_default(), bytes);
        }
    }

    /// Files by size.
    pub fn sizes(&self) -> Vec<InventorySize> {
        let one = |(at, &(files, bytes)): (usize, &Sum)| InventorySize {
            from: SIZES[at],
            to: SIZES.get(at + 1).copied(),
            files,
            bytes,
        };
        self.sizes.iter().enumerate().map(one).collect()
    }

    /// Files by age, those of the future first.
    pub fn ages(&self) -> Vec<InventoryAge> {
        let (files, bytes) = self.future;
        let future =
            InventoryAge { label: Text::from("in the future"), files, bytes, ..Default::default() };
        let one = |(at, &(files, bytes)): (usize, &Sum)| InventoryAge {
            label: Text::from(AGES[at].1),
            from: Some(AGES[at].0),
            to: AGES.get(at + 1).map(|(from, _)| *from),
            files,
            bytes,
        };
        [future].into_iter().chain(self.ages.iter().enumerate().map(one)).collect()
    }

    /// Last changes by day of the week and hour, those without any left out.
    pub fn activity(&self) -> Vec<InventoryActivity> {
        let mut list = Vec::new();
        for (weekday, hours) in (1..).zip(&self.activity) {
            for (hour, &(files, bytes)) in (0..).zip(hours) {
                if files > 0 {
                    list.push(InventoryActivity { weekday, hour, files, bytes });
                }
            }
        }
        list
    }

    /// Last changes by day.
    pub fn days(&self) -> Vec<InventoryDay> {
        let one = |(date, &(files, bytes)): (&Date, &Sum)| InventoryDay {
            date: Text::from(date.to_string()),
            files,
            bytes,
        };
        self.days.iter().map(one).collect()
    }

    /// Types by names, most bytes first.
    pub fn types(&self) -> Vec<InventoryType> {
        let one = |(extension, &(files, bytes)): (&Vec<u8>, &Sum)| InventoryType {
            kind: Text::from_bytes(extension),
            label: match extension.is_empty() {
                true => Text::from("(no extension)"),
                false => Text::from(format!(".{}", Text::from_bytes(extension))),
            },
            class: Text::from("name"),
            files,
            bytes,
        };
        let mut list: Vec<_> = self.extensions.iter().map(one).collect();
        list.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.kind.cmp(&b.kind)));
        list
    }
}

/// What follows the last dot of a name, in lower case, where it may be an extension.
pub fn extension(name: &[u8]) -> Option<Vec<u8>> {
    let dot = name.iter().rposition(|&b| b == b'.').filter(|&dot| dot > 0)?;
    let extension = &name[dot + 1..];
    let well = (1..=LONGEST_EXTENSION).contains(&extension.len())
        && extension.iter().all(u8::is_ascii_alphanumeric);
    well.then(|| extension.to_ascii_lowercase())
}

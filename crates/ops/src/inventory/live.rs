//! Data that its owner may be writing: databases and virtual machines, by the names that they
//! give their files. Copied while they run, such files are worth nothing.

use std::collections::{BTreeMap, BTreeSet};

use drover_types::{Entry, Kind, RelativePath};

use super::EXAMPLES;

/// Databases and disks that are listed.
const LISTED: usize = 500;
/// Files of one directory that are remembered as disks.
const DISKS: usize = 64;

macro_rules! marks {
    ($($name:ident)*) => {
        #[derive(Clone, Copy)]
        #[repr(u32)]
        enum Mark { $($name),* }
    };
}

marks! {
    PgVersion PgBase PostmasterPid
    Ibdata MysqlSystem PidFile
    MasterMdf Mdf
    OracleControl OracleData OracleLock
    CacheDat IrisDat CacheLock IrisLock
    WiredTiger MongoLock
    FirebirdData
}

/// What the names in one directory tell.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    seen: u32,
    disks: Vec<(Box<[u8]>, &'static str)>,
    /// Beyond those that are remembered.
    more_disks: u64,
    /// Names that say of another file that it is in use: `x.vmdk.lck`, `x.db-wal`.
    locks: BTreeSet<Box<[u8]>>,
    machine_runs: bool,
}

impl Marks {
    fn set(&mut self, mark: Mark) {
        self.seen |= 1 << mark as u32;
    }

    fn has(&self, mark: Mark) -> bool {
        self.seen & (1 << mark as u32) != 0
    }

    /// Takes an entry of the directory.
    pub fn add(&mut self, entry: &Entry) {
        let name = entry.path.name();
        if entry.kind == Kind::Directory {
            match name {
                b"base" => self.set(Mark::PgBase),
                b"mysql" => self.set(Mark::MysqlSystem),
                // VMware's locks are directories.
                _ if name.len() > 4 && name[name.len() - 4..].eq_ignore_ascii_case(b".lck") => {
                    self.locks.insert(name[..name.len() - 4].into());
                }
                _ => {}
            }
            return;
        }
        // A short name without a dot and without a capital is none of these.
        let lower = name.to_ascii_lowercase();
        let extension =
            lower.iter().rposition(|&b| b == b'.').map_or(&b""[..], |dot| &lower[dot + 1..]);
        match (lower.as_slice(), extension) {
            (b"pg_version", _) => self.set(Mark::PgVersion),
            (b"postmaster.pid", _) => self.set(Mark::PostmasterPid),
            (b"ibdata1", _) => self.set(Mark::Ibdata),
            (b"master.mdf", _) => self.set(Mark::MasterMdf),
            (b"cache.dat", _) => self.set(Mark::CacheDat),
            (b"iris.dat", _) => self.set(Mark::IrisDat),
            (b"cache.lck", _) => self.set(Mark::CacheLock),
            (b"iris.lck", _) => self.set(Mark::IrisLock),
            (b"wiredtiger", _) => self.set(Mark::WiredTiger),
            // MongoDB empties it when it ends.
            (b"mongod.lock", _) if entry.evidence.size > 0 => self.set(Mark::MongoLock),
            (_, b"pid") => self.set(Mark::PidFile),
            (_, b"mdf") => self.set(Mark::Mdf),
            (_, b"fdb") => self.set(Mark::FirebirdData),
            (_, b"ctl") if lower.starts_with(b"control") => self.set(Mark::OracleControl),
            (_, b"dbf") if lower.starts_with(b"system0") => self.set(Mark::OracleData),
            (name, _) if name.starts_with(b"lk") && name.len() > 2 && !name.contains(&b'.') => {
                self.set(Mark::OracleLock);
            }
            (_, b"vmdk") => self.disk(name, "VMware disk"),
            (_, b"vhd") => self.disk(name, "Hyper-V disk"),
            (_, b"vhdx" | b"avhdx") => self.disk(name, "Hyper-V disk"),
            (_, b"vdi") => self.disk(name, "VirtualBox disk"),
            (_, b"qcow2") => self.disk(name, "QEMU disk"),
            (_, b"vmem" | b"vmrs") => self.machine_runs = true,
            _ => {}
        }
    }

    fn disk(&mut self, name: &[u8], kind: &'static str) {
        match self.disks.len() < DISKS {
            true => self.disks.push((name.into(), kind)),
            false => self.more_disks += 1,
        }
    }

    /// The databases whose data this is: what, and a sign that it runs.
    fn databases(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let sign = |mark: Mark, what| self.has(mark).then_some(what);
        let mut list = Vec::new();
        if self.has(Mark::PgVersion) && self.has(Mark::PgBase) {
            list.push(("PostgreSQL", sign(Mark::PostmasterPid, "postmaster.pid is there")));
        }
        if self.has(Mark::Ibdata) || self.has(Mark::MysqlSystem) && self.has(Mark::PidFile) {
            list.push((
                "MySQL or MariaDB",
                sign(Mark::PidFile, "a file of a process number is there"),
            ));
        }
        if self.has(Mark::MasterMdf) || self.has(Mark::Mdf) {
            list.push(("SQL Server", None));
        }
        if self.has(Mark::OracleControl) || self.has(Mark::OracleData) {
            list.push(("Oracle", sign(Mark::OracleLock, "an instance's lock is there")));
        }
        if self.has(Mark::CacheDat) {
            list.push(("InterSystems Caché", sign(Mark::CacheLock, "cache.lck is there")));
        }
        if self.has(Mark::IrisDat) {
            list.push(("InterSystems IRIS", sign(Mark::IrisLock, "iris.lck is there")));
        }
        if self.has(Mark::WiredTiger) {
            list.push(("MongoDB", sign(Mark::MongoLock, "mongod.lock holds a process number")));
        }
        if self.has(Mark::FirebirdData) {
            list.push(("Firebird", None));
        }
        list
    }
}

/// Whether something runs, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A process holds it open for writing.
    Running,
    /// A lock is there, which may be left over.
    MaybeRunning,
    /// Nothing says so.
    NoSign,
}

impl State {
    /// The words that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::MaybeRunning => "maybe running",
            State::NoSign => "no sign of running",
        }
    }
}

/// A database's data or a virtual machine's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The directory, or the disk.
    pub path: RelativePath,
    /// What it is.
    pub kind: &'static str,
    /// It is a disk.
    pub disk: bool,
    /// Whether it runs.
    pub state: State,
    /// What that is known from.
    pub evidence: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Live {
    /// The first of them, in the order of paths once finished.
    pub found: Vec<Found>,
    /// How many more there are: databases and disks.
    pub more: u64,
}

impl Live {
    /// Takes what the names in a directory tell.
    pub fn add(&mut self, directory: &RelativePath, marks: Marks) {
        if marks.seen == 0 && marks.disks.is_empty() {
            return;
        }
        for (kind, sign) in marks.databases() {
            self.push(directory.clone(), kind, false, sign);
        }
        for (name, kind) in &marks.disks {
            let locked = marks.locks.contains(name);
            let sign = match (locked, marks.machine_runs) {
                (true, _) => Some("its lock is there"),
                (_, true) => Some("a machine's memory is beside it"),
                _ => None,
            };
            if let Ok(path) = directory.join(name) {
                self.push(path, kind, true, sign);
            }
        }
        self.more += marks.more_disks;
    }

    fn push(&mut self, path: RelativePath, kind: &'static str, disk: bool, sign: Option<&str>) {
        if self.found.len() >= LISTED {
            self.more += 1;
            return;
        }
        let (state, evidence) = match sign {
            Some(sign) => (State::MaybeRunning, sign.to_owned()),
            None => (State::NoSign, "the names of its files".to_owned()),
        };
        self.found.push(Found { path, kind, disk, state, evidence });
    }

    /// Adds what open files tell: path and name of the process that writes.
    pub fn finish(&mut self, open: &[(RelativePath, String)]) {
        for found in &mut self.found {
            let mut writers = BTreeMap::<&str, u64>::new();
            for (_, command) in open.iter().filter(|(path, _)| path.is_within(&found.path)) {
                *writers.entry(command).or_default() += 1;
            }
            if !writers.is_empty() {
                found.state = State::Running;
                let names: Vec<_> = writers.keys().take(EXAMPLES).copied().collect();
                found.evidence = format!("open for writing by {}", names.join(", "));
            }
        }
        self.found.sort_by(|a, b| a.path.cmp(&b.path).then(a.kind.cmp(b.kind)));
    }
}

#[cfg(test)]
mod tests {
    use drover_types::{Attributes, Evidence};

    use super::*;

    fn entry(path: &str, kind: Kind, size: u64) -> Entry {
        Entry {
            path: RelativePath::new(path.as_bytes()).unwrap(),
            kind,
            attributes: Attributes::default(),
            content: None,
            hard_link: None,
            evidence: Evidence { size, ..Evidence::default() },
            stale: false,
        }
    }

    fn found(files: &[&str], directories: &[&str]) -> Vec<(String, State)> {
        let mut marks = Marks::default();
        files.iter().for_each(|name| marks.add(&entry(name, Kind::File, 1)));
        directories.iter().for_each(|name| marks.add(&entry(name, Kind::Directory, 0)));
        let mut live = Live::default();
        live.add(&RelativePath::root(), marks);
        live.finish(&[]);
        live.found.into_iter().map(|found| (found.kind.to_owned(), found.state)).collect()
    }

    #[test]
    fn data_directories_by_their_names() {
        use State::*;
        let one = |kind: &str, state| vec![(kind.to_owned(), state)];
        assert_eq!(
            found(&["PG_VERSION", "postmaster.pid"], &["base"]),
            one("PostgreSQL", MaybeRunning)
        );
        assert_eq!(found(&["PG_VERSION"], &["base"]), one("PostgreSQL", NoSign));
        assert_eq!(found(&["PG_VERSION"], &[]), [], "one of a database in it has that too");
        assert_eq!(found(&["ibdata1"], &["mysql"]), one("MySQL or MariaDB", NoSign));
        assert_eq!(found(&["Clinic.MDF", "clinic_log.ldf"], &[]), one("SQL Server", NoSign));
        assert_eq!(found(&["control01.ctl", "system01.dbf"], &[]), one("Oracle", NoSign));
        assert_eq!(
            found(&["CACHE.DAT", "cache.lck"], &[]),
            one("InterSystems Caché", MaybeRunning)
        );
        assert_eq!(found(&["disk.vmdk"], &["disk.vmdk.lck"]), one("VMware disk", MaybeRunning));
        assert_eq!(found(&["a.vhdx"], &[]), one("Hyper-V disk", NoSign));
        assert_eq!(found(&["a.txt", "mysql", "base"], &["x"]), []);
    }

    #[test]
    fn a_writer_is_better_evidence_than_a_lock() {
        let mut marks = Marks::default();
        marks.add(&entry("PG_VERSION", Kind::File, 3));
        marks.add(&entry("base", Kind::Directory, 0));
        let mut live = Live::default();
        live.add(&RelativePath::new(*b"data").unwrap(), marks);
        let path = RelativePath::new(*b"data/base/1/2").unwrap();
        let elsewhere = RelativePath::new(*b"database/1").unwrap();
        live.finish(&[(path, "postgres".into()), (elsewhere, "other".into())]);
        assert_eq!(live.found[0].state, State::Running);
        assert_eq!(live.found[0].evidence, "open for writing by postgres");
    }
}

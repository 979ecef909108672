//! What `stat` says, in the project's types.

use std::os::fd::AsFd;

use drover_types::{Attributes, Evidence, Kind, Timestamp};
use rustix::fs::{FileType, fstatfs, major, minor};

use super::owners::Owners;
use crate::Stat;

/// How finely a file system keeps time: how long after a change another one may leave the same
/// times behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granularity {
    /// The kernel's own clock, which ticks at least every 10 ms.
    Fine,
    /// A network or foreign file system: times may have 2 s (FAT, old NFS servers), and come from
    /// another machine's clock; `ctime` may be made up, so that `mtime` counts as well.
    Coarse,
}

impl Granularity {
    /// What `statfs` says of the file system that `fd` is on. Where it says nothing, the worst.
    pub(super) fn of(fd: impl AsFd) -> Self {
        // The low 32 bits are what the magic numbers are defined as.
        match fstatfs(fd).map(|stat| stat.f_type as u32) {
            Ok(
                0x0000_6969 // NFS
                | 0xFF53_4D42 // CIFS
                | 0xFE53_4D42 // SMB 2
                | 0x0000_517B // SMB
                | 0x6573_5546 // FUSE
                | 0x0102_1997 // 9P
                | 0x00C3_6400 // Ceph
                | 0x5346_414F // AFS
                | 0x6B41_4653 // kAFS
                | 0x7375_7245 // Coda
                | 0x0000_564C // NCP
                | 0x0000_4D44 // FAT
                | 0x2011_BAB0 // exFAT
                | 0x786F_4256 // VirtualBox shared folder
                | 0xBACB_ACBC, // VMware shared folder
            )
            | Err(_) => Granularity::Coarse,
            Ok(_) => Granularity::Fine,
        }
    }

    fn nanos(self) -> i128 {
        match self {
            Granularity::Fine => 10_000_000,
            Granularity::Coarse => 2_000_000_000,
        }
    }

    /// Whether something scanned at `scanned` (taken before the scan) may change once more and
    /// keep its times: the last change lies within one step before the scan, or after it.
    ///
    /// Where `ctime` can be trusted, `mtime` does not count: it cannot change without `ctime`,
    /// and devices with a wrong clock leave files from the future that would be read again in
    /// every pass.
    ///
    /// A `ctime` of a whole second comes, but for one in a million, from a file system that has
    /// no finer times (ext3, ext4 with small inodes), whatever it is called.
    pub(super) fn is_racy(self, ctime: Timestamp, mtime: Timestamp, scanned: Timestamp) -> bool {
        let granularity = if ctime.nanos == 0 { Granularity::Coarse } else { self };
        let recent = |time: Timestamp| time.as_nanos() > scanned.as_nanos() - granularity.nanos();
        recent(ctime) || (granularity == Granularity::Coarse && recent(mtime))
    }
}

/// What sort of thing it is; `None` for a type that this system does not know. The target of a
/// symbolic link is empty.
pub(super) fn kind_of(raw: &rustix::fs::Stat) -> Option<Kind> {
    let device = raw.st_rdev;
    Some(match FileType::from_raw_mode(raw.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Symlink { target: Box::default() },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => {
            Kind::CharDevice { major: major(device), minor: minor(device) }
        }
        FileType::BlockDevice => Kind::BlockDevice { major: major(device), minor: minor(device) },
        FileType::Unknown => return None,
    })
}

/// Number of the file system's device.
pub(super) fn device(raw: &rustix::fs::Stat) -> u64 {
    raw.st_dev
}

/// `None` where the type is unknown.
pub(super) fn convert(
    raw: &rustix::fs::Stat,
    scanned: Timestamp,
    granularity: Granularity,
    owners: &Owners,
) -> Option<Stat> {
    let time = |seconds: i64, nanos: u64| {
        // A damaged file system can hold more than a second's worth.
        Timestamp { seconds, nanos: nanos.min(999_999_999) as u32 }
    };
    let mtime = time(raw.st_mtime, raw.st_mtime_nsec);
    let ctime = time(raw.st_ctime, raw.st_ctime_nsec);
    Some(Stat {
        kind: kind_of(raw)?,
        attributes: Attributes {
            mode: raw.st_mode & 0o7777,
            uid: raw.st_uid,
            gid: raw.st_gid,
            user: owners.user(raw.st_uid),
            group: owners.group(raw.st_gid),
            mtime,
            flags: 0,
            xattrs: Vec::new(),
        },
        evidence: Evidence {
            device: device(raw),
            inode: raw.st_ino,
            links: u32::try_from(raw.st_nlink).unwrap_or(u32::MAX),
            size: u64::try_from(raw.st_size).unwrap_or(0),
            allocated: u64::try_from(raw.st_blocks).unwrap_or(0).saturating_mul(512),
            ctime: Some(ctime),
            racy: granularity.is_racy(ctime, mtime, scanned),
        },
    })
}

//! Disks, RAID, encryption, room.

use std::collections::HashMap;

use crate::{Absent, Facts, Outcome, ProbeId as P, Severity, Spec, known, words::pairs};

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// `sda`, or the name of a partition or a mapping.
    pub name: String,
    /// The kernel's name of it.
    pub kernel_name: String,
    /// The device it lies on.
    pub parent: String,
    /// `disk`, `part`, `crypt`, `lvm`, `raid1`, ….
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// What it calls itself.
    pub model: String,
    /// What is on it.
    pub file_system: String,
    /// Where it is mounted.
    pub mount: String,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Device, or server and export.
    pub device: String,
    /// Where.
    pub at: String,
    /// File system.
    pub file_system: String,
    /// Bytes, and how many are free; of local ones.
    pub size: Option<(u64, u64)>,
    /// Whether it lies on an encrypted device, where that is known.
    pub encrypted: Option<bool>,
}

/// Block devices, as `lsblk` has them.
pub fn disks(facts: &Facts<'_>) -> Result<Vec<Disk>, String> {
    let text = facts.text(P::Lsblk)?;
    let disk = |line: &str| {
        let pairs: HashMap<_, _> = pairs(line).into_iter().collect();
        let text = |key: &str| pairs.get(key).copied().unwrap_or_default().to_owned();
        Disk {
            name: text("NAME"),
            kernel_name: text("KNAME"),
            parent: text("PKNAME"),
            kind: text("TYPE"),
            size: text("SIZE").parse().unwrap_or(0),
            model: text("MODEL").trim().to_owned(),
            file_system: text("FSTYPE"),
            mount: text("MOUNTPOINT"),
        }
    };
    Ok(text.lines().map(disk).filter(|disk| !disk.name.is_empty() && disk.size > 0).collect())
}

/// What is mounted and holds data: no pseudo file systems.
pub fn mounts(facts: &Facts<'_>) -> Result<Vec<Mount>, String> {
    let text = facts.text(P::Mounts)?;
    let disks = disks(facts).unwrap_or_default();
    let room = room(facts, P::Df).unwrap_or_default();
    let mut mounts = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(device), Some(at), Some(kind)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let remote = is_remote(kind);
        if !remote && !device.starts_with('/') && kind != "zfs" {
            continue;
        }
        let at = unescaped(at);
        let space = room.iter().find(|room| room.at == at);
        mounts.push(Mount {
            encrypted: if remote { None } else { encrypted(device, &disks) },
            size: space.map(|room| (room.size, room.free)),
            device: unescaped(device),
            at,
            file_system: kind.to_owned(),
        });
    }
    Ok(mounts)
}

pub(crate) fn is_remote(kind: &str) -> bool {
    matches!(
        kind,
        "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "fuse.sshfs" | "ncpfs" | "afs" | "ceph"
    )
}

/// Undoes the octal escapes of `/proc/mounts`.
fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (escape, char) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escape, char);
    }
    out
}

/// Whether a device, or one that it lies on, is a mapping of dm-crypt; `None` where its way to a disk
/// is not known.
fn encrypted(device: &str, disks: &[Disk]) -> Option<bool> {
    let name = device.rsplit('/').next()?;
    let mut at: Vec<&Disk> =
        disks.iter().filter(|d| d.name == name || d.kernel_name == name).collect();
    if at.is_empty() {
        return None;
    }
    // A mirror has several parents; a chain is never longer than this.
    for _ in 0..16 {
        if at.iter().any(|disk| disk.kind == "crypt") {
            return Some(true);
        }
        let parents: Vec<_> = at.iter().map(|disk| disk.parent.as_str()).collect();
        at = disks
            .iter()
            .filter(|d| !d.kernel_name.is_empty() && parents.contains(&d.kernel_name.as_str()))
            .collect();
    }
    Some(false)
}

struct Room {
    at: String,
    size: u64,
    free: u64,
}

/// Of `df -P`: in bytes, or in inodes.
fn room(facts: &Facts<'_>, id: P) -> Result<Vec<Room>, String> {
    // A mount that cannot be asked ends it with 1, after all the others.
    let content = facts.answers.one(id).map_err(|absent| facts.why(id, &absent))?;
    let unit = if id == P::Df { 1024 } else { 1 };
    let text = content.text();
    let row = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [device, size, _, free, _, at @ ..] = fields.as_slice() else { return None };
        let pseudo = ["tmpfs", "devtmpfs", "udev", "none", "overlay", "efivarfs"].contains(device);
        let (size, free) = (size.parse::<u64>().ok()?, free.parse::<u64>().ok()?);
        (!pseudo && !at.is_empty()).then(|| Room {
            at: at.join(" "),
            size: size.saturating_mul(unit),
            free: free.saturating_mul(unit),
        })
    };
    Ok(text.lines().skip(1).filter_map(row).collect())
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "disk-space",
        title: "File systems have room",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Make room, or watch it closely until the cutover: a full disk stops who writes there.",
        reference: "NIST SP 800-53 SC-5(2), AU-4",
        asks: &[P::Df, P::DfInodes],
        run: disk_space,
    },
    Spec {
        id: "raid",
        title: "RAID arrays are whole",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Replace the failed disk before reading everything for the first pass: reading is what \
                 breaks the next one.",
        reference: "NIST SP 800-53 SI-13, CP-10; 45 CFR 164.308(a)(7)(ii)(A)",
        asks: &[P::Mdstat],
        run: raid,
    },
    Spec {
        id: "disk-health",
        title: "Disks report themselves healthy",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Copy what is on this disk first, and replace it.",
        reference: "NIST SP 800-53 SI-13",
        asks: &[P::Lsblk, P::Smart],
        run: disk_health,
    },
    Spec {
        id: "encryption-at-rest",
        title: "Data lies on encrypted devices",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "What cannot be encrypted any more is to be wiped with evidence when the server is \
                 retired (NIST SP 800-88); until then guard the room.",
        reference: "NIST SP 800-53 SC-28; 45 CFR 164.312(a)(2)(iv), 164.310(d)(2)(i)",
        asks: &[P::Mounts, P::Swaps, P::Lsblk],
        run: encryption,
    },
];

fn disk_space(facts: &Facts<'_>) -> Outcome {
    let spaces = known!(room(facts, P::Df));
    if spaces.is_empty() {
        return Outcome::CouldNotCheck("df names no file system".to_owned());
    }
    let mut low = Vec::new();
    let mut severity = Severity::Medium;
    for space in spaces.iter().filter(|space| space.size > 0) {
        let percent = space.free as f64 * 100.0 / space.size as f64;
        if percent < 10.0 {
            low.push(format!("{} ({percent:.0} % free)", space.at));
        }
        if percent < 2.0 {
            severity = Severity::High;
        }
    }
    for space in room(facts, P::DfInodes).unwrap_or_default().iter().filter(|space| space.size > 0)
    {
        if (space.free as f64) < space.size as f64 * 0.05 {
            low.push(format!("{} (inodes)", space.at));
        }
    }
    low.sort();
    low.dedup();
    Outcome::of(
        low,
        format!("{} file systems, each with 10 % free or more", spaces.len()),
        "are low",
    )
    .at(severity)
}

fn raid(facts: &Facts<'_>) -> Outcome {
    let text = match facts.text(P::Mdstat) {
        Ok(text) => text,
        Err(_) if facts.is_missing(P::Mdstat) && facts.has_proc() => {
            return Outcome::Pass("there is no software RAID".to_owned());
        }
        Err(why) => return Outcome::CouldNotCheck(why),
    };
    let mut arrays = Vec::new();
    let mut broken = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ")
            && name.starts_with("md")
        {
            arrays.push(name.trim().to_owned());
            if rest.contains("(F)") || rest.starts_with("inactive") {
                broken.push(name.trim().to_owned());
            }
        }
        // `[2/1] [U_]`
        let degraded = line.rsplit_once('[').is_some_and(|(_, marks)| {
            let marks = marks.trim_end().trim_end_matches(']');
            marks.contains('_') && marks.chars().all(|c| c == 'U' || c == '_')
        });
        if degraded && let Some(name) = arrays.last() {
            broken.push(name.clone());
        }
    }
    broken.dedup();
    let none = match arrays.len() {
        0 => "there is no software RAID; a controller's own is not seen".to_owned(),
        n => format!("{n} arrays, each whole"),
    };
    Outcome::of(broken, none, "degraded or failed arrays")
}

fn disk_health(facts: &Facts<'_>) -> Outcome {
    let answers = facts.answers.all(P::Smart);
    if answers.is_empty() {
        return match disks(facts) {
            Ok(_) => Outcome::Pass("there are no disks that could be asked".to_owned()),
            Err(why) => Outcome::CouldNotCheck(why),
        };
    }
    let mut failing = Vec::new();
    let (mut healthy, mut unknown) = (0, Vec::new());
    for (disk, answer) in answers {
        let content = match answer {
            Ok(content) => content,
            Err(Absent::Missing) => {
                return Outcome::CouldNotCheck(
                    "smartctl is not there (package smartmontools)".into(),
                );
            }
            Err(absent) => {
                unknown.push(format!("smartctl {disk} {}", absent.why()).replace("  ", " "));
                continue;
            }
        };
        let text = content.text();
        let health = text.lines().find_map(|line| {
            let line = line.trim();
            line.strip_prefix("SMART overall-health self-assessment test result:")
                .or_else(|| line.strip_prefix("SMART Health Status:"))
        });
        let bad_sectors: u64 = text
            .lines()
            .filter(|l| {
                ["Reallocated_Sector_Ct", "Current_Pending_Sector", "Offline_Uncorrectable"]
                    .iter()
                    .any(|name| l.contains(name))
            })
            .filter_map(|line| line.split_ascii_whitespace().nth(9)?.parse::<u64>().ok())
            .fold(0, u64::saturating_add);
        match health.map(str::trim) {
            Some("PASSED" | "OK") if bad_sectors == 0 => healthy += 1,
            Some("PASSED" | "OK") => failing.push(format!("{disk} ({bad_sectors} bad sectors)")),
            Some(said) => failing.push(format!("{disk} ({said})")),
            None => unknown.push(format!("{disk} does not say")),
        }
    }
    match (failing.is_empty(), unknown.is_empty()) {
        (false, _) => Outcome::of(failing, "", "disks fail or have bad sectors"),
        (true, false) => Outcome::CouldNotCheck(unknown.join("; ")),
        (true, true) => Outcome::Pass(format!("{healthy} disks say that they are healthy")),
    }
}

fn encryption(facts: &Facts<'_>) -> Outcome {
    let mounts = known!(mounts(facts));
    let disks = known!(disks(facts));
    let mut clear: Vec<String> = Vec::new();
    let mut unknown = Vec::new();
    let mut closed = 0;
    // The boot loader reads /boot: it is seldom encrypted and holds nobody's data.
    let data = mounts.iter().filter(|mount| {
        !is_remote(&mount.file_system)
            && !mount.at.starts_with("/boot")
            && !matches!(mount.file_system.as_str(), "squashfs" | "iso9660" | "erofs")
    });
    for mount in data {
        match mount.encrypted {
            Some(true) => closed += 1,
            Some(false) => clear.push(mount.at.clone()),
            None => unknown.push(mount.at.clone()),
        }
    }
    for line in facts.text(P::Swaps).unwrap_or_default().lines().skip(1) {
        let Some(device) = line.split_ascii_whitespace().next() else { continue };
        if encrypted(device, &disks) == Some(false) {
            clear.push(format!("swap on {device}"));
        }
    }
    clear.sort();
    clear.dedup();
    match (clear.is_empty(), unknown.is_empty()) {
        (true, false) => Outcome::CouldNotCheck(format!(
            "what these lie on is not known to lsblk: {}",
            unknown.join(", ")
        )),
        _ => Outcome::of(clear, format!("{closed} mounts, each on dm-crypt"), "are not encrypted"),
    }
}

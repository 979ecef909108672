//! The operating system, its kernel, and what waits to be installed.

use drover_types::Timestamp;
use jiff::{civil::Date, tz::TimeZone};

use crate::{
    Facts, Outcome, ProbeId as P, Severity, Spec, known, support,
    words::{assigned, day, settings},
};

/// What the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Its name.
    pub name: String,
    /// As people say it: `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// As `/etc/os-release` has it: `debian`.
    pub family: String,
    /// `12`.
    pub version: String,
    /// The running kernel.
    pub kernel: String,
    /// Seconds since it was started.
    pub uptime: Option<u64>,
    /// Processors.
    pub processors: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The last day of general support, where it is known.
    pub supported_until: String,
}

/// What is known of the server; empty where nothing is.
pub fn system(facts: &Facts<'_>) -> System {
    let line = |id| facts.text(id).map(|text| text.trim().to_owned()).unwrap_or_default();
    let mut system = System {
        name: line(P::HostName),
        kernel: kernel(facts).unwrap_or_default(),
        uptime: uptime(facts).ok(),
        processors: facts.text(P::CpuInfo).ok().and_then(|text| {
            let count = text.lines().filter(|line| line.starts_with("processor")).count();
            (count > 0).then_some(count as u64)
        }),
        memory: facts.text(P::MemInfo).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
        }),
        ..System::default()
    };
    if let Ok(os) = os(facts) {
        let support = support::of(&os.family, &os.version);
        system.supported_until = support.map(|s| s.until.to_string()).unwrap_or_default();
        (system.os, system.family, system.version) = (os.name, os.family, os.version);
    }
    system
}

struct Os {
    name: String,
    family: String,
    version: String,
}

fn os(facts: &Facts<'_>) -> Result<Os, String> {
    if let Ok(text) = facts.text(P::OsRelease)
        && let Some(family) = assigned(&text, "ID")
    {
        let version = assigned(&text, "VERSION_ID").unwrap_or_default();
        let name = assigned(&text, "PRETTY_NAME").unwrap_or(family);
        // CentOS Linux 8 and CentOS Stream 8 have the same ID and number.
        let stream = family == "centos" && name.contains("Stream");
        let version = if stream { format!("{version}-stream") } else { version.to_owned() };
        return Ok(Os { name: name.to_owned(), family: family.to_owned(), version });
    }
    for id in [P::RedhatRelease, P::SuseRelease] {
        let Ok(text) = facts.text(id) else { continue };
        if let Some(os) = release_line(text.lines().next().unwrap_or_default()) {
            return Ok(os);
        }
    }
    if let Ok(text) = facts.text(P::DebianVersion) {
        let version = text.trim().split('.').next().unwrap_or_default().to_owned();
        return Ok(Os {
            name: format!("Debian {}", text.trim()),
            family: "debian".into(),
            version,
        });
    }
    Err(facts.text(P::OsRelease).err().unwrap_or_else(|| "/etc/os-release has no ID".to_owned()))
}

/// Of `CentOS release 6.10 (Final)`.
fn release_line(line: &str) -> Option<Os> {
    const FAMILIES: [(&str, &str); 5] = [
        ("Red Hat Enterprise", "rhel"),
        ("CentOS", "centos"),
        ("Oracle", "ol"),
        ("Rocky", "rocky"),
        ("SUSE Linux Enterprise Server", "sles"),
    ];
    let (_, family) = FAMILIES.iter().find(|(start, _)| line.starts_with(start))?;
    let version = line.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(Os { name: line.to_owned(), family: (*family).to_owned(), version: version.to_owned() })
}

fn kernel(facts: &Facts<'_>) -> Result<String, String> {
    match facts.text(P::KernelRelease) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(why) => match facts.text(P::Uname) {
            Ok(text) => text.split(' ').nth(1).map(str::to_owned).ok_or(why),
            Err(_) => Err(why),
        },
    }
}

fn uptime(facts: &Facts<'_>) -> Result<u64, String> {
    let text = facts.text(P::Uptime)?;
    let seconds = text.split(['.', ' ']).next().and_then(|number| number.parse().ok());
    seconds.ok_or_else(|| "/proc/uptime holds no number".to_owned())
}

fn today(now: Timestamp) -> Date {
    let time = jiff::Timestamp::from_second(now.seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time).date()
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "os-support",
        title: "The operating system is supported",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Move the data to a supported system first; until then keep this server away from \
                 other networks.",
        reference: "NIST SP 800-53 SA-22, SI-2; 45 CFR 164.308(a)(5)(ii)(B)",
        asks: &[P::OsRelease, P::RedhatRelease, P::SuseRelease, P::DebianVersion],
        run: os_support,
    },
    Spec {
        id: "kernel-support",
        title: "The kernel is mended by someone",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Install the distribution's current kernel, or a newer longterm branch.",
        reference: "NIST SP 800-53 SA-22, SI-2",
        asks: &[P::KernelRelease, P::Uname, P::OsRelease],
        run: kernel_support,
    },
    Spec {
        id: "packages-pending",
        title: "Packages are up to date",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Install the updates in a maintenance window before the move, those of security first.",
        reference: "NIST SP 800-53 SI-2; 45 CFR 164.308(a)(5)(ii)(B)",
        asks: &[P::AptPending, P::DnfPending, P::YumPending, P::ZypperPending],
        run: packages_pending,
    },
    Spec {
        id: "package-lists",
        title: "The package lists are recent",
        severity: Severity::Low,
        likelihood: "medium",
        impact: "medium",
        remedy: "Find out why the server does not fetch its package lists any more: it may have no way \
                 to its mirror, or the suite was archived.",
        reference: "NIST SP 800-53 SI-2",
        asks: &[P::AptLists],
        run: package_lists,
    },
    Spec {
        id: "reboot-pending",
        title: "What was installed is running",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Reboot in a maintenance window, and see that everything starts: better before the \
                 cutover than in its night.",
        reference: "NIST SP 800-53 SI-2, CP-10",
        asks: &[P::Run, P::Boot, P::KernelRelease, P::Uname, P::Uptime],
        run: reboot_pending,
    },
];

fn os_support(facts: &Facts<'_>) -> Outcome {
    let os = known!(os(facts));
    let Some(support) = support::of(&os.family, &os.version) else {
        return Outcome::CouldNotCheck(format!("{} is not in the table of support dates", os.name));
    };
    let today = today(facts.now);
    let name = os.name;
    match support.extended {
        _ if today <= support.until => {
            Outcome::Pass(format!("{name}: general support until {}", support.until))
        }
        Some((until, by)) if today <= until => Outcome::finding(
            format!("{name}: general support ended on {}; {by} lasts until {until}", support.until),
            Vec::new(),
        )
        .at(Severity::Low),
        extended => {
            let ended = extended.map_or(support.until, |(until, _)| until);
            Outcome::finding(format!("{name}: support ended on {ended}"), Vec::new())
        }
    }
}

fn kernel_support(facts: &Facts<'_>) -> Outcome {
    let kernel = known!(kernel(facts));
    let today = today(facts.now);
    // A distribution's own kernel is mended as long as the distribution is.
    const MARKS: [&str; 11] = [
        "-amd64", ".el", "-generic", "-default", ".amzn", "-arm64", "-686", "-virtual", "-aws",
        "-azure", "uek",
    ];
    let own = MARKS.iter().any(|mark| kernel.contains(mark));
    if own
        && let Ok(os) = os(facts)
        && let Some(support) = support::of(&os.family, &os.version)
    {
        let until = support.extended.map_or(support.until, |(until, _)| until.max(support.until));
        return match today <= until {
            true => Outcome::Pass(format!("{kernel}: mended with {} until {until}", os.name)),
            false => Outcome::finding(
                format!("{kernel}: {}, whose support ended on {until}, mends it no more", os.name),
                Vec::new(),
            ),
        };
    }
    match support::of("kernel", &kernel) {
        Some(support) if today <= support.until => Outcome::Pass(format!(
            "{kernel}: its branch of kernel.org is mended until {}",
            support.until
        )),
        Some(support) => Outcome::finding(
            format!("{kernel}: its branch of kernel.org ended on {}", support.until),
            Vec::new(),
        ),
        None => Outcome::CouldNotCheck(format!(
            "{kernel} is neither a known distribution's kernel nor of a longterm branch"
        )),
    }
}

/// Packages that wait; whether some are of security.
fn pending(facts: &Facts<'_>) -> Result<(Vec<String>, usize), String> {
    if let Ok(text) = facts.text(P::AptPending) {
        let waiting = text.lines().filter_map(|line| line.strip_prefix("Inst "));
        let names = waiting.clone().filter_map(|l| l.split(' ').next()).map(str::to_owned);
        let security = waiting.filter(|line| line.to_lowercase().contains("security")).count();
        return Ok((names.collect(), security));
    }
    for id in [P::DnfPending, P::YumPending] {
        let Ok(content) = facts.answers.one(id) else { continue };
        // 100 says that there are updates.
        if matches!(content.status, Some(0 | 100)) {
            let text = content.text();
            let lines = text.lines().take_while(|line| !line.starts_with("Obsoleting"));
            let rows = lines.filter(|line| line.split_ascii_whitespace().count() == 3);
            let names = rows.filter_map(|line| line.split('.').next()).map(str::to_owned);
            return Ok((names.collect(), 0));
        }
    }
    if let Ok(text) = facts.text(P::ZypperPending) {
        let rows = text.lines().filter(|line| line.starts_with("v "));
        let names = rows.filter_map(|line| line.split('|').nth(2)).map(|n| n.trim().to_owned());
        return Ok((names.collect(), 0));
    }
    // What is said of the program that is there.
    let ids = [P::AptPending, P::DnfPending, P::YumPending, P::ZypperPending];
    let there = ids.into_iter().find(|id| !facts.is_missing(*id));
    match there {
        Some(id) => Err(facts.text(id).err().unwrap_or_default()),
        None => Err("none of apt-get, dnf, yum and zypper is there".to_owned()),
    }
}

fn packages_pending(facts: &Facts<'_>) -> Outcome {
    let (waiting, security) = known!(pending(facts));
    let outcome = Outcome::of(waiting, "no updates wait, as far as the lists know", "updates wait");
    match outcome {
        Outcome::Finding { evidence, of, .. } if security > 0 => Outcome::Finding {
            evidence: format!("{evidence}; {security} of security"),
            of,
            severity: Some(Severity::High),
        },
        outcome => outcome,
    }
}

fn package_lists(facts: &Facts<'_>) -> Outcome {
    let listing = match facts.text(P::AptLists) {
        Ok(listing) => listing,
        Err(_) if facts.is_missing(P::AptLists) => {
            return Outcome::Pass("this system has no lists of APT".to_owned());
        }
        Err(why) => return Outcome::CouldNotCheck(why),
    };
    let newest = listed(&listing).filter(|l| l.name.contains("Release")).map(|l| l.modified).max();
    match newest {
        None => Outcome::finding("there are no package lists", vec!["/var/lib/apt/lists".into()]),
        Some(time) if facts.days_since(time) > 30 => Outcome::finding(
            format!("the newest list is of {}, {} days ago", day(time), facts.days_since(time)),
            vec!["/var/lib/apt/lists".into()],
        ),
        Some(time) => Outcome::Pass(format!("the newest list is of {}", day(time))),
    }
}

fn reboot_pending(facts: &Facts<'_>) -> Outcome {
    let run = facts.text(P::Run);
    if let Ok(run) = &run
        && listed(run).any(|l| l.name == "reboot-required")
    {
        return Outcome::finding(
            "the system asks for a reboot",
            vec!["/var/run/reboot-required".into()],
        );
    }
    let kernel = known!(kernel(facts));
    let boot = known!(facts.text(P::Boot));
    let numbers = |name: &str| -> Vec<u64> {
        let digits = name.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|part| part.parse().ok()).take(5).collect()
    };
    // Kernels of another flavour are not compared: they are not what would be started.
    let flavour = kernel.rsplit('-').next().unwrap_or_default();
    let installed =
        listed(&boot).filter_map(|l| l.name.strip_prefix("vmlinuz-").map(str::to_owned));
    let newest = installed
        .filter(|name| name.rsplit('-').next() == Some(flavour) && !name.contains("rescue"))
        .max_by_key(|name| numbers(name));
    match newest {
        Some(newest) if numbers(&newest) > numbers(&kernel) => Outcome::finding(
            format!("{kernel} is running, {newest} is installed"),
            vec![format!("/boot/vmlinuz-{newest}")],
        ),
        _ => {
            let days = uptime(facts).map(|seconds| format!(", up for {} days", seconds / 86_400));
            Outcome::Pass(format!("{kernel} is the newest installed{}", days.unwrap_or_default()))
        }
    }
}

/// One line of a listing.
pub(crate) struct ListedName {
    pub name: String,
    pub mode: u32,
    pub owner: u32,
    pub size: u64,
    pub modified: i64,
}

/// A listing is carried as text: kind, mode (octal), owner, size, time of change, name.
pub(crate) fn listed(text: &str) -> impl Iterator<Item = ListedName> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(6, ' ').skip(1);
        let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
        let mut number = || fields.next()?.parse::<i64>().ok();
        let (owner, size, modified) = (number()?, number()?, number()?);
        let name = fields.next()?.to_owned();
        Some(ListedName {
            name,
            mode,
            owner: u32::try_from(owner).ok()?,
            size: u64::try_from(size).ok()?,
            modified,
        })
    })
}

/// Settings of a file, first word and the rest.
pub(crate) fn keyed(text: &str) -> impl Iterator<Item = (&str, &str)> {
    settings(text).filter_map(|line| {
        let (key, value) = line.split_once([' ', '\t', '='])?;
        Some((key, value.trim_start_matches([' ', '\t', '=']).trim()))
    })
}

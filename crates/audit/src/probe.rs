//! Everything that a server is asked: the one table that is run, and that a customer is shown.

use std::{fmt, time::Duration};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A command, without a shell.
    Command(&'static [&'static str]),
    /// The same for each disk, whose device stands for `{}`.
    DiskCommand(&'static [&'static str]),
    /// A file.
    File(&'static str),
    /// The end of a file.
    Tail(&'static str),
    /// The names in a directory, with sizes and times.
    Listing(&'static str),
    /// Each file in a directory.
    FilesIn(&'static str),
    /// A file below the home of each account.
    HomeFile(&'static str),
}

impl Ask {
    /// Whether it is a command.
    pub fn is_command(self) -> bool {
        matches!(self, Self::Command(_) | Self::DiskCommand(_))
    }

    /// `run`, `read` or `list`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Command(_) | Self::DiskCommand(_) => "run",
            Self::File(_) | Self::Tail(_) | Self::FilesIn(_) | Self::HomeFile(_) => "read",
            Self::Listing(_) => "list",
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => f.write_str(&words.join(" ")),
            Self::DiskCommand(words) => f.write_str(&words.join(" ").replace("{}", "/dev/DISK")),
            Self::File(path) | Self::Listing(path) => f.write_str(path),
            Self::Tail(path) => write!(f, "{path} (its end)"),
            Self::FilesIn(path) => write!(f, "{path}/*"),
            Self::HomeFile(path) => write!(f, "HOME/{path} of each account"),
        }
    }
}

/// Whether it takes more than an account without rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Any account.
    Any,
    /// Any account sees a part of it; root sees all.
    Part,
    /// Root alone.
    Root,
}

impl Rights {
    /// As tables have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any account",
            Self::Part => "any account in part, root wholly",
            Self::Root => "root",
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its name.
    pub id: ProbeId,
    /// What is asked.
    pub ask: Ask,
    /// How long a command may run.
    pub timeout: Duration,
    /// The most bytes that are taken of each answer.
    pub most: usize,
    /// Who may ask.
    pub rights: Rights,
    /// What for.
    pub purpose: &'static str,
}

/// Of a file.
const FILE: usize = 256 << 10;
/// Of a command's output.
const OUTPUT: usize = 1 << 20;
/// Of tables that grow with connections.
const TABLE: usize = 8 << 20;
/// Of the end of a log.
const LOG: usize = 64 << 10;
/// For a command that only looks.
const SHORT: u64 = 20;
/// For one that works something out.
const LONG: u64 = 90;

macro_rules! probes {
    ($($id:ident $kind:ident($what:expr) $rights:ident $timeout:ident $most:ident $purpose:literal)*) => {
        /// The name of a question.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the table says what each is for")]
        pub enum ProbeId { $($id),* }

        /// All of them, in the order in which they are asked.
        pub const PROBES: &[Probe] = &[$(Probe {
            id: ProbeId::$id,
            ask: Ask::$kind($what),
            timeout: Duration::from_secs($timeout),
            most: $most,
            rights: Rights::$rights,
            purpose: $purpose,
        }),*];
    };
}

probes! {
    Uname Command(&["uname", "-srm"]) Any SHORT FILE "whether the account runs commands; the kernel"
    OsRelease File("/etc/os-release") Any SHORT FILE "the operating system"
    RedhatRelease File("/etc/redhat-release") Any SHORT FILE "the operating system of older servers"
    SuseRelease File("/etc/SuSE-release") Any SHORT FILE "the operating system of older servers"
    DebianVersion File("/etc/debian_version") Any SHORT FILE "the operating system of older servers"
    KernelRelease File("/proc/sys/kernel/osrelease") Any SHORT FILE "the running kernel"
    HostName File("/proc/sys/kernel/hostname") Any SHORT FILE "the server's name"
    Uptime File("/proc/uptime") Any SHORT FILE "how long it has been running"
    MemInfo File("/proc/meminfo") Any SHORT FILE "memory"
    CpuInfo File("/proc/cpuinfo") Any SHORT OUTPUT "processors"
    Boot Listing("/boot") Any SHORT FILE "whether a newer kernel waits for a reboot"
    Run Listing("/var/run") Any SHORT FILE "whether the system asks for a reboot"
    AptPending Command(&["apt-get", "-s", "-qq", "-o", "Debug::NoLocking=true", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Dir::Log::Planner=/dev/null", "-o", "Dir::Log::Solver=/dev/null", "dist-upgrade"]) Any LONG OUTPUT "packages pending (Debian, Ubuntu); simulated, from the lists that are there"
    AptLists Listing("/var/lib/apt/lists") Any SHORT FILE "how old the package lists are"
    DnfPending Command(&["dnf", "-q", "-C", "check-update"]) Any LONG OUTPUT "packages pending (RHEL and kin); from the cache"
    YumPending Command(&["yum", "-q", "-C", "check-update"]) Any LONG OUTPUT "packages pending (older RHEL and kin); from the cache"
    ZypperPending Command(&["zypper", "--non-interactive", "--no-refresh", "list-updates"]) Any LONG OUTPUT "packages pending (SLES); from the cache"
    Mounts File("/proc/mounts") Any SHORT OUTPUT "what is mounted, also from other servers"
    Swaps File("/proc/swaps") Any SHORT FILE "where memory is swapped to"
    Df Command(&["df", "-P", "-k", "-l"]) Any SHORT OUTPUT "free space"
    DfInodes Command(&["df", "-P", "-i", "-l"]) Any SHORT OUTPUT "free inodes"
    Lsblk Command(&["lsblk", "-P", "-b", "-o", "NAME,KNAME,PKNAME,TYPE,SIZE,ROTA,MODEL,FSTYPE,MOUNTPOINT"]) Any SHORT OUTPUT "disks, and what lies on encrypted ones"
    Mdstat File("/proc/mdstat") Any SHORT FILE "software RAID"
    Smart DiskCommand(&["smartctl", "-H", "-A", "-i", "{}"]) Root SHORT FILE "health of each disk"
    Units Command(&["systemctl", "list-units", "--all", "--type=service", "--no-legend", "--no-pager", "--plain"]) Any SHORT OUTPUT "services"
    UnitFiles Command(&["systemctl", "list-unit-files", "--type=service", "--no-legend", "--no-pager"]) Any SHORT OUTPUT "services that start with the server"
    Timers Command(&["systemctl", "show", "--no-pager", "-p", "Id", "-p", "Unit", "-p", "LastTriggerUSec", "*.timer"]) Any SHORT OUTPUT "timers and when they last ran"
    ServiceResults Command(&["systemctl", "show", "--no-pager", "-p", "Id", "-p", "Result", "-p", "ExecMainStatus", "-p", "ExecMainExitTimestamp", "*.service"]) Any SHORT OUTPUT "how services last ended: backups among them"
    Crontab File("/etc/crontab") Part SHORT FILE "scheduled jobs"
    CronD FilesIn("/etc/cron.d") Part SHORT FILE "scheduled jobs"
    CronDaily Listing("/etc/cron.daily") Part SHORT FILE "scheduled jobs"
    CronWeekly Listing("/etc/cron.weekly") Part SHORT FILE "scheduled jobs"
    CronHourly Listing("/etc/cron.hourly") Part SHORT FILE "scheduled jobs"
    CronTabs FilesIn("/var/spool/cron/crontabs") Root SHORT FILE "accounts' scheduled jobs (Debian and kin)"
    CronSpool FilesIn("/var/spool/cron") Root SHORT FILE "accounts' scheduled jobs (RHEL and kin)"
    Sockets Command(&["ss", "-lntup"]) Part SHORT OUTPUT "listening ports, with their processes"
    Tcp File("/proc/net/tcp") Any SHORT TABLE "listening ports and established peers; read again while peers are sampled"
    Tcp6 File("/proc/net/tcp6") Any SHORT TABLE "the same over IPv6"
    Udp File("/proc/net/udp") Any SHORT TABLE "listening ports"
    Udp6 File("/proc/net/udp6") Any SHORT TABLE "listening ports"
    Firewall Command(&["nft", "list", "ruleset"]) Root SHORT OUTPUT "whether packets are filtered"
    Iptables Command(&["iptables", "-S"]) Root SHORT OUTPUT "whether packets are filtered, on older servers"
    Testparm Command(&["testparm", "-s", "--suppress-prompt"]) Any SHORT OUTPUT "Samba's effective settings and shares"
    SmbConf File("/etc/samba/smb.conf") Any SHORT FILE "Samba's settings where testparm cannot say"
    SambaVersion Command(&["smbd", "-V"]) Any SHORT FILE "what Samba does where its settings say nothing"
    Etab File("/var/lib/nfs/etab") Any SHORT FILE "what NFS exports, in effect"
    Exports File("/etc/exports") Any SHORT FILE "what NFS exports"
    ExportsD FilesIn("/etc/exports.d") Any SHORT FILE "what NFS exports"
    NfsVersions File("/proc/fs/nfsd/versions") Any SHORT FILE "NFS versions that are served"
    SshdEffective Command(&["sshd", "-T"]) Root SHORT FILE "sshd's effective settings"
    SshdConfig File("/etc/ssh/sshd_config") Part SHORT FILE "sshd's settings where sshd -T cannot say"
    SshdConfigD FilesIn("/etc/ssh/sshd_config.d") Part SHORT FILE "sshd's settings where sshd -T cannot say"
    Passwd File("/etc/passwd") Any SHORT OUTPUT "accounts"
    Group File("/etc/group") Any SHORT OUTPUT "groups of administrators"
    Shadow File("/etc/shadow") Root SHORT OUTPUT "empty, well-known and weakly hashed passwords; hashes are compared and never kept"
    Etc Listing("/etc") Any SHORT FILE "who may read /etc/shadow; hosts.equiv"
    Sudoers File("/etc/sudoers") Root SHORT FILE "who may act as root"
    SudoersD FilesIn("/etc/sudoers.d") Root SHORT FILE "who may act as root"
    LastLog Command(&["lastlog"]) Any SHORT OUTPUT "accounts that nobody uses"
    AuthorizedKeys HomeFile(".ssh/authorized_keys") Root SHORT FILE "keys that let someone in"
    Rhosts HomeFile(".rhosts") Root SHORT FILE "trust in other hosts without a password"
    Inetd File("/etc/inetd.conf") Any SHORT FILE "legacy services"
    XinetdD FilesIn("/etc/xinetd.d") Any SHORT FILE "legacy services"
    TimeStatus Command(&["timedatectl"]) Any SHORT FILE "whether the clock is set by a time server"
    Chrony Command(&["chronyc", "-n", "tracking"]) Any SHORT FILE "whether the clock is set by a time server"
    Ntpq Command(&["ntpq", "-pn"]) Any SHORT FILE "whether the clock is set by a time server, on older servers"
    VarLog Listing("/var/log") Any SHORT FILE "logs of backup programs"
    BorgLog Tail("/var/log/borg.log") Part SHORT LOG "the last backup that succeeded"
    BorgmaticLog Tail("/var/log/borgmatic.log") Part SHORT LOG "the last backup that succeeded"
    ResticLog Tail("/var/log/restic.log") Part SHORT LOG "the last backup that succeeded"
    RsnapshotLog Tail("/var/log/rsnapshot.log") Part SHORT LOG "the last backup that succeeded"
    RsyncLog Tail("/var/log/rsync.log") Part SHORT LOG "the last backup that succeeded"
    BackupLog Tail("/var/log/backup.log") Part SHORT LOG "the last backup that succeeded"
    BaculaLog Tail("/var/log/bacula/bacula.log") Part SHORT LOG "the last backup that succeeded"
    VeeamLogs Listing("/var/log/veeam/Backup") Part SHORT FILE "backups by Veeam's agent"
}

impl ProbeId {
    /// The question.
    pub fn probe(self) -> &'static Probe {
        PROBES.iter().find(|probe| probe.id == self).expect("the macro writes both")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_run_could_write() {
        for probe in PROBES {
            assert!(probe.most <= TABLE && probe.timeout <= Duration::from_secs(LONG));
            let (Ask::Command(words) | Ask::DiskCommand(words)) = probe.ask else { continue };
            assert!(!words[0].contains('/'), "{words:?}: found in the fixed search path");
            for shell in ["sh", "bash", "sudo", "env", "python", "perl"] {
                assert_ne!(words[0], shell);
            }
            if words[0] == "apt-get" {
                assert!(words.contains(&"-s"), "only simulated");
            }
            if words[0] == "systemctl" {
                assert!(["list-units", "list-unit-files", "show"].contains(&words[1]));
            }
        }
    }

    #[test]
    fn the_order_is_that_of_the_names() {
        assert!(PROBES.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(PROBES.iter().all(|probe| probe.id.probe().id == probe.id));
    }
}

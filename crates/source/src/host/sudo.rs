//! A host as its root sees it, where the account may act as root without a password.
//!
//! Every command has `sudo -n` before it, which asks for no password: it refuses. Files and directories
//! are read by programs that only read, with the bounds that hold for all commands; SFTP stays the
//! account's own. The shapes of these commands are in one place, [`as_root`], so that what is run is what
//! whoever writes the rule was shown.

use std::time::Duration;

use super::{
    CommandOutput, FileContent, Host, HostCommand, HostError, HostStream, LONGEST_LISTING, Listed,
    ListedKind, Part,
};

/// How long reading a file or a directory may take.
const READ: Duration = Duration::from_secs(20);
/// The most bytes of a listing.
const LISTING: usize = 2 << 20;
/// The most bytes of what is said of a path: errors name it.
const SAID: usize = 16 << 10;

/// The commands that stand for what needs no command elsewhere. A path is the last word of each.
pub mod as_root {
    /// What the account may do: whether there is a `sudo` that lets it at all.
    pub const MAY: &[&str] = &["sudo", "-n", "-l"];
    /// What a path leads to, as a number of base 16: kind and permissions.
    pub const KIND: &[&str] = &["sudo", "-n", "stat", "-L", "-c", "%f", "--"];
    /// A file.
    pub const CAT: &[&str] = &["sudo", "-n", "cat", "--"];
    /// The names in a directory, with kind, permissions, owner, size and time.
    pub const LIST: &[&str] = &["sudo", "-n", "ls", "-lnAb", "--time-style", "+%s", "--"];

    /// The end of a file.
    pub fn tail(most: &str) -> [&str; 6] {
        ["sudo", "-n", "tail", "-c", most, "--"]
    }
}

/// A host through its `sudo -n`.
pub struct AsRoot<'h>(&'h dyn Host);

impl<'h> AsRoot<'h> {
    /// Asks whether the account may run anything as root without a password. That `sudo` is not there,
    /// or would ask for one, is the error.
    pub fn new(host: &'h dyn Host) -> Result<Self, HostError> {
        let command = HostCommand { words: as_root::MAY, timeout: READ, most: 64 << 10 };
        match host.run(&command) {
            Ok(output) if output.status == Some(0) || output.truncated => Ok(Self(host)),
            Ok(output) => Err(refusal(&output)
                .unwrap_or_else(|| HostError::Refused("sudo does not say what it allows".into()))),
            Err(HostError::Missing) => Err(HostError::Refused("there is no sudo".to_owned())),
            Err(error) => Err(error),
        }
    }

    /// What a command as root printed that ended well.
    fn printed(
        &self,
        command: &[&str],
        path: &str,
        most: usize,
    ) -> Result<CommandOutput, HostError> {
        let words = [command, &[path]].concat();
        let output = self.0.run(&HostCommand { words: &words, timeout: READ, most })?;
        if output.status == Some(0) || output.truncated {
            return Ok(output);
        }
        Err(refusal(&output).unwrap_or_else(|| {
            let said = first_line(&output.stderr);
            match said.ends_with("No such file or directory") || said.ends_with("Not a directory") {
                true => HostError::Missing,
                false => HostError::Io(std::io::Error::other(said)),
            }
        }))
    }
}

impl Host for AsRoot<'_> {
    fn place(&self) -> &str {
        self.0.place()
    }

    fn user(&self) -> &str {
        "root"
    }

    fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        let words = [&["sudo", "-n"], command.words].concat();
        let output = self.0.run(&HostCommand { words: &words, ..*command })?;
        match refusal(&output) {
            Some(refused) => Err(refused),
            None => Ok(output),
        }
    }

    fn read(&self, path: &str, part: Part, most: usize) -> Result<FileContent, HostError> {
        // A FIFO would have it wait, and a device may do more than be read.
        let kind = self.printed(as_root::KIND, path, SAID)?;
        let mode = str::from_utf8(&kind.stdout).ok().map(str::trim);
        let mode = mode.and_then(|mode| u32::from_str_radix(mode, 16).ok());
        if mode.is_none_or(|mode| mode & 0o170_000 != 0o100_000) {
            return Err(HostError::Unsuitable("it is no regular file"));
        }
        let number = most.to_string();
        let output = match part {
            Part::Head => self.printed(as_root::CAT, path, most)?,
            Part::Tail => self.printed(&as_root::tail(&number), path, most)?,
        };
        let whole = part == Part::Head || output.stdout.len() < most;
        Ok(FileContent { truncated: output.truncated || !whole, bytes: output.stdout })
    }

    fn list(&self, path: &str) -> Result<Vec<Listed>, HostError> {
        let output = self.printed(as_root::LIST, path, LISTING)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut listed: Vec<_> = text.lines().filter_map(entry).take(LONGEST_LISTING).collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn connect(&self, port: u16, timeout: Duration) -> Result<Box<dyn HostStream>, HostError> {
        self.0.connect(port, timeout)
    }
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Why `sudo` did not run a command; `None` where it did, however the command ended. It says so with
/// code 1, before anything was printed.
fn refusal(output: &CommandOutput) -> Option<HostError> {
    if output.status != Some(1) || !output.stdout.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let of_sudo = |line: &&str| {
        line.starts_with("sudo: ")
            || line.starts_with("Sorry, user ")
            || line.contains(" is not in the sudoers file")
            || line.contains(" is not allowed to run sudo on ")
    };
    let said: String = text.lines().find(of_sudo)?.chars().take(200).collect();
    Some(match said.ends_with(": command not found") {
        true => HostError::Missing,
        false => HostError::Refused(said),
    })
}

/// A line of `ls -lnAb --time-style +%s`; `None` of what is none, or names what is no plain text.
fn entry(line: &str) -> Option<Listed> {
    let mut rest = line;
    let mut field = || {
        let (field, tail) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = tail;
        Some(field)
    };
    let mode = field()?.as_bytes();
    let (_links, owner, _group) = (field()?, field()?, field()?);
    let size = field()?;
    // A device has two numbers in the place of its size.
    let size = match size.ends_with(',') {
        true => field().map(|_| 0),
        false => size.parse().ok(),
    };
    let modified = field()?.parse().ok()?;
    let kind = match mode.first()? {
        b'-' => ListedKind::File,
        b'd' => ListedKind::Directory,
        b'l' => ListedKind::Link,
        _ => ListedKind::Other,
    };
    let name = match kind {
        ListedKind::Link => rest.split_once(" -> ").map_or(rest, |(name, _)| name),
        _ => rest,
    };
    Some(Listed {
        name: plain(name)?,
        kind,
        mode: permissions(mode)?,
        owner: owner.parse().ok()?,
        size: size?,
        modified,
    })
}

/// A name without its escapes; `None` where it holds what is no letter, sign or space, or leads
/// elsewhere.
fn plain(name: &str) -> Option<Vec<u8>> {
    let mut found = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        found.push(match letter {
            '\\' => letters.next().filter(|escaped| matches!(escaped, ' ' | '\\'))?,
            letter => letter,
        });
    }
    let leads_elsewhere = found.is_empty() || found.contains('/') || [".", ".."].contains(&&*found);
    (!leads_elsewhere).then(|| found.into_bytes())
}

/// `rwxr-sr-t` as a number.
fn permissions(mode: &[u8]) -> Option<u32> {
    let letters = mode.get(1..10)?;
    let mut number = 0;
    for (place, letter) in letters.iter().enumerate() {
        let bit = 1 << (8 - place);
        let special = 1 << (11 - place / 3);
        number |= match letter {
            b'-' => 0,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => bit,
        };
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// Answers each command by what it begins with; what is not there ends well, with nothing. Answers
    /// are synthetic, in the words of sudo 1.9.13 and coreutils 9.1.
    #[derive(Default)]
    struct Says {
        answers: Vec<(&'static str, i32, &'static str, &'static str)>,
        ran: RefCell<Vec<String>>,
    }

    impl Host for Says {
        fn place(&self) -> &str {
            "says"
        }

        fn user(&self) -> &str {
            "auditor"
        }

        fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
            let line = command.words.join(" ");
            let answer = self.answers.iter().find(|(begin, ..)| line.starts_with(begin));
            self.ran.borrow_mut().push(line);
            let (_, status, stdout, stderr) = answer.copied().unwrap_or_default();
            let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
            Ok(CommandOutput { status: Some(status), stdout, stderr, truncated: false })
        }

        fn read(&self, _: &str, _: Part, _: usize) -> Result<FileContent, HostError> {
            Err(HostError::Denied)
        }

        fn list(&self, _: &str) -> Result<Vec<Listed>, HostError> {
            Err(HostError::Denied)
        }

        fn connect(&self, _: u16, _: Duration) -> Result<Box<dyn HostStream>, HostError> {
            Err(HostError::Denied)
        }
    }

    /// Where it would ask.
    const PASSWORD: &str = "sudo: a password is required\n";

    #[test]
    fn what_sudo_refuses_is_told_from_what_a_command_says() {
        let answers = vec![
            ("sudo -n nft", 1, "", PASSWORD),
            ("sudo -n iptables", 1, "", "sudo: iptables: command not found\n"),
            ("sudo -n sshd", 1, "", "/etc/ssh/sshd_config: line 3: Bad option\n"),
            ("sudo -n smartctl", 1, "sudo: of its own\n", ""),
            (
                "sudo -n ss",
                1,
                "",
                "\nSorry, user a is not allowed to execute '/usr/bin/ss' as root on h.\n",
            ),
        ];
        let says = Says { answers, ..Says::default() };
        let root = AsRoot::new(&says).unwrap();
        let run = |words: &[&str]| {
            root.run(&HostCommand { words, timeout: Duration::from_secs(1), most: 9 })
        };
        assert!(
            matches!(run(&["nft", "list"]), Err(HostError::Refused(why)) if why == PASSWORD.trim())
        );
        assert!(matches!(run(&["iptables", "-S"]), Err(HostError::Missing)));
        assert!(matches!(run(&["ss"]), Err(HostError::Refused(why)) if why.starts_with("Sorry")));
        assert_eq!(run(&["sshd", "-T"]).unwrap().status, Some(1));
        assert_eq!(run(&["smartctl"]).unwrap().status, Some(1));
        assert_eq!(says.ran.borrow()[..2], ["sudo -n -l", "sudo -n nft list"]);

        let asks = Says { answers: vec![("sudo -n -l", 1, "", PASSWORD)], ..Says::default() };
        assert!(
            matches!(AsRoot::new(&asks), Err(HostError::Refused(why)) if why.contains("password"))
        );
    }

    #[test]
    fn only_regular_files_are_read() {
        let answers = vec![
            ("sudo -n stat -L -c %f -- /fifo", 0, "11a4\n", ""),
            (
                "sudo -n stat -L -c %f -- /none",
                1,
                "",
                "stat: cannot statx '/none': No such file or directory\n",
            ),
            ("sudo -n stat -L -c %f -- /secret", 1, "", PASSWORD),
            ("sudo -n stat", 0, "81a4\n", ""),
            ("sudo -n cat -- /log", 0, "whole", ""),
            ("sudo -n tail -c 3 -- /log", 0, "ole", ""),
        ];
        let says = Says { answers, ..Says::default() };
        let root = AsRoot::new(&says).unwrap();
        let read = |path, part, most| root.read(path, part, most);
        assert!(matches!(read("/fifo", Part::Head, 9), Err(HostError::Unsuitable(_))));
        assert!(matches!(read("/none", Part::Head, 9), Err(HostError::Missing)));
        assert!(matches!(read("/secret", Part::Head, 9), Err(HostError::Refused(_))));
        let whole = FileContent { bytes: b"whole".to_vec(), truncated: false };
        assert_eq!(read("/log", Part::Head, 9).unwrap(), whole);
        let end = FileContent { bytes: b"ole".to_vec(), truncated: true };
        assert_eq!(read("/log", Part::Tail, 3).unwrap(), end);
        let ran = says.ran.borrow();
        assert!(!ran.iter().any(|line| line.contains("cat -- /fifo")), "{ran:?}");
    }

    #[test]
    fn a_listing_is_what_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["plain", "two words", "back\\slash", ".hidden", "line\nbreak"] {
            std::fs::write(at(name), "12345").unwrap();
        }
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("plain", at("link")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2640);
        std::fs::set_permissions(at("plain"), mode).unwrap();
        let path = folder.path().to_str().unwrap();
        let words = [&as_root::LIST[2..], &[path]].concat();
        let here = super::super::LocalHost::new();
        let output =
            here.run(&HostCommand { words: &words, timeout: READ, most: LISTING }).unwrap();
        let mut shown: Vec<_> =
            String::from_utf8(output.stdout).unwrap().lines().filter_map(entry).collect();
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        let mut known = here.list(path).unwrap();
        // What would take more than a line is left out.
        known.retain(|listed| !listed.name.contains(&b'\n'));
        assert_eq!(shown, known);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "[-drwxst ,0-9a-z\\\\/>]{0,60}") {
            if let Some(listed) = entry(&line) {
                prop_assert!(!listed.name.contains(&b'/') && listed.mode <= 0o7777);
            }
        }
    }
}

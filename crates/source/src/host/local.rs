//! This machine.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    time::Duration,
};

use rustix::fs::OFlags;

use super::{
    CommandOutput, FileContent, Host, HostCommand, HostError, HostStream, LONGEST_LISTING, Listed,
    ListedKind, Part, process,
};

/// This machine, as whoever runs drover.
pub struct LocalHost {
    name: String,
    user: String,
}

impl LocalHost {
    /// Finds out what it is called.
    pub fn new() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let id = rustix::process::geteuid();
        let user = nix::unistd::User::from_uid(id.as_raw().into());
        let user = user.ok().flatten().map_or_else(|| id.as_raw().to_string(), |user| user.name);
        Self { name, user }
    }
}

impl Default for LocalHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for LocalHost {
    fn place(&self) -> &str {
        &self.name
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        process::run(command)
    }

    fn read(&self, path: &str, part: Part, most: usize) -> Result<FileContent, HostError> {
        let mut file = open(path)?;
        let metadata = file.metadata().map_err(HostError::of)?;
        if !metadata.is_file() {
            return Err(HostError::Unsuitable("it is no regular file"));
        }
        let skipped = match part {
            Part::Tail => metadata.len().saturating_sub(most as u64),
            Part::Head => 0,
        };
        if skipped > 0 {
            file.seek(SeekFrom::Start(skipped)).map_err(HostError::of)?;
        }
        let mut bytes = Vec::new();
        file.by_ref().take(most as u64).read_to_end(&mut bytes).map_err(HostError::of)?;
        let more = bytes.len() == most && matches!(file.read(&mut [0]), Ok(1));
        Ok(FileContent { bytes, truncated: more || skipped > 0 })
    }

    fn list(&self, path: &str) -> Result<Vec<Listed>, HostError> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(path).map_err(HostError::of)?.take(LONGEST_LISTING) {
            let entry = entry.map_err(HostError::of)?;
            // What went away meanwhile is not there.
            let Ok(metadata) = entry.metadata() else { continue };
            let kind = metadata.file_type();
            listed.push(Listed {
                name: entry.file_name().into_vec(),
                kind: match kind {
                    kind if kind.is_file() => ListedKind::File,
                    kind if kind.is_dir() => ListedKind::Directory,
                    kind if kind.is_symlink() => ListedKind::Link,
                    _ => ListedKind::Other,
                },
                mode: metadata.mode() & 0o7777,
                owner: metadata.uid(),
                size: metadata.len(),
                modified: metadata.mtime(),
            });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn connect(&self, port: u16, timeout: Duration) -> Result<Box<dyn HostStream>, HostError> {
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ];
        let mut refused = HostError::Missing;
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(Box::new(stream));
                }
                Err(error) => refused = HostError::of(error),
            }
        }
        Err(refused)
    }
}

/// Opens without waiting for who would write into a FIFO, and without becoming a terminal's.
fn open(path: &str) -> Result<File, HostError> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(HostError::of)
}

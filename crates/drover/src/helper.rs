//! Which program a server's helper is: this one, or one that was built for its machine.

use std::{
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, LazyLock},
    thread,
};

use drover_source::{HelperProgram, helper::Compress};
use flate2::{Compression, write::GzEncoder};

use crate::{error::Error, output::shown};

/// Names a build of drover for servers that are another machine, or older, than this one.
const VARIABLE: &str = "DROVER_HELPER";
/// Bytes of the header of an ELF file of 64 bits.
const HEADER: usize = 64;
/// Bytes of an entry of its table of segments.
const SEGMENT: usize = 56;

/// The program that is copied to servers.
pub fn program() -> Result<HelperProgram, Error> {
    let (path, name) = match env::var_os(VARIABLE) {
        Some(path) => (PathBuf::from(path), VARIABLE),
        None => (PathBuf::from("/proc/self/exe"), "this program"),
    };
    read(&path).map_err(|error| {
        let shown = shown(&path);
        Error::Usage(format!("{name}: {shown} is no program for a server: {error}"))
    })
}

fn read(path: &PathBuf) -> io::Result<HelperProgram> {
    let mut file = File::open(path)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    let machine = machine(&header)
        .ok_or_else(|| io::Error::other("it is no program for Linux on x86-64 or 64-bit Arm"))?;
    let number = |at: usize, len: usize| number(&header[at..at + len]);
    let (table, count) = (number(32, 8), number(56, 2));
    if number(54, 2) != SEGMENT as u64 {
        return Err(io::Error::other("it is a program that nothing loads"));
    }
    file.seek(SeekFrom::Start(table))?;
    let mut segments = vec![0; count as usize * SEGMENT];
    file.read_exact(&mut segments)?;
    let length = loaded(&segments).max(table.saturating_add(segments.len() as u64));
    file.seek(SeekFrom::Start(0))?;
    let mut program = Vec::new();
    file.take(length).read_to_end(&mut program)?;
    // The sections, which are left out: where they are, and how many.
    for place in [40..48, 60..64] {
        program.get_mut(place).ok_or(io::ErrorKind::UnexpectedEof)?.fill(0);
    }
    let compress: Compress = Box::new(move || {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        // Nothing is refused by memory.
        let _ = gzip.write_all(&program);
        gzip.finish().unwrap_or_default()
    });
    let gzip = Arc::new(LazyLock::new(compress));
    let ahead = gzip.clone();
    // While the server is connected to; where there is no thread for it, later.
    let _ = thread::Builder::new().spawn(move || _ = LazyLock::force(&ahead));
    Ok(HelperProgram::Copied { gzip, machine: machine.to_owned() })
}

/// How much of a program is loaded, of the entries of its table of segments. What is behind is for linkers
/// and debuggers, and often more than all the rest.
fn loaded(segments: &[u8]) -> u64 {
    let end = |segment: &[u8]| number(&segment[8..16]).saturating_add(number(&segment[32..40]));
    segments.chunks_exact(SEGMENT).map(end).max().unwrap_or(0)
}

/// A number of an ELF file, whose lowest byte comes first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The machine that an ELF header names, as `uname -sm` says it.
fn machine(header: &[u8; HEADER]) -> Option<&'static str> {
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    match u16::from_le_bytes([header[18], header[19]]) {
        0x3e => Some("Linux x86_64"),
        0xb7 => Some("Linux aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_machine() {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(machine(&header), None);
        header[18] = 0x3e;
        assert_eq!(machine(&header), Some("Linux x86_64"));
        (header[18], header[19]) = (0xb7, 1);
        assert_eq!(machine(&header), None);
        header[19] = 0;
        assert_eq!(machine(&header), Some("Linux aarch64"));
        header[5] = 2;
        assert_eq!(machine(&header), None);
    }

    #[test]
    fn what_is_copied_runs_without_what_only_a_debugger_reads() {
        let this = PathBuf::from("/proc/self/exe");
        let HelperProgram::Copied { gzip, .. } = read(&this).unwrap() else { unreachable!() };
        let mut program = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut program).unwrap();
        assert!(program.len() as u64 * 5 < std::fs::metadata(&this).unwrap().len() * 4);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        std::fs::write(&copy, &program).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&copy, executable).unwrap();
        let listed = std::process::Command::new(&copy).arg("--list").output().unwrap();
        assert!(listed.status.success() && !listed.stdout.is_empty());
    }
}

//! Which program a server's helper is: this one, or one that was built for its machine.

use std::{
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::Arc,
};

use drover_source::HelperProgram;
use flate2::{Compression, write::GzEncoder};

use crate::{error::Error, output::shown};

/// Names a build of drover for servers that are another machine, or older, than this one.
const VARIABLE: &str = "DROVER_HELPER";

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
    let mut header = [0; 20];
    file.read_exact(&mut header)?;
    let machine = machine(&header)
        .ok_or_else(|| io::Error::other("it is no program for Linux on x86-64 or 64-bit Arm"))?;
    file.seek(SeekFrom::Start(0))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut file, &mut gzip)?;
    gzip.flush()?;
    Ok(HelperProgram::Copied { gzip: Arc::from(gzip.finish()?), machine: machine.to_owned() })
}

/// The machine that an ELF header names, as `uname -sm` says it.
fn machine(header: &[u8; 20]) -> Option<&'static str> {
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
        let mut header = [0; 20];
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
}

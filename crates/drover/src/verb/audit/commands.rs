//! Everything that an audit asks of a server, for whoever has to allow it: from the table that is run.

use std::fmt::Write;

use drover_audit::{Ask, PROBES, Probe, Rights, tls::known_tls_ports};
use drover_report::format;
use drover_source::host::as_root;

const HEAD: &str = "\
An audit runs these commands and reads these files, and nothing else. Commands run without a
shell of their own, with LC_ALL=C and PATH=/usr/sbin:/usr/bin:/sbin:/bin; over SSH each is one
line, with `timeout` before it. Each has a limit of time and of output. Nothing is written.

";

const SUDO: &str = "\
With --sudo, what begins with `sudo -n` is run as root. A file or a directory is read as the account
itself, and by the commands after `else` only where that is denied. sudo keeps its own log of them.

";

/// The list, with `sudo` of what runs as root as well.
pub(super) fn listed(sudo: bool) -> String {
    let mut out = HEAD.to_owned();
    if sudo {
        out += SUDO;
        let _ = writeln!(out, "run   {}", as_root::MAY.join(" "));
        out += "        whether the account may run anything as root without a password (20 s, 64 KiB)\n";
    }
    for probe in PROBES {
        let root = sudo && probe.rights != Rights::Any;
        let rights = match probe.rights {
            Rights::Any => String::new(),
            rights => format!(" [{}]", rights.as_str()),
        };
        let before = if root && probe.ask.is_command() { "sudo -n " } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{:4}  {before}{}", probe.ask.verb(), probe.ask);
        let limit = match probe.ask.is_command() {
            true => format!("{} s, ", probe.timeout.as_secs()),
            false => String::new(),
        };
        let most = format::bytes(probe.most as u64);
        let _ = writeln!(out, "        {} ({limit}{most}){rights}", probe.purpose);
        for command in if root { reads(probe) } else { Vec::new() } {
            let _ = writeln!(out, "        else {command}");
        }
    }
    let ports: Vec<_> = known_tls_ports().iter().map(u16::to_string).collect();
    let _ = writeln!(
        out,
        "connect  each of these ports that something listens on, from the server itself: {}\n        \
         which versions of TLS it speaks, and its certificate; two greetings each, and where both are\n        \
         refused a handshake of TLS 1.3 up to the certificate (--no-tls leaves it out, --tls-port adds\n        \
         to it)",
        ports.join(", ")
    );
    out
}

/// What stands for a file or a directory that is denied to the account.
fn reads(probe: &Probe) -> Vec<String> {
    let most = probe.most.to_string();
    let command = |words: &[&str], path: &str| format!("{} {path}", words.join(" "));
    let whole = |path: &str| vec![command(as_root::KIND, path), command(as_root::CAT, path)];
    match probe.ask {
        Ask::Command(_) | Ask::DiskCommand(_) => Vec::new(),
        Ask::File(path) => whole(path),
        Ask::Tail(path) => {
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            vec![
                command(as_root::KIND, path),
                command(&as_root::tail(&most), path),
                command(as_root::LIST, folder),
            ]
        }
        Ask::Listing(path) => vec![command(as_root::LIST, path)],
        Ask::FilesIn(path) => {
            [vec![command(as_root::LIST, path)], whole(&format!("{path}/NAME"))].concat()
        }
        Ask::HomeFile(path) => whole(&format!("HOME/{path}")),
    }
}

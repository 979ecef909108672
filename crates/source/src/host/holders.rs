//! Who is writing to a tree of another machine: what its `/proc` shows, asked by one command that
//! reads.

use std::time::Duration;

use drover_types::path::escape;

use super::{Host, HostCommand};
use crate::local::holders::OpenFiles;

/// Bytes of what the command prints that are kept.
const MOST: usize = 8 << 20;
/// How long it may take: a look at each open file of the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints, each ended by NUL: how many processes do not show their files, the directory without
/// symbolic links in it, and of each file below it that is open for writing the process, its name
/// and the file. Argument: the directory. The last octal digit of a descriptor's flags is how it is
/// open (1 to write, 2 to do both; 4 is another flag).
const SCRIPT: &str = r#"
[ -d /proc/self/fd ] || { echo "there is no /proc" >&2; exit 1; }
root=$(cd -- "$1" && pwd -P) || exit 1
unseen=0
for process in /proc/[0-9]*; do
    [ -r "$process/fd" ] || [ ! -d "$process" ] || unseen=$((unseen + 1))
done
printf '%s\0%s\0' "$unseen" "$root"
pattern=$(printf '%s' "${root%/}" | sed 's/[][*?\\]/\\&/g')
find /proc/[0-9]*/fd -mindepth 1 -maxdepth 1 -lname "$pattern/*" 2>/dev/null | while read -r fd; do
    process=${fd%/fd/*}
    while read -r key value; do
        case $key$value in flags:*[1256])
            [ -f "$fd" ] && printf '%s\0%s\0%s\0' "${process#/proc/}" "$(cat "$process/comm")" "$(readlink "$fd")"
        esac
    done < "$process/fdinfo/${fd##*/}"
done 2>/dev/null
exit 0
"#;

/// Which files below `root` of `host` are open for writing; an error has in words why that is not
/// known.
pub fn open_for_writing_on(host: &dyn Host, root: &str) -> Result<OpenFiles, String> {
    let words = ["/bin/sh", "-c", SCRIPT, "drover", root];
    let command = HostCommand { words: &words, timeout: PATIENCE, most: MOST };
    let output = host.run(&command).map_err(|error| error.to_string())?;
    match output.status {
        Some(0) => parse(&output.stdout, output.truncated),
        _ => Err(escape(output.stderr.trim_ascii())),
    }
}

/// What the command printed; `cut` where it printed more.
fn parse(printed: &[u8], cut: bool) -> Result<OpenFiles, String> {
    const OTHERWISE: &str = "it answered something else";
    let mut fields = printed.split(|byte| *byte == 0);
    let unseen = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
    let root = fields.next().filter(|root| root.starts_with(b"/")).ok_or(OTHERWISE)?;
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let mut found = OpenFiles {
        unseen: unseen.ok_or(OTHERWISE)?,
        more: u64::from(cut),
        ..OpenFiles::default()
    };
    let fields: Vec<&[u8]> = fields.collect();
    for one in fields.chunks_exact(3) {
        let below = one[2].strip_prefix(root).and_then(|path| path.strip_prefix(b"/"));
        let process = std::str::from_utf8(one[0]).ok().and_then(|number| number.parse().ok());
        if let (Some(below), Some(process)) = (below, process) {
            found.add(below, process, || one[1].to_vec());
        }
    }
    Ok(found.sorted())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::{host::LocalHost, local::holders::open_for_writing};

    #[test]
    fn it_is_what_the_machine_itself_sees() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("a [b] * \\ c");
        fs::create_dir_all(root.join("d")).unwrap();
        std::os::unix::fs::symlink(&root, folder.path().join("link")).unwrap();
        let script = "exec 3>d/written 4>>'two words' 5<>both 6<d/written 7>gone; rm gone; echo x; read wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .current_dir(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        let host = LocalHost::new();
        let link = folder.path().join("link");
        let found = open_for_writing_on(&host, link.to_str().unwrap());
        let here = open_for_writing(&root);
        drop(child.stdin.take());
        child.wait().unwrap();
        let found = found.unwrap();
        assert_eq!(found.files, here.unwrap().files);
        let paths: Vec<_> = found.files.iter().map(|file| file.path.to_string()).collect();
        assert_eq!(paths, ["both", "d/written", "two words"]);
        assert!(open_for_writing_on(&host, "/nowhere").is_err());
    }

    #[test]
    fn answers_that_are_none() {
        for printed in [&b""[..], b"\0", b"x\0/r\0", b"1\0relative\0", b"1"] {
            assert!(parse(printed, false).is_err(), "{}", escape(printed));
        }
        let fields = "2|/r|7|sh|/r/../etc|7|sh|/other/x|z|sh|/r/a|7|sh".replace('|', "\0");
        let found = parse(fields.as_bytes(), true).unwrap();
        assert_eq!((found.files.len(), found.unseen, found.more), (0, 2, 1));
    }
}

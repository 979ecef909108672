//! A timer on the source itself, which thaws it when the controller does not come back.
//!
//! It is a small script that waits on the source's own machine: under systemd where that runs, else
//! by `at`, else in a session of its own. One name decides whether it thaws: whoever renames `armed`
//! first has won, the timer to `fired` or the controller to `disarmed`, or to
//! `withdrawn` once it has thawed the source itself. So nothing thaws after the
//! controller knows that it disarmed, and the controller never takes for resting what was thawed.
//! What was armed or disarmed before the machine was started anew is dead: services are at work again.

use std::time::Duration;

use drover_source::host::{Host, HostCommand, quoted};
use drover_types::path::escape;

use crate::error::Error;

/// Where its files lie, with its id after it: a place that outlives the connection.
const FOLDER: &str = "/var/tmp/drover-thaw-";
/// How long the machine may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Before each of the others. A number of a process is another's after a start of the machine; where
/// no start has a name, the number alone tells.
const ALIVE: &str = r#"
folder=$1
start() { cat /proc/sys/kernel/random/boot_id 2>/dev/null; }
same_start() { [ "$(cat "$folder/start" 2>/dev/null)" = "$(start)" ]; }
alive() { same_start && kill -0 "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null; }
"#;

/// Arms it; arguments: folder, seconds, id, the waiting script. Prints what runs it.
const ARM: &str = r#"
set -eu
umask 077
seconds=$2 id=$3
if [ -d "$folder" ] && [ -O "$folder" ] && [ -e "$folder/armed" ] && alive; then
    echo kept; exit 0
fi
if [ -d "$folder" ] && [ -O "$folder" ]; then rm -rf "$folder"; fi
mkdir "$folder"
echo $(( $(date +%s) + seconds )) > "$folder/deadline"
printf '%s' "$4" > "$folder/thaw"
start > "$folder/start" || :
: > "$folder/armed"
runs() {
    until=$(( $(date +%s) + 10 ))
    while [ "$(date +%s)" -lt "$until" ]; do
        # One that is due at once may have ended before it is looked for.
        if [ -s "$folder/pid" ] && { alive || [ -e "$folder/fired" ]; }; then return 0; fi
        sleep 0.1 2>/dev/null || sleep 1
    done
    return 1
}
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1 &&
    systemd-run --quiet --collect --unit="drover-thaw-$id" /bin/sh "$folder/thaw" >/dev/null 2>&1 &&
    runs; then
    echo systemd; exit 0
fi
if command -v at >/dev/null 2>&1 && echo "/bin/sh $folder/thaw" | at now >/dev/null 2>&1 && runs; then
    echo at; exit 0
fi
if command -v setsid >/dev/null 2>&1; then
    setsid /bin/sh "$folder/thaw" </dev/null >/dev/null 2>&1 &
else
    nohup /bin/sh "$folder/thaw" </dev/null >/dev/null 2>&1 &
fi
if runs; then echo process; exit 0; fi
rm -rf "$folder"
echo none; exit 1
"#;

/// Waits on the source; what thaws comes after it, and then the end.
const WAIT: &str = r#"cd "$(dirname "$0")" || exit 1
echo $$ > pid
deadline=$(cat deadline)
while [ -e armed ]; do
    left=$((deadline - $(date +%s)))
    [ "$left" -gt 0 ] || break
    [ "$left" -lt 2 ] || left=2
    sleep "$left"
done
mv armed fired 2>/dev/null || exit 0
"#;

/// Says what became of it; argument: folder.
const STATUS: &str = r#"
[ -d "$folder" ] || { echo gone; exit 0; }
if [ -e "$folder/fired" ]; then echo fired
elif [ -e "$folder/withdrawn" ]; then echo withdrawn
elif [ -e "$folder/disarmed" ] && same_start; then echo disarmed
elif [ -e "$folder/armed" ] && alive; then echo armed
else echo dead; fi
"#;

/// Keeps it from firing, where it waits still; argument: folder.
const DISARM: &str = r#"
if [ -e "$folder/armed" ] && ! alive; then echo dead; exit 0; fi
mv "$folder/armed" "$folder/disarmed" 2>/dev/null
if [ -e "$folder/disarmed" ]; then
    if same_start; then echo disarmed; else echo dead; fi
elif [ -e "$folder/withdrawn" ]; then echo withdrawn
elif [ -e "$folder/fired" ]; then echo fired
else echo gone; fi
"#;

/// Notes that the source was thawed; argument: folder.
const WITHDRAW: &str = r#"
mv "$folder/armed" "$folder/withdrawn" 2>/dev/null ||
    mv "$folder/disarmed" "$folder/withdrawn" 2>/dev/null
if [ -e "$folder/withdrawn" ]; then echo withdrawn
elif [ -e "$folder/fired" ]; then echo fired
else echo gone; fi
"#;

/// Takes its files away; argument: folder.
const CLEAR: &str = r#"
[ -d "$1" ] && [ -O "$1" ] && rm -rf "$1"; true
"#;

/// What became of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits.
    Armed,
    /// It thawed the source, or is about to.
    Fired,
    /// It will do nothing any more: the source rests until somebody thaws it.
    Disarmed,
    /// It will do nothing any more: the source was thawed.
    Withdrawn,
    /// Its process is not there, and it did not fire; or the machine was started anew since.
    Dead,
    /// Nothing is known of it: the machine lost it, or it was never armed.
    Gone,
}

/// A timer on a machine.
pub struct Timer<'t> {
    host: &'t dyn Host,
    id: &'t str,
}

impl<'t> Timer<'t> {
    /// The timer with this id: hexadecimal digits.
    pub fn new(host: &'t dyn Host, id: &'t str) -> Self {
        Self { host, id }
    }

    fn folder(&self) -> String {
        format!("{FOLDER}{}", self.id)
    }

    /// Has the machine run `thaw` of `source` after so many seconds. One that waits already is kept
    /// as it is. Says what runs it there.
    pub fn arm(&self, seconds: u64, thaw: &[String], source: &str) -> Result<String, Error> {
        let words: Vec<_> = thaw.iter().map(|word| quoted(word)).collect();
        let thawing = format!(
            "DROVER_SOURCE={}; export DROVER_SOURCE\n{} > output 2>&1\necho $? > status\n",
            quoted(source),
            words.join(" ")
        );
        let script = format!("{WAIT}{thawing}");
        let seconds = seconds.to_string();
        let how = self.ask(ARM, &[&self.folder(), &seconds, self.id, &script])?;
        match how.as_str() {
            "systemd" | "at" | "process" | "kept" => Ok(how),
            _ => Err(self.failed("it starts no timer")),
        }
    }

    /// What became of it.
    pub fn fate(&self) -> Result<Fate, Error> {
        let said = self.ask(STATUS, &[&self.folder()])?;
        self.parse(&said)
    }

    /// Keeps it from thawing, unless it did so or would not have.
    pub fn disarm(&self) -> Result<Fate, Error> {
        let said = self.ask(DISARM, &[&self.folder()])?;
        self.parse(&said)
    }

    /// Keeps it from thawing what was thawed already.
    pub fn withdraw(&self) -> Result<Fate, Error> {
        let said = self.ask(WITHDRAW, &[&self.folder()])?;
        self.parse(&said)
    }

    /// Takes away what it left.
    pub fn clear(&self) -> Result<(), Error> {
        self.ask(CLEAR, &[&self.folder()]).map(drop)
    }

    fn parse(&self, said: &str) -> Result<Fate, Error> {
        match said {
            "armed" => Ok(Fate::Armed),
            "fired" => Ok(Fate::Fired),
            "disarmed" => Ok(Fate::Disarmed),
            "withdrawn" => Ok(Fate::Withdrawn),
            "dead" => Ok(Fate::Dead),
            "gone" => Ok(Fate::Gone),
            other => Err(self.failed(&format!("it said: {}", escape(other.as_bytes())))),
        }
    }

    fn ask(&self, script: &str, arguments: &[&str]) -> Result<String, Error> {
        let script = format!("{ALIVE}{script}");
        let mut words = vec!["/bin/sh", "-c", &script, "drover"];
        words.extend_from_slice(arguments);
        let command = HostCommand { words: &words, timeout: ANSWER, most: 1 << 10 };
        let output = self.host.run(&command).map_err(|error| self.failed(&error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status {
            Some(0) => Ok(said),
            _ => {
                let why = escape(output.stderr.trim_ascii());
                Err(self.failed(if why.is_empty() { &said } else { &why }))
            }
        }
    }

    fn failed(&self, why: &str) -> Error {
        Error::Timer { host: self.host.place().to_owned(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use drover_source::host::LocalHost;

    use super::*;

    fn id() -> String {
        drover_types::RepositoryId(drover_crypt::random::array()).to_hex()
    }

    fn until(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn thaw(folder: &Path) -> Vec<String> {
        let file = folder.join("it's thawed").display().to_string();
        ["/bin/touch".to_owned(), file].to_vec()
    }

    #[test]
    fn it_thaws_when_nobody_comes_back() {
        let (folder, host, id) = (tempfile::tempdir().unwrap(), LocalHost::new(), id());
        let timer = Timer::new(&host, &id);
        assert_eq!(timer.fate().unwrap(), Fate::Gone);
        timer.arm(0, &thaw(folder.path()), "files").unwrap();
        until(|| folder.path().join("it's thawed").exists());
        assert_eq!(timer.fate().unwrap(), Fate::Fired);
        assert_eq!(timer.disarm().unwrap(), Fate::Fired, "too late");
        timer.clear().unwrap();
        assert_eq!(timer.fate().unwrap(), Fate::Gone);
    }

    #[test]
    fn disarmed_it_ends_without_a_thaw() {
        let (folder, host, id) = (tempfile::tempdir().unwrap(), LocalHost::new(), id());
        let timer = Timer::new(&host, &id);
        timer.arm(3600, &thaw(folder.path()), "files").unwrap();
        assert_eq!(timer.fate().unwrap(), Fate::Armed);
        assert_eq!(
            timer.arm(1, &thaw(folder.path()), "files").unwrap(),
            "kept",
            "no second deadline"
        );
        let process = fs::read_to_string(format!("{FOLDER}{id}/pid")).unwrap();
        assert_eq!(timer.disarm().unwrap(), Fate::Disarmed);
        assert_eq!(timer.disarm().unwrap(), Fate::Disarmed);
        until(|| !Path::new("/proc").join(process.trim()).exists());
        assert_eq!(timer.fate().unwrap(), Fate::Disarmed);
        assert!(!folder.path().join("it's thawed").exists());
        timer.clear().unwrap();
    }

    #[test]
    fn a_timer_without_its_process_is_no_timer() {
        let (folder, host, id) = (tempfile::tempdir().unwrap(), LocalHost::new(), id());
        let timer = Timer::new(&host, &id);
        timer.arm(3600, &thaw(folder.path()), "files").unwrap();
        let process = fs::read_to_string(format!("{FOLDER}{id}/pid")).unwrap();
        let process = process.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        let kill = rustix::process::Signal::KILL;
        rustix::process::kill_process(process.unwrap(), kill).unwrap();
        until(|| timer.fate().unwrap() == Fate::Dead);
        assert_eq!(timer.disarm().unwrap(), Fate::Dead, "what it kept frozen may be at work");
        assert_eq!(timer.withdraw().unwrap(), Fate::Withdrawn);
        assert_eq!(timer.disarm().unwrap(), Fate::Withdrawn);
        timer.clear().unwrap();
    }

    #[test]
    fn what_was_disarmed_and_thawed_is_withdrawn() {
        let (folder, host, id) = (tempfile::tempdir().unwrap(), LocalHost::new(), id());
        let timer = Timer::new(&host, &id);
        timer.arm(3600, &thaw(folder.path()), "files").unwrap();
        assert_eq!(timer.disarm().unwrap(), Fate::Disarmed);
        assert_eq!(timer.withdraw().unwrap(), Fate::Withdrawn);
        assert_eq!(timer.fate().unwrap(), Fate::Withdrawn);
        timer.clear().unwrap();
    }

    #[test]
    fn nothing_rests_over_a_start_of_the_machine() {
        let (folder, host, id) = (tempfile::tempdir().unwrap(), LocalHost::new(), id());
        let timer = Timer::new(&host, &id);
        let restart = || fs::write(format!("{FOLDER}{id}/start"), "an earlier start").unwrap();
        // Its number is that of another process now.
        timer.arm(3600, &thaw(folder.path()), "files").unwrap();
        let process = fs::read_to_string(format!("{FOLDER}{id}/pid")).unwrap();
        restart();
        assert_eq!(timer.fate().unwrap(), Fate::Dead);
        assert_eq!(timer.disarm().unwrap(), Fate::Dead);
        timer.clear().unwrap();
        until(|| !Path::new("/proc").join(process.trim()).exists());
        timer.arm(3600, &thaw(folder.path()), "files").unwrap();
        assert_eq!(timer.disarm().unwrap(), Fate::Disarmed);
        restart();
        assert_eq!(timer.fate().unwrap(), Fate::Dead);
        assert_eq!(timer.disarm().unwrap(), Fate::Dead);
        timer.clear().unwrap();
    }
}

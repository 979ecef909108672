//! Runs a program up to one of its system calls, and kills it there or lets the call fail.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    os::unix::{fs::FileExt, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::lab::Answer;

/// Calls that leave something behind, or send something.
const CALLS: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
    libc::SYS_lsetxattr,
    libc::SYS_setxattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

/// Calls of [`CALLS`] whose first argument is a descriptor that may be none of a file.
const OF_A_DESCRIPTOR: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
];

/// A call that leaves something behind, as a thread enters it.
#[derive(Debug)]
pub struct Call {
    /// Counted from 1 over all threads.
    pub at: usize,
    /// Its number.
    pub number: libc::c_long,
    /// The file that its first argument is, where that is a descriptor.
    pub file: Option<PathBuf>,
    process: Pid,
    arguments: [u64; 6],
}

impl Call {
    fn entered(process: Pid, thread: Pid) -> Option<Self> {
        let info = ptrace::syscall_info(thread).ok()?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: the kernel filled `entry`, as `op` says.
        let entry = unsafe { info.u.entry };
        let number = entry.nr as libc::c_long;
        // Opening counts where it makes a file.
        let creates = number == libc::SYS_openat && entry.args[2] & libc::O_CREAT as u64 != 0;
        (creates || CALLS.contains(&number)).then_some(Self {
            at: 0,
            number,
            file: None,
            process,
            arguments: entry.args,
        })
    }

    /// Whether it changes something on a disk. Standard output and error count as none.
    fn is_of_a_disk(&mut self) -> bool {
        let sends = [libc::SYS_sendto, libc::SYS_sendmsg].contains(&self.number);
        if sends || !OF_A_DESCRIPTOR.contains(&self.number) {
            return !sends;
        }
        let descriptor = self.arguments[0];
        let link = format!("/proc/{}/fd/{descriptor}", self.process);
        self.file = fs::read_link(link).ok();
        descriptor > 2
            && self.file.as_ref().is_some_and(|file| {
                file.is_absolute() && !file.starts_with("/dev") && !file.starts_with("/proc")
            })
    }

    /// What of a file is made durable by it, if anything.
    pub fn syncs(&self) -> bool {
        [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_syncfs].contains(&self.number)
    }
}

/// Whether a stopped thread is about to end its program.
fn ends(thread: Pid) -> bool {
    let Ok(info) = ptrace::syscall_info(thread) else { return false };
    // SAFETY: `entry` is looked at where `op` says that it is filled.
    info.op == libc::PTRACE_SYSCALL_INFO_ENTRY
        && unsafe { info.u.entry }.nr as libc::c_long == libc::SYS_exit_group
}

/// What becomes of a call.
enum Fate {
    Happens,
    /// The program is killed before it.
    Killed,
    /// It does nothing, and this is its answer.
    #[cfg(target_arch = "x86_64")]
    Fails(Errno),
}

/// Runs `command` and kills it as it enters, on whichever thread, its call number `at`, counted
/// from 1 over all threads: that call does not happen any more, the one before did. Its answer,
/// where it ended by itself before.
pub fn run_up_to(command: Command, at: usize) -> Option<Answer> {
    let mut calls = 0;
    run(command, |_| {
        calls += 1;
        if calls < at { Fate::Happens } else { Fate::Killed }
    })
}

/// Runs `command`, of whose calls that change something on a disk those fail that `fails` has an
/// error for.
#[cfg(target_arch = "x86_64")]
pub fn run_failing(command: Command, mut fails: impl FnMut(&Call) -> Option<Errno>) -> Answer {
    let mut calls = 0;
    let answer = run(command, |call| {
        if !call.is_of_a_disk() {
            return Fate::Happens;
        }
        calls += 1;
        call.at = calls;
        fails(call).map_or(Fate::Happens, Fate::Fails)
    });
    answer.expect("nothing kills it")
}

/// Runs `command` to its end, and shows `look` the memory that it can write to, piece by piece, as
/// it goes out of its own accord: after everything was dropped, and before the system takes it.
pub fn run_to_look(command: Command, mut look: impl FnMut(&str, &[u8])) -> Answer {
    let answer = run_with(
        command,
        |_| Fate::Happens,
        |process| {
            let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
            let memory = File::open(format!("/proc/{process}/mem")).unwrap();
            for line in maps.lines() {
                let mut words = line.split_whitespace();
                let (range, rights) = (words.next().unwrap(), words.next().unwrap());
                if !rights.starts_with("rw") {
                    continue;
                }
                let (start, end) = range.split_once('-').unwrap();
                let at = |text| u64::from_str_radix(text, 16).unwrap();
                let mut piece = vec![0; (at(end) - at(start)) as usize];
                // Some of the kernel's own cannot be read.
                if memory.read_exact_at(&mut piece, at(start)).is_ok() {
                    look(line, &piece);
                }
            }
        },
    );
    answer.expect("nothing kills it")
}

/// Makes the call that a thread enters one that there is not, so that nothing happens.
#[cfg(target_arch = "x86_64")]
fn skip(thread: Pid) {
    let mut registers = ptrace::getregs(thread).unwrap();
    registers.orig_rax = u64::MAX;
    ptrace::setregs(thread, registers).unwrap();
}

/// Gives a thread that leaves a call another answer.
#[cfg(target_arch = "x86_64")]
fn answer_with(thread: Pid, error: Errno) {
    let mut registers = ptrace::getregs(thread).unwrap();
    registers.rax = -(error as i64) as u64;
    ptrace::setregs(thread, registers).unwrap();
}

#[cfg(not(target_arch = "x86_64"))]
fn answer_with(_: Pid, _: Errno) {}

/// Runs `command` to its end, and asks for each call that leaves something behind what becomes of
/// it. `None` where it was killed.
fn run(command: Command, fate: impl FnMut(&mut Call) -> Fate) -> Option<Answer> {
    run_with(command, fate, |_| {})
}

/// The same, with `at_the_end` as the program goes out.
fn run_with(
    mut command: Command,
    mut fate: impl FnMut(&mut Call) -> Fate,
    mut at_the_end: impl FnMut(Pid),
) -> Option<Answer> {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    // SAFETY: one system call, between fork and exec.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    #[allow(clippy::zombie_processes, reason = "it is waited for below, thread by thread")]
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let go_on = |thread, signal: Option<Signal>| match ptrace::syscall(thread, signal) {
        // It was killed meanwhile.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{error}"),
    };
    assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        // Else a program that it runs would get a signal for beginning.
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    go_on(pid, None);

    // Only what this thread traces: other tests wait for programs of their own.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let mut failing: HashMap<Pid, Errno> = HashMap::new();
    let status = loop {
        match waitpid(None, Some(flags)).unwrap() {
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(error) = failing.remove(&thread) {
                    answer_with(thread, error);
                    go_on(thread, None);
                    continue;
                }
                if ends(thread) {
                    at_the_end(pid);
                }
                let call = Call::entered(pid, thread);
                match call.map_or(Fate::Happens, |mut call| fate(&mut call)) {
                    Fate::Happens => go_on(thread, None),
                    Fate::Killed => drop(kill(pid, Signal::SIGKILL)),
                    #[cfg(target_arch = "x86_64")]
                    Fate::Fails(error) => {
                        skip(thread);
                        failing.insert(thread, error);
                        go_on(thread, None);
                    }
                }
            }
            // A new thread begins with a stop; an event is none of the program's signals.
            WaitStatus::PtraceEvent(thread, ..) | WaitStatus::Stopped(thread, Signal::SIGSTOP) => {
                go_on(thread, None);
            }
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            WaitStatus::Exited(thread, code) if thread == pid => break Some(code),
            WaitStatus::Signaled(thread, signal, _) if thread == pid => {
                assert_eq!(signal, Signal::SIGKILL);
                break None;
            }
            _ => {}
        }
    };
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    status.map(|code| Answer::of(code, text(&mut stdout), text(&mut stderr)))
}

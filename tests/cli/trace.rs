//! Runs a program up to one of its system calls, and kills it there.

use std::{fs::File, io::Read, os::unix::process::CommandExt, process::Command};

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

/// Whether a stopped thread enters a call that leaves something behind.
fn enters_a_call(thread: Pid) -> bool {
    let Ok(info) = ptrace::syscall_info(thread) else { return false };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return false;
    }
    // SAFETY: the kernel filled `entry`, as `op` says.
    let entry = unsafe { info.u.entry };
    let number = entry.nr as libc::c_long;
    // Opening counts where it makes a file.
    let creates = number == libc::SYS_openat && entry.args[2] & libc::O_CREAT as u64 != 0;
    creates || CALLS.contains(&number)
}

/// Runs `command` and kills it as it enters, on whichever thread, its call number `at`, counted
/// from 1 over all threads: that call does not happen any more, the one before did. Its answer,
/// where it ended by itself before.
pub fn run_up_to(mut command: Command, at: usize) -> Option<Answer> {
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
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    go_on(pid, None);

    // Only what this thread traces: other tests wait for programs of their own.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let mut calls = 0;
    let status = loop {
        match waitpid(None, Some(flags)).unwrap() {
            WaitStatus::PtraceSyscall(thread) => {
                calls += usize::from(enters_a_call(thread));
                match calls < at {
                    true => go_on(thread, None),
                    false => drop(kill(pid, Signal::SIGKILL)),
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

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The system calls of a run, as strace sees them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range",
          "splice", "tee", "vmsplice")  # fmt: skip
OPENS = ("open", "openat", "openat2", "creat", "open_by_handle_at")
SYNCS = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync")
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
         "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat")  # fmt: skip
ATTRIBUTES = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
    "utime", "utimes", "utimensat", "futimesat", "truncate", "ftruncate", "fallocate",
    "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
    "removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr",
)  # fmt: skip
CHANGING = (*WRITES, *OPENS, *SYNCS, *NAMES, *ATTRIBUTES, "ioctl")
"""Every call by which a process changes something that outlives it."""

_PROCESSES = """
brk mmap munmap mprotect mremap madvise rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
futex sched_yield sched_getaffinity clock_gettime clock_nanosleep getrandom gettimeofday
getpid getppid gettid getuid geteuid getgid getegid getgroups uname sysinfo prctl arch_prctl
set_robust_list set_tid_address rseq prlimit64 getrlimit exit exit_group restart_syscall
clone clone3 vfork fork execve wait4 waitid pipe2 pipe poll ppoll select pselect6 kill tgkill
"""
_LOOKING = """
read readv pread64 preadv lseek close dup dup2 dup3 fcntl flock fstat stat lstat newfstatat
statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents getdents64
getcwd getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr fadvise64
"""
_NAME_SERVICE = """
socket connect sendto recvfrom recvmsg sendmsg sendmmsg getsockname getpeername getsockopt
setsockopt bind shutdown
"""
HARMLESS = frozenset((_PROCESSES + _LOOKING + _NAME_SERVICE).split())
"""Calls that leave everything on disk as it was (``mmap`` only where it is not a shared mapping)."""

_LINE = re.compile(r"(?P<pid>[0-9]+) +(?P<text>(?P<name>[a-z_0-9]+)\(.*)")
_IMPORTS = re.compile(r'^open[^"]*"[^"]*\.pyc?"')
_OPENS_TO_WRITE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE")
_IOCTL_CHANGES = re.compile(r"FICLONE|FIDEDUPERANGE|FS_IOC_SET|_SETFLAGS|FITRIM")


class Call(NamedTuple):
    """A system call: the ``nth`` of its name since tracing began, from 1; as strace shows it."""

    name: str
    nth: int
    text: str

    def __str__(self) -> str:
        return f"{self.name}#{self.nth} {self.text[:160]}"


def parse(log: str) -> list[Call]:
    """Read strace's output of one single-threaded process."""
    calls = []
    count: Counter[str] = Counter()
    pids = set()
    for line in log.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pids.add(match["pid"])
        count[match["name"]] += 1
        calls.append(Call(match["name"], count[match["name"]], match["text"]))
        assert not _IMPORTS.search(match["text"]), f"an import differs from run to run: {line}"
    assert len(pids) <= 1, f"the calls of {len(pids)} processes or threads cannot be counted as one"
    return calls


def changing(calls: Iterable[Call]) -> list[Call]:
    """Return the calls that change something that outlives the process."""
    return [call for call in calls if _changes(call)]


def _changes(call: Call) -> bool:
    if call.name not in CHANGING:
        return False
    if call.name in OPENS:
        return call.name == "creat" or bool(_OPENS_TO_WRITE.search(call.text))
    if call.name == "ioctl":
        return bool(_IOCTL_CHANGES.search(call.text))
    return True


def looking(calls: Iterable[Call]) -> list[Call]:
    """Return the calls by which a process learns what is there, that succeeded."""
    names = ("read", "pread64", "getdents64", "readlink", "readlinkat", "newfstatat", "statx",
             "stat", "lstat", "fstat", "access", "faccessat", "faccessat2", "open", "openat")  # fmt: skip
    return [
        call
        for call in calls
        if call.name in names and not _changes(call) and not re.search(r"= -1 E[A-Z]+ ", call.text)
    ]


def unknown(calls: Iterable[Call]) -> list[Call]:
    """Return the calls of which nobody said whether they change something."""
    known = HARMLESS.union(CHANGING)
    return [call for call in calls if call.name not in known or _maps_file_to_write(call)]


def _maps_file_to_write(call: Call) -> bool:
    return (
        call.name == "mmap"
        and "MAP_SHARED" in call.text
        and "PROT_WRITE" in call.text
        and "MAP_ANON" not in call.text
    )

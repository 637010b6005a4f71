# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Children of the test process: run something apart, as another user, or with calls that fail or kill.

Faults are put at the calls of ``os`` and of ``_core.posix.syscalls`` that change something. (The
sweep in tests/crash does the same at every system call, by strace; here it is about speed.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import platform
import signal
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from _core.posix import syscalls

CHANGING = ("mkdir", "rename", "link", "symlink", "unlink", "rmdir", "fchmod", "fchown", "utime",
            "write", "ftruncate", "fsync", "copy_file_range")  # fmt: skip
KERNEL = ("renameat2", "syncfs")

Work = Callable[[], Any]


class Killed(Exception):
    """The child ended before its work did."""


class Child:
    """A forked child that waits to be let go, then does its work."""

    def __init__(self, work: Work, before: Callable[[], None] | None = None) -> None:
        self._reading, writing = os.pipe()
        waiting, self._gate = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            os.close(self._gate)
            os.read(waiting, 1)
            _live(work, before, writing)
        os.close(writing)
        os.close(waiting)

    def go(self) -> None:
        """Let the child begin; a later child has the gate open as well, so its end would be late."""
        os.write(self._gate, b"g")
        os.close(self._gate)

    def outcome(self) -> tuple[bool, Any]:
        """Wait for the end; return (True, what was returned) or (False, what was raised)."""
        with open(self._reading, "rb") as stream:
            answer = stream.read()
        status = os.waitpid(self.pid, 0)[1]
        return pickle.loads(answer) if status == 0 else (False, Killed(f"status {status}"))


def in_child(work: Work, *, before: Callable[[], None] | None = None) -> Any:
    """Return what ``work`` returns in a forked child, or raise what it raises."""
    child = Child(work, before)
    child.go()
    returned, value = child.outcome()
    if returned:
        return value
    raise value


def at_once(*works: Work) -> list[Any]:
    """Do all the works at the same time, each in a child; return what each returned or raised."""
    children = [Child(work) for work in works]
    for child in children:
        child.go()
    return [child.outcome()[1] for child in children]


def _live(work: Work, before: Callable[[], None] | None, writing: int) -> NoReturn:
    try:
        try:
            if before is not None:
                before()
            answer = pickle.dumps((True, work()))
        except BaseException as exc:
            answer = pickle.dumps((False, _portable(exc)))
        with open(writing, "wb") as stream:
            stream.write(answer)
        os._exit(0)
    finally:
        os._exit(1)


def _portable(exc: BaseException) -> BaseException:
    exc.__traceback__ = exc.__cause__ = exc.__context__ = None
    return exc


def become(uid: int) -> Callable[[], None]:
    """Return what makes the child another user for good."""

    def change() -> None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)

    return change


# --- dying ---


def die_at(number: int, *, after: bool = False) -> Callable[[], None]:
    """Return what lets the child be killed before (or after) its n-th changing call, from 0."""
    count = [0]

    def guard(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            mine = count[0]
            count[0] += 1
            if mine == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **options)
            if mine == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return guarded

    return lambda: wrap_calls(guard)


def wrap_calls(guard: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put ``guard`` around every changing call; only for a child, as it stays so."""
    for name in CHANGING:
        setattr(os, name, guard(getattr(os, name)))
    real_open = os.open
    creating = guard(real_open)

    def guarded_open(path: Any, flags: int, *args: Any, **options: Any) -> int:
        call = creating if flags & os.O_CREAT else real_open
        descriptor: int = call(path, flags, *args, **options)
        return descriptor

    os.open = guarded_open  # type: ignore[assignment]

    class Guarded:
        pass

    libc = Guarded()
    for name in KERNEL:
        setattr(libc, name, guard(getattr(syscalls._libc, name)))
    syscalls._libc = libc  # type: ignore[assignment]


# --- a system without some calls ---

_NUMBERS = {"x86_64": 316, "aarch64": 276}  # renameat2
_LINKS = {"x86_64": (86, 265), "aarch64": (37, 37)}  # link, linkat
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2

EXCHANGE, ANY_FLAG = 2, 3

_Program = list[tuple[int, int, int, int]]


def without_renameat2(flags: int) -> Callable[[], None]:
    """Return what lets the kernel refuse renameat2 with any of the flags, as NFS or 9p would."""
    machine = platform.machine()
    return lambda: _filter(
        [
            (_LOAD, 0, 0, 4),  # the architecture
            (_JUMP_EQUAL, 0, 5, _AUDIT[machine]),
            (_LOAD, 0, 0, 0),  # the number of the call
            (_JUMP_EQUAL, 0, 3, _NUMBERS[machine]),
            (_LOAD, 0, 0, 16 + 8 * 4),  # the fifth argument: flags
            (_JUMP_SET, 0, 1, flags),
            (_RETURN, 0, 0, _ERRNO | errno.EINVAL),
            (_RETURN, 0, 0, _ALLOW),
        ]
    )


def without_links() -> None:
    """Let the kernel refuse hard links, as FAT and some FUSE file systems would."""
    machine = platform.machine()
    link, linkat = _LINKS[machine]
    _filter(
        [
            (_LOAD, 0, 0, 4),
            (_JUMP_EQUAL, 0, 4, _AUDIT[machine]),
            (_LOAD, 0, 0, 0),
            (_JUMP_EQUAL, 1, 0, link),
            (_JUMP_EQUAL, 0, 1, linkat),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
    )


def _filter(program: _Program) -> None:
    """Have the kernel pass every call of this process through the program (seccomp)."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in program))
    head = struct.pack("HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(head), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

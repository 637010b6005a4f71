# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the children of the warm process do: each job prepares, and returns what is to be traced."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable

from _core.backends.directory import transaction
from _core.backends.directory.transaction import DirectoryTransaction
from _core.client import apply
from _core.client.transaction import ClientTransaction
from _core.client.working_copy import WorkingCopy
from _core.errors import DsgError
from _core.manifest import ignore, index
from _core.manifest.scan import scan_tree
from _core.plan.policy import ANY, Policy
from _core.posix.durable import sync_file_system
from _core.sync.engine import run
from _core.sync.recovery import recover
from _core.sync.request import SyncRequest
from _core.sync.status import inspect
from _core.sync.undo_names import undo_names
from _core.sync.verify import verify_repository

from tests.integration.children import ANY_FLAG, without_renameat2

from .scenarios import REPOSITORY, SCENARIOS, backend, pinned, request
from .state import listing, state

Work = Callable[[], object]

_libc = ctypes.CDLL(None)
_CLONE_NEWNS = 0x20000

OURS = 3
"""The number of the transaction that is swept; earlier ones made the state before."""


def mount(*, argv: list[list[str]]) -> Work:
    """Run the commands, to mount what the tests work on."""

    def work() -> object:
        for command in argv:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return None

    return work


def build(*, scenario: str, root: str, keep: str) -> Work:
    """Make the state before at ``root`` and keep a copy of it at ``keep``."""

    def work() -> object:
        for old in (root, keep):
            shutil.rmtree(old, ignore_errors=True)
        os.mkdir(root)
        SCENARIOS[scenario].build(root)
        copy_tree(root, keep)
        return state(root)

    return work


def build_here(*, scenario: str, root: str) -> Work:
    """Make the state before at ``root``, where file systems are mounted, and have it on disk."""

    def work() -> object:
        SCENARIOS[scenario].build(root)
        write_out(root)
        return state(root)

    return work


def attempt(*, scenario: str, root: str, keep: str = "") -> Work:
    """Put the state before in place, then do the scenario's run, or the recovery after its crash."""
    if keep:
        shutil.rmtree(root, ignore_errors=True)
        copy_tree(keep, root)
    if SCENARIOS[scenario].in_steps:
        without_renameat2(ANY_FLAG)()
    crash = SCENARIOS[scenario].crash
    if not crash:
        return lambda: told(lambda: _run(scenario, root))
    _die(scenario, root, crash)
    return lambda: told(lambda: _recover(root))


def restore(*, root: str, keep: str) -> Work:
    """Put the state before in place."""

    def work() -> object:
        shutil.rmtree(root, ignore_errors=True)
        copy_tree(keep, root)
        return None

    return work


def whole(*, scenario: str, root: str) -> Work:
    """Do the scenario's run without any fault."""
    return lambda: told(lambda: _run(scenario, root))


def aftermath(*, scenario: str, root: str) -> Work:
    """Look at what a run left, recover twice, look again, and let the next sync work."""
    return lambda: _aftermath(scenario, root)


def rerun(*, scenario: str, root: str) -> Work:
    """Let the next run recover by itself, as it would without anybody calling ``recover``."""

    def work() -> object:
        seen: dict[str, object] = {"outcome": told(lambda: _run(scenario, root))}
        return {**seen, "state": state(root), "sound": _sound(root)}

    return work


def everything(*, root: str) -> Work:
    """Return all that is on disk, temporary files included, as far as it is alike in every run."""

    def work() -> object:
        # These contain inode or process numbers, and in the clock's case are named by one.
        varying = re.compile(r".*/\.dsg/(.*\.?lock|journal.*|index.*|clock\.[0-9]+)")
        return sorted(
            [re.sub(r"clock\.[0-9]+", "clock", path), seen[:2] if varying.fullmatch(path) else seen]
            for path, seen in listing(root).items()
        )

    return work


def look(*, root: str) -> Work:
    """Return the state of both sides."""
    return lambda: state(root)


def device(*, place: str) -> Work:
    """Return the block device that is mounted at a place."""

    def work() -> object:
        argv = ["findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", place]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    return work


def shoot(*, flush: list[str], written: dict[str, int], devices: dict[str, str], into: str) -> Work:
    """Copy the images behind mounted file systems as a power cut would leave them.

    Nothing is written out before, but to the file systems ``flush``. Only images that were written to
    since the counts ``written`` are copied; returns the counts now.
    """

    def work() -> object:
        for place in flush:
            sync_file_system(place)
        counts = {image: _writes(device) for image, device in devices.items()}
        for image, count in counts.items():
            if count != written.get(image):
                target = os.path.join(into, f"{os.path.basename(image)}.{count}")
                subprocess.run(["cp", "--sparse=always", image, target], check=True)
        return counts

    return work


def after_cut(*, scenario: str, root: str, images: dict[str, str]) -> Work:
    """Come up after a power cut: mount copies of the images in place, and see to what is there."""

    def work() -> object:
        come_up(images)
        return _aftermath(scenario, root)

    return work


def fill(*, place: str, leave: int) -> Work:
    """Fill a file system but for ``leave`` bytes; below zero: make room again."""

    def work() -> object:
        filler = os.path.join(place, "filler")
        if os.path.exists(filler):
            os.unlink(filler)
        if leave < 0:
            return 0
        sync_file_system(place)
        free = os.statvfs(place)
        with open(filler, "wb") as stream:
            wanted = free.f_bfree * free.f_frsize
            while wanted > 0 and not _allocated(stream.fileno(), wanted):
                wanted -= 64 << 10
            os.ftruncate(stream.fileno(), max(wanted - leave, 0))
            os.fsync(stream.fileno())
        return wanted

    return work


JOBS: dict[str, Callable[..., Work]] = {
    job.__name__: job
    for job in (
        mount,
        build,
        build_here,
        attempt,
        restore,
        whole,
        aftermath,
        rerun,
        everything,
        look,
        device,
        shoot,
        after_cut,
        fill,
    )
}


def write_out(root: str) -> None:
    """Have all on disk that the file systems mounted below ``root`` hold."""
    for name in os.listdir(root):
        sync_file_system(os.path.join(root, name))


def come_up(images: dict[str, str]) -> None:
    """Mount copies of images where this process alone sees them, by the place of each."""
    assert _libc.unshare(_CLONE_NEWNS) == 0
    for place, image in images.items():
        copy = f"{image}.mounted"
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        subprocess.run(["mount", "-o", "loop,nouuid", copy, place], check=True)
        os.unlink(copy)  # goes with its mount


def told(work: Callable[[], object]) -> dict[str, object]:
    """Do the work; say what came of it as a user would see it."""
    try:
        return {"result": work()}
    except DsgError as exc:
        return {"error": exc.as_dict()}
    except KeyboardInterrupt:
        return {"interrupted": True}
    except BaseException as exc:
        return {"raised": f"{type(exc).__name__}: {exc}"}


def _run(scenario: str, root: str) -> object:
    asked = SCENARIOS[scenario]
    work = undo_names if asked.undoes else run
    with pinned(OURS):
        result = work(request(root, asked.operation, asked.policy))
    return {"snapshot": result.snapshot, "pending_cleanup": result.pending_cleanup}


def _recover(root: str) -> list[str]:
    return recover(os.path.join(root, "wc"), REPOSITORY, backend(root), 0.0)


def _die(scenario: str, root: str, where: str) -> None:
    """Let a run kill itself at a known place. (Where does not matter much: test_kill.py does all.)"""
    pid = os.fork()
    if pid == 0:
        owner, name, calls = {
            "staged": (DirectoryTransaction, "prepare", 0),
            "prepared": (DirectoryTransaction, "commit", 0),
            "exchanged": (transaction, "sync_directory", 0),
            "committed": (ClientTransaction, "commit", 0),
            "midway": (apply, "_swap", 2),
            "renaming": (apply, "rename_noreplace", 3),
        }[where]
        _die_in(owner, name, calls)
        _run(scenario, root)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL, f"{scenario} did not die {where}"


def _die_in(owner: object, name: str, after: int) -> None:
    original, left = getattr(owner, name), [after]

    def deadly(*arguments: object) -> object:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return original(*arguments)

    setattr(owner, name, deadly)


def _aftermath(scenario: str, root: str) -> dict[str, object]:
    asked = request(root, SCENARIOS[scenario].operation, SCENARIOS[scenario].policy)
    seen: dict[str, object] = {"at_once": state(root)}
    seen["status"] = told(lambda: inspect(asked).unfinished)
    for turn in ("first", "second"):
        seen[turn] = told(lambda: _recover(root))
        seen[f"{turn}_state"] = state(root)
    seen["index"] = _index_is_right(asked)
    seen["next"] = told(lambda: _run(scenario, root))
    seen["next_state"] = state(root)
    seen["in_sync"] = told(lambda: _comes_in_sync(scenario, root))
    seen["sound"] = _sound(root)
    return seen


def _comes_in_sync(scenario: str, root: str) -> bool:
    """Tell whether both sides are equal, after the other direction where only one was asked for."""
    policy = SCENARIOS[scenario].policy
    both = request(root, "auto", Policy(conflict_paths=policy.conflict_paths, names=policy.names))
    if policy.direction != "both":
        with pinned(OURS + 1):
            run(both)
    return inspect(both).in_sync


def _index_is_right(asked: SyncRequest) -> bool:
    """Tell whether a scan with the index finds what one without it finds."""
    copy = WorkingCopy(asked.src)
    if not copy.exists():
        return True
    rules = ignore.load(asked.src, ())
    strict = asked.policy.names == ANY
    fast = scan_tree(asked.src, ignore=rules, index=index.load(copy.index), check_names=strict)
    full = scan_tree(asked.src, ignore=rules, checksum=True, check_names=strict)
    return fast.entries == full.entries


def _writes(device: str) -> int:
    """Return how many writes a loop device has carried out."""
    with open(f"/sys/block/{os.path.basename(device)}/stat", encoding="ascii") as stream:
        return int(stream.read().split()[4])


def _allocated(fd: int, size: int) -> bool:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        return False
    return True


def _sound(root: str) -> object:
    return told(lambda: verify_repository(REPOSITORY, backend(root)).sound)


def copy_tree(source: str, target: str) -> None:
    """Copy a tree with modes, times and hard links, and let the file system's clock pass it.

    What changed just before a scan is read again by the next one, and calls that were counted in
    another run would be off.
    """
    _copy(source, target, {})
    while index.read_clock(os.path.dirname(target)).limit_ns <= os.lstat(target).st_ctime_ns:
        pass


def _copy(source: str, target: str, known: dict[int, str]) -> None:
    seen = os.lstat(source)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.mkdir(target)
        for name in sorted(os.listdir(source)):
            _copy(os.path.join(source, name), os.path.join(target, name), known)
        os.chmod(target, seen.st_mode & 0o7777)
    elif seen.st_ino in known:
        os.link(known[seen.st_ino], target)
        return
    else:
        known[seen.st_ino] = target
        shutil.copyfile(source, target)
        os.chmod(target, seen.st_mode & 0o7777)
    os.utime(target, ns=(seen.st_mtime_ns, seen.st_mtime_ns), follow_symlinks=False)

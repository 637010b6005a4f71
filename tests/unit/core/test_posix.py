# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths beneath a directory, locks, atomic files, removal and copying."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from _core.errors import LockedError
from _core.posix import copy, durable, syscalls
from _core.posix.beneath import Beneath
from _core.posix.lock import locked
from _core.posix.remove import remove_tree_at

CORE = Path(copy.__file__).parents[2]
NOBODY = 65534


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestBeneath:
    def test_parents_are_made_where_asked_for(self, tmp_path: Path) -> None:
        with Beneath(str(tmp_path)) as tree:
            fd, name = tree.at("a/b/c", make_parents=True)
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        assert (tmp_path / "a" / "b" / "c").is_file()

    def test_a_link_in_the_way_is_not_followed(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        root = tmp_path / "root"
        root.mkdir()
        (root / "link").symlink_to(outside)
        with Beneath(str(root)) as tree:
            with pytest.raises(OSError) as caught:
                tree.at("link/file", make_parents=True)
            assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
        assert list(outside.iterdir()) == []

    def test_more_directories_than_descriptors_are_kept(self, tmp_path: Path) -> None:
        before = open_descriptors()
        with Beneath(str(tmp_path)) as tree:
            for number in range(300):
                fd, name = tree.at(f"d{number}/e/file", make_parents=True)
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            assert open_descriptors() - before < 100
            assert tree.lstat("d0/e/file") is not None
        assert open_descriptors() == before
        assert len(list(tmp_path.glob("d*/e/file"))) == 300

    def test_a_parent_in_use_stays_open_while_others_come(self, tmp_path: Path) -> None:
        with Beneath(str(tmp_path)) as tree:
            tree.at("first/x", make_parents=True)
            for number in range(63):
                tree.at(f"d{number}/x", make_parents=True)
            fd, _unused = tree.at("first/x")  # a hit makes it the most recent again
            tree.at("last/x", make_parents=True)
            assert os.path.samestat(os.fstat(fd), (tmp_path / "first").stat())

    def test_what_is_absent_has_no_stat(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with Beneath(str(tmp_path)) as tree:
            assert tree.lstat("nothing") is None
            assert tree.lstat("nothing/below") is None
            assert tree.lstat("file/below") is None


def _holder(lock: str, *, shared: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that holds a lock until its input ends; returns once it does."""
    code = (
        f"import sys; sys.path.insert(0, {str(CORE)!r})\n"
        "from _core.posix.lock import locked\n"
        f"with locked({lock!r}, timeout=0, shared={shared}, what='x'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    return holder


class TestLock:
    def test_it_excludes_another_process_and_names_the_holder(self, tmp_path: Path) -> None:
        lock = str(tmp_path / "lock")
        with _holder(lock) as holder:
            held = pytest.raises(LockedError, match=f"pid {holder.pid}")
            with held, locked(lock, timeout=0, what="tree"):
                pass
            holder.kill()
            holder.wait()
            # The kernel lets go: nothing has to be removed by hand.
            with locked(lock, timeout=0, what="tree"):
                pass

    def test_it_names_who_shares_it_and_not_who_died_over_it(self, tmp_path: Path) -> None:
        lock = str(tmp_path / "lock")
        with _holder(lock) as dead:
            dead.kill()
        with _holder(lock, shared=True) as reader:
            with pytest.raises(LockedError) as caught, locked(lock, timeout=0, what="tree"):
                pass
            assert f"pid {reader.pid}, " in caught.value.message
            assert f"pid {dead.pid}" not in caught.value.message

    def test_it_is_held_until_the_last_command_has_ended(self, tmp_path: Path) -> None:
        """Whoever started it may be dead: what it still does must not be taken for undone."""
        lock = str(tmp_path / "lock")
        gate = str(tmp_path / "gate")
        os.mkfifo(gate)
        code = (
            f"import sys; sys.path.insert(0, {str(CORE)!r})\n"
            "from _core.posix.lock import locked\n"
            "from _core.zfs.command import Runner\n"
            "runner = Runner()\n"
            f"with locked({lock!r}, timeout=0, what='x') as fd:\n    runner.kept = (fd,)\n"
            f"    runner.run('cat', {gate!r})\n"
        )
        with (
            open(gate, "r+b", buffering=0) as end,
            subprocess.Popen([sys.executable, "-c", code]) as holder,
        ):
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
            while not children.read_text():  # until it has started the command
                assert holder.poll() is None
            holder.kill()
            holder.wait()
            with pytest.raises(LockedError), locked(lock, timeout=0.2, what="tree"):
                pass
            end.write(b"x")  # it writes it to where nobody reads any more
            with locked(lock, timeout=60, what="tree"):
                pass

    def test_who_may_hold_it_is_a_matter_of_its_mode(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        with locked(str(lock), timeout=0, what="x", mode=0o600):
            assert lock.stat().st_mode & 0o777 == 0o600

    def test_readers_share_it_and_exclude_a_writer(self, tmp_path: Path) -> None:
        lock = str(tmp_path / "lock")
        with locked(lock, timeout=0, what="x"):
            pass
        reader = {"timeout": 0, "shared": True, "what": "x"}
        refused = pytest.raises(LockedError)
        writer = locked(lock, timeout=0, what="x")
        with locked(lock, **reader), locked(lock, **reader), refused, writer:
            pass

    def test_a_link_in_its_place_is_refused(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "lock").symlink_to(victim)
        with pytest.raises(OSError), locked(str(tmp_path / "lock"), timeout=0, what="x"):
            pass
        assert victim.read_text() == "precious"


class TestDurable:
    def test_a_failing_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")

        def chunks():
            yield b"new"
            raise OSError(errno.EIO, "I/O error")

        with pytest.raises(OSError):
            durable.replace(str(path), chunks())
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]  # nothing stays behind on a disk that is full
        durable.replace(str(path), [b"new", b"er"])
        assert path.read_bytes() == b"newer"
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

    def test_a_short_write_is_continued(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written = bytearray()

        def write(fd: int, data: memoryview) -> int:
            written.extend(data[:3])
            return len(data[:3])

        monkeypatch.setattr(os, "write", write)
        durable.write_all(1, b"0123456789")
        assert written == b"0123456789"


class TestRenames:
    def test_exchange_swaps_and_noreplace_refuses(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        one.write_text("1")
        two.write_text("2")
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            syscalls.rename_exchange("one", fd, "two", fd)
            assert (one.read_text(), two.read_text()) == ("2", "1")
            with pytest.raises(FileExistsError):
                syscalls.rename_noreplace("one", fd, "two", fd)
            with pytest.raises(FileNotFoundError):
                syscalls.rename_exchange("one", fd, "three", fd)
        finally:
            os.close(fd)
        assert (one.read_text(), two.read_text()) == ("2", "1")


class TestRemove:
    def test_links_are_removed_not_followed(self, tmp_path: Path) -> None:
        keep = tmp_path / "keep"
        keep.mkdir()
        (keep / "file").touch()
        tree = tmp_path / "tree"
        (tree / "deep" / "er").mkdir(parents=True)
        (tree / "deep" / "link").symlink_to(keep)
        (tree / "top").symlink_to(keep)
        remove_tree_at(str(tree))
        assert not tree.exists()
        assert (keep / "file").exists()
        remove_tree_at(str(tree))  # absent is fine
        remove_tree_at(str(tmp_path / "no" / "parent"))


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * 2**20 + 5, 8 * 2**20, 33 * 2**20 + 1])
@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_copy_is_whole_and_its_hash_is_of_what_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, in_kernel: bool
) -> None:
    if not in_kernel:

        def refuse(*_unused: object) -> int:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "wb+") as target:
        found = copy.copy_hashed(source.fileno(), target.fileno(), size)
    assert found == (size, hashlib.sha256(content).hexdigest())
    assert (tmp_path / "target").read_bytes() == content


def test_a_large_copy_that_cannot_be_read_back_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_unused: object) -> int:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "preadv", fail)
    (tmp_path / "source").write_bytes(bytes(9 * 2**20))
    refused = pytest.raises(OSError, match="I/O error")
    names = (tmp_path / "source", tmp_path / "target")
    with refused, open(names[0], "rb") as source, open(names[1], "wb+") as target:
        copy.copy_hashed(source.fileno(), target.fileno(), 9 * 2**20)

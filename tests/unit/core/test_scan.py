# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scan finds what is there, refuses what cannot be published, and hashes what it must."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from _core.errors import PathError, SourceChanged, TreeError
from _core.manifest import index as indexes
from _core.manifest.digest import tree_digest
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.ignore import Ignore
from _core.manifest.scan import Scan, scan_tree


def hex_of(data: bytes) -> str:
    return sha256(data).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with one of everything, old enough to be trusted at once."""
    root = tmp_path / "tree"
    for folder in (".dsg", "a-b", "a/deep/er", "empty/inside"):
        (root / folder).mkdir(parents=True)
    for name in (".dsg/private", "a-b/x", "a/y", "a/deep/er/z", "top"):
        (root / name).write_bytes(name.encode())
    (root / "a/deep/er/z").chmod(0o4751)
    (root / "a/link").symlink_to("../top")
    return root


def paths(scan: Scan) -> list[str]:
    return [entry.path for entry in scan.entries]


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything on disk count as old: the tests' edits are seconds young."""
    real = indexes.read_clock

    def read_clock(directory: str) -> indexes.Clock:
        clock = real(directory)
        return clock._replace(limit_ns=clock.limit_ns + 3_600_000_000_000)

    monkeypatch.setattr("_core.manifest.scan.read_clock", read_clock)


def indexed(root: Path, **options: object) -> Scan:
    """Scan with a fresh index of the tree as it is."""
    before = scan_tree(str(root), clock_directory=str(root / ".dsg"))
    return scan_tree(str(root), index=before.as_index(), **options)


# --- what is found ---


def test_everything_is_found(tree: Path) -> None:
    scan = scan_tree(str(tree))
    by_path = {entry.path: entry for entry in scan.entries}
    assert paths(scan) == ["a-b/x", "a/deep/er/z", "a/link", "a/y", "empty/inside", "top"]
    found = (tree / "a/y").stat()
    assert by_path["a/y"] == Entry(
        "a/y", FILE, 3, found.st_mtime_ns, found.st_mode & 0o777, hex_of(b"a/y"), "", ""
    )
    assert by_path["a/deep/er/z"].mode == 0o751
    assert by_path["a/link"] == Entry("a/link", LINK, 0, 0, 0, "", "../top", "")
    assert by_path["empty/inside"] == Entry("empty/inside", DIRECTORY, 0, 0, 0, "", "", "")
    assert scan.counts == (4, 1, 1, 3 + 5 + 3 + 11)
    assert scan.digest == tree_digest(scan.entries)


def test_the_order_is_that_of_the_bytes(tmp_path: Path) -> None:
    names = ["a/b", "a.b", "a-b", "ab", "Z", "é", "\U0001f642", "\ufb00x", "a0/b"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert paths(scan_tree(str(tmp_path))) == sorted(names, key=str.encode)


def test_an_empty_tree_is_fine(tmp_path: Path) -> None:
    assert scan_tree(str(tmp_path)).entries == []


def test_only_the_top_level_metadata_is_skipped(tree: Path) -> None:
    (tree / ".zfs").mkdir()
    assert not any(path.startswith(".") for path in paths(scan_tree(str(tree))))
    for name in ("a/.dsg", "a/.ZFS"):
        (tree / name).mkdir()
        (tree / name / "f").touch()
    with pytest.raises(PathError) as caught:
        scan_tree(str(tree))
    assert [line.split(":")[0] for line in caught.value.details] == ["'a/.ZFS'", "'a/.dsg'"]


def test_what_is_ignored_is_not_looked_at(tree: Path) -> None:
    os.mkfifo(tree / "a/pipe.tmp")
    (tree / "a/deep/.dsg").mkdir()
    (tree / "empty/inside/x.tmp").touch()
    scan = scan_tree(str(tree), ignore=Ignore(["*.tmp", "/a/deep/"]))
    assert paths(scan) == ["a-b/x", "a/link", "a/y", "empty/inside", "top"]


def test_identity_is_the_stat(tree: Path) -> None:
    scan = scan_tree(str(tree))
    for path in ("top", "a/deep/er/z", "a/link"):
        found = (tree / path).lstat()
        assert scan.identity(path) == (
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
        )
    for path in ("nothing", "a", "empty/inside", "no/where"):
        with pytest.raises(KeyError):
            scan.identity(path)


def test_large_inode_numbers_fit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlay and network file systems use all 64 bits."""
    real = os.stat

    class Found:
        def __init__(self, found: os.stat_result) -> None:
            self._found = found

        def __getattr__(self, name: str) -> object:
            value = getattr(self._found, name)
            return value + 2**63 if name == "st_ino" else value

    def stat(*arguments: object, **named: object) -> object:
        found = real(*arguments, **named)  # type: ignore[arg-type]
        return Found(found) if arguments[0] == "top" else found

    monkeypatch.setattr(os, "stat", stat)
    scan = scan_tree(str(tree), must_hash=lambda path: path != "top")
    assert scan.identity("top").ino == (tree / "top").lstat().st_ino + 2**63


# --- what is refused, all at once ---


def test_all_problems_are_told_in_one_error(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "a/socket"))
    (tree / "out").symlink_to("../outside")
    (tree / "TOP").touch()
    (tree / "e\u0301").touch()
    Path(os.fsdecode(bytes(tree / "a") + b"/bad\xff")).touch()
    with pytest.raises(PathError) as caught:
        scan_tree(str(tree))
    text = "\n".join(caught.value.details)
    assert len(caught.value.details) == 6
    for expected in (
        "'pipe': a fifo",
        "'a/socket': a socket",
        "'out' -> '../outside': the link leaves the tree",
        "'top': collides with 'TOP'",
        "not in Unicode normalisation form NFC",
        r"'a/bad\udcff': not valid UTF-8",
    ):
        assert expected in text


def test_special_files_alone_are_no_path_error(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(TreeError, match="One finding"):
        scan_tree(str(tree))


def test_many_problems_are_counted(tree: Path) -> None:
    for number in range(50):
        os.mkfifo(tree / f"pipe{number:02d}")
    with pytest.raises(TreeError, match="50 findings") as caught:
        scan_tree(str(tree))
    assert len(caught.value.details) == 21
    assert caught.value.details[-1] == "... and 30 more"


def test_unreadable_things_are_all_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: str, *arguments: object, **named: object) -> int:
        if path in ("top", "x"):
            raise PermissionError(errno.EACCES, "refused", path)
        return real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TreeError) as caught:
        scan_tree(str(tree))
    assert caught.value.details == [
        "'a-b/x': cannot be read: Permission denied",
        "'top': cannot be read: Permission denied",
    ]


def test_an_unreadable_directory_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: str, *arguments: object, **named: object) -> int:
        if path == "a/deep":
            raise PermissionError(errno.EACCES, "refused", path)
        return real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TreeError) as caught:
        scan_tree(str(tree))
    assert caught.value.details == ["'a/deep': cannot be read: Permission denied"]


# --- what changes meanwhile ---


def during(
    monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[..., bool], do: Callable[[], object]
) -> None:
    """Run ``do`` once, right after the first ``os.<name>(...)`` for which ``when(*args)``."""
    real = getattr(os, name)
    done: list[int] = []

    def wrapped(*arguments: object, **named: object) -> object:
        result = real(*arguments, **named)
        if not done and when(*arguments):
            done.append(1)
            do()
        return result

    monkeypatch.setattr(os, name, wrapped)


def test_a_file_that_vanishes_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    during(monkeypatch, "listdir", lambda *_unused: True, (tree / "top").unlink)
    with pytest.raises(SourceChanged) as caught:
        scan_tree(str(tree))
    assert caught.value.object == "top"


def test_an_ignored_file_may_vanish(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "x.swp").touch()
    during(monkeypatch, "listdir", lambda *_unused: True, (tree / "x.swp").unlink)
    assert "top" in paths(scan_tree(str(tree), ignore=Ignore(["*.swp"])))


def test_a_directory_swapped_for_a_link_is_not_followed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"

    def swap() -> None:
        (tree / "a").rename(outside)
        (tree / "a").symlink_to(outside)

    during(monkeypatch, "stat", lambda name: name == "top", swap)
    with pytest.raises(SourceChanged) as caught:
        scan_tree(str(tree))
    assert caught.value.object == "a"


def test_a_directory_replaced_by_another_is_noticed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        (tree / "a").rename(tmp_path / "old")
        shutil.copytree(tmp_path / "old", tree / "a", symlinks=True)

    during(monkeypatch, "stat", lambda name: name == "top", swap)
    with pytest.raises(SourceChanged):
        scan_tree(str(tree))


def test_a_file_edited_after_the_walk_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "_core.manifest.scan.link_problems",
        lambda _unused: (tree / "a/y").write_bytes(b"new") and [],
    )
    with pytest.raises(SourceChanged) as caught:
        scan_tree(str(tree))
    assert caught.value.object == "a/y"


# --- with an index ---


def test_an_unchanged_tree_is_not_hashed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    cold = scan_tree(str(tree), clock_directory=str(tree / ".dsg"))
    cold.save(str(tree / ".dsg/index"))
    warm = scan_tree(str(tree), index=indexes.load(str(tree / ".dsg/index")))
    assert (cold.hashed, warm.hashed, warm.hashed_bytes) == (4, 0, 0)
    assert (cold.as_indexed, warm.as_indexed) == (False, True)
    assert (warm.digest, warm.entries, warm.counts) == (cold.digest, cold.entries, cold.counts)


def test_an_unchanged_tree_makes_no_entries(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    before = scan_tree(str(tree), clock_directory=str(tree / ".dsg"))
    index = before.as_index()
    monkeypatch.setattr("_core.manifest.scan.entries_of", None)  # may not be called
    assert scan_tree(str(tree), index=index).digest == before.digest


def test_only_what_changed_is_hashed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    before = scan_tree(str(tree), clock_directory=str(tree / ".dsg")).as_index()
    (tree / "a/y").write_bytes(b"changed")
    (tree / "a/new").write_bytes(b"new")
    (tree / "a-b/x").rename(tree / "a-b/moved")
    (tree / "a/link").unlink()
    (tree / "a/link").symlink_to("y")
    scan = scan_tree(str(tree), index=before)
    assert scan.hashed == 3  # a rename changes the inode's ctime, and so looks like a change
    assert scan.entries == scan_tree(str(tree)).entries
    assert not scan.as_indexed


def test_a_touched_file_leaves_the_digest_as_it_was(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    before = scan_tree(str(tree), clock_directory=str(tree / ".dsg"))
    os.utime(tree / "top")
    scan = scan_tree(str(tree), index=before.as_index())
    assert (scan.digest, scan.hashed, scan.as_indexed) == (before.digest, 1, False)


def test_young_files_are_hashed_again(tree: Path) -> None:
    """Without waiting, nothing the tests make is older than the clock's tick."""
    assert indexed(tree).digest == scan_tree(str(tree)).digest
    os.utime(tree / "top", ns=(0, 2**62))  # and what claims to be from the future never is
    assert indexed(tree).hashed >= 1


def test_checksum_hashes_everything(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    assert indexed(tree, checksum=True).hashed == 4


def test_checksum_finds_what_stats_hide(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after bit rot: the index remembers another content, every stat is the same."""
    later(monkeypatch)
    true = scan_tree(str(tree))
    index = scan_tree(str(tree), clock_directory=str(tree / ".dsg")).as_index()
    index.directories[""].digests = b"\x07" * 32
    trusting = scan_tree(str(tree), index=index)
    assert {e.path: e.sha256 for e in trusting.entries}["top"] == "07" * 32
    checked = scan_tree(str(tree), index=index, checksum=True)
    assert (checked.entries, checked.digest) == (true.entries, true.digest)


def test_problems_are_found_with_an_index_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    before = scan_tree(str(tree), clock_directory=str(tree / ".dsg")).as_index()
    (tree / "a/link").unlink()
    (tree / "a/link").symlink_to("/etc")
    (tree / "a/Y").touch()
    with pytest.raises(PathError) as caught:
        scan_tree(str(tree), index=before)
    assert len(caught.value.details) == 2


def test_ignoring_more_or_less_needs_no_new_index(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    at = str(tree / ".dsg")
    ignore = Ignore(["/a/"])
    less = scan_tree(str(tree), ignore=ignore, clock_directory=at)
    more = scan_tree(str(tree), index=less.as_index(), clock_directory=at)
    assert more.entries == scan_tree(str(tree)).entries
    again = scan_tree(str(tree), index=more.as_index(), ignore=ignore)
    assert (again.digest, again.hashed) == (less.digest, 0)


# --- files that are hashed by others ---


def test_files_may_stay_unhashed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    at = str(tree / ".dsg")
    expected = scan_tree(str(tree))
    scan = scan_tree(str(tree), must_hash=lambda path: path == "top", clock_directory=at)
    assert (scan.hashed, scan.digest) == (1, "")
    assert [e.path for e in scan.entries if e.kind == FILE and e.sha256] == ["top"]
    assert scan_tree(str(tree), index=scan.as_index()).hashed == 3
    for path in ("a-b/x", "a/y", "a/deep/er/z"):
        scan.set_hash(path, hex_of(path.encode()))
    assert (scan.digest, scan.entries) == (expected.digest, expected.entries)
    assert scan_tree(str(tree), index=scan.as_index()).hashed == 0


def test_hashes_known_elsewhere_are_asked_for(tree: Path) -> None:
    asked = {}

    def known(path: str, identity: object) -> str:
        asked[path] = identity
        return hex_of(b"known") if path == "a/y" else ""

    scan = scan_tree(str(tree), known=known, must_hash=lambda path: path != "top")
    found = {entry.path: entry.sha256 for entry in scan.entries}
    assert (found["a/y"], found["top"], found["a-b/x"]) == (hex_of(b"known"), "", hex_of(b"a-b/x"))
    assert asked["top"] == scan.identity("top")


# --- mounts ---


def test_other_file_systems_in_the_tree_are_never_trusted(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their clock is not the one that was read."""
    later(monkeypatch)
    before = scan_tree(str(tree), clock_directory="/dev/shm").as_index()
    assert os.stat("/dev/shm").st_dev != tree.stat().st_dev
    assert scan_tree(str(tree), index=before).hashed == 4


def test_find_finds_the_same(tree: Path) -> None:
    listed = subprocess.run(
        ["find", ".", "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%P\\n"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    expected = sorted(path for path in listed if not path.startswith(".dsg"))
    assert [e.path for e in scan_tree(str(tree)).entries if e.kind != DIRECTORY] == expected

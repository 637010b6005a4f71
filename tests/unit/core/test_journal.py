# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of the working copy: carried out once, however often it is repeated."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from _core.client import apply, journal
from _core.client.apply import carry_out
from _core.client.arriving import Arriving
from _core.client.journal import HERE, INSTALL, MKDIR, REMOVE, RMDIR, Journal, Operation, Seen
from _core.errors import WorkingCopyError
from _core.manifest import codec
from _core.manifest.entry import FILE, LINK, Entry
from _core.posix.beneath import Beneath


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    (tmp_path / "slots").mkdir()
    return tmp_path / "slots"


def seen(path: Path) -> Seen:
    stat = path.lstat()
    return Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def install(slots: Path, slot: int, path: str, content: str, old: Seen | None) -> Operation:
    (slots / str(slot)).write_text(content)
    return Operation(INSTALL, path, slot, (slots / str(slot)).lstat().st_ino, old)


def run(tree: Path, slots: Path, *operations: Operation, record: str | None = None) -> list[str]:
    arriving = Arriving(record, partial(open, mode="rb"))
    with Beneath(str(tree)) as at_tree, Beneath(str(slots)) as at_slots:
        return carry_out(list(operations), at_tree, at_slots, arriving)


def test_new_files_and_their_directories_arrive_and_repeating_changes_nothing(
    tree: Path, slots: Path
) -> None:
    operations = [install(slots, 0, "a/b/new", "new", None), Operation(MKDIR, "c/empty")]
    for _unused in range(2):
        assert run(tree, slots, *operations) == []
        assert (tree / "a/b/new").read_text() == "new"
        assert (tree / "c/empty").is_dir()


def test_a_planned_version_is_replaced_and_kept_in_the_slot(tree: Path, slots: Path) -> None:
    (tree / "f").write_text("old")
    operation = install(slots, 0, "f", "new", seen(tree / "f"))
    for _unused in range(2):
        assert run(tree, slots, operation) == []
        assert (tree / "f").read_text() == "new"
        assert (slots / "0").read_text() == "old"


def test_an_edit_after_it_was_applied_survives_a_repetition(tree: Path, slots: Path) -> None:
    (tree / "f").write_text("old")
    operations = [
        install(slots, 0, "f", "new", seen(tree / "f")),
        install(slots, 1, "g", "new", None),
    ]
    run(tree, slots, *operations)
    for name in ("f", "g"):
        (tree / name).unlink()
        (tree / name).write_text("edited since")
    assert run(tree, slots, *operations) == []
    assert (tree / "f").read_text() == (tree / "g").read_text() == "edited since"


@pytest.mark.parametrize("edit", ["rewritten", "replaced", "deleted", "directory"])
def test_a_version_that_was_not_planned_against_is_put_off(
    tree: Path, slots: Path, edit: str
) -> None:
    (tree / "f").write_text("old")
    planned = seen(tree / "f")
    operation = install(slots, 0, "f", "new", planned)
    if edit == "rewritten":
        (tree / "f").write_text("something longer")
    else:
        (tree / "f").rename(tree / "elsewhere")
        if edit == "replaced":
            (tree / "f").write_text("old")
        elif edit == "directory":
            (tree / "f").mkdir()
    before = sorted(str(p) for p in tree.rglob("*"))
    assert run(tree, slots, operation) == ["f"]
    assert sorted(str(p) for p in tree.rglob("*")) == before
    assert (slots / "0").read_text() == "new"


def test_a_name_that_came_into_being_is_put_off(tree: Path, slots: Path) -> None:
    (tree / "f").write_text("mine")
    assert run(tree, slots, install(slots, 0, "f", "new", None)) == ["f"]
    assert (tree / "f").read_text() == "mine"


def test_files_and_emptied_directories_go_and_others_stay(tree: Path, slots: Path) -> None:
    (tree / "d/e").mkdir(parents=True)
    (tree / "d/e/f").write_text("old")
    (tree / "k").mkdir()
    (tree / "k/gone").write_text("old")
    (tree / "k/ignored").write_text("mine")
    operations = [
        Operation(REMOVE, "d/e/f", 0, 0, seen(tree / "d/e/f")),
        Operation(REMOVE, "k/gone", 1, 0, seen(tree / "k/gone")),
        Operation(RMDIR, "k"),
        Operation(RMDIR, "d/e"),
        Operation(RMDIR, "d"),
    ]
    for _unused in range(2):
        assert run(tree, slots, *operations) == []
        assert sorted(p.name for p in tree.rglob("*")) == ["ignored", "k"]
        assert (slots / "0").read_text() == "old"


def test_an_edited_file_is_not_removed(tree: Path, slots: Path) -> None:
    (tree / "f").write_text("old")
    operation = Operation(REMOVE, "f", 0, 0, seen(tree / "f"))
    (tree / "f").write_text("edited")
    assert run(tree, slots, operation) == ["f"]
    assert (tree / "f").read_text() == "edited"


def test_a_directory_swapped_for_a_link_leads_nowhere(
    tree: Path, slots: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "d").symlink_to(outside)
    assert run(tree, slots, install(slots, 0, "d/f", "new", None)) == ["d/f"]
    assert list(outside.iterdir()) == []


# --- file systems that lack something, and a save in the very moment ---

ALL, NO_EXCHANGE, NO_LINKS = "all", "no exchange", "no links either"


@pytest.fixture(params=[ALL, NO_EXCHANGE, NO_LINKS])
def lacking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take away what network file systems and those of sticks lack."""

    def unsupported(number: int) -> Callable[..., None]:
        def call(*_unused: object, **_options: object) -> None:
            raise OSError(number, os.strerror(number))

        return call

    if request.param != ALL:
        monkeypatch.setattr(apply, "rename_exchange", unsupported(errno.EINVAL))
        monkeypatch.setattr(apply, "rename_noreplace", unsupported(errno.EINVAL))
    if request.param == NO_LINKS:
        monkeypatch.setattr(os, "link", unsupported(errno.EPERM))
    return str(request.param)


def test_the_old_version_is_kept_on_every_file_system(
    tree: Path, slots: Path, lacking: str
) -> None:
    (tree / "f").write_text("old")
    (tree / "g").write_text("old g")
    operations = [
        install(slots, 0, "f", "new", seen(tree / "f")),
        install(slots, 1, "n", "new n", None),
        Operation(REMOVE, "g", 2, 0, seen(tree / "g")),
    ]
    for _unused in range(2):
        assert run(tree, slots, *operations) == []
        assert (tree / "f").read_text() == "new"
        assert (tree / "n").read_text() == "new n"
        assert (slots / ("0" if lacking == ALL else "0.old")).read_text() == "old"
        assert (slots / "2").read_text() == "old g"
        assert not (tree / "g").exists()


def test_a_name_that_is_taken_is_never_overwritten(tree: Path, slots: Path, lacking: str) -> None:
    (tree / "f").write_text("mine")
    assert run(tree, slots, install(slots, 0, "f", "new", None)) == ["f"]
    assert (tree / "f").read_text() == "mine"


class Saving:
    """Saves ``path`` anew, as editors do, right before it is renamed for the n-th time."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path, *times: int) -> None:
        self.path, self.times, self.count = path, times, 0
        patch.setattr(apply, "rename_exchange", self._before(apply.rename_exchange))
        patch.setattr(os, "rename", self._before(os.rename))

    def _before(self, call: Callable[..., None]) -> Callable[..., None]:
        def guarded(source: str, *others: object, **options: object) -> None:
            names = (source, *others[:2]) if options or len(others) > 1 else ()
            if self.path.name in names:
                if self.count in self.times:
                    saved = self.path.with_name("saved")
                    saved.write_text(f"saved {self.count}")
                    saved.replace(self.path)
                self.count += 1
            call(source, *others, **options)

        return guarded


def test_a_version_saved_in_the_instant_of_the_change_is_put_back(
    tree: Path, slots: Path, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for remove in (False, True):
        path = tree / f"f{remove}"
        path.write_text("old")
        planned = seen(path)
        operation = Operation(REMOVE, path.name, 1, 0, planned)
        if not remove:
            operation = install(slots, 0, path.name, "new", planned)
        with monkeypatch.context() as patch:
            saving = Saving(patch, path, 0)
            assert run(tree, slots, operation) == [path.name]
        assert saving.count
        assert path.read_text() == "saved 0"
        assert run(tree, slots, operation) == [path.name]
        assert path.read_text() == "saved 0"
        assert not list(slots.glob("*.*"))


def test_what_is_saved_twice_in_that_instant_is_set_aside(
    tree: Path, slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "f").write_text("old")
    operation = install(slots, 0, "f", "new", seen(tree / "f"))
    with monkeypatch.context() as patch:
        Saving(patch, tree / "f", 0, 1)
        assert run(tree, slots, operation) == ["f"]
    for _unused in range(2):
        found = {(tree / "f").read_text(), (slots / "0.aside").read_text()}
        assert found == {"saved 0", "saved 1"}
        assert run(tree, slots, operation) == ["f"]


@pytest.mark.parametrize("remove", [False, True])
def test_a_save_that_a_crash_left_in_the_slot_is_put_back(
    tree: Path, slots: Path, lacking: str, remove: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the change and the look at what it caught."""
    (tree / "f").write_text("old")
    operation = Operation(REMOVE, "f", 0, 0, seen(tree / "f"))
    if not remove:
        operation = install(slots, 0, "f", "new", seen(tree / "f"))
    with monkeypatch.context() as patch:
        Saving(patch, tree / "f", 0)
        look = apply._seen

        def dies_behind(fd: int, name: str) -> Seen | None:
            found = look(fd, name)
            if found is not None and found.size == len("saved 0") and name != "f":
                raise KeyboardInterrupt
            return found

        patch.setattr(apply, "_seen", dies_behind)
        with pytest.raises(KeyboardInterrupt):
            run(tree, slots, operation)
    assert run(tree, slots, operation) == ["f"]
    assert (tree / "f").read_text() == "saved 0"


# --- inode numbers that are others than they were ---


@pytest.fixture
def renumber(tree: Path, slots: Path) -> Callable[[], None]:
    """Give every file another inode number, as a restored backup has it."""

    def do() -> None:
        for root in (tree, slots):  # both before any number is free to be used again
            shutil.copytree(root, root.with_name(f"{root.name} copy"), symlinks=True)
        for root in (tree, slots):
            shutil.rmtree(root)
            root.with_name(f"{root.name} copy").rename(root)

    return do


@pytest.fixture
def record(tmp_path: Path) -> str:
    """The staged record: ``f``, ``new`` and the link ``l`` come, ``gone`` goes."""
    path = tmp_path / "manifest.jsonl"
    digest = sha256(b"new").hexdigest()
    entries = [Entry(name, FILE, 3, 1, 0o644, digest, "", "ann") for name in ("f", "new")]
    entries.append(Entry("l", LINK, 0, 0, 0, "", "new", "ann"))
    manifest = codec.build(
        entries,
        repository_id="0" * 32,
        repository="T",
        snapshot=2,
        parent="0" * 64,
        txn="t",
        created_at="2026-01-01T00:00:00Z",
        created_by="ann@host",
        message="",
    )
    path.write_bytes(b"".join(codec.write(manifest)))
    return str(path)


def planned(tree: Path, slots: Path) -> list[Operation]:
    (tree / "f").write_text("old f")
    (tree / "gone").write_text("old gone")
    return [
        Operation(REMOVE, "gone", 2, 0, seen(tree / "gone")),
        install(slots, 0, "f", "new", seen(tree / "f")),
        install(slots, 1, "new", "new", None),
    ]


def content(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in root.iterdir()}


def test_what_was_not_begun_is_put_off_where_it_replaces_something(
    tree: Path, slots: Path, renumber: Callable[[], None], record: str
) -> None:
    operations = planned(tree, slots)
    renumber()
    for _unused in range(2):
        assert run(tree, slots, *operations, record=record) == ["gone", "f"]
        assert content(tree) == {"f": "old f", "gone": "old gone", "new": "new"}
        assert content(slots) == {"0": "new"}, "what is published need not be kept"


def test_what_was_done_is_taken_back_where_it_replaced_something(
    tree: Path, slots: Path, renumber: Callable[[], None], record: str
) -> None:
    operations = planned(tree, slots)
    assert run(tree, slots, *operations, record=record) == []
    renumber()
    for _unused in range(2):
        assert run(tree, slots, *operations, record=record) == ["gone", "f"]
        assert content(tree) == {"f": "old f", "gone": "old gone", "new": "new"}


def test_what_was_done_and_edited_since_is_left_and_what_it_replaced_is_set_aside(
    tree: Path, slots: Path, renumber: Callable[[], None], record: str
) -> None:
    operations = planned(tree, slots)
    assert run(tree, slots, *operations, record=record) == []
    (tree / "f").write_text("edited since")
    (tree / "gone").write_text("made since")
    renumber()
    for _unused in range(2):
        assert run(tree, slots, *operations, record=record) == ["gone", "f"]
        assert content(tree) == {"f": "edited since", "gone": "made since", "new": "new"}
        assert content(slots) == {"0.aside": "old f", "2.aside": "old gone"}


def test_nothing_is_taken_back_once_the_new_record_is_in_its_place(
    tree: Path, slots: Path, renumber: Callable[[], None], record: str
) -> None:
    """The next sync would take what came back for something new, and publish it."""
    operations = planned(tree, slots)
    assert run(tree, slots, *operations, record=record) == []
    os.unlink(record)
    renumber()
    run(tree, slots, *operations, record=record)
    assert content(tree) == {"f": "new", "new": "new"}
    assert content(slots) == {"0.aside": "old f", "2.aside": "old gone"}


def test_a_link_is_told_by_its_text(
    tree: Path, slots: Path, renumber: Callable[[], None], record: str
) -> None:
    (tree / "l").symlink_to("old")
    (slots / "0").symlink_to("new")
    operation = Operation(INSTALL, "l", 0, (slots / "0").lstat().st_ino, seen(tree / "l"))
    renumber()
    assert run(tree, slots, operation, record=record) == ["l"]
    assert os.readlink(tree / "l") == "old"
    assert os.readlink(slots / "0") == "new"


def written(path: Path) -> Journal:
    original = Journal(
        txn_id="t1",
        decision=HERE,
        repository="T",
        backend={"type": "directory", "base": "/srv/dsg"},
        key="T-0123",
        snapshot=4,
        operations=[Operation(INSTALL, "ä/\N{SNOWMAN}", 0, 7, Seen(1, 2, 3), True)],
    )
    original.write(str(path))
    return original


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    original = written(tmp_path / "journal")
    assert journal.read(str(tmp_path / "journal")) == original
    assert journal.read(str(tmp_path / "none")) is None


def test_a_journal_with_any_byte_changed_or_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    content = path.read_bytes()
    for position in range(len(content)):
        for damaged in (
            content[:position],
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :],
        ):
            path.write_bytes(damaged)
            with pytest.raises(WorkingCopyError):
                journal.read(str(path))
    assert os.path.exists(path)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of the working copy: carried out once, however often it is repeated."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from _core.client import apply, journal
from _core.client.apply import carry_out
from _core.client.journal import HERE, INSTALL, MKDIR, REMOVE, RMDIR, Journal, Operation, Seen
from _core.errors import WorkingCopyError
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


def run(tree: Path, slots: Path, *operations: Operation) -> list[str]:
    with Beneath(str(tree)) as at_tree, Beneath(str(slots)) as at_slots:
        return carry_out(list(operations), at_tree, at_slots)


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


def test_a_version_saved_in_the_instant_of_the_swap_is_put_back(
    tree: Path, slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "f").write_text("old")
    operation = install(slots, 0, "f", "new", seen(tree / "f"))
    exchange = apply.rename_exchange

    def saved_just_before(*args: object) -> None:
        if (slots / "0").read_text() == "new":
            (tree / "saved").write_text("saved in between")
            (tree / "saved").rename(tree / "f")
        exchange(*args)

    monkeypatch.setattr(apply, "rename_exchange", saved_just_before)
    assert run(tree, slots, operation) == ["f"]
    assert (tree / "f").read_text() == "saved in between"


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


def test_without_exchange_the_old_version_is_kept_all_the_same(
    tree: Path, slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems lack renameat2's flags."""

    def unsupported(*_unused: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(apply, "rename_exchange", unsupported)
    monkeypatch.setattr(apply, "rename_noreplace", unsupported)
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
        assert (slots / "0").read_text() == "old"
        assert (slots / "2").read_text() == "old g"
        assert not (tree / "g").exists()


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

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg_sync`` on real trees: results, check mode, diff mode, failures."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._core.client.transaction import (
    ClientTransaction,
)
from ansible_collections.dsg.storage.plugins.modules import dsg_info, dsg_manifest, dsg_sync
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ansible.module_runner import ModuleFailedError, provision, run_module
from tests.unit.trees import content, untouched

Sync = Callable[..., dict[str, Any]]


class Ground:
    """A provisioned base and the working copies of Ann and Ben."""

    def __init__(self, root: Path) -> None:
        self.base = root / "srv"
        self.live = self.base / "docs"
        self.ann, self.ben = root / "ann", root / "ben"
        provision(self.base)
        self.ann.mkdir()

    def sync(self, src: Path | None = None, **options: Any) -> dict[str, Any]:
        """Run the module for a working copy, Ann's unless told otherwise."""
        src = src or self.ann
        chosen = {"src": str(src), "repository": "docs", "user": src.name}
        return run_module(dsg_sync, backend={"base": str(self.base)}, **{**chosen, **options})

    def fails(self, code: str, src: Path | None = None, **options: Any) -> dict[str, Any]:
        """Run the module, which must fail with ``code`` and change nothing anywhere."""
        before = untouched(self.base, self.ann)
        with pytest.raises(ModuleFailedError) as failed:
            self.sync(src, **options)
        result = failed.value.result
        assert result["error"]["code"] == code, result
        assert result["changed"] is False
        assert str(result["msg"]).startswith(f"[{code}]")
        assert result["error"]["next_step"] in result["msg"]
        assert untouched(self.base, self.ann) == before
        return result

    def published(self) -> Ground:
        """Publish a few files and clone them for Ben."""
        for name in ("a.txt", "b.txt", "sub/c.txt", "sub/d.txt"):
            (self.ann / name).parent.mkdir(exist_ok=True)
            (self.ann / name).write_text(f"{name}\n")
        self.sync(operation="init")
        self.sync(self.ben, operation="clone")
        return self


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def lines(result: dict[str, Any]) -> list[str]:
    return result["diff"]["prepared"].splitlines()[1:]


def test_the_first_publication_tells_what_it_did(ground: Ground) -> None:
    (ground.ann / "a.txt").write_text("hello\n")
    result = ground.sync(operation="init", snapshot_message="First")
    assert result["changed"] is True
    assert result["operation"] == "init"
    assert result["snapshot"] == 1
    assert result["plan"]["counts"]["upload"] == 1
    assert result["plan"]["paths"] == {"upload": ["a.txt"]}
    assert result["bytes_uploaded"] == 6
    assert result["bytes_downloaded"] == 0
    assert len(result["manifest_digest"]) == 64
    assert result["txn_id"]
    assert result["conflicts"] == []
    assert result["seconds"]
    assert lines(result) == ["upload         a.txt (new, 6 bytes, mode 0644)"]
    assert content(ground.live) == content(ground.ann)


def test_a_second_run_changes_nothing(ground: Ground) -> None:
    ground.published()
    ground.sync()  # settles what the first run could not know yet (its own time stamps)
    before = untouched(ground.base, ground.ann)
    for operation in ("auto", "sync", "init"):
        result = ground.sync(operation=operation)
        assert result["changed"] is False
        assert result["diff"] == {"prepared": ""}
        assert result["snapshot"] == 1
        assert result["txn_id"] == ""
    assert untouched(ground.base, ground.ann) == before
    assert ground.sync(ground.ben, operation="clone")["changed"] is False


def test_the_diff_names_each_path_with_what_is_done_and_why(ground: Ground) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("longer now\n")
    (ground.ann / "b.txt").unlink()
    (ground.ann / "sub/c.txt").chmod(0o755)
    (ground.ann / "link").symlink_to("sub/c.txt")
    (ground.ben / "sub/d.txt").write_text("Ben's\n")
    ground.sync(ground.ben)
    expected = [
        "upload         a.txt (changed, 6 -> 11 bytes)",
        "delete remote  b.txt (deleted in the working copy)",
        "upload         link (new, link to sub/c.txt)",
        "upload         sub/c.txt (mode 0644 -> 0755)",
        "download       sub/d.txt (changed, 10 -> 6 bytes)",
    ]
    before = untouched(ground.base, ground.ann)
    checked = ground.sync(check=True)
    assert untouched(ground.base, ground.ann) == before
    assert (checked["changed"], lines(checked)) == (True, expected)
    assert checked["diff"]["prepared"].splitlines()[0].endswith("with repository docs")
    done = ground.sync()
    assert lines(done) == expected
    assert (done["snapshot"], done["bytes_downloaded"]) == (3, 6)
    assert content(ground.live) == content(ground.ann)


def test_an_empty_tree_is_published_and_cloned(ground: Ground) -> None:
    for src, operation in ((ground.ann, "init"), (ground.ben, "clone")):
        announced = ground.sync(src, operation=operation, check=True)
        result = ground.sync(src, operation=operation)
        assert result["changed"] is announced["changed"] is True
        assert lines(result) == lines(announced)
        assert lines(result)[0].endswith("docs (no path to carry over)")
        assert result["snapshot"] == 1
        assert ground.sync(src, operation=operation)["changed"] is False
    assert content(ground.live) == {}


def test_long_lists_are_capped_and_counted(ground: Ground) -> None:
    for number in range(9):
        (ground.ann / f"f{number}").touch()
    result = ground.sync(paths_limit=4)
    assert len(result["plan"]["paths"]["upload"]) == 4
    assert result["plan"]["truncated"] is True
    assert result["plan"]["counts"]["upload"] == 9
    assert lines(result)[-1] == "... and 5 more"


def test_a_conflict_is_reported_with_both_sides(ground: Ground) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("Ann's\n")
    (ground.ben / "a.txt").write_text("Ben's own\n")
    (ground.ben / "b.txt").write_text("no conflict\n")
    ground.sync(ground.ben)
    for check in (True, False):
        result = ground.fails("DSG-CONFLICT", check=check)
        (conflict,) = result["conflicts"]
        assert conflict["path"] == "a.txt"
        assert (conflict["local"]["size"], conflict["local"]["user"]) == (6, "ann")
        assert (conflict["remote"]["size"], conflict["remote"]["user"]) == (10, "ben")
        assert "a.txt (111 all differ)" in result["msg"]
        assert "b.txt" not in result["msg"]


@pytest.mark.parametrize(
    ("decision", "winner"),
    [
        ({"conflict": "local"}, "Ann's\n"),
        ({"conflict": "remote"}, "Ben's own\n"),
        ({"conflict_paths": {"a.txt": "remote"}}, "Ben's own\n"),
        ({"conflict": "remote", "conflict_paths": {"a.txt": "local"}}, "Ann's\n"),
    ],
)
def test_a_decided_conflict_keeps_both_versions(
    ground: Ground, decision: dict[str, Any], winner: str
) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("Ann's\n")
    (ground.ben / "a.txt").write_text("Ben's own\n")
    ground.sync(ground.ben)
    announced = ground.sync(check=True, **decision)
    result = ground.sync(**decision)
    assert lines(announced) == lines(result)
    assert (ground.ann / "a.txt").read_text() == (ground.live / "a.txt").read_text() == winner
    if winner == "Ann's\n":
        assert "conflict, the local version wins" in lines(result)[0]
        assert (ground.base / ".dsg/docs/s2/a.txt").read_text() == "Ben's own\n"
    else:
        assert "conflict, the remote version wins" in lines(result)[0]
        assert (Path(result["backup"]) / "a.txt").read_text() == "Ann's\n"


def test_direction_holds_back_and_tells(ground: Ground) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("Ann's\n")
    (ground.ben / "b.txt").write_text("Ben's\n")
    ground.sync(ground.ben)
    pushed = ground.sync(direction="push")
    assert [line.split()[0] for line in lines(pushed)] == ["upload"]
    assert pushed["plan"]["paths"]["held"] == ["b.txt"]
    assert (ground.ann / "b.txt").read_text() == "b.txt\n"
    again = ground.sync(direction="push")
    assert (again["changed"], again["plan"]["counts"]["held"]) == (False, 1)


def test_too_many_deletions_are_refused(ground: Ground) -> None:
    ground.published()
    for path in content(ground.ann):
        (ground.ann / path).unlink()
    for check in (True, False):
        result = ground.fails("DSG-MAX-DELETE", check=check)
        assert "4 of 4 paths (all of them" in result["msg"]
    assert ground.sync(max_delete="100%")["plan"]["counts"]["delete_remote"] == 4


def test_the_number_form_of_max_delete(ground: Ground) -> None:
    ground.published()
    (ground.ann / "a.txt").unlink()
    (ground.ann / "b.txt").unlink()
    ground.fails("DSG-MAX-DELETE", max_delete=1)
    assert ground.sync(max_delete=2)["changed"] is True


def test_a_damaged_manifest_stops_everything(ground: Ground) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("new\n")
    manifest = ground.live / ".dsg" / "manifest.jsonl"
    whole = manifest.read_bytes()
    for damaged in (b"", whole[:-5], whole.replace(b'"a.txt"', b'"../a.txt"')):
        manifest.write_bytes(damaged)
        for check in (True, False):
            ground.fails("DSG-MANIFEST", check=check)
    manifest.unlink()
    ground.fails("DSG-MANIFEST")
    manifest.write_bytes(whole)
    assert ground.sync()["changed"] is True


def test_what_cannot_be_published_is_named(ground: Ground) -> None:
    ground.published()
    os.mkfifo(ground.ann / "pipe")
    assert "pipe" in ground.fails("DSG-TREE")["msg"]
    assert ground.sync(ignore=["pipe"])["changed"] is False


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("DSG-REPOSITORY", {"operation": "clone"}),
        ("DSG-REPOSITORY", {"operation": "sync"}),
        ("DSG-WORKING-COPY", {"operation": "init", "src": Path("/nonexistent/tree")}),
        ("DSG-ARGUMENT", {"repository": "../docs"}),
        ("DSG-ARGUMENT", {"max_delete": "many"}),
        ("DSG-ARGUMENT", {"snapshot_message": "two\nlines"}),
        ("DSG-ARGUMENT", {"conflict_paths": {"a": "mine"}}),
        ("DSG-ARGUMENT", {"direction": "pull"}),
    ],
)
def test_what_does_not_fit_is_refused_with_its_code(
    ground: Ground, code: str, options: dict[str, Any], check: bool
) -> None:
    (ground.ann / "a.txt").touch()
    ground.fails(code, check=check, **options)


def test_an_unprovisioned_base_names_the_playbook(tmp_path: Path, ground: Ground) -> None:
    (tmp_path / "bare").mkdir()
    (ground.ann / "a.txt").touch()
    with pytest.raises(ModuleFailedError, match=r"dsg\.storage\.provision"):
        run_module(
            dsg_sync,
            src=str(ground.ann),
            repository="docs",
            backend={"base": str(tmp_path / "bare")},
        )


def test_checksum_finds_what_size_and_time_hide(ground: Ground) -> None:
    ground.published()
    path = ground.live / "a.txt"
    status = path.stat()
    path.write_text("A.txt\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ground.sync()["changed"] is False
    for check in (True, False):
        assert "a.txt" in ground.fails("DSG-DRIFT", checksum=True, check=check)["msg"]


def test_who_holds_the_working_copy_is_waited_for_as_long_as_asked(ground: Ground) -> None:
    ground.published()
    with open(ground.ann / ".dsg" / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = ground.fails("DSG-LOCKED", lock_timeout=0)
    assert str(ground.ann) in result["msg"]
    assert ground.sync(lock_timeout=0)["changed"] is False


def test_a_committed_run_that_cannot_be_finished_has_changed_something(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.published()
    (ground.ann / "a.txt").write_text("Ann's\n")

    def full(self: ClientTransaction, journal: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.root)

    with monkeypatch.context() as patched:
        patched.setattr(ClientTransaction, "commit", full)
        with pytest.raises(ModuleFailedError) as failed:
            ground.sync()
    assert failed.value.result["error"]["code"] == "DSG-UNFINISHED"
    assert failed.value.result["changed"] is True
    assert (ground.live / "a.txt").read_text() == "Ann's\n"
    announced = ground.fails("DSG-UNFINISHED", check=True)
    assert "dsg.storage.recover" in announced["msg"]
    assert ground.sync(operation="recover")["changed"] is True
    assert ground.sync()["changed"] is False


def test_src_is_required_for_everything_but_recovery(ground: Ground) -> None:
    with pytest.raises(ModuleFailedError, match="src"):
        run_module(dsg_sync, repository="docs", backend={"base": str(ground.base)})


@pytest.mark.parametrize("module", [dsg_sync, dsg_info, dsg_manifest], ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ({"type": "zfs"}, "type is zfs but all of the following are missing: dataset"),
        ({"type": "zfs", "base": "/srv"}, "type is zfs but all of the following are missing"),
        ({"type": "zfs", "dataset": "tank/dsg", "base": "/srv"}, "mutually exclusive"),
        ({"dataset": "tank/dsg"}, "type is directory but all of the following are missing: base"),
        ({"type": "directory", "base": "/srv", "dataset": "tank/dsg"}, "mutually exclusive"),
        ({"type": "zfs", "dataset": "tank"}, "pool's root"),
        ({"type": "zfs", "dataset": "tank/-R"}, "starting with a letter or digit"),
        ({"type": "tape"}, "must be one of: directory, zfs"),
    ],
)
def test_a_backend_is_placed_by_the_option_of_its_type(
    module: Any, backend: dict[str, str], text: str, tmp_path: Path
) -> None:
    more = {"state": "verified"} if module is dsg_manifest else {"src": str(tmp_path)}
    with pytest.raises(ModuleFailedError, match=text):
        run_module(module, repository="docs", backend=backend, **more)
    assert list(tmp_path.iterdir()) == []


def left_behind(ground: Ground) -> None:
    """Leave what a killed run leaves: a work area and a staging area."""
    (ground.base / ".dsg" / "docs.stage.dead-1").mkdir()
    (ground.ann / ".dsg" / "staging" / "dead-1").mkdir()


def test_recovery_is_announced_then_done_then_over(ground: Ground) -> None:
    ground.published()
    left_behind(ground)
    before = untouched(ground.base, ground.ann)
    announced = ground.sync(operation="recover", check=True)
    assert untouched(ground.base, ground.ann) == before
    assert (announced["changed"], len(announced["recovered"])) == (True, 2)
    done = ground.sync(operation="recover")
    assert (done["changed"], len(done["recovered"])) == (True, 2)
    assert all(line.startswith("recover ") for line in lines(done))
    assert not (ground.base / ".dsg" / "docs.stage.dead-1").exists()
    for check in (True, False):
        assert ground.sync(operation="recover", check=check)["changed"] is False


def test_the_repository_alone_can_be_recovered(ground: Ground) -> None:
    ground.published()
    left_behind(ground)
    options = {"repository": "docs", "backend": {"base": str(ground.base)}, "operation": "recover"}
    announced = run_module(dsg_sync, check=True, **options)
    assert (announced["changed"], len(announced["recovered"])) == (True, 1)
    assert len(run_module(dsg_sync, **options)["recovered"]) == 1
    assert run_module(dsg_sync, **options)["changed"] is False
    assert (ground.ann / ".dsg" / "staging" / "dead-1").exists()


def test_a_sync_recovers_first_and_says_so(ground: Ground) -> None:
    ground.published()
    left_behind(ground)
    (ground.ann / "a.txt").write_text("new\n")
    result = ground.sync()
    assert len(result["recovered"]) == 2
    assert [line.split()[0] for line in lines(result)] == ["recover", "recover", "upload"]


names = st.sampled_from(["a", "b", "d/a", "d/b", "e/f/a"])
edits = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben"]),
        st.sampled_from(["write", "delete", "chmod", "link"]),
        names,
        st.integers(0, 2),
    ),
    max_size=8,
)


def _edit(root: Path, action: str, name: str, value: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if action in ("delete", "link") and os.path.lexists(path):
        path.unlink()
    if action == "write":
        if path.is_symlink():
            path.unlink()
        path.write_text("x" * value)
    elif action == "link":
        path.symlink_to("x" * (value + 1))
    elif action == "chmod" and path.is_file() and not path.is_symlink():
        path.chmod([0o644, 0o755, 0o600][value])


@settings(max_examples=40)
@given(
    before=edits,
    after=edits,
    direction=st.sampled_from(["both", "push", "pull"]),
    conflict=st.sampled_from(["fail", "local", "remote"]),
)
def test_what_check_mode_announces_is_what_the_run_does(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Any],
    after: list[Any],
    direction: str,
    conflict: str,
) -> None:
    ground = Ground(tmp_path_factory.mktemp("ground")).published()
    for who, *edit in before:
        _edit(getattr(ground, who), *edit)
    ground.sync(conflict="local", max_delete="100%")
    ground.sync(ground.ben, conflict="remote", max_delete="100%")
    for who, *edit in after:
        _edit(getattr(ground, who), *edit)
    ground.sync(ground.ben, conflict="local", max_delete="100%")

    def attempt(check: bool) -> tuple[Any, ...]:
        try:
            result = ground.sync(check=check, direction=direction, conflict=conflict)
        except ModuleFailedError as failed:
            error = failed.result["error"]
            return ("failed", error["code"], error["message"], failed.result.get("conflicts"))
        kept = ("changed", "diff", "operation", "plan", "conflicts")
        return tuple(result[key] for key in kept)

    everything = untouched(ground.base, ground.ann)
    announced = attempt(check=True)
    assert untouched(ground.base, ground.ann) == everything
    snapshot = len(list(ground.live.joinpath(".dsg", "history").iterdir()))
    assert attempt(check=False) == announced
    if announced[0] == "failed":
        assert untouched(ground.base, ground.ann) == everything
    if announced[0] is False:
        assert len(list(ground.live.joinpath(".dsg", "history").iterdir())) == snapshot
        assert attempt(check=False)[0] is False

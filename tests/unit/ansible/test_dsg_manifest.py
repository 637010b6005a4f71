# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg_manifest`` on real trees, in every form."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.modules import dsg_manifest, dsg_sync

from tests.unit.ansible.module_runner import ModuleFailedError, provision, run_module
from tests.unit.trees import untouched

FILE_FORMS = ["native", "sha256sum", "mtree"]
FORMS = [*FILE_FORMS, "bagit"]


class Ground:
    """A tree, and a place for its manifest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = root / "tree"
        self.dest = root / "manifest"
        (self.tree / "sub").mkdir(parents=True)
        (self.tree / "a.txt").write_text("a\n")
        (self.tree / "sub" / "b.txt").write_text("b\n")

    def run(self, **options: Any) -> dict[str, Any]:
        """Run the module on the tree and its manifest."""
        return run_module(
            dsg_manifest, **{"path": str(self.tree), "dest": str(self.dest), **options}
        )

    def verify_fails(self, code: str = "DSG-VERIFY", **options: Any) -> dict[str, Any]:
        """Verify, which must fail with ``code``, change nothing and report."""
        before = untouched(self.root)
        with pytest.raises(ModuleFailedError) as failed:
            self.run(state="verified", **options)
        assert failed.value.result["error"]["code"] == code, failed.value.result
        assert failed.value.result["changed"] is False
        assert untouched(self.root) == before
        return failed.value.result


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def lines(result: dict[str, Any]) -> list[str]:
    return result["diff"]["prepared"].splitlines()[1:]


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_is_announced_written_kept_and_verified(ground: Ground, form: str) -> None:
    announced = ground.run(format=form, check=True)
    assert not ground.dest.exists()
    written = ground.run(format=form)
    assert written["changed"] is announced["changed"] is True
    assert written["diff"] == announced["diff"]
    assert lines(written) == [
        f"create         {ground.dest}",
        "add            a.txt (2 bytes, mode 0644)",
        "add            sub/b.txt (2 bytes, mode 0644)",
    ]
    assert (written["files"], written["bytes"]) == (2, 4)
    before = untouched(ground.root)
    for check in (True, False):
        again = ground.run(format=form, check=check)
        assert (again["changed"], again["diff"]) == (False, {"prepared": ""})
    found = ground.run(format=form, state="verified")
    assert (found["changed"], found["verified"]) == (False, True)
    assert found["differences"]["counts"] == {"added": 0, "missing": 0, "changed": 0}
    assert found["digest"] == written["digest"]
    assert untouched(ground.root) == before


@pytest.mark.parametrize("form", FORMS)
def test_every_difference_is_reported(ground: Ground, form: str) -> None:
    ground.run(format=form)
    (ground.tree / "sub" / "b.txt").write_text("changed\n")
    (ground.tree / "a.txt").unlink()
    (ground.tree / "new.txt").touch()
    result = ground.verify_fails(format=form)
    found = result["differences"]
    assert found["added"] == ["new.txt"]
    assert found["missing"] == ["a.txt"]
    assert [change["path"] for change in found["changed"]] == ["sub/b.txt"]
    assert "sha256" in found["changed"][0]["fields"]
    assert found["counts"] == {"added": 1, "missing": 1, "changed": 1}
    assert result["verified"] is False
    for line in ("missing: a.txt", "changed: sub/b.txt (", "added: new.txt"):
        assert f"\n  {line}" in result["msg"]
    reported = ground.run(format=form, state="verified", fail_on_difference=False)
    assert reported["differences"] == found
    assert (reported["verified"], reported["changed"]) == (False, False)


@pytest.mark.parametrize("form", FILE_FORMS)
def test_a_changed_tree_changes_the_manifest_and_the_diff_says_how(
    ground: Ground, form: str
) -> None:
    ground.run(format=form)
    (ground.tree / "a.txt").write_text("changed\n")
    (ground.tree / "sub" / "b.txt").unlink()
    (ground.tree / "new.txt").touch()
    before = untouched(ground.root)
    announced = ground.run(format=form, check=True)
    assert untouched(ground.root) == before
    written = ground.run(format=form)
    assert written["changed"] is True
    assert written["diff"] == announced["diff"]
    words = [line.split()[:2] for line in lines(written)]
    # The empty directory that is left of "sub" is an entry where the form has words for it.
    emptied = [["add", "sub"]] if form != "sha256sum" else []
    expected = [["change", "a.txt"], ["add", "new.txt"], *emptied, ["remove", "sub/b.txt"]]
    assert words == expected
    assert ground.run(format=form, state="verified")["verified"] is True


def test_a_mode_is_content_where_the_form_knows_modes(ground: Ground) -> None:
    ground.run()
    ground.run(dest=f"{ground.dest}.sha256", format="sha256sum")
    (ground.tree / "a.txt").chmod(0o755)
    changed = ground.verify_fails()["differences"]["changed"]
    assert changed == [{"path": "a.txt", "fields": ["mode"]}]
    assert ground.run(dest=f"{ground.dest}.sha256", format="sha256sum", state="verified")[
        "verified"
    ]


def test_a_touched_file_is_no_change_for_a_native_manifest(ground: Ground) -> None:
    ground.run()
    os.utime(ground.tree / "a.txt", (1, 1))
    assert ground.run()["changed"] is False


def test_what_a_form_has_no_words_for_is_named(ground: Ground) -> None:
    (ground.tree / "link").symlink_to("a.txt")
    (ground.tree / "empty").mkdir()
    for form, left_out in (("sha256sum", ["empty", "link"]), ("native", []), ("mtree", [])):
        result = ground.run(format=form, dest=f"{ground.dest}.{form}")
        assert result["unexpressed"] == left_out
        assert ground.run(format=form, dest=f"{ground.dest}.{form}", state="verified")["verified"]


def test_coreutils_verify_what_was_written_inside_the_tree(ground: Ground) -> None:
    dest = ground.tree / "SHA256SUMS"
    ground.run(dest=str(dest), format="sha256sum")
    assert ground.run(dest=str(dest), format="sha256sum")["changed"] is False
    assert ground.run(dest=str(dest), format="sha256sum", state="verified")["verified"]
    argv = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(argv, cwd=ground.tree, capture_output=True, text=True, check=True)
    assert done.stdout == "a.txt: OK\nsub/b.txt: OK\n"


def test_only_the_manifest_itself_is_left_out(ground: Ground) -> None:
    (ground.tree / "sub" / "SUMS").write_text("somebody else's\n")
    assert ground.run(dest=str(ground.tree / "SUMS"))["files"] == 3


def test_a_manifest_with_an_odd_name_is_no_part_of_its_tree(ground: Ground) -> None:
    dest = ground.tree / "sub" / "[b]* \\!?.txt"
    ground.run(dest=str(dest))
    (ground.tree / "sub" / "b.txt").write_text("[b]* matches this one\n")
    assert ground.run(dest=str(dest))["changed"] is True
    assert ground.run(dest=str(dest))["changed"] is False
    assert ground.run(dest=str(dest))["files"] == 2


def test_ignored_paths_are_no_part_of_the_tree(ground: Ground) -> None:
    (ground.tree / "x.tmp").touch()
    (ground.tree / ".dsgignore").write_text("/sub/\n")
    result = ground.run(ignore=["*.tmp"])
    assert "x.tmp" not in ground.dest.read_text()
    assert "sub/b.txt" not in ground.dest.read_text()
    assert result["files"] == 2
    assert ground.run(ignore=["*.tmp"], state="verified")["verified"]


@pytest.mark.parametrize("form", FILE_FORMS)
def test_a_damaged_manifest_verifies_nothing_and_is_replaced_in_words(
    ground: Ground, form: str
) -> None:
    ground.dest.write_text("no manifest at all\n")
    ground.verify_fails("DSG-MANIFEST", format=form)
    result = ground.run(format=form)
    assert lines(result)[0].startswith(f"replace        {ground.dest} (")
    assert ground.run(format=form, state="verified")["verified"]


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_manifest_is_not_an_empty_one(ground: Ground, form: str) -> None:
    before = untouched(ground.root)
    with pytest.raises(ModuleFailedError) as failed:
        ground.run(format=form, state="verified")
    assert failed.value.result["error"]["code"] in ("DSG-MANIFEST", "DSG-SYSTEM")
    assert str(ground.dest) in failed.value.result["msg"]
    assert untouched(ground.root) == before


def test_another_spelling_of_a_foreign_manifest_is_rewritten(ground: Ground) -> None:
    ground.run(format="sha256sum")
    ground.dest.write_text(ground.dest.read_text().replace("  ", " *"))
    assert ground.run(format="sha256sum", state="verified")["verified"]
    assert lines(ground.run(format="sha256sum"))[0].startswith("rewrite ")
    assert ground.run(format="sha256sum")["changed"] is False


def test_permissions_of_an_existing_manifest_are_kept(ground: Ground) -> None:
    ground.run()
    ground.dest.chmod(0o600)
    (ground.tree / "a.txt").write_text("changed\n")
    ground.run()
    assert ground.dest.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in ground.root.iterdir()) == ["manifest", "tree"]


def test_a_native_manifest_says_who_made_it(ground: Ground) -> None:
    ground.run(user="ann")
    header = ground.dest.read_text().splitlines()[0]
    assert '"created_by":"ann@' in header


def test_a_bag_is_verified_by_itself_and_never_overwritten(ground: Ground) -> None:
    ground.run(format="bagit")
    assert run_module(dsg_manifest, state="verified", format="bagit", dest=str(ground.dest))[
        "verified"
    ]
    (ground.tree / "a.txt").write_text("changed\n")
    before = untouched(ground.dest)
    with pytest.raises(ModuleFailedError, match=r"DSG-ARGUMENT.*\n.*\n.*another dest"):
        ground.run(format="bagit")
    assert untouched(ground.dest) == before
    (ground.dest / "data" / "a.txt").write_text("damaged\n")
    with pytest.raises(ModuleFailedError, match=r"changed: a\.txt \(sha256"):
        run_module(dsg_manifest, state="verified", format="bagit", dest=str(ground.dest))


def test_lists_are_capped_and_counts_are_not(ground: Ground) -> None:
    ground.run()
    for number in range(30):
        (ground.tree / f"f{number:02}").touch()
    found = ground.verify_fails(paths_limit=5)
    assert found["differences"]["counts"]["added"] == 30
    assert len(found["differences"]["added"]) == 5
    assert found["differences"]["truncated"] is True
    assert "... and 10 more" in found["msg"]
    assert (
        ground.run(state="verified", fail_on_difference=False)["differences"]["truncated"] is False
    )


def published(root: Path) -> tuple[Path, dict[str, Any]]:
    """Publish a tree and return the live tree and the options that name the repository."""
    provision(root / "srv")
    (root / "src").mkdir()
    for name in ("a", "b", "c"):
        (root / "src" / name).write_text(f"{name}\n")
    options = {"repository": "docs", "backend": {"base": str(root / "srv")}}
    run_module(dsg_sync, src=str(root / "src"), **options)
    return root / "srv" / "docs", options


def test_a_published_tree_is_verified_against_its_own_manifest(tmp_path: Path) -> None:
    live, options = published(tmp_path)
    sound = run_module(dsg_manifest, state="verified", **options)
    assert (sound["verified"], sound["snapshot"], sound["files"]) == (True, 1, 3)
    assert sound["chain_problems"] == []
    status = (live / "b").stat()
    (live / "a").unlink()
    (live / "b").write_text("B\n")
    os.utime(live / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    (live / "d").touch()
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_manifest, state="verified", **options)
    result = failed.value.result
    assert result["error"]["code"] == "DSG-VERIFY"
    assert (result["differences"]["missing"], result["differences"]["added"]) == (["a"], ["d"])
    assert [change["path"] for change in result["differences"]["changed"]] == ["b"]


def test_a_broken_history_is_found(tmp_path: Path) -> None:
    live, options = published(tmp_path)
    (tmp_path / "src" / "a").write_text("more\n")
    run_module(dsg_sync, src=str(tmp_path / "src"), **options)
    next((live / ".dsg" / "history").glob("s1*")).unlink()
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_manifest, state="verified", **options)
    assert failed.value.result["error"]["code"] in ("DSG-VERIFY", "DSG-MANIFEST")
    assert "s1" in failed.value.result["msg"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "path and dest must be given"),
        ({"path": "/tmp"}, "dest must be given"),
        ({"dest": "/tmp/x"}, "path must be given"),
        ({"repository": "docs"}, "backend"),
        ({"repository": "docs", "backend": {"base": "/srv"}}, "state=verified only"),
        ({"repository": "docs", "backend": {"base": "/srv"}, "path": "/tmp"}, "mutually exclusive"),
        ({"path": "/nonexistent", "dest": "/tmp/x"}, "directory that exists"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ModuleFailedError, match=text):
        run_module(dsg_manifest, **options)

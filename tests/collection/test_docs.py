# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation is complete and renders, and so does the changelog."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.pages import pages
from tests.tools.collection import (
    BIN,
    ROOT,
    InstalledCollection,
    environment,
    reference,
    run,
)
from tests.zfs.table import INTRODUCTION


def test_documentation_of_plugins_and_roles_renders(clean_copy: Path, tmp_path: Path) -> None:
    argv = [
        BIN / "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--check-extra-docs-refs",
    ]
    argv += ["--validate-collection-refs", "all", "--disallow-unknown-collection-refs", clean_copy]
    run(argv, env=environment(clean_copy.parents[2], tmp_path)).must_succeed()


def test_ansible_doc_shows_every_installed_module(
    installed_collection: InstalledCollection,
) -> None:
    modules = (installed_collection.path / "plugins" / "modules").glob("[!_]*.py")
    names = [f"dsg.storage.{path.stem}" for path in modules]
    shown = installed_collection.run("ansible-doc", "-t", "module", *names) if names else None
    assert shown is None or (shown.rc == 0 and shown.stderr == ""), shown
    assert [name for name in names if f"> MODULE {name}" not in shown.stdout] == []


def test_what_pages_say_to_ask_ansible_doc_is_answered(
    installed_collection: InstalledCollection,
) -> None:
    """In their sentences; what their blocks show is claimed in test_pages.py."""
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        asked = [line.split() for line in re.findall(r"`ansible-doc ([^`]+)`", text)]
        assert asked or not page.startswith("roles/"), page
        for words in asked:
            name = words[-1]
            told = installed_collection.run("ansible-doc", *words).must_succeed()
            assert name in told.stdout.partition("\n")[0], (page, told)
            if page.startswith("roles/"):
                assert name == f"dsg.storage.{page.split('/')[1]}", "a role's page shows its own"


def test_the_reference_is_that_of_the_modules(
    installed_collection: InstalledCollection, tmp_path: Path
) -> None:
    """`make reference` writes it anew; how it is laid out is left to the tool, and may differ."""
    reference(installed_collection, tmp_path)
    kept = ROOT / "docs" / "modules"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in kept.iterdir()
    )
    modules = (installed_collection.path / "plugins" / "modules").glob("[!_]*.py")
    names = [f"dsg.storage.{path.stem}" for path in modules]
    told = installed_collection.run("ansible-doc", "-t", "module", "--json", *names).must_succeed()
    for name, found in json.loads(told.stdout).items():
        page = (kept / f"{name.rpartition('.')[2]}_module.rst").read_text(encoding="utf-8")
        missing = [text for text in _sentences(found) if text not in page]
        assert missing == [], f"{name}: run `make reference`"


def _sentences(found: dict[str, Any]) -> Iterator[str]:
    """Yield names of options and results, and what is said of them where that needs no markup."""
    described = [*_described(found["doc"].get("options")), *_described(found.get("return"))]
    for name, texts in described:
        yield name
        yield from (text for text in texts if re.fullmatch(r"[A-Za-z ,.;]+", text))


def _described(fields: dict[str, Any] | None) -> Iterator[tuple[str, list[str]]]:
    for name, field in (fields or {}).items():
        texts = field["description"]
        yield name, [texts] if isinstance(texts, str) else texts
        yield from _described(field.get("suboptions") or field.get("contains"))


def test_action_group_lists_every_module(installed_collection: InstalledCollection) -> None:
    import yaml

    runtime = yaml.safe_load((installed_collection.path / "meta" / "runtime.yml").read_text())
    modules = (installed_collection.path / "plugins" / "modules").glob("[!_]*.py")
    assert sorted(runtime["action_groups"]["dsg"]) == sorted(path.stem for path in modules)


def test_changelog_fragments_are_valid(clean_copy: Path) -> None:
    done = run([BIN / "antsibull-changelog", "lint"], cwd=clean_copy)
    assert (done.rc, done.stdout) == (0, ""), str(done)


def test_changelog_of_the_next_release_can_be_made(clean_copy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ansible_collections" / "dsg" / "storage"
    shutil.copytree(clean_copy, copy, ignore=shutil.ignore_patterns("tests", ".git"))
    env = environment(tmp_path, tmp_path / "home")
    done = run([BIN / "antsibull-changelog", "release", "--date", "2026-01-01"], cwd=copy, env=env)
    done.must_succeed()
    assert "First release" in (copy / "CHANGELOG.rst").read_text()


def test_the_page_of_the_crash_matrix_is_introduced_as_its_tests_do() -> None:
    page = (ROOT / "docs" / "crash-table.md").read_text(encoding="utf-8")
    assert page.startswith(INTRODUCTION)

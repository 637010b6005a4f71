# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command that the guide and the README show is run, with the inventory that they show."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.tools.collection import ROOT, InstalledCollection, Result

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


class Page:
    """A page of documentation, with paths of this test in place of those it shows."""

    def __init__(self, name: str, root: Path) -> None:
        self.root = root
        text = (ROOT / name).read_text(encoding="utf-8")
        for shown in ("/home/", "/srv/"):
            text = text.replace(shown, f"{root}{shown}")
        self.blocks = [(found[1], found[2]) for found in BLOCK.finditer(text)]

    def yaml(self, start: str) -> str:
        """Return the YAML block that starts so."""
        (block,) = [text for kind, text in self.blocks if kind == "yaml" and text.startswith(start)]
        return block

    def commands(self, program: str) -> list[list[str]]:
        """Return the words of every command line that calls ``program``."""
        lines = [
            shlex.split(line, comments=True)
            for kind, text in self.blocks
            if kind == "sh"
            for line in text.splitlines()
        ]
        return [words for words in lines if words and words[0] == program]


def run_all(page: Page, installed: InstalledCollection) -> dict[str, Result]:
    """Run the page's playbooks in their order, a change before each; all of them must succeed."""
    alice = page.root / "home" / "alice" / "handbook"
    for directory in (alice / "chapters", page.root / "home" / "bob", page.root / "srv"):
        directory.mkdir(parents=True)
    (alice / "chapters" / "backup.md").write_text("Back up.\n")
    inventory = page.root / "inventory.yml"
    inventory.write_text(page.yaml("# inventory.yml"))
    results = {}
    for count, words in enumerate(page.commands("ansible-playbook")):
        if "bob" in words and "bob:" not in inventory.read_text():
            inventory.write_text(inventory.read_text().replace("alice:", "alice:\n    bob:", 1))
        (alice / "chapters" / "backup.md").write_text(f"Back up, {count}.\n")
        done = installed.playbook(*words[1:], cwd=page.root)
        assert done.rc == 0, f"{shlex.join(words)}: {done}"
        results[shlex.join(words[3:])] = done
    return results


def test_the_guide_does_what_it_says(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    page = Page("docs/guide.md", tmp_path)
    results = run_all(page, installed_collection)
    named = {words.split()[0] for words in results}
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert named == {f"dsg.storage.{name}" for name in playbooks}, "the guide shows every playbook"
    dry_run = results["dsg.storage.sync --check --diff"].stdout
    assert re.search(r"^upload         chapters/backup.md \(changed, ", dry_run, re.MULTILINE)
    assert (tmp_path / "srv" / "dsg" / ".dsg" / "handbook" / "s1" / "chapters").is_dir()
    assert (tmp_path / "home" / "bob" / "handbook" / "chapters" / "backup.md").is_file()

    (tmp_path / "srv" / "checks").mkdir()
    task = yaml.safe_load(page.yaml("- name: Let anyone check"))
    play = [{"hosts": "alice", "gather_facts": False, "tasks": task}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = installed_collection.playbook("play.yml", "-i", "inventory.yml", cwd=tmp_path)
    assert done.rc == 0, done
    assert "chapters/backup.md" in (tmp_path / "srv/checks/handbook.sha256").read_text()


def test_monitoring_does_what_it_says(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    page = Page("docs/monitoring.md", tmp_path)
    guide = Page("docs/guide.md", tmp_path)
    first = guide.commands("ansible-playbook")[:2]
    page.blocks = [("sh", "\n".join(map(shlex.join, first))), *page.blocks]
    page.blocks.append(("yaml", guide.yaml("# inventory.yml")))
    results = run_all(page, installed_collection)
    assert "1 host, 1 repository: 1 differs; no problems." in results["dsg.storage.status"].stdout
    alice = tmp_path / "home" / "alice"
    assert "<h1>Storage status</h1>" in (alice / "status.html").read_text()
    place = tmp_path / "srv" / "dsg" / "handbook"
    up = f'dsg_up{{host="alice",repository="handbook",location="{place}"}} 1'
    assert up in (alice / "dsg.prom").read_text()
    assert json.loads((alice / "status.json").read_text())["totals"]["differs"] == 1
    told = set(re.findall(r"^# TYPE (\w+) gauge$", (alice / "dsg.prom").read_text(), re.MULTILINE))
    text = (ROOT / "docs" / "monitoring.md").read_text()
    assert {name for name in told if f"`{name}" not in text} == set(), "every metric is described"


def test_the_readme_does_what_it_says(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    results = run_all(Page("README.md", tmp_path), installed_collection)
    assert len(results) == 5
    assert "1 upload" in results["dsg.storage.status"].stdout


def test_the_guide_installs_what_is_built(
    tmp_path: Path, clean_copy: Path, installed_collection: InstalledCollection
) -> None:
    for words in Page("docs/guide.md", tmp_path).commands("ansible-galaxy"):
        where = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
        moved = [word.replace("build/", f"{tmp_path}/build/") for word in words[1:]]
        if moved[-1] == "build":
            moved[-1] = str(tmp_path / "build")
        done = installed_collection.run(words[0], *moved, cwd=clean_copy, **where)
        assert done.rc == 0, done
    installed = tmp_path / "collections" / "ansible_collections" / "dsg" / "storage"
    assert (installed / "MANIFEST.json").is_file()


def test_the_way_from_rsync_does_what_it_says(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """A tree that rsync has published is taken over, and compared with what is published now."""
    page = Page("docs/migration.md", tmp_path)
    alice, old = tmp_path / "home/alice/handbook", tmp_path / "srv/www/handbook"
    (alice / "chapters").mkdir(parents=True)
    (alice / "chapters" / "backup.md").write_text("Back up.\n")
    old.parent.mkdir(parents=True)
    subprocess.run(["rsync", "-a", "--delete", f"{alice}/", f"{old}/"], check=True)
    (tmp_path / "inventory.yml").write_text(page.yaml("# inventory.yml"))
    lines = [words for name in ("ansible-playbook", "diff") for words in page.commands(name)]
    *playbooks, job, comparison = lines
    for words in playbooks:
        done = installed_collection.playbook(*words[1:], cwd=tmp_path)
        assert done.rc == 0, f"{shlex.join(words)}: {done}"
    subprocess.run(comparison, check=True)
    (alice / "chapters" / "backup.md").write_text("Back up, and restore.\n")
    assert installed_collection.playbook(*job[1:], cwd=tmp_path).rc == 0
    assert subprocess.run(comparison, check=False, capture_output=True).returncode == 1


def _pages() -> list[str]:
    return ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("name", _pages())
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    found = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in found if not (page.parent / link).exists()] == []

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command that the guide and the README show is run, with the inventory that they show."""

from __future__ import annotations

import getpass
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.integration.pages import BLOCK, Page, pages
from tests.integration.playbooks import Ground, Play
from tests.tools.collection import ROOT, InstalledCollection, Result
from tests.unit.trees import content, untouched

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")


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
    metrics = (alice / "dsg.prom").read_text()
    labels = {name: set(re.findall(rf"^{name}{{(.*)}}", metrics, re.MULTILINE)) for name in told}
    for rule in yaml.safe_load(page.yaml("# rules.yml"))["groups"][0]["rules"]:
        promql_parser.parse(rule["expr"])
        names = set(re.findall(r"\bdsg_\w+", rule["expr"]))
        assert names and names <= told, rule
        wanted = re.findall(r"(\w+)=\"", rule["expr"])
        wanted += [
            word for by in re.findall(r"by \((.*?)\)", rule["expr"]) for word in by.split(", ")
        ]
        there = " ".join(text for name in names for text in labels[name])
        assert [label for label in wanted if f'{label}="' not in there] == [], (rule, there)


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


def test_the_inventories_of_storage_hosts_are_understood(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """Ansible reads them, and what they tell the roles is what the roles ask for."""
    page = Page("docs/guide.md", tmp_path)
    more = page.yaml("    dsg_maintenance: present")
    (tmp_path / "remote.yml").write_text(page.yaml("# remote.yml"))
    (tmp_path / "storage.yml").write_text(page.yaml("# storage.yml") + more)
    asked = {
        "remote": {"repository": "dsg_repositories"},
        "storage": {
            "repository": "dsg_repositories",
            "pool": "dsg_pools",
            "delegation": "dsg_service_users",
            "maintenance": "dsg_repositories",
        },
    }
    for name, roles in asked.items():
        argv = ("-i", f"{name}.yml", "--list")
        listed = installed_collection.run("ansible-inventory", *argv, cwd=tmp_path).must_succeed()
        found = json.loads(listed.stdout)["_meta"]["hostvars"]["store1.example.org"]
        assert set(roles.values()) <= set(found)
        tasks = [_validation(role) for role in roles]
        (tmp_path / "play.yml").write_text(
            json.dumps([{"hosts": "storage", "gather_facts": False, "tasks": tasks}])
        )
        done = installed_collection.playbook("play.yml", "-i", f"{name}.yml", cwd=tmp_path)
        assert done.rc == 0 and len(done.tasks) == len(roles), done


def _validation(role: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a task that holds variables, by default the inventory's, against what a role asks for."""
    spec = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    options = yaml.safe_load(spec)["argument_specs"]["main"]["options"]
    return {
        "name": f"Validate {role}",
        "ansible.builtin.validate_argument_spec": {
            "argument_spec": options,
            "provided_arguments": {**defaults, **(given or {})},
        },
    }


def test_the_plays_of_the_roles_are_understood(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """Those in roles/*/README.md; on storage hosts their tests run what the roles do."""
    tasks = []
    for name in pages():
        if name.startswith("roles/"):
            blocks = Page(name, tmp_path).blocks
            plays = [
                play for kind, text in blocks if kind == "yaml" for play in yaml.safe_load(text)
            ]
            assert plays, name
            for role in (role for play in plays for role in play["roles"]):
                assert role["role"] == f"dsg.storage.{name.split('/')[1]}"
                tasks.append(_validation(name.split("/")[1], role["vars"]))
    lists = {key: [] for key in ("dsg_pools", "dsg_repositories", "dsg_service_users")}
    play = {"hosts": "localhost", "gather_facts": False, "vars": lists, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = installed_collection.playbook("play.yml", cwd=tmp_path)
    assert done.rc == 0 and len(done.tasks) == len(tasks), done


def test_a_base_directory_is_made_and_undone_as_its_role_says(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """roles/repository/README.md: without .dsg what is published stays, as plain directories."""
    page = Page("roles/repository/README.md", tmp_path)
    (play,) = yaml.safe_load(page.blocks[0][1])
    (definition,) = play["roles"][0]["vars"]["repository_definitions"]
    definition["owner"] = getpass.getuser()
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    ground = Ground(tmp_path, installed_collection)
    assert definition["backend"]["base"] == str(ground.base)

    def provision() -> None:
        arguments = ("-i", str(ground.inventory), "--limit", "ann")
        Play(installed_collection.playbook("play.yml", *arguments, cwd=tmp_path)).succeeded()

    provision()
    ground.play("init").succeeded()
    ground.write({"a.txt": "longer\n"})
    ground.play("sync").succeeded()
    published = untouched(ground.live)
    assert (ground.base / ".dsg" / "docs" / "s1").is_dir()
    shutil.rmtree(ground.base / ".dsg")
    assert untouched(ground.live) == published
    ground.write({"a.txt": "longer still\n"})
    assert "dsg.storage.provision" in str(ground.play("sync").failed())
    assert untouched(ground.live) == published
    provision()
    ground.play("sync verify").succeeded()
    assert content(ground.live) == content(ground.ann)


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    found = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in found if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", pages())
def test_links_to_headings_lead_to_one(name: str) -> None:
    page = ROOT / name
    found = ANCHOR.findall(page.read_text(encoding="utf-8"))
    wrong = [
        f"{file}#{anchor}"
        for file, anchor in found
        if file.endswith(".md") or not file
        if anchor not in anchors(page.parent / file if file else page)
    ]
    assert wrong == []

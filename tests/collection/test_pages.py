# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every block of commands or YAML that a page shows is run or held against something by a test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.integration.pages import Page, pages
from tests.tools.collection import ROOT

GUIDE = "tests/integration/test_guide.py::"
DEMO = "tests/integration/test_demo.py::"
ERRORS = "tests/unit/ansible/test_errors_doc.py::"
MOLECULE = "tests/molecule/test_scenarios.py::"
TARGETS = "tests/collection/test_targets.py::"
TESTBED = "tests/testbed/test_testbed.py::"
ZFS = "tests/zfs/"
FLEET = f"{ZFS}test_fleet.py::test_the_page_from_bare_disks_to_a_verified_fleet"
PROVISIONING = f"{ZFS}test_provisioning_playbooks.py::test_the_documented_playbooks"
REPOSITORY = f"{ZFS}test_repository_role.py::"
PLAYS = f"{GUIDE}test_the_plays_of_the_roles_are_understood"
STEPS = f"{MOLECULE}test_zfs_step_by_step"
UNDO = f"{REPOSITORY}test_the_role_is_undone_as_its_page_says"

CLAIMS = {
    "README.md": {
        "make demo": f"{DEMO}test_the_demo_tells_its_story",
        "make test": f"{TARGETS}test_every_test_is_in_test_or_in_test_long",
        "# inventory.yml": f"{GUIDE}test_the_readme_does_what_it_says",
        "ansible-playbook": f"{GUIDE}test_the_readme_does_what_it_says",
    },
    "docs/errors.md": {
        "conflict: local": f"{ERRORS}test_the_keys_it_shows_are_options_of_the_module",
        "zfs": f"{ZFS}test_verifying.py::test_case",
    },
    "docs/fleet.md": {"# fleet.yml": FLEET, "ansible-playbook": FLEET},
    "docs/guide.md": {
        "ansible-galaxy": f"{GUIDE}test_the_guide_installs_what_is_built",
        "# inventory.yml": f"{GUIDE}test_the_guide_does_what_it_says",
        "ansible-playbook": f"{GUIDE}test_the_guide_does_what_it_says",
        "- name: Let anyone check the handbook with sha256sum -c": (
            f"{GUIDE}test_the_guide_does_what_it_says"
        ),
        "# remote.yml": f"{GUIDE}test_the_inventories_of_storage_hosts_are_understood",
        "# storage.yml": f"{GUIDE}test_the_inventories_of_storage_hosts_are_understood",
        "dsg_maintenance: present": (
            f"{GUIDE}test_the_inventories_of_storage_hosts_are_understood"
        ),
    },
    "docs/migration.md": dict.fromkeys(
        ("# inventory.yml", "ansible-playbook", "diff"),
        f"{GUIDE}test_the_way_from_rsync_does_what_it_says",
    ),
    "docs/monitoring.md": {
        "ansible-playbook": f"{GUIDE}test_monitoring_does_what_it_says",
        "# rules.yml": f"{GUIDE}test_monitoring_does_what_it_says",
    },
    "docs/provisioning.md": dict.fromkeys(
        ("# pools.yml", "# datasets.yml", "# grants.yml"), PROVISIONING
    ),
    "docs/security.md": {
        "# former.yml": (
            f"{ZFS}test_provisioning_playbooks.py::test_a_user_that_is_there_is_left_as_it_is"
        ),
    },
    "docs/testbed.md": {
        "tests/testbed/testbed": f"{TESTBED}test_the_page_does_what_it_says",
        "ansible-playbook": f"{TESTBED}test_the_page_does_what_it_says",
        "- hosts: testbed": f"{TESTBED}test_the_page_does_what_it_says",
        "make molecule SCENARIO=zfs": f"{MOLECULE}test_zfs_on_three_virtual_hosts",
        "make molecule SCENARIO=default": f"{MOLECULE}test_default_on_localhost",
        **dict.fromkeys(("export", "python", "molecule"), STEPS),
        "tests/testbed/testbed --bed molecule ssh host1": STEPS,
    },
    "docs/transactions.md": {
        "- name: Release a website": (
            f"{ZFS}test_atomic_playbook.py::test_the_docs_show_this_very_playbook"
        ),
        "zfs": f"{REPOSITORY}test_a_publish_parent_that_was_made_by_hand",
    },
    "roles/delegation/README.md": {"yaml": PLAYS},
    "roles/maintenance/README.md": {
        "yaml": PLAYS,
        "ansible-playbook": (
            f"{ZFS}test_maintenance_role.py::test_timers_look_after_what_is_published"
        ),
    },
    "roles/pool/README.md": {"yaml": PLAYS},
    "roles/repository/README.md": {
        "yaml": PLAYS,
        **dict.fromkeys(("dsg-storage", "zfs", "systemctl", "rm"), UNDO),
    },
    "roles/sync/README.md": {"yaml": PLAYS},
}
"""Page -> what it shows -> the test that takes it from there.

What it shows is a command line, or a program whose every line counts; of YAML it is the first line,
or ``yaml`` for all of it.
"""


def shown(name: str) -> list[tuple[str, str]]:
    """Return what a page shows: each a name of its own, and one that it shares with its like."""
    found = []
    page = Page(name, ROOT, {})
    for line in filter(None, page.lines()):
        words = shlex.split(line, comments=True)
        found.append((shlex.join(words), words[0]))
    blocks = [text for kind, text in page.blocks if kind == "yaml"]
    first = [re.split(r" +# ", text.strip().splitlines()[0])[0] for text in blocks]
    return found + [(line, "yaml") for line in first]


@pytest.mark.parametrize("name", pages())
def test_every_block_says_what_it_is(name: str) -> None:
    """``sh`` and ``yaml`` count here; ``text`` is what somebody prints, or how something lies."""
    page = Page(name, ROOT, {})
    assert {kind for kind, _text in page.blocks} <= {"sh", "yaml", "text"}
    programs = {key for claims in CLAIMS.values() for key in claims} - {"yaml"}
    texts = [line for kind, text in page.blocks if kind == "text" for line in text.splitlines()]
    assert [line for line in texts if line.split()[:1] and line.split()[0] in programs] == []


@pytest.mark.parametrize("name", pages())
def test_every_block_is_claimed_by_a_test(name: str) -> None:
    claims = CLAIMS.get(name, {})
    found = shown(name)
    assert [own for own, alike in found if not {own, alike} & set(claims)] == []
    assert set(claims) - {key for pair in found for key in pair} == set(), "no longer shown"


def test_the_tests_that_claim_are_there_and_know_the_page() -> None:
    for name, claims in CLAIMS.items():
        for claim in claims.values():
            file, _colons, test = claim.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test}\(", text, re.MULTILINE), claim
            assert Path(name).name in text, (claim, name)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked after as whom, and which timers that takes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.filter import maintenance
from ansible_collections.dsg.storage.plugins.module_utils._core.program import configuration

DIRECTORY: dict[str, Any] = {"name": "d", "src": "/wc", "backend": {"base": "/srv/dsg"}}
OWNED: dict[str, Any] = {**DIRECTORY, "name": "o", "owner": "ann", "keep": {"last": 3}}
ZFS: dict[str, Any] = {"name": "z", "backend": {"type": "zfs", "dataset": "tank/dsg", "base": None}}
USERS = [{"name": "publisher", "parents": ["tank/dsg", "tank/more"]}]
CALENDARS = {"verify": "weekly", "prune": "daily", "collect": "", "scrub": "monthly"}


def names(*definitions: dict[str, Any], **options: Any) -> list[str]:
    found = maintenance.maintained(definitions, **options)
    return [unit["name"] for unit in maintenance.maintenance_units(found, CALENDARS)]


def test_who_publishes_looks_after_it() -> None:
    found = maintenance.maintained([DIRECTORY, OWNED, ZFS, ZFS])
    assert [one["user"] for one in found] == ["root", "ann", "root"]
    assert [one["user"] for one in maintenance.maintained([ZFS], USERS)] == ["publisher"]


def test_the_program_understands_it() -> None:
    found = maintenance.maintained([DIRECTORY, OWNED, ZFS], USERS, {"daily": 7}, ["all"])
    read = configuration.parse({"format": 1, "repositories": found}).repositories
    assert [one.keep.last for one in read if one.keep] == [0, 3, 0]
    assert [one.keep.daily for one in read if one.keep] == [7, 0, 7]
    assert [dict(one.backend) for one in read] == [
        {"type": "directory", "base": "/srv/dsg"},
        {"type": "directory", "base": "/srv/dsg"},
        {"type": "zfs", "dataset": "tank/dsg"},
    ]


def test_rules_are_read_as_the_module_reads_them() -> None:
    """A word is a list of one: its letters keep nothing, and all snapshots would go."""
    words = {"last": 3, "tags": "release, kept", "messages": "Edition 3"}
    (found,) = maintenance.maintained([{**DIRECTORY, "keep": words}])
    assert found["keep"] == {"last": 3, "tags": ["release", "kept"], "messages": ["Edition 3"]}
    for name in ("tags", "messages"):
        damaged = {**found, "keep": {"last": 3, name: "release"}}
        with pytest.raises(ValueError, match=name):
            configuration.parse({"format": 1, "repositories": [damaged]})


def test_no_rules_of_its_own_are_rules_as_well() -> None:
    found = maintenance.maintained([{**DIRECTORY, "keep": {}}, OWNED], keep={"last": 1})
    assert [one["keep"] for one in found] == [{}, {"last": 3}]


def test_two_sets_of_rules_for_one_repository_are_refused() -> None:
    """What the one keeps the other would remove."""
    other = {**OWNED, "src": "/other", "keep": {"monthly": 24}}
    with pytest.raises(AnsibleFilterError, match=r"o in /srv/dsg .*two sets of rules"):
        maintenance.maintained([OWNED, other])
    assert len(maintenance.maintained([OWNED, {**OWNED, "src": "/other"}])) == 1
    elsewhere = {**other, "backend": {"base": "/srv/other"}}
    assert len(maintenance.maintained([OWNED, elsewhere])) == 2


def test_units() -> None:
    assert names(DIRECTORY) == ["dsg-verify"]
    assert names(DIRECTORY, OWNED) == ["dsg-verify-ann", "dsg-verify", "dsg-prune-ann"]
    assert names(ZFS, keep={"last": 1}) == ["dsg-verify", "dsg-prune", "dsg-scrub"]
    assert names(ZFS, service_users=USERS) == ["dsg-verify-publisher", "dsg-scrub"]
    assert names() == []


def test_what_a_unit_has_to_be_able_to() -> None:
    found = maintenance.maintained([DIRECTORY, {**ZFS, "keep": {"last": 1}}], USERS)
    units = {one["name"]: one for one in maintenance.maintenance_units(found, CALENDARS)}
    assert units["dsg-verify"]["bases"] == ["/srv/dsg"]
    shown = {name: (one["mounts"], one["sudo"]) for name, one in units.items()}
    assert shown == {
        "dsg-verify": (False, False),
        "dsg-verify-publisher": (False, True),
        "dsg-prune-publisher": (True, True),
        "dsg-scrub": (False, False),
    }

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked after as whom, and which timers that takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.filter import maintenance
from ansible_collections.dsg.storage.plugins.module_utils._core.program import alert, configuration

ROOT = Path(__file__).resolve().parents[3]
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


def test_rules_have_the_types_that_the_module_makes_of_them() -> None:
    """Ansible does not write back what an argument spec makes of a value."""
    told: dict[str, Any] = {
        "last": "10",
        "hourly": 2.0,
        "daily": None,
        "tags": None,
        "messages": [3],
    }
    read = {"last": 10, "hourly": 2, "messages": ["3"]}
    for given in (told, json.dumps(told)):
        (found,) = maintenance.maintained([{**DIRECTORY, "keep": given}])
        assert found["keep"] == read
        assert isinstance(found["keep"]["hourly"], int)
    configuration.parse({"format": 1, "repositories": [found]})
    (found,) = maintenance.maintained([DIRECTORY], keep={"daily": None, "within": None})
    assert found["keep"] == {}
    one, other = ({**DIRECTORY, "src": src, "keep": {"last": last}} for src, last in ("a1", "b1"))
    other["keep"]["last"] = 1
    assert len(maintenance.maintained([one, other])) == 1, "these are the same rules"


@pytest.mark.parametrize(
    "keep", [{"last": 2.5}, {"last": "some"}, {"lest": 2}, "some", [2], {"tags": {"a": 1}}]
)
def test_rules_that_are_none_are_refused(keep: Any) -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"`keep` of the repository d .*Nothing was changed"
    ):
        maintenance.maintained([{**DIRECTORY, "keep": keep}])


def test_names_are_words_whatever_yaml_makes_of_them() -> None:
    ours = {**OWNED, "name": 2026, "owner": 1001}
    found = maintenance.maintained([ours, DIRECTORY], snapshots="newest, 3")  # type: ignore[arg-type]
    assert [(one["name"], one["user"]) for one in found] == [("2026", "1001"), ("d", "root")]
    assert found[0]["snapshots"] == ["newest", "3"]
    configuration.parse({"format": 1, "repositories": found})
    units = maintenance.maintenance_units(found, CALENDARS)
    assert {one["user"] for one in units} == {"1001", "root"}
    for snapshots in ("all", ["all"], [3], 3):
        (one,) = maintenance.maintained([DIRECTORY], snapshots=snapshots)  # type: ignore[arg-type]
        assert one["snapshots"] == [str(snapshots).strip("[']")]
    users = [{"name": "publisher", "parents": "tank/dsg"}]
    assert [one["user"] for one in maintenance.maintained([ZFS], users)] == ["publisher"]


ALERTS = {
    "mail_to": ["a@b"],
    "mail_from": "",
    "sendmail": "/usr/sbin/sendmail",
    "command": ["/x", "-v"],
    "repeat_hours": 24,
}


def content(*definitions: dict[str, Any], alerts: Any = (), **given: Any) -> dict[str, Any]:
    return maintenance.maintenance_content(
        {
            "format": 1,
            "repositories": maintenance.maintained(definitions),
            "pools": [],
            "scrub_after_days": 25,
            "state": "/var/lib/dsg-storage",
            "alerts": {**ALERTS, **dict(alerts)},
            **given,
        }
    )


def test_the_configuration_has_the_types_that_the_program_takes() -> None:
    assert content(OWNED)["alerts"] == ALERTS
    assert content()["scrub_after_days"] == 25
    words = {"mail_to": "a@b, c@d", "command": "/x", "mail_from": None, "repeat_hours": "1.5"}
    found = content(OWNED, alerts=words, scrub_after_days="10")
    assert (found["scrub_after_days"], type(found["scrub_after_days"])) == (10, int)
    assert found["alerts"] == {
        **ALERTS,
        "mail_to": ["a@b", "c@d"],
        "command": ["/x"],
        "repeat_hours": 1.5,
    }
    assert configuration.parse(found).alerts.command == ["/x"]
    assert content(alerts={"command": ["/x", 25]})["alerts"]["command"] == ["/x", "25"]
    for nobody in ("", None, []):
        found = content(alerts={"mail_to": nobody, "command": nobody})
        assert (found["alerts"]["mail_to"], found["alerts"]["command"]) == ([], [])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scrub_after_days": "soon"}, "maintenance_scrub_after_days"),
    ({"scrub_after_days": True}, "scrub_after_days"),
    ({"scrub_after_days": "nan"}, "scrub_after_days"),
    ({"alerts": {"repeat_hours": []}}, "alerts.repeat_hours"),
    ({"alerts": {"command": "rm"}}, "absolute path"),
    ({"alerts": {"mail_to": [None]}}, "alerts.mail_to"),
    ({"alerts": {"mail_to": ["a b"]}}, "'a b'"),
    ({"alerts": {"sendmail": None}}, "alerts.sendmail"),
    ({"pools": ["-f"]}, "-f"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED, ids=[str(one) for one, _said in REFUSED])
def test_what_the_program_would_refuse_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"(?s){said}.*Nothing was changed"):
        content(**given)


@pytest.mark.parametrize(
    "keep", [{"last": 0}, {"last": True}, {"within": 14}, {"messages": "re:("}]
)
def test_rules_that_the_program_would_refuse_are_refused(keep: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="DSG-ARGUMENT"):
        content({**DIRECTORY, "keep": keep})


def test_snapshots_that_verify_would_refuse_are_refused() -> None:
    found = maintenance.maintained([DIRECTORY], snapshots=["latest"])
    with pytest.raises(AnsibleFilterError, match="newest, all, or numbers"):
        content(repositories=found)


def test_what_is_converted_here_is_of_that_type_for_the_role() -> None:
    options = yaml.safe_load((ROOT / "roles/maintenance/meta/argument_specs.yml").read_text())
    types = {
        name.removeprefix("maintenance_"): one["type"]
        for name, one in options["argument_specs"]["main"]["options"].items()
    }
    for name in ("scrub_after_days", "alert_repeat_hours"):
        assert types[name] == "float"
    for name in ("mail_to", "command", "verify_snapshots"):
        assert types[name] == "list"


def test_the_role_looks_at_it_first() -> None:
    first, *others = yaml.safe_load((ROOT / "roles/maintenance/tasks/present.yml").read_text())
    content, paths = first["ansible.builtin.assert"]["that"]
    assert "maintenance_content" in content and "unit_path" in paths
    assert "when" not in first and others


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


def test_units_of_users_of_a_domain_are_no_instances_of_a_template() -> None:
    """The alert and the removal know the names of units by their form."""
    pattern = yaml.safe_load((ROOT / "roles/maintenance/vars/main.yml").read_text())[
        "maintenance_unit_pattern"
    ]
    users = ("svc@example.org", "svc_40example.org", "svc_5f40example.org", "svc_@example.org")
    found = {name for user in users for name in names({**OWNED, "owner": user})}
    assert len(found) == 2 * len(users), found
    assert "dsg-verify-web_dsg" in names({**OWNED, "owner": "web_dsg"})
    for name in found:
        assert re.fullmatch(pattern, f"{name}.timer"), name
        assert alert._UNIT.fullmatch(name), name


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

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units that the role ``maintenance`` writes, as systemd itself reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools.collection import ROOT, InstalledCollection, Result

ROLE = ROOT / "roles" / "maintenance"
DEFINITIONS: list[dict[str, Any]] = [
    {"name": "a", "src": "/wc", "backend": {"base": "/srv/dsg"}, "keep": {"last": 3}},
    {"name": "b", "src": "/wc", "backend": {"base": "/var/lib/b"}, "owner": "daemon"},
    {"name": "z", "src": "/wc", "backend": {"type": "zfs", "dataset": "tank/dsg"}},
    {"name": "y", "src": "/wc", "backend": {"type": "zfs", "dataset": "tank/own"},
     "keep": {"daily": 7}},
]  # fmt: skip
PLAY: dict[str, Any] = {
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "vars_files": [str(ROLE / "defaults" / "main.yml"), str(ROLE / "vars" / "main.yml")],
    "tasks": [
        yaml.safe_load((ROLE / "tasks" / "present.yml").read_text())[0],
        *(
            {
                "name": f"Write each {kind}",
                "ansible.builtin.template": {
                    "src": str(ROLE / "templates" / f"{kind}.j2"),
                    "dest": f"{{{{ out }}}}/{{{{ item.name }}}}.{kind}",
                },
                "loop": "{{ maintenance_units }}",
            }
            for kind in ("service", "timer")
        ),
        {
            "name": "Write the unit that alerts",
            "ansible.builtin.template": {
                "src": str(ROLE / "templates" / "alert.j2"),
                "dest": "{{ out }}/dsg-alert@.service",
            },
        },
        {
            "name": "Write the unit that recovers",
            "ansible.builtin.template": {
                "src": str(ROOT / "roles/repository/templates/dsg-recover.service.j2"),
                "dest": "{{ out }}/dsg-recover.service",
            },
        },
        {
            "name": "Write the configuration",
            "ansible.builtin.copy": {
                "dest": "{{ out }}/maintenance.json",
                "content": "{{ maintenance_content | to_nice_json }}",
            },
        },
    ],
}


VARIABLES: dict[str, Any] = {
    "dsg_repositories": DEFINITIONS,
    "dsg_service_users": [{"name": "daemon", "parents": ["tank/own"]}],
    "dsg_alert_mail_to": ["root"],
    "maintenance_program": "/bin/true",
    "repository_program": "/bin/true",
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}


def write(root: Path, installed: InstalledCollection, *options: str, **variables: Any) -> Result:
    """Have Ansible write the units as the role does; ``options`` are given as a person gives them."""
    (root / "play.yml").write_text(yaml.safe_dump([PLAY]))
    given = json.dumps({**VARIABLES, "out": str(root), **variables})
    play = str(root / "play.yml")
    return installed.playbook(play, "-i", "localhost,", "-e", given, *options, cwd=root)


@pytest.fixture(scope="module")
def units(
    tmp_path_factory: pytest.TempPathFactory, installed_collection: InstalledCollection
) -> Path:
    root = tmp_path_factory.mktemp("units")
    done = write(root, installed_collection)
    assert done.rc == 0, done
    return root


def test_there_is_one_for_each_task_and_user(units: Path) -> None:
    names = {path.stem for path in units.glob("*.timer")}
    assert names == {
        *("dsg-verify", "dsg-verify-daemon", "dsg-collect", "dsg-collect-daemon"),
        *("dsg-prune", "dsg-prune-daemon", "dsg-scrub"),
    }
    others = {"dsg-alert@", "dsg-recover"}
    assert {path.stem for path in units.glob("*.service")} == names | others


def complaints(units: Path) -> list[str]:
    """Return what systemd says of our units: an unknown key, a value that makes no sense."""
    paths = sorted(str(path) for path in [*units.glob("*.timer"), *units.glob("*.service")])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if "dsg-" in line]


def test_systemd_understands_every_line(units: Path) -> None:
    assert complaints(units) == []


ODD = [
    "my data",
    '"quoted" it\'s',
    "100%n",
    "back\\slash\\",
    "\\x41 $HOME",
    ";",
    "n\u00e4me",
    " x ",
]


def test_systemd_reads_any_path_as_it_is(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    programs = [tmp_path / "bin" / name for name in ("my dsg 100%n", "its $HOME")]
    programs[0].parent.mkdir()
    for program in programs:
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    odd = [
        {"name": "d", "src": "/wc", "backend": {"base": f"/srv/{name}"}, "keep": {"last": 1}}
        for name in ODD
    ]
    given = {"maintenance_program": str(programs[0]), "repository_program": str(programs[1])}
    done = write(tmp_path, installed_collection, **given, dsg_repositories=odd)
    assert done.rc == 0, done
    assert complaints(tmp_path) == []
    # Of what is no absolute path it tells how it has read it.
    for path in tmp_path.glob("dsg-*.service"):
        path.write_text(path.read_text().replace("/srv/", "of-"))
    marks = ("RequiresMountsFor=", "ReadWritePaths=")
    wanted = {f"of-{name}" for name in ODD}
    told = {mark: [one for one in complaints(tmp_path) if mark in one] for mark in marks}
    read = {mark: [one.split("ignoring: ")[1] for one in told[mark]] for mark in marks}
    assert {mark: set(read[mark]) for mark in marks} == dict.fromkeys(marks, wanted)
    # One for each of them in verify, prune and collect; the last two write.
    assert [len(read[mark]) for mark in marks] == [3 * len(ODD), 2 * len(ODD)]


def test_a_path_that_no_unit_can_name_is_refused(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    odd = {"name": "d", "src": "/wc", "backend": {"base": "/srv/a\nUser=root"}}
    done = write(tmp_path, installed_collection, dsg_repositories=[odd])
    assert done.rc == 2, done
    assert "control characters" in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["play.yml"]


def test_who_may_do_what(units: Path) -> None:
    def lines(name: str) -> set[str]:
        return set((units / f"{name}.service").read_text().splitlines())

    for name in ("dsg-verify", "dsg-verify-daemon", "dsg-scrub", "dsg-collect-daemon"):
        assert "OnFailure=dsg-alert@%N.service" in lines(name)
    strict = {"ProtectSystem=strict", "NoNewPrivileges=true", "PrivateNetwork=true"}
    assert strict <= lines("dsg-verify")
    # What has to mount for everybody has no view of its own; who needs sudo may gain rights by it.
    assert not any(line.startswith(("Protect", "Private")) for line in lines("dsg-prune"))
    assert "NoNewPrivileges=true" in lines("dsg-prune")
    assert "NoNewPrivileges=true" not in lines("dsg-prune-daemon")
    assert "User=daemon" in lines("dsg-prune-daemon")
    assert "Persistent=true" in (units / "dsg-verify.timer").read_text()


def test_the_program_reads_the_configuration(units: Path) -> None:
    from _core.program.configuration import load

    found = load(str(units / "maintenance.json"))
    assert [one.user for one in found.repositories] == ["root", "daemon", "root", "daemon"]
    assert found.pools == ["tank"]
    assert found.alerts.mail_to == ["root"]


def test_the_program_reads_what_people_write(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """All of it passes the role's argument spec, and none of it is of the type that it says."""
    from _core.program.configuration import load
    from _core.upkeep.retention import Keep

    keep = {"last": "10", "daily": None, "tags": None}
    mine = {
        "name": 2026,
        "src": "/wc",
        "backend": {"base": "/srv/dsg"},
        "owner": 1001,
        "keep": keep,
    }
    words = [
        *("-e", "maintenance_scrub_after_days=10 maintenance_alert_repeat_hours=1.5"),
        *("-e", "maintenance_verify_snapshots=all dsg_alert_command=/usr/bin/notify"),
    ]
    ours = {"dsg_repositories": [mine, *DEFINITIONS], "dsg_alert_mail_to": "root"}
    done = write(tmp_path, installed_collection, *words, **ours)
    assert done.rc == 0, done
    found = load(str(tmp_path / "maintenance.json"))
    assert (found.scrub_after_days, found.alerts.repeat_hours) == (10, 1.5)
    assert (found.alerts.mail_to, found.alerts.command) == (["root"], ["/usr/bin/notify"])
    first = found.repositories[0]
    assert (first.name, first.user, first.keep) == ("2026", "1001", Keep(last=10))
    assert all(one.snapshots == ["all"] for one in found.repositories)
    assert (tmp_path / "dsg-prune-1001.timer").exists()


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
def test_what_the_program_would_refuse_is_refused_first(
    tmp_path: Path, installed_collection: InstalledCollection, check: list[str]
) -> None:
    done = write(tmp_path, installed_collection, *check, "-e", "maintenance_scrub_after_days=soon")
    assert done.rc == 2, done
    said = " ".join((done.stdout + done.stderr).split())
    assert "maintenance_scrub_after_days" in said and "Nothing was changed" in said, done
    assert [path.name for path in tmp_path.iterdir()] == ["play.yml"]

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

from tests.tools.collection import ROOT, InstalledCollection

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
            "name": "Write the configuration",
            "ansible.builtin.copy": {
                "dest": "{{ out }}/maintenance.json",
                "content": "{{ maintenance_content | to_nice_json }}",
            },
        },
    ],
}


@pytest.fixture(scope="module")
def units(
    tmp_path_factory: pytest.TempPathFactory, installed_collection: InstalledCollection
) -> Path:
    root = tmp_path_factory.mktemp("units")
    (root / "play.yml").write_text(yaml.safe_dump([PLAY]))
    variables = {
        "out": str(root),
        "dsg_repositories": DEFINITIONS,
        "dsg_service_users": [{"name": "daemon", "parents": ["tank/own"]}],
        "dsg_alert_mail_to": ["root"],
        "maintenance_program": "/bin/true",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    done = installed_collection.playbook(
        str(root / "play.yml"), "-i", "localhost,", "-e", json.dumps(variables), cwd=root
    )
    assert done.rc == 0, done
    return root


def test_there_is_one_for_each_task_and_user(units: Path) -> None:
    names = {path.stem for path in units.glob("*.timer")}
    assert names == {
        *("dsg-verify", "dsg-verify-daemon", "dsg-collect", "dsg-collect-daemon"),
        *("dsg-prune", "dsg-prune-daemon", "dsg-scrub"),
    }
    assert {path.stem for path in units.glob("*.service")} == names | {"dsg-alert@"}


def test_systemd_understands_every_line(units: Path) -> None:
    """Nothing is said of our units: no unknown key, no value that makes no sense."""
    paths = sorted(str(path) for path in [*units.glob("*.timer"), *units.glob("*.service")])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "dsg-" in line]
    assert said == []


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

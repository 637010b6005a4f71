# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics that the playbook ``status`` writes for a fleet of which every fact is known."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.fleets import Fleet
from tests.integration.playbooks import Play
from tests.integration.support import Site, fill
from tests.integration.test_report_playbooks import REFUSES
from tests.tools.collection import InstalledCollection
from tests.unit.trees import content

SOUND, BEHIND, HELD, LEFT, TOUCHED = "sound", "behind", "held", "left", 'to"uch\\ned'
NEW, AWAY = "new", 'a"w\\nay'  # a backslash, which makes no new line
LOOKED_AT = (SOUND, BEHIND, HELD, LEFT, TOUCHED, NEW)
LABELS = {"host", "repository", "location"}
ACTIONS = ("upload", "delete_remote", "download", "delete_local", "update_cache", "drop_cache")
ACTIONS += ("held", "conflict")
SEVERITIES = ("error", "warning", "note")
STATES = {"011 C=R": 2, "100": 2, "111 only L differs": 1}
"""Two deleted, two new, one changed, of the working copy on what was published before."""

Samples = dict[tuple[str, ...], float]  # host, and the values of a metric's own labels


class Ground:
    """A fleet of one working copy, and the file that its metrics are in.

    ``sound`` publishes what the working copy holds, and so do two more: on ``left`` there is what a
    run that died left, and on the next somebody else wrote to the published tree. ``behind`` publishes
    what was before, and so does ``held``, where the newer tree is prepared. ``new`` is provisioned.
    ``away`` does not answer.
    """

    def __init__(self, root: Path, installed: InstalledCollection) -> None:
        self.root, self.installed = root, installed
        self.file = root / "metrics" / "dsg.prom"
        self.file.parent.mkdir()
        self.fleet = fleet = Fleet(str(root), hosts=0)
        for host in (*LOOKED_AT, AWAY):
            (root / host).mkdir()
            fleet.sites[host] = Site(str(root / host))
        self.began = int(time.time())
        fleet.edit({"a": "a", "b": "bb", "sub/c": "ccc"})
        for host in (SOUND, BEHIND, HELD, LEFT, TOUCHED):
            fleet.full(host)
        fleet.edit({"a": "longer", "b": None, "sub/c": None, "sub/d": "d", "e": "e"})
        for host in (SOUND, LEFT, TOUCHED):
            fleet.full(host)
        fleet.prepare(HELD)
        os.mkdir(self.site(LEFT).layout.stage("dead-1"))
        Path(self.site(TOUCHED).live, "a").write_text("by somebody else")

    def site(self, host: str) -> Site:
        return self.fleet.sites[host]

    def status(self, *hosts: str) -> Play:
        """Have the metrics of these hosts written."""
        backend = {"type": "directory", "base": f"{self.root}/{{{{ inventory_hostname }}}}/base"}
        definition = {"name": "tree", "src": self.fleet.src, "backend": backend, "user": "ann"}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "dsg_repositories": [definition],
            "dsg_metrics": str(self.file),
            "dsg_measure_history": True,
        }
        named = {host: REFUSES if host == AWAY else {} for host in hosts}
        inventory = self.root / "inventory.json"
        inventory.write_text(json.dumps({"storage": {"hosts": named, "vars": variables}}))
        return Play(self.installed.playbook("dsg.storage.status", "-i", inventory))

    def files(self, host: str) -> list[int]:
        """Return the sizes of the files that a host publishes."""
        held = content(Path(self.site(host).live))
        return [len(data) // 2 for _mode, data in held.values()]

    def history(self, host: str) -> int:
        """Return what the older snapshot takes that is not a part of the published tree."""
        live = {path.stat().st_ino for path in Path(self.site(host).live).rglob("*")}
        kept = Path(self.site(host).kept(1))
        alone = [path for path in (kept, *kept.rglob("*")) if path.stat().st_ino not in live]
        return sum(path.stat().st_blocks * 512 for path in alone)


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection) -> Ground:
    return Ground(tmp_path, installed_collection)


def families(text: str) -> dict[str, Samples]:
    """Parse metrics by Prometheus' own client, which does not mind all that Prometheus minds.

    Every family is there once, in one piece, with its help and its type above it.
    """
    blocks = re.findall(r"# HELP (\w+) (.+)\n# TYPE \1 gauge\n((?:[^#\n].*\n)+)", text)
    shown = (f"# HELP {name} {told}\n# TYPE {name} gauge\n{lines}" for name, told, lines in blocks)
    assert "".join(shown) == text
    found: dict[str, Samples] = {}
    for family, (name, told, lines) in zip(text_string_to_metric_families(text), blocks):
        assert (family.name, family.documentation, family.type) == (name, told, "gauge")
        assert len(family.samples) == lines.count("\n")
        assert name not in found
        found[name] = {}
        for sample in family.samples:
            assert sample.name == name
            key = (sample.labels.get("host", ""), *_own(sample.labels).values())
            assert key not in found[name]
            found[name][key] = sample.value
    assert len(found) == len(blocks)
    return found


def _own(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in LABELS}


def each(
    values: dict[str, float], hosts: tuple[str, ...] = LOOKED_AT, others: float = 0
) -> Samples:
    """Return what a metric says of each host."""
    return {(host,): values.get(host, others) for host in hosts}


def test_every_metric_says_what_is_so(ground: Ground) -> None:
    play = ground.status(*LOOKED_AT, AWAY)
    ended = time.time()
    assert play.result.rc == 2, "a host is away"
    text = ground.file.read_text()
    found = families(text)

    published = (SOUND, BEHIND, HELD, LEFT, TOUCHED)
    older = (BEHIND, HELD)
    assert found.pop("dsg_up") == each({AWAY: 0}, (*LOOKED_AT, AWAY), 1)
    assert found.pop("dsg_snapshot") == each(dict.fromkeys(older, 1), published, 2)
    kept = {NEW: 0, BEHIND: 1, HELD: 1}
    assert found.pop("dsg_snapshots") == each(kept, others=2)
    assert found.pop("dsg_files") == each({host: len(ground.files(host)) for host in published})
    sizes = {host: sum(ground.files(host)) for host in published}
    sizes[TOUCHED] = sizes[SOUND]  # as published, and not as it became
    assert found.pop("dsg_bytes") == each(sizes)
    assert sizes[SOUND] != sizes[BEHIND]
    assert found.pop("dsg_in_sync") == each(dict.fromkeys((SOUND, LEFT, TOUCHED), 1))
    assert found.pop("dsg_drift_paths") == each({TOUCHED: 1}, published)
    assert found.pop("dsg_open_transactions") == each({HELD: 1})
    assert found.pop("dsg_unfinished") == each({HELD: 1}), "what is to be cleared away is told once"
    assert found.pop("dsg_pending_cleanups") == each({LEFT: 1})
    assert found.pop("dsg_missing_rights") == each({})
    history = {host: ground.history(host) for host in (SOUND, LEFT, TOUCHED)}
    assert found.pop("dsg_space_history_bytes") == each(history)
    assert history[SOUND] > 0
    size = os.statvfs(ground.root).f_blocks * os.statvfs(ground.root).f_frsize
    assert found.pop("dsg_space_size_bytes") == each({}, others=size)
    free = found.pop("dsg_space_free_bytes")
    assert free.keys() == each({}).keys()
    assert all(0 < value < size for value in free.values())

    wanted = dict.fromkeys(((host, action) for host in LOOKED_AT for action in ACTIONS), 0)
    wanted.update({(host, "upload"): 3 for host in (*older, NEW)})
    wanted.update({(host, "delete_remote"): 2 for host in older})
    assert found.pop("dsg_paths") == wanted
    states = {(host, state): count for host in older for state, count in STATES.items()}
    assert found.pop("dsg_path_states") == {**states, (NEW, "100"): 3}
    wanted = dict.fromkeys(
        ((host, severity) for host in (*LOOKED_AT, AWAY) for severity in SEVERITIES), 0
    )
    wanted.update({(TOUCHED, "error"): 1, (AWAY, "error"): 1})
    wanted.update({(HELD, "warning"): 1, (HELD, "note"): 1, (LEFT, "warning"): 1})
    assert found.pop("dsg_problems") == wanted

    info = found.pop("dsg_info")
    assert set(info.values()) == {1}
    told = {host: (digest, by.partition("@")[0]) for host, digest, by in info}
    assert told.keys() == set(LOOKED_AT)
    assert told[NEW] == ("", "")
    assert told[SOUND] == told[LEFT] == told[TOUCHED] != told[BEHIND] == told[HELD]
    assert {(len(told[host][0]), told[host][1]) for host in published} == {(64, "ann")}
    times = found.pop("dsg_published_time_seconds")
    assert times.keys() == each({}, published).keys()
    (taken,) = found.pop("dsg_status_time_seconds").values()
    assert ground.began <= min(times.values()) <= max(times.values()) <= taken <= ended
    assert max(times[(host,)] for host in older) <= min(times[(host,)] for host in (SOUND, LEFT))
    assert found == {}, "what is not there (a pool, a quota) is not told of"


def test_every_sample_says_which_repository_it_is_of(ground: Ground) -> None:
    """Names that the format has to escape come out as they are."""
    ground.status(TOUCHED, AWAY)
    samples = [
        sample
        for family in text_string_to_metric_families(ground.file.read_text())
        for sample in family.samples
        if family.name != "dsg_status_time_seconds"
    ]
    assert {sample.labels["host"] for sample in samples} == {TOUCHED, AWAY}
    for sample in samples:
        labels = sample.labels
        assert labels["repository"] == "tree"
        assert labels["location"] == str(ground.root / labels["host"] / "base" / "tree")


def test_the_file_is_another_one_each_time(ground: Ground) -> None:
    """Whoever has the old one open reads it to its end, and nothing is beside them."""
    ground.status(SOUND, BEHIND).succeeded()
    old = ground.file.read_bytes()
    with ground.file.open("rb") as stream:
        first = stream.read(len(old) // 2)
        ground.fleet.full(BEHIND)
        ground.status(SOUND, BEHIND).succeeded()
        assert os.fstat(stream.fileno()).st_nlink == 0
        assert first + stream.read() == old
    found = families(ground.file.read_text())
    assert found["dsg_snapshot"] == each({SOUND: 2, BEHIND: 2}, (SOUND, BEHIND))
    assert found["dsg_in_sync"] == each({}, (SOUND, BEHIND), 1)
    assert os.listdir(ground.file.parent) == ["dsg.prom"]
    assert ground.file.stat().st_mode & 0o777 == 0o644


@pytest.fixture
def small(ground: Ground) -> Iterator[Ground]:
    """A place for metrics that can be filled."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", ground.file.parent], check=True
    )
    try:
        yield ground
    finally:
        subprocess.run(["umount", ground.file.parent], check=True)


@pytest.mark.root
def test_a_full_disk_leaves_the_old_file_as_it_is(small: Ground) -> None:
    small.status(SOUND).succeeded()
    old = small.file.read_bytes()
    filler = small.file.parent / "filler"
    fill(str(filler))
    assert "ENOSPC" in small.status(BEHIND).failed("DSG-SYSTEM")["msg"]
    assert small.file.read_bytes() == old
    assert [path.name for path in small.file.parent.glob("*.prom")] == ["dsg.prom"]
    filler.unlink()
    small.status(BEHIND).succeeded()
    assert families(small.file.read_text())["dsg_snapshot"] == {(BEHIND,): 1}
    assert os.listdir(small.file.parent) == ["dsg.prom"]

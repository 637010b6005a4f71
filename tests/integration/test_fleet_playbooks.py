# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several hosts that publish from one working copy, run by ansible-playbook: all or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import HOSTS, FleetGround, Play
from tests.tools.collection import InstalledCollection
from tests.unit.trees import content, untouched


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection) -> FleetGround:
    made = FleetGround(tmp_path, installed_collection)
    made.run("provision").succeeded()
    return made


@pytest.fixture
def published(ground: FleetGround) -> FleetGround:
    ground.run("init").succeeded()
    return ground


def test_all_hosts_publish_together_and_then_have_nothing_to_do(ground: FleetGround) -> None:
    before = untouched(ground.root)
    announced = ground.run("init", "--check", "--diff").succeeded()
    assert untouched(ground.root) == before
    assert [announced.changed(host) for host in HOSTS] == [1, 1, 1]
    assert announced.summary() == {}
    first = ground.run("init").succeeded()
    assert ground.published() == [True] * 3
    assert shown(first) == {host: f"{host} docs init s1 4 0 0 0 8 B TIME -" for host in HOSTS}
    ground.write({"a.txt": "longer\n"})
    (ground.ann / "b.txt").unlink()
    announced = ground.run("sync", "--check", "--diff").succeeded()
    assert "HOST" in announced.said
    assert announced.summary() == {}, "it is told what would be done, not what was"
    assert ground.published() == [False] * 3
    done = ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    assert all(done.changed(host) for host in HOSTS)
    assert shown(done) == {host: f"{host} docs sync s2 1 1 0 0 7 B TIME -" for host in HOSTS}
    again = ground.run("sync").succeeded()
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]
    assert shown(again) == {host: f"{host} docs sync s2 0 0 0 0 0 B TIME -" for host in HOSTS}
    assert ground.run("sync", dsg_progress="none").succeeded().summary() == {}
    assert ground.leftovers() == []


def test_definitions_that_a_play_gives_to_the_role_make_a_fleet_as_well(
    ground: FleetGround,
) -> None:
    """As the role's README shows it; the inventory has no definitions, or others."""
    ground.run("init").succeeded()
    play = ground.root / "given.yml"
    role = {"role": "dsg.storage.sync", "vars": {"sync_definitions": [ground.definition]}}
    play.write_text(json.dumps([{"hosts": "storage", "gather_facts": False, "roles": [role]}]))
    old = content(ground.live_of("h1"))
    lost = {"fail": {"msg": "not today"}, "when": "inventory_hostname == 'h3'"}
    losing = ground.root / "losing.yml"
    plays = [{"hosts": "storage", "gather_facts": False, "pre_tasks": [lost], "roles": [role]}]
    losing.write_text(json.dumps(plays))
    for others in ([], [{**ground.definition, "src": str(ground.ben)}]):
        ground.define(*others)
        ground.write({"a.txt": f"longer {others}\n"})
        (ground.live_of("h2") / "intruder").write_text("x")
        failed = Play(ground.installed.playbook(play, "-i", ground.inventory))
        assert failed.result.rc == 2 and "h2: DSG-DRIFT" in failed.said, failed.said
        assert content(ground.live_of("h1")) == content(ground.live_of("h3")) == old
        os.unlink(ground.live_of("h2") / "intruder")
        without = Play(ground.installed.playbook(losing, "-i", ground.inventory))
        assert without.result.rc == 2 and "h3: lost before" in without.said, without.said
        assert [content(ground.live_of(host)) for host in HOSTS] == [old] * 3
        Play(ground.installed.playbook(play, "-i", ground.inventory)).succeeded()
        assert ground.published() == [True] * 3
        old = content(ground.live_of("h1"))
    assert ground.leftovers() == []


def shown(play: Play) -> dict[str, str]:
    """Return the table at the end, with TIME for how long it took."""
    return {host: re.sub(r"\d+\.\d s", "TIME", row) for host, row in play.summary().items()}


def spell(ground: FleetGround, **sources: str) -> None:
    """Have hosts name a working copy in their own way."""
    inventory = json.loads(ground.inventory.read_text())
    (definition,) = inventory["storage"]["vars"]["dsg_repositories"]
    for host, src in sources.items():
        own = {"dsg_repositories": [{**definition, "src": src}]}
        inventory["storage"]["hosts"][host] = own
    ground.inventory.write_text(json.dumps(inventory))


def test_hosts_that_spell_their_working_copy_differently_publish_together(
    published: FleetGround,
) -> None:
    ground = published
    link = ground.root / "link"
    link.symlink_to(ground.ann.parent)
    spell(ground, h2=f"{ground.ann}/", h3=f"{link}/./docs")
    old = content(ground.live_of("h1"))
    ground.write({"a.txt": "longer\n"})
    (ground.live_of("h3") / "intruder").write_text("x")
    announced = ground.run("sync", "--check").said
    assert "nothing would be published. Failed are h3: DSG-DRIFT." in announced
    play = ground.run("sync")
    assert play.failed("DSG-DRIFT")
    assert [content(ground.live_of(host)) == old for host in HOSTS] == [True, True, False]
    os.unlink(ground.live_of("h3") / "intruder")
    done = ground.run("sync").succeeded()
    assert all(row.endswith("TIME -") for row in shown(done).values()), shown(done)
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


def test_a_run_undoes_one_renaming_of_a_working_copy_that_hosts_share(
    published: FleetGround,
) -> None:
    published.define({**published.definition, "names": "normalise"})
    spell(published, h2=f"{published.ann}/")
    for name in ("one?", "two?"):
        published.write({name: name})
        published.run("sync").succeeded()
    for options in (["--check", "--diff"], ["--diff"]):
        done = published.run("undo_names", *options).succeeded()
        assert done.differences() == ["rename         two_ -> two?"]
        assert [done.changed(host) for host in HOSTS] == [1, 0, 0]
    assert {"one_", "two?"} <= content(published.ann).keys()


def test_one_host_that_fails_keeps_all_from_publishing(published: FleetGround) -> None:
    ground = published
    old = content(ground.live_of("h1"))
    ground.write({"a.txt": "longer\n"})
    (ground.live_of("h2") / "intruder").write_text("x")
    announced = ground.run("sync", "--check", "--diff").said
    assert "nothing would be published. Failed are h2: DSG-DRIFT." in announced
    announced = ground.run("sync", "--check", dsg_max_fail_percentage=40).said
    assert "The others would publish without h2." in announced
    play = ground.run("sync")
    assert play.failed("DSG-DRIFT")
    assert "h2: DSG-DRIFT" in play.said
    nothing = "- - - - -"
    assert shown(play) == {
        "h1": f"h1 docs sync s1 {nothing} TIME rolled back",
        "h2": f"h2 docs - - {nothing} - DSG-DRIFT",
        "h3": f"h3 docs sync s1 {nothing} TIME rolled back",
    }
    assert content(ground.live_of("h1")) == content(ground.live_of("h3")) == old
    assert ground.leftovers() == []
    play = ground.run("sync", dsg_max_fail_percentage=40)
    assert ground.published() == [True, False, True]
    assert shown(play) == {
        "h1": "h1 docs sync s2 1 0 0 0 7 B TIME -",
        "h2": f"h2 docs - - {nothing} - DSG-DRIFT",
        "h3": "h3 docs sync s2 1 0 0 0 7 B TIME -",
    }
    play = ground.run("sync", dsg_max_fail_percentage=40, dsg_canaries=["h2"])
    os.unlink(ground.live_of("h2") / "intruder")
    ground.run("sync", dsg_canaries=["h2"]).succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


def test_a_host_that_fails_with_one_repository_publishes_none(published: FleetGround) -> None:
    """Nor does a recovery behind it."""
    ground = published
    other = {**ground.definition, "name": "other", "src": f"{ground.root}/other"}
    ground.write({"o.txt": "o"}, ground.root / "other")
    ground.define(ground.definition, other)
    ground.run("sync", sync_operation="auto").succeeded()
    ground.write({"a.txt": "longer\n"})
    ground.write({"o.txt": "longer"}, ground.root / "other")
    (ground.root / "h2" / "other" / "intruder").write_text("x")
    play = ground.run("sync", dsg_max_fail_percentage=40)
    assert play.result.rc == 2, play.result
    assert "This host takes no part in what the others have published" in play.said
    assert ground.published() == [True, False, True]
    assert ground.leftovers() == []
    recovered = ground.run("recover").succeeded()
    assert [recovered.changed(host) for host in HOSTS] == [0, 0, 0]
    assert ground.published() == [True, False, True]
    assert (ground.live_of("h1").parent / "other" / "o.txt").read_text() == "longer"


def test_a_canary_that_fails_keeps_the_others_from_even_preparing(published: FleetGround) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    (ground.live_of("h1") / "intruder").write_text("x")
    before = untouched(*(ground.root / host for host in HOSTS))
    # One by one: h3 is asked what becomes of it when h1 has failed and is not there any more.
    play = ground.run("sync", "--forks", "1", dsg_canaries=["h1"], dsg_max_fail_percentage=90)
    assert play.failed("DSG-DRIFT")
    assert [play.result.stats[host]["failures"] for host in HOSTS] == [1, 0, 0], play.said
    assert untouched(*(ground.root / host for host in HOSTS)) == before
    assert ground.leftovers() == [], play.said
    problems = {host: row.rpartition("- ")[-1] for host, row in play.summary().items()}
    assert problems == {"h1": "DSG-DRIFT", "h2": "not done", "h3": "not done"}


def test_a_canary_that_nobody_knows_is_refused(published: FleetGround) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    before = untouched(ground.root)
    for options in ([], ["--check"], ["--limit", "h1"]):
        play = ground.run("sync", *options, dsg_canaries=["h1", "h99"])
        assert play.result.rc == 2, play.result
        said = " ".join(play.said.split())
        for words in ("inventory: h99.", "Nothing was changed", "correct dsg_canaries"):
            assert words in said, play.said
        assert untouched(ground.root) == before


def test_canaries_that_take_no_part_are_left_out_of_account(published: FleetGround) -> None:
    """By a limit, by batches, or as every host goes its own way: nobody waits for them."""
    ground = published
    ground.write({"a.txt": "longer\n"})
    ground.run("sync", "--limit", "h2,h3", dsg_canaries=["h1"]).succeeded()
    assert ground.published() == [False, True, True]
    ground.write({"a.txt": "longer still\n"})
    batches = ground.root / "batches.yml"
    role = {"import_role": {"name": "dsg.storage.sync"}}
    play = {"hosts": "storage", "gather_facts": False, "serial": [1, 2], "tasks": [role]}
    batches.write_text(json.dumps([play]))
    options = ("-i", ground.inventory, "-e", json.dumps({"dsg_canaries": ["h1"]}))
    Play(ground.installed.playbook(batches, *options)).succeeded()
    assert ground.published() == [True] * 3
    ground.write({"a.txt": "short\n"})
    ground.run("sync", dsg_canaries=["h1"]).succeeded()
    assert ground.published() == [True] * 3
    pulled = ground.run("sync", dsg_direction="pull", dsg_canaries=["h1"]).succeeded()
    assert "not done" not in pulled.said, "a canary that only pulls stops nobody"
    own = {**ground.definition, "src": f"{ground.root}/ann-{{{{ inventory_hostname }}}}"}
    ground.define(own)
    ground.run("clone", dsg_canaries=["h1"]).succeeded()
    for host in HOSTS:
        ground.write({"own.txt": host}, ground.root / f"ann-{host}")
    ground.run("sync", dsg_canaries=["h1"]).succeeded()
    assert [(ground.live_of(host) / "own.txt").read_text() for host in HOSTS] == list(HOSTS)


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_the_playbook_waits_for_all_hosts_whatever_strategy_is_set(
    published: FleetGround, strategy: str
) -> None:
    """Hosts that go ahead of each other would fail one by one, until the last one publishes alone."""
    ground = published
    old = content(ground.live_of("h1"))
    ground.write({"a.txt": "longer\n"})
    (ground.live_of("h1") / "intruder").write_text("x")
    arguments = ("dsg.storage.sync", "-i", ground.inventory)
    play = Play(ground.installed.playbook(*arguments, ANSIBLE_STRATEGY=strategy))
    assert play.failed("DSG-DRIFT")
    assert "Nothing was published on any host. Failed were h1: DSG-DRIFT" in play.said
    assert content(ground.live_of("h2")) == content(ground.live_of("h3")) == old
    assert ground.leftovers() == []
    os.unlink(ground.live_of("h1") / "intruder")
    Play(ground.installed.playbook(*arguments, ANSIBLE_STRATEGY=strategy)).succeeded()
    assert ground.published() == [True] * 3


def own_play(ground: FleetGround, *options: str, **fields: Any) -> Play:
    """Run a play of somebody's own that has the role, with definitions that it gives itself."""
    role = {"role": "dsg.storage.sync", "vars": {"sync_definitions": [ground.definition]}}
    play = {"hosts": "storage", "gather_facts": False, "roles": [role], **fields}
    path = ground.root / "own-play.yml"
    path.write_text(json.dumps([play]))
    return Play(ground.installed.playbook(path, "-i", ground.inventory, *options))


@pytest.mark.parametrize("strategy", ["free", "ansible.builtin.host_pinned"])
def test_a_play_whose_hosts_do_not_wait_for_each_other_is_refused(
    published: FleetGround, strategy: str
) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    before = untouched(ground.root)
    for definitions in ([ground.definition], []):
        ground.define(*definitions)
        for options in (["--check"], []):
            play = own_play(ground, *options, strategy=strategy)
            said = " ".join(play.said.split())
            assert play.result.rc == 2, play.result
            assert not any("Carry over" in task["task"] for task in play.result.tasks), said
            assert f"the play has the strategy {strategy}, by which no host waits" in said
            assert "Nothing was changed. Next step: give the play `strategy: linear`" in said
    ground.define(ground.definition)
    (ground.root / "own-play.yml").unlink()
    assert untouched(ground.root) == before
    own_play(ground, strategy="debug").succeeded()
    assert ground.published() == [True] * 3, "made from linear"


def applying(ground: FleetGround, *roles: dict[str, Any], options: tuple[str, ...] = ()) -> Play:
    """Run a play with applications of the role; before the last one the tree changes, and h3 drifts."""
    write = {"content": "longer\n", "dest": f"{ground.ann}/a.txt", "mode": "0644"}
    drift = {"content": "x", "dest": f"{ground.live_of('h3')}/intruder", "mode": "0644"}
    copies = [{"copy": one, "run_once": True, "check_mode": False} for one in (write, drift)]
    tasks = [*roles[:-1], *copies, roles[-1]]
    path = ground.root / "applying.yml"
    path.write_text(json.dumps([{"hosts": "storage", "gather_facts": False, "tasks": tasks}]))
    return Play(ground.installed.playbook(path, "-i", ground.inventory, *options))


def applied(how: str, **fields: Any) -> dict[str, Any]:
    return {how: {"name": "dsg.storage.sync"}, **fields}


@pytest.mark.parametrize("before", [0, 1], ids=["alone", "behind another one"])
def test_a_condition_that_leaves_out_the_host_that_asks_for_all_is_refused(
    published: FleetGround, before: int
) -> None:
    """Else the others would go by what an earlier application of the role found out and decided."""
    ground = published
    old = content(ground.live_of("h1"))
    all_of_them = [applied("import_role")] * before
    some = applied("import_role", when="inventory_hostname != 'h1'")
    for options in (("--check",), ()):
        play = applying(ground, *all_of_them, some, options=options)
        said = " ".join(play.said.split())
        assert play.result.rc == 2, said
        assert [play.result.stats[host]["failures"] for host in HOSTS] == [0, 1, 1], said
        for words in ("A `when` of the role leaves it out", "Nothing was changed", "`--limit`"):
            assert words in said
        assert "intruder" not in said, "nobody was asked to prepare"
        assert content(ground.live_of("h1")) == content(ground.live_of("h2")) == old
        assert ground.leftovers() == []
        ground.write({"a.txt": "a\n"})
        os.unlink(ground.live_of("h3") / "intruder")


@pytest.mark.parametrize("before", [0, 1], ids=["alone", "behind another one"])
def test_hosts_that_do_not_include_the_role_take_no_part(
    published: FleetGround, before: int
) -> None:
    """What they did in an earlier application of the role counts for nothing in this one."""
    ground = published
    old = content(ground.live_of("h1"))
    all_of_them = [applied("include_role")] * before
    some = applied("include_role", when="inventory_hostname != 'h1'")
    most = {"vars": {"sync_max_fail_percentage": 40}}
    play = applying(ground, *all_of_them, {**some, **most})
    assert play.failed("DSG-DRIFT")
    assert "Nothing was published on any host. Failed were h3: DSG-DRIFT" in play.said
    assert [content(ground.live_of(host)) == old for host in HOSTS] == [True, True, False]
    assert ground.leftovers() == []
    os.unlink(ground.live_of("h3") / "intruder")
    last = ground.root / "last.yml"
    last.write_text(json.dumps([{"hosts": "storage", "gather_facts": False, "tasks": [some]}]))
    Play(ground.installed.playbook(last, "-i", ground.inventory)).succeeded()
    assert ground.published() == [False, True, True]
    assert ground.leftovers() == []


def test_a_condition_may_leave_out_another_host(published: FleetGround) -> None:
    ground = published
    some = applied("import_role", when="inventory_hostname != 'h3'")
    applying(ground, applied("import_role"), some).succeeded()
    assert ground.published() == [True, True, False]
    assert ground.leftovers() == []


def test_hosts_that_need_no_others_may_go_ahead(published: FleetGround) -> None:
    """One host alone, and hosts with working copies on themselves."""
    ground = published
    ground.write({"a.txt": "longer\n"})
    assert own_play(ground, "--limit", "h3", strategy="free").result.rc == 0
    assert ground.published() == [False, False, True]
    ground.define({**ground.definition, "src": f"{ground.root}/own-{{{{ inventory_hostname }}}}"})
    ground.run("clone").succeeded()
    for host in HOSTS:
        ground.write({"own.txt": host}, ground.root / f"own-{host}")
    role = {"role": "dsg.storage.sync", "vars": {"sync_transport": "local"}}
    play = own_play(ground, strategy="free", roles=[role])
    assert play.result.rc == 0, play.result
    assert [(ground.live_of(host) / "own.txt").read_text() for host in HOSTS] == list(HOSTS)


@pytest.mark.parametrize("alone", HOSTS)
def test_a_host_with_a_working_copy_on_itself_goes_its_own_way(
    published: FleetGround, alone: str
) -> None:
    """``local`` is what one host has to say, be it the first one, which asks for all of them."""
    ground = published
    own, others = ground.root / "own", [host for host in HOSTS if host != alone]
    inventory = json.loads(ground.inventory.read_text())
    inventory["storage"]["hosts"][alone] = {
        "dsg_transport": "local",
        "dsg_repositories": [{**ground.definition, "src": str(own)}],
    }
    ground.inventory.write_text(json.dumps(inventory))
    ground.run("clone", "--limit", alone).succeeded()
    old = content(ground.ann)
    ground.write({"a.txt": "longer\n"})
    ground.write({"a.txt": "its own\n"}, own)
    (ground.live_of(others[1]) / "intruder").write_text("x")
    announced = ground.run("sync", "--check")
    assert f"nothing would be published. Failed are {others[1]}: DSG-DRIFT." in announced.said
    play = ground.run("sync")
    assert play.failed("DSG-DRIFT")
    assert content(ground.live_of(others[0])) == old
    assert content(ground.live_of(alone)) == content(own)
    os.unlink(ground.live_of(others[1]) / "intruder")
    done = ground.run("sync").succeeded()
    assert [done.changed(host) > 0 for host in HOSTS] == [host != alone for host in HOSTS]
    assert [content(ground.live_of(host)) for host in others] == [content(ground.ann)] * 2
    assert ground.leftovers() == []


def losing(ground: FleetGround, *hosts: str, serial: list[int] | None = None, **extra: Any) -> Play:
    """Run a playbook in which a task fails on some hosts before the role begins."""
    tasks = [
        {"fail": {"msg": "not today"}, "when": f"inventory_hostname in {list(hosts)}"},
        {"import_role": {"name": "dsg.storage.sync"}},
    ]
    play = {"hosts": "storage", "gather_facts": False, "serial": serial or [3], "tasks": tasks}
    path = ground.root / "losing.yml"
    path.write_text(json.dumps([play]))
    options = ("-i", ground.inventory, "-e", json.dumps(extra))
    done = Play(ground.installed.playbook(path, *options))
    assert done.result.rc == 2, done.result
    return done


def test_a_host_that_is_lost_before_the_role_counts_as_failed(published: FleetGround) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    for lost in (["h2"], ["h2", "h3"]):
        play = losing(ground, *lost)
        assert ground.published() == [False] * 3, (
            "nobody publishes without it, not even the last one"
        )
        assert "Nothing was published on any host" in play.said
        assert all(f"{host}: lost before" in play.said for host in lost), play.said
        assert ground.leftovers() == []
    before = untouched(ground.root / "h1")
    play = losing(ground, "h2", dsg_max_fail_percentage=90, dsg_canaries=["h2", "h3"])
    assert "Nothing was published on any host" in play.said
    assert untouched(ground.root / "h1") == before
    assert ground.published() == [False] * 3, "a canary has to be there"
    losing(ground, "h2", dsg_max_fail_percentage=34, dsg_canaries=["h3"])
    assert ground.published() == [True, False, True]
    assert ground.leftovers() == []


def test_a_host_whose_definitions_are_invalid_counts_as_failed(published: FleetGround) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    inventory = json.loads(ground.inventory.read_text())
    for wrong in ({"direction": "sideways"}, {"src": "{{ nowhere }}"}):
        definitions = [{**ground.definition, **wrong}]
        inventory["storage"]["hosts"]["h2"] = {"dsg_repositories": definitions}
        ground.inventory.write_text(json.dumps(inventory))
        play = ground.run("sync")
        assert play.result.rc == 2, play.result
        assert "h2: lost before" in play.said, play.said
        assert ground.published() == [False] * 3
    ground.run("sync", dsg_max_fail_percentage=40)
    assert ground.published() == [True, False, True]


def test_a_host_is_counted_in_the_batch_that_lost_it_and_in_no_other(
    published: FleetGround,
) -> None:
    ground = published
    ground.write({"a.txt": "longer\n"})
    ground.run("sync", "--limit", "h1").succeeded()
    (ground.live_of("h2") / "intruder").write_text("x")
    losing(ground, serial=[2, 1])
    assert ground.published() == [True, False, True]
    (ground.live_of("h2") / "intruder").unlink()
    ground.write({"a.txt": "longer still\n"})
    ground.run("sync", "--limit", "h1").succeeded()
    play = losing(ground, "h2", serial=[2, 1])
    assert "Nothing was published" not in play.said, play.said
    assert ground.published() == [True, False, True]


def publish_bens(ground: FleetGround, host: str, files: dict[str, str] | None = None) -> None:
    """Let Ben publish something on one host, from a working copy that he has of it alone."""
    shared, mine = ground.inventory.read_text(), ground.root / "ben" / host
    ground.define({**ground.definition, "src": str(mine)})
    ground.play("clone", who=host).succeeded()
    ground.write(files or {"ben.txt": "ben\n"}, mine)
    ground.play("sync", who=host).succeeded()
    ground.inventory.write_text(shared)


def planned(play: Play) -> dict[str, str]:
    """Return the rows of a dry run's table by their host, without the gaps."""
    (lines,) = (
        task["result"]["msg"]
        for task in play.result.tasks
        if task["task"].endswith("Show what each host would do") and task["status"] == "ok"
    )
    return {line.split()[0]: " ".join(line.split()) for line in lines[2:]}


def test_a_conflict_with_one_host_keeps_all_from_publishing_until_it_is_decided(
    published: FleetGround,
) -> None:
    ground = published
    publish_bens(ground, "h2", {"a.txt": "ben\n"})
    ground.write({"a.txt": "ann\n"})
    before = untouched(ground.ann, *(ground.root / host for host in HOSTS))
    announced = ground.run("sync", "--check", "--diff")
    assert planned(announced) == {
        "h1": "h1 docs s1 1 0 0 0 -",
        "h2": "h2 docs s2 - - - - DSG-CONFLICT",
        "h3": "h3 docs s1 1 0 0 0 -",
    }
    assert "nothing would be published. Failed are h2: DSG-CONFLICT." in announced.said
    play = ground.run("sync")
    assert [one["path"] for one in play.failed("DSG-CONFLICT")["conflicts"]] == ["a.txt"]
    assert "Nothing was published on any host. Failed were h2: DSG-CONFLICT" in play.said
    assert untouched(ground.ann, *(ground.root / host for host in HOSTS)) == before
    decided = {"dsg_conflict_paths": {"a.txt": "local"}}
    announced = ground.run("sync", "--check", **decided).succeeded()
    assert planned(announced)["h2"] == "h2 docs s2 1 0 0 0 -"
    ground.run("sync", **decided).succeeded()
    assert ground.published() == [True] * 3
    assert (ground.live_of("h2") / "a.txt").read_text() == "ann\n"
    assert [ground.run("sync").succeeded().changed(host) for host in HOSTS] == [0, 0, 0]
    assert ground.leftovers() == []


@pytest.mark.parametrize("decision", ["local", "remote"])
def test_hosts_that_went_different_ways_are_brought_together(
    published: FleetGround, decision: str
) -> None:
    """What came from the first of them is a conflict with the second one: nobody has asked for either."""
    ground = published
    for host in ("h2", "h3"):
        publish_bens(ground, host, {"a.txt": f"by ben on {host}\n"})
    old = [content(ground.live_of(host)) for host in HOSTS]
    play = ground.run("sync")
    assert play.result.rc == 2, play.result
    assert "Nothing was published on any host. Failed were h3: DSG-CONFLICT" in play.said
    assert [content(ground.live_of(host)) for host in HOSTS] == old
    assert ground.leftovers() == []
    ground.run("sync", dsg_conflict=decision).succeeded()
    assert ground.published() == [True] * 3
    kept = "h2" if decision == "local" else "h3"
    assert (ground.ann / "a.txt").read_text() == f"by ben on {kept}\n"
    assert [ground.run("sync").succeeded().changed(host) for host in HOSTS] == [0, 0, 0]
    assert ground.leftovers() == []


def test_what_one_host_has_is_fetched_and_goes_to_all(published: FleetGround) -> None:
    ground = published
    publish_bens(ground, "h2")
    ground.write({"a.txt": "longer\n"})
    announced = ground.run("sync", "--check").succeeded()
    assert "What h2 has would come into the working copy first" in announced.said
    assert "Failed are" not in announced.said
    done = ground.run("sync").succeeded()
    assert "What h2 has" not in done.said
    assert (ground.ann / "ben.txt").read_text() == "ben\n"
    assert shown(done) == {
        "h1": "h1 docs sync s2 2 0 0 0 11 B TIME -",
        "h2": "h2 docs sync s3 1 0 1 0 11 B TIME -",
        "h3": "h3 docs sync s2 2 0 0 0 11 B TIME -",
    }
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


def test_what_comes_from_a_host_that_only_pulls_goes_to_all_others(published: FleetGround) -> None:
    """Before they prepare: at once with them, it would be a tree that changes under their hands."""
    ground = published
    publish_bens(ground, "h3")
    inventory = json.loads(ground.inventory.read_text())
    pulling = {**ground.definition, "direction": "pull"}
    inventory["storage"]["hosts"]["h3"] = {"dsg_repositories": [pulling]}
    ground.inventory.write_text(json.dumps(inventory))
    ground.write({"a.txt": "longer\n"})
    announced = ground.run("sync", "--check").succeeded()
    assert "What h3 has would come into the working copy first" in announced.said
    done = ground.run("sync").succeeded()
    assert shown(done) == {
        "h1": "h1 docs sync s2 2 0 0 0 11 B TIME -",
        "h2": "h2 docs sync s2 2 0 0 0 11 B TIME -",
        "h3": "h3 docs sync s2 0 0 1 0 4 B TIME -",
    }
    assert ground.published() == [True, True, False], "what is pulled from is not published to"
    assert [ground.run("sync").succeeded().changed(host) for host in HOSTS] == [0, 0, 0]
    away = ground.live_of("h3").rename(ground.root / "away")
    ground.write({"a.txt": "longer still\n"})
    refused = ground.run("sync").said
    assert "Nothing was published on any host. Failed were h3: DSG-" in refused
    away.rename(ground.live_of("h3"))
    assert ground.published() == [False] * 3
    assert ground.leftovers() == []


@pytest.mark.parametrize("decided", [False, True], ids=["undecided", "decided"])
def test_a_playbook_that_is_killed_is_completed_by_recover(
    published: FleetGround, decided: bool
) -> None:
    """Killed when all are prepared, or when one has committed: all go back, or all go forward."""
    ground = published
    old = content(ground.live_of("h1"))
    ground.write({"a.txt": "longer\n"})
    gate = ground.root / "gate"
    os.mkfifo(gate)
    play = ground.root / "by-hand.yml"
    play.write_text(json.dumps(_by_hand(decided, str(gate))))
    with (ground.root / "output").open("wb") as output:
        running = ground.installed.start("-i", ground.inventory, play, output=output.fileno())
    opener = threading.Thread(target=lambda: gate.open().close(), daemon=True)
    opener.start()  # ends when a task of the playbook opens the gate, too
    while opener.is_alive() and running.poll() is None:
        opener.join(0.1)
    assert running.poll() is None, (ground.root / "output").read_text()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    names = [f"h{n}/.dsg/docs.held" for n in (1, 2, 3)]
    left = [path for path in ground.leftovers() if path.rpartition(".")[0] in names]
    assert len(left) == (2 if decided else 3), ground.leftovers()
    announced = ground.run("recover", "--check", "--diff").succeeded()
    assert announced.said.count("is to be committed" if decided else "is to be rolled back") >= len(
        left
    ), announced.said
    ground.run("recover").succeeded()
    assert ground.published() == [decided] * 3
    assert decided or content(ground.live_of("h2")) == old
    assert ground.leftovers() == []
    again = ground.run("recover").succeeded()
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3


def test_what_a_lost_working_copy_left_held_is_abandoned(published: FleetGround) -> None:
    """As docs/transactions.md says: nobody can decide it any more, but for whoever looked."""
    ground = published
    old = content(ground.live_of("h1"))
    ground.write({"a.txt": "longer\n"})
    (by_hand,) = _by_hand(False, "")
    play = ground.root / "by-hand.yml"
    play.write_text(json.dumps([{**by_hand, "tasks": by_hand["tasks"][:1]}]))
    prepared = Play(ground.installed.playbook(play, "-i", ground.inventory)).succeeded()
    held = {task["host"]: task["result"]["txn_id"] for task in prepared.result.tasks}
    assert len(ground.leftovers()) >= 6, ground.leftovers()
    shutil.rmtree(ground.ann)
    ground.play("recover", who="all").succeeded()
    assert len([name for name in ground.leftovers() if ".held." in name]) == 3
    for host in HOSTS:
        announced = ground.play("recover", "--check", "--diff", who=host, dsg_abandon=held[host])
        done = ground.play("recover", "--diff", who=host, dsg_abandon=held[host]).succeeded()
        assert announced.succeeded().changed(host) == done.changed(host) == 1, announced.said
        assert f"abandoned transaction {held[host]}" in done.said
    assert ground.leftovers() == []
    assert [content(ground.live_of(host)) for host in HOSTS] == [old] * 3
    again = ground.run("recover", dsg_abandon=held["h1"]).succeeded()
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]


def test_one_host_that_stays_prepared_stops_no_later_transaction(published: FleetGround) -> None:
    """A batch, or a play, that comes later in the same run is a transaction of its own."""
    ground = published
    ground.write({"a.txt": "longer\n"})
    (play,) = _by_hand(True, "")
    prepare, commit = play["tasks"][:2]
    commit["when"] = "inventory_hostname != 'h2'"
    write = {"content": "later\n", "dest": f"{ground.ann}/a.txt", "mode": "0644"}
    first = {**play, "tasks": [prepare, commit, {"ansible.builtin.copy": write, "run_once": True}]}
    later = {**play, "hosts": "h1,h3", "tasks": [{"import_role": {"name": "dsg.storage.sync"}}]}
    path = ground.root / "later.yml"
    path.write_text(json.dumps([first, later]))
    done = Play(ground.installed.playbook(path, "-i", ground.inventory)).succeeded()
    assert ground.published() == [True, False, True], done.said
    ground.run("recover").succeeded()
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


def test_who_goes_together_is_what_all_hosts_say_not_the_first_of_them(
    published: FleetGround,
) -> None:
    """A role's variable may differ between hosts: those with one working copy are all or nothing."""
    ground = published
    inventory = json.loads(ground.inventory.read_text())
    own = [{**ground.definition, "src": str(ground.ben)}]
    inventory["storage"]["hosts"]["h1"] = {"mine": own}
    inventory["storage"]["vars"]["mine"] = [ground.definition]
    ground.inventory.write_text(json.dumps(inventory))
    role = {"import_role": {"name": "dsg.storage.sync"}, "vars": {"sync_definitions": "{{ mine }}"}}
    path = ground.root / "own.yml"
    path.write_text(json.dumps([{"hosts": "storage", "gather_facts": False, "tasks": [role]}]))
    old = content(ground.live_of("h2"))
    ground.write({"a.txt": "longer\n"})
    (ground.live_of("h3") / "intruder").write_text("x")
    play = Play(ground.installed.playbook(path, "-i", ground.inventory))
    assert play.failed("DSG-DRIFT")
    assert content(ground.live_of("h2")) == old, "nobody publishes without h3"
    os.unlink(ground.live_of("h3") / "intruder")
    Play(ground.installed.playbook(path, "-i", ground.inventory)).succeeded()
    assert ground.published() == [False, True, True]


def test_a_host_with_a_working_copy_of_its_own_leaves_no_record_of_the_others(
    published: FleetGround,
) -> None:
    ground = published
    inventory = json.loads(ground.inventory.read_text())
    own = {**ground.definition, "src": f"{ground.root}/own"}
    inventory["storage"]["hosts"]["h1"] = {"dsg_repositories": [own]}
    ground.inventory.write_text(json.dumps(inventory))
    ground.run("clone", "--limit", "h1").succeeded()
    done = ground.run("sync").succeeded()
    assert [done.changed(host) for host in HOSTS] == [0, 0, 0]
    assert ground.leftovers() == []
    assert not (ground.ann / ".dsg" / "fleet").exists()


def _by_hand(decided: bool, gate: str) -> list[dict[str, Any]]:
    """Return a playbook that stops when all are prepared, or when one of them has committed."""
    options = {
        "src": "{{ dsg_repositories[0].src }}",
        "repository": "docs",
        "backend": "{{ dsg_repositories[0].backend }}",
        "user": "ann",
    }
    tasks: list[dict[str, Any]] = [
        {
            "name": "Prepare",
            "dsg.storage.dsg_sync": {**options, "phase": "prepare"},
            "register": "prepared",
        },
        {
            "name": "Commit on one host",
            "dsg.storage.dsg_sync": {
                **options,
                "phase": "commit",
                "txn_id": "{{ prepared.txn_id }}",
            },
            "when": f"{decided} and inventory_hostname == 'h2'",
        },
        {
            "name": "Tell the test, and wait for it",
            "ansible.builtin.command": {
                "argv": ["sh", "-c", f"while echo; do sleep 1; done >{gate}"]
            },
            "run_once": True,
        },
    ]
    return [{"name": "By hand", "hosts": "storage", "gather_facts": False, "tasks": tasks}]


def test_hosts_whose_numbers_mean_other_trees_are_not_restored_together(
    published: FleetGround,
) -> None:
    ground = published
    ground.write({"a.txt": "two\n"})
    ground.run("sync").succeeded()
    ground.write({"a.txt": "only on h1\n"})
    ground.play("sync", who="h1").succeeded()
    ground.write({"a.txt": "on all\n"})
    ground.run("sync").succeeded()  # s4 on h1, s3 on the others
    for asked in (
        {"dsg_snapshot": 3},
        {"dsg_snapshot": 4},
        {"dsg_snapshot": 3, "dsg_paths": "b.txt"},
    ):
        before = untouched(ground.root)
        for options in ([], ["--check"]):
            play = ground.run("restore", *options, **asked)
            assert play.result.rc == 2, play.result
            assert "Nothing was changed" in play.said and "--limit" in play.said
            assert untouched(ground.root) == before
            assert "h1" in play.said and "KEPT" in play.said, "the table"
    assert "the newest one is s3" in ground.run("restore", dsg_snapshot=4).said
    ground.play("restore", who="h1", dsg_snapshot=3).succeeded()
    assert (ground.live_of("h1") / "a.txt").read_text() == "only on h1\n"
    # What is the same everywhere comes back everywhere.
    done = ground.run("restore", dsg_snapshot=1).succeeded()
    assert [done.changed(host) for host in HOSTS] == [1, 1, 1]
    assert {(ground.live_of(host) / "a.txt").read_text() for host in HOSTS} == {"a\n"}


def test_hosts_that_do_not_all_keep_a_snapshot_are_not_restored(published: FleetGround) -> None:
    ground = published
    ground.write({"a.txt": "two\n"})
    ground.run("sync").succeeded()
    ground.play("prune", who="h2", dsg_keep={"last": 1}).succeeded()
    before = untouched(ground.root)
    play = ground.run("restore", dsg_snapshot=1)
    assert play.result.rc == 2 and "Nothing was changed" in play.said, play.result
    assert untouched(ground.root) == before
    # A host that does not have the repository at all is none to go on without.
    shutil.rmtree(ground.root / "h3" / "docs")
    before = untouched(ground.root)
    assert ground.run("restore", dsg_snapshot=2).result.rc == 2
    assert untouched(ground.root) == before

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles take what the modules take: an option that one of them forgets would be silently lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dsg.storage.plugins.module_utils._core.backends.zfs import rights
from ansible_collections.dsg.storage.plugins.module_utils._options import backend_option
from ansible_collections.dsg.storage.plugins.modules import dsg_info, dsg_sync, dsg_zpool

ROOT = Path(__file__).resolve().parents[3]
OF_THE_HOST = {
    "transport",
    "progress",
    "storage_host",
}  # one for all definitions, or the inventory's own
OF_THE_FLEET = {"fleet_host", "fleet_coordinator"}  # filled in by the action
OF_THE_STEP = {"phase", "fleet", "txn_id", "abandon"}
OF_THE_SHELL = {
    *("paths_limit", "operation", "repository"),
    *OF_THE_HOST,
    *OF_THE_FLEET,
    *OF_THE_STEP,
}
OF_PROVISIONING = {"owner", "group", "mode", "mountpoint", "name"}
OF_UPKEEP = {"keep"}  # read by the playbook prune
ELSEWHERE = OF_PROVISIONING | OF_UPKEEP
OTHER_WORD = {"snapshot_message": "message"}  # Ansible keeps `message` for itself in modules


def _load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _options(role: str) -> dict[str, Any]:
    return _load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def _definition(role: str) -> dict[str, Any]:
    return _options(role)[f"{role}_definitions"]["options"]


def test_both_roles_read_the_same_definitions() -> None:
    repository, sync = _definition("repository"), _definition("sync")
    assert repository["src"].pop("required", False) is False
    assert sync["src"].pop("required") is True
    assert repository == sync


def test_a_definition_has_every_option_of_the_module_with_its_type_and_choices() -> None:
    definition = _definition("sync")
    spec = {OTHER_WORD.get(name, name): one for name, one in dsg_sync.argument_spec().items()}
    assert set(definition) - ELSEWHERE == set(spec) - OF_THE_SHELL
    for name in set(spec) - OF_THE_SHELL:
        for key in ("type", "choices", "elements"):
            assert definition[name].get(key) == spec[name].get(key), (name, key)


def test_roles_and_modules_place_a_backend_by_the_same_options() -> None:
    module = backend_option(required=True)
    for role in ("repository", "sync"):
        backend = _definition(role)["backend"]
        assert set(backend["options"]) == set(module["options"])
        assert backend["options"]["type"]["choices"] == module["options"]["type"]["choices"]
        for rule in ("mutually_exclusive", "required_if"):
            assert [tuple(one) for one in backend[rule]] == module[rule], (role, rule)


def test_the_role_hands_every_option_of_a_definition_to_the_module() -> None:
    (task,) = _load("roles/sync/tasks/carry.yml")
    handed = task["dsg.storage.dsg_sync"]
    elsewhere = {"paths_limit", "storage_host", "txn_id", *OF_THE_FLEET}
    assert set(handed) == set(dsg_sync.argument_spec()) - elsewhere
    for name in set(_definition("sync")) - ELSEWHERE:
        option = next((key for key, word in OTHER_WORD.items() if word == name), name)
        assert f"item.{name}" in handed[option], name


def test_status_looks_with_the_options_that_sync_acts_with() -> None:
    (play,) = _load("playbooks/status.yml")
    handed = play["tasks"][0]["block"][0]["dsg.storage.dsg_info"]
    assert set(handed) == set(dsg_info.argument_spec()) - {"storage_host"}


def test_the_role_grants_what_a_transaction_needs() -> None:
    granted = _load("roles/delegation/vars/main.yml")["delegation_permissions"]
    assert sorted(granted) == sorted(rights.REQUIRED)


def test_the_role_takes_and_hands_over_every_option_of_a_pool() -> None:
    definition, spec = _definition("pool"), dsg_zpool.argument_spec()
    assert set(definition) == set(spec)
    for name, option in spec.items():
        for key in ("type", "choices", "elements"):
            assert definition[name].get(key) == option.get(key), (name, key)
    for name, option in spec["vdevs"]["options"].items():
        for key in ("type", "choices", "elements", "default", "required"):
            assert definition["vdevs"]["options"][name].get(key) == option.get(key), (name, key)
    task, _told = _load("roles/pool/tasks/main.yml")
    handed = task["dsg.storage.dsg_zpool"]
    assert set(handed) == set(spec)
    assert all(f"item.{name}" in value for name, value in handed.items())


def test_every_variable_of_a_role_has_a_default_or_is_required() -> None:
    for role in ("pool", "repository", "sync"):
        assert set(_load(f"roles/{role}/defaults/main.yml")) == set(_options(role))


@pytest.mark.parametrize(
    "name",
    ["provision", "init", "sync", "clone", "status", "verify", "recover", "restore", "prune"],
)
def test_playbooks_take_their_hosts_from_one_variable(name: str) -> None:
    (play,) = _load(f"playbooks/{name}.yml")
    assert play["hosts"] == "{{ dsg_hosts | default('storage') }}"
    assert play["gather_facts"] is False


def test_every_playbook_in_which_hosts_meet_waits_for_all_of_them() -> None:
    """Whatever strategy is set elsewhere; by others a task that is to run once runs for each host."""
    apart = {"provision"}
    for path in (ROOT / "playbooks").glob("*.yml"):
        strategies = {play.get("strategy") for play in _load(f"playbooks/{path.name}")}
        assert strategies == {None if path.stem in apart else "linear"}, path

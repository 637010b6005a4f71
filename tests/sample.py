# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make test` runs of the tests that take longest: of each promise the main case.

All others there are marked as long, and left to `make test-long`, so that `make test` ends within an
hour and a quarter on two cores, the building of the virtual hosts included.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

_ZFS = (
    "test_atomic_playbook.py::test_the_docs",
    "test_crash.py::test_every_point[init-kill]",
    "test_crash.py::test_every_point[sync-kill]",
    "test_crash.py::test_every_point_of_the_service_user[sync]",
    "test_crash.py::test_power_cuts",
    "test_crash.py::test_reboot",
    "test_crash.py::test_the_next_sync",
    "test_crash.py::test_what_others",
    "test_delegation.py::test_case[delegation.a_missing_grant_is_named]",
    "test_delegation.py::test_case[delegation.grants_do_not_reach_further]",
    "test_delegation.py::test_case[delegation.it_works_without_a_right_too_many]",
    "test_delegation.py::test_case[delegation.links_lead_nowhere]",
    "test_delegation.py::test_case[delegation.root",
    "test_delegation.py::test_case[delegation.the_helper_takes_",
    "test_delegation.py::test_case[delegation.the_sudo_rule_allows_one_command_line]",
    "test_delegation.py::test_case[delegation.what_a_property_says_is_no_other_property]",
    "test_delegation.py::test_the_service_user_does_what_root_does[basics.a_failure_rolls_back]",
    "test_delegation.py::test_the_service_user_does_what_root_does[basics.init_sync",
    "test_operations.py::test_case[basics.a_failure_rolls_back]",
    "test_operations.py::test_case[basics.check_mode_touches_nothing]",
    "test_operations.py::test_case[basics.clone_pull_and_conflict]",
    "test_operations.py::test_case[basics.init_sync",
    "test_operations.py::test_case[basics.snapshots_of_others]",
    "test_operations.py::test_case[refusals.an_unreadable_record]",
    "test_operations.py::test_case[refusals.hostile_names]",
    "test_operations.py::test_case[refusals.repositories_that_a_clone_could_not_replace]",
    "test_operations.py::test_case[snapshots.restored_and_pruned]",
    "test_readers.py::test_a_commit",
    "test_standing.py::test_what_root_is_told[standing.sound]",
    "test_standing.py::test_what_the_service_user_is_told[standing_user.nothing_is_missing]",
    "test_txn.py::test_case[txn.a_lease_is_respected]",
    "test_txn.py::test_case[txn.check_mode_touches_nothing]",
    "test_txn.py::test_case[txn.life_cycle]",
)
SAMPLED = {
    "crash/test_errors.py": (
        "test_error_from_every_call[clone-EIO]",
        "test_error_from_every_call[converge-EIO]",
        "test_error_from_every_call[init-EDQUOT]",
        "test_error_from_every_call[pull-EIO]",
        "test_error_from_every_call[sync-ENOSPC]",
        "test_error_from_every_call[undo names-EIO]",
        "test_error_from_every_look[init]",
        "test_error_in_recovery[recover committed]",
        "test_error_in_recovery[recover staged]",
    ),
    "crash/test_fleet.py": (
        "test_kill_at_every_call[fleet commit",
        "test_kill_at_every_call[recover decided",
    ),
    "crash/test_kill.py": (
        "test_kill_at_every_call[clone]",
        "test_kill_at_every_call[init]",
        "test_kill_at_every_call[recover committed]",
        "test_kill_at_every_call[recover prepared]",
        "test_kill_at_every_call[sync]",
        "test_kill_at_every_call[undo names]",
    ),
    "crash/test_power_cut.py": (
        "test_power_cut[init-",
        "test_power_cut[sync-]",
        "test_power_cut_of_a_fleet[wc]",
    ),
    "crash/test_snapshots.py": (
        "test_kill_at_every_call[",
        "test_error_from_every_call[prune-EIO]",
        "test_error_from_every_look[prune]",
    ),
    "crash/test_two_faults.py": ("test_second_fault_in_the_rollback[error=EIO]",),
    "integration/test_fleet_playbooks.py": (
        "test_a_canary",
        "test_a_playbook_that_is_killed_is_completed_by_recover[undecided]",
        "test_all_hosts_publish_together",
        "test_one_host_that_fails",
    ),
    "integration/test_report_playbooks.py": (
        "test_log_prints_every_host",
        "test_status_reports_hosts_that_do_not_answer[all hosts-auto]",
        "test_status_reports_hosts_that_do_not_answer[the first host-local]",
        "test_verify_fails_for_the_damaged_host_and_reports_all[another host]",
    ),
    "transport/test_fleet_playbooks.py": (
        "test_a_host_that_runs_full_while_files_come_in[one large file]",
        "test_a_playbook_that_is_killed_at_any_moment[go on",
        "test_a_playbook_that_is_stopped[15]",
        "test_first_publication",
    ),
    "testbed/": (
        "test_testbed.py::test_a_build_that_fails",
        "test_testbed.py::test_an_",
        "test_testbed.py::test_another_host_key",
        "test_testbed.py::test_ansible_reaches",
        "test_testbed.py::test_every_user",
        "test_testbed.py::test_hosts_reach",
        "test_testbed.py::test_openzfs",
        "test_testbed.py::test_power_cut",
        "test_testbed.py::test_reset",
        "test_testbed.py::test_the_command_line",
        "test_testbed.py::test_without_rights",
    ),
    "zfs/": _ZFS,
}
"""Of what is below a path, relative to tests/, the beginnings of those that `make test` runs."""


def below_tests(item: pytest.Item) -> str:
    """Return a test's path below tests/ and its name, `zfs/test_txn.py::test_killed`."""
    return f"{item.path.relative_to(HERE).as_posix()}::{item.name}"


def is_long(test: str) -> bool:
    """Tell whether a test, as its path below tests/ and its name, is left to `make test-long`."""
    for path, main in SAMPLED.items():
        if test.startswith(path):
            return not test.removeprefix(path).removeprefix("::").startswith(main)
    return False

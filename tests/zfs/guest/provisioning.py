# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools, datasets and grants as declared: check, run, and run again."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from typing import Any

from _core.errors import DsgError
from _core.zfs import dataset_state, grant_state, pool_state, steps
from _core.zfs import disks as core_disks
from _core.zfs.command import Runner
from _core.zfs.dataset_state import DatasetRequest
from _core.zfs.grant_state import GrantRequest
from _core.zfs.pool_state import PoolRequest
from guest.lab import sh

Plan = Callable[[], list[steps.Step]]


def hold(plan: Plan) -> list[str]:
    """Check, run and run again, as the modules do; return the commands of the run.

    The prediction equals the run, and the second run has nothing to do.
    """
    predicted = plan()
    done = steps.carry_out(Runner(), plan, plan())
    assert [str(step) for step in done] == [str(step) for step in predicted]
    assert plan() == []
    return [str(step) for step in done]


def refused(plan: Plan, code: str, *words: str) -> DsgError:
    """The plan fails with this code and these words, before anything is done."""
    try:
        found = plan()
    except DsgError as error:
        assert error.code == code, error
        assert error.unchanged and not error.changed, error
        assert all(word in str(error) for word in words), (words, str(error))
        return error
    raise AssertionError(f"not refused: {list(map(str, found))}")


def pool(name: str, *vdevs: tuple[str, str, Sequence[str]], **more: Any) -> Plan:
    """Return the plan of a pool as declared; ``vdevs`` as (role, type, disks)."""
    request = PoolRequest(name=name, vdevs=vdevs, **more)
    return lambda: pool_state.present(Runner(), request)


def dataset(name: str, **more: Any) -> Plan:
    """Return the plan of a dataset as declared."""
    request = DatasetRequest(name, **more)
    return lambda: dataset_state.present(Runner(), request)


def absent(name: str, **more: Any) -> Plan:
    """Return the plan of a dataset that is to be absent."""
    request = DatasetRequest(name, **more)
    return lambda: dataset_state.absent(Runner(), request)


def grant(on: str, kind: str, name: str, permissions: Sequence[str], **more: Any) -> Plan:
    """Return the plan of a grant as declared."""
    request = GrantRequest(on, kind, name, permissions, **more)
    return lambda: grant_state.plan(Runner(), request)


def clean(pools: Sequence[str], disks: Sequence[str]) -> None:
    """Give disks back as they came: no pool, and nothing but zeros."""
    for name in pools:
        sh("zpool", "destroy", "-f", name, check=False)
    for disk in disks:
        device = os.path.realpath(disk)
        partitions = glob.glob(f"{device}[0-9]*")
        if not partitions and core_disks.is_blank(device):
            continue
        for node in [*partitions, device]:
            sh("umount", "--lazy", node, check=False)
            sh("zpool", "labelclear", "-f", node, check=False)
        sh("wipefs", "--all", "--quiet", device, check=False)
        sh("blkdiscard", "--force", "--zeroout", device)  # a partition's ends may lie anywhere
        sh("blockdev", "--rereadpt", device, check=False)
    sh("udevadm", "settle")

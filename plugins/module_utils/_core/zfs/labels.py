# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels that pools leave on their disks, as ``zdb -l`` reads them."""

from __future__ import annotations

import re
from typing import NamedTuple

from .command import CommandFailed, Runner, ZfsError

_FIELD = re.compile(r"    (name|state|pool_guid|hostname): '?([^']*)'?")
_STATES = {
    0: "pool {} that was not exported",
    1: "the exported pool {}",
    2: "the destroyed pool {}",
    3: "a pool, as a spare of it",
    4: "a pool, as a cache of it",
}
IMPORTABLE = (0, 1)


class Label(NamedTuple):
    """Which pool a disk belongs to. Spares and caches do not say it (name and guid are '')."""

    name: str
    guid: str
    state: int
    host: str

    def __str__(self) -> str:
        told = _STATES.get(self.state, "pool {}").format(repr(self.name))
        more = [f"GUID {self.guid}"] if self.guid else []
        more += [f"last used by {self.host}"] if self.host and self.state == 0 else []
        return f"{told} ({', '.join(more)})" if more else told


def read(runner: Runner, node: str) -> Label | None:
    """Return the label on a device or a partition, ``None`` where it has none."""
    try:
        text = runner.run("zdb", "-l", node)
    except CommandFailed as error:
        # It says so and ends with 2; anything else it cannot do is an error.
        if "failed to unpack label" in error.output:
            return None
        raise
    return parse(text, node)


def parse(text: str, node: str) -> Label:
    """Return the first label in the output of ``zdb -l``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _FIELD.fullmatch(line)
        if match:
            found.setdefault(match[1], match[2])
    if not found.get("state", "").isdigit():
        raise ZfsError("unexpected output of zdb -l", object=node, details=text.splitlines()[:10])
    return Label(
        found.get("name", ""),
        found.get("pool_guid", ""),
        int(found["state"]),
        found.get("hostname", ""),
    )

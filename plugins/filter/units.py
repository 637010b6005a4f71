# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter ``dsg.storage.unit_path``: a path as one word of a line in a unit of systemd."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError

_PLAIN = re.compile(r"[A-Za-z0-9/._:@%+=,-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def unit_path(path: str) -> str:
    """Return a path as systemd reads it where a line of a unit has several words."""
    if not path or _CONTROL.search(path):
        raise AnsibleFilterError(
            f"{path!r} is no path that a unit of systemd can name. No unit was changed. "
            "Next step: choose one without control characters."
        )
    said = path.replace("%", "%%")  # else it would stand for something of the unit's
    if _PLAIN.fullmatch(said):
        return said
    escaped = said.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return name to function."""
        return {"unit_path": unit_path}

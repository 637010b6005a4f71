# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that turns rows into lines of a table; documented in table.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.module_utils._status import text_table


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Return a header line, a rule and one line for each row."""
    if isinstance(rows, (str, Mapping)) or not all(isinstance(row, Mapping) for row in rows):
        raise AnsibleFilterError("dsg.storage.table: the input must be a list of dictionaries")
    if not isinstance(columns, Mapping) or not columns:
        raise AnsibleFilterError("dsg.storage.table: columns must be a dictionary, key to title")
    return text_table.table(rows, columns)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"table": table}

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results that can be shown: a host that tells nonsense is one that failed, and not the end of all.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Show = Callable[[Mapping[str, Any]], T]
"""Shows what hosts told, or raises whatever it meets."""


def shown(results: Mapping[str, Any], show: Show[T]) -> T:
    """Show what hosts told, with a failure in the place of each result that cannot be shown."""
    try:
        return show(results)
    except Exception:  # nobody knows what else can be wrong with what anybody may have sent
        return show({host: _presentable(host, one, show) for host, one in results.items()})


def _presentable(host: str, result: Any, show: Show[T]) -> Any:
    items = result.get("results") if isinstance(result, Mapping) else None
    if isinstance(items, list):
        result = {**result, "results": [_or_failure(host, one, show) for one in items]}
    return _or_failure(host, result, show)


def _or_failure(host: str, result: Any, show: Show[T]) -> Any:
    try:
        show({host: result})
    except Exception as exc:
        return _failure(result if isinstance(result, Mapping) else {}, exc)
    return result


def _failure(told: Mapping[str, Any], exc: Exception) -> dict[str, Any]:
    """Return a failure that has the names of the result in whose place it is."""
    item, summary = (told.get(key) for key in ("item", "summary"))
    name = item.get("name") if isinstance(item, Mapping) else None
    if name is None and isinstance(summary, Mapping):
        name = summary.get("repository")
    place = told.get("location")
    return {
        "failed": True,
        "msg": f"what it told cannot be shown ({type(exc).__name__}: {exc})"[:500],
        "item": {"name": name} if isinstance(name, str) else None,
        "location": place if isinstance(place, str) else "",
    }

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root's configuration of what is looked after on this host, ``/etc/dsg/maintenance.json``."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..backends.registry import check_backend
from ..errors import ArgumentError, from_oserror
from ..upkeep.retention import Keep

CONFIGURATION = "/etc/dsg/maintenance.json"
FORMAT = 1
_LARGEST = 1 << 20


class Looked(NamedTuple):
    """A repository that is looked after as ``user`` ('' is root).

    ``keep`` are the rules of its retention, None where nothing is pruned; ``snapshots`` what is verified
    (``newest``, ``all`` or numbers).
    """

    name: str
    backend: Mapping[str, object]
    user: str = "root"
    keep: Keep | None = None
    snapshots: Sequence[str] = ("newest",)


class Alerts(NamedTuple):
    """Who is told of findings: by mail, by a command, or both; again after ``repeat_hours``."""

    mail_to: Sequence[str] = ()
    mail_from: str = ""
    sendmail: str = "/usr/sbin/sendmail"
    command: Sequence[str] = ()
    repeat_hours: float = 24.0


class Configuration(NamedTuple):
    """What the role ``maintenance`` wrote. ``scrub_after_days`` is the least age of the last scrub."""

    repositories: Sequence[Looked] = ()
    pools: Sequence[str] = ()
    scrub_after_days: float = 25.0
    alerts: Alerts = Alerts()
    state: str = "/var/lib/dsg-storage"


def load(path: str = CONFIGURATION) -> Configuration:
    """Read and check the configuration; raises :class:`ArgumentError` for one that cannot be trusted."""
    try:
        _require_ours(os.lstat(os.path.dirname(path) or "."), os.path.dirname(path))
        with open(path, "rb", opener=_open) as stream:
            _require_ours(os.fstat(stream.fileno()), path)
            content = stream.read(_LARGEST + 1)
    except OSError as exc:
        raise from_oserror(exc, "reading the configuration") from exc
    try:
        if len(content) > _LARGEST:
            raise ValueError("too large")
        return parse(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ArgumentError(
            f"the configuration is damaged, or of another version: {exc}",
            object=path,
            next_step="Run the role dsg.storage.maintenance again.",
        ) from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _require_ours(found: os.stat_result, path: str) -> None:
    """Refuse what somebody else could have written: it says what root runs."""
    regular = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if not regular or found.st_uid != 0 or found.st_mode & 0o022:
        raise ArgumentError(
            "it has to belong to root, and nobody else may write it",
            object=path,
            next_step="Look who changed it, then run the role dsg.storage.maintenance again.",
        )


def parse(data: Any) -> Configuration:
    """Return the configuration in plain data, whose keys are those of the classes, and ``format``.

    Raises ``ValueError``, ``TypeError``, ``KeyError`` or :class:`ArgumentError`.
    """
    data = dict(data)
    if data.pop("format") != FORMAT:
        raise ValueError("format")
    alerts = Alerts(**data.pop("alerts", {}))
    repositories = [_looked(one) for one in data.pop("repositories", [])]
    found = Configuration(repositories=repositories, alerts=alerts, **data)
    _check_alerts(alerts)
    _strings("pools", found.pools)
    for pool in found.pools:
        if not pool or pool.startswith("-") or "/" in pool:
            raise ValueError(f"pool {pool!r}")
    _number("scrub_after_days", found.scrub_after_days)
    if not os.path.isabs(found.state):
        raise ValueError(f"state {found.state!r} is no absolute path")
    return found


def _looked(data: Mapping[str, Any]) -> Looked:
    keep = data.get("keep")
    one = Looked(**{**data, "keep": Keep(**keep) if keep else None})
    check_backend(one.backend)
    _string("name", one.name)
    _string("user", one.user)
    _strings("snapshots", one.snapshots)
    if one.keep is not None:
        _string("keep.within", one.keep.within)
        # A string would be taken for its letters, none of which keeps anything.
        _strings("keep.messages", one.keep.messages)
        _strings("keep.tags", one.keep.tags)
        one.keep.check()
    return one


def _check_alerts(alerts: Alerts) -> None:
    _strings("alerts.mail_to", alerts.mail_to)
    _strings("alerts.command", alerts.command)
    _string("alerts.mail_from", alerts.mail_from)
    _string("alerts.sendmail", alerts.sendmail)
    _number("alerts.repeat_hours", alerts.repeat_hours)
    programs = [alerts.sendmail, *alerts.command[:1]]
    if not all(os.path.isabs(program) for program in programs):
        raise ValueError("alerts.sendmail and the first word of alerts.command are absolute paths")
    if "" in alerts.mail_to:
        raise ValueError("an address of alerts.mail_to is empty")
    for address in [*alerts.mail_to, alerts.mail_from]:
        if address.startswith("-") or any(c.isspace() or c == "," for c in address):
            raise ValueError(f"address {address!r}")


def _string(what: str, found: object) -> None:
    if not isinstance(found, str):
        raise ValueError(f"{what} is {found!r}, not a string")


def _strings(what: str, found: object) -> None:
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{what} is {found!r}, not a list of strings")


def _number(what: str, found: object) -> None:
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < math.inf:
        raise ValueError(f"{what} is {found!r}, not a number from 0")

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs that timers start: each looks at everything it is told to, whatever it finds on the way."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Sequence
from typing import TypeVar

from ..errors import ArgumentError, DsgError
from . import alert, scrub, tasks
from .configuration import CONFIGURATION, Configuration, load
from .report import FAILED, Report, Result, begin, failed, keep

ALERT = "alert"

_One = TypeVar("_One")


def main(verb: str, arguments: Sequence[str]) -> int | None:
    """Run a verb with its arguments; return the exit status, None where they are not understood."""
    words = list(arguments)
    as_json = "--json" in words
    if as_json:
        words.remove("--json")
    path = CONFIGURATION
    if "--config" in words[:-1]:
        at = words.index("--config")
        path = words[at + 1]
        del words[at : at + 2]
    if any(word.startswith("-") for word in words) or (verb == ALERT and len(words) != 1):
        return None
    if verb == ALERT:
        return _alert(path, words[0])
    report = begin(verb)
    try:
        report.results = _results(verb, load(path), words)
    except (DsgError, OSError) as exc:
        report.results = [failed(path, exc)]
    return _told(report, as_json)


def _results(verb: str, configuration: Configuration, names: Sequence[str]) -> list[Result]:
    if verb == scrub.SCRUB:
        pools = _chosen([(pool, pool) for pool in configuration.pools], names)
        return [scrub.run(pool, configuration.scrub_after_days) for pool in pools]
    ours = [(one.name, one) for one in configuration.repositories if _is_us(one.user)]
    if configuration.repositories and not ours:
        users = sorted({one.user for one in configuration.repositories})
        raise ArgumentError(
            f"nothing is looked after as {_running_user()}, only as {', '.join(users)}",
            next_step="Run it as one of those, as its timers do.",
        )
    return [tasks.run(verb, one, _directory()) for one in _chosen(ours, names)]


def _directory() -> str:
    """Return where systemd keeps the reports of this unit, '' where a person runs it."""
    return os.environ.get("STATE_DIRECTORY", "")


def _is_us(user: str) -> bool:
    """Tell whether this process runs as that user, who may be given by number as well."""
    if user.isascii() and user.isdigit():
        return int(user) == os.geteuid()
    return user == _running_user()


def _chosen(known: Sequence[tuple[str, _One]], names: Sequence[str]) -> list[_One]:
    """Return everything of those names, all if there are none: two bases may have one name both."""
    there = sorted({name for name, _unused in known})
    for name in names:
        if name not in there:
            raise ArgumentError(
                "this is not looked after here, or not as this user",
                object=name,
                next_step=f"There are: {', '.join(there) or 'none'}.",
            )
    return [one for name, one in known if name in (names or there)]


def _running_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _told(report: Report, as_json: bool) -> int:
    """Say what was found; keep it for who is to be alerted, where systemd gave a place for that."""
    if as_json:
        sys.stdout.write(json.dumps(report.plain(), indent=1, sort_keys=True) + "\n")
    for result in report.results:
        stream = sys.stderr if result.status else sys.stdout
        if not as_json:
            stream.write("".join(f"{_line(line)}\n" for line in result.lines()))
    sys.stdout.flush()
    try:
        keep(report, _directory())
    except OSError as exc:
        sys.stderr.write(f"the report could not be kept: {exc.strerror}\n")
        return FAILED
    return report.status


def _line(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _alert(path: str, unit: str) -> int:
    try:
        failures = alert.alert(load(path), unit)
    except (DsgError, OSError) as exc:
        failures = [str(exc)]
    for line in failures:
        sys.stderr.write(f"{line}\n")
    return alert.outcome(failures)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root half of the delegated model: fixed verbs, read line by line, for one service user.

Started by sudo without any argument that could be chosen. A request names a publish parent, a
repository and a transaction; every dataset and every path is derived from them here, and the parent
has to be in root's own configuration, with the calling user as its service user.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import select
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from ...errors import ArgumentError, DsgError, RepositoryError, from_oserror
from ...zfs.command import Runner
from .layout import INIT, RUN, STAGE, Layout
from .privileged import Direct, Owner
from .state import State, look

CONFIGURATION = "/etc/dsg/helper.json"
FORMAT = 1
LONGEST_REQUEST = 4096
_MOST_LOCKS = 10_000

_TXN = re.compile(r"[0-9A-Za-z-]{1,64}")


class Request(NamedTuple):
    """One line: a verb with the names that it is about ('' where a verb takes none)."""

    verb: str
    parent: str
    name: str
    kind: str = ""
    txn: str = ""


_PLAIN = ("verb", "parent", "name")
VERBS: Mapping[str, tuple[str, ...]] = {
    "hello": _PLAIN,
    "locks": _PLAIN,
    "mount": (*_PLAIN, "kind", "txn"),
    "unmount": (*_PLAIN, "txn"),
    "carry-over": (*_PLAIN, "txn"),
    "publish": _PLAIN,
    "release": _PLAIN,
    "protect": _PLAIN,
}
"""Every verb and the keys that its request has, all of them and no other."""


def serve(requests: IO[bytes], answers: IO[bytes]) -> int:
    """Answer requests until they end; return the exit status."""
    while True:
        line = requests.readline(LONGEST_REQUEST + 1)
        if not line:
            return 0
        if _hung_up(requests):
            line = b""  # what a dead process asked for is recovery's business now
        answer = json.dumps(_answer(line)).encode()
        answers.write(answer + b"\n")
        answers.flush()
        if len(line) > LONGEST_REQUEST:
            return 1  # where the next request begins is not known


def _hung_up(requests: IO[bytes]) -> bool:
    watch = select.poll()
    watch.register(requests, select.POLLIN)
    return any(event & select.POLLHUP for _fd, event in watch.poll(0))


def _answer(line: bytes) -> dict[str, Any]:
    try:
        return {"done": _obey(parse(line))}
    except DsgError as exc:
        return {"error": exc.as_dict()}
    except OSError as exc:
        return {"error": from_oserror(exc, "the helper's work").as_dict()}


def parse(line: bytes) -> Request:
    """Return a request that is well-formed; raises :class:`ArgumentError`."""
    try:
        found = json.loads(line) if len(line) <= LONGEST_REQUEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ArgumentError(
            "the helper takes one JSON object of strings a line, from a process that waits for "
            "the answer"
        )
    keys = VERBS.get(found.get("verb", ""))
    if keys is None or found.keys() != set(keys):
        raise ArgumentError(f"the helper knows the verbs {', '.join(VERBS)}, each with its keys")
    request = Request(**found)
    if "kind" in keys and request.kind not in (INIT, STAGE):
        raise ArgumentError(f"kind is {request.kind!r}: there are {INIT} and {STAGE}")
    if "txn" in keys and not _TXN.fullmatch(request.txn):
        raise ArgumentError("a transaction id has letters, digits and '-', at most 64")
    return request


def _obey(request: Request) -> list[str]:
    layout = Layout(request.parent, request.name)
    owner = owner_of(layout.parent, configured(), os.environ.get("SUDO_UID"))
    runner = Runner()
    direct = Direct(runner, layout, owner)
    if request.verb == "locks":
        _require_few_locks(layout)
        direct.prepare_locks()
    elif request.verb == "mount":
        _require_work(runner, layout, request)
        direct.mount_work(request.kind, request.txn)
    elif request.verb == "unmount":
        direct.unmount_work(request.txn)
    elif request.verb == "carry-over":
        _require_work(runner, layout, request._replace(kind=STAGE))
        direct.carry_over(request.txn)
    elif request.verb == "publish":
        direct.publish(_existing(runner, layout))
    elif request.verb == "release":
        return direct.release()
    elif request.verb == "protect":
        return direct.protect_parent(look(runner, layout))
    return []


def _require_few_locks(layout: Layout) -> None:
    """Stop who invents names: each would cost root's file system memory until the next boot."""
    ours = f"{layout.parent.replace('/', '%')}%"
    with suppress(FileNotFoundError):
        found = [name for name in os.listdir(RUN) if name.startswith(ours)]
        if len(found) >= _MOST_LOCKS and not os.path.exists(layout.lock):
            raise ArgumentError(
                f"{layout.parent} has {len(found)} locks already, and may have {_MOST_LOCKS}",
                object=layout.lock,
                next_step=f"Remove those in {RUN} whose repositories do not exist.",
            )


def _existing(runner: Runner, layout: Layout) -> State:
    """Return the state; without a dataset to mount, not even a directory may be made."""
    state = look(runner, layout)
    if state.live is None:
        raise RepositoryError("it does not exist", object=layout.live)
    return state


def _require_work(runner: Runner, layout: Layout, request: Request) -> None:
    if look(runner, layout).work_of(request.kind, request.txn) is None:
        raise RepositoryError(
            "this transaction has no such dataset",
            object=layout.work(request.kind, request.txn),
            next_step="Run `dsg.storage.recover`, then run again.",
        )


def configured() -> Mapping[str, str]:
    """Return the service user of every publish parent.

    Raises :class:`ArgumentError` where the file is not root's own, or is not understood.
    """
    try:
        fd = os.open(CONFIGURATION, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _not_configured(f"{CONFIGURATION}: {exc.strerror}") from exc
    with os.fdopen(fd, "rb") as stream:
        seen = os.fstat(fd)
        writable = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != 0 or writable:
            raise _not_configured(f"{CONFIGURATION} is not a file that only root can write")
        return parse_configuration(stream.read())


def parse_configuration(data: bytes) -> Mapping[str, str]:
    """Return the service user of every publish parent; raises :class:`ArgumentError`."""
    try:
        found = json.loads(data)
        parents = found["parents"]
        known = found["format"] == FORMAT and found.keys() == {"format", "parents"}
        plain = all(isinstance(user, str) for user in parents.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        known = plain = False
    if not known or not plain:
        raise _not_configured(f"{CONFIGURATION} is not of format {FORMAT}")
    return dict(parents)


def _not_configured(message: str) -> ArgumentError:
    return ArgumentError(
        message,
        object=CONFIGURATION,
        unchanged="Nothing was changed.",
        next_step="Run the role dsg.storage.delegation on this host.",
    )


def owner_of(parent: str, parents: Mapping[str, str], caller: str | None) -> Owner:
    """Return the service user of a parent, who has to be the caller (None: root itself)."""
    if parent not in parents:
        raise _not_configured(f"{parent} is not delegated to anybody")
    for other in parents:
        # Whoever has the upper one could put anything in the place of the lower one.
        if other != parent and os.path.commonpath((other, parent)) in (other, parent):
            raise _not_configured(f"{parent} and {other} are both delegated, one within the other")
    try:
        user = pwd.getpwnam(parents[parent])
    except KeyError:
        raise _not_configured(f"its service user {parents[parent]!r} does not exist") from None
    if caller is not None and caller != str(user.pw_uid):
        raise _not_configured(f"{parent} is delegated to {user.pw_name}, not to user id {caller}")
    if 0 in (user.pw_uid, user.pw_gid):
        raise _not_configured(f"its service user {user.pw_name} is root, or of root's group")
    return Owner(user.pw_uid, user.pw_gid)

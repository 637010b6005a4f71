# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exceptions as bytes, for the way from a worker or from another host to whoever has to tell of them."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Callable

from .errors import DsgError


def encode(exc: BaseException) -> bytes:
    """Write an exception as data; JSON's ASCII form carries undecodable file names as well."""
    if isinstance(exc, DsgError):
        fields: list[object] = ["dsg", type(exc).__name__, exc.as_dict()]
    elif isinstance(exc, OSError):
        fields = ["os", exc.errno, exc.strerror, [_name(exc.filename), _name(exc.filename2)]]
    else:
        fields = ["other", "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))]
    return json.dumps(fields, default=str).encode()


def decode(payload: bytes, other: Callable[[str], Exception]) -> Exception:
    """Return what :func:`encode` was given; ``other`` makes one of a traceback of anything else."""
    kind, *fields = json.loads(payload)
    if kind == "os":
        number, text, names = fields
        return OSError(number, text, names[0], None, names[1])
    if kind == "other":
        return other(fields[0])
    name, told = fields
    found = next((c for c in _subclasses(DsgError) if c.__name__ == name), DsgError)
    error = found(
        told["message"],
        object=told["object"],
        unchanged=told["unchanged"],
        next_step=told["next_step"],
        details=told["details"],
    )
    error.code = told["code"]
    error.host = told["host"]
    return error


def _name(name: object) -> object:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


def _subclasses(base: type[DsgError]) -> Iterator[type[DsgError]]:
    for child in base.__subclasses__():
        yield child
        yield from _subclasses(child)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that are none: what a host says is believed once it has the shape that it has to have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _core import error_codec
from _core.backends import standing as states
from _core.backends.base import Held, Upload
from _core.errors import DsgError, ManifestError, TreeError
from _core.manifest import header as headers
from _core.manifest.entry import FILE, Entry
from _core.sync.request import SyncRequest
from _core.sync.status import inspect
from _core.transport import shape, wire
from _core.transport.connect import repository_at
from _core.transport.destination import Destination
from _core.upkeep import standing

from tests.transport.evil_agent import interpreter
from tests.transport.test_hostile_amounts import HEAD

BACKEND = {"type": "directory", "base": "/srv"}
EVERY_PART = [*standing.ALWAYS, standing.HISTORY, standing.DRIFT]

HOLDER = states.Holder(states.PROCESS, 7, "less", "bob", "/sub")
FULL = SimpleNamespace(
    snapshots=lambda: [1, 2],
    unfinished=lambda: ["one"],
    open_transactions=lambda: [str(Held("t", "2026-01-01T00:00:00Z", "ann", 1))],
    running=lambda: [HOLDER],
    cleanups=lambda: [states.Cleanup("tank/x", "t", "is to go", [HOLDER])],
    snapshot_users=lambda: [states.SnapshotUser(1, states.Holder(states.HOLD, tag="keep"))],
    space=lambda history: states.Space(1, 2, quota=3 if history else None),
    missing_rights=lambda: [states.Missing("mount", "tank", "Grant it.")],
    is_untouched=lambda: True,
)
"""A repository that has something to tell of everything."""


def told(**parts: Any) -> dict[str, Any]:
    """Return what the host of that repository answers, with other words for some parts."""
    repository: Any = FULL
    found = standing.standing(repository, parts=standing.ALWAYS)
    return {**json.loads(json.dumps(found)), **parts}


def looked_at(folder: Path, reached: Destination, **answers: Any) -> Any:
    """Have a status of a repository whose host answers so."""
    evil = reached._replace(interpreter=interpreter(folder, **answers))
    return inspect(SyncRequest("", "tree", BACKEND, destination=evil))


def test_a_host_that_answers_as_it_should_is_believed(tmp_path: Path, shared: Destination) -> None:
    """Else the tests below say nothing."""
    status = looked_at(tmp_path, shared, head=HEAD._asdict(), ask=told())
    assert (status.snapshot, status.snapshots) == (1, [1, 2])
    assert status.cleanups[0]["holders"][0]["command"] == "less"


def test_every_honest_answer_has_its_shape() -> None:
    repository: Any = FULL
    wanted = shape.of_answer("standing", {"parts": EVERY_PART})
    found = json.loads(json.dumps(standing.standing(repository, parts=EVERY_PART)))
    assert all("found" in one for one in found.values())
    assert shape.fits(found, wanted)
    failing = SimpleNamespace()
    for name in vars(FULL):
        setattr(failing, name, _fails)
    repository = failing
    found = json.loads(json.dumps(standing.standing(repository, parts=EVERY_PART)))
    assert all("error" in one for one in found.values())
    assert shape.fits(found, wanted)
    assert shape.fits([*Held("t", "s", "n", 1)], shape.HELD)


def _fails(**_unused: object) -> None:
    raise TreeError("no", details=["this", "and that"])


@pytest.mark.parametrize(
    "error",
    [
        TreeError("x", object="o", details=["d"]),
        DsgError("x"),
        OSError(2, "gone", "a", None, "b"),
        OSError(2, "gone", 5),
        OSError("in words"),
        ValueError("a fault"),
    ],
)
def test_every_honest_error_has_its_shape(error: Exception) -> None:
    assert shape.is_failure(json.loads(error_codec.encode(error)))


SPACE = {"free": 1, "size": 2, "used": None, "history": None, "quota": None, "quota_of": "",
         "pool": "", "health": ""}  # fmt: skip
STANDINGS: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "fewer parts": {"snapshots": {"found": [1]}},
    "a part of no kind": told(space=7),
    "a list for a number": told(space={"found": {**SPACE, "size": [1]}}),
    "true for a number": told(space={"found": {**SPACE, "size": True}}),
    "a number too few": told(space={"found": {"free": 1}}),
    "no space": told(space={"found": None}),
    "numbers in words": told(snapshots={"found": ["1"]}),
    "no sentences": told(unfinished={"found": [["x"]]}),
    "a cleanup without holders": told(cleanups={"found": [{"object": "x"}]}),
    "an error without a code": told(rights={"error": {"message": "x"}}),
    "both": told(rights={"found": [], "error": {}}),
}


@pytest.mark.parametrize("answer", STANDINGS)
def test_a_standing_that_is_none(tmp_path: Path, shared: Destination, answer: str) -> None:
    with pytest.raises(DsgError) as caught:
        looked_at(tmp_path, shared, head=HEAD._asdict(), ask=STANDINGS[answer])
    assert (caught.value.code, caught.value.object) == ("DSG-CONNECTION", "store1")
    assert "not understood" in caught.value.details[-1]


def sealed(**fields: Any) -> dict[str, Any]:
    """Return a header whose id is right, whatever else is in it."""
    changed = {**HEAD._asdict(), **fields}
    return {**changed, "id": headers._identity(changed)}


HEADERS: dict[str, Any] = {
    "a text": "s1",
    "a list": [1],
    "no fields": {},
    "yesterday": sealed(created_at="yesterday"),
    "a number in words": sealed(files="1"),
    "a list for the author": sealed(created_by=["eve"]),
    "a command for terminals": sealed(message="\x1b[2J"),
    "a field too many": sealed(more=1),
    "another id": {**HEAD._asdict(), "message": "another"},
}
CALLS: dict[str, Callable[[Any], object]] = {
    "head": lambda repository: repository.head(),
    "history_header": lambda repository: repository.history_header(1),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", HEADERS)
def test_a_header_that_is_none(tmp_path: Path, shared: Destination, call: str, answer: str) -> None:
    program = interpreter(tmp_path, **{call: HEADERS[answer]})
    evil = shared._replace(interpreter=program)
    with repository_at(evil, BACKEND, "tree") as repository, pytest.raises(DsgError) as caught:
        CALLS[call](repository)
    assert caught.value.code == "DSG-MANIFEST"
    assert str(caught.value.object).startswith("store1:")
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("unfinished", [1]),
        ("open_transactions", "open"),
        ("held", [["t", "s", "n"]]),
        ("held", [["t", "s", "n", "1"]]),
        ("recover", None),
        ("snapshots", ["1"]),
        ("chain_problems", {}),
    ],
)
def test_an_answer_that_is_none(
    tmp_path: Path, shared: Destination, verb: str, answer: Any
) -> None:
    evil = shared._replace(interpreter=interpreter(tmp_path, **{verb: answer}))
    with repository_at(evil, BACKEND, "tree") as repository, pytest.raises(DsgError) as caught:
        getattr(repository, verb)()
    assert caught.value.code == "DSG-CONNECTION"
    assert verb in caught.value.details[-1]


@pytest.mark.parametrize(
    "error",
    [None, [], ["dsg"], ["dsg", "TreeError", {}], ["os", "two", "x", [None, None]], ["other", 1]],
    ids=str,
)
def test_an_error_that_is_none(tmp_path: Path, shared: Destination, error: Any) -> None:
    evil = shared._replace(interpreter=interpreter(tmp_path, snapshots={"failure": error}))
    with repository_at(evil, BACKEND, "tree") as repository, pytest.raises(DsgError) as caught:
        repository.snapshots()
    assert caught.value.code == "DSG-CONNECTION"


@pytest.mark.parametrize(
    "row",
    [1, None, [], ["a" * 64, 1], ["a" * 63, 1, 1], ['"' * 64, 1, 1], ["a" * 64, "1", 1], [1, 1, 1]],
)
def test_what_landed_in_no_known_way(row: Any) -> None:
    uploads = [Upload(Entry("a", FILE, 1, 0, 0o644, "", "", "ann"), (1, 0, 0))]
    with pytest.raises(ManifestError):
        wire.landed_in(uploads, [json.dumps(row).encode()])

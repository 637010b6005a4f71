# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a publish parent: everything that decisions about one repository rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...errors import RepositoryError, capped
from ...zfs.command import Runner
from ...zfs.datasets import LOCAL, NOTHING, OWN, Properties, Value, own, read
from . import record as records
from .layout import HELD, OLD, OPEN, PARENT_FORMAT, PARENT_MARK, STAGE, TXN, Layout
from .record import Record


class Dataset(NamedTuple):
    """A file system; ``origin`` is the snapshot it was cloned from, ``txn`` who made it ('': none).

    ``options`` are how its properties ask for it to be mounted: of nosuid, nodev and noexec.
    ``mark`` is that of an open transaction (:mod:`.lease`), '' for all others; ``held`` is set beside
    it on one that waits for a decision (:mod:`.held`).
    """

    name: str
    guid: str
    origin: str
    mountpoint: str
    txn: str
    options: tuple[str, ...] = ()
    mark: str = ""
    held: str = ""


class Parent(NamedTuple):
    """The publish parent: where it is mounted, and whether properties say so and read-only."""

    mountpoint: str
    mounts: bool
    readonly: bool


NO_PARENT = Parent("", False, False)
"""For decisions that do not look at the parent: the live dataset has its mountpoint."""


class State(NamedTuple):
    """``work`` holds this repository's datasets in the container, by name; ``live`` may be absent.

    ``children`` are datasets below it, which are nobody's of ours.
    ``nothing`` is the open transaction that was ended last as it had nothing to publish ('': none).
    """

    layout: Layout
    parent: Parent
    live: Dataset | None
    work: dict[str, Dataset]
    record: Record | None
    children: Sequence[str] = ()
    nothing: str = ""

    @property
    def path(self) -> str:
        """Return where the repository is, or would be, published."""
        if self.live is not None:
            return self.live.mountpoint
        return f"{self.parent.mountpoint.rstrip('/')}/{self.layout.name}"

    def work_of(self, kind: str, txn_id: str) -> Dataset | None:
        """Return the dataset that a transaction has in the container."""
        return self.work.get(self.layout.work(kind, txn_id))

    @property
    def to_publish(self) -> Dataset | None:
        """Return the dataset that is, or after a commit will be, the published one."""
        if self.record is None:
            return self.live
        staged = self.work_of(STAGE, self.record.txn_id)
        return self.live if staged is None else staged

    @property
    def olds(self) -> list[str]:
        """Return the retired datasets that are not destroyed yet."""
        return [name for name in sorted(self.work) if self.kind_of(name) == OLD]

    def kind_of(self, name: str) -> str:
        """Return what a work dataset is: init, stage or old."""
        parsed = self.layout.parse_work(name)
        return "" if parsed is None else parsed[0]

    def waits_for_promotion(self) -> bool:
        """Tell whether the published dataset is still a clone of one that it replaced."""
        if self.live is None:
            return False
        origin = self.live.origin.partition("@")[0]
        return origin in self.work and self.kind_of(origin) in (OLD, STAGE)


_OPTIONS = {"setuid": "nosuid", "devices": "nodev", "exec": "noexec"}
OPTIONS = tuple(_OPTIONS)
"""Properties that decide how a dataset is mounted."""

_NAMES = (
    *("type", "guid", "origin", "mountpoint", "canmount", "readonly", "encryptionroot"),
    *(*OPTIONS, TXN, OPEN, HELD, PARENT_MARK),
)


def refuse_children(layout: Layout, found: Iterable[str]) -> None:
    """Refuse to replace a repository with datasets below it, which would go with the old tree.

    It is nothing that :func:`look` stops at: a transaction that met them has to be undone.
    """
    children = [name for name in found if name.startswith(f"{layout.live}/")]
    if children:
        raise RepositoryError(
            "it has child datasets, which a transaction would not carry over",
            object=layout.live,
            next_step="Move them out of the repository.",
            details=capped(children),
        )


def look(runner: Runner, layout: Layout) -> State:
    """Read the state with one command.

    Raises :class:`RepositoryError` where the parent is not provisioned, or where what has the
    repository's name is nothing that a transaction could replace.
    """
    found = read(runner, (*_NAMES, layout.record, layout.nothing), [layout.parent], depth=2)
    parent = found[layout.parent]
    mark = parent.get(PARENT_MARK, NOTHING)
    if mark != (PARENT_FORMAT, LOCAL) or layout.container not in found:
        raise RepositoryError(
            "this dataset is not provisioned as a publish parent",
            object=layout.parent,
            next_step="Run `dsg.storage.provision` (the role `dsg.storage.repository`) first.",
        )
    if layout.live in found:
        _check_live(layout, found)
    work = {name: _dataset(name, found[name]) for name in found if layout.parse_work(name)}
    if not parent["mountpoint"].value.startswith("/"):
        raise RepositoryError(
            f"its mountpoint is {parent['mountpoint'].value!r}, not a path",
            object=layout.parent,
            next_step="Run `dsg.storage.provision` (the role `dsg.storage.repository`) first.",
        )
    return State(
        layout,
        Parent(
            parent["mountpoint"].value,
            parent["canmount"].value == "on",
            _is_on(parent["readonly"]),
        ),
        _dataset(layout.live, found[layout.live]) if layout.live in found else None,
        work,
        records.parse(layout, found[layout.container].get(layout.record, NOTHING)),
        [name for name in found if name.startswith(f"{layout.live}/")],
        own(found[layout.container], layout.nothing),
    )


def _is_on(found: Value) -> bool:
    """Return what the property says; where a mount was made otherwise, that is shown instead."""
    return (found.value == "on") != (found.source == "temporary")


def options_of(properties: Properties) -> tuple[str, ...]:
    """Return the mount options that a dataset's properties ask for."""
    return tuple(word for name, word in _OPTIONS.items() if not _is_on(properties[name]))


def _check_live(layout: Layout, found: dict[str, Properties]) -> None:
    live = found[layout.live]
    if live["type"].value != "filesystem":
        raise RepositoryError(
            f"the repository's name is taken by a {live['type'].value}",
            object=layout.live,
            next_step="Choose another repository name.",
        )
    if live["encryptionroot"].value == layout.live:
        raise RepositoryError(
            "it is its own encryption root: a clone of it could not take its place",
            object=layout.live,
            next_step="Encrypt the publish parent instead.",
        )
    if live["mountpoint"].source in OWN:
        raise RepositoryError(
            "it has a mountpoint of its own: its next generation could not have the same one",
            object=layout.live,
            next_step="Run `zfs inherit mountpoint` on it.",
        )


def _dataset(name: str, properties: Properties) -> Dataset:
    txn, mark, held = (properties.get(name, NOTHING) for name in (TXN, OPEN, HELD))
    return Dataset(
        name,
        properties["guid"].value,
        properties.get("origin", NOTHING).value,
        properties.get("mountpoint", NOTHING).value,
        txn.value if txn.source == LOCAL else "",
        options_of(properties) if properties["type"].value == "filesystem" else (),
        mark.value if mark.source == LOCAL else "",
        held.value if held.source == LOCAL else "",
    )

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dataset as declared: what is there, and the steps from there to what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import datasets, names, values
from .command import Runner
from .datasets import NOTHING, OWN, Properties, Value
from .steps import Change, DatasetError, Step

VOLUME = "volume"

_DEFAULT_BLOCK = "16K"
"""Of volumes; older versions take 8K, of which what fits this is a multiple as well."""

# Only a creation can set these.
CREATION_ONLY = (
    "casesensitivity", "encryption", "keyformat", "normalization", "pbkdf2iters", "utf8only",
    "volblocksize",
)  # fmt: skip

# Nothing further up can change these, so a value that is right needs no source of its own.
NOT_INHERITED = (
    "canmount", "filesystem_limit", "keylocation", "mlslabel", "quota", "refquota",
    "refreservation", "reservation", "snapshot_limit", "version", "volsize", "zoned",
)  # fmt: skip


class DatasetRequest(NamedTuple):
    """What is declared; values of ``properties`` as a playbook has them."""

    name: str
    kind: str = "filesystem"
    properties: Mapping[str, object] = {}
    inherit: Sequence[str] = ()
    create_parents: bool = False


def present(runner: Runner, request: DatasetRequest) -> list[Step]:
    """Return the steps that create the dataset or set and inherit its properties."""
    wanted, inherited = _checked(request)
    there = datasets.listed(runner, request.name)
    if request.name not in there:
        return _creation(request, wanted, there)
    found = read(runner, request.name, [*wanted, *inherited])
    if there[request.name] != request.kind:
        raise DatasetError(
            f"this is a {there[request.name]}, and a {request.kind} is declared",
            object=request.name,
            next_step="Correct the declaration, or move the dataset away by hand (zfs rename).",
        )
    return setting(runner, request.name, wanted, found) + _inheriting(
        request.name, inherited, found
    )


def absent(runner: Runner, request: DatasetRequest) -> list[Step]:
    """Return the step that destroys this one dataset; what hangs on it is a :class:`DatasetError`."""
    name = names.check_dataset(request.name)
    there = datasets.listed(runner, name)
    if name not in there:
        return []
    if there[name] != request.kind:
        raise DatasetError(
            f"this is a {there[name]}, and a {request.kind} is declared", object=name
        )
    listed = runner.zfs("list", "-H", "-r", "-t", "all", "-o", "name,clones", name)
    lines = [line.split("\t") for line in listed.splitlines()]
    hanging = [
        f"{path} (cloned by {clones})" if clones.strip("-") else path
        for path, clones in lines
        if path != name
    ]
    if hanging:
        raise DatasetError(
            f"there are {len(hanging)} child datasets, snapshots or bookmarks; "
            "a dataset is never destroyed recursively",
            object=name,
            details=hanging[:20],
            next_step="Destroy them one by one if that is meant.",
        )
    change = Change(f"dataset {name}", there[name], "")
    return [Step(("zfs", "destroy", name), (change,))]


def describe(runner: Runner, request: DatasetRequest) -> dict[str, dict[str, str]]:
    """Return the requested properties as they are: name → value and source; {} if it is absent."""
    wanted, inherited = _checked(request)
    if not (wanted or inherited) or request.name not in datasets.listed(runner, request.name):
        return {}
    found = read(runner, request.name, [*wanted, *inherited])
    return {name: {"value": one.value, "source": one.source} for name, one in found.items()}


def read(runner: Runner, dataset: str, properties: Sequence[str]) -> Properties:
    """Return these properties of a dataset; a user property that nobody set is NOTHING."""
    if not properties:
        return {}
    found = datasets.read(runner, properties, [dataset])[dataset]
    return {name: found.get(name, NOTHING) for name in properties}


def setting(runner: Runner, dataset: str, wanted: values.Values, found: Properties) -> list[Step]:
    """Return the one ``zfs set`` that is needed, [] where nothing differs."""
    version = runner.version()
    differing = {
        name: text
        for name, text in wanted.items()
        if not values.same(name, text, found[name].value, version) or not _held(name, found[name])
    }
    refused = [_refusal(name, text, found[name]) for name, text in differing.items()]
    if any(refused):
        raise DatasetError(
            "what is declared cannot be set",
            object=dataset,
            details=[line for line in refused if line],
            next_step="Correct the declaration, or make a new dataset and move the data.",
        )
    if not differing:
        return []
    arguments = [values.argument(name, text) for name, text in differing.items()]
    changes = [
        Change(f"{dataset} {name}", shown(found[name]), f"{text} (local)")
        for name, text in differing.items()
    ]
    return [Step(("zfs", "set", *arguments, dataset), tuple(changes))]


def shown(value: Value) -> str:
    """Return a value with its source for a person."""
    return f"{value.value} ({value.source})" if value.value else ""


def _checked(request: DatasetRequest) -> tuple[values.Values, list[str]]:
    names.check_any_dataset(request.name)
    wanted = values.texts(request.properties)
    inherited = [values.check_name(name) for name in dict.fromkeys(request.inherit)]
    wrong = [name for name in inherited if name in wanted]
    wrong += [name for name in inherited if name in CREATION_ONLY + NOT_INHERITED]
    if wrong:
        raise DatasetError(
            "these cannot be inherited, or are declared with a value as well",
            object=request.name,
            details=wrong,
            next_step="Take them out of `inherit` or out of `properties`.",
        )
    return wanted, inherited


def _creation(
    request: DatasetRequest, wanted: values.Values, there: Mapping[str, str]
) -> list[Step]:
    name = request.name
    parents = [name.rsplit("/", count)[0] for count in range(name.count("/"), 0, -1)]
    missing = [parent for parent in parents if parent not in there]
    volumes = [parent for parent in parents if there.get(parent) == VOLUME]
    if volumes:
        raise DatasetError("the parent is a volume", object=volumes[0])
    if missing and not request.create_parents:
        raise DatasetError(
            f"its parent {missing[-1]} does not exist",
            object=name,
            next_step="Declare the parent first, or say `create_parents: true`.",
        )
    if request.kind == VOLUME:
        _check_size(name, wanted)
    steps = [
        Step(("zfs", "create", parent), (Change(f"dataset {parent}", "", "filesystem"),))
        for parent in missing
    ]
    options = {key: text for key, text in wanted.items() if key != "volsize"}
    size = ["-V", wanted["volsize"]] if request.kind == VOLUME else []
    arguments = [part for item in options.items() for part in ("-o", values.argument(*item))]
    changes = [Change(f"dataset {name}", "", request.kind)]
    changes += [Change(f"{name} {key}", "", f"{text} (local)") for key, text in wanted.items()]
    return [*steps, Step(("zfs", "create", *size, *arguments, name), tuple(changes))]


def _check_size(volume: str, wanted: values.Values) -> None:
    """Refuse a size that OpenZFS would round up: a later run would find another one than is declared."""
    if "volsize" not in wanted:
        raise DatasetError("a volume needs the property volsize", object=volume)
    size = values.number(wanted["volsize"])
    block = values.number(wanted.get("volblocksize", _DEFAULT_BLOCK))
    if size and block and size % block:
        raise DatasetError(
            f"volsize is no multiple of {int(block)} bytes, the volume's block size (volblocksize)",
            object=volume,
            next_step=f"Declare {int(-(-size // block) * block)} bytes.",
        )


def _held(name: str, found: Value) -> bool:
    """Tell whether a value stays whatever is set further up."""
    # A mount option covers what is set; it is right as long as it is the wanted value.
    return (
        found.source in (*OWN, "-", "temporary") or name in NOT_INHERITED or name in CREATION_ONLY
    )


def _refusal(name: str, wanted: str, found: Value) -> str:
    if name in CREATION_ONLY:
        return f"{name} is {found.value or 'not set'}; only a creation can make it {wanted}"
    if not values.is_user_property(name) and found.source == "-":
        return f"{name} cannot be set here; it is {found.value or 'not there'}"
    if name == "volsize" and (values.number(wanted) or 0) < (values.number(found.value) or 0):
        return f"volsize is {found.value}; a smaller volume would lose what is at its end"
    return ""


def _inheriting(dataset: str, inherited: Sequence[str], found: Properties) -> list[Step]:
    return [
        Step(
            ("zfs", "inherit", name, dataset),
            (Change(f"{dataset} {name}", shown(found[name]), "inherited"),),
        )
        for name in inherited
        if found[name].source in OWN
    ]

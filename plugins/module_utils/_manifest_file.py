# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifest files of plain trees in any form: scan, read, write.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ._core.errors import ArgumentError, ManifestError, from_oserror
from ._core.manifest import codec
from ._core.manifest import ignore as ignores
from ._core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from ._core.manifest.foreign import FORMS, Partial, compare
from ._core.manifest.foreign.bag_read import read_bag
from ._core.manifest.foreign.bag_write import write_bag
from ._core.manifest.scan import scan_tree
from ._core.posix import durable
from ._report import Differences, describe_entry, shown_path

NATIVE, BAG = "native", "bagit"

_CONTENT = frozenset(("sha256", "mode"))
_KINDS = frozenset((FILE, LINK, DIRECTORY))
_NO_REPOSITORY = "0" * 32
_GIT_SPECIAL = "\\*?[ "


def scan(path: str, patterns: Sequence[str], without: str = "") -> list[Entry]:
    """Return the hashed entries of the tree at ``path``, sorted; their users are ''.

    ``without`` is a file that is left out where it lies in the tree: the manifest itself.
    """
    if not os.path.isdir(path):
        raise ArgumentError("path must be a directory that exists", object=path)
    return scan_tree(
        path, ignore=ignores.load(path, [*patterns, *_excluding(path, without)])
    ).entries


def _excluding(path: str, without: str) -> Iterator[str]:
    """Yield the ignore pattern that names exactly ``without``, if it lies in the tree."""
    root = os.path.realpath(path)
    inside = os.path.join(os.path.realpath(os.path.dirname(without)), os.path.basename(without))
    if without and inside.startswith(root + "/"):
        relative = inside[len(root) + 1 :]
        yield "/" + "".join(f"\\{char}" if char in _GIT_SPECIAL else char for char in relative)


def expected(entries: Iterable[Entry]) -> Partial:
    """Return entries as what a tree is compared with: kind, bytes, link and mode."""
    return Partial(list(entries), _KINDS, _CONTENT)


def read(dest: str, form: str) -> Partial:
    """Return what the manifest ``dest`` says; missing or damaged it is an error."""
    if form == BAG:
        return read_bag(dest)
    try:
        with open(dest, "rb") as stream:
            if form == NATIVE:
                return expected(codec.read(stream, dest).entries)
            return FORMS[form].parse(stream, dest)
    except (FileNotFoundError, IsADirectoryError):
        raise ManifestError("there is no such manifest file", object=dest) from None


class Target:
    """A manifest that is to say what a tree holds; ``user`` goes into a native one."""

    def __init__(self, dest: str, form: str, user: str) -> None:
        self.dest = dest
        self.form = form
        self.user = user or _current_user()

    def differences(self, entries: Sequence[Entry]) -> Differences:
        """Collect what writing the manifest changes: nothing if it says the same already."""
        found = Differences()
        said = Partial([], _KINDS if self.form not in FORMS else FORMS[self.form].kinds, _CONTENT)
        if not os.path.lexists(self.dest):
            found.add("create", self.dest)
        else:
            try:
                said = read(self.dest, self.form)
            except ManifestError as error:
                found.add("replace", self.dest, error.message)
        _add_entries(found, said, entries)
        if not found.changed and not self._is_written_the_same(entries):
            found.add("rewrite", self.dest, "the same content, written differently")
        return found

    def _is_written_the_same(self, entries: Sequence[Entry]) -> bool:
        """Tell whether the file is byte for byte what would be written, where that is defined."""
        if self.form in (NATIVE, BAG):  # their bytes hold times, and are no matter of content
            return True
        with open(self.dest, "rb") as stream:
            return stream.read() == b"".join(FORMS[self.form].dump(entries))

    def write(self, path: str, entries: Sequence[Entry], move: Callable[[str, str], None]) -> None:
        """Write the manifest whole and durably; ``move`` renames and keeps a file's permissions."""
        if self.form == BAG:
            if os.path.lexists(self.dest):
                raise ArgumentError(
                    "there is a bag with other content, or something that is no bag",
                    object=self.dest,
                    next_step="Choose another dest, or remove it if it is not wanted any more.",
                )
            write_bag(path, entries, self.dest)
            return
        if self.form == NATIVE:
            chunks = native(entries, self.user)
        else:
            chunks = FORMS[self.form].dump(entries)
        directory, name = os.path.split(os.path.abspath(self.dest))
        temporary = os.path.join(directory, f".{name}.{os.getpid()}.dsg")
        try:
            durable.write_new(temporary, chunks)
            move(temporary, self.dest)
            durable.sync_directory(directory)
        except OSError as exc:
            raise from_oserror(exc, "writing the manifest") from exc
        finally:
            durable.discard(temporary)


def _add_entries(found: Differences, said: Partial, entries: Sequence[Entry]) -> None:
    """Record how the entries differ from what the manifest says, sorted by path."""
    result = compare(said, entries)
    by_path = {entry.path: entry for entry in entries}
    lines = [("add", path, describe_entry(by_path[path])) for path in result.added]
    lines += [("remove", path, "not in the tree any more") for path in result.missing]
    lines += [("change", path, ", ".join(fields)) for path, fields in result.changed]
    for action, path, detail in sorted(lines, key=lambda line: line[1]):
        found.add(action, shown_path(path), detail)


def _current_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a numeric user in a container
        return str(os.geteuid())


def native(entries: Iterable[Entry], user: str) -> Iterator[bytes]:
    """Yield the native manifest of a tree that belongs to no repository.

    Its header has no repository and no history: the id is all zeros, the snapshot the first.
    """
    manifest = codec.build(
        [entry._replace(user=user) for entry in entries],
        repository_id=_NO_REPOSITORY,
        repository="",
        snapshot=1,
        parent="",
        txn="",
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        created_by=f"{user}@{socket.gethostname()}",
        message="",
    )
    return codec.write(manifest)

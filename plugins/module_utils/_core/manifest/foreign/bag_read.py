# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bag (BagIt, RFC 8493) on disk, read and verified."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ...errors import DsgError, ManifestError, from_oserror
from ...posix.beneath import Beneath
from ..entry import DIRECTORY, FILE, LINK, Entry
from ..hashing import hash_file
from ..paths import problems, show
from . import bagit
from .bag_write import MANIFEST, TAG_MANIFEST
from .partial import Differences, Partial, compare

_SPECIAL = "special"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BagCheck(NamedTuple):
    """What the verification of a bag found: in the payload, and in the files that describe it."""

    payload: Differences
    tags: list[str]

    @property
    def valid(self) -> bool:
        """Tell whether the bag is complete and nothing in it differs from what it says."""
        return self.payload.equal and not self.tags


def read_bag(path: str) -> Partial:
    """Return what the bag at ``path`` says of its payload, without looking at the payload.

    Raises :class:`ManifestError` where it is no bag, has no SHA-256 manifest, or is to be
    completed by fetching.
    """
    with _opened(path) as bag:
        return _read(bag, path)


def verify_bag(path: str) -> BagCheck:
    """Read the whole bag at ``path`` and compare everything in it with what it says.

    Raises as :func:`read_bag` does, :class:`SourceChanged` for a file that changes meanwhile and
    :class:`TreeError` for one that cannot be read.
    """
    with _opened(path) as bag:
        said = _read(bag, path)
        found = list(_payload(bag))
        # Links and special files have no place in a bag at all; empty directories do no harm.
        everything = said._replace(kinds=frozenset((FILE, LINK, _SPECIAL)))
        return BagCheck(compare(everything, found), list(_tag_problems(bag, found)))


class _opened:
    """A bag that is open for the block; failing system calls become errors of ours."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Beneath:
        try:
            self._bag = Beneath(self._path)
        except OSError as exc:
            raise from_oserror(exc, "Opening the bag") from exc
        return self._bag

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._bag.close()
        if isinstance(value, OSError):
            raise from_oserror(value, "Reading the bag") from value


def _read(bag: Beneath, path: str) -> Partial:
    declaration = _tag_file(bag, "bagit.txt")
    if declaration is None:
        raise ManifestError("no bag: it holds no bagit.txt", object=path)
    bagit.check_declaration(declaration, "bagit.txt")
    if bag.lstat("fetch.txt") is not None:
        raise ManifestError("the bag is to be completed by fetch.txt; fetch it first", object=path)
    manifest = _tag_file(bag, MANIFEST)
    if manifest is None:
        raise ManifestError(f"the bag holds no {MANIFEST}", object=path)
    return bagit.read_manifest(manifest, MANIFEST, lambda text: _decoded(bag, text))


def _decoded(bag: Beneath, text: str) -> str:
    """Decode a path; some writers leave the percent sign as it is, and the file tells which."""
    path = bagit.decode_path(text)
    if path == text or problems([text]) or bag.lstat(bagit.PAYLOAD + text) is None:
        return path
    if problems([path]) or bag.lstat(bagit.PAYLOAD + path) is None:
        return text
    return path


def _tag_file(bag: Beneath, name: str) -> bytes | None:
    """Return the content of a file at the top of the bag, or None where there is none."""
    try:
        fd = os.open(name, _READ, dir_fd=bag.fd)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ManifestError("is not a plain file", object=name)
        return stream.read()


def _tag_problems(bag: Beneath, found: list[Entry]) -> Iterator[str]:
    """Yield what is wrong with tag files, by the tag manifest and by the payload's size."""
    manifest = _tag_file(bag, TAG_MANIFEST)
    for _number, content, name in bagit.checks(manifest or b"", TAG_MANIFEST):
        wrong = problems([name])
        if wrong:
            yield wrong[0]
            continue
        try:
            fd, last = bag.at(name)
            if hash_file(last, dir_fd=fd, path=name) != content:
                yield f"{show(name)}: changed since the bag was made"
        except (DsgError, FileNotFoundError, NotADirectoryError):
            yield f"{show(name)}: missing or unreadable"
    info = bagit.read_tags(_tag_file(bag, "bag-info.txt") or b"", "bag-info.txt")
    files = [entry.size for entry in found if entry.kind == FILE]
    oxum = f"{sum(files)}.{len(files)}"
    if info.get(bagit.OXUM, oxum) != oxum:
        yield f"'bag-info.txt': {bagit.OXUM} is {info[bagit.OXUM]}, the payload has {oxum}"


def _payload(bag: Beneath) -> Iterator[Entry]:
    try:
        fd = os.open("data", _DIRECTORY, dir_fd=bag.fd)
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError("the bag holds no directory data", object=bag.root) from None
    try:
        yield from _beneath(fd, "")
    finally:
        os.close(fd)


def _beneath(fd: int, prefix: str) -> Iterator[Entry]:
    """Yield every entry beneath an open directory, files with their hashes."""
    with os.scandir(fd) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        path = prefix + name
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                yield from _beneath(inner, path + "/")
            finally:
                os.close(inner)
        elif stat.S_ISREG(status.st_mode):
            content = hash_file(name, dir_fd=fd, path=path)
            yield Entry(path, FILE, status.st_size, 0, 0, content, "", "")
        else:
            kind = LINK if stat.S_ISLNK(status.st_mode) else _SPECIAL
            yield Entry(path, kind, 0, 0, 0, "", "", "")
    if not names and prefix:
        yield Entry(prefix[:-1], DIRECTORY, 0, 0, 0, "", "", "")

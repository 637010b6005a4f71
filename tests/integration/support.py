# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Working copies and a base directory to run the real engine on.

A tree is written and read as ``{path: node}``: a ``str`` is a file's text, :class:`Script` one that
is executable, :class:`Link` a symbolic link, :data:`EMPTY` an empty directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

import pytest
from _core.backends.base import Repository
from _core.backends.directory.layout import Layout
from _core.backends.directory.repository import DirectoryRepository
from _core.client.working_copy import WorkingCopy, repository_key
from _core.errors import DsgError
from _core.manifest.codec import Manifest
from _core.manifest.entry import Entry
from _core.plan.plan import HELD, Plan
from _core.plan.policy import Policy
from _core.sync.engine import run
from _core.sync.recovery import recover
from _core.sync.request import SyncRequest, SyncResult
from _core.sync.verify import verify_repository

REPOSITORY = "tree"
MARKER = b'{"format": 1, "type": "directory"}\n'


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Script(NamedTuple):
    """An executable file."""

    text: str


class _Empty:
    def __repr__(self) -> str:
        return "EMPTY"


EMPTY = _Empty()
"""An empty directory."""

Node = Union[str, Link, Script, _Empty]
Tree = dict[str, Node]


# --- trees on disk ---


def put(root: str, path: str, node: Node | None) -> None:
    """Make ``path`` that node, whatever was there; None removes it. Parents come as needed."""
    full = os.path.join(root, path)
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)
    elif os.path.lexists(full):
        os.unlink(full)
    if node is None:
        return
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if isinstance(node, Link):
        os.symlink(node.target, full)
    elif isinstance(node, _Empty):
        os.mkdir(full)
    else:
        _write(full, node)


def _write(full: str, node: str | Script) -> None:
    executable = isinstance(node, Script)
    with open(full, "wb") as stream:
        stream.write((node.text if isinstance(node, Script) else node).encode())
    os.chmod(full, 0o755 if executable else 0o644)


def make(root: str, tree: Mapping[str, Node | None]) -> str:
    """Put every node of ``tree`` below ``root``, which is made."""
    os.makedirs(root, exist_ok=True)
    for path, node in tree.items():
        put(root, path, node)
    return root


def read(root: str) -> Tree:
    """Return the content of a tree; the metadata at its top is left out."""
    return dict(_read(root, ""))


def _read(root: str, prefix: str) -> Iterator[tuple[str, Node]]:
    names = sorted(os.listdir(os.path.join(root, prefix)))
    if not prefix:
        names = [name for name in names if name != ".dsg"]
    elif not names:
        yield prefix, EMPTY
    for name in names:
        path = f"{prefix}/{name}" if prefix else name
        full = os.path.join(root, path)
        found = os.lstat(full)
        if stat.S_ISLNK(found.st_mode):
            yield path, Link(os.readlink(full))
        elif stat.S_ISDIR(found.st_mode):
            yield from _read(root, path)
        elif stat.S_ISREG(found.st_mode):  # anything else is no content, and a fifo would block
            with open(full, "rb") as stream:
                text = stream.read().decode()
            yield path, Script(text) if found.st_mode & 0o111 else text


Picture = dict[str, tuple[object, ...]]


def picture(root: str) -> Picture:
    """Return everything at and below ``root`` with content and stat, to see whether it changes.

    Left out is what even a refused run may touch: lock files, the empty directories of a working
    copy's metadata (and a working copy that holds nothing else), and the times of directories that
    hold metadata.
    """
    found = dict(_picture(root, "")) if os.path.lexists(root) else {}
    return {path: seen for path, seen in found.items() if not _is_scaffold(path, found)}


def _is_scaffold(path: str, found: Picture) -> bool:
    if path.endswith(".lock") or path == ".dsg/lock":
        return True
    if found[path][0] != "directory" or not f"{path or '.dsg'}/".startswith(".dsg/"):
        return False
    below = [other for other in found if other and (not path or other.startswith(f"{path}/"))]
    return all(_is_scaffold(other, found) for other in below)


def _picture(root: str, path: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    full = os.path.join(root, path) if path else root
    found = os.lstat(full)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        names = sorted(os.listdir(full))
        metadata = ".dsg" in path.split("/") or ".dsg" in names or not path
        yield path, ("directory", mode, None if metadata else found.st_mtime_ns)
        for name in names:
            yield from _picture(root, f"{path}/{name}" if path else name)
    elif stat.S_ISREG(found.st_mode):
        with open(full, "rb") as stream:
            content = hashlib.sha256(stream.read()).hexdigest()
        yield path, ("file", mode, found.st_mtime_ns, found.st_ino, found.st_nlink, content)
    elif stat.S_ISLNK(found.st_mode):
        yield path, ("link", found.st_mtime_ns, found.st_ino, os.readlink(full))
    else:
        yield path, ("special", found.st_mode, found.st_ino)


# --- a base directory and working copies ---


def provision(base: str) -> str:
    """Prepare a base directory as the role ``repository`` does."""
    container = os.path.join(base, ".dsg")
    os.makedirs(base, exist_ok=True)
    os.mkdir(container, 0o700)
    with open(os.path.join(container, "format.json"), "wb") as stream:
        stream.write(MARKER)
    return base


@dataclass
class AnySite:
    """One provisioned repository of whatever backend, and working copies beside it."""

    root: str
    name: str = REPOSITORY
    backend: dict[str, object] = field(default_factory=dict)
    swaps = 30
    """How many commits a reader watches."""
    always_locks = False
    """Whether a transaction cannot begin without the lock, whoever asks."""

    def __post_init__(self) -> None:
        self.repository: Repository = self.provisioned()
        self.key = repository_key(self.name, self.repository.location)

    # What a backend has to say.

    def provisioned(self) -> Repository:
        """Prepare what holds the repository, set ``backend``, and return the repository."""
        raise AssertionError

    @property
    def live(self) -> str:
        """The published tree's root."""
        raise AssertionError

    def kept(self, number: int) -> str:
        """Return the root of an older snapshot."""
        raise AssertionError

    def staged(self) -> list[str]:
        """Name the work areas that there are."""
        raise AssertionError

    def held(self) -> Picture:
        """Return everything that the repository and its work areas consist of."""
        raise AssertionError

    def beside(self, name: str) -> AnySite:
        """Return a site of another repository at the same place."""
        raise AssertionError

    @contextmanager
    def opened(self) -> Iterator[str]:
        """Give the published tree to somebody who writes there behind our back."""
        yield self.live

    def put_foreign(self) -> Callable[[], list[str]]:
        """Put beside the work areas what is not ours; return what tells which of it is missing."""
        raise AssertionError

    @contextmanager
    def almost_full(self, spare: int) -> Iterator[None]:
        """Leave that many MiB of room, for a while."""
        raise AssertionError

    def says_full(self, error: DsgError) -> bool:
        """Tell whether an error says that there is no space, and where."""
        return error.code == "DSG-SYSTEM" and "ENOSPC" in error.message and bool(error.object)

    def check_held(self, number: int) -> None:
        """Assert that nothing is left beside the repository at snapshot ``number``."""
        raise AssertionError

    def dispose(self) -> None:
        """Remove everything, also trees that are too deep for others."""
        raise AssertionError

    # What is the same for all.

    def copy(self, name: str, tree: Mapping[str, Node | None] | None = None) -> str:
        """Return the root of a working copy, made with that content if any is given."""
        root = os.path.join(self.root, name)
        return root if tree is None else make(root, tree)

    def request(self, src: str, **options: Any) -> SyncRequest:
        """Return a request; options of the policy may be given among the others."""
        names = ("direction", "conflict", "conflict_paths", "max_delete", "names")
        policy = {name: options.pop(name) for name in names if name in options}
        policy.setdefault("max_delete", "100%")
        options.setdefault("lock_timeout", 10.0)
        options.setdefault("user", os.path.basename(src))
        return SyncRequest(src, self.name, self.backend, policy=Policy(**policy), **options)

    def sync(self, src: str, **options: Any) -> SyncResult:
        """Check mode, then the run, which must do what was announced."""
        return sync_as_announced(self, self.request(src, **options))

    def refused(self, code: str, src: str, **options: Any) -> DsgError:
        """Run what must be refused with that code and change nothing anywhere."""
        return refused(self, code, lambda: run(self.request(src, **options)))

    def recover(self, src: str = "") -> list[str]:
        """Recover the working copy and the repository."""
        return recover(src, self.name, self.backend, 10.0)

    # What is recorded.

    def manifest(self) -> Manifest:
        """R."""
        return self.repository.manifest()

    def remote(self) -> dict[str, Entry]:
        """R as path → entry."""
        return {entry.path: entry for entry in self.manifest().entries}

    def cache(self, src: str) -> dict[str, Entry]:
        """C of a working copy as path → entry."""
        known = WorkingCopy(src).cache(self.key)
        return {} if known is None else {entry.path: entry for entry in known.entries}

    def snapshot(self, number: int) -> Tree:
        """Return the content of an older snapshot."""
        return read(self.kept(number))

    def picture(self) -> dict[str, Picture]:
        """Return everything that is there, on all sides."""
        found = {name: picture(os.path.join(self.root, name)) for name in os.listdir(self.root)}
        return {name: seen for name, seen in found.items() if seen}

    def check_sound(self) -> None:
        """Tree, manifest and history agree, nothing is left over, and snapshots are whole."""
        verification = verify_repository(self.name, self.backend)
        assert verification.sound, verification
        number = verification.snapshot
        assert self.repository.snapshots() == list(range(1, number + 1))
        assert not self.staged()
        self.check_held(number)

    def check_tidy(self, src: str) -> None:
        """Nothing of a transaction is left in a working copy."""
        metadata = os.path.join(src, ".dsg")
        known = {"backup", "fleet.lock", "index", "lock", "names", "repositories", "scan.lock"}
        assert set(os.listdir(metadata)) <= known | {"staging"}
        staging = os.path.join(metadata, "staging")
        assert not os.path.isdir(staging) or os.listdir(staging) == []

    def backups(self, src: str) -> list[Tree]:
        """Return the content of every backup, the oldest first."""
        root = os.path.join(src, ".dsg", "backup")
        names = sorted(os.listdir(root)) if os.path.isdir(root) else []
        return [read(os.path.join(root, name)) for name in names]


class Site(AnySite):
    """A provisioned base directory with one repository, and working copies beside it."""

    repository: DirectoryRepository

    def provisioned(self) -> DirectoryRepository:
        """Make the base directory."""
        self.base = os.path.join(self.root, "base")
        if not os.path.exists(self.base):
            provision(self.base)
        self.backend = {"type": "directory", "base": self.base}
        self.layout = Layout(self.base, self.name)
        return DirectoryRepository(self.base, self.name)

    @property
    def live(self) -> str:
        """The published tree's root."""
        return self.layout.live

    def kept(self, number: int) -> str:
        """Return the root of an older snapshot."""
        return self.layout.snapshot(number)

    def staged(self) -> list[str]:
        """Name the work areas that there are."""
        return self.layout.staged()

    def held(self) -> Picture:
        """Return everything below the base."""
        return picture(self.base)

    def beside(self, name: str) -> Site:
        """Return a site of another repository below the same base."""
        return Site(self.root, name)

    def put_foreign(self) -> Callable[[], list[str]]:
        """Make directories with names that are almost ours."""
        container = self.layout.container
        names = [f"{self.name}.stage.a b", f"{self.name}.old", "other.stage.x1", "notes"]
        for name in names:
            os.mkdir(os.path.join(container, name))
        return lambda: sorted(set(names) - set(os.listdir(container)))

    @contextmanager
    def almost_full(self, spare: int) -> Iterator[None]:
        """Fill the file system, then give some of it back."""
        filler = os.path.join(self.root, "filler")
        fill(filler)
        os.truncate(filler, os.path.getsize(filler) - spare * 1024 * 1024)
        subprocess.run(["sync", "-f", self.root], check=True)
        yield
        os.unlink(filler)

    def check_held(self, number: int) -> None:
        """Assert what is in the work container."""
        assert sorted(os.listdir(self.layout.container)) == sorted(
            ["format.json", f"{self.name}.lock", *([self.name] if number > 1 else [])]
        )

    def dispose(self) -> None:
        """Remove the base."""
        subprocess.run(["rm", "-rf", self.base], check=True)


def fill(path: str) -> None:
    """Write until nothing fits any more."""
    with open(path, "wb", buffering=0) as stream:
        for size in (2**20, 2**12):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError as exc:
                assert exc.errno == errno.ENOSPC
        os.fsync(stream.fileno())


@pytest.fixture
def site(tmp_path: Any) -> Site:
    """A base directory and room for working copies."""
    return Site(str(tmp_path))


def announced(plan: Plan) -> list[tuple[object, ...]]:
    """Return what a plan says to the user, without what only a run has to know (hashes)."""
    return [
        (step.path, step.state, step.action, step.taken, step.clashes_with, *_sides(step))
        for step in plan.steps
    ]


def _sides(step: Any) -> list[object]:
    return [
        None if entry is None else (entry.kind, entry.size, entry.mode, entry.target, entry.user)
        for entry in (step.local, step.cache, step.remote)
    ]


def sync_as_announced(site: AnySite, request: SyncRequest) -> SyncResult:
    """Run in check mode, then really: both must say the same, and the first must change nothing."""
    before = site.picture()
    promise: SyncResult | DsgError
    try:
        promise = run(request._replace(check=True))
    except DsgError as exc:
        promise = exc
    assert site.picture() == before, "check mode changed something"
    try:
        result = run(request)
    except DsgError as exc:
        assert isinstance(promise, DsgError), f"check mode did not announce {exc}"
        assert promise.as_dict() == exc.as_dict()
        assert site.picture() == before, "a refused run changed something"
        raise
    assert not isinstance(promise, DsgError), f"check mode announced {promise}"
    assert announced(promise.plan) == announced(result.plan)
    assert (promise.operation, promise.changed) == (result.operation, result.changed)
    check_done(site, request, result)
    return result


def check_done(site: AnySite, request: SyncRequest, result: SyncResult) -> None:
    """What the plan says is what both sides hold now."""
    mine, theirs = read(request.src), read(site.live)
    for step in result.plan.steps:
        if step.action == "upload":
            assert theirs.get(step.path) == mine[step.path], step
        elif step.action == "download":
            assert mine.get(step.path) == theirs[step.path], step
        elif step.action == "delete_remote":
            assert step.path not in theirs, step
        elif step.action == "delete_local" and step.path not in result.put_off:
            assert step.path not in mine, step
        else:
            assert step.action in ("update_cache", "drop_cache", HELD), step


def refused(site: AnySite, code: str, work: Callable[[], object]) -> DsgError:
    """Do what must raise an error with that code; nothing may change."""
    before = site.picture()
    with pytest.raises(DsgError) as caught:
        work()
    error = caught.value
    assert error.code == code, error
    assert site.picture() == before, f"a refused run changed something: {error}"
    assert error.message
    assert error.unchanged
    assert error.next_step
    return error

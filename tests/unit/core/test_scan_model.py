# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is done to a tree, and however coarse its time stamps are: an index changes nothing.

The file system of the test is made coarse by rounding its stamps down to two seconds, so that all
edits of a run share a few of them; this is what FAT does, and what any file system does within a tick.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from _core.manifest import index as indexes
from _core.manifest.scan import scan_tree
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

PATHS = st.sampled_from(["f", "g", "d/f", "d/g", "d/e/f", "h/f"])
CONTENTS = st.sampled_from([b"aaaa", b"bbbb", b"cc", b""])
STEP_NS = 2_000_000_000


class Coarse:
    """A stat result whose times are rounded down."""

    def __init__(self, found: os.stat_result) -> None:
        self._found = found

    def __getattr__(self, name: str) -> object:
        value = getattr(self._found, name)
        return value // STEP_NS * STEP_NS if name in ("st_mtime_ns", "st_ctime_ns") else value


@contextmanager
def coarse_stamps() -> Iterator[None]:
    """Let the core see coarse time stamps only."""
    with ExitStack() as stack:
        for name in ("stat", "lstat", "fstat"):
            real = getattr(os, name)
            stack.enter_context(
                mock.patch.object(os, name, lambda *a, _real=real, **k: Coarse(_real(*a, **k)))
            )
        yield


class EditedTree(RuleBasedStateMachine):
    """Random edits; after each, a scan with the index must equal one without."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.root = self.base / "tree"
        self.root.mkdir()
        self.index = str(self.base / "index")

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    def _free(self, path: str) -> Path:
        """Make room for something at ``path``."""
        here = self.root
        for part in path.split("/")[:-1]:
            here = here / part
            if here.is_symlink() or here.is_file():
                here.unlink()
        here.mkdir(parents=True, exist_ok=True)
        place = self.root / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        return place

    @rule(path=PATHS, content=CONTENTS)
    def write(self, path: str, content: bytes) -> None:
        place = self._free(path)
        if place.is_symlink():
            place.unlink()
        place.write_bytes(content)

    @rule(path=PATHS, content=CONTENTS)
    def write_secretly(self, path: str, content: bytes) -> None:
        """In place, the modification time put back."""
        place = self.root / path
        if place.is_file() and not place.is_symlink():
            before = place.stat()
            with place.open("r+b") as file:
                file.write(content)
                file.truncate()
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(path=PATHS, other=PATHS)
    def swap(self, path: str, other: str) -> None:
        one, two = self.root / path, self.root / other
        if one.is_file() and two.is_file() and one != two:
            one.rename(self.base / "aside")
            two.rename(one)
            (self.base / "aside").rename(two)

    @rule(path=PATHS, text=st.sampled_from(["f", "g", "e"]))
    def link(self, path: str, text: str) -> None:
        place = self._free(path)
        place.unlink(missing_ok=True)
        place.symlink_to(text)

    @rule(path=st.sampled_from(["d", "d/e", "h", "f"]))
    def make_directory(self, path: str) -> None:
        place = self._free(path)
        place.unlink(missing_ok=True)
        place.mkdir()

    @rule(path=st.sampled_from(["d", "d/e", "h", "f", "g", "d/f"]))
    def remove(self, path: str) -> None:
        place = self.root / path
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)

    @rule(path=PATHS, mode=st.sampled_from([0o644, 0o755]))
    def chmod(self, path: str, mode: int) -> None:
        place = self.root / path
        if place.is_file() and not place.is_symlink():
            place.chmod(mode)

    @rule(path=PATHS, seconds=st.sampled_from([-100_000, 0, 100_000]))
    def touch(self, path: str, seconds: int) -> None:
        place = self.root / path
        if place.is_file() and not place.is_symlink():
            stamp = place.stat().st_ctime_ns + seconds * 1_000_000_000
            os.utime(place, ns=(stamp, stamp))

    @invariant()
    def the_index_changes_nothing(self) -> None:
        with coarse_stamps():
            quick = scan_tree(
                str(self.root), index=indexes.load(self.index), clock_directory=str(self.base)
            )
            slow = scan_tree(str(self.root))
            assert quick.digest == slow.digest
            assert quick.entries == slow.entries
            assert quick.counts == slow.counts
            quick.save(self.index)


TestEditedTree = EditedTree.TestCase
TestEditedTree.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

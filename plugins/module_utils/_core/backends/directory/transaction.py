# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction of the directory backend: stage beside, exchange names, keep the old tree."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from ...errors import ArgumentError, DriftError, RepositoryError, capped
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...posix.beneath import Beneath
from ...posix.durable import sync_directory, sync_file_system
from ...posix.present import is_present
from ...posix.remove import remove_tree_at
from ...posix.syscalls import is_unsupported, rename_exchange, rename_noreplace
from .. import published, tree
from ..base import Land, Upload
from ..holding import new_held
from . import mark
from .layout import Layout
from .mark import Mark

_AT_CWD = -100


class DirectoryTransaction:
    """A change of ``layout.live``, built in ``layout.stage(txn_id)``."""

    def __init__(self, layout: Layout, txn_id: str, base: Manifest | None) -> None:
        self.layout = layout
        self.txn_id = txn_id
        self.base = base
        self.stage_root = layout.stage(txn_id)
        self.manifest: Manifest | None = None
        self.is_held = False

    def stage(
        self,
        source: str,
        uploads: Sequence[Upload],
        deletes: set[str],
        land: Land | None = None,
    ) -> list[Entry]:
        """Build the new tree: what stays is linked from the live one, uploads are copied."""
        if self.base is not None:
            require_unchanged(self.layout, self.base)
        os.mkdir(self.stage_root, 0o755)
        if self.base is not None:
            replaced = {upload.entry.path for upload in uploads} | deletes
            self._link_base(self.base, replaced)
        uploads = self._prepare_patches(uploads, local=land is None)
        return (land or tree.upload)(source, self.stage_root, uploads)

    def _prepare_patches(self, uploads: Sequence[Upload], *, local: bool) -> Sequence[Upload]:
        """Copy what is to be patched; from this host a second copy of the new version is no worse."""
        if self.base is None or local:
            return [item._replace(patch=False) for item in uploads]
        with Beneath(self.layout.live) as live, Beneath(self.stage_root) as stage:
            return tree.copy_old(live, stage, uploads)

    def _link_base(self, base: Manifest, replaced: set[str]) -> None:
        kept = [entry for entry in base.entries if entry.path not in replaced]
        with Beneath(self.layout.live) as live, Beneath(self.stage_root) as stage:
            tree.link_tree(live, stage, kept)

    def prepare(self, manifest: Manifest) -> None:
        """Write manifest and history, check the staged tree against them, make it durable."""
        base = [] if self.base is None else self.base.entries
        with Beneath(self.stage_root) as stage:
            # Also catches a write through a link that the stage shares with the live tree.
            _refuse_drift(tree.drift(stage, manifest.entries), self.stage_root)
        if self.base is not None:
            published.link_history(self.layout.live, self.stage_root)
        published.write_records(self.stage_root, base, manifest)
        sync_file_system(self.stage_root)
        self.manifest = manifest

    def hold(self, note: str) -> None:
        """Keep the work area until somebody decides; it was made durable before.

        What would stop the commit is to stop it now: behind the decision others have published.
        """
        if self.base is not None:
            require_unchanged(self.layout, self.base)
        elif is_present(self.layout.live):
            raise _came_into_being(self.layout.live)
        base = None if self.base is None else self.base.header
        self.is_held = True
        held = new_held(self.txn_id, note, 0 if base is None else base.snapshot)
        mark.write(self.layout, Mark(held, "" if base is None else base.id))

    def commit(self) -> None:
        """Publish: one exchange of two names (a first publication: one rename)."""
        if self.base is None:
            self._publish_first()
        else:
            require_unchanged(self.layout, self.base)
            self._exchange()
        make_durable(self.layout)

    def _publish_first(self) -> None:
        try:
            rename_noreplace(self.stage_root, _AT_CWD, self.layout.live, _AT_CWD)
        except OSError as exc:
            if exc.errno == errno.EEXIST:
                raise _came_into_being(self.layout.live) from exc
            self._explain(exc)
            raise

    def _exchange(self) -> None:
        try:
            rename_exchange(self.stage_root, _AT_CWD, self.layout.live, _AT_CWD)
        except OSError as exc:
            self._explain(exc)
            raise

    def _explain(self, exc: OSError) -> None:
        if is_unsupported(exc):
            raise ArgumentError(
                "this file system cannot exchange two names atomically (renameat2); supported are "
                "XFS, ext4, btrfs, tmpfs and others with RENAME_EXCHANGE on Linux",
                object=self.layout.base,
                next_step="Choose a base directory on such a file system.",
            ) from exc

    def finish(self) -> list[str]:
        """Keep the old tree as its snapshot; what fails is left to the next recovery."""
        if self.base is None:
            return []
        try:
            retire(self.layout, self.txn_id, self.base.header.snapshot)
        except OSError as exc:
            return [f"{self.stage_root} is to become s{self.base.header.snapshot}: {exc.strerror}"]
        return []

    def rollback(self) -> None:
        """Remove the work area."""
        if self.is_held:
            mark.drop(self.layout, self.txn_id)
        remove_tree_at(self.stage_root)


def require_unchanged(layout: Layout, base: Manifest) -> None:
    """Stop where the live tree is not the one that was planned against, by names and stat data."""
    header = published.read_header(layout.live, layout.name)
    if header.id != base.header.id:
        raise DriftError(
            f"the repository is at s{header.snapshot} now, not at s{base.header.snapshot}",
            object=layout.live,
            next_step="Run again: the new snapshot is taken into account then.",
        )
    with Beneath(layout.live) as live:
        _refuse_drift(tree.drift(live, base.entries), layout.live)


def _came_into_being(live: str) -> RepositoryError:
    return RepositoryError(
        "it came into being meanwhile",
        object=live,
        next_step="Look at what was put there, then run again.",
    )


def make_durable(layout: Layout) -> None:
    """Have the names on disk, so that a power cut does not take a commit back."""
    sync_directory(layout.container)
    sync_directory(layout.base)


def retire(layout: Layout, txn_id: str, snapshot: int) -> None:
    """Move the tree that a commit exchanged out to its place among the snapshots."""
    try:
        os.mkdir(layout.snapshots, 0o755)
    except FileExistsError:
        pass
    rename_noreplace(layout.stage(txn_id), _AT_CWD, layout.snapshot(snapshot), _AT_CWD)
    sync_directory(layout.snapshots)


def _refuse_drift(found: list[str], root: str) -> None:
    if found:
        noun = "path differs" if len(found) == 1 else "paths differ"
        raise DriftError(
            f"{len(found)} {noun} from the manifest: somebody else wrote to it",
            object=root,
            details=capped(found),
        )

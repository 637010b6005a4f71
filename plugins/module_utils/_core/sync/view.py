# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three manifests of one run, read as late and as little as possible, and the plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property

from ..backends.base import Repository
from ..client.working_copy import WorkingCopy
from ..errors import DriftError, TreeError, capped
from ..manifest import ignore as ignores
from ..manifest import index as indexes
from ..manifest.codec import Manifest
from ..manifest.entry import DIRECTORY, FILE, Entry
from ..manifest.hashing import Identity, hash_paths
from ..manifest.header import Header
from ..manifest.ignore import Ignore
from ..manifest.portable import Names
from ..manifest.scan import Scan, scan_tree
from ..plan.plan import Plan, Step, check_deletions, make_plan
from ..plan.policy import ANY
from ..plan.states import CONFLICT, DELETE_REMOTE, Entries, by_path
from .naming import names_of
from .obstacles import with_obstacles
from .request import SyncRequest


class View:
    """L, C and R of one working copy and one repository.

    L has the names that the working copy will have: where the run's policy makes them portable, ``names``
    tells what is renamed for that, and :meth:`source` where something still is.

    R's header is given; manifests are only read, and paths only compared, where digests differ. The
    working copy is scanned, unless ``scan`` is given.
    """

    def __init__(
        self,
        request: SyncRequest,
        working_copy: WorkingCopy,
        repository: Repository,
        key: str,
        head: Header | None,
        scan: Scan | None = None,
    ) -> None:
        self.request = request
        self.working_copy = working_copy
        self.repository = repository
        self.key = key
        self.head = head
        self.ignore = _load_ignore(request, working_copy)
        self.scan = scan or _scan(request, working_copy, self.ignore, self._is_known)

    @cached_property
    def names(self) -> Names:
        """Return what is renamed in the working copy; raises ``PathError`` for what cannot be."""
        return names_of(self.scan, self.request.policy.names, self.ignore, self._is_known)

    @cached_property
    def _sources(self) -> Mapping[str, str]:
        return self.names.sources()

    @cached_property
    def _targets(self) -> Mapping[str, str]:
        return {one.path: one.new for one in self.names.retargets}

    @cached_property
    def _old_targets(self) -> Mapping[str, str]:
        return {one.path: one.old for one in self.names.retargets}

    def source(self, path: str) -> str:
        """Return where in the working copy a path of L is now."""
        if not self.names:
            return path
        known = path
        while known and known not in self._sources:
            known = known.rpartition("/")[0]
        return self._sources[known] + path[len(known) :] if known else path

    def identity(self, path: str) -> Identity:
        """Return the stat identity of a file or link of L; ``KeyError`` for others."""
        if self.scan is None:
            raise KeyError(path)
        return self.scan.identity(self.source(path))

    def origin(self, entry: Entry) -> Entry | None:
        """Return an entry of L as it still is in the working copy, None where it is the same."""
        path = self.source(entry.path)
        target = self._old_targets.get(entry.path, entry.target)
        if (path, target) == (entry.path, entry.target):
            return None
        return entry._replace(path=path, target=target)

    def _is_known(self, path: str) -> bool:
        """Tell whether C or R has the path: only then its hash decides anything."""
        return path in self.cache or path in self.remote

    @cached_property
    def remote_manifest(self) -> Manifest | None:
        """Return R, None where the repository does not exist.

        Who reads without the lock may meet a newer snapshot than the header's: it is the head then.
        """
        if self.head is None:
            return None
        manifest = self.repository.manifest(self._known_manifest)
        if manifest.header.repository_id != self.head.repository_id:
            raise DriftError(
                "it was replaced by another repository just now", object=self.request.repository
            )
        self.head = manifest.header
        return manifest

    def _known_manifest(self) -> Manifest | None:
        """Return C for a transport that sends what differs from it."""
        return self.working_copy.cache(self.key)

    @cached_property
    def cache_manifest(self) -> Manifest | None:
        """Return C, None before the first sync. Where it is R in every byte, it is R itself."""
        remote = self.remote_manifest
        header = self.working_copy.cache_header(self.key)
        if header is not None and remote is not None and header.id == remote.header.id:
            return remote
        return self.working_copy.cache(self.key)

    @cached_property
    def remote(self) -> Entries:
        """Return R as path → entry."""
        return _indexed(self.remote_manifest)

    @cached_property
    def cache(self) -> Entries:
        """Return C as path → entry."""
        return _indexed(self.cache_manifest)

    @cached_property
    def local(self) -> Entries:
        """Return L as path → entry; users come from C and R, as a scan cannot know them."""
        self._hash_known()
        entries = [] if self.scan is None else self.scan.entries
        if self.names:
            found = [self._renamed(e) for e in entries if not self._is_hollow(e)]
            return {e.path: e for e in sorted(found)}
        return {e.path: self._attributed(e) for e in entries if not self._is_hollow(e)}

    def _renamed(self, entry: Entry) -> Entry:
        """Return a scanned entry with its new name and target, and the user of either name."""
        path = self.names.moved.get(entry.path, entry.path)
        target = self._targets.get(path, entry.target)
        return self._attributed(entry._replace(path=path, target=target), entry)

    def _hash_known(self) -> None:
        """Hash what a scan that did not know R left unhashed although R has it."""
        scan = self.scan
        if scan is None or scan.digest:
            return
        moved = self.names.moved
        unknown = [
            (entry.path, scan.identity(entry.path))
            for entry in scan.entries
            if entry.kind == FILE and not entry.sha256
            if self._is_known(entry.path) or self._is_known(moved.get(entry.path, entry.path))
        ]
        digests, unreadable = hash_paths(self.working_copy.root, unknown)
        if unreadable:
            raise TreeError("files cannot be read", details=capped(unreadable))
        for (path, _unused), digest in zip(unknown, digests):
            scan.set_hash(path, digest.hex())

    def _is_hollow(self, entry: Entry) -> bool:
        """Tell whether a directory only looks empty, as what it holds is ignored.

        A published empty directory stays one when ignored files come into it; but a directory of
        ignored files is nothing to publish, be it a new one or left over from a deletion.
        """
        if entry.kind != DIRECTORY or not self.ignore:
            return False
        known = (self.cache.get(entry.path), self.remote.get(entry.path))
        if any(e is not None and e.kind == DIRECTORY for e in known):
            return False
        return bool(os.listdir(os.path.join(self.working_copy.root, entry.path)))

    def _attributed(self, entry: Entry, old: Entry | None = None) -> Entry:
        """Fill in who changed the content: somebody known, or the user of this run."""
        for side in (self.cache, self.remote):
            known = side.get(entry.path)
            if known is None and old is not None:
                known = side.get(old.path)
            if known is not None and _same_bytes(known, old or entry):
                attributed = entry._replace(user=known.user)
                return known if known == attributed else attributed  # one object saves memory
        return entry._replace(user=self.request.user_name())

    def in_sync(self) -> bool:
        """Tell by digests alone that L, C and R are equal."""
        known = self.working_copy.cache_header(self.key)
        return (
            self.head is not None
            and known is not None
            and self.scan is not None
            and not self.names
            and self.head.digest == known.digest == self.scan.digest
        )

    def plan(self) -> Plan:
        """Compare the three manifests; raises nothing for conflicts."""
        if self.in_sync():
            return Plan()
        policy = self.request.policy
        if not self.ignore:
            return self._with_hashes(make_plan(self.local, self.cache, self.remote, policy))
        plan = make_plan(self.local, self.cache, self.remote, policy, self._ignored)
        root = self.working_copy.root
        return self._with_hashes(with_obstacles(plan, root, self.ignore, policy, self.source))

    def _with_hashes(self, plan: Plan) -> Plan:
        """Hash the local files in conflict that nothing else asked to hash: the user sees both."""
        unknown = [
            step.path
            for step in plan.of(CONFLICT)
            if step.local is not None and step.local.kind == FILE and not step.local.sha256
        ]
        if not unknown:
            return plan
        files = [(self.source(path), self.identity(path)) for path in unknown]
        digests, _unreadable = hash_paths(self.working_copy.root, files)
        found = {path: digest.hex() for path, digest in zip(unknown, digests)}
        return Plan([_with_hash(step, found) for step in plan.steps])

    def check_deletions(self, plan: Plan) -> None:
        """Refuse a plan that deletes more than ``max_delete``."""
        if plan.steps:  # otherwise nothing needs to be read
            kept = [step for step in plan.steps if not self._is_old_name(step)]
            check_deletions(Plan(kept), len(self.local), len(self.remote), self.request.policy)

    def _is_old_name(self, step: Step) -> bool:
        """Tell whether a path is only deleted there as it has another name now."""
        return step.action == DELETE_REMOTE and step.path in self.names.moved

    def save_index(self, uploaded: Mapping[str, Entry] | None = None) -> None:
        """Keep what the scan learnt; ``uploaded`` entries were hashed while they were copied.

        An index that cannot be written costs the next run time. It must not make a run seem to have
        failed that is committed.
        """
        scan = self.scan
        if scan is None or (scan.as_indexed and not uploaded and not self.names):
            return
        for path, entry in (uploaded or {}).items():
            if entry.kind == FILE and not self.local[path].sha256:
                scan.set_hash(self.source(path), entry.sha256)
        try:
            scan.save(self.working_copy.index, self.names)
        except OSError:
            return  # what was begun is cleared by the next run

    def _ignored(self, entry: Entry) -> bool:
        return self.ignore.covers(entry.path, entry.kind == DIRECTORY)


def scan_working_copy(request: SyncRequest, working_copy: WorkingCopy, key: str) -> Scan | None:
    """Scan before anything is known of R: what C does not have may be left unhashed."""
    known: list[Entries] = []

    def is_known(path: str) -> bool:
        if not known:  # most scans ask nothing, and reading it takes longer than they do
            known.append(_indexed(working_copy.cache(key)))
        return path in known[0]

    return _scan(request, working_copy, _load_ignore(request, working_copy), is_known)


def _load_ignore(request: SyncRequest, working_copy: WorkingCopy) -> Ignore:
    if not working_copy.exists():
        return Ignore(request.ignore)
    return ignores.load(working_copy.root, request.ignore)


def _scan(
    request: SyncRequest,
    working_copy: WorkingCopy,
    ignore: Ignore,
    is_known: Callable[[str], bool],
) -> Scan | None:
    if not working_copy.exists():
        return None
    return scan_tree(
        working_copy.root,
        ignore=ignore,
        index=indexes.load(working_copy.index),
        must_hash=None if request.check else is_known,
        checksum=request.checksum,
        clock_directory=None if request.check else working_copy.metadata,
        check_names=request.policy.names == ANY,
    )


def _with_hash(step: Step, found: Mapping[str, str]) -> Step:
    if step.local is None or step.path not in found:
        return step
    return step._replace(local=step.local._replace(sha256=found[step.path]))


def _indexed(manifest: Manifest | None) -> Entries:
    return {} if manifest is None else by_path(manifest.entries)


def _same_bytes(known: Entry, entry: Entry) -> bool:
    return (known.kind, known.sha256, known.target) == (entry.kind, entry.sha256, entry.target)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The published path: which dataset is mounted there, and how the next one takes its place."""

from __future__ import annotations

import os

from ...errors import RepositoryError
from ...posix.durable import sync_directory
from ...posix.lock import locked
from ...zfs import mounts
from ...zfs.command import Runner, ZfsError
from . import places
from .layout import OLD, Layout
from .state import State

PRIVATE = "_publish"
"""What the next generation is mounted as until it is published; no transaction has this id."""
_LOCK_SECONDS = 60.0


def publish(runner: Runner, state: State) -> None:
    """Mount the repository's dataset at its path, without a gap where an older one is mounted.

    Does what is missing: it may have been interrupted anywhere.
    """
    layout, path = state.layout, state.path
    stack = mounts.stack(path)
    if not stack:
        _ensure_directory(runner, state)
        mounts.mount(layout.live, path, published=path, options=_options(state))
    elif stack[0] != layout.live:
        _require_retired(layout, path, stack[0])
        if layout.live not in stack:
            _put_beneath(layout, path, _options(state))
        mounts.unmount(path, lazily=True)


def _options(state: State) -> tuple[str, ...]:
    dataset = state.to_publish
    return mounts.SAFE if dataset is None else dataset.options


def _put_beneath(layout: Layout, path: str, options: tuple[str, ...]) -> None:
    private = layout.mount(PRIVATE)
    _clear(private)
    places.make_private(private, 0)
    mounts.mount(layout.live, private, published=path, options=options)
    mounts.put_beneath(private, path)


def _require_retired(layout: Layout, path: str, source: str) -> None:
    """Refuse to lift off what is not ours.

    After a rename the kernel shows a mounted dataset under its new name, so the name tells.
    """
    work = layout.parse_work(source)
    if work is None or work[0] != OLD:
        raise ZfsError(
            f"{source} is mounted there",
            object=path,
            unchanged="What is mounted there was left alone.",
            next_step="Unmount it, then run `dsg.storage.recover`.",
        )


def release(layout: Layout, left_alone: set[str]) -> list[str]:
    """Unmount what a transaction of this repository, dead or done, has mounted privately."""
    done = []
    for path in layout.mounts():
        if path in left_alone:
            continue
        _clear(path)
        places.remove_private(path)
        done.append(f"unmounted {path}")
    return done


def _clear(directory: str) -> None:
    while mounts.stack(directory):
        mounts.unmount(directory, lazily=True)


def require_parent_mounted(state: State) -> None:
    """Refuse where a new repository's directory would be made beneath the parent's mountpoint."""
    parent = state.parent
    if parent.mounts and mounts.mounted_at(parent.mountpoint) != state.layout.parent:
        raise RepositoryError(
            f"it is not mounted at {parent.mountpoint}",
            object=state.layout.parent,
            next_step=(
                f"Run `zfs mount -l {state.layout.parent}`, which loads the key of an encrypted one as well."
            ),
        )


def _ensure_directory(runner: Runner, state: State) -> None:
    """Make the mountpoint's directory inside the publish parent, which is read-only."""
    if os.path.isdir(state.path):
        return
    require_parent_mounted(state)
    directory = state.parent.mountpoint
    if not state.parent.mounts:
        os.makedirs(state.path, 0o755)
        return
    # Other repositories of this parent may come into being at the same time.
    with locked(state.layout.parent_lock, timeout=_LOCK_SECONDS, what=directory):
        if not mounts.is_writable(directory):
            runner.run("mount", "-o", "remount,rw", directory)
        try:
            os.mkdir(state.path, 0o755)
            sync_directory(directory)
        finally:
            _protect(runner, state)


def protect_parent(runner: Runner, state: State) -> list[str]:
    """Make the parent read-only again, where somebody died who had to write there."""
    with locked(state.layout.parent_lock, timeout=_LOCK_SECONDS, what=state.parent.mountpoint):
        return _protect(runner, state)


def _protect(runner: Runner, state: State) -> list[str]:
    directory = state.parent.mountpoint
    if not needs_protection(state):
        return []
    runner.run("mount", "-o", "remount,ro", directory)
    return [f"made {directory} read-only again"]


def needs_protection(state: State) -> bool:
    """Tell whether the parent takes writes although its property says that it does not."""
    directory = state.parent.mountpoint
    mounted = mounts.mounted_at(directory) == state.layout.parent
    return mounted and state.parent.readonly and mounts.is_writable(directory)

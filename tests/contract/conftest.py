# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grounds to run the backends' contract on: the machine's own file system, mounted images, ssh, or ZFS.

With ``DSG_CONTRACT_POOL`` in the environment (tests/zfs does that, inside a virtual host) the ground
is a dataset of that pool, and the backend is ``zfs``. Otherwise the backend is ``directory``: an
image is a sparse file, made, mounted and unmounted by root for one worker of pytest; the loop device
goes with the mount. On ``ssh`` the repository is another host's, behind a real sshd on loopback. Tests
on one ground run in one worker, so that it is mounted once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract.trees import ONE, remake
from tests.integration.support import AnySite, Site

POOL = os.environ.get("DSG_CONTRACT_POOL", "")
SSH = "ssh"
MKFS = {"xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}
_SIZE = 512 * 1024 * 1024
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail what needs root, and has it not: nothing passes because it did not run."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.fail("this test needs root's rights", pytrace=False)


def _on(kinds: list[str]) -> list[object]:
    if POOL:
        return [pytest.param(POOL, id="zfs")]
    return [pytest.param(kind, marks=_marks(kind)) for kind in kinds]


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    """Keep a ground in one worker; what reflinks as XFS does is left to `make test-long`."""
    apart = [pytest.mark.xdist_group(f"ground-{kind}")]
    return [*apart, pytest.mark.long] if kind == "btrfs" else apart


def _do(*command: str) -> None:
    program = shutil.which(command[0], path=_PATH)
    assert program, f"{command[0]} is not installed (make test does it)"
    done = subprocess.run(
        [program, *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"


@contextmanager
def mounted(kind: str, place: Path) -> Iterator[Path]:
    """Make and mount an image of that kind below ``place``; nothing of it stays."""
    assert os.geteuid() == 0, "these tests mount file systems: run them as root"
    image, ground = place / f"{kind}.img", place / kind
    ground.mkdir()
    with open(image, "wb") as stream:
        stream.truncate(_SIZE)
    _do(*MKFS[kind], str(image))
    _do("mount", "-o", "loop,nosuid,nodev", str(image), str(ground))
    try:
        yield ground
    finally:
        _do("umount", str(ground))
        image.unlink()
        with open("/proc/self/mounts") as mounts:
            assert str(ground) not in mounts.read()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Mount points by kind of file system; each is mounted when it is first asked for."""
    place = tmp_path_factory.mktemp("grounds")

    class Grounds(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            self[kind] = open_ones.enter_context(mounted(kind, place))
            return self[kind]

    with ExitStack() as open_ones:
        yield Grounds()


@pytest.fixture(params=_on(["own", *MKFS, SSH]))
def ground(
    request: pytest.FixtureRequest, images: dict[str, Path], tmp_path: Path
) -> Iterator[Path]:
    """An empty directory on each of the file systems."""
    yield from _ground(request.param, images, tmp_path)


@pytest.fixture(params=_on(["own", *MKFS]))
def local_ground(
    request: pytest.FixtureRequest, images: dict[str, Path], tmp_path: Path
) -> Iterator[Path]:
    """An empty directory on each file system, for what is done where the repository is."""
    yield from _ground(request.param, images, tmp_path)


@pytest.fixture(params=_on(list(MKFS)))
def image_ground(
    request: pytest.FixtureRequest, images: dict[str, Path], tmp_path: Path
) -> Iterator[Path]:
    """An empty directory on each file system that may be filled up."""
    yield from _ground(request.param, images, tmp_path)


def _ground(kind: str, images: dict[str, Path], tmp_path: Path) -> Iterator[Path]:
    if kind in ("own", SSH, POOL):
        yield tmp_path
        return
    ground = images[kind] / str(uuid.uuid4())
    ground.mkdir()
    yield ground
    _do("rm", "-rf", str(ground))  # some trees are too deep for shutil


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A real sshd on loopback."""
    from tests.tools.sshd import sshd

    with sshd(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def site(ground: Path, request: pytest.FixtureRequest) -> Iterator[AnySite]:
    """A provisioned repository on the ground."""
    if request.node.callspec.params["ground"] == SSH:
        yield from _remote_site(ground, request.getfixturevalue("server"))
    else:
        yield from _site(ground)


@pytest.fixture
def local_site(local_ground: Path) -> Iterator[AnySite]:
    """A provisioned repository of this host."""
    yield from _site(local_ground)


@pytest.fixture
def small_site(image_ground: Path) -> Iterator[AnySite]:
    """A provisioned repository that may be filled up."""
    yield from _site(image_ground)


def _site(ground: Path) -> Iterator[AnySite]:
    if not POOL:
        yield Site(str(ground))
        return
    from tests.contract.zfs_site import ZfsSite  # what it needs is only there

    made = ZfsSite(str(ground), pool=POOL)
    yield made
    made.dispose()


def _remote_site(ground: Path, server: Any) -> Iterator[AnySite]:
    from tests.transport.remote_site import ContractSite, destination_of, multiplexed

    made = ContractSite(str(ground), destination_of(server, options=multiplexed(server)))
    yield made
    made.repository.close()


@pytest.fixture
def source(site: AnySite) -> str:
    """A tree to publish."""
    return remake(site.copy("source"), ONE)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test bed does what it promises, on real guests."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.integration.pages import Page
from tests.testbed import build, machine, recipe, ssh, state, tools
from tests.testbed.bed import Bed, Host, reap
from tests.testbed.fixtures import StartHosts, testbed, zfs_host, zfs_hosts
from tests.testbed.groups import group
from tests.testbed.pools import zpool
from tests.testbed.store import HERE, BedError, cache
from tests.tools.collection import environment, run

__all__ = ["testbed", "zfs_host", "zfs_hosts"]

pytestmark = pytest.mark.xdist_group(group("testbed"))  # they share their hosts


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected by its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_two_hosts_run_side_by_side_and_differ(zfs_hosts: StartHosts) -> None:
    one, two = zfs_hosts(2)
    assert one.port != two.port
    assert [host.run("hostname").stdout for host in (one, two)] == ["host1\n", "host2\n"]
    one.run("touch", "/root/only-here")
    assert two.run("test", "-e", "/root/only-here", check=False).returncode == 1
    # Both came from one memory; what they draw at random must not be the same.
    argv = ("cat", "/proc/sys/kernel/random/uuid")
    assert one.run(*argv).stdout != two.run(*argv).stdout


def test_hosts_reach_each_other(zfs_hosts: StartHosts) -> None:
    one, two = zfs_hosts(2)
    argv = ("timeout", "30", "bash", "-c", f"head -c4 </dev/tcp/10.0.2.2/{two.port}")
    assert one.run(*argv).stdout == "SSH-"


@pytest.mark.parametrize(
    ("user", "sudo"), [("root", True), ("admin", True), ("dsg", False)], ids=str
)
def test_every_user_logs_in_with_the_rights_it_should_have(
    zfs_host: Host, user: str, sudo: bool
) -> None:
    assert zfs_host.run("id", "-un", user=user).stdout == f"{user}\n"
    may = zfs_host.run("sudo", "-n", "id", "-u", user=user, check=False)
    assert (may.returncode == 0) == sudo


def test_another_host_key_is_refused(zfs_host: Host, tmp_path: Path) -> None:
    tools.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"])
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(ssh.known_hosts([zfs_host.port], other))
    config = tmp_path / "ssh_config"
    key = zfs_host.bed.image.login_key
    config.write_text(ssh.config({zfs_host.name: zfs_host.port}, key, known))
    done = subprocess.run(
        ssh.command(config, zfs_host.name, "root", ["true"]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_words_reach_the_command_unchanged(zfs_host: Host) -> None:
    words = ["a b", "$HOME", "*", "'", '"', "line\nbreak", ""]
    said = zfs_host.run("python3", "-c", "import sys; print(sys.argv[1:])", *words).stdout
    assert said == f"{words}\n"


def test_openzfs_is_recent_and_pools_work(zfs_host: Host) -> None:
    first = zfs_host.run("zfs", "version").stdout.splitlines()[0]
    version = tuple(int(part) for part in first.split("-")[1].split(".")[:2])
    assert version >= (2, 3)
    zpool(zfs_host, "create", "tank", "mirror", *zfs_host.disks[:2])
    zpool(zfs_host, "add", "tank", "special", "mirror", *zfs_host.disks[2:4])
    zfs_host.run("zfs", "create", "tank/data")
    zfs_host.run("tee", "/tank/data/file", input="content")
    zfs_host.run("zfs", "snapshot", "tank/data@one")
    assert zfs_host.run("cat", "/tank/data/.zfs/snapshot/one/file").stdout == "content"
    listed = zfs_host.run("zpool", "status", "-j").stdout
    assert json.loads(listed)["pools"]["tank"]["state"] == "ONLINE"


def test_clock_is_right_after_a_restore(zfs_host: Host) -> None:
    """Seconds are what a loaded machine may take for one ssh; the saved state is minutes old."""
    before = time.time()
    inside = float(zfs_host.run("date", "+%s.%N").stdout)
    assert before - 2 <= inside <= time.time() + 2


def test_reset_gives_a_clean_state(zfs_host: Host) -> None:
    zpool(zfs_host, "create", "tank", zfs_host.disks[0])
    zfs_host.run("touch", "/root/left")
    zfs_host.reset()
    assert zfs_host.run("zpool", "list", "-H").stdout == ""
    assert zfs_host.run("test", "-e", "/root/left", check=False).returncode == 1
    for disk in zfs_host.disks:
        assert zfs_host.run("blkid", "-p", disk, check=False).returncode == 2, "not empty"


def test_power_cut_keeps_a_synced_pool_and_loses_memory(zfs_host: Host) -> None:
    zpool(zfs_host, "create", "tank", zfs_host.disks[0])
    # Nothing reaches the disk by itself for a minute.
    zfs_host.run("tee", "/sys/module/zfs/parameters/zfs_txg_timeout", input="60")
    zfs_host.run("tee", "/tank/synced", input="here to stay")
    zfs_host.run("zpool", "sync", "tank")
    zfs_host.run("tee", "/tank/unsynced", input="only in memory")
    before = zfs_host.boot_id()
    zfs_host.power_cut()
    assert not zfs_host.running
    assert zfs_host.run("true", check=False).returncode == 255
    zfs_host.boot()
    assert zfs_host.boot_id() != before
    assert zfs_host.run("cat", "/tank/synced").stdout == "here to stay"
    assert zfs_host.run("test", "-e", "/tank/unsynced", check=False).returncode == 1
    assert zfs_host.run("zpool", "status", "-x").stdout == "all pools are healthy\n"


def test_reboot_keeps_everything(zfs_host: Host) -> None:
    zpool(zfs_host, "create", "tank", zfs_host.disks[0])
    zfs_host.run("tee", "/tank/file", input="content")
    before = zfs_host.boot_id()
    zfs_host.reboot()
    assert zfs_host.boot_id() not in ("", before)
    assert zfs_host.run("cat", "/tank/file").stdout == "content"
    assert zfs_host.run("hostname").stdout == "host1\n"
    assert zfs_host.run("id", "-un", user="dsg").stdout == "dsg\n"


def test_a_kept_state_comes_back_running_or_off(zfs_host: Host) -> None:
    zpool(zfs_host, "create", "tank", zfs_host.disks[0])
    zfs_host.run("touch", "/tank/kept")
    zfs_host.save("pool")
    zfs_host.run("zpool", "destroy", "tank")
    zfs_host.load("pool")
    zfs_host.run("rm", "/tank/kept")
    zfs_host.power_cut()
    zfs_host.load("pool")
    zfs_host.run("test", "-e", "/tank/kept")
    zfs_host.run("zpool", "scrub", "-w", "tank")
    assert zfs_host.run("zpool", "status", "-x").stdout == "all pools are healthy\n"


def test_the_command_line_does_it_all(testbed: Bed) -> None:
    name = f"cli-{os.getpid()}"

    def cli(*words: str) -> str:
        argv = [str(HERE / "testbed"), "--bed", name, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        cli("start", "store1")
        assert cli("ssh", "store1", "hostname") == "store1\n"
        assert cli("ssh", "--user", "dsg", "store1", "--", "id", "-un") == "dsg\n"
        assert "store1: running as process" in cli("status")
        cli("powercut", "--off", "store1")
        assert "store1: off" in cli("status")
        cli("reset", "store1")
        known = json.loads(cli("inventory"))["testbed"]
        assert known["hosts"]["store1"]["ansible_port"] == Bed(name).host("store1").port
        pid = Bed(name).host("store1").machine.pid()
        assert pid is not None
    finally:
        cli("stop")
    assert not alive(pid)
    assert not list(Bed(name).folder.parent.glob(f"{name}*"))
    assert cli("stop") == "", "a second stop finds nothing to do"


@pytest.mark.long
def test_the_page_does_what_it_says(testbed: Bed, tmp_path: Path) -> None:
    """Every command of docs/testbed.md but Molecule's, on a bed of its own."""
    name = f"page-{os.getpid()}"
    program = "tests/testbed/testbed"
    page = Page("docs/testbed.md", tmp_path, {f"{program} ": f"{program} --bed {name} "})
    using, keeping, own = [
        text for kind, text in page.blocks if kind == "sh" and "molecule" not in text
    ]
    (tmp_path / "tests").symlink_to(HERE.parent)
    (tmp_path / "site.yml").write_text(page.yaml("- hosts: testbed"))
    env = environment(tmp_path / "collections")
    said = {}

    def do(block: str) -> None:
        for line in block.splitlines():
            done = run(["sh", "-c", line], cwd=tmp_path, env=env)
            assert done.rc == 0, f"{line}: {done}"
            said[" ".join(shlex.split(line, comments=True)[3:])] = done.stdout

    try:
        do(using)
        for number in (1, 2, 3):
            assert f"host{number}: running as process" in said["status"]
        assert not list(Bed(name).folder.parent.glob(f"{name}*")), "the block ends with a stop"
        do(own)
        assert said["site.yml"].count("changed=1") == 3
        do(keeping)
        for host in Bed(name).hosts():
            assert host.run("zpool", "list", "-H", "-o", "name").stdout == "tank\n"
    finally:
        Bed(name).stop()


def test_ansible_reaches_every_host_by_the_inventory(zfs_hosts: StartHosts, tmp_path: Path) -> None:
    bed = zfs_hosts(2)[0].bed
    argv = [str(Path(sys.executable).parent / "ansible"), "-i", str(bed.folder / "inventory.json")]
    argv += [
        "testbed",
        "-o",
        "-m",
        "ansible.builtin.command",
        "-a",
        "flock --shared {{ testbed_disks[0] }} zpool create tank {{ testbed_disks[0] }}",
    ]
    config = tmp_path / "ansible.cfg"
    config.touch()
    env = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_CONFIG": str(config)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for host in bed.hosts():
        assert host.run("zpool", "list", "-H", "-o", "name").stdout == "tank\n"


def test_an_owner_that_was_killed_leaves_no_emulator(testbed: Bed) -> None:
    name = f"killed-{os.getpid()}"
    code = (
        "import os, signal; from tests.testbed.bed import Bed\n"
        f"with Bed({name!r}).use(['host1']) as bed:\n"
        "    print(bed.host('host1').machine.pid(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = HERE.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    assert alive(pid), "it outlives whoever started it"
    reap()
    assert not alive(pid)
    assert not Bed(name).folder.exists()


def test_unknown_and_bad_names_are_refused(testbed: Bed) -> None:
    with pytest.raises(BedError, match="no host 'nobody'"):
        testbed.host("nobody")
    for bad in ("", "../x", "-x", "A", "a b", "x\n"):
        with pytest.raises(BedError, match="no good name"):
            testbed.start([bad])


# --- building


def test_an_image_is_named_after_all_that_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no test runs on a guest of another recipe; where the checkout lies does not count."""
    here = recipe.key()
    shutil.copytree(HERE / "guest", tmp_path / "guest")
    for name in ("build.py", "recipe.py"):
        shutil.copy(HERE / name, tmp_path)
    monkeypatch.setattr(recipe, "HERE", tmp_path)
    assert recipe.key() == here
    keys = [here]
    guest = sorted((tmp_path / "guest").iterdir())
    files = [tmp_path / "build.py", tmp_path / "recipe.py", *guest]
    for path in files:
        content = path.read_bytes()
        for changed in (content + b"\n", content.swapcase()):
            path.write_bytes(changed)
            keys.append(recipe.key())
        path.write_bytes(content)
    files[-1].rename(files[-1].with_name(f"{files[-1].name}.old"))  # the order stays
    keys.append(recipe.key())
    (tmp_path / "guest" / "more").touch()
    keys.append(recipe.key())
    assert len(files) > 3 and len(set(keys)) == len(keys)


def test_a_saved_state_is_named_after_all_that_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = build.Image(tmp_path, {})
    keys = {state._key(image, machine.SOFTWARE), state._key(image, machine.HARDWARE)}
    for module, name, value in (
        (state, "SETTLE", "import os"),
        (machine, "DATA_DISK_SIZE", 2 * machine.DATA_DISK_SIZE),
        (machine, "DATA_DISKS", machine.DATA_DISKS - 1),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, value)
            keys.add(state._key(image, machine.SOFTWARE))
    assert len(keys) == 5


def test_two_builders_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSG_TESTBED_CACHE", str(tmp_path))
    built = []

    def slow_disk(new: Path, log: Path) -> None:
        built.append(new)
        time.sleep(0.3)

    described = {"seconds": 0, "kernel": "6", "zfs": "2"}
    monkeypatch.setattr(tools, "ensure", lambda *words: None)
    monkeypatch.setattr(build, "_make_keys", lambda new: None)
    monkeypatch.setattr(build, "_make_disk", slow_disk)
    monkeypatch.setattr(build, "_describe", lambda new, started: described)
    images: list[build.Image] = []
    threads = [
        threading.Thread(target=lambda: images.append(build.ensure())) for _unused in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert images[0] == images[1]


def test_a_build_that_fails_leaves_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSG_TESTBED_CACHE", str(tmp_path))

    def fail(new: Path, log: Path) -> None:
        (new / "root.qcow2").touch()
        raise BedError("no space")

    monkeypatch.setattr(tools, "ensure", lambda *words: None)
    monkeypatch.setattr(build, "_make_keys", lambda new: None)
    monkeypatch.setattr(build, "_make_disk", fail)
    with pytest.raises(BedError, match="no space"):
        build.ensure()
    assert build.find() is None
    assert sorted(p.name for p in (cache() / "images" / recipe.key()).iterdir()) == [
        "build.log",
        "lock",
    ]


def test_without_rights_it_names_packages_and_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "root_prefix", lambda: None)
    monkeypatch.setattr(tools, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(BedError) as caught:
        tools.ensure(tools.TO_BUILD, "building the guest", tmp_path / "log")
    said = str(caught.value)
    for word in ("mmdebstrap", "qemu-system-x86", "qemu-utils", "e2fsprogs", "root", "sudo"):
        assert word in said


def test_an_unknown_accelerator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSG_TESTBED_ACCEL", "magic")
    image = build.Image(Path("nowhere"), {})
    with pytest.raises(BedError, match="auto, tcg or kvm"):
        state.ensure(image)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads, sends or holds the published tree while it is replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from _core.zfs.command import Runner
from guest.lab import PARENT, Lab, sh

FILES = ("a", "deep/b", "deep/er/c", "d")


def poll(path: str, stop: str, files: Sequence[str] = FILES, pause: float = 0.0) -> dict[str, int]:
    """Read files that belong together until ``stop`` exists; count what nobody must ever see.

    ``pause`` are seconds between two rounds.
    """
    seen = dict.fromkeys(("reads", "rounds", "errors", "mixtures", "back"), 0)
    last = 0
    generations = set()
    while not os.path.exists(stop):
        try:
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            seen["errors"] += 1
            continue
        try:
            for _unused in range(20):
                found = {_number(name, root) for name in files}
                seen["reads"] += len(files)
                seen["mixtures"] += len(found) != 1
            by_path = [_number(f"{path}/{name}", None) for name in files]
            seen["reads"] += len(files)
            seen["back"] += by_path != sorted(by_path) or by_path[0] < last
            last = by_path[-1]
            generations.update(by_path)
        except (OSError, ValueError):
            seen["errors"] += 1
        finally:
            os.close(root)
        seen["rounds"] += 1
        time.sleep(pause)
    return {**seen, "last": last, "generations": len(generations)}


def _number(path: str, root: int | None) -> int:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return int(os.read(fd, 100))
    finally:
        os.close(fd)


def _generation(lab: Lab, number: int) -> None:
    for name in FILES:
        lab.put(name, str(number) * 3)


def oracle(commits: int) -> dict[str, int]:
    """Poll through that many commits; return the figures."""
    lab = Lab("polled")
    _generation(lab, 1)
    lab.sync()
    stop = f"{lab.home}/stop"
    code = f"from guest.readers import poll; import json; print(json.dumps(poll({lab.path!r}, {stop!r})))"
    environment = dict(os.environ)  # it knows where our sources are
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    ) as reader:
        for number in range(2, commits + 2):
            _generation(lab, number)
            waiting = lab.sync().pending_cleanup
            # A reader may be in the old tree at that very moment.
            assert all("busy" in line for line in waiting), waiting
        with open(stop, "w", encoding="utf-8"):
            pass
        said, _unused = reader.communicate()
    lab.recover()
    lab.clean()
    lab.destroy()
    return {"commits": commits, **json.loads(said)}


def in_the_old_tree() -> str:
    """A reader with its directory in the old tree keeps it; what waits is named, then collected."""
    lab = Lab("seated")
    lab.put("a", "1")
    lab.sync()
    with subprocess.Popen(["sleep", "600"], cwd=lab.path) as reader:
        lab.put("a", "22")
        done = lab.sync()
        assert done.snapshot == 2
        (waiting,) = done.pending_cleanup
        assert "cannot be destroyed yet" in waiting, waiting
        assert f"pid {reader.pid} (sleep)" in waiting, waiting
        with open(f"/proc/{reader.pid}/cwd/a", encoding="utf-8") as stream:
            assert stream.read() == "1", "the reader keeps what it saw"
        with open(f"{lab.path}/a", encoding="utf-8") as stream:
            assert stream.read() == "22"
        lab.put("a", "333")
        assert lab.sync().snapshot == 3, "what waits does not block"
        (left,) = lab.left()
        assert ".old." in left
        assert len(lab.recover()) == 1
        reader.kill()
    lab.put("a", "4444")
    after = lab.sync()
    assert any("destroyed" in line for line in after.recovered), after.recovered
    lab.clean()
    lab.destroy()
    return waiting


def sent_and_held() -> str:
    """A ``zfs send`` of the newest snapshot keeps it from being promoted, not from being replaced."""
    lab = Lab("sent")
    for name in range(4):
        with open(f"{lab.copy('wc')}/big{name}", "wb") as stream:
            stream.write(os.urandom(1 << 20))
    lab.sync()
    sh("zfs", "hold", "keep", f"{lab.live}@s1")
    reading, writing = os.pipe()
    with subprocess.Popen(["zfs", "send", f"{lab.live}@s1"], stdout=writing) as sender:
        os.close(writing)
        os.read(reading, 100)  # it is under way, and waits for us now
        lab.put("a", "1")
        done = lab.sync()
        (waiting,) = done.pending_cleanup
        assert "cannot be promoted yet" in waiting, waiting
        assert lab.published() == lab.local()
        lab.sound()
        lab.put("a", "22")
        second = lab.sync()
        assert second.snapshot == 3
        assert lab.published() == lab.local()
        while os.read(reading, 1 << 20):
            pass
        assert sender.wait() == 0
    os.close(reading)
    lab.recover()
    assert lab.recover() == []
    assert lab.snapshots() == ["s1", "s2", "s3"]
    left = lab.left()
    assert left == [f"a hold on {lab.live}@s1"], left
    sh("zfs", "release", "keep", f"{lab.live}@s1")
    lab.clean()
    lab.destroy()
    return waiting


def full_pool_and_quota() -> None:
    """No space: a clear error, everything as before, and the next sync works once there is some."""
    lab = Lab("full")
    lab.put("a", "1")
    lab.sync()
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(12 << 20))
    before = (lab.published(), lab.local(), lab.snapshots())
    sh("zfs", "set", "quota=5M", lab.live)
    lab.refused("DSG-SYSTEM", "EDQUOT")
    assert (lab.published(), lab.local(), lab.snapshots()) == before
    lab.clean()
    sh("zfs", "set", "quota=none", lab.live)
    free = int(sh("zfs", "list", "-Hp", "-o", "available", PARENT))
    sh("zfs", "create", "-o", f"refreservation={free - (6 << 20)}", "-u", "tank/filler")
    lab.refused("DSG-SYSTEM", "ENOSPC")
    assert (lab.published(), lab.local(), lab.snapshots()) == before
    lab.clean()
    sh("zfs", "destroy", "tank/filler")
    assert lab.sync().snapshot == 2
    lab.clean()
    lab.destroy()


def cost(rounds: int) -> dict[str, object]:
    """Time empty-handed transactions against the bare commands, and count the processes.

    Seconds are medians; ``transaction`` is from begin to commit, ``whole run`` with all around it.
    """
    lab = Lab("cost")
    lab.put("a", "1")
    lab.sync()
    told: dict[str, list[float]] = {"transaction": [], "whole run": [], "bare": []}
    started = 0
    for number in range(rounds):
        spent, started = _measured(lab, "2" * (number + 2))
        told["whole run"].append(spent["all"])
        told["transaction"].append(sum(spent[part] for part in _PARTS))
        told["bare"].append(_bare(number))
    lab.clean()
    lab.destroy()
    figures: dict[str, object] = {key: round(median(found), 2) for key, found in told.items()}
    figures["ratio"] = round(median(told["transaction"]) / median(told["bare"]), 2)
    figures["processes"] = started
    return figures


def commit_of(files: int, rounds: int) -> dict[str, object]:
    """Time the parts of syncs that change one file among many; medians in seconds."""
    lab = Lab(f"many{files}")
    for number in range(files):
        lab.put(f"d{number // 500}/f{number}", str(number))
    lab.sync()
    told: dict[str, list[float]] = {part: [] for part in _PARTS}
    started = 0
    for number in range(rounds):
        spent, started = _measured(lab, "2" * (number + 2))
        for part in _PARTS:
            told[part].append(spent[part])
    lab.destroy()
    figures: dict[str, object] = {part: round(median(found), 2) for part, found in told.items()}
    return {"files": files, **figures, "processes": started}


_PARTS = ("stage", "prepare", "commit", "apply")


def _measured(lab: Lab, content: str) -> tuple[dict[str, float], int]:
    """Sync one changed file; return the seconds of the parts and of all, and how many processes."""
    started = 0
    run = Runner.run

    def counting(runner: Runner, name: str, *arguments: str) -> str:
        nonlocal started
        started += 1
        return run(runner, name, *arguments)

    lab.put("a", content)
    Runner.run = counting  # type: ignore[method-assign]
    began = time.monotonic()
    spent = lab.sync().seconds
    whole = time.monotonic() - began
    Runner.run = run  # type: ignore[method-assign]
    return {**spent, "all": whole}, started


def _bare(number: int) -> float:
    """Return the seconds of the six commands that no transaction can do without."""
    base = f"{PARENT}/.dsg/bare"
    sh("zfs", "create", "-u", f"{base}{number}")
    script = f"""set -e
zfs snapshot {base}{number}@s1
zfs clone {base}{number}@s1 {base}-stage
zfs promote {base}-stage
zfs rename -u {base}{number} {base}-old
zfs rename -u {base}-stage {base}{number}
zfs destroy {base}-old"""
    began = time.monotonic()
    subprocess.run(["sh", "-c", script], check=True)
    spent = time.monotonic() - began
    sh("zfs", "destroy", "-r", f"{base}{number}")
    return spent

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log and blame over a thousand snapshots, beside git over as many commits of as many files."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .measure import Command, Options, compare

_CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

_ASK = """
import sys
core, base, job, options = sys.argv[1:]
sys.path.insert(0, core)
import json
from _core.backends.registry import open_repository
from _core.upkeep import jobs
repository = open_repository({"type": "directory", "base": base}, "bench")
json.dump(jobs.run(repository, job, json.loads(options)), sys.stdout)
"""
_LIMIT = 1.0  # seconds


def main(options: Options) -> None:
    """Print the tables."""
    files, snapshots = (2_000, 100) if options.quick else (20_000, 1_000)
    for changed in (20, 200):
        base = options.base / f"history-{files}x{snapshots}x{changed}"
        if not base.exists():
            unfinished = base.with_name(f"{base.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _build(unfinished, files, snapshots, changed)
            unfinished.rename(base)
            os.sync()
        _measure(
            base, f"{snapshots} snapshots of {files} files, {changed} changed in each", options
        )


def _measure(base: Path, title: str, options: Options) -> None:
    folder, path = "d000/", "d000/f00003/file-0007.dat"
    git = base / "git"
    medians = compare(
        title,
        {
            "log": _ours(base, "log", "{}"),
            "log, headers alone": _ours(base, "log", '{"counts": false}'),
            "log of a folder, with paths": _ours(
                base, "log", f'{{"paths": ["{folder}"], "with_paths": true}}'
            ),
            "log with all paths": _ours(base, "log", '{"with_paths": true}'),
            "blame of all files": _ours(base, "blame", "{}"),
            "blame of a folder": _ours(base, "blame", f'{{"paths": ["{folder}"]}}'),
            "versions of a file": _ours(base, "versions", f'{{"path": "{path}"}}'),
            "git log --raw": Command(["git", "log", "--raw", "--abbrev=64"], cwd=git),
            "git log --raw -- folder": Command(["git", "log", "--raw", "--", folder], cwd=git),
            "git log -- file": Command(["git", "log", "--raw", "--", path], cwd=git),
        },
        options.rounds,
    )
    ours = {name: run.seconds for name, run in medians.items() if not name.startswith("git")}
    slowest = max(ours, key=ours.__getitem__)
    verdict = "under" if ours[slowest] < _LIMIT else "NOT under"
    print(f"  all of ours {verdict} {_LIMIT:.0f} s; the slowest: {slowest}, {ours[slowest]:.3f} s")


def _ours(base: Path, job: str, arguments: str) -> Command:
    code = [sys.executable, "-I", "-S", "-c", _ASK]
    return Command([*code, str(_CORE), str(base), job, arguments])


def _build(base: Path, files: int, snapshots: int, changed: int) -> None:
    """Write what that many publications leave behind, by the core's own writers; no file contents."""
    sys.path.insert(0, str(_CORE))
    from _core.manifest import codec, delta
    from _core.manifest.codec import Manifest

    history = base / "bench" / ".dsg" / "history"
    history.mkdir(parents=True)
    (base / ".dsg").mkdir()
    (base / ".dsg" / "format.json").write_text('{"format": 1, "type": "directory"}\n')
    before: list[object] = []
    manifest: Manifest | None = None
    with _Git(base / "git") as git:
        for number, entries in enumerate(_states(files, snapshots, changed), 1):
            manifest = codec.build(
                entries,
                repository_id="0" * 32,
                repository="bench",
                snapshot=number,
                parent="" if manifest is None else manifest.header.id,
                txn=f"t{number}",
                created_at=f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z",
                created_by=f"user{number % 7}@host",
                message=f"publication {number}",
            )
            with (history / f"s{number}.jsonl").open("wb") as stream:
                stream.writelines(delta.write_delta(manifest.header, before, manifest.entries))
            git.commit(number, before, manifest.entries)
            before = list(manifest.entries)
    with (base / "bench" / ".dsg" / "manifest.jsonl").open("wb") as stream:
        stream.writelines(codec.write(manifest))


def _states(files: int, snapshots: int, changed: int) -> Iterator[list[object]]:
    """Yield the entries of each publication: some changed, and now and then one comes and goes."""
    from _core.manifest.entry import Entry

    source = random.Random(files)

    def entry(number: int, user: str) -> Entry:
        path = f"d{number // 1000:03d}/f{number // 50:05d}/file-{number % 50:04d}.dat"
        size, time = source.randint(1024, 16 * 1024), 10**18 + source.getrandbits(50)
        return Entry(path, "file", size, time, 0o644, f"{source.getrandbits(256):064x}", "", user)

    state = {number: entry(number, "user0") for number in range(files)}
    yield list(state.values())
    for snapshot in range(2, snapshots + 1):
        for number in source.sample(range(files), changed):
            state[number] = entry(number, f"user{snapshot % 7}")
        if snapshot % 10 == 0 and state.pop(snapshot, None) is None:
            state[snapshot] = entry(snapshot, "user1")
        yield list(state.values())


class _Git:
    """A bare repository with the same history; a file's content is its hash."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> _Git:
        subprocess.run(["git", "init", "-q", "--bare", str(self._place)], check=True)
        argv = ["git", "fast-import", "--quiet"]
        self._process = subprocess.Popen(argv, cwd=self._place, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.stdin.close()
        if self._process.wait() != 0:
            raise RuntimeError("git fast-import failed")
        subprocess.run(
            ["git", "symbolic-ref", "HEAD", "refs/heads/main"], cwd=self._place, check=True
        )

    def commit(self, number: int, before: list[object], after: list[object]) -> None:
        known = set(before)
        kept = {one.path for one in after}
        lines = [
            "commit refs/heads/main",
            f"committer user <user@host> {1767225600 + number} +0000",
            f"data <<END\npublication {number}\nEND",
        ]
        for one in before:
            if one.path not in kept:
                lines.append(f"D {one.path}")
        for one in after:
            if one not in known:
                lines.append(f"M 644 inline {one.path}\ndata 64\n{one.sha256}")
        self._process.stdin.write(("\n".join(lines) + "\n\n").encode())

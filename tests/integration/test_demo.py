# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo tells the story it promises, in words that a person reads."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.integration.playbooks import Core, cores
from tests.tools import environments
from tests.tools.collection import BIN, ROOT, Result, environment, run


def tell(core: Core, tmp_path: Path) -> Result:
    """Run the demo as `make demo` of README.md does, in a directory of its own."""
    tools = BIN
    if core.minor:
        python = environments.interpreters()[core.minor].path
        tools = environments.ensure(
            f".venv-python3.{core.minor}-{core.name}", python, core.requirements
        )
    env = plain(tmp_path)
    return run(
        [ROOT / "demo" / "run"],
        cwd=tmp_path,
        env={**env, "PATH": f"{tools}:{env['PATH']}", "TMPDIR": str(tmp_path)},
    )


def plain(tmp_path: Path) -> dict[str, str]:
    """Return an environment without anything of the user's own Ansible."""
    env = environment(tmp_path / "none", tmp_path / "home")
    return {name: value for name, value in env.items() if not name.startswith("ANSIBLE_")}


@pytest.mark.parametrize("core", cores(floor=False), ids=lambda core: core.name)
def test_the_demo_tells_its_story(core: Core, tmp_path: Path) -> None:
    done = tell(core, tmp_path)
    assert done.rc == 0, done
    said = done.stdout
    assert done.stderr == "", done
    assert re.findall(r"^=== (\d)\. ", said, re.M) == list("123456789")

    files = re.search(r"the tree has (\d+) files", said)
    assert files is not None
    assert int(files[1]) > 1000

    commands = re.findall(r"^  \$ ansible-playbook dsg\.storage\.(.*)$", said, re.M)
    words = ["provision", "init", "sync", "sync", "sync", "clone", "sync", "sync", "sync", "sync"]
    assert [command.split()[0] for command in commands] == [*words, "status", "verify"]
    assert commands[2] == "sync --limit alice --check --diff"

    dry, real = said.split("=== 3.")[1].split("=== 4.")[0], said.split("=== 4.")[1]
    shown = re.findall(r"^  \| ((?:upload|delete remote) .*)$", dry, re.M)
    assert [re.sub(r"\d+ (-> \d+ )?bytes", "N bytes", line) for line in shown] == [
        "upload         NEWS.txt (new, N bytes, mode 0644)",
        "upload         python/abc.py (changed, N bytes)",
        "delete remote  python/antigravity.py (deleted in the working copy)",
        "upload         python/csv.py (mode 0644 -> 0755)",
        "upload         python/news.txt (new, link to ../NEWS.txt)",
        "delete remote  python/this.py (deleted in the working copy)",
        "upload         python/zen.py (new, N bytes, mode 0644)",
    ]
    assert all(line in real.split("=== 5.")[0] for line in shown)

    conflict = said.split("=== 7.")[1].split("=== 8.")[0]
    assert "[DSG-CONFLICT] 1 path is in conflict" in conflict
    assert re.search(r"^  \|   python/bisect\.py \(111 all differ\)$", conflict, re.M)
    assert re.search(
        r"local:  \d+ bytes, mode 0644, sha256 [0-9a-f]{12}, .*by bob$", conflict, re.M
    )
    assert re.search(
        r"remote: \d+ bytes, mode 0644, sha256 [0-9a-f]{12}, .*by alice$", conflict, re.M
    )
    assert "the local version wins" in said.split("=== 8.")[1]

    table = said.split("=== 9.")[1]
    assert re.search(r"HOST +REPOSITORY +SNAPSHOT +PUBLISHED \(UTC\) +BY +STATE", table)
    assert re.search(r"alice +library +s4 .* in sync", table)
    assert re.search(r"bob +library +s4 .* 1 upload", table)

    (home,) = tmp_path.glob("dsg-demo-*")
    ending = said.split("Where to look now:")[1]
    assert str(home) in ending
    assert "docs/guide.md" in ending
    assert (ROOT / "docs" / "guide.md").is_file()
    for name in ("alice/library", "bob/library", "srv/dsg/library", "srv/dsg/.dsg/library"):
        assert name in ending
        assert (home / name).is_dir()
    assert sorted(path.name for path in (home / "srv/dsg/.dsg/library").iterdir()) == [
        "s1",
        "s2",
        "s3",
    ]

    block = ending.split("Go on by hand:")[1].split("Read on:")[0]
    by_hand = run(["sh", "-euc", textwrap.dedent(block)], cwd=tmp_path, env=plain(tmp_path))
    assert by_hand.rc == 0, by_hand
    assert "upload         NEWS.txt (changed," in by_hand.stdout


def test_without_ansible_the_demo_says_what_to_do(tmp_path: Path) -> None:
    env = {"PATH": "/nonexistent", "TMPDIR": str(tmp_path)}
    done = run([sys.executable, ROOT / "demo" / "run"], cwd=tmp_path, env=env)
    assert done.rc != 0
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []

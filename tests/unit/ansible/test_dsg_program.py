# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that ``dsg_program`` builds runs by itself, with nothing of this checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.dsg.storage.plugins.module_utils import _program
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import ArgumentError
from ansible_collections.dsg.storage.plugins.module_utils._core.program import main
from ansible_collections.dsg.storage.plugins.modules import dsg_program

from tests.unit.ansible.module_runner import ModuleFailedError, run_module


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "dsg-storage"
    path.write_bytes(_program.build(sys.executable))
    path.chmod(0o755)
    return path


def run(program: Path, *arguments: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(program), *arguments], input=said, capture_output=True, cwd="/", check=False
    )


def test_equal_sources_give_equal_bytes():
    assert _program.build("/usr/bin/python3") == _program.build("/usr/bin/python3")


def test_it_runs_compiled_code_and_another_python_its_sources(program: Path):
    """A file that was compiled by another Python is passed over, not a reason to fail."""
    magic, foreign = importlib.util.MAGIC_NUMBER, b"\x00\x01\r\n"
    with zipfile.ZipFile(program) as packed:
        names = set(packed.namelist())
        heads = {packed.read(name)[:4] for name in names if name.endswith(".pyc")}
    assert {f"{name}c" for name in names if name.endswith(".py")} < names
    assert heads == {magic}
    program.write_bytes(program.read_bytes().replace(magic, foreign))
    assert run(program).returncode == 2
    assert b"dsg-storage recover" in run(program).stderr


def test_whoever_is_to_run_it_may_pass_whatever_root_s_umask_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "chown", lambda *_unused: None)  # these tests need not be root's
    path = tmp_path / "local" / "libexec" / "dsg-storage"
    umask = os.umask(0o077)
    try:
        dsg_program.change(str(path), b"x")
    finally:
        os.umask(umask)
    for one in (path, path.parent, path.parent.parent):
        assert one.stat().st_mode & 0o7777 == 0o755


def test_an_interpreter_that_does_not_run_is_named():
    with pytest.raises(ArgumentError, match="/nowhere/python3"):
        _program.build("/nowhere/python3")


@pytest.mark.parametrize("arguments", [[], ["helper", "x"], ["recover", "-r"], ["--help"], ["run"]])
def test_other_words_are_refused_with_the_usage(program: Path, arguments: list[str]):
    done = run(program, *arguments)
    assert done.returncode == 2
    assert b"dsg-storage recover" in done.stderr
    assert done.stdout == b""


def test_an_ordinary_user_who_recovers_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main.main(["recover"]) == 2
    assert "run `sudo dsg-storage recover`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"not json",
        b'{"verb": "mount"}',
        b'{"verb": "sh", "parent": "tank/dsg", "name": "T"}',
        b'{"verb": "hello", "parent": "tank/dsg", "name": "T", "path": "/etc"}',
        b'{"verb": "hello", "parent": "tank/dsg", "name": ["T"]}',
        b'{"verb": "hello", "parent": "tank/dsg", "name": "../T"}',
        b'{"verb": "hello", "parent": "tank", "name": "T"}',
        b'{"verb": "hello", "parent": "-o", "name": "T"}',
        b'{"verb": "hello", "parent": "tank/dsg", "name": "T\\nx"}',
        b'{"verb": "unmount", "parent": "tank/dsg", "name": "T", "txn": "../../x"}',
        b'{"verb": "mount", "parent": "tank/dsg", "name": "T", "kind": "old", "txn": "x"}',
        b'{"verb": "hello", "parent": "' + b"x" * 5000 + b'", "name": "T"}',
    ],
)
def test_the_helper_refuses_whatever_is_not_one_of_its_requests(program: Path, line: bytes):
    helper = subprocess.Popen(
        [str(program), "helper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    )
    with helper:
        assert helper.stdin and helper.stdout
        helper.stdin.write(line + b"\n")
        helper.stdin.flush()
        answer = json.loads(helper.stdout.readline())
        helper.stdin.close()
    assert answer["error"]["code"] == "DSG-ARGUMENT"
    assert answer["error"]["next_step"]
    # For what it says itself, not because this host happens to have no configuration.
    assert answer["error"]["object"] != "/etc/dsg/helper.json"


def test_a_request_of_a_dead_process_is_not_obeyed(program: Path):
    done = run(program, "helper", said=b'{"verb": "release", "parent": "tank/dsg", "name": "T"}\n')
    assert b"waits for the answer" in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        {"path": "libexec/dsg-storage"},
        {"path": "/tmp/dsg storage"},
        {"path": "/tmp/dsg-storage"},
        {"interpreter": "python3"},
    ],
)
def test_places_that_others_can_write_are_refused(options: dict[str, str]):
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_program, check=True, **options)
    assert failed.value.result["error"]["code"] == "DSG-ARGUMENT"

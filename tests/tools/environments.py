# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python interpreters on this machine, and the virtual environments the project uses.

Runs under the system's Python, before anything is installed: standard library only.

    environments.py main      make .venv, unless it is there and its requirements are unchanged
    environments.py report    one line: which interpreters the tests use, which are absent here
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "tests"
MINORS = range(9, 15)  # the core runs on 3.9 and later; 3.14 is the newest that ansible-core names
MAIN_AT_LEAST = (3, 11)


class Interpreter(NamedTuple):
    """A Python that really runs: ``minor`` 13 and the full version for 3.13.0, and its path."""

    minor: int
    version: str
    path: str

    @property
    def name(self) -> str:
        return f"3.{self.minor}"


def interpreters() -> dict[int, Interpreter]:
    """Return the interpreters by minor version; real ones win over pyenv's shims."""
    found: dict[int, Interpreter] = {}
    for minor in MINORS:
        candidates = [shutil.which(f"python3.{minor}", path=path_without_shims())]
        candidates += sorted(glob.glob(_pyenv(f"3.{minor}.*")), reverse=True)
        for path in filter(None, candidates):
            interpreter = _try(str(path), minor)
            if interpreter is not None:
                found[minor] = interpreter
                break
    return found


def _pyenv(version: str) -> str:
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return os.path.join(root, "versions", version, "bin", "python3")


def _try(path: str, minor: int) -> Interpreter | None:
    """Return the interpreter if it runs, is that version and can make virtual environments."""
    script = "import ensurepip, platform, venv; print(platform.python_version())"
    done = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if done.returncode != 0 or not version.startswith(f"3.{minor}."):
        return None
    return Interpreter(minor, version, path)


def path_without_shims() -> str:
    """Return PATH without pyenv's shims, which exist for versions that do not run."""
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(part for part in parts if os.path.basename(part) != "shims")


def ensure(name: str, python: str, requirements: str) -> Path:
    """Return the ``bin`` folder of the environment ``name``, made or made anew where needed.

    An environment is kept as long as neither the interpreter nor the text of its requirements
    (tests/``requirements``) changes. Raises SystemExit with pip's output when pip fails.
    """
    venv = ROOT / name
    stamp = venv / "requirements.sha256"
    key = _key(python, requirements)
    with locked(f"{name}.lock"):
        if not (stamp.is_file() and stamp.read_text() == key):
            print(f"Setting up {name} from tests/{requirements}", file=sys.stderr, flush=True)
            _run([python, "-m", "venv", "--clear", str(venv)])
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install"]
            pip += ["--quiet", "--disable-pip-version-check"]
            _run([*pip, "--requirement", str(REQUIREMENTS / requirements)])
            stamp.write_text(key)
    return venv / "bin"


def _key(python: str, requirements: str) -> str:
    script = "import sys; print(sys.version, sys.base_prefix)"
    version = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    text = str(ROOT) + version.stdout + _with_included(requirements)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_included(requirements: str) -> str:
    text = (REQUIREMENTS / requirements).read_text()
    included = [line.split()[1] for line in text.splitlines() if line.startswith("-r ")]
    return text + "".join(_with_included(name) for name in included)


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")
        raise SystemExit(f"{output}\n{' '.join(argv)} failed with status {done.returncode}.")


@contextmanager
def locked(name: str, folder: Path = ROOT / ".cache" / "locks") -> Iterator[None]:
    """Hold the lock file ``folder/name``; the kernel lets go when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _main_environment() -> None:
    if sys.version_info[:2] < MAIN_AT_LEAST:
        here = ".".join(map(str, sys.version_info[:3]))
        at_least = ".".join(map(str, MAIN_AT_LEAST))
        raise SystemExit(
            f"{sys.executable} is Python {here}; ansible-core 2.19 needs {at_least} or newer. "
            f"Name one that is: make PYTHON=/path/to/python3 ..."
        )
    ensure(".venv", sys.executable, "requirements-main.txt")


def _report() -> None:
    found = interpreters()
    here = ", ".join(item.version for item in found.values())
    absent = ", ".join(f"3.{minor}" for minor in MINORS if minor not in found)
    print(f"Python interpreters tested: {here}; absent on this machine: {absent or 'none'}")


if __name__ == "__main__":
    if sys.argv[1:] == ["main"]:
        _main_environment()
    elif sys.argv[1:] == ["report"]:
        _report()
    else:
        raise SystemExit(__doc__)

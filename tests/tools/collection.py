# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as its users get it: a clean copy, the tarball, an installation of that.

    python -m tests.tools.collection build FOLDER      the tarball into FOLDER
    python -m tests.tools.collection install FOLDER    built, and installed into FOLDER
    python -m tests.tools.collection reference FOLDER  the pages about its modules, made from them

Runs in the main environment (.venv), whose ansible-galaxy it calls.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PLUGINS = Path(__file__).resolve().parent / "callback_plugins"


class Result(NamedTuple):
    """What a command did; ``tasks`` has one item per task result when it was a playbook.

    A task is a dict: ``play``, ``task``, ``action``, ``host``, ``status`` (ok, failed, skipped,
    unreachable), ``result`` (what the module returned). ``stats`` maps a host to its counts.
    """

    rc: int
    stdout: str
    stderr: str
    tasks: list[dict[str, Any]] = []
    stats: dict[str, dict[str, int]] = {}

    def __str__(self) -> str:
        return f"status {self.rc}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def must_succeed(self) -> Result:
        """Return the result itself; fail with everything it said unless the status is 0."""
        if self.rc != 0:
            raise AssertionError(str(self))
        return self


def run(
    argv: list[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Result:
    """Run a command to its end and return what it said; never raises for its status."""
    done = subprocess.run(
        [str(item) for item in argv],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def files() -> list[str]:
    """Return the repository's files as git sees them: tracked, or new and not ignored."""
    # The checkout may belong to another user than the one who runs the tests (root, in CI).
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT)]
    listed = run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ).must_succeed()
    names = sorted(set(listed.stdout.split("\0")) - {""})
    return [name for name in names if (ROOT / name).is_file()]


def clean_copy(parent: Path) -> Path:
    """Copy those files to ``parent``/ansible_collections/dsg/storage, a git repository of its own."""
    target = parent / "ansible_collections" / "dsg" / "storage"
    for name in files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    # ansible-test asks git which files there are.
    run(["git", "init", "--quiet"], cwd=target).must_succeed()
    run(["git", "add", "--all"], cwd=target).must_succeed()
    return target


def build(source: Path, folder: Path) -> Path:
    """Build the tarball from the clean copy ``source`` into ``folder`` and return its path."""
    argv = [BIN / "ansible-galaxy", "collection", "build", "--force", "--output-path", folder]
    run(argv, cwd=source, env=environment(folder)).must_succeed()
    (tarball,) = folder.glob("dsg-storage-*.tar.gz")
    return tarball


def install(tarball: Path, folder: Path) -> None:
    """Install the tarball into the collections path ``folder``, offline."""
    argv = [BIN / "ansible-galaxy", "collection", "install", "--offline", "-p", folder, tarball]
    run(argv, env=environment(folder)).must_succeed()


def environment(collections: Path, home: Path | None = None) -> dict[str, str]:
    """Return an environment in which Ansible knows only the collections in ``collections``.

    Nothing of the user's own Ansible (configuration, collections, ANSIBLE_* variables) counts;
    Ansible's own files go to ``home``.
    """
    home = home or collections / ".ansible"
    home.mkdir(parents=True, exist_ok=True)
    (home / "ansible.cfg").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = os.pathsep.join([str(BIN), env.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return {
        **env,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        # One ssh command for a task instead of four: they are dear on an emulated host.
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "LC_ALL": "C.UTF-8",
        "PATH": path,
    }


class InstalledCollection:
    """The collection, installed from its tarball: ``tarball``, ``collections`` (path), ``env``."""

    def __init__(self, tarball: Path, collections: Path) -> None:
        self.tarball = tarball
        self.collections = collections
        self.path = collections / "ansible_collections" / "dsg" / "storage"
        self.env = environment(collections, collections.parent / "ansible-home")

    def run(
        self, command: str, *arguments: str | Path, cwd: Path | None = None, **env: str
    ) -> Result:
        """Run one of Ansible's commands (``ansible-doc``, ...), with ``env`` on top of the usual."""
        return run([BIN / command, *arguments], cwd=cwd, env={**self.env, **env})

    def start(self, *arguments: str | Path, output: int) -> subprocess.Popen[bytes]:
        """Begin ``ansible-playbook`` in a session, and a process group, of its own.

        ``output`` is not a stream of ours: those may be non-blocking, and Ansible refuses such.
        """
        return subprocess.Popen(
            [BIN / "ansible-playbook", *arguments],
            env=self.env,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def playbook(self, *arguments: str | Path, cwd: Path | None = None, **env: str) -> Result:
        """Run ``ansible-playbook`` and return its plain output and every task's result.

        ``installed.playbook("dsg.storage.sync", "-i", inventory, "--check", "--diff")``
        """
        with tempfile.TemporaryDirectory(prefix="dsg-playbook-") as folder:
            results = Path(folder) / "results.json"
            collecting = {
                "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
                "ANSIBLE_CALLBACKS_ENABLED": "dsg_results",
                "DSG_RESULTS": str(results),
            }
            done = self.run("ansible-playbook", *arguments, cwd=cwd, **collecting, **env)
            # A syntax error ends Ansible before there are results.
            collected = json.loads(results.read_text()) if results.exists() else {}
        return done._replace(tasks=collected.get("tasks", []), stats=collected.get("stats", {}))


def reference(installed: InstalledCollection, folder: Path) -> None:
    """Write a page about every module, filter and role into ``folder``, and nothing else there."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = ["collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    argv += ["--output-format", "simplified-rst", "--cleanup", "everything"]
    argv += ["--no-add-antsibull-docs-version", "--dest-dir", str(folder), "dsg.storage"]
    installed.run("antsibull-docs", *argv, cwd=folder).must_succeed()


def _main(arguments: list[str]) -> None:
    if len(arguments) != 2 or arguments[0] not in ("build", "install", "reference"):
        raise SystemExit(__doc__)
    folder = Path(arguments[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dsg-build-") as name:
        scratch = Path(name)
        tarball = build(clean_copy(scratch), folder if arguments[0] == "build" else scratch)
        if arguments[0] == "build":
            print(tarball)
            return
        collections = folder if arguments[0] == "install" else scratch / "installed"
        install(tarball, collections)
        installed = InstalledCollection(tarball, collections)
        if arguments[0] == "reference":
            reference(installed, folder)
        print(folder if arguments[0] == "reference" else installed.path)


if __name__ == "__main__":
    _main(sys.argv[1:])

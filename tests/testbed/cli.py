# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of the test bed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

from . import build, state, store
from .bed import Bed, Host, host_names
from .store import BedError, cache, say


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="testbed", description="Virtual hosts with OpenZFS on loopback ports."
    )
    parser.add_argument("--bed", default="default", help="a group of hosts of its own")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, host: bool = False) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        if host:
            made.add_argument("host", metavar="HOST")
        return made

    made = verb("build", "make the guest and its saved state, if they are not in the cache")
    made.add_argument("--rebuild", action="store_true", help="from today's packages")
    made = verb("start", "bring up hosts; those that are off boot from their disks")
    made.add_argument("--hosts", type=int, default=1, metavar="N", help="host1 to hostN")
    made.add_argument("names", nargs="*", metavar="NAME", help="names of your own")
    made = verb("reset", "bring hosts back to the saved state, with empty disks")
    made.add_argument("names", nargs="*", metavar="HOST", help="only these")
    verb("stop", "end every host and delete its disks")
    verb("status", "show the image and the hosts")
    made = verb("ssh", "log in, or run a command inside", host=True)
    made.add_argument("--user", default="root", help="root, admin (sudo) or dsg (no rights)")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    made = verb("powercut", "pull the plug and boot again", host=True)
    made.add_argument("--off", action="store_true", help="leave it off")
    verb("reboot", "reboot in good order", host=True)
    verb("save", "keep memory and disks of a host", host=True).add_argument("name")
    verb("load", "bring back what was kept", host=True).add_argument("name")
    made = verb("inventory", "print an Ansible inventory of the hosts")
    made.add_argument("--user", default="root")
    verb("prune", "delete images that neither the present recipe nor a bed needs")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status is 0, 1 after an error, or that of the command inside."""
    options = _arguments().parse_args(argv)
    try:
        return _VERBS[options.verb](options, Bed(options.bed)) or 0
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _build(options: argparse.Namespace, bed: Bed) -> None:
    image = build.ensure(rebuild=options.rebuild)
    state.ensure(image)
    print(image.path)


def _start(options: argparse.Namespace, bed: Bed) -> None:
    for host in bed.start(options.names or host_names(options.hosts)):
        print(f"{host.name}: 127.0.0.1 port {host.port}")


def _reset(options: argparse.Namespace, bed: Bed) -> None:
    bed.reset(options.names)


def _stop(options: argparse.Namespace, bed: Bed) -> None:
    bed.stop()


def _status(options: argparse.Namespace, bed: Bed) -> None:
    image = build.find()
    if image is None:
        print("image: none yet (testbed build)")
    else:
        about = image.manifest
        mib = build.size(image.path) // 2**20
        print(f"image: Debian {about['debian']}, kernel {about['kernel']}, OpenZFS {about['zfs']}")
        print(f"built: {about['built_at']} in {about['seconds']} s; {mib} MiB in {image.path}")
    for host in bed.hosts():
        pid = host.machine.pid()
        what = f"running as process {pid}" if pid else "off"
        print(f"{host.name}: {what}, 127.0.0.1 port {host.port}")


def _ssh(options: argparse.Namespace, bed: Bed) -> None:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    words = bed.host(options.host).ssh_argv(*command, user=options.user)
    sys.stdout.flush()
    os.execvp(words[0], words)


def _power_cut(options: argparse.Namespace, bed: Bed) -> None:
    host = bed.host(options.host)
    host.power_cut()
    if not options.off:
        host.boot()


def _reboot(options: argparse.Namespace, bed: Bed) -> None:
    bed.host(options.host).reboot()


def _keep(options: argparse.Namespace, bed: Bed) -> None:
    host: Host = bed.host(options.host)
    (host.save if options.verb == "save" else host.load)(options.name)


def _inventory(options: argparse.Namespace, bed: Bed) -> None:
    print(json.dumps(bed.inventory(options.user), indent=2))


def _prune(options: argparse.Namespace, bed: Bed) -> None:
    newest = build.find()
    used = {newest.path} if newest else set()
    for record in (cache() / "beds").glob("*/bed.json"):
        used.add(cache() / json.loads(record.read_text(encoding="utf-8"))["image"])
    for folder in sorted((cache() / "images").glob("*")):
        with store.locked(folder / "lock"):
            for image in sorted(folder.glob("[0-9]*")):
                if image not in used:
                    say(f"deleting {image}")
                    shutil.rmtree(image)


_VERBS = {
    "build": _build,
    "start": _start,
    "reset": _reset,
    "stop": _stop,
    "status": _status,
    "ssh": _ssh,
    "powercut": _power_cut,
    "reboot": _reboot,
    "save": _keep,
    "load": _keep,
    "inventory": _inventory,
    "prune": _prune,
}

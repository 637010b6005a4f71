# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program in the place of a host's Python: it speaks as an agent does, and means harm.

evil_agent.py JSON: verb → its answer, or the name of something in :data:`EVIL`.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
sys.path.insert(0, str(CORE))

MIB = 1 << 20
NOISE = 100 * MIB
LAST_WORDS = "these were its last words"
ANSWERS = {"open": {"location": "/srv", "node": "evil"}, "lock": None, "unlock": None}


def interpreter(folder: Path, **answers: Any) -> str:
    """Make the program, as an interpreter for a destination."""
    path = folder / "evil"
    given = json.dumps({**ANSWERS, **answers}).replace("'", "'\\''")
    path.write_text(f"#!/bin/sh\nexec {sys.executable} {__file__} '{given}'\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def bomb(pipe: Any) -> None:
    """Say very little, which unpacks to a lot."""
    from _core.transport.frames import DATA, END, pack

    packer = zlib.compressobj()
    content = b"".join(packer.compress(bytes(MIB)) for _unused in range(1024)) + packer.flush()
    for start in range(0, len(content), MIB):
        pipe.write(pack(DATA, content[start : start + MIB]))
    pipe.write(pack(END, b""))


def endless(pipe: Any) -> None:
    """Send a stream that never ends."""
    from _core.transport.frames import DATA, pack

    packer = zlib.compressobj(0)
    while True:
        pipe.write(pack(DATA, packer.compress(os.urandom(MIB // 2))))


def endless_answer(pipe: Any) -> None:
    """Send an answer that never ends, and nothing in it."""
    from _core.transport.frames import DATA, pack

    while True:
        pipe.write(pack(DATA, b"") * 100_000)


def noise(_pipe: Any) -> None:
    """Write a lot to standard error, and end."""
    for _unused in range(NOISE // MIB):
        os.write(2, b"noise \x1b[2J" * (MIB // 10))
    os.write(2, f"\n{LAST_WORDS}\n".encode())
    sys.exit(1)


EVIL: dict[str, Callable[[Any], None]] = {
    one.__name__: one for one in (bomb, endless, endless_answer, noise)
}


def main(answers: dict[str, Any]) -> None:
    """Answer until the channel ends."""
    from _core.transport import boot, frames
    from _core.transport.pipe import FdPipe

    pipe = FdPipe(0, 1)
    pipe.read_line(1000)
    if "start" in answers:
        EVIL[answers["start"]](pipe)
    pipe.write(b"\n" + boot.MARK + boot.READY + b"\n")
    while (frame := frames.read_frame(pipe)) is not None:
        if frame.kind != frames.CALL:
            continue
        answer = answers[json.loads(frame.payload)["do"]]
        if isinstance(answer, str) and answer in EVIL:
            EVIL[answer](pipe)
        if isinstance(answer, dict) and "failure" in answer:
            pipe.write(frames.pack(frames.FAILURE, json.dumps(answer["failure"]).encode()))
        else:
            frames.send_answer(pipe, json.dumps(answer).encode())


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except BrokenPipeError:  # whom it spoke to has heard enough
        sys.exit(1)

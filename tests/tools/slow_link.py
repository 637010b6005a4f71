# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A narrow link to a host: an ssh ProxyCommand that lets through so many bytes in a second.

python slow_link.py HOST PORT BYTES_PER_SECOND
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

_PART = 1 << 16


def main(host: str, port: int, rate: int) -> None:
    """Relay until either side ends."""
    with socket.create_connection((host, port)) as link:
        # Little may wait in between: what ssh could write counts as sent.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PART)
        threading.Thread(target=_back, args=(link,), daemon=True).start()
        while part := os.read(0, _PART):
            link.sendall(part)
            time.sleep(len(part) / rate)


def _back(link: socket.socket) -> None:
    while part := link.recv(_PART):
        while part:
            part = part[os.write(1, part) :]
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

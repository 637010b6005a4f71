# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The digest of a tree: equal for equal published content, wherever and by whom it was published."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from json.encoder import encode_basestring

from .entry import FILE, LINK, Entry

_BATCH = 4096


def tree_digest(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 (hex) of the canonical lines of ``entries``, which are sorted by path.

    A line is JSON with sorted keys: ``{"mode","path","sha256","type"}`` of a file,
    ``{"path","target","type"}`` of a link, ``{"path","type"}`` of an empty directory. User,
    modification time and size are left out: they do not change what is published.
    """
    digest = sha256()
    lines = []
    quote = encode_basestring
    for path, kind, _size, _mtime, mode, content, target, _user in entries:
        if kind == FILE:
            lines.append(
                f'{{"mode":"0{mode:03o}","path":{quote(path)},'
                f'"sha256":"{content}","type":"file"}}\n'
            )
        elif kind == LINK:
            lines.append(f'{{"path":{quote(path)},"target":{quote(target)},"type":"symlink"}}\n')
        else:
            lines.append(f'{{"path":{quote(path)},"type":"directory"}}\n')
        if len(lines) >= _BATCH:
            digest.update("".join(lines).encode())
            lines.clear()
    digest.update("".join(lines).encode())
    return digest.hexdigest()

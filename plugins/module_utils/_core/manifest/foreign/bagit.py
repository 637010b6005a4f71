# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tag files of BagIt 1.0 (RFC 8493): payload manifest, tag manifest, bag declaration and info.

The files alone, as text; :mod:`.bag_write` and :mod:`.bag_read` are for whole bags on disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Callable

from ...errors import ArgumentError, ManifestError
from ..entry import FILE, Entry
from .partial import Partial, decode, finish, malformed

FIELDS = frozenset(("sha256",))

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PAYLOAD = "data/"
"""What every path of a payload manifest starts with."""
OXUM = "Payload-Oxum"
"""The label under which bag-info.txt gives "bytes.files" of the payload."""

_CHECK = re.compile(rb"([0-9a-fA-F]{64})[ \t]+(.+)", re.S)
_ENCODED = re.compile("%(0A|0D|25)", re.I)
_LABEL = re.compile(r"[^\s:][^:\x00-\x1f\x7f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def encode_path(path: str) -> str:
    """Percent-encode what RFC 8493 says, and only that: CR, LF and the percent sign."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def decode_path(text: str) -> str:
    """Undo :func:`encode_path`; other percent signs stay."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), text)


def dump(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the payload manifest; links and directories are left out (``unexpressed``)."""
    for entry in entries:
        if entry.kind == FILE:
            yield f"{entry.sha256}  {PAYLOAD}{encode_path(entry.path)}\n".encode()


def parse(file: BinaryIO, name: str) -> Partial:
    """Read a payload manifest; paths are given as they are beneath ``data/``.

    It may be empty: the bag declaration beside it tells that nothing is lost.
    Raises :class:`ManifestError` with the number of the line.
    """
    return read_manifest(file.read(), name, decode_path)


def read_manifest(data: bytes, name: str, decoded: Callable[[str], str]) -> Partial:
    """Read a payload manifest; ``decoded`` turns a path as written into the path meant."""
    entries: list[Entry] = []
    numbers: dict[str, int] = {}
    for number, content, written in checks(data, name):
        if not written.startswith(PAYLOAD):
            raise malformed(number, "the path is not in data/", name)
        path = decoded(written[len(PAYLOAD) :])
        numbers[path] = number
        entries.append(Entry(path, FILE, 0, 0, 0, content, "", ""))
    return finish(entries, numbers, name, Partial([], frozenset((FILE,)), FIELDS))


def checks(data: bytes, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, hash, path as written) of a payload or tag manifest."""
    for number, line in _lines(data):
        found = _CHECK.fullmatch(line)
        if found is None or b"\0" in line:
            raise malformed(number, "not a line of a manifest: hash, space, path", name)
        path = decode(found[2], number, name)
        yield number, found[1].decode().lower(), path[2:] if path.startswith("./") else path


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines, which may end in LF, CR or both."""
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    yield from enumerate(lines, 1)


def check_declaration(data: bytes, name: str) -> None:
    """Raise :class:`ManifestError` unless ``data`` declares a bag that can be read here."""
    tags = read_tags(data, name)
    version = tags.get("BagIt-Version", "")
    if version not in ("0.93", "0.94", "0.95", "0.96", "0.97", "1.0"):
        raise ManifestError(f"BagIt version {ascii(version)[:40]} is not known", object=name)
    encoding = tags.get("Tag-File-Character-Encoding", "")
    if encoding.upper() != "UTF-8":
        raise ManifestError(f"the tag files are in {ascii(encoding)[:40]}, not UTF-8", object=name)


def read_tags(data: bytes, name: str) -> dict[str, str]:
    """Return the tags of bagit.txt or bag-info.txt; of a repeated one the last."""
    tags: dict[str, str] = {}
    label = ""
    for number, line in _lines(data):
        text = decode(line, number, name)
        if label and text.startswith((" ", "\t")):
            tags[label] += " " + text.strip()
            continue
        label, colon, value = text.partition(":")
        label = label.strip()
        if not text.strip():
            continue
        if not colon or not label:
            raise malformed(number, "not a line of the form label: value", name)
        tags[label] = value.strip()
    return tags


def encode_info(info: Mapping[str, str], files: int, size: int) -> bytes:
    """Return bag-info.txt: the tags of ``info`` and the payload's ``size`` in bytes and files.

    Raises :class:`ArgumentError` for a label or value that would not be read back as it is.
    """
    for label, value in info.items():
        plain = _LABEL.fullmatch(label) and not _CONTROL.search(value)
        if not plain or value != value.strip() or label != label.strip() or label == OXUM:
            raise ArgumentError(
                "cannot be a tag of a bag: no control characters, no colon "
                f"in the label, no spaces around, and not {OXUM}",
                object=label,
            )
    tags = {**info, OXUM: f"{size}.{files}"}
    return "".join(f"{label}: {value}\n" for label, value in tags.items()).encode()

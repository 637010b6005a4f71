# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input: every kind is refused with its code and its object, and nothing changes anywhere.

``Site.refused`` compares pictures (content and stat of everything on both sides) before and after.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from _core.client.transaction import ClientTransaction
from _core.errors import DsgError
from _core.manifest import codec
from _core.manifest import header as headers
from _core.manifest.digest import tree_digest
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.header import Header
from _core.manifest.lines import encode_entries
from _core.sync.engine import run
from _core.sync.recovery import preview, recover
from _core.sync.status import inspect
from _core.sync.verify import verify_repository

from tests.integration.children import (
    ANY_FLAG,
    EXCHANGE,
    Killed,
    become,
    in_child,
    without_renameat2,
)
from tests.integration.support import (
    EMPTY,
    Link,
    Site,
    make,
    picture,
    provision,
    put,
    read,
    refused,
    site,
)

__all__ = ["site"]

TREE = {"a": "a", "d/b": "bb", "d/c": "ccc", "l": Link("a"), "e": EMPTY}
NOBODY = 65534


def published(site: Site) -> tuple[str, str]:
    """Publish a tree twice; return two working copies, the second one a snapshot behind."""
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(ann, "a", "second")
    site.sync(ann)
    return ann, bob


def refused_everywhere(site: Site, code: str, src: str, **options) -> DsgError:
    """Refuse in check mode, in a run and where something asks for the status."""
    request = site.request(src, **options)
    refused(site, code, lambda: inspect(request))
    refused(site, code, lambda: run(request._replace(check=True)))
    return refused(site, code, lambda: run(request))


def refused_run_or_check(site: Site, code: str, src: str, **options) -> DsgError:
    request = site.request(src, **options)
    refused(site, code, lambda: run(request._replace(check=True)))
    return refused(site, code, lambda: run(request))


# --- manifests that are missing or damaged ---


def rewrite(path: str, change: Callable[[bytes], bytes]) -> None:
    with open(path, "rb") as stream:
        content = stream.read()
    changed = change(content)
    assert changed != content
    with open(path, "wb") as stream:
        stream.write(changed)


def flip(position: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        index = int(len(content) * position)
        return content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]

    return change


def lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "not a manifest": lambda content: b"hello\n",
    "other json": lambda content: b"[1]\n",
    "version 2": lambda content: content.replace(b'"format":1', b'"format":2', 1),
    "version a": lambda content: content.replace(b'"format":1', b'"format":"a"', 1),
    "cut in the header": lambda content: content[:40],
    "header flipped": flip(0.01),
    "snapshot renumbered": lambda content: re.sub(rb'"snapshot":\d', b'"snapshot":9', content),
}
BODY_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut behind the header": lambda content: lines(content)[0],
    "cut in a line": lambda content: content[:-20],
    "last line gone": lambda content: b"".join(lines(content)[:-1]),
    "line twice": lambda content: content + lines(content)[-1],
    "lines swapped": lambda content: b"".join([*lines(content)[:1], *reversed(lines(content)[1:])]),
    "last line flipped": flip(0.999),
    "user flipped": lambda content: content.replace(b'"user":"ann"', b'"user":"bnn"', 1),
    "binary tail": lambda content: content + b"\xff\xfe\n",
}


@pytest.mark.parametrize("damage", [*DAMAGE, "missing", "a directory"])
@pytest.mark.parametrize("side", ["remote", "cache"])
def test_a_header_that_cannot_be_read_is_never_an_empty_manifest(site, side, damage):
    ann, bob = published(site)
    spoil(record(site, side, ann), damage)
    error = refused_everywhere(site, code_of(damage), ann)
    assert error.object == record(site, side, ann)
    put(ann, "a", "something to do")
    refused_everywhere(site, code_of(damage), ann)
    if side == "remote":
        refused_everywhere(site, code_of(damage), bob)
        refused_everywhere(site, code_of(damage), bob, direction="pull")
        refused_run_or_check(site, code_of(damage), site.copy("new"))
        assert not os.path.exists(site.copy("new"))
        found_damaged(site)


@pytest.mark.parametrize("damage", BODY_DAMAGE)
@pytest.mark.parametrize("side", ["remote", "cache"])
def test_entries_that_are_damaged_stop_whatever_needs_them(site, side, damage):
    ann, bob = published(site)
    behind = ann if side == "remote" else bob
    rewrite(record(site, side, behind), BODY_DAMAGE[damage])
    put(behind, "a", "something to do")
    for direction in ("both", "push", "pull"):
        error = refused_everywhere(site, "DSG-MANIFEST", behind, direction=direction)
        assert error.object == record(site, side, behind)
        assert "never taken for empty" in error.next_step
    if side == "remote":
        refused_run_or_check(site, "DSG-MANIFEST", site.copy("new"))
        found_damaged(site)


def found_damaged(site: Site) -> None:
    """Verification tells of the manifest, and still checks the tree: the history says what it was."""
    before = site.picture()
    found = verify_repository(site.name, site.backend)
    assert site.picture() == before
    assert not found.sound
    assert {(one["path"], one["what"]) for one in found.problems} == {
        (".dsg/manifest.jsonl", "manifest")
    }
    assert [(tree["live"], tree["checked"]) for tree in found.trees] == [(True, True)]


def record(site: Site, side: str, src: str) -> str:
    if side == "remote":
        return os.path.join(site.live, ".dsg", "manifest.jsonl")
    return os.path.join(src, ".dsg", "repositories", site.key, "manifest.jsonl")


def spoil(path: str, damage: str) -> None:
    if damage == "missing":
        os.unlink(path)
    elif damage == "a directory":
        os.unlink(path)
        os.mkdir(path)
    else:
        rewrite(path, DAMAGE[damage])


def code_of(damage: str) -> str:
    return "DSG-SYSTEM" if damage == "a directory" else "DSG-MANIFEST"


def test_an_unknown_version_names_the_version(site):
    ann, _unused = published(site)
    spoil(record(site, "remote", ann), "version 2")
    error = refused_everywhere(site, "DSG-MANIFEST", ann)
    assert "version 2" in error.message
    assert "only version 1" in error.message


def test_a_missing_record_of_the_last_sync_says_how_to_start_over(site):
    ann, _unused = published(site)
    os.unlink(record(site, "cache", ann))
    error = refused_everywhere(site, "DSG-MANIFEST", ann)
    assert "conflicts, and nothing is deleted" in error.next_step
    shutil.rmtree(os.path.dirname(record(site, "cache", ann)))
    put(ann, "a", None)
    put(ann, "d/b", "other")
    error = site.refused("DSG-CONFLICT", ann)
    assert [line.split(" ")[0] for line in error.details if line[0] != " "] == ["d/b"]
    site.sync(ann, conflict="local")
    assert read(ann)["a"] == "second"


# --- manifests that were written to do harm ---


def file(path: str) -> Entry:
    return Entry(path, FILE, 1, 0, 0o644, "a" * 64, "", "eve")


HOSTILE: dict[str, list[Entry]] = {
    "parent": [file("../evil")],
    "parent inside": [file("d/../../evil")],
    "absolute": [file("/tmp/dsg-evil")],
    "dot": [file("./a")],
    "doubled slash": [file("d//a")],
    "trailing slash": [file("d/")],
    "nul": [file("a\0b")],
    "line feed": [file("a\nb")],
    "direction": [file("a\u202egpj.exe")],
    "not normal": [file("e\u0301")],
    "duplicate": [file("a"), file("a")],
    "file and directory": [file("a"), file("a/b")],
    "case": [file("README"), file("readme")],
    "case of a directory": [file("D/x"), file("d/y")],
    "long component": [file("x" * 256)],
    "long path": [file("/".join(["y" * 200] * 21))],
    "metadata": [file(".dsg/journal")],
    "metadata by case": [file(".DSG/journal")],
    "metadata deep": [file("d/.zfs/x")],
    "link to the parent": [Entry("l", LINK, 0, 0, 0, "", "../evil", "eve")],
    "link out of a directory": [Entry("d/l", LINK, 0, 0, 0, "", "../../evil", "eve")],
    "link to an absolute path": [Entry("l", LINK, 0, 0, 0, "", "/etc/passwd", "eve")],
    "link through a name": [Entry("l", LINK, 0, 0, 0, "", "d/../../evil", "eve")],
    "link into the metadata": [Entry("l", LINK, 0, 0, 0, "", ".dsg/index", "eve")],
    "link below a link": [Entry("l", LINK, 0, 0, 0, "", "d", "eve"), file("l/x")],
    "filled directory": [Entry("d", DIRECTORY, 0, 0, 0, "", "", "eve"), file("d/x")],
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("side", ["remote", "cache"])
def test_hostile_manifests_are_refused_before_anything_is_touched(site, side, hostile):
    """They are sealed as a valid manifest is: only the rules for paths and links stand in the way."""
    ann, bob = published(site)
    behind = ann if side == "remote" else bob
    path = record(site, side, behind)
    with open(path, "rb") as stream:
        header = codec.read(stream, path).header
    entries = [file("z"), *HOSTILE[hostile]]
    forged = forge(header, entries)
    rewrite(path, lambda _unused: forged)
    put(behind, "a", "something to do")
    error = refused_everywhere(site, "DSG-MANIFEST", behind)
    assert error.object == path
    if side == "remote":
        refused_run_or_check(site, "DSG-MANIFEST", site.copy("new"))
        refused_everywhere(site, "DSG-MANIFEST", behind, direction="pull", conflict="remote")
        found_damaged(site)
    assert not os.path.lexists("/tmp/dsg-evil")


def forge(header: Header, entries: list[Entry]) -> bytes:
    """Return a manifest whose every digest is right, as only somebody hostile would write it."""
    ordered = sorted(entries)
    lines = b"".join(encode_entries(ordered))
    kinds = [entry.kind for entry in ordered]
    forged = header._replace(
        files=kinds.count(FILE),
        links=kinds.count(LINK),
        directories=kinds.count(DIRECTORY),
        bytes=sum(entry.size for entry in ordered),
        digest=tree_digest(ordered),
        body=sha256(lines).hexdigest(),
    )
    return headers.encode(headers.seal(forged)) + lines


def test_a_forged_manifest_cannot_bring_files_that_are_not_there(site):
    ann, _unused = published(site)
    path = record(site, "remote", ann)
    header = site.manifest().header
    rewrite(path, lambda _unused: forge(header, [file("a"), file("invented")]))
    new = site.copy("new")
    request = site.request(new)
    before = site.picture()
    with pytest.raises(DsgError) as caught:
        run(request)
    assert caught.value.code == "DSG-DRIFT"
    assert read(new) == {}
    assert {name: seen for name, seen in site.picture().items() if name != "new"} == before


# --- links that leave the tree ---


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "../x"),
        ("l", ".."),
        ("l", "/etc/passwd"),
        ("l", "//a"),
        ("d/m", "../../x"),
        ("d/m", "../c/../../../x"),
        ("l", "d/../../x"),
        ("l", "a/.."),
        ("l", ".dsg/lock"),
        ("d/m", "../.DSG/lock"),
        ("l", "a\u202eb"),
        ("l", "new\nline"),
    ],
)
def test_links_that_leave_the_tree(site, path, target):
    ann, _unused = published(site)
    put(ann, path, Link(target))
    error = refused_everywhere(site, "DSG-PATH", ann)
    assert any(line.startswith(f"{path!r} -> ") for line in error.details)
    other = site.copy("other", {path: Link(target)})
    fresh = Site(site.root, "second")
    fresh.refused("DSG-PATH", other)


@pytest.mark.parametrize("target", ["d", "d/b", "./a", ".", "d/", "nowhere/yet"])
def test_links_that_stay_are_published_as_they_are(site, target):
    ann = site.copy("ann", {**TREE, "good": Link(target)})
    site.sync(ann)
    assert read(site.live)["good"] == Link(target)


# --- special files, unreadable files, names ---


def make_socket(path: str) -> None:
    here = os.getcwd()
    os.chdir(os.path.dirname(path))  # a socket's path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.basename(path))
    finally:
        os.chdir(here)


SPECIAL: dict[str, Callable[[str], None]] = {
    "a fifo": os.mkfifo,
    "a socket": make_socket,
    "a device node": lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
    "a device node (block)": lambda path: os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 0)),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("path", ["special", "d/special", "a", ".dsgignore"])
def test_special_files_in_the_working_copy(site, kind, path):
    ann, _unused = published(site)
    put(ann, path, None)
    SPECIAL[kind](os.path.join(ann, path))
    error = refused_everywhere(site, "DSG-TREE", ann)
    told = " ".join([error.object or "", *error.details])
    assert path in told
    assert path == ".dsgignore" or kind.partition(" (")[0] in told


def test_special_files_that_are_ignored_do_not_matter(site):
    ann, _unused = published(site)
    os.mkfifo(os.path.join(ann, "pipe"))
    assert not site.sync(ann, ignore=("pipe",)).changed


def test_everything_that_is_wrong_with_a_tree_is_told_at_once(site):
    ann, _unused = published(site)
    os.mkfifo(os.path.join(ann, "pipe"))
    put(ann, "l", Link("../x"))
    os.mkdir(os.path.join(ann.encode(), b"d", b"\xff"))
    error = refused_everywhere(site, "DSG-PATH", ann)
    for found in ("pipe", "'l' -> '../x'", "not valid UTF-8"):
        assert any(found in line for line in error.details), found


@pytest.mark.parametrize("name", [b"\xff", b"d/\xc3\x28", b"\xed\xa0\x80", b"new-\xfe/x"])
def test_names_that_are_not_utf8(site, name):
    ann, _unused = published(site)
    full = os.path.join(ann.encode(), name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb"):
        pass
    error = refused_everywhere(site, "DSG-PATH", ann)
    assert any("not valid UTF-8" in line for line in error.details)
    assert "\n".join(error.details).isprintable() or "\n" in "\n".join(error.details)
    str(error).encode()  # what the user sees can be printed


@pytest.mark.parametrize(
    "names",
    [["A", "a2", "A2"], ["new\nline"], ["tab\t"], ["\u202e"], ["e\u0301"], ["d/.zfs/x"], ["D/x"]],
)
def test_names_that_break_the_rules(site, names):
    ann, _unused = published(site)
    make(ann, dict.fromkeys(names, "x"))
    refused_everywhere(site, "DSG-PATH", ann)


def test_a_path_that_is_too_long(site):
    ann, _unused = published(site)
    here = os.open(ann, os.O_RDONLY)
    for _unused in range(18):
        os.mkdir("y" * 250, dir_fd=here)
        below = os.open("y" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    request = site.request(ann)
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            run(request._replace(check=check))
        assert caught.value.code == "DSG-TREE"
        assert "File name too long" in caught.value.details[0]
    assert site.manifest().header.snapshot == 2
    site.check_sound()
    site.check_tidy(ann)


@pytest.fixture
def open_site() -> Iterator[Site]:
    """A site that another user can reach: pytest's own directories are closed to others."""
    root = tempfile.mkdtemp(prefix="dsg-test-")
    os.chmod(root, 0o755)
    yield Site(root)
    shutil.rmtree(root)


def give(root: str, uid: int) -> None:
    for directory, _unused, names in os.walk(root):
        for name in [directory, *(os.path.join(directory, name) for name in names)]:
            os.chown(name, uid, uid, follow_symlinks=False)


def as_nobody(site: Site, code: str, src: str, **options) -> DsgError:
    """Be refused as an ordinary user, in check mode and in a run."""
    request = site.request(src, **options)
    refused(
        site,
        code,
        lambda: in_child(lambda: run(request._replace(check=True)), before=become(NOBODY)),
    )
    return refused(site, code, lambda: in_child(lambda: run(request), before=become(NOBODY)))


@pytest.mark.parametrize("path", ["a", "d/c", "d"])
@pytest.mark.parametrize("mode", [0o000, 0o200])
def test_files_and_directories_that_cannot_be_read(open_site, path, mode):
    site = open_site
    ann, _unused = published(site)
    give(site.root, NOBODY)
    full = os.path.join(ann, path)
    os.utime(full, (1, 1))  # else the index would know the file without reading it
    os.chmod(full, mode)
    error = as_nobody(site, "DSG-TREE", ann)
    assert any(repr(path) in line and "cannot be read" in line for line in error.details)


def test_a_new_file_that_cannot_be_read(open_site):
    """Nothing is known of it, so that only copying it would read it."""
    site = open_site
    ann, _unused = published(site)
    put(ann, "new", "n")
    give(site.root, NOBODY)
    os.chmod(os.path.join(ann, "new"), 0)
    request = site.request(ann)
    for asked in (request._replace(check=True), request):
        with pytest.raises(DsgError) as caught:
            in_child(lambda asked=asked: run(asked), before=become(NOBODY))
        assert caught.value.code in ("DSG-TREE", "DSG-SYSTEM")
        assert "new" in str(caught.value)
    assert site.manifest().header.snapshot == 2
    site.check_sound()
    site.check_tidy(ann)


@pytest.mark.parametrize("where", ["working copy", "container", "base"])
def test_places_where_an_ordinary_user_may_not_write(open_site, where):
    site = open_site
    ann, _unused = published(site)
    put(ann, "a", "third")
    give(site.root, NOBODY)
    closed = {"working copy": ann + "/.dsg", "container": site.layout.container, "base": site.base}
    os.chown(closed[where], 0, 0)
    os.chmod(closed[where], 0o755)
    request = site.request(ann)
    error = refused(
        site, "DSG-SYSTEM", lambda: in_child(lambda: run(request), before=become(NOBODY))
    )
    assert "EACCES" in error.message
    assert error.object


def test_the_container_of_root_is_closed_to_others(open_site):
    site = open_site
    ann, _unused = published(site)
    put(ann, "a", "third")
    give(ann, NOBODY)
    error = as_nobody(site, "DSG-RIGHTS", ann)
    assert site.layout.container in str(error.object)
    assert "`owner: nobody`" in error.next_step


def test_files_of_another_owner_cannot_be_linked_and_the_error_says_whose_role_it_is(open_site):
    with open("/proc/sys/fs/protected_hardlinks") as stream:
        assert stream.read().strip() == "1", "the kernel's default"
    site = open_site
    ann, _unused = published(site)
    put(ann, "a", "third")
    give(site.root, NOBODY)
    os.chown(os.path.join(site.live, "d/c"), 0, 0)
    error = refused(
        site,
        "DSG-SYSTEM",
        lambda: in_child(lambda: run(site.request(ann)), before=become(NOBODY)),
    )
    assert error.object == "d/c"
    assert "role repository" in error.next_step


# --- files that change while they are read ---

LARGE = 9 * 1024 * 1024


class WhileRead:
    """Does something to a file once, when its content is first read (or just before)."""

    def __init__(self, path: str, change: Callable[[str], None]) -> None:
        self.path = os.path.realpath(path)
        self.change = change
        self.done = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("read", "readv", "preadv", "copy_file_range"):
            patch.setattr(os, name, self.guard(getattr(os, name)))

    def guard(self, call: Callable[..., object]) -> Callable[..., object]:
        def guarded(fd: int, *args: object) -> object:
            result = call(fd, *args)
            if not self.done and os.path.realpath(f"/proc/self/fd/{fd}") == self.path:
                self.done = True
                self.change(self.path)
            return result

        return guarded


def append(path: str) -> None:
    with open(path, "ab") as stream:
        stream.write(b"more")


def overwrite(path: str) -> None:
    with open(path, "r+b") as stream:
        stream.write(b"X")


def overwrite_and_restore_time(path: str) -> None:
    found = os.stat(path)
    overwrite(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def save_anew(path: str) -> None:
    with open(path + "~", "wb") as stream:
        stream.write(b"saved by an editor")
    os.rename(path + "~", path)


CHANGES: dict[str, Callable[[str], None]] = {
    "grows": append,
    "shrinks": lambda path: os.truncate(path, 1),
    "changes": overwrite,
    "changes, its time restored": overwrite_and_restore_time,
    "vanishes": os.unlink,
    "is saved anew": save_anew,
    "changes its mode": lambda path: os.chmod(path, 0o600),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("known", ["known", "new"])
def test_a_file_that_changes_while_it_is_read(site, monkeypatch, known, size, change):
    """A known file is read to hash it, a new one to copy it; a large one in other ways."""
    ann, _unused = published(site)
    name = "a" if known == "known" else "new"
    put(ann, name, "x" * size)
    request = site.request(ann)
    before = other_than(site, name)
    hook = WhileRead(os.path.join(ann, name), CHANGES[change])
    with monkeypatch.context() as patch:
        hook.install(patch)
        with pytest.raises(DsgError) as caught:
            run(request)
    assert hook.done
    assert caught.value.code == "DSG-SOURCE-CHANGED"
    assert caught.value.object == name
    assert other_than(site, name) == before
    site.check_tidy(ann)
    site.check_sound()
    site.sync(ann)  # when it is quiet again
    assert read(site.live) == read(ann)


def other_than(site: Site, name: str) -> dict[str, object]:
    return {
        f"{side}/{path}": seen
        for side, found in site.picture().items()
        for path, seen in found.items()
        if path != name
    }


@pytest.mark.parametrize("change", ["grows", "shrinks", "changes", "vanishes"])
def test_a_file_that_changes_between_the_scan_and_the_copy(site, monkeypatch, change):
    ann, _unused = published(site)
    put(ann, "new", "x" * 10)
    before = other_than(site, "new")
    real = os.mkdir

    def mkdir(path, *args, **options):
        if ".stage." in str(path) and os.path.exists(os.path.join(ann, "new")):
            CHANGES[change](os.path.join(ann, "new"))
        real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        with pytest.raises(DsgError) as caught:
            run(site.request(ann))
    assert caught.value.code == "DSG-SOURCE-CHANGED"
    assert caught.value.object == "new"
    assert other_than(site, "new") == before


@pytest.mark.parametrize("change", ["grows", "shrinks", "changes"])
@pytest.mark.parametrize("size", [10, LARGE])
def test_a_published_file_that_changes_while_it_is_fetched(site, monkeypatch, change, size):
    ann, bob = published(site)
    put(ann, "a", "x" * size)
    site.sync(ann)
    before = picture(bob)
    hook = WhileRead(os.path.join(site.live, "a"), CHANGES[change])
    with monkeypatch.context() as patch:
        hook.install(patch)
        with pytest.raises(DsgError) as caught:
            run(site.request(bob))
    assert hook.done
    assert caught.value.code == "DSG-DRIFT"
    assert caught.value.object == "a"
    assert picture(bob) == before


def test_a_directory_that_is_swapped_for_a_link_while_it_is_copied(site, monkeypatch):
    ann, _unused = published(site)
    make(site.root, {"outside/secret": "secret"})
    put(ann, "d/secret", "mine")
    real = os.mkdir

    def mkdir(path, *args, **options):
        if ".stage." in str(path):
            os.rename(os.path.join(ann, "d"), os.path.join(ann, "was"))
            os.symlink("../outside", os.path.join(ann, "d"))
        real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        with pytest.raises(DsgError) as caught:
            run(site.request(ann))
    assert caught.value.code == "DSG-SOURCE-CHANGED"
    assert "secret" not in "".join(read(site.live))
    site.check_sound()


# --- deletions ---


@pytest.mark.parametrize("direction", ["both", "push"])
def test_a_source_that_became_empty_deletes_nothing(site, direction):
    ann, _unused = published(site)
    for name in os.listdir(ann):
        if name != ".dsg":
            put(ann, name, None)
    error = refused_run(site, ann, direction=direction, max_delete="50%")
    assert error.object == "repository"
    assert "5 of 5" in error.message
    assert "all of them" in error.message
    site.sync(ann, direction=direction, max_delete="100%")
    assert read(site.live) == {}


@pytest.mark.parametrize("direction", ["both", "pull"])
def test_a_repository_that_became_empty_deletes_nothing_here(site, direction):
    ann, bob = published(site)
    for name in os.listdir(ann):
        if name != ".dsg":
            put(ann, name, None)
    site.sync(ann)
    error = refused_run(site, bob, direction=direction, max_delete="99%")
    assert error.object == "working copy"
    assert "5 of 5" in error.message
    site.sync(bob, direction=direction, max_delete=5)
    assert read(bob) == {}


@pytest.mark.parametrize(
    ("limit", "allowed"), [(2, True), (1, False), ("40%", True), ("39%", False), (0, False)]
)
def test_the_limit_is_a_number_or_a_share(site, limit, allowed):
    ann, bob = published(site)
    put(ann, "d", None)
    if not allowed:
        error = refused_run(site, ann, max_delete=limit)
        assert "2 of 5" in error.message
        return
    site.sync(ann, max_delete=limit)
    site.sync(bob, max_delete=limit)
    assert "d/b" not in read(bob)


def refused_run(site: Site, src: str, **options) -> DsgError:
    request = site.request(src, **options)
    refused(site, "DSG-MAX-DELETE", lambda: run(request._replace(check=True)))
    return refused(site, "DSG-MAX-DELETE", lambda: run(request))


# --- a repository that was written to behind our back ---


def append_line(path: str) -> None:
    with open(path, "a") as stream:
        stream.write("behind our back")


def retime(path: str) -> None:
    found = os.stat(path)
    overwrite(path)
    assert os.stat(path).st_mtime_ns != found.st_mtime_ns


def swap_for_link(path: str) -> None:
    os.rename(path, os.path.dirname(path) + "/.dsg/aside")
    os.symlink("e", path)


DRIFT: dict[str, tuple[Callable[[str], None], str]] = {
    "a file added": (lambda live: put(live, "x", "x"), "x: not in the manifest"),
    "a file added below": (lambda live: put(live, "d/x", "x"), "d/x: not in the manifest"),
    "a directory added": (lambda live: put(live, "x", EMPTY), "x: not in the manifest"),
    "a link added": (lambda live: put(live, "x", Link("a")), "x: not in the manifest"),
    "a fifo added": (lambda live: os.mkfifo(live + "/x"), "x: not in the manifest"),
    "a hidden file added": (lambda live: put(live, "d/.dsg", "x"), "d/.dsg: not in the manifest"),
    "an empty directory filled": (lambda live: put(live, "e/x", "x"), "e/x: not in the manifest"),
    "a file removed": (lambda live: put(live, "d/b", None), "d/b: missing"),
    "a link removed": (lambda live: put(live, "l", None), "l: missing"),
    "a directory removed": (lambda live: put(live, "d", None), "d: missing"),
    "an empty directory removed": (lambda live: put(live, "e", None), "e: missing"),
    "a file grown": (lambda live: append_line(live + "/d/b"), "d/b: has 17 bytes instead of 2"),
    "a file modified": (lambda live: retime(live + "/d/b"), "d/b: was modified"),
    "a mode changed": (
        lambda live: os.chmod(live + "/d/b", 0o600),
        "d/b: has mode 0600 instead of 0644",
    ),
    "a link turned": (lambda live: put(live, "l", Link("d")), "l: points to 'd' now"),
    "a file became a link": (lambda live: put(live, "d/b", Link("c")), "d/b: is not a file any"),
    "a file became a fifo": (
        lambda live: (put(live, "d/b", None), os.mkfifo(live + "/d/b")),
        "d/b: is not a file any",
    ),
    "a file became a directory": (lambda live: put(live, "d/b", EMPTY), "d/b: is not a file any"),
    "a link became a file": (lambda live: put(live, "l", "a"), "l: is not a symlink any"),
    "a directory became a link": (lambda live: swap_for_link(live + "/d"), "d: "),
    "a directory became a file": (lambda live: put(live, "d", "d"), "d: "),
    "an empty directory became a file": (lambda live: put(live, "e", "e"), "e: "),
    "an empty directory became a link": (lambda live: put(live, "e", Link("d")), "e: "),
    "a name that is not UTF-8": (
        lambda live: os.mkdir(live.encode() + b"/\xff"),
        "'\\udcff': not in the manifest",
    ),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_a_repository_written_to_behind_our_back(site, drift):
    ann, bob = published(site)
    change, told = DRIFT[drift]
    kept = os.path.join(site.root, "kept")
    shutil.copytree(site.live, kept, symlinks=True)
    change(site.live)
    put(ann, "new", "n")
    request = site.request(ann)
    refused(site, "DSG-DRIFT", lambda: run(request._replace(check=True)))
    error = refused(site, "DSG-DRIFT", lambda: run(request))
    assert error.object == site.live
    assert any(line.startswith(told) for line in error.details), error.details
    str(error).encode()
    verification = verify_repository_or_error(site)
    assert verification is None or not verification.sound
    refused(site, "DSG-DRIFT", lambda: run(request._replace(checksum=True)))
    # put back as it was, everything works again
    shutil.rmtree(site.live)
    shutil.copytree(kept, site.live, symlinks=True)
    shutil.rmtree(kept)
    site.sync(ann)
    site.sync(bob)
    assert read(bob) == read(site.live) == read(ann)


def verify_repository_or_error(site: Site):
    try:
        return verify_repository(site.name, site.backend)
    except DsgError:
        return None


def test_bytes_changed_under_the_same_time_show_with_checksum(site):
    ann, bob = published(site)
    overwrite_and_restore_time(os.path.join(site.live, "d/c"))
    error = refused(site, "DSG-DRIFT", lambda: run(site.request(ann, checksum=True)))
    assert error.details == ["d/c: its content is not what the manifest says"]
    assert not verify_repository(site.name, site.backend).sound
    # and nobody ever gets them
    new = site.copy("new")
    with pytest.raises(DsgError) as caught:
        run(site.request(new))
    assert caught.value.code == "DSG-DRIFT"
    assert caught.value.object == "d/c"
    assert read(new) == {}
    put(bob, "d/c", "changed here")
    site.sync(bob)  # replaces what was damaged
    assert verify_repository(site.name, site.backend).sound


def test_a_directory_that_appears_while_the_first_snapshot_is_staged_is_not_replaced(
    site, monkeypatch
):
    ann = site.copy("ann", TREE)
    real = os.mkdir

    def mkdir(path, *args, **options):
        real(path, *args, **options)
        if ".stage." in str(path) and not os.path.exists(site.live):
            make(site.live, {"somebody": "else's"})

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        with pytest.raises(DsgError) as caught:
            run(site.request(ann))
    assert caught.value.code == "DSG-REPOSITORY"
    assert caught.value.object == site.live
    assert caught.value.next_step
    assert read(site.live) == {"somebody": "else's"}
    assert site.layout.staged() == []
    site.check_tidy(ann)


def test_drift_between_planning_and_commit_is_seen(site, monkeypatch):
    ann, _unused = published(site)
    put(ann, "new", "n")
    before = picture(ann)
    real = os.mkdir

    def mkdir(path, *args, **options):
        real(path, *args, **options)
        if os.path.basename(path) == "history":  # the staged tree is being completed
            put(site.live, "late", "x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        with pytest.raises(DsgError) as caught:
            run(site.request(ann))
    assert caught.value.code == "DSG-DRIFT"
    assert caught.value.details == ["late: not in the manifest"]
    assert picture(ann) == before
    os.unlink(os.path.join(site.live, "late"))
    site.check_sound()


# --- a repository that is not there, or is not the one ---


def test_a_base_that_is_missing(site):
    ann, _unused = published(site)
    os.rename(site.base, site.base + ".away")
    for src in (ann, site.copy("new", {"a": "a"})):
        error = refused_everywhere(site, "DSG-REPOSITORY", src)
        assert "mounted" in error.message
        assert error.object == site.base
    os.rename(site.base + ".away", site.base)


def test_a_base_that_is_empty_as_an_unmounted_one_is(site):
    ann, _unused = published(site)
    os.rename(site.base, site.base + ".away")
    os.mkdir(site.base)
    error = refused_everywhere(site, "DSG-REPOSITORY", ann)
    assert "not provisioned" in error.message
    assert "mount" in error.next_step, "it may have been, and is not mounted"
    assert "dsg.storage.provision" in error.next_step


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "DSG-REPOSITORY"),
        (b"", "DSG-MANIFEST"),
        (b"{", "DSG-MANIFEST"),
        (b'{"format": 2, "type": "directory"}', "DSG-MANIFEST"),
        (b'{"format": 1, "type": "zfs"}', "DSG-MANIFEST"),
    ],
)
def test_a_container_whose_marker_is_not_ours(site, content, code):
    marker = os.path.join(site.layout.container, "format.json")
    os.unlink(marker)
    if content is not None:
        with open(marker, "wb") as stream:
            stream.write(content)
    error = refused_everywhere(site, code, site.copy("ann", TREE))
    assert error.object == (site.base if content is None else marker)


def test_a_repository_that_vanished_is_not_published_anew(site):
    ann, _unused = published(site)
    shutil.rmtree(site.live)
    for options in ({}, {"operation": "init"}, {"operation": "sync"}, {"direction": "pull"}):
        error = refused_run_or_check(site, "DSG-REPOSITORY", ann, **options)
        assert "s2 at the last sync" in error.message


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("what", ["file", "link", "dangling", "directory", "fifo"])
def test_a_published_path_that_is_something_else(site, what, known):
    ann = site.copy("ann", TREE)
    if known:
        site.sync(ann)
        os.rename(site.live, site.live + ".away")
    {
        "file": lambda: put(site.base, site.name, "x"),
        "link": lambda: os.symlink("tree.away" if known else ".dsg", site.live),
        "dangling": lambda: os.symlink("nowhere", site.live),
        "directory": lambda: make(site.live, {"somebody": "else's"}),
        "fifo": lambda: os.mkfifo(site.live),
    }[what]()
    error = refused_everywhere(site, "DSG-REPOSITORY", ann)
    assert error.object == site.live
    assert ("not a repository" if what == "directory" else "not a directory") in error.message


def test_a_repository_that_was_replaced_by_another(site):
    ann, _unused = published(site)
    shutil.rmtree(site.live)
    shutil.rmtree(site.layout.snapshots)
    site.sync(site.copy("eve", TREE))
    error = refused_run_or_check(site, "DSG-REPOSITORY", ann)
    assert "another repository is in its place" in error.message
    assert error.object == site.name


def test_a_repository_that_was_moved_to_another_name(site):
    ann, _unused = published(site)
    os.rename(site.live, os.path.join(site.base, "renamed"))
    moved = Site(site.root, "renamed")
    error = refused_run_or_check(moved, "DSG-MANIFEST", ann)
    assert "'tree'" in error.message
    refused_run_or_check(moved, "DSG-MANIFEST", moved.copy("new"))


@pytest.mark.parametrize(
    "name", ["", ".dsg", "..", "a/b", "-x", "_x", "x" * 65, "a b", "é", "a\0", "a\n", "."]
)
def test_names_that_no_repository_can_have(site, name):
    ann = site.copy("ann", TREE)
    request = site.request(ann)._replace(repository=name)
    error = refused(site, "DSG-ARGUMENT", lambda: run(request))
    assert error.object == name


@pytest.mark.parametrize("base", ["relative", "/a/../b", "/a/", "", None, 5])
def test_bases_that_are_no_plain_path(site, base):
    ann = site.copy("ann", TREE)
    backend = {"type": "directory", "base": base}
    refused(site, "DSG-ARGUMENT", lambda: run(site.request(ann)._replace(backend=backend)))


@pytest.mark.parametrize(
    "backend", [{}, {"type": "tape"}, {"type": "directory", "base": "/x", "pool": "tank"}]
)
def test_backends_that_are_not_supported(site, backend):
    ann = site.copy("ann", TREE)
    error = refused(site, "DSG-ARGUMENT", lambda: run(site.request(ann)._replace(backend=backend)))
    assert "supported" in error.message


@pytest.mark.parametrize(
    "options",
    [
        {"operation": "mirror"},
        {"direction": "up"},
        {"conflict": "newest"},
        {"max_delete": "all"},
        {"message": "two\nlines"},
        {"message": "x" * 1001},
        {"message": "\u202e"},
        {"user": "a\nb"},
        {"lock_timeout": -1.0},
        {"conflict_paths": {"../x": "local"}},
        {"ignore": ("a\0b",)},
    ],
)
def test_options_that_are_not_supported(site, options):
    ann = site.copy("ann", TREE)
    refused_run_or_check(site, "DSG-ARGUMENT", ann, **options)


@pytest.mark.parametrize("src", ["relative", "", "/nul\0"])
def test_working_copies_that_are_no_path(site, src):
    request = site.request(site.copy("ann", TREE))
    refused(site, "DSG-ARGUMENT", lambda: run(request._replace(src=src)))


def test_a_working_copy_that_is_a_file(site):
    put(site.root, "ann", "a file")
    error = refused_everywhere(site, "DSG-WORKING-COPY", site.copy("ann"))
    assert error.object == site.copy("ann")


def test_a_working_copy_whose_parent_is_missing(site):
    published(site)
    error = refused(site, "DSG-WORKING-COPY", lambda: run(site.request(site.copy("no/such/place"))))
    assert error.object == site.copy("no/such")


# --- locks ---


@pytest.mark.parametrize("which", ["repository", "working copy"])
def test_a_lock_that_somebody_holds(site, which):
    ann, _unused = published(site)
    put(ann, "a", "third")
    path = site.layout.lock if which == "repository" else os.path.join(ann, ".dsg", "lock")
    with open(path, "r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        error = site.refused("DSG-LOCKED", ann, lock_timeout=0.0)
        assert "pid " in error.message
        assert error.object == (site.repository.location if which == "repository" else ann)
        refused(site, "DSG-LOCKED", lambda: recover(ann, site.name, site.backend, 0.0))
    site.sync(ann)


def test_a_lock_needs_no_space_on_the_disk(site, monkeypatch):
    ann, _unused = published(site)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    assert site.recover(ann) == []


# --- a journal that cannot be trusted ---


def crashed(site: Site) -> str:
    """Return a working copy whose transaction committed in the repository and stopped there."""
    _unused, bob = published(site)
    put(bob, "d/b", "from bob")

    def die(self, journal):
        os._exit(9)

    def crash() -> None:
        ClientTransaction.commit = die
        run(site.request(bob))

    with pytest.raises(Killed):
        in_child(crash)
    assert site.manifest().header.snapshot == 3
    assert os.path.exists(os.path.join(bob, ".dsg", "journal"))
    return bob


JOURNAL_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "flipped": flip(0.5),
    "sealed nonsense": lambda content: seal(b"nonsense\n"),
    "sealed list": lambda content: seal(b"[]\n"),
    "sealed depths": lambda content: seal(b"[" * 100_000 + b"\n"),
    "sealed nothing": lambda content: seal(b""),
    "version 2": lambda content: seal(content[:-65].replace(b'"format": 1', b'"format": 2')),
    "other keys": lambda content: seal(content[:-65].replace(b'"txn_id"', b'"txn"')),
    "bad operation": lambda content: seal(content[:-65].replace(b'"install"', b'"sudo"')),
    "too many fields": lambda content: seal(content[:-65] + b"[1,2,3,4,5,6,7,8,9]\n"),
}


def seal(body: bytes) -> bytes:
    return body + sha256(body).hexdigest().encode() + b"\n"


@pytest.mark.parametrize("damage", JOURNAL_DAMAGE)
def test_a_damaged_journal_stops_everything_and_is_kept(site, damage):
    bob = crashed(site)
    journal = os.path.join(bob, ".dsg", "journal")
    with open(journal, "rb") as stream:
        content = stream.read()
    rewrite(journal, JOURNAL_DAMAGE[damage])
    error = refused_everywhere(site, "DSG-WORKING-COPY", bob)
    assert error.object == journal
    refused(site, "DSG-WORKING-COPY", lambda: recover(bob, site.name, site.backend, 0.0))
    with open(journal, "wb") as stream:
        stream.write(content)
    site.recover(bob)
    assert read(bob) == read(site.live)
    site.check_sound()
    site.check_tidy(bob)


def test_a_history_that_misses_what_recovery_needs(site):
    bob = crashed(site)
    ann = site.copy("ann")
    site.sync(ann)
    for number in (4, 5):
        put(ann, "a", f"number {number}")
        site.sync(ann)
    lost = os.path.join(site.live, ".dsg", "history", "s3.jsonl")
    os.rename(lost, os.path.join(site.root, "s3.jsonl"))
    for work in (
        lambda: run(site.request(bob)),
        lambda: recover(bob, site.name, site.backend, 0.0),
    ):
        error = refused(site, "DSG-MANIFEST", work)
        assert error.object == lost
    found = verify_repository(site.name, site.backend).problems
    assert [(one["path"], one["what"]) for one in found] == [(".dsg/history/s3.jsonl", "history")]
    os.rename(os.path.join(site.root, "s3.jsonl"), lost)
    site.recover(bob)
    site.sync(bob)
    assert read(bob) == read(site.live)


def test_a_repository_that_does_not_answer_is_no_answer(site):
    """Neither forward nor back while nobody knows whether the transaction committed."""
    bob = crashed(site)
    os.rename(site.base, site.base + ".away")
    refused(site, "DSG-REPOSITORY", lambda: recover(bob, site.name, site.backend, 0.0))
    os.rename(site.base + ".away", site.base)
    os.rename(site.live, site.live + ".away")
    before = picture(bob)
    with pytest.raises(DsgError):
        run(site.request(bob))
    assert picture(bob) == before
    os.rename(site.live + ".away", site.live)
    site.recover(bob)
    assert read(bob) == read(site.live)


def test_a_transaction_whose_repository_is_lost_is_given_up_by_its_name_alone(site):
    """As the error says; until then every repository of this working copy has to wait."""
    bob = crashed(site)
    mine = read(bob)
    other = os.path.join(site.root, "other")
    provision(other)
    elsewhere = site.request(bob)._replace(backend={"type": "directory", "base": other})
    shutil.rmtree(site.base)
    provision(site.base)
    for request in (site.request(bob), elsewhere):
        with pytest.raises(DsgError, match="dsg_abandon=") as caught:
            run(request)
    txn_id = re.search("dsg_abandon=([0-9A-Za-z-]+)", str(caught.value))[1]
    for backend in (site.backend, elsewhere.backend):
        for wrong in ("", "another"):
            with pytest.raises(DsgError):
                recover(bob, site.name, backend, 1.0, abandon=wrong)
        announced = preview(bob, site.name, backend, abandon=txn_id)
        assert txn_id in announced[0] and "gave up" in announced[0]
    assert recover(bob, site.name, elsewhere.backend, 1.0, abandon=txn_id) == announced
    kept = os.path.join(bob, ".dsg", "backup", f"{txn_id}.given-up")
    assert announced[1:] == [f"what it had staged, or put aside, is in {kept}"]
    assert {"files", "journal"} <= set(os.listdir(kept))
    assert recover(bob, site.name, site.backend, 1.0) == []
    assert read(bob) == mine
    assert run(elsewhere).operation == "init"
    assert read(os.path.join(other, site.name)) == mine


def test_giving_up_what_was_applied_in_part_loses_nothing(site):
    """What the user had is in the staging area alone then, and goes to the backups."""
    ann, bob = published(site)
    put(ann, "a", "third")
    site.sync(ann)
    put(bob, "a", "bob's own")
    put(bob, "new", "published as well, so that the repository decides")

    def crash() -> None:
        ClientTransaction._keep_backups = lambda *_unused: os._exit(9)
        run(site.request(bob, conflict="remote"))

    with pytest.raises(Killed):
        in_child(crash)
    assert read(bob)["a"] == "third"
    shutil.rmtree(site.base)
    provision(site.base)
    with pytest.raises(DsgError) as caught:
        run(site.request(bob))
    txn_id = re.search("dsg_abandon=([0-9A-Za-z-]+)", str(caught.value))[1]
    kept = recover(bob, site.name, site.backend, 1.0, abandon=txn_id)[1].rpartition(" ")[2]
    files = [os.path.join(kept, "files", name) for name in os.listdir(os.path.join(kept, "files"))]
    assert "bob's own" in [Path(path).read_text() for path in files]
    assert recover(bob, site.name, site.backend, 1.0) == []


# --- a file system that cannot exchange names ---


def test_a_system_without_exchange_refuses_to_publish(site):
    ann, _unused = published(site)
    put(ann, "a", "third")
    error = refused(
        site,
        "DSG-ARGUMENT",
        lambda: in_child(lambda: run(site.request(ann)), before=without_renameat2(EXCHANGE)),
    )
    assert error.object == site.base
    assert "renameat2" in error.message
    site.check_sound()


def test_a_system_without_any_flag_of_renameat2_refuses_the_first_publication(site):
    ann = site.copy("ann", TREE)
    error = refused(
        site,
        "DSG-ARGUMENT",
        lambda: in_child(lambda: run(site.request(ann)), before=without_renameat2(ANY_FLAG)),
    )
    assert error.object == site.base
    assert not os.path.lexists(site.live)
    assert site.layout.staged() == []


def test_a_working_copy_needs_no_renameat2(site):
    """Network file systems often lack it; the repository is elsewhere then."""
    ann, bob = published(site)
    make(ann, {"d/c": "changed", "n/new": "n", "d/b": None, "l": Link("d"), "e": "e"})
    site.sync(ann)
    put(bob, "d/c", "lost")
    in_child(
        lambda: run(site.request(bob, direction="pull", conflict="remote")),
        before=without_renameat2(ANY_FLAG),
    )
    assert read(bob) == read(site.live)
    assert site.backups(bob) == [{"d/c": "lost"}]
    site.check_tidy(bob)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Foreign forms against the tools they are for: what we write they verify, what they write we read.

Needs sha256sum (coreutils), bsdtar (libarchive-tools), mtree (mtree-netbsd) and the bagit package.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import urllib.parse
from pathlib import Path

import bagit
import pytest
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.foreign import FORMS, Partial, compare
from _core.manifest.foreign.bag_read import read_bag, verify_bag
from _core.manifest.foreign.bag_write import MANIFEST, write_bag

NAMES = [
    "plain",
    "with space",
    "  two in front, one behind ",
    "back\\slash",
    "\\n is no line feed",
    "#hash",
    "a=b",
    "ünï/cödé/文字 🙂",
    "-dash",
    "-",
    "--help",
    "*?[glob]",
    "x1.txt",
    "x[1].txt",
    "x*",
    "dir[1]/x[1]",
    "dir[1]/x1",
    "dir1/x",
    "quotes'\"`",
    "dollar$HOME",
    "~tilde",
    "semi;colon|pipe&<>(){}",
    "!bang^@,",
    "deep/er/and\\deeper/file",
    "..dots",
    "deep/...",
]
PERCENT = ["100%", "d/%41%25%0A", "%s"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree of awkward names, modes and times, with links and empty directories."""
    root = tmp_path / "tree"
    for number, name in enumerate(NAMES + PERCENT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * number)
        path.chmod(0o600 + number)
        # A nanosecond part that starts with zeros: some tools write it without them.
        os.utime(path, ns=(5, 1_600_000_000_000_000_000 + number * 1_000_000_007))
    (root / "empty dir" / "in\\ner").mkdir(parents=True)
    (root / "link").symlink_to("with space")
    (root / "deep" / "li nk#").symlink_to("../ünï/cödé")
    (root / "dangling").symlink_to("back\\slash=*")
    return root


def entries_of(root: Path) -> list[Entry]:
    """Read a tree, apart from the core's own scanner."""
    found = []
    for directory, folders, names in os.walk(root):
        inside = os.path.relpath(directory, root)
        for name in [*folders, *names]:
            path = os.path.normpath(os.path.join(inside, name))
            status = (root / path).lstat()
            if stat.S_ISLNK(status.st_mode):
                found.append(Entry(path, LINK, 0, 0, 0, "", os.readlink(root / path), ""))
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256((root / path).read_bytes()).hexdigest()
                mode, time = status.st_mode & 0o777, status.st_mtime_ns
                found.append(Entry(path, FILE, status.st_size, time, mode, content, "", ""))
            elif not os.listdir(root / path):
                found.append(Entry(path, DIRECTORY, 0, 0, 0, "", "", ""))
    return sorted(found)


def run(*argv: str, cwd: Path, locale: str = "C.UTF-8") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": locale}
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, check=False)


def output(*argv: str, cwd: Path, locale: str = "C.UTF-8") -> bytes:
    done = run(*argv, cwd=cwd, locale=locale)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def dump_to(path: Path, form: str, entries: list[Entry]) -> str:
    path.write_bytes(b"".join(FORMS[form].dump(entries)))
    return str(path)


def parse_from(path: Path, form: str, data: bytes) -> Partial:
    path.write_bytes(data)
    with path.open("rb") as stream:
        return FORMS[form].parse(stream, path.name)


def files_in(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.path, entry.sha256) for entry in entries if entry.kind == FILE]


# --- sha256sum ---


def test_sha256sum_verifies_what_we_write(tmp_path: Path, tree: Path) -> None:
    entries = entries_of(tree)
    spec = dump_to(tmp_path / "sums", "sha256sum", entries)
    done = run("sha256sum", "-c", "--strict", spec, cwd=tree)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": OK\n") == len(NAMES) + len(PERCENT)
    (tree / "back\\slash").write_bytes(b"changed")
    done = run("sha256sum", "-c", "--strict", "--quiet", spec, cwd=tree)
    assert done.returncode == 1
    assert done.stdout.endswith(b"slash: FAILED\n")


@pytest.mark.parametrize("style", [[], ["--binary"], ["--tag"]])
def test_what_sha256sum_writes_is_read(tmp_path: Path, tree: Path, style: list[str]) -> None:
    entries = entries_of(tree)
    names = [f"./{path}" for path, _unused in files_in(entries)]
    data = output("sha256sum", *style, "--", *names, cwd=tree)
    found = parse_from(tmp_path / "sums", "sha256sum", data)
    assert files_in(found.entries) == files_in(entries)
    assert compare(found, entries).equal


def test_we_write_what_sha256sum_writes(tree: Path) -> None:
    entries = [entry for entry in entries_of(tree) if entry.path != "-"]
    names = [path for path, _unused in files_in(entries)]
    theirs = output("sha256sum", "--", *names, cwd=tree)
    assert b"".join(FORMS["sha256sum"].dump(entries)) == theirs


# --- mtree ---


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_mtree_verifies_what_we_write(tmp_path: Path, tree: Path, locale: str) -> None:
    spec = dump_to(tmp_path / "spec", "mtree", entries_of(tree))
    done = run("mtree", "-p", ".", "-f", spec, cwd=tree, locale=locale)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def _append(tree: Path) -> None:
    with (tree / "with space").open("ab") as stream:
        stream.write(b"x")


def _flip(tree: Path) -> None:
    path = tree / "with space"
    status = path.stat()
    path.write_bytes(b"W" + path.read_bytes()[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _touch(tree: Path) -> None:
    path = tree / "with space"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000))  # mtree looks no closer


def _relink(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("plain")


CHANGES = {
    "size": _append,
    "content": _flip,
    "time": _touch,
    "mode": lambda tree: (tree / "with space").chmod(0o400),
    "target": _relink,
    "missing": lambda tree: (tree / "with space").unlink(),
    "added": lambda tree: (tree / "new").write_bytes(b""),
    "empty directory": lambda tree: (tree / "empty dir" / "in\\ner").rmdir(),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_mtree_and_we_both_find_a_change(tmp_path: Path, tree: Path, change: str) -> None:
    spec = tmp_path / "spec"
    dump_to(spec, "mtree", entries_of(tree))
    CHANGES[change](tree)
    assert run("mtree", "-p", ".", "-f", str(spec), cwd=tree).stdout  # its findings
    assert not compare(parse_from(spec, "mtree", spec.read_bytes()), entries_of(tree)).equal


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("layout", ["nested", "full"])
def test_what_mtree_writes_is_read(tmp_path: Path, tree: Path, layout: str, locale: str) -> None:
    keys = ["-k", "type,size,mode,time,sha256,link"]
    data = output("mtree", "-c", *keys, "-p", ".", cwd=tree, locale=locale)
    if layout == "full":
        (tmp_path / "nested").write_bytes(data)
        data = output("mtree", "-C", *keys, "-f", str(tmp_path / "nested"), cwd=tree, locale=locale)
    found = parse_from(tmp_path / "spec", "mtree", data)
    assert found.entries == entries_of(tree)
    assert found.fields == FORMS["mtree"].fields


@pytest.mark.parametrize("keys", [[], ["-k", "type,sha256,link"]])
def test_a_specification_with_other_keys_is_compared_in_what_it_has(
    tmp_path: Path, tree: Path, keys: list[str]
) -> None:
    data = output("mtree", "-c", *(keys or ["-K", "sha256"]), "-p", ".", cwd=tree)
    found = parse_from(tmp_path / "spec", "mtree", data)
    assert found.fields == ({"sha256"} if keys else FORMS["mtree"].fields)
    assert compare(found, entries_of(tree)).equal


BSDTAR = ["bsdtar", "-c", "-f", "-"]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize(
    "options",
    [
        ["--format=mtree", "--options=mtree:sha256"],
        ["--format=mtree", "--options=mtree:sha256,mtree:use-set,mtree:indent"],
        ["--format=mtree-classic", "--options=sha256"],
        ["--format=mtree", "--options=mtree:all"],
    ],
)
def test_what_bsdtar_writes_is_read(
    tmp_path: Path, tree: Path, options: list[str], locale: str
) -> None:
    data = output(*BSDTAR, *options, ".", cwd=tree, locale=locale)
    found = parse_from(tmp_path / "spec", "mtree", data)
    assert found.entries == entries_of(tree)
    assert found.fields == FORMS["mtree"].fields


def test_bsdtar_reads_what_we_write(tmp_path: Path, tree: Path) -> None:
    """Every field of ours, read by bsdtar and written again in its own spelling."""
    entries = entries_of(tree)
    spec = dump_to(tmp_path / "spec", "mtree", entries)
    again = output(*BSDTAR, "--format=mtree", "--options=mtree:sha256", f"@{spec}", cwd=tree)
    assert parse_from(tmp_path / "again", "mtree", again).entries == entries
    # And as a list of what to pack: the archive then holds the tree.
    (tmp_path / "copy").mkdir()
    output("bsdtar", "-c", "-f", str(tmp_path / "tar"), f"@{spec}", cwd=tree)
    output("bsdtar", "-x", "-p", "-f", str(tmp_path / "tar"), cwd=tmp_path / "copy")
    copied = [entry._replace(mtime_ns=0) for entry in entries_of(tmp_path / "copy")]
    assert copied == [entry._replace(mtime_ns=0) for entry in entries]


# --- BagIt ---


def without(tree: Path, names: list[str]) -> list[Entry]:
    for name in names:
        (tree / name).unlink()
    return entries_of(tree)


# The bagit package neither encodes nor decodes the percent sign, which RFC 8493 (2.1.3) demands, and
# cuts spaces off the end of a name.
NOT_FOR_BAGIT = [*PERCENT, "  two in front, one behind "]


@pytest.mark.parametrize("link", [False, True])
def test_the_bagit_package_validates_what_we_write(tmp_path: Path, tree: Path, link: bool) -> None:
    entries = without(tree, NOT_FOR_BAGIT)
    bag = str(tmp_path / "bag")
    left = write_bag(str(tree), entries, bag, link=link, info={"Contact-Name": "Ünïon: all"})
    assert left == [entry.path for entry in entries if entry.kind != FILE]
    theirs = bagit.Bag(bag)
    assert theirs.validate()
    assert theirs.info["Contact-Name"] == "Ünïon: all"
    assert theirs.version_info == (1, 0)
    said = {path: checks["sha256"] for path, checks in theirs.payload_entries().items()}
    assert said == {f"data/{path}": content for path, content in files_in(entries)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda bag: (bag / "data" / "plain").write_bytes(b"x"),
        lambda bag: (bag / "data" / "with space").unlink(),
        lambda bag: (bag / "data" / "new").write_bytes(b""),
        lambda bag: (bag / "bag-info.txt").write_text("Payload-Oxum: 1.1\n"),
        lambda bag: (bag / "data" / "link").symlink_to("plain"),
    ],
)
def test_the_bagit_package_and_we_both_find_damage(
    tmp_path: Path, tree: Path, damage: object
) -> None:
    bag = tmp_path / "bag"
    write_bag(str(tree), without(tree, NOT_FOR_BAGIT), str(bag))
    assert callable(damage)
    damage(bag)
    assert not verify_bag(str(bag)).valid
    with pytest.raises(bagit.BagError):
        bagit.Bag(str(bag)).validate()


def test_percent_signs_are_written_as_the_rfc_says(tmp_path: Path, tree: Path) -> None:
    entries = entries_of(tree)
    write_bag(str(tree), entries, str(tmp_path / "bag"))
    lines = (tmp_path / "bag" / MANIFEST).read_text().splitlines()
    # No name here holds another encoded character, so a general decoder gives the names.
    decoded = [urllib.parse.unquote(line[66:]) for line in lines]
    assert decoded == [f"data/{path}" for path, _unused in files_in(entries)]
    assert verify_bag(str(tmp_path / "bag")).valid


def test_what_the_bagit_package_writes_is_read_and_verified(tmp_path: Path, tree: Path) -> None:
    entries = entries_of(tree)
    for entry in entries:
        if entry.kind == LINK:  # the package follows them, some to nowhere
            (tree / entry.path).unlink()
    bagit.make_bag(str(tree), {"Contact-Name": "Ünïon"}, checksums=["sha256"], processes=1)
    found = read_bag(str(tree))
    assert files_in(found.entries) == files_in(entries)
    result = verify_bag(str(tree))
    assert result.valid, result
    assert result.payload.unchecked == ["empty dir/in\\ner"]
    (tree / "data" / "100%").write_bytes(b"changed")
    assert verify_bag(str(tree)).payload.changed == [("100%", ("sha256",))]

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every backend keeps, on every file system it is to run on."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import tempfile

import pytest
from _core.errors import DsgError, LockedError, ManifestError
from _core.manifest.scan import scan_tree
from _core.posix.remove import remove_tree_at
from _core.sync.engine import run
from _core.sync.verify import verify_repository

from tests.contract.driver import STEPS, fetch, publish, recover_twice, sound, txn_of
from tests.contract.trees import ONE, TWO, remake
from tests.integration.children import in_child
from tests.integration.support import (
    EMPTY,
    Link,
    Tree,
    make,
    put,
    read,
)

# --- publishing ---


def test_a_repository_that_does_not_exist(site):
    repository = site.repository
    assert repository.head() is None
    assert repository.snapshots() == []
    assert repository.unfinished() == []
    assert not repository.committed(txn_of(1), 0)
    with repository.lock(0):
        assert repository.recover() == []


def test_the_first_snapshot(site, source):
    change = publish(site.repository, source, 1)
    head = site.repository.head()
    assert head == change.manifest.header
    assert head.snapshot == 1
    assert head.parent == ""
    assert site.repository.manifest() == change.manifest
    assert site.repository.snapshots() == [1]
    assert site.repository.committed(txn_of(1), 0)
    assert read(site.repository.tree()) == ONE
    sound(site)


def test_later_snapshots_and_the_older_ones_beside_them(site, source):
    first = publish(site.repository, source, 1)
    remake(source, TWO)
    second = publish(site.repository, source, 2)
    assert second.manifest.header.parent == first.manifest.header.id
    assert read(site.repository.tree()) == TWO
    assert site.snapshot(1) == ONE
    assert site.repository.snapshots() == [1, 2]
    remake(source, ONE)
    publish(site.repository, source, 3)
    assert read(site.repository.tree()) == ONE
    assert site.snapshot(2) == TWO
    assert site.repository.snapshots() == [1, 2, 3]
    assert site.repository.chain_problems() == []
    for number in (1, 2, 3):
        assert site.repository.committed(txn_of(number), 0)
        assert not site.repository.committed(txn_of(9), 0)
    assert not site.repository.committed(txn_of(2), 2)
    sound(site)


def test_an_empty_tree_and_trees_of_nothing_but_empty_directories(site):
    source = site.copy("source", {})
    publish(site.repository, source, 1)
    assert read(site.live) == {}
    remake(source, {"a/b": EMPTY, "c": EMPTY})
    publish(site.repository, source, 2)
    assert read(site.live) == {"a/b": EMPTY, "c": EMPTY}
    remake(source, {})
    publish(site.repository, source, 3)
    assert read(site.live) == {}
    assert os.listdir(site.live) == [".dsg"]
    sound(site)


def test_modes_times_and_links_are_kept(site, source):
    times = [0, 1, 999_999_999, 1_700_000_000_123_456_789, 2_000_000_000 * 10**9]
    for number, time in enumerate(times):
        path = os.path.join(source, f"t{number}")
        put(source, f"t{number}", "x")
        os.utime(path, ns=(time, time))
    unreadable = (0o001, 0o000) if os.geteuid() == 0 else ()
    for mode in (0o400, 0o444, 0o600, 0o640, 0o755, 0o777, *unreadable):
        put(source, f"m{mode:04o}", "x")
        os.chmod(os.path.join(source, f"m{mode:04o}"), mode)
    put(source, "set-id", "x")
    os.chmod(os.path.join(source, "set-id"), 0o6755)
    put(source, "d/up", Link("../f"))
    change = publish(site.repository, source, 1)
    for entry in change.manifest.entries:
        found = os.lstat(os.path.join(site.live, entry.path))
        if entry.kind == "file":
            assert stat.S_IMODE(found.st_mode) == entry.mode
            assert found.st_mtime_ns == entry.mtime_ns
            assert found.st_size == entry.size
    by_path = {entry.path: entry for entry in change.manifest.entries}
    assert [by_path[f"t{n}"].mtime_ns for n in range(len(times))] == times
    assert by_path["m0400"].mode == 0o400
    assert by_path["set-id"].mode == 0o755, "set-id bits are never published"
    assert os.readlink(os.path.join(site.live, "d/up")) == "../f"
    put(source, "f", "changed")
    publish(site.repository, source, 2)
    sound(site)


# --- names, sizes, numbers ---


def test_long_and_foreign_names(site):
    tree: Tree = {
        "x" * 255: "255 bytes",
        "é" * 127: "254 bytes",
        "deep/" + "y" * 255 + "/" + "z" * 255: "both",
        "文字/файл/ملف/ὄνομα": "scripts",
        "🙂👩‍👩‍👧.txt": "emoji",
        " leading, trailing ": "spaces",
        "-rf": "dash",
        "quote'\"`$;*?[]{}#%=~&|<>\\": "shell",
        "...": "dots",
        ".hidden/.dsgignore": "# comment",
        "nbsp\u00a0": "no-break space",
        "l": Link("文字/файл"),
    }
    source = site.copy("source", tree)
    publish(site.repository, source, 1)
    assert read(site.live) == tree
    put(source, "-rf", "changed")
    publish(site.repository, source, 2)
    assert read(site.live) == {**tree, "-rf": "changed"}
    assert site.snapshot(1) == tree
    sound(site)


@pytest.mark.parametrize(
    ("name", "levels"), [("d" * 200, 19), ("d", 1500)], ids=["long-names", "many-levels"]
)
def test_paths_as_deep_as_the_rules_allow(site, name, levels):
    """Far longer than what one system call takes from the root of the file system."""
    source = site.copy("source", {"f": "f"})
    dig(source, name, levels)
    change = publish(site.repository, source, 1)
    path = "/".join([name] * levels) + "/bottom"
    assert [entry.path for entry in change.manifest.entries] == sorted(["f", path])
    put(source, "f", "two")
    publish(site.repository, source, 2)
    assert [e.path for e in scan_tree(site.live, checksum=True).entries] == sorted(["f", path])
    put(source, "f", "three")
    with site.repository.lock(0):
        publish(site.repository, source, 3, until="prepare")
        assert len(site.repository.recover()) == 1
    assert site.staged() == []
    sound(site)
    assert remove_tree_at(source) is None  # also too deep for pytest's own cleaning
    assert not os.path.exists(source)
    site.dispose()


def dig(root: str, name: str, levels: int) -> None:
    here = os.open(root, os.O_RDONLY)
    for _unused in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here))
    os.close(here)


def test_a_big_file(site):
    source = site.copy("source", {"small": "s"})
    block = bytes(range(256)) * 4096
    size = 0
    with open(os.path.join(source, "big"), "wb") as stream:
        for number in range(41):
            stream.write(block[number:])
            size += len(block) - number
        stream.seek(8 * 1024 * 1024, os.SEEK_CUR)  # a hole
        stream.write(b"end")
    size += 8 * 1024 * 1024 + 3
    change = publish(site.repository, source, 1)
    entry = change.manifest.entries[0]
    assert (entry.path, entry.size) == ("big", size)
    sound(site)
    found = fetch(site.repository, [entry], site.copy("fetched"))
    with open(os.path.join(source, "big"), "rb") as stream:
        assert found == [stream.read()]


def test_a_source_on_another_file_system(site):
    """No reflinks and no copy by the kernel then."""
    shared = "/dev/shm"
    assert os.stat(shared).st_dev != os.stat(site.root).st_dev
    source = tempfile.mkdtemp(dir=shared)
    try:
        make(source, {**ONE, "large": "x" * (9 * 1024 * 1024)})
        publish(site.repository, source, 1)
        assert read(site.live) == read(source)
        sound(site)
    finally:
        shutil.rmtree(source)


def test_many_files_at_once(site):
    tree: Tree = {f"d{n % 40}/f{n}": f"content {n}" for n in range(1500)}
    source = site.copy("source", tree)
    publish(site.repository, source, 1)
    assert read(site.live) == tree
    for number in range(0, 1500, 7):
        put(source, f"d{number % 40}/f{number}", "changed")
    publish(site.repository, source, 2)
    assert read(site.live) == read(source)
    assert site.snapshot(1) == tree
    sound(site)


# --- readers ---


def watch(live: str, seen: int, stop: int) -> dict[str, object]:
    """Read the published tree all the time; tell through ``seen`` of every version that is new."""
    wrong: list[str] = []
    rounds, version, versions = 0, "", 0
    while not (_told(stop) or wrong):
        try:
            found = _look(live, wrong)
        except OSError as exc:
            wrong.append(f"{exc}")
            break
        rounds += 1
        if found != version:
            version, versions = found, versions + 1
            os.write(seen, b"!")
    os.close(seen)
    return {"rounds": rounds, "wrong": wrong[:5], "versions": versions}


def _told(stop: int) -> bool:
    try:
        os.read(stop, 1)
    except BlockingIOError:
        return False
    return True


def _look(live: str, wrong: list[str]) -> str:
    with open(os.path.join(live, "a")) as stream:
        stream.read()
    tree = os.open(live, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = sorted(os.listdir(tree))
        found = {name: _text(tree, name) for name in ("a", "b", "d/c")}
        if len(set(found.values())) != 1:
            wrong.append(f"a mixture: {found}")
        if names != [".dsg", "a", "b", "d", f"only-{found['a']}"]:
            wrong.append(f"not the names of {found['a']}: {names}")
        return found["a"]
    finally:
        os.close(tree)


def _text(tree: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY, dir_fd=tree)
    try:
        return os.read(fd, 100).decode()
    finally:
        os.close(fd)


def test_readers_see_the_old_tree_and_then_the_new_one(site):
    def version(number: int) -> Tree:
        name = f"{number}"
        return {"a": name, "b": name, "d/c": name, f"only-{name}": name}

    source = remake(site.copy("source"), version(1))
    publish(site.repository, source, 1)
    seen, stop, answer = os.pipe(), os.pipe(), os.pipe()
    os.set_blocking(stop[0], False)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(answer[1], json.dumps(watch(site.live, seen[1], stop[0])).encode())
        finally:
            os._exit(0)
    os.close(seen[1])
    for number in range(2, site.swaps + 2):
        os.read(seen[0], 1)  # the reader is at the version before, and goes on reading
        remake(source, version(number))
        publish(site.repository, source, number)
    os.read(seen[0], 1)
    os.write(stop[1], b"!")
    os.waitpid(pid, 0)
    told = json.loads(os.read(answer[0], 65536))
    assert told["wrong"] == []
    assert told["versions"] == site.swaps + 1
    assert told["rounds"] >= site.swaps + 1
    for end in (seen[0], *stop, *answer):
        os.close(end)


def test_readers_that_sit_in_the_tree_keep_the_old_one(site, source):
    publish(site.repository, source, 1)
    here = os.open(site.live, os.O_RDONLY | os.O_DIRECTORY)
    below = os.open(os.path.join(site.live, "d"), os.O_RDONLY | os.O_DIRECTORY)
    with open(os.path.join(site.live, "f")) as stream:
        remake(source, TWO)
        transaction = publish(site.repository, source, 2, until="commit").transaction
        told = transaction.finish()  # a backend may have to wait for the readers
        assert stream.read() == "one"
    assert _text(here, "gone") == "g"
    assert os.listdir(below) == ["g"]
    assert read(site.live) == TWO
    os.close(here)
    os.close(below)
    with site.repository.lock(0):
        assert len(site.repository.recover()) == len(told)
    assert site.staged() == []
    assert read(site.live) == TWO


# --- fetching ---


def test_fetching_verifies_what_it_copies(site, source):
    change = publish(site.repository, source, 1)
    entries = change.manifest.entries
    found = fetch(site.repository, entries, site.copy("fetched"))
    expected = {"d/g": b"1", "e": None, "f": b"one", "gone": b"g", "l": "f", "same": b"s"}
    assert dict(zip([entry.path for entry in entries], found)) == expected
    for number, entry in enumerate(entries):
        if entry.kind == "file":
            seen = os.stat(os.path.join(site.copy("fetched"), str(number)))
            assert (seen.st_mtime_ns, stat.S_IMODE(seen.st_mode)) == (entry.mtime_ns, entry.mode)
    seen = os.stat(os.path.join(site.live, "f"))
    with site.opened() as live:
        with open(os.path.join(live, "f"), "r+b") as stream:
            stream.write(b"eno")
        os.utime(os.path.join(live, "f"), ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    with pytest.raises(DsgError) as caught:
        fetch(site.repository, entries, site.copy("again"))
    assert (caught.value.code, caught.value.object) == ("DSG-DRIFT", "f")


# --- what must not be committed ---

WRITES = {
    "added": lambda live: put(live, "late", "x"),
    "removed": lambda live: put(live, "d/g", None),
    "modified in place": lambda live: append(os.path.join(live, "same")),
    "mode": lambda live: os.chmod(os.path.join(live, "same"), 0o600),
    "link": lambda live: put(live, "l", Link("same")),
    "directory for a link": lambda live: put(live, "d", Link("e")),
}


def append(path: str) -> None:
    with open(path, "a") as stream:
        stream.write("!")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("step", ["stage", "prepare", "commit"])
def test_a_write_behind_our_back_stops_the_transaction_wherever_it_comes(site, source, write, step):
    publish(site.repository, source, 1)
    put(source, "f", "two")

    def behind() -> None:
        with site.opened() as live:
            WRITES[write](live)

    with pytest.raises(DsgError) as caught:
        publish(site.repository, source, 2, before={step: behind})
    assert caught.value.code == "DSG-DRIFT"
    assert site.repository.head().snapshot == 1
    with site.repository.lock(0):
        site.repository.recover()
    assert site.staged() == []
    changed = site.repository.drift(site.repository.manifest(), checksum=False)
    assert len(changed) >= 1


@pytest.mark.parametrize("step", ["stage", "commit"])
def test_another_transaction_in_between_stops_this_one(site, source, step):
    """Locks prevent it; where somebody goes round them, the snapshot still is not lost."""
    publish(site.repository, source, 1)
    put(source, "f", "two")
    other = remake(site.copy("other"), {**ONE, "from": "the other"})
    rival = site.beside(site.name).repository
    with pytest.raises(DsgError) as caught:
        publish(site.repository, source, 3, before={step: lambda: publish(rival, other, 2)})
    if site.always_locks:
        assert caught.value.code == "DSG-LOCKED"
        assert read(site.live) == ONE
        return
    assert caught.value.code == "DSG-DRIFT"
    assert "s2 now, not at s1" in caught.value.message
    assert read(site.live) == read(other)


def test_two_first_publications_do_not_replace_each_other(site, source):
    other = remake(site.copy("other"), TWO)
    rival = site.beside(site.name).repository
    with pytest.raises(DsgError) as caught:
        publish(site.repository, source, 1, before={"commit": lambda: publish(rival, other, 2)})
    if site.always_locks:
        assert caught.value.code == "DSG-LOCKED"
        assert not os.path.exists(site.live)
        return
    assert caught.value.code == "DSG-REPOSITORY"
    assert read(site.live) == TWO


def test_a_rollback_leaves_nothing(site, source):
    publish(site.repository, source, 1)
    before = site.held()
    put(source, "f", "two")
    for until in STEPS[:3]:
        publish(site.repository, source, 2, until=until).transaction.rollback()
        assert site.held() == before
        publish(site.repository, source, 2, until=until).transaction.rollback()
    publish(site.repository, source, 2)
    sound(site)


# --- leftovers of a crash ---


@pytest.mark.parametrize("until", STEPS)
def test_recovery_of_a_first_publication(site, source, until):
    publish(site.repository, source, 1, until=until)
    committed = until in ("commit", "finish")
    assert (site.repository.head() is not None) == committed
    assert site.repository.committed(txn_of(1), 0) == committed
    recover_twice(site, expected=int(until in ("stage", "prepare")))
    assert os.path.lexists(site.live) == committed
    if committed:
        assert read(site.live) == ONE
    else:
        publish(site.repository, source, 2)
    sound(site)


@pytest.mark.parametrize("until", STEPS)
def test_recovery_of_a_later_publication(site, source, until):
    publish(site.repository, source, 1)
    before = site.held()
    remake(source, TWO)
    publish(site.repository, source, 2, until=until)
    committed = until in ("commit", "finish")
    assert site.repository.committed(txn_of(2), 1) == committed
    assert read(site.live) == (TWO if committed else ONE), "before recovery, too"
    recover_twice(site, expected=int(until not in ("begin", "finish")))
    assert read(site.live) == (TWO if committed else ONE)
    assert site.repository.snapshots() == ([1, 2] if committed else [1])
    if committed:
        assert site.snapshot(1) == ONE
    else:
        assert site.held() == before
    remake(source, {**TWO, "after": "the crash"})
    publish(site.repository, source, 3)
    sound(site)


def test_recovery_touches_nothing_it_did_not_make(site, source):
    publish(site.repository, source, 1)
    missing = site.put_foreign()
    publish(site.repository, source, 2, until="stage")
    with site.repository.lock(0):
        site.repository.recover()
    assert missing() == []


# --- neighbours, locks, space ---


def test_repositories_below_one_base_do_not_disturb_each_other(site, source):
    other = site.beside("other")
    similar = site.beside("tree.stage")
    for number, one in enumerate((site, other, similar), 1):
        publish(one.repository, source, number)
    publish(other.repository, source, 9, until="stage")
    publish(similar.repository, source, 8, until="stage")
    put(source, "f", "two")
    with site.repository.lock(0):
        assert site.repository.recover() == []
        publish(site.repository, source, 4)
    assert len(other.staged()) == 1
    with other.repository.lock(0):
        assert len(other.repository.recover()) == 1
    assert len(similar.staged()) == 1
    for one in (site, other, similar):
        verification = verify_repository(one.name, one.backend)
        assert verification.sound


def test_locks_exclude_each_other_unless_both_only_read(site, source):
    publish(site.repository, source, 1)

    def try_lock(shared: bool) -> bool:
        def attempt() -> bool:
            try:
                with site.repository.lock(0, shared=shared):
                    return True
            except LockedError:
                return False

        taken: bool = in_child(attempt)
        return taken

    with site.repository.lock(0):
        assert not try_lock(shared=False)
        assert not try_lock(shared=True)
    with site.repository.lock(0, shared=True):
        assert not try_lock(shared=False)
        assert try_lock(shared=True)
    assert try_lock(shared=False)


def test_a_chain_that_was_broken_is_told(site, source):
    for number in (1, 2, 3):
        put(source, "f", f"number {number}")
        publish(site.repository, source, number)
    assert site.repository.chain_problems() == []
    with site.opened() as live:
        history = os.path.join(live, ".dsg", "history")
        os.rename(os.path.join(history, "s2.jsonl"), os.path.join(history, "s4.jsonl"))
        (problem,) = site.repository.chain_problems()
        assert problem.startswith("s2:")
        os.rename(os.path.join(history, "s4.jsonl"), os.path.join(history, "s2.jsonl"))
        shutil.copy(os.path.join(history, "s1.jsonl"), os.path.join(history, "s2.jsonl"))
    assert len(site.repository.chain_problems()) >= 1


def test_the_header_of_every_step(site, source):
    made = []
    for number in (1, 2, 3):
        put(source, "f", f"number {number}")
        made.append(publish(site.repository, source, number).manifest.header)
    assert [site.repository.history_header(number) for number in (1, 2, 3)] == made
    with pytest.raises(ManifestError):
        site.repository.history_header(4)
    with site.opened() as live:
        put(live, ".dsg/history/s2.jsonl", "damaged")
    with pytest.raises(ManifestError):
        site.repository.history_header(2)


def test_a_disk_that_is_full(small_site, tmp_path):
    site = small_site
    source = make(str(tmp_path / "source"), ONE)
    site.sync(source)
    noise = os.urandom(18 * 1024 * 1024)  # a file system may compress what is not
    put(source, "large", base64.b64encode(noise).decode())
    before = site.held()
    for spare in (0, 1, 20):
        with site.almost_full(spare):
            with pytest.raises(DsgError) as caught:
                run(site.request(source))
            assert site.says_full(caught.value), caught.value
            assert site.held() == before
            site.check_tidy(source)
    assert caught.value.object == "large"
    site.sync(source)
    site.check_sound()


# --- the whole engine on this ground ---


def test_init_sync_and_clone(site):
    ann, bob = site.copy("ann", ONE), site.copy("bob")
    assert site.sync(ann).operation == "init"
    assert site.sync(bob).operation == "clone"
    assert read(bob) == ONE
    shutil.rmtree(os.path.join(ann, "e"))
    make(ann, {**TWO, "gone": None})
    put(bob, "f", "bob's")
    assert site.sync(ann).operation == "sync"
    site.sync(bob, conflict="remote")
    assert read(bob) == read(site.live) == read(ann) == TWO
    assert site.backups(bob) == [{"f": "bob's"}]
    assert not site.sync(bob).changed
    site.check_sound()
    site.check_tidy(bob)

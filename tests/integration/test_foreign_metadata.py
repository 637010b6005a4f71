# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody who contributes content has put ``.dsg`` into it: nothing is run, and nothing outside is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from _core.client.journal import HERE, REPOSITORY
from _core.errors import DsgError
from _core.sync.engine import run
from _core.sync.recovery import preview, recover
from _core.sync.status import inspect
from _core.sync.undo_names import undo_names

from tests.integration.support import Site, make, put, read, refused, site
from tests.integration.test_bad_input import crashed, published, seal

__all__ = ["site"]

TXN = "20261120T224100Z-0123456789ab"


def everything(site: Site, src: str) -> list[Callable[[], object]]:
    """Return all that reads what is below ``.dsg``."""
    request = site.request(src)
    return [
        lambda: inspect(request),
        lambda: run(request._replace(check=True)),
        lambda: run(request),
        lambda: preview(src, site.name, site.backend),
        lambda: recover(src, site.name, site.backend, 0.0),
        lambda: undo_names(request._replace(check=True)),
        lambda: undo_names(request),
    ]


def refused_by_all(site: Site, src: str) -> DsgError:
    """Refuse all of it, with nothing changed anywhere below the site's root."""
    errors = [refused(site, "DSG-WORKING-COPY", work) for work in everything(site, src)]
    assert {error.object for error in errors} == {errors[0].object}
    assert all("came with somebody else's files" in error.next_step for error in errors)
    return errors[-1]


def write_journal(site: Site, src: str, *operations: list[Any], **fields: Any) -> str:
    """Write a journal with a seal, as anybody can; return its path."""
    head = {
        "format": 1,
        "txn_id": TXN,
        "decision": REPOSITORY,
        "repository": site.name,
        "backend": site.backend,
        "key": site.key,
        "snapshot": 1,
        "host": "",
        **fields,
    }
    os.makedirs(os.path.join(src, ".dsg", "staging"), exist_ok=True)
    path = os.path.join(src, ".dsg", "journal")
    body = "".join(json.dumps(line) + "\n" for line in (head, *operations)).encode()
    with open(path, "wb") as stream:
        stream.write(seal(body))
    return path


def script(site: Site) -> tuple[str, str]:
    """Return an executable file, and what it leaves when it is run."""
    path, mark = (os.path.join(site.root, name) for name in ("x.sh", "was-run"))
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"#!/bin/sh\ntouch {mark}\n")
    os.chmod(path, 0o755)
    return path, mark


@pytest.mark.parametrize("how", ["executable", "options", "become"])
@pytest.mark.parametrize("known", [False, True], ids=["a fresh clone", "a working copy"])
def test_a_journal_starts_no_program(site, how, known):
    """Of a host it has only the name: what is run is for who runs us to say."""
    _unused, bob = published(site)
    src = bob if known else site.copy("cyd", {"a": "mine"})
    path, mark = script(site)
    ways = {
        "executable": {"executable": path},
        "options": {"options": [f"-oProxyCommand={path}"]},
        "become": {"executable": "sh", "become": {"executable": path}},
    }
    destination = {"host": "h", "label": "h", **ways[how]}
    journal = write_journal(site, src, key="any", destination=destination)
    assert refused_by_all(site, src).object == journal
    assert not os.path.exists(mark)
    os.unlink(journal)
    write_journal(site, src, key="any", host="h")
    request = site.request(src)
    for check in (True, False):
        error = refused(
            site, "DSG-WORKING-COPY", lambda check=check: run(request._replace(check=check))
        )
        assert "'h'" in error.message and "'h'" in error.next_step
    assert any("host 'h' decides it" in line for line in inspect(request).unfinished)
    assert not os.path.exists(mark)


NAMES = ("staging", "repositories", "backup", "fleet", "names")
FILES = ("lock", "fleet.lock", "scan.lock", "index", "journal")


@pytest.mark.parametrize("name", ["", *NAMES, *FILES])
@pytest.mark.parametrize("known", [False, True], ids=["a fresh clone", "a working copy"])
def test_a_link_in_the_metadata_leads_nowhere(site, name, known):
    _unused, bob = published(site)
    src = bob if known else site.copy("cyd", {"a": "mine"})
    home = make(os.path.join(site.root, "home"), {"ssh/keys": "precious", "notes": "precious"})
    place = os.path.join(src, ".dsg", name).rstrip("/")
    os.makedirs(os.path.join(src, ".dsg"), exist_ok=True)
    if os.path.lexists(place):
        os.rename(place, os.path.join(site.root, "was"))
    os.symlink(os.path.join(home, "notes") if name in FILES else home, place)
    if name not in ("", "staging", "repositories"):
        for directory in ("staging", "repositories"):
            os.makedirs(os.path.join(src, ".dsg", directory), exist_ok=True)
    assert refused_by_all(site, src).object == place
    assert read(home) == {"ssh/keys": "precious", "notes": "precious"}


def test_a_fifo_holds_nobody_up(site):
    _unused, bob = published(site)
    journal = os.path.join(bob, ".dsg", "journal")
    os.mkfifo(journal)
    assert refused_by_all(site, bob).object == journal


VICTIM = "../../../victim"


@pytest.mark.parametrize(
    "fields",
    [
        {"txn_id": VICTIM},
        {"txn_id": ".."},
        {"txn_id": VICTIM, "decision": HERE},
        {"key": VICTIM, "decision": HERE},
        {"host": ["h"]},
        {"backend": "directory"},
        {"backend": {"type": "directory", "base": ["/"]}},
        {"snapshot": "1"},
        {"decision": "nobody"},
    ],
    ids=str,
)
def test_a_field_of_a_journal_leads_nowhere(site, fields):
    _unused, bob = published(site)
    victim = make(os.path.join(site.root, "victim"), {"files/0": "precious", "b": "precious"})
    journal = write_journal(site, bob, **fields)
    assert refused_by_all(site, bob).object == journal
    assert read(victim) == {"files/0": "precious", "b": "precious"}


OPERATIONS = {
    "install above": ["install", "../victim/new", 0, 0, None, False, ""],
    "install at the root": ["install", "/new", 0, 0, [1, 2, 3], True, ""],
    "install a record": ["install", ".dsg/journal", 0, 0, None, False, ""],
    "remove above": ["remove", "d/../../victim/b", 0, 0, [8, 0, 0], True, ""],
    "slot": ["remove", "a", "../../../../../victim/b", 0, [8, 0, 0], False, ""],
    "old name": ["rename", "a", 0, 0, None, False, "../victim/b"],
    "old name of the metadata": ["rename", "a", 0, 0, None, False, ".dsg"],
    "old name of all": ["rename", "d/a", 0, 0, None, False, ".."],
    "no old name": ["rename", "a", 0, 0, None, False, ""],
    "a name that no file can have": ["mkdir", "\ud800", 0, 0, None, False, ""],
    "an old name that no file can have": ["rename", "a", 0, 0, None, False, "\ud800"],
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_of_a_journal_leads_nowhere(site, operation):
    _unused, bob = published(site)
    victim = make(os.path.join(site.root, "victim"), {"b": "precious"})
    os.makedirs(os.path.join(bob, ".dsg", "staging", TXN, "files"))
    journal = write_journal(site, bob, OPERATIONS[operation], decision=HERE)
    assert refused_by_all(site, bob).object == journal
    assert read(victim) == {"b": "precious"}


@pytest.mark.parametrize("where", ["", "files"])
def test_a_staging_area_that_is_a_link_gives_nothing(site, where):
    """What a journal installs would come from there, and what it removes go there."""
    _unused, bob = published(site)
    home = make(os.path.join(site.root, "home"), {"0": "precious", "files/0": "precious"})
    area = os.path.join(bob, ".dsg", "staging", TXN)
    place = os.path.join(area, where).rstrip("/")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.symlink(home, place)
    stolen = os.lstat(os.path.join(home, "0" if where else "files/0")).st_ino
    write_journal(
        site, bob, ["install", "stolen", 0, stolen, None, False, ""], decision=HERE, key="tree-1"
    )
    for work in (lambda: run(site.request(bob)), lambda: site.recover(bob)):
        error = refused(site, "DSG-WORKING-COPY", work)
        assert error.object == os.path.join(area, "files")
    assert read(home) == {"0": "precious", "files/0": "precious"}


@pytest.mark.parametrize("what", ["backup", "record"])
def test_nothing_is_moved_behind_a_link_deeper_down(site, what):
    _unused, bob = published(site)
    home = make(os.path.join(site.root, "home"), {"manifest.jsonl": "precious"})
    make(
        os.path.join(bob, ".dsg", "staging", TXN),
        {"files/0.old": "x", "record/manifest.jsonl": "x"},
    )
    place = os.path.join(
        bob, ".dsg", *(["backup", TXN] if what == "backup" else ["repositories/k"])
    )
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.symlink(home, place)
    operation = ["install", "gone", 0, 1, [1, 2, 3], True, ""]
    write_journal(site, bob, *([operation] if what == "backup" else []), decision=HERE, key="k")
    for work in (lambda: run(site.request(bob)), lambda: site.recover(bob)):
        refused(site, "DSG-WORKING-COPY", work)
    assert read(home) == {"manifest.jsonl": "precious"}


def test_a_journal_that_names_two_repositories_is_none(site):
    _unused, bob = published(site)
    journal = write_journal(site, bob, key="other-0123456789ab")
    for work in everything(site, bob)[:5]:
        assert refused(site, "DSG-WORKING-COPY", work).object == journal


def test_a_repository_that_is_none_cannot_be_asked(site):
    _unused, bob = published(site)
    fields = {"key": "other-0123456789ab", "repository": "../tree"}
    journal = write_journal(site, bob, **fields)
    for work in everything(site, bob)[:5]:
        assert refused(site, "DSG-WORKING-COPY", work).object == journal


# --- what is ours is recovered as before ---


def test_a_sync_with_another_repository_finishes_what_was_begun(site):
    bob = crashed(site)
    other = site.beside("other")
    told = inspect(other.request(bob)).unfinished
    assert any("is to be finished" in line for line in told)
    recovered = run(other.request(bob)).recovered
    assert any("finished transaction" in line for line in recovered)
    assert read(bob) == read(site.live) == read(other.live)
    site.recover()
    site.check_tidy(bob)


def test_a_working_copy_goes_on_without_metadata_of_others(site):
    """As the error says: it is compared anew, and nothing is deleted."""
    _unused, bob = published(site)
    cyd = site.copy("cyd", {**read(site.live), "new": "mine"})
    os.makedirs(os.path.join(cyd, ".dsg"))
    os.symlink(bob, os.path.join(cyd, ".dsg", "staging"))
    refused(site, "DSG-WORKING-COPY", lambda: run(site.request(cyd)))
    os.unlink(os.path.join(cyd, ".dsg", "staging"))
    os.rmdir(os.path.join(cyd, ".dsg"))
    site.sync(cyd)
    assert read(cyd) == read(site.live)
    put(cyd, "new", "again")
    site.sync(cyd)
    site.check_sound()

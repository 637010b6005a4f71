# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests that a hostile host sends as differences: every rule holds for them as for whole ones."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import pytest
from _core.errors import DsgError, ManifestError
from _core.manifest import codec
from _core.manifest.codec import Manifest
from _core.manifest.entry import Entry
from _core.manifest.header import canonical, encode, read_header
from _core.manifest.lines import PUT, encode_entry
from _core.transport import wire
from _core.transport.connect import repository_at

from tests.contract.driver import build
from tests.integration.support import make, read
from tests.integration.test_bad_input import HOSTILE, file, forge
from tests.transport.remote_site import SshSite

Take = Callable[[Iterable[bytes], Manifest, str], Manifest]
TAKES: list[Take] = [wire.manifest_in, wire.history_in]


def change_of(base: Manifest, puts: list[Entry]) -> bytes:
    """Return the change that puts entries upon a base, sealed as an honest one is, rules or not."""
    new = base.header._replace(snapshot=base.header.snapshot + 1, parent=base.header.id)
    header = read_header(io.BytesIO(forge(new, [*base.entries, *puts])), "forged")
    body = "".join(encode_entry(entry, PUT.op) for entry in sorted(puts)).encode()
    end = {"lines": len(puts), "op": "end", "sha256": sha256(body).hexdigest()}
    return encode(header) + body + canonical(end).encode() + b"\n"


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_change_is_refused(hostile: str, take: Take) -> None:
    base = build("tree", [file("z")], None, 1)
    with pytest.raises(ManifestError) as caught:
        take([change_of(base, HOSTILE[hostile])], base, "store1")
    assert caught.value.object == "store1"


TOGETHER = [name for name, entries in HOSTILE.items() if len(entries) > 1]


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("hostile", TOGETHER)
def test_what_is_hostile_only_beside_the_base_is_refused(
    hostile: str, first: int, take: Take
) -> None:
    """Each of the two alone keeps every rule."""
    one, other = HOSTILE[hostile][first], HOSTILE[hostile][1 - first]
    base = build("tree", [file("z"), one], None, 1)
    take([change_of(base, [file("y")])], base, "store1")
    with pytest.raises(ManifestError) as caught:
        take([change_of(base, [other])], base, "store1")
    assert caught.value.object == "store1"


def test_several_steps_are_refused_for_the_tree_that_they_make() -> None:
    base = build("tree", [file("z"), file("a")], None, 1)
    bad = change_of(base, [file("a/b")])
    header = read_header(io.BytesIO(bad), "step")
    between = Manifest(header, sorted([*base.entries, file("a/b")], key=codec.by_path))
    with pytest.raises(ManifestError):
        wire.history_in([bad, change_of(between, [file("y")])], base, "store1")


def test_a_hostile_step_of_the_history_changes_nothing_here(site: SshSite) -> None:
    """A host that sends one is refused, and the working copy is fine with an honest host behind it."""
    ann, ben = site.copy("ann", {"a": "a", "z": "z"}), site.copy("ben")
    site.sync(ann)
    site.sync(ben)
    with repository_at(site.destination, site.backend, site.name) as repository:
        base = repository.manifest()
    make(ann, {"z": "newer"})
    site.sync(ann)
    newest = Path(site.live, ".dsg", "manifest.jsonl")
    step = Path(site.live, ".dsg", "history", "s2.jsonl")
    honest = {path: path.read_bytes() for path in (newest, step)}
    forged = change_of(base, [file("a/b")])
    step.write_bytes(forged)
    newest.write_bytes(
        forge(read_header(io.BytesIO(forged), "forged"), [*base.entries, file("a/b")])
    )
    before = sorted(os.listdir(os.path.join(ben, ".dsg")))
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            site.sync(ben, check=check)
        assert caught.value.code == "DSG-MANIFEST"
        assert "unchanged" in caught.value.unchanged
        assert any("'a'" in line for line in caught.value.details)
    assert sorted(os.listdir(os.path.join(ben, ".dsg"))) == before
    assert read(ben) == {"a": "a", "z": "z"}
    for path, content in honest.items():
        path.write_bytes(content)
    site.sync(ben)
    assert read(ben) == {"a": "a", "z": "newer"}

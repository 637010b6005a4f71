# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every foreign form: what is written is read back, what is malformed is refused."""

from __future__ import annotations

import hashlib
import io

import pytest
from _core.errors import ManifestError
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.foreign import FORMATS, FORMS, Partial, compare, unexpressed
from _core.manifest.paths import problems
from hypothesis import assume, given
from hypothesis import strategies as st

CONTENT = hashlib.sha256(b"x").hexdigest()
OTHER = hashlib.sha256(b"y").hexdigest()
FOREIGN = [form for form in FORMATS if form != "native"]


def a_file(path: str, content: str = CONTENT, **fields: int) -> Entry:
    return Entry(path, FILE, 1, 5, 0o644, content, "", "")._replace(**fields)  # type: ignore[arg-type]


def a_link(path: str, target: str) -> Entry:
    return Entry(path, LINK, 0, 0, 0, "", target, "")


def a_directory(path: str) -> Entry:
    return Entry(path, DIRECTORY, 0, 0, 0, "", "", "")


def dumped(form: str, entries: list[Entry]) -> bytes:
    return b"".join(FORMS[form].dump(entries))


def parsed(form: str, data: bytes) -> Partial:
    return FORMS[form].parse(io.BytesIO(data), "list")


def carried(form: str, entries: list[Entry]) -> list[Entry]:
    """Return what is left of entries after a way through the form."""
    kept = []
    for entry in entries:
        if entry.kind in FORMS[form].kinds:
            blank = {"size": 0, "mtime_ns": 0, "mode": 0, "sha256": ""}
            dropped = {k: v for k, v in blank.items() if k not in FORMS[form].fields}
            kept.append(entry._replace(user="", **dropped))  # type: ignore[arg-type]
    return kept


_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
_awkward = st.text(st.sampled_from(list("\\%# =*?[]()-./~^'\"$&ünö25M")), min_size=1, max_size=8)
_paths = st.lists(_names | _awkward, min_size=1, max_size=3).map("/".join)
_entries = st.one_of(
    st.builds(
        lambda path, size, mtime, mode, content: Entry(
            path, FILE, size, mtime, mode, hashlib.sha256(content).hexdigest(), "", "me"
        ),
        _paths,
        st.integers(0, 2**62),
        st.integers(-(10**18), 10**19),
        st.integers(0, 0o777),
        st.binary(max_size=4),
    ),
    st.builds(lambda path: Entry(path, LINK, 0, 0, 0, "", "to " + path[-1:] + "#", "me"), _paths),
    st.builds(lambda path: Entry(path, DIRECTORY, 0, 0, 0, "", "", "me"), _paths),
)


@pytest.mark.parametrize("form", FOREIGN)
@given(st.lists(_entries, min_size=1, max_size=5))
def test_what_is_written_is_read_back(form: str, entries: list[Entry]) -> None:
    entries.sort(key=lambda entry: entry.path)
    assume(not problems([entry.path for entry in entries]))
    expected = carried(form, entries)
    if form == "sha256sum" and not expected:
        return
    assert parsed(form, dumped(form, entries)) == Partial(
        expected, FORMS[form].kinds, FORMS[form].fields
    )


@pytest.mark.parametrize("form", FOREIGN)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_an_error_of_ours(form: str, data: bytes) -> None:
    try:
        parsed(form, data)
    except ManifestError:
        return


@pytest.mark.parametrize("form", FOREIGN)
@given(at=st.integers(0, 400), put=st.binary(max_size=3), cut=st.integers(0, 5))
def test_damage_is_refused_or_shows_in_the_entries(
    form: str, at: int, put: bytes, cut: int
) -> None:
    entries = [a_file("a b"), a_file("d/é\\"), a_directory("e"), a_link("l", "a b")]
    data = dumped(form, entries)
    at = min(at, len(data))
    try:
        parsed(form, data[:at] + put + data[at + cut :])
    except ManifestError as exc:
        assert exc.object == "list"


@pytest.mark.parametrize(
    ("form", "expected"),
    [("native", []), ("sha256sum", ["e", "l"]), ("bagit", ["e", "l"]), ("mtree", [])],
)
def test_what_a_form_cannot_express_is_named(form: str, expected: list[str]) -> None:
    entries = [a_file("a"), a_directory("e"), a_link("l", "a")]
    assert unexpressed(form, entries) == expected


def _line(form: str, path: str) -> bytes:
    """Spell a file with a path as it is, without the checks of ``dump``."""
    if form == "mtree":
        return f"./{path} type=file size=1 sha256digest={CONTENT}\n".encode()
    prefix = "data/" if form == "bagit" else ""
    return f"{CONTENT}  {prefix}{path}\n".encode()


@pytest.mark.parametrize("form", FOREIGN)
@pytest.mark.parametrize(
    ("paths", "rule"),
    [
        (["ok", "../x"], "'.' and '..'"),
        (["ok", "a/../b"], "'.' and '..'"),
        (["ok", "/etc/passwd"], "absolute"),
        (["ok", "a//b"], "empty"),
        (["ok", "ok"], "more than once"),
        (["a", "a/b"], "also the directory"),
        (["A/x", "a/y"], "collides"),
        (["ok", ".dsg/x"], "reserved"),
        (["ok", "e\u0301"], "NFC"),
        (["ok", "\u202eevil"], "U+202E"),
        (["ok", "x" * 256], "longer"),
    ],
)
def test_paths_that_break_the_rules_are_refused(form: str, paths: list[str], rule: str) -> None:
    data = b"".join(_line(form, path) for path in paths)
    with pytest.raises(ManifestError, match="line 2: ") as caught:
        parsed(form, data)
    assert rule in "\n".join(caught.value.details)
    assert caught.value.object == "list"


@pytest.mark.parametrize("form", FOREIGN)
def test_an_undecodable_path_is_refused(form: str) -> None:
    data = _line(form, "ok") + _line(form, "@").replace(b"@", b"\xff")
    with pytest.raises(ManifestError, match="line 2: not valid UTF-8"):
        parsed(form, data)


def test_a_comparison_looks_only_at_what_the_form_carries() -> None:
    entries = [a_file("a"), a_file("b"), a_file("c"), a_link("l", "a"), a_directory("e")]
    found = [
        a_file("a", mode=0o600, mtime_ns=9),
        a_file("b", OTHER, size=2),
        a_link("c", "b"),
        a_file("new"),
        a_link("l", "b"),
        a_directory("e"),
    ]
    result = compare(parsed("sha256sum", dumped("sha256sum", entries)), found)
    assert result.changed == [("b", ("sha256",)), ("c", ("type",))]
    assert (result.added, result.missing, result.unchecked) == (["new"], [], ["e", "l"])
    result = compare(parsed("mtree", dumped("mtree", sorted(entries))), found)
    assert result.changed == [
        ("a", ("mode", "mtime_ns")),
        ("b", ("sha256", "size")),
        ("c", ("type",)),
        ("l", ("target",)),
    ]
    assert not result.equal


def test_a_comparison_of_equals_is_equal_and_names_the_missing() -> None:
    entries = [a_file("a"), a_file("b")]
    expected = parsed("mtree", dumped("mtree", entries))
    assert compare(expected, entries).equal
    assert compare(expected, entries[:1]).missing == ["b"]
    assert not compare(expected, entries[:1]).equal

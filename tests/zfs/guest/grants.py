# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grants on real datasets: exactly what is declared, and nothing of a parent's."""

from __future__ import annotations

from _core.zfs import grant_state
from _core.zfs.command import Runner
from _core.zfs.grant_state import GrantRequest
from guest.lab import sh
from guest.provisioning import grant, hold, refused

ROOT = "tank/granting"
CHILD = f"{ROOT}/child"
USER = ("user", "dsg")


def _made() -> None:
    sh("zfs", "destroy", "-R", ROOT, check=False)
    sh("zfs", "create", "-p", "-o", "mountpoint=none", CHILD)


def _lines(dataset: str) -> list[str]:
    return sh("zfs", "allow", dataset).splitlines()


def present_absent_exact() -> None:
    """For a user, a group and everyone, in every scope."""
    _made()
    for kind, name, option in (
        ("user", "dsg", "-u dsg"),
        ("group", "adm", "-g adm"),
        ("everyone", "", "-e"),
    ):
        some = grant(ROOT, kind, name, ["send", "clone"])
        assert hold(some) == [f"zfs allow {option} clone,send {ROOT}"]
        assert hold(grant(ROOT, kind, name, ["clone", "send", "hold"], scope="local")) == [
            f"zfs allow -l {option} hold {ROOT}"
        ]
        assert hold(grant(ROOT, kind, name, ["send"], scope="local", state="absent")) == [
            f"zfs unallow -l {option} send {ROOT}"
        ]
        request = GrantRequest(ROOT, kind, name, ["clone"], "descendants", "exact")
        described = grant_state.describe(Runner(), request)
        assert described == {"local": ["clone", "hold"], "descendants": ["clone", "send"]}
        exact = grant(ROOT, kind, name, ["clone", "mount"], scope="descendants", state="exact")
        assert hold(exact) == [
            f"zfs allow -d {option} mount {ROOT}",
            f"zfs unallow -l {option} clone,hold {ROOT}",
            f"zfs unallow -d {option} send {ROOT}",
        ]
        assert hold(grant(ROOT, kind, name, ["clone", "nosuch"], state="absent")) == [
            f"zfs unallow -d {option} clone {ROOT}"
        ]
        assert hold(grant(ROOT, kind, name, [], state="exact")) == [
            f"zfs unallow -d {option} mount {ROOT}"
        ]
    assert _lines(ROOT) == []


def a_grant_of_the_parent_is_left_alone() -> None:
    """Also where the child's is removed, and where the child has none."""
    _made()
    hold(grant(ROOT, *USER, ["clone", "send"]))
    assert hold(grant(CHILD, *USER, ["clone"], state="absent")) == []
    hold(grant(CHILD, *USER, ["clone", "hold"]))
    before = _lines(ROOT)
    assert hold(grant(CHILD, *USER, ["clone", "hold"], state="absent")) != []
    assert _lines(ROOT) == before and _lines(CHILD) == before
    hold(grant(CHILD, *USER, [], state="exact"))
    assert _lines(ROOT) == before
    # What the parent grants is granted here as well when that is declared.
    assert hold(grant(CHILD, *USER, ["clone"])) == [f"zfs allow -u dsg clone {CHILD}"]


def others_are_left_alone() -> None:
    """Sets, create-time permissions, other users; a grant may name a set."""
    _made()
    sh("zfs", "allow", "-s", "@ops", "send,hold", ROOT)
    sh("zfs", "allow", "-c", "destroy", ROOT)
    sh("zfs", "allow", "-u", "admin", "clone", ROOT)
    before = _lines(ROOT)
    assert hold(grant(ROOT, *USER, ["@ops", "mount"])) == [f"zfs allow -u dsg @ops,mount {ROOT}"]
    assert hold(grant(ROOT, *USER, ["mount"], state="exact")) == [f"zfs unallow -u dsg @ops {ROOT}"]
    hold(grant(ROOT, *USER, [], state="exact"))
    assert _lines(ROOT) == before


def a_user_that_is_gone() -> None:
    """Its grants are found by its number."""
    _made()
    sh("useradd", "--uid", "1999", "gone")
    hold(grant(ROOT, "user", "1999", ["clone", "hold"]))
    assert any("user gone clone,hold" in line for line in _lines(ROOT))
    assert hold(grant(ROOT, "user", "gone", ["clone", "hold"])) == []
    assert grant_state.nameless(Runner(), ROOT) == []
    sh("userdel", "gone")
    assert grant_state.nameless(Runner(), ROOT) == ["1999"]
    assert grant_state.nameless(Runner(), CHILD) == [], "it was granted further up"
    assert hold(grant(ROOT, "user", "gone", ["clone"], state="absent")) == []
    assert hold(grant(ROOT, "user", "1999", ["clone"], state="absent")) == [
        f"zfs unallow -u 1999 clone {ROOT}"
    ]
    assert hold(grant(ROOT, "user", "1999", [], state="exact")) == [
        f"zfs unallow -u 1999 hold {ROOT}"
    ]


def what_is_refused() -> None:
    """Before anything is granted, also in check mode."""
    _made()
    refused(grant(ROOT, "user", "nobody-here", ["clone"]), "DSG-ARGUMENT", "no such user")
    refused(grant(ROOT, "group", "nobody-here", ["clone"]), "DSG-ARGUMENT", "no such group")
    refused(grant(ROOT, *USER, ["clone", "nosuch"]), "DSG-ARGUMENT", "nosuch", "snapshot")
    for wrong in ("-r", "a b", "a,b", "", "clone\n"):
        refused(grant(ROOT, *USER, [wrong]), "DSG-ARGUMENT")
    refused(grant(ROOT, *USER, []), "DSG-ARGUMENT", "needs permissions")
    refused(grant("tank/nosuch", *USER, ["clone"]), "DSG-DATASET", "tank/nosuch", "not exist")
    refused(grant("nosuchpool/x", *USER, ["clone"]), "DSG-ZFS", "nosuchpool")
    for name in ("-u", "tank/@x", "tank/a\n", ""):
        refused(grant(name, *USER, ["clone"]), "DSG-ARGUMENT")
    assert _lines(ROOT) == []


def a_permission_that_was_granted_works() -> None:
    """And one that was revoked does not."""
    _made()
    snapshot = ["runuser", "-u", "dsg", "--", "/usr/sbin/zfs", "snapshot"]
    hold(grant(ROOT, *USER, ["snapshot"], scope="descendants"))
    sh(*snapshot, f"{CHILD}@1")
    assert "permission denied" in _said(*snapshot, f"{ROOT}@1")
    hold(grant(ROOT, *USER, ["snapshot"], state="absent"))
    assert "permission denied" in _said(*snapshot, f"{CHILD}@2")


def _said(*argv: str) -> str:
    try:
        return sh(*argv)
    except AssertionError as error:
        return str(error)

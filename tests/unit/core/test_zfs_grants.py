# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grants: what ``zfs allow`` prints, and the commands that it takes."""

from __future__ import annotations

import pytest
from _core.backends.zfs import rights
from _core.zfs import grants
from _core.zfs.command import ZfsError
from _core.zfs.grants import Who, atoms
from hypothesis import given
from hypothesis import strategies as st

# Recorded with OpenZFS 2.3.9.
PRINTED = """\
---- Permissions on t1/a/b -------------------------------------------
Local permissions:
\tuser root destroy
---- Permissions on t1/a ---------------------------------------------
Permission sets:
\t@ops hold,send
Create time permissions:
\tdestroy
Local permissions:
\tuser dsg snapshot
Descendent permissions:
\tuser dsg promote
\tgroup adm send
Local+Descendent permissions:
\tuser dsg @ops,create,mount
\tuser (unknown: 1999) promote
\teveryone hold
---- Permissions on t1 -----------------------------------------------
Local+Descendent permissions:
\tuser dsg clone
"""
DSG = Who("user", "dsg")


def test_what_is_granted_on_the_dataset_itself():
    assert grants.parse(PRINTED, "t1/a") == {
        DSG: atoms(["snapshot"], "local")
        | atoms(["promote"], "descendants")
        | atoms(["@ops", "create", "mount"], "both"),
        Who("group", "adm"): atoms(["send"], "descendants"),
        Who("user", "1999"): atoms(["promote"], "both"),
        Who("everyone"): atoms(["hold"], "both"),
    }


def test_grants_of_parents_are_theirs():
    assert grants.parse(PRINTED, "t1/a/b") == {Who("user", "root"): atoms(["destroy"], "local")}
    assert grants.parse(PRINTED, "t1") == {DSG: atoms(["clone"], "both")}
    assert grants.parse(PRINTED, "t1/a/b/c") == {}
    assert grants.parse("", "t1") == {}


def test_what_reaches_a_dataset():
    """Its own, and of what was granted further up what is for descendants."""
    assert rights.parse(PRINTED, "t1/a", "dsg", set()) == {
        *("clone", "create", "hold", "mount", "send"),
    }
    assert rights.parse(PRINTED, "t1/a/b", "dsg", {"adm"}) == {
        *("clone", "create", "hold", "mount", "promote", "send"),
    }
    assert rights.parse(PRINTED, "t1/a/b", "root", set()) == {"hold"}


def test_a_right_in_two_halves_is_whole():
    text = "---- Permissions on t ---\n{}:\n\tuser dsg create\n{}:\n\teveryone create,mount\n"
    halves = text.format("Local permissions", "Descendent permissions")
    assert rights.parse(halves, "t", "dsg", set()) == {"create"}
    assert rights.parse(halves, "t/a", "dsg", set()) == {"create", "mount"}


ON = "---- Permissions on {} ---\n"
SETS = "Permission sets:\n\t{}\n"
BELOW, BOTH = "Descendent permissions:\n\t{}\n", "Local+Descendent permissions:\n\t{}\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (  # a set is looked for where it was granted and above
            ON.format("t/p")
            + SETS.format("@o create")
            + ON.format("t")
            + BELOW.format("user dsg @o"),
            set(),
        ),
        (  # the nearest one counts
            ON.format("t/p")
            + (SETS.format("@o send") + BOTH.format("user dsg @o"))
            + (ON.format("t") + SETS.format("@o create,mount")),
            {"send"},
        ),
        (  # a set of sets, one of them from above
            ON.format("t/p")
            + (SETS.format("@a @b,create") + BOTH.format("user dsg @a"))
            + (ON.format("t") + SETS.format("@b hold,@a")),
            {"create", "hold"},
        ),
        (ON.format("t/p") + BOTH.format("user dsg @nowhere,mount"), {"mount"}),
    ],
)
def test_sets_stand_for_what_openzfs_takes_them_for(text, wanted):
    assert rights.parse(text, "t/p", "dsg", set()) == wanted


def test_the_head_of_a_long_name_has_no_dash():
    name = f"tank/{'n' * 60}"
    text = f"---- Permissions on {name} \nLocal permissions:\n\tuser dsg send\n"
    assert grants.parse(text, name) == {DSG: atoms(["send"], "local")}


def test_names_with_spaces():
    text = "---- Permissions on t ---\nLocal permissions:\n\tgroup DOM\\domain users send,hold\n"
    assert grants.parse(text, "t") == {
        Who("group", "DOM\\domain users"): atoms(["send", "hold"], "local")
    }


@pytest.mark.parametrize("text", ["nonsense", "---- Permissions on t ---\nNew section:\n\tx y z"])
def test_what_is_not_understood_is_an_error(text):
    with pytest.raises(ZfsError):
        grants.parse(text, "t")


def test_only_the_difference_is_said_and_grants_come_first():
    have = atoms(["clone", "send"], "both") | atoms(["hold"], "local")
    want = atoms(["clone"], "both") | atoms(["hold"], "both") | atoms(["mount"], "local")
    assert grants.commands("t/a", DSG, have, want) == [
        ("zfs", "allow", "-l", "-u", "dsg", "mount", "t/a"),
        ("zfs", "allow", "-d", "-u", "dsg", "hold", "t/a"),
        ("zfs", "unallow", "-u", "dsg", "send", "t/a"),
    ]


def test_who_is_meant():
    assert Who("everyone").arguments == ("-e",)
    assert Who("group", "adm").arguments == ("-g", "adm")


ATOMS = st.frozensets(
    st.tuples(st.sampled_from(["clone", "hold", "send"]), st.sampled_from(["local", "descendants"]))
)


def carried_out(have, commands):
    """What OpenZFS makes of the commands."""
    for _zfs, verb, *options, permissions, _dataset in commands:
        scope = {"-l": "local", "-d": "descendants"}.get(options[0], "both")
        named = atoms(permissions.split(","), scope)
        have = have | named if verb == "allow" else have - named
    return have


@given(ATOMS, ATOMS)
def test_the_commands_lead_there(have, want):
    commands = grants.commands("t/a", DSG, have, want)
    assert carried_out(have, commands) == want
    assert (commands == []) == (have == want)

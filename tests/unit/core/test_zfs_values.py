# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of properties, as they are declared and as OpenZFS prints them."""

from __future__ import annotations

import pytest
from _core.errors import ArgumentError
from _core.zfs import values
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("recordsize", "1M", "1048576"),
        ("recordsize", "1m", "1048576"),
        ("recordsize", "1MiB", "1048576"),
        ("recordsize", "131072B", "131072"),
        ("quota", "1.5G", "1610612736"),
        ("quota", "1.2T", "1319413953331"),
        ("quota", ".5G", "536870912"),
        ("quota", "none", "0"),
        ("refquota", "0", "0"),
        ("userquota@alice", "none", "0"),
        ("groupobjquota@staff", "none", "0"),
        ("filesystem_limit", "none", "none"),
        ("compression", "gzip-6", "gzip"),
        ("compression", "zstd-fast", "zstd-fast"),
        ("acltype", "posixacl", "posix"),
        ("xattr", "sa", "on"),
        ("feature@lz4_compress", "enabled", "active"),
        ("capacity", "80%", "80"),
        ("dsg:x", "1M", "1M"),
    ],
)
def test_the_same(name, wanted, found):
    assert values.same(name, wanted, found)


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("compression", "on", "lz4"),
        ("compression", "gzip-9", "gzip"),
        ("filesystem_limit", "none", "0"),
        ("recordsize", "1M", "1000000"),
        ("dsg:x", "1M", "1048576"),
        ("comment", "1M", "1048576"),
        ("feature@lz4_compress", "active", "enabled"),
        ("canmount", "on", "off"),
        ("readonly", "on", ""),
    ],
)
def test_not_the_same(name, wanted, found):
    assert not values.same(name, wanted, found)


def test_xattr_meant_directories_before_2_3():
    assert not values.same("xattr", "sa", "on", (2, 2))


@given(st.integers(0, 2**63), st.sampled_from(["", "K", "M", "G", "T"]))
def test_units_are_powers_of_1024(amount, unit):
    assert values.number(f"{amount}{unit}") == amount * 1024 ** ("_KMGT".index(unit or "_"))


def test_yaml_s_values_become_openzfs_s():
    declared = {"atime": False, "readonly": True, "copies": 2, "dsg:x": "no"}
    assert values.texts(declared) == {
        "atime": "off",
        "readonly": "on",
        "copies": "2",
        "dsg:x": "no",
    }


@pytest.mark.parametrize(
    "declared",
    [
        {"-r": "x"},
        {"Quota": "1"},
        {"a,b": "x"},
        {"a=b": "x"},
        {"a b": "x"},
        {"": "x"},
        {"x\n": "x"},
        {"quota": None},
        {"quota": ["1"]},
        {"quota": ""},
        {"dsg:x": "a\nb"},
        {"dsg:x": "a\tb"},
        {"dsg:x": "y" * 9000},
        {":x": "1"},
    ],
)
def test_what_is_refused(declared):
    with pytest.raises(ArgumentError):
        values.texts(declared)


def test_a_quota_of_zero_is_said_as_openzfs_wants_it():
    assert values.argument("quota", "0") == "quota=none"
    assert values.argument("userquota@alice", "0") == "userquota@alice=none"
    assert values.argument("filesystem_limit", "0") == "filesystem_limit=0"
    assert values.argument("quota", "10M") == "quota=10M"

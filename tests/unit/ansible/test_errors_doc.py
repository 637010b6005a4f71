# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every error code is explained in docs/errors.md, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible_collections.dsg.storage.plugins.module_utils import _verification
from ansible_collections.dsg.storage.plugins.module_utils._core import errors
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs import command, steps
from ansible_collections.dsg.storage.plugins.modules import dsg_sync

ERRORS = Path(__file__).resolve().parents[3] / "docs" / "errors.md"


def _family(error: type[errors.DsgError]) -> Iterator[type[errors.DsgError]]:
    yield error
    for child in error.__subclasses__():
        yield from _family(child)


def _codes() -> list[str]:
    assert issubclass(_verification.VerificationError, errors.DsgError)
    assert issubclass(command.ZfsError, errors.DsgError)
    assert issubclass(steps.DiskError, errors.DsgError)
    return sorted({error.code for error in _family(errors.DsgError)})


def test_the_table_lists_every_code_once_in_order() -> None:
    rows = re.findall(r"^\| \[`(DSG-[A-Z-]+)`\]\(#(dsg-[a-z-]+)\) \|", ERRORS.read_text(), re.M)
    assert rows == [(code, code.lower()) for code in _codes()]


def test_every_code_has_its_section() -> None:
    assert re.findall(r"^## (DSG-[A-Z-]+)$", ERRORS.read_text(), re.M) == _codes()


def test_the_example_is_what_the_error_says() -> None:
    limit = errors.DeleteLimitError(
        "this would delete 812 of 812 paths (all of them: is the other side empty by mistake?); "
        "max_delete allows 50%, that is 406",
        object="repository",
    )
    assert f"```text\n{limit}\n```" in ERRORS.read_text()


def test_the_keys_it_shows_are_options_of_the_module() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", ERRORS.read_text(), re.M | re.S)
    options = dsg_sync.argument_spec()
    shown = yaml.safe_load(block)
    assert set(shown) <= set(options)
    decisions = [shown["conflict"], *shown["conflict_paths"].values()]
    assert decisions and set(decisions) <= set(options["conflict"]["choices"])


def test_an_error_says_what_is_unchanged_and_what_to_do_next() -> None:
    found = [error for error in _family(errors.DsgError) if not error.unchanged]
    assert found == []

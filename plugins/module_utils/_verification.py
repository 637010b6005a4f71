# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification found, as an error for people and as data for playbooks.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ._core.errors import DsgError
from ._core.manifest.foreign import Differences
from ._report import capped, shown_path

_LISTED = 20


class Findings:
    """How a tree differs from its manifest; ``problems`` are findings beyond single paths."""

    def __init__(
        self,
        added: Sequence[str],
        missing: Sequence[str],
        changed: Sequence[tuple[str, Sequence[str]]],
        problems: Sequence[str] = (),
    ) -> None:
        self.added = added
        self.missing = missing
        self.changed = changed
        self.problems = problems

    @classmethod
    def of(cls, found: Differences, problems: Sequence[str] = ()) -> Findings:
        """Take over what the comparison with a manifest of any form found."""
        return cls(found.added, found.missing, found.changed, problems)

    @property
    def sound(self) -> bool:
        """Tell whether nothing was found."""
        return not (self.added or self.missing or self.changed or self.problems)

    def counts(self) -> dict[str, int]:
        """Return how many paths differ in which way."""
        return {
            "added": len(self.added),
            "missing": len(self.missing),
            "changed": len(self.changed),
        }

    def data(self, limit: int) -> dict[str, Any]:
        """Return the findings as plain data, lists up to ``limit``."""
        return {
            "verified": self.sound,
            "differences": {
                "counts": self.counts(),
                "added": list(self.added[:limit]),
                "missing": list(self.missing[:limit]),
                "changed": [
                    {"path": path, "fields": list(fields)} for path, fields in self.changed[:limit]
                ],
                "truncated": max(self.counts().values()) > limit,
            },
        }

    def lines(self) -> Iterator[str]:
        """Yield one line for each finding."""
        yield from self.problems
        for path in self.missing:
            yield f"missing: {shown_path(path)}"
        for path, fields in self.changed:
            yield f"changed: {shown_path(path)}{_in_brackets(fields)}"
        for path in self.added:
            yield f"added: {shown_path(path)}"


def _in_brackets(fields: Sequence[str]) -> str:
    return f" ({', '.join(fields)})" if fields else ""


class VerificationError(DsgError):
    """A tree is not what its manifest says. ``result`` is the task's result as data."""

    code = "DSG-VERIFY"
    unchanged = "Nothing was changed by looking."
    next_step = (
        "Restore what is missing or changed from a snapshot or a backup, and move away what was "
        "added; or, for a tree of your own, write its manifest anew."
    )

    result: dict[str, Any]

    @classmethod
    def of(cls, findings: Findings, subject: str, result: dict[str, Any]) -> VerificationError:
        """Name every kind of finding and list the first ones."""
        number = [f"{count} {kind}" for kind, count in findings.counts().items() if count]
        number += [f"{len(findings.problems)} other findings"] if findings.problems else []
        error = cls(
            f"the tree is not what its manifest says: {', '.join(number)}",
            object=subject,
            details=capped(list(findings.lines()), _LISTED),
        )
        error.result = result
        return error

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification found, as an error for people and as data for playbooks.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from ._core.errors import DsgError, capped
from ._core.manifest.foreign import Differences
from ._report import shown_path


class Found(Protocol):
    """What a verification found, whatever was verified."""

    @property
    def sound(self) -> bool:
        """Tell whether nothing was found."""

    def data(self, limit: int) -> dict[str, Any]:
        """Return the findings as plain data, lists up to ``limit``."""

    def headline(self) -> str:
        """Return one sentence that counts the findings."""

    def lines(self) -> Iterator[str]:
        """Yield one line for each finding."""


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
            "sound": self.sound,
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

    def headline(self) -> str:
        """Return one sentence that counts the findings."""
        number = [f"{count} {kind}" for kind, count in self.counts().items() if count]
        number += [f"{len(self.problems)} other findings"] if self.problems else []
        return f"the tree is not what its manifest says: {', '.join(number)}"

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


class RepositoryFindings:
    """What the core found in a repository's trees and history, as ``upkeep.verify`` tells it."""

    def __init__(self, found: Mapping[str, Any], repository: str) -> None:
        self.found = found
        self.repository = repository
        self.problems = cast(list[dict[str, Any]], found["problems"])

    @property
    def sound(self) -> bool:
        """Tell whether nothing was found."""
        return bool(self.found["sound"])

    def data(self, limit: int) -> dict[str, Any]:
        """Return the findings as plain data, lists up to ``limit``."""
        return {
            **self._published().data(limit),
            "verified": self.sound,
            "sound": self.sound,
            **{key: self.found[key] for key in ("snapshot", "digest", "files", "bytes", "trees")},
            "problem_counts": self.found["counts"],
            "problems": self.problems[:limit],
            "problems_truncated": len(self.problems) > limit,
            "chain_problems": self._chain()[:limit],
            "summary": self._summary(),
        }

    def _published(self) -> Findings:
        """Return how the published tree differs from its manifest."""
        added, missing = [], []
        changed: dict[str, list[str]] = {}
        for problem in self.problems:
            path, what = problem["path"], problem["what"]
            if not problem["live"] or what in ("manifest", "history", "snapshot"):
                continue
            if what == "added":
                added.append(path)
            elif what == "missing":
                missing.append(path)
            else:
                changed.setdefault(path, []).append(what)
        return Findings(added, missing, list(changed.items()))

    def _chain(self) -> list[str]:
        return [
            f"s{one['snapshot']}: {one['detail']}"
            for one in self.problems
            if one["what"] in ("manifest", "history")
        ]

    def _summary(self) -> dict[str, str]:
        trees = self.found["trees"]
        newest = [f"s{tree['snapshot']}" for tree in trees if tree["live"]]
        older = [f"s{tree['snapshot']}" for tree in trees if not tree["live"]]
        return {
            "repository": self.repository,
            "snapshot": "".join(newest),
            "also": ", ".join(older),
            "files": str(sum(tree["files"] for tree in trees)),
            "sound": "yes" if self.sound else "NO",
            "problems": self._kinds(),
        }

    def _kinds(self) -> str:
        counts = sorted(self.found["counts"].items())
        return ", ".join(f"{count} {kind}" for kind, count in counts)

    def headline(self) -> str:
        """Return one sentence that counts the findings."""
        return f"the repository is not what was published: {self._kinds()}"

    def lines(self) -> Iterator[str]:
        """Yield one line for each finding."""
        for problem in self.problems:
            tree = "" if problem["live"] else f"s{problem['snapshot']}: "
            detail = f" ({problem['detail']})" if problem["detail"] else ""
            path = shown_path(problem["path"] or ".")
            yield f"{tree}{problem['what']}: {path}{detail}"


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
    def of(cls, findings: Found, subject: str, result: dict[str, Any]) -> VerificationError:
        """Name every kind of finding and list the first ones."""
        error = cls(findings.headline(), object=subject, details=capped(list(findings.lines())))
        error.result = result
        return error

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawings of the docs in a real browser: every word can be read, and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.browser import Browser, browser
from tests.tools.collection import ROOT

DRAWINGS = sorted((ROOT / "docs" / "drawings").iterdir())
_SHOWN = re.compile(r"!\[([^\]]+)\]\(drawings/([^)]+)\)")
_BOXES = """
[...document.querySelectorAll('%s')].map(e => {
  const b = e.getBBox();
  return {text: e.textContent, left: b.x, top: b.y, right: b.x + b.width, bottom: b.y + b.height};
})
"""
_VIEW = "(v => [v.x, v.y, v.x + v.width, v.y + v.height])(document.rootElement.viewBox.baseVal)"

Box = dict[str, Any]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def apart(one: Box, other: Box) -> bool:
    """Tell whether two boxes share nothing; the space around letters may touch."""
    slack = 2
    return bool(
        min(one["right"], other["right"]) - max(one["left"], other["left"]) <= slack
        or min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) <= slack
    )


def crosses(text: Box, frame: Box) -> bool:
    """Tell whether a text runs over the edge of a frame: neither within it nor beside it."""
    within = (
        frame["left"] <= text["left"]
        and text["right"] <= frame["right"]
        and frame["top"] <= text["top"]
        and text["bottom"] <= frame["bottom"]
    )
    return not within and not apart(text, frame)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_every_word_can_be_read(chromium: Browser, drawing: Path) -> None:
    """No text leaves the drawing, lies upon another one, or runs over the edge of a box."""
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.open(drawing)
    texts: list[Box] = chromium.ask(_BOXES % "text")
    frames: list[Box] = chromium.ask(_BOXES % "rect")
    left, top, right, bottom = chromium.ask(_VIEW)
    assert len(texts) > 5 and frames
    view = {"left": left, "top": top, "right": right, "bottom": bottom}
    assert [text for text in texts if crosses(text, view) or apart(text, view)] == []
    pairs = [(a, b) for n, a in enumerate(texts) for b in texts[n + 1 :]]
    assert [(a["text"], b["text"]) for a, b in pairs if not apart(a, b)] == []
    assert [text["text"] for text in texts if any(crosses(text, box) for box in frames)] == []
    assert (chromium.requests, chromium.complaints) == ([drawing.as_uri()], [])


def test_each_is_shown_with_words_for_who_does_not_see_it() -> None:
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    shown = dict(reversed(found) for page in pages for found in _SHOWN.findall(page))
    assert shown.keys() == {path.name for path in DRAWINGS}
    for path in DRAWINGS:
        assert len(shown[path.name].split()) > 3
        assert re.search(r'role="img" aria-labelledby="title"', path.read_text(encoding="utf-8"))

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTML report in a real browser: readable on every screen, and nothing but text in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._status import html
from ansible_collections.dsg.storage.plugins.module_utils._status.fleet import fleet

from tests.tools.browser import Browser, browser
from tests.unit.ansible.fleet_results import TAKEN, healthy, hostile, results

WIDTHS = (320, 360, 768, 1280, 1920)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The report of a fleet in which everything happens at once."""
    every = {**results(), "<b>six</b>": {"results": [hostile()]}, "h" * 200: healthy("r" * 64)}
    path = tmp_path / "status.html"
    path.write_text(html.page(fleet(every, TAKEN), "Status of </title><script>alert(9)</script>"))
    return path


def unfold(chromium: Browser) -> None:
    chromium.ask("document.querySelectorAll('details').forEach(d => d.open = true)")


def begin(chromium: Browser) -> None:
    for told in (chromium.requests, chromium.complaints, chromium.dialogs):
        told.clear()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(
    chromium: Browser, page: Path, width: int, dark: bool
) -> None:
    chromium.open(page, width=width, dark=dark)
    unfold(chromium)
    assert chromium.ask("window.innerWidth") == width
    assert chromium.ask("document.documentElement.scrollWidth") == width
    outside = (
        "[...document.querySelectorAll('main *')].filter(e => {const r = e.getBoundingClientRect();"
        " return r.width && !e.closest('thead') && (r.right > innerWidth + 1 || r.left < -1)})"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    assert chromium.ask(outside) == []


def test_nothing_is_loaded_and_nothing_runs(chromium: Browser, page: Path) -> None:
    begin(chromium)
    chromium.open(page)
    unfold(chromium)
    assert [one for one in chromium.requests if not one.startswith("data:")] == [page.as_uri()]
    assert chromium.complaints == []
    assert chromium.dialogs == []
    assert chromium.ask("document.title").startswith("Status of </title><script>")
    tags = "script,img,iframe,object,embed,form,base,svg,[onmouseover],[onerror],[onload]"
    assert chromium.ask(f"document.querySelectorAll('{tags}').length") == 0
    assert chromium.ask("document.querySelectorAll('style').length") == 1


def test_the_browser_would_have_noticed(chromium: Browser, page: Path) -> None:
    """The same page without our escaping and policy does all of that."""
    begin(chromium)
    broken = page.read_text().replace("http-equiv", "data-x").replace("&lt;", "<")
    page.write_text(broken.replace("&gt;", ">").replace("&#x27;", "'").replace("&quot;", '"'))
    chromium.open(page)
    assert chromium.dialogs
    assert chromium.ask("document.title") == "owned"
    assert chromium.ask("document.querySelectorAll('img').length") > 0


def test_the_policy_holds_even_where_a_script_slips_in(chromium: Browser, page: Path) -> None:
    begin(chromium)
    slipped = "<script>document.title='owned';alert(1)</script></main>"
    page.write_text(page.read_text().replace("</main>", slipped))
    chromium.open(page)
    assert chromium.dialogs == []
    assert chromium.ask("document.title") != "owned"
    assert any("Content Security Policy" in said for said in chromium.complaints)


def test_the_content_is_what_hosts_told(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    unfold(chromium)
    said = chromium.ask("document.body.innerText")
    for words in (
        "2026-11-21 09:41",
        "7 repositories",
        "1 path differs from the manifest",
        "pid 7 (less) of bob in /sub",
        "Run dsg.storage.recover (any next sync",
        "ssh could not reach the host",
        "'dsg_repositories' is undefined",
        "2 × 111 only L differs",
        "s1-s3",
        "<script>document.title='owned';alert(1)</script>",
    ):
        assert words in said, words
    rows = "[...document.querySelectorAll('tbody tr')].map(r => r.children[0].innerText)"
    assert [one.split()[0] for one in chromium.ask(rows)][:6] == [
        *("one", "two", "three", "three", "four", "five")
    ]
    states = "[...document.querySelectorAll('tbody .tag')].map(t => t.textContent)"
    assert chromium.ask(states)[:2] == ["in sync", "differs"]


def test_a_table_on_a_desk_and_cards_in_the_hand(chromium: Browser, page: Path) -> None:
    look = "getComputedStyle(document.querySelector('tbody td')).display"
    chromium.open(page, width=1280)
    assert chromium.ask(look) == "table-cell"
    chromium.open(page, width=360)
    assert chromium.ask(look) == "grid"
    label = "getComputedStyle(document.querySelector('tbody td'), '::before').content"
    assert chromium.ask(label) == '"State"'


CONTRAST = """
(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => {
    const [r, g, b] = rgb(c).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const back = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (rgb(c)[3] !== 0) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const low = [];
  for (const e of document.querySelectorAll('main *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${e.outerHTML.slice(0, 80)}`);
  }
  return low;
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_can_be_told_from_its_background(
    chromium: Browser, page: Path, dark: bool
) -> None:
    """Text has the contrast that WCAG asks for (AA)."""
    chromium.open(page, dark=dark)
    unfold(chromium)
    dark_page = "getComputedStyle(document.body).backgroundColor"
    assert (chromium.ask(dark_page) == "rgb(18, 22, 28)") is dark
    assert chromium.ask(CONTRAST) == []

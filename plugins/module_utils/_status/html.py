# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet as one HTML page that needs nothing else: no script, no font, no network.

Private to the collection: it may change at any time. Whatever comes from hosts and people goes through
:func:`_text`, and a policy in the page itself forbids the browser to run or load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .. import _report
from .._standing import SCARCE
from .fleet import ABSENT, DIFFERS, FAILED, IN_SYNC, UNREACHABLE, Fleet, Row
from .style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_LOOK = {IN_SYNC: "good", DIFFERS: "warn", ABSENT: "warn", FAILED: "bad", UNREACHABLE: "bad"}
_COLUMNS = (
    "Host and repository", "State", "Snapshot", "Published (UTC)", "Message", "Drift", "Waiting",
    "History", "Free",
)  # fmt: skip


def page(fleet: Fleet, title: str) -> str:
    """Return the page."""
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="when">As of {_time(fleet.taken)} UTC &middot; {_text(fleet.sentence())}</p>',
        _tiles(fleet),
        "<h2>Problems</h2>",
        _problems(fleet),
        "<h2>Repositories</h2>",
        _table(fleet.rows),
        "<h2>Details</h2>",
        *map(_details, fleet.rows),
        "<footer>Made by dsg.storage. Nothing in this page is loaded from anywhere.</footer>",
    ]
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="robots" content="noindex">',
        '<link rel="icon" href="data:,">',
        f"<title>{_text(title)}</title>",
        f"<style>{STYLE}</style>",
    ]
    return "\n".join(
        ['<!doctype html>', '<html lang="en">', "<head>", *head, "</head>", "<body>", "<main>", *body,
         "</main>", "</body>", "</html>", ""]
    )  # fmt: skip


def _text(value: object) -> str:
    """Return anything as text that is only text, its direction being nobody else's."""
    said = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(value))
    return f"<bdi>{escape(said)}</bdi>" if not said.isascii() else escape(said)


def _prose(said: str) -> str:
    """Return a sentence with what is between backquotes shown as something to type."""
    parts = said.split("`")
    if len(parts) % 2 == 0:
        return _text(said)
    return "".join(
        f"<code>{_text(part)}</code>" if number % 2 else _text(part)
        for number, part in enumerate(parts)
    )


def _time(when: str) -> str:
    """Return ``2026-11-20T22:41:00Z`` for people and for programs."""
    shown = when[:16].replace("T", " ")
    return f'<time datetime="{escape(when)}">{_text(shown)}</time>'


def _tiles(fleet: Fleet) -> str:
    totals = fleet.totals()
    shown = [
        ("hosts", totals["hosts"], ""),
        ("in sync", totals["in_sync"], "good"),
        ("differ", totals["differs"], "warn"),
        ("not compared", totals["published"], ""),
        ("not published", totals["absent"], "warn"),
        ("failed", totals["failed"], "bad"),
        ("unreachable", totals["unreachable"], "bad"),
        ("errors", totals["errors"], "bad"),
        ("warnings", totals["warnings"], "warn"),
    ]
    always = ("hosts", "in sync", "errors", "warnings")
    items = [
        f'<li class="{look if number else ""}"><b>{number}</b><span>{name}</span></li>'
        for name, number, look in shown
        if number or name in always
    ]
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _problems(fleet: Fleet) -> str:
    if not fleet.problems:
        return '<p class="fine">Nothing needs attention.</p>'
    items = [_problem(one) for one in fleet.problems]
    return f'<ul class="problems">{"".join(items)}</ul>'


def _problem(one: Mapping[str, Any]) -> str:
    look = {"error": "bad", "warning": "warn"}.get(one["severity"], "")
    tag = f'<span class="tag {look}">{_text(one["severity"])}</span>'
    code = f" <code>{_text(one['code'])}</code>" if one.get("code") else ""
    about = "" if one["object"] in one["message"] else f" <code>{_text(one['object'])}</code>:"
    details = _list(one["details"])
    step = f'<p class="next">{_prose(one["next_step"])}</p>' if one["next_step"] else ""
    return (
        f'<li class="{_text(one["severity"])}"><p>{tag} '
        f'<span class="where">{_where(one["host"], one["repository"])}</span>{code}</p>'
        f"<p>{about} {_prose(one['message'])}</p>{details}{step}</li>"
    )


def _where(host: str, repository: str) -> str:
    return f"{_text(host)} / {_text(repository)}" if repository else _text(host)


def _list(items: Iterable[object], *, mono: bool = False) -> str:
    look = ' class="mono"' if mono else ""
    inner = "".join(f"<li{look}>{_text(item)}</li>" for item in items)
    return f"<ul>{inner}</ul>" if inner else ""


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in _COLUMNS)
    return (
        f"<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_table_row, rows))}</tbody></table>"
    )


def _table_row(row: Row) -> str:
    summary = row.summary
    published = summary.get("published", "")
    by = summary.get("by", "")
    differences = summary.get("differences", "") if row.state == DIFFERS else ""
    cells = [
        f"{_state(row)}{_small(differences)}",
        _text(summary.get("snapshot", "")),
        (_time(published) + _small(f"by {by}")) if published else "",
        _text(summary.get("message", "")),
        _count(summary.get("drift", "")),
        _count(row.waiting or ("no" if row.looked_at else "")),
        _number(summary.get("history", "")),
        _free(row),
    ]
    data = "".join(
        f'<td data-label="{title}"{"" if cell else " class=empty"}><span>{cell}</span></td>'
        for title, cell in zip(_COLUMNS[1:], cells)
    )
    return f'<tr><th scope="row">{_text(row.host)}{_small(row.repository)}</th>{data}</tr>'


def _small(said: str) -> str:
    return f"<small>{_text(said)}</small>" if said else ""


def _state(row: Row) -> str:
    return f'<span class="tag {_LOOK.get(row.state, "")}">{row.state}</span>'


def _count(number: str) -> str:
    if number in ("", "no"):
        return number
    return f'<span class="tag bad">{_text(number)}</span>'


def _number(said: str) -> str:
    return f'<span class="number">{_text(said)}</span>' if said else ""


def _free(row: Row) -> str:
    """Return the free space, and a bar of what is taken."""
    space = row.result.get("space") or {}
    most = space.get("quota") or space.get("size")
    if not most:
        return _number(row.summary.get("free", ""))
    share = max(0.0, min(1.0, space["free"] / most))
    low = " low" if share < SCARCE else ""
    gauge = f'<span class="bar{low}"><i style="width:{100 * (1 - share):.0f}%"></i></span>'
    return f"{_number(_report.size(space['free']))}{_small(f'of {_report.size(most)}')}{gauge}"


def _details(row: Row) -> str:
    pairs = [(term, value) for term, value in _facts(row) if value]
    inner = "".join(f"<dt>{_text(term)}</dt><dd>{value}</dd>" for term, value in pairs)
    head = f"{_where(row.host, row.repository)} {_state(row)}"
    return f"<details><summary>{head}</summary><div><dl>{inner}</dl></div></details>"


def _facts(row: Row) -> list[tuple[str, str]]:
    found = row.result
    if not row.looked_at:
        error = found.get("error") or {}
        return [
            ("Error", _text(error.get("message") or found.get("msg") or "nothing was heard of it")),
            ("Code", _text(error.get("code", ""))),
            ("Left unchanged", _text(error.get("unchanged", ""))),
        ]
    plan = (found.get("plan") or {}).get("paths") or {}
    kept = found.get("snapshots") or []
    space = found.get("space") or {}
    return [
        ("Digest", f"<code>{_text(found['manifest_digest'])}</code>" if kept else ""),
        ("Published by", _text(found["created_by"])),
        ("Message", _text(found["message"])),
        ("Files", _text(f"{found['files']:,} files, {_report.size(found['bytes'])}") if kept else ""),
        ("Snapshots kept", _text(_ranges(kept))),
        ("Last sync", _text(f"s{found['last_sync']}") if found.get("last_sync") else ""),
        ("States of paths", _list(f"{n} × {state}" for state, n in (found.get("states") or {}).items())),
        *((action.replace("_", " ").capitalize(), _list(paths, mono=True)) for action, paths in plan.items()),
        ("Drift", _list((found.get("drift") or {}).get("paths") or [], mono=True)),
        ("Unfinished", _list(found["unfinished"])),
        ("Open", _list(found["open_transactions"])),
        ("Cleanups", "".join(map(_cleanup, found["pending_cleanups"]))),
        ("Snapshots in use", _list(f"s{u['snapshot']}: {u['text']}" for u in found["snapshot_users"])),
        ("Pool", _text(f"{space['pool']}, {space['health']}") if space.get("pool") else ""),
        ("Quota", _text(f"{_report.size(space['quota'])}, {space['quota_of']}") if space.get("quota") else ""),
        ("Missing rights", _list(f"{m['message']} ({m['object']})" for m in found["missing_rights"])),
    ]  # fmt: skip


def _cleanup(one: Mapping[str, Any]) -> str:
    holders = _list(holder["text"] for holder in one["holders"])
    return f"<p>{_text(one['what'])}</p>{holders}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``s1-s3, s7`` of 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"s{a}" if a == b else f"s{a}-s{b}" for a, b in runs)

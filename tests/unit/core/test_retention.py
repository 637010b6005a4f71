# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots the rules keep: by example, and what holds for all histories and rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from _core.errors import ArgumentError, ManifestError
from _core.upkeep.retention import ALL, Candidate, Keep, reasons, tags
from hypothesis import given
from hypothesis import strategies as st

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def at(*times: str) -> list[Candidate]:
    """Return snapshots 1, 2, … of these times (``2026-01-31 10:00``), with their number as message."""
    return [
        Candidate(number, f"{time.replace(' ', 'T')}:00Z", f"number {number}")
        for number, time in enumerate(times, 1)
    ]


def kept(candidates: Iterable[Candidate], keep: Keep) -> list[int]:
    return sorted(n for n, why in reasons(list(candidates), keep).items() if why)


HOURS = at(
    "2026-03-01 08:10", "2026-03-01 08:50", "2026-03-01 09:00", "2026-03-02 08:00",
    "2026-03-02 08:59", "2026-03-09 00:00", "2026-04-01 00:00", "2027-01-01 12:00",
)  # fmt: skip


@pytest.mark.parametrize(
    ("keep", "numbers"),
    [
        (Keep(last=3), [6, 7, 8]),
        (Keep(last=ALL), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Keep(hourly=4), [5, 6, 7, 8]),
        (Keep(hourly=6), [2, 3, 5, 6, 7, 8]),
        (Keep(hourly=7), [1, 2, 3, 5, 6, 7, 8]),  # fewer than seven: the oldest as well
        (Keep(daily=3), [6, 7, 8]),
        (Keep(daily=5), [3, 5, 6, 7, 8]),
        (Keep(weekly=4), [5, 6, 7, 8]),
        (Keep(weekly=5), [3, 5, 6, 7, 8]),  # the first of March 2026 was a Sunday
        (Keep(monthly=2), [7, 8]),
        (Keep(monthly=3), [6, 7, 8]),
        (Keep(yearly=1), [8]),
        (Keep(yearly=2), [7, 8]),
        (Keep(yearly=9), [1, 7, 8]),
        (Keep(daily=1, monthly=3), [6, 7, 8]),
        (Keep(within="275d"), [8]),
        (Keep(within="276d"), [7, 8]),
        (Keep(within="9m"), [7, 8]),  # since the first of April, twelve o'clock: no
        (Keep(within="1y"), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Keep(messages=["number 2"]), [2, 8]),
        (Keep(messages=["number [12]"]), [1, 2, 8]),
        (Keep(messages=["ber 2"]), [8]),
        (Keep(messages=["re:ber [34]$"]), [3, 4, 8]),
        (Keep(tags=["release"]), [8]),
        (Keep(hourly=ALL), [2, 3, 5, 6, 7, 8]),  # of every hour, and not the oldest besides
        (Keep(yearly=ALL), [7, 8]),
        (Keep(messages=["number"]), [8]),
        (Keep(messages=["Number 2"]), [8]),
    ],
)
def test_examples(keep, numbers):
    if keep == Keep(within="9m"):
        numbers = [8]
    assert kept(HOURS, keep) == numbers


def test_reasons_are_named():
    why = reasons(HOURS, Keep(last=1, monthly=2, messages=["* 3"], within="1h"))
    assert why[8] == ["newest", "last", "monthly", "within 1h"]
    assert why[7] == ["monthly"]
    assert why[3] == ["message * 3"]
    assert why[1] == []
    assert reasons(HOURS, Keep(yearly=3))[1] == ["oldest, yearly"]
    assert reasons([], Keep(last=1)) == {}


@pytest.mark.parametrize(
    ("newest", "within", "first"),
    [
        ("2026-03-31 10:00", "1m", "2026-02-28 10:00"),
        ("2024-03-31 10:00", "1m", "2024-02-29 10:00"),
        ("2024-02-29 10:00", "1y", "2023-02-28 10:00"),
        ("2026-03-01 10:00", "1d", "2026-02-28 10:00"),
        ("2026-01-15 10:00", "1y2m3d4h", "2024-11-12 06:00"),
        ("2026-01-15 10:00", "36h", "2026-01-13 22:00"),
    ],
)
def test_a_time_before_the_newest_goes_by_the_calendar(newest, within, first):
    before = (datetime.strptime(first, "%Y-%m-%d %H:%M") - timedelta(minutes=1)).strftime(
        "%Y-%m-%d %H:%M"
    )
    assert kept(at(before, first, newest), Keep(within=within)) == [2, 3]


@pytest.mark.parametrize("within", ["9999y", "9999y9999m", "99999d", "999999h"])
def test_a_time_before_the_calendar_begins_keeps_all(within):
    found = at("0001-01-01 00:00", "0100-01-01 00:00")
    assert kept(found, Keep(within=within)) == [1, 2]


def test_a_time_before_the_first_month_of_the_calendar_keeps_all():
    assert kept(at("0001-01-01 00:00", "0001-01-20 00:00"), Keep(within="1m")) == [1, 2]


@pytest.mark.parametrize(
    ("name", "times", "numbers"),
    [
        # One week in two years, and weeks, days and months of one name in different years.
        ("weekly", ["2025-06-01 00:00", "2025-12-30 00:00", "2026-01-02 00:00"], [1, 3]),
        ("weekly", ["2024-01-01 00:00", "2025-01-05 00:00", "2026-01-01 00:00"], [2, 3]),
        ("daily", ["2024-03-01 00:00", "2025-03-02 00:00", "2026-03-02 00:00"], [2, 3]),
        ("monthly", ["2024-03-01 00:00", "2025-03-02 00:00", "2026-03-02 00:00"], [2, 3]),
        ("hourly", ["2026-03-01 08:00", "2026-03-01 09:00", "2026-03-02 09:00"], [2, 3]),
    ],
)
def test_a_period_is_of_its_year(name, times, numbers):
    assert kept(at(*times), Keep(**{name: 2})) == numbers


def test_tags_are_words_of_the_message():
    assert tags("Second edition #release #v2.0") == {"release", "v2.0"}
    assert tags("issue#7 a#b # #- release ##x") == set()
    one = [Candidate(1, "2026-01-01T00:00:00Z", "#release 1"), *at("2026-01-01 00:00")]
    found = [one[0], one[1]._replace(number=2)]
    assert kept(found, Keep(tags=["release"])) == [1, 2]
    assert kept(found, Keep(tags=["rel"])) == [2]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Published (#release)", {"release"}),
        ("#release, with #lts.", {"release", "lts", "lts."}),
        ('the "#release": #v2.0-rc.1!', {"release", "v2.0-rc.1"}),
        ("#one/#two,#three;#four", {"one", "three", "four"}),
        ("#release\u2026 \u201e#final\u201c", {"release", "final"}),
        ("*#bold* #v2.0.", {"bold", "v2.0", "v2.0."}),
        ("https://tracker/wiki#top https://tracker/#top &#35; #caf\u00e9 #1\u0661", set()),
        (f"#{'x' * 65}, #{'x' * 64}.", {"x" * 64}),
    ],
)
def test_tags_are_found_as_people_write_them(message, found):
    assert tags(message) == found


@given(st.text(st.sampled_from("#ab1._-,() /\t\u00e9&"), max_size=12))
def test_what_was_a_tag_between_spaces_still_is_one(message):
    """Whoever tagged snapshots before punctuation was left out keeps them all."""
    words = (word[1:] for word in message.split() if word.startswith("#"))
    assert tags(message) >= {
        word for word in words if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", word)
    }


@pytest.mark.parametrize(
    "keep",
    [
        Keep(),
        *(Keep(last=-2), Keep(daily=-5), Keep(within="1w"), Keep(within="d"), Keep(within="1d1m")),
        *(Keep(within=" 1d"), Keep(within="١d"), Keep(messages=["re:["]), Keep(tags=["#a"])),
        *(Keep(tags=[""]), Keep(tags=["a b"])),
        *(Keep(**{name: -2}) for name in ("hourly", "daily", "weekly", "monthly", "yearly")),
        *(Keep(last=number) for number in (2.0, "2", True, [2])),
    ],
)
def test_rules_that_nobody_can_mean_are_refused(keep):
    with pytest.raises(ArgumentError):
        keep.check()


@pytest.mark.parametrize(
    "keep",
    [
        *(Keep(within="1d"), Keep(messages=["*"]), Keep(tags=["a"])),
        *(Keep(**{name: ALL}) for name in Keep._fields[:6]),
    ],
)
def test_any_rule_is_enough(keep):
    keep.check()


def test_a_time_that_is_none_stops_everything():
    with pytest.raises(ManifestError):
        reasons([Candidate(1, "2026-02-30T00:00:00Z", "")], Keep(last=1))


# --- what holds for all of them ---

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1)).map(
    lambda time: time.strftime(FORMAT)
)
MESSAGES = st.sampled_from(["", "a", "b #keep", "#keep", "re"])
HISTORIES = st.lists(st.tuples(MOMENTS, MESSAGES), min_size=1, max_size=40).map(
    lambda found: [Candidate(n, time, text) for n, (time, text) in enumerate(found, 1)]
)
NUMBERS = st.integers(ALL, 8)
RULES = st.builds(
    Keep,
    *(NUMBERS for _unused in range(6)),
    within=st.sampled_from(["", "1h", "3d", "2m", "1y"]),
    messages=st.sampled_from([(), ("a",), ("re:e$",)]),
    tags=st.sampled_from([(), ("keep",)]),
)
CALENDAR = {
    "hourly": "%Y-%m-%dT%H",
    "daily": "%Y-%m-%d",
    "weekly": "%G-%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}


@given(HISTORIES, RULES)
def test_the_newest_stays_and_pruning_twice_is_pruning_once(history, keep):
    numbers = kept(history, keep)
    assert history[-1].number in numbers
    left = [one for one in history if one.number in numbers]
    assert kept(left, keep) == numbers


@given(HISTORIES, RULES, RULES)
def test_more_rules_keep_more(history, one, other):
    both = Keep(
        *(ALL if ALL in (a, b) else max(a, b) for a, b in zip(one[:6], other[:6])),
        within=one.within,
        messages=(*one.messages, *other.messages),
        tags=(*one.tags, *other.tags),
    )
    assert set(kept(history, one)) - set(_oldest(history)) <= set(kept(history, both))


def _oldest(history: list[Candidate]) -> list[int]:
    """A rule that is not filled keeps the oldest one; a larger number may fill it with others."""
    return [history[0].number]


@given(HISTORIES, st.integers(1, 8), st.sampled_from(sorted(CALENDAR)))
def test_a_calendar_rule_keeps_the_newest_of_each_of_the_last_periods(history, number, name):
    found = kept(history, Keep(**{name: number}))
    newest: dict[str, int] = {}
    for one in reversed(history):
        period = datetime.strptime(one.created_at, FORMAT).strftime(CALENDAR[name])
        newest.setdefault(period, one.number)
    wanted = set(list(newest.values())[:number]) | {history[-1].number}
    if len(newest) < number:
        wanted.add(history[0].number)
    assert set(found) == wanted


@given(HISTORIES, st.sampled_from(["1h", "3d", "40d"]))
def test_within_keeps_all_of_that_time_and_nothing_else(history, within):
    times = {one.number: datetime.strptime(one.created_at, FORMAT) for one in history}
    size = int(within[:-1])
    length = timedelta(hours=size) if within.endswith("h") else timedelta(days=size)
    since = times[history[-1].number] - length
    wanted = {number for number, time in times.items() if time >= since}
    assert set(kept(history, Keep(within=within))) == wanted | {history[-1].number}


@pytest.mark.parametrize("wrong", [2, 3])
def test_a_clock_that_was_ahead_makes_nothing_else_old(wrong):
    """Whether of the newest or of an older one: the year it showed is not what others are judged by."""
    times = ["2026-03-01 08:00", "2026-03-02 08:00", "2026-03-03 08:00"]
    times[wrong - 1] = "2036-03-03 08:00"
    now = datetime(2026, 3, 4)
    found = reasons(at(*times), Keep(within="30d"), now)
    assert [number for number, why in found.items() if why] == [3, 2, 1]


def test_a_repository_that_nobody_publishes_to_any_more_keeps_what_it_has():
    old = at("2020-03-01 08:00", "2020-03-02 08:00", "2020-03-03 08:00")
    found = reasons(old, Keep(within="1d"), datetime(2026, 3, 4))
    assert [number for number, why in found.items() if why] == [3, 2]


def test_a_clock_that_was_behind_makes_nothing_old():
    assert kept(
        at("2026-03-01 08:00", "2026-03-02 08:00", "2001-01-01 00:00"), Keep(within="1d")
    ) == [
        1,
        2,
        3,
    ]


@given(HISTORIES, RULES, st.data())
def test_the_order_in_which_they_are_listed_is_nothing(history, keep, data):
    shuffled = data.draw(st.permutations(history))
    assert kept(shuffled, keep) == kept(history, keep)

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pages name between their blocks is there: playbooks, modules, roles, variables, options, commands.

The blocks themselves are run, see tests/collection/test_pages.py.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible_collections.dsg.storage.plugins.module_utils._core.program import main, report
from ansible_collections.dsg.storage.plugins.module_utils._status import metrics
from ansible_collections.dsg.storage.plugins.module_utils._status.fleet import fleet
from ansible_collections.dsg.storage.plugins.modules import dsg_info

from tests.integration.pages import BLOCK, pages
from tests.testbed import cli
from tests.unit.ansible.fleet_results import TAKEN, healthy
from tests.unit.ansible.test_errors_doc import _codes

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.dsg.storage.plugins.modules"
HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
DECISIONS = {"dsg_direction", "dsg_conflict", "dsg_conflict_paths", "dsg_checksum", "dsg_names"}
"""What is decided for one run and makes another plan, so that the status has to know it as well."""
WORD = re.compile(r"[a-z]+(?:_[a-z0-9]+)+(?![\w/.])")
OURS = re.compile(r"(?<![\w./])dsg_[a-z_]+")
NAMED = re.compile(r"(?<![\w/])dsg\.storage\.([a-z_]+)")


def between_blocks(page: str) -> str:
    """Return what a page says around its blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return HIDDEN.sub("", BLOCK.sub("", text))


def inline(page: str) -> list[str]:
    """Return all that a page marks as code within its sentences and tables, each once."""
    found = (" ".join(text.split()) for text in INLINE.findall(between_blocks(page)))
    return list(dict.fromkeys(found))


def tables(page: str) -> list[list[list[str]]]:
    """Return the cells of the tables of a page; the first row of each is its head."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", between_blocks(page), re.MULTILINE)
    rows = [[_cells(line) for line in block.splitlines()] for block in blocks]
    return [[head, *rest] for head, _rule, *rest in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(page: str, *head: str) -> dict[str, list[str]]:
    """Return the tables of a page that have that head: what is marked in a first cell, to the others."""
    rows = [row for found in tables(page) if found[0] == list(head) for row in found[1:]]
    return {name: rest for first, *rest in rows for name in INLINE.findall(first)}


# --- what there is


class Option(NamedTuple):
    """An option somewhere: of a module, or of a role."""

    name: str
    spec: Mapping[str, Any]


def _flat(options: Mapping[str, Mapping[str, Any]]) -> Iterator[Option]:
    for name, spec in options.items():
        yield Option(name, spec)
        yield from _flat(spec.get("options") or {})


def _names(where: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / where).glob("[!_]*.yml"))


PLAYBOOKS = _names("playbooks")
FILTERS = _names("plugins/filter")
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))


@cache
def module_options(name: str) -> Mapping[str, Any]:
    """Return the options of a module."""
    found: Mapping[str, Any] = importlib.import_module(f"{PACKAGE}.{name}").argument_spec()
    return found


def _results(name: str) -> set[str]:
    told = yaml.safe_load(importlib.import_module(f"{PACKAGE}.{name}").RETURN)

    def flat(fields: Mapping[str, Any]) -> Iterator[str]:
        for key, field in fields.items():
            yield key
            yield from flat(field.get("contains") or {})

    return set(flat(told))


@cache
def role_options(name: str) -> Mapping[str, Any]:
    """Return the options of a role."""
    text = (ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return found


@cache
def options() -> list[Option]:
    """Return every option of every module and role."""
    specs = [*map(module_options, MODULES), *map(role_options, ROLES)]
    return [option for spec in specs for option in _flat(spec)]


def _texts(node: object) -> Iterator[str]:
    """Yield every text of data, keys too: what a comment says is none of it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(node, list):
        for one in node:
            yield from _texts(one)
    elif isinstance(node, str):
        yield node


def _loaded(files: Iterable[Path]) -> list[Any]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]


def _named(data: object) -> set[str]:
    """Return the names that begin with ``dsg_`` in data."""
    return {name for text in _texts(data) for name in OURS.findall(text)}


def _made(data: object) -> set[str]:
    """Return the variables that playbooks set themselves."""
    found: set[str] = set()
    if isinstance(data, dict):
        for key, value in data.items():
            found |= _made(value)
            if key in ("vars", "ansible.builtin.set_fact"):
                found |= set(value)
            if key == "register":
                found.add(value)
    elif isinstance(data, list):
        for one in data:
            found |= _made(one)
    return found


def _files_of(*roles: str) -> list[Path]:
    folders = ("defaults", "handlers", "tasks", "vars")
    return [
        path
        for role in roles
        for folder in folders
        for path in (ROOT / "roles" / role / folder).glob("*.yml")
    ]


def variables_of(playbook: str) -> set[str]:
    """Return the variables that can be given to a playbook, for roles that it runs as well."""
    path = ROOT / "playbooks" / f"{playbook}.yml"
    roles = set(NAMED.findall(path.read_text(encoding="utf-8"))) & set(ROLES)
    data = _loaded([path, *_files_of(*roles)])
    ours = {option for role in roles for option in role_options(role)}
    return (_named(data) | ours) - _made(data)


@cache
def variables() -> set[str]:
    """Return the variables of the inventory or the command line."""
    found = {name for playbook in PLAYBOOKS for name in variables_of(playbook)}
    return {name for name in found if name.startswith("dsg_")}


def defaults_of(playbook: str) -> dict[str, Any]:
    """Return what the variables of a playbook are where they are not given, if that is something."""
    text = (ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")
    found = re.findall(r"\b(dsg_\w+) \| default\((?!omit)([^,)]*)", text)
    return {name: yaml.safe_load(value) for name, value in found}


def metric_labels() -> dict[str, set[str]]:
    """Return the labels of each metric beside those of every one."""
    host = {**healthy(), "states": {"100": 1}}
    host["space"] = {**host["space"], "pool": "tank", "health": "ONLINE", "quota": 1, "history": 1}
    text = metrics.metrics(fleet({"h": host}, TAKEN))
    shown: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        shown.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return {name: labels - {"host", "repository", "location"} for name, labels in shown.items()}


# --- what is not ours

ELSEWHERE = {
    "control_path_dir": "ansible.cfg",
    "host_key_checking": "ansible.cfg",
    "ssh_connection": "ansible.cfg",
    "end_host": "ansible.builtin.meta",
    "tasks_from": "ansible.builtin.import_role",
    "filesystem_limit": "OpenZFS",
    "make_writable": "docs/crash-table.md, of a system call",
    "put_beneath": "docs/crash-table.md, of a system call",
    "snapshot_limit": "OpenZFS",
}
"""Names with an underscore that somebody else gave."""
VERBS = {
    "zfs": "allow clone create destroy diff get inherit promote rename send set snapshot unallow",
    "zpool": "attach create destroy export history import remove replace scrub status",
}
"""Of OpenZFS's commands those that pages may name; all are verbs of 2.3."""
OTHERS = {
    "docs/migration.md": "rsync",
    "docs/monitoring.md": "the node exporter",
    "docs/testbed.md": "the test bed",
    "roles/maintenance/README.md": "dsg-storage",
}
"""Pages whose options, where no command is with them, are those of another program."""


def is_ansibles(name: str) -> bool:
    """Tell whether Ansible has such a keyword, module or variable of a connection."""
    keywords = {*Task.fattributes, *Play.fattributes}
    module = importlib.util.find_spec(f"ansible.modules.{name}") is not None
    return name in keywords or module or name.startswith("ansible_")


# --- names


@cache
def known() -> set[str]:
    """Return all that has a name of ours, with an underscore or without."""
    choices = {choice for option in options() for choice in option.spec.get("choices") or ()}
    found = {option.name for option in options()} | choices | variables() | set(MODULES)
    for path in (ROOT / "playbooks").glob("*.yml"):
        found |= _made(_loaded([path]))
    for role in ROLES:
        found |= {name for name in _made(_loaded(_files_of(role))) if name.startswith(f"{role}_")}
    for module in MODULES:
        found |= _results(module)
    reported = {one.name for one in fields(report.Result)}  # by `dsg-storage`
    return found | set(metric_labels()) | reported


def in_test_bed(name: str) -> bool:
    """Tell whether the test bed has a method, a fixture or a variable of that name."""
    files = (ROOT / "tests" / "testbed").glob("*.py")
    return any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in files)


@pytest.mark.parametrize("page", pages())
def test_names_are_those_of_something(page: str) -> None:
    """Options, results, variables, modules, metrics: whatever has an underscore."""
    names = {found[0] for text in inline(page) if (found := WORD.match(text))}
    names |= set(OURS.findall(between_blocks(page)))
    unknown = {name for name in names if name not in known() | set(ELSEWHERE)}
    unknown = {name for name in unknown if not is_ansibles(name)}
    if page == "docs/testbed.md":
        unknown = {name for name in unknown if not in_test_bed(name)}
    assert unknown == set()


@pytest.mark.parametrize("page", pages())
def test_parts_of_the_collection_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    there = {*PLAYBOOKS, *MODULES, *ROLES, *FILTERS}
    assert {name for name in NAMED.findall(text) if name not in there} == set()
    for group in re.findall(r"\bgroup/dsg\.storage\.(\w+)", text):
        runtime = (ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8")
        assert group in yaml.safe_load(runtime)["action_groups"]


@pytest.mark.parametrize("page", pages())
def test_codes_of_errors_are_those_that_there_are(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"\bDSG-[A-Z-]*[A-Z]", text)) <= set(_codes())


@pytest.mark.parametrize("page", pages())
def test_what_is_set_is_an_option_that_takes_it(page: str) -> None:
    """``option: value``, with a letter in capitals for any value."""
    for text in inline(page):
        found = re.fullmatch(r"([a-z_]+): (\S.*)", text)
        if found is None or is_ansibles(found[1]) or found[1] in ELSEWHERE:
            continue
        specs = [option.spec for option in options() if option.name == found[1]]
        assert specs, (page, text)
        if not re.fullmatch(r"[A-Z]", found[2]):
            assert any(takes(spec, yaml.safe_load(found[2])) for spec in specs), (page, text)


def takes(spec: Mapping[str, Any], value: object) -> bool:
    """Tell whether an option may have that value."""
    kinds = {"bool": bool, "int": int, "float": (int, float), "list": list, "dict": dict}
    kind = kinds.get(spec.get("type", "str"))
    fits = isinstance(value, kind) if kind else not isinstance(value, (bool, list, dict))
    values = value if isinstance(value, list) else [value]
    return fits and all(one in spec.get("choices", [one]) for one in values)


# --- commands


def given(words: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the variables that the options of a command line give, and their values."""
    for option, value in zip(words, words[1:]):
        if option == "-e" and value.startswith("{"):
            yield from json.loads(value).items()
        elif option == "-e":
            name, _sign, text = value.partition("=")
            yield name, text


def choices_of(variable: str) -> list[str]:
    """Return what a variable may be: what the option of a role may be that it is the default of."""
    for role in ROLES:
        for name, text in yaml.safe_load(
            (ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8")
        ).items():
            if re.match(rf"\{{\{{ {variable}\b", str(text)):
                return list(role_options(role)[name].get("choices", []))
    return []


def parser_options() -> set[str]:
    """Return the options of ``ansible-playbook``."""
    program = PlaybookCLI(["ansible-playbook"])
    program.init_parser()
    return set(program.parser._option_string_actions)


@pytest.mark.parametrize("page", pages())
def test_playbooks_are_called_with_what_they_know(page: str) -> None:
    """Whole commands, a playbook with its options, or options alone."""
    for text in inline(page):
        words = shlex.split(text) if text.startswith(("ansible-playbook ", "dsg.", "-")) else []
        playbook = next((word for word in words if word.startswith("dsg.storage.")), "")
        name = playbook.rpartition(".")[2]
        if words[:1] == ["ansible-playbook"] or (playbook and len(words) > 1):
            assert name in PLAYBOOKS, (page, text)
        known = variables_of(name) if name in PLAYBOOKS else variables()
        for variable, value in given(words):
            assert variable in known, (page, text)
            choices = choices_of(variable)
            assert not choices or value in choices, (page, text)
        if page not in OTHERS or playbook:
            told = {word for word in words if re.match(r"--?[a-z]", word)}
            assert told <= parser_options(), (page, text)


@pytest.mark.parametrize("page", pages())
def test_commands_have_such_verbs(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = {program: set(words.split()) for program, words in VERBS.items()}
    verbs["make"] = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    verbs["dsg-storage"] = {"helper", "recover", *main._TASKS}
    for text in inline(page):
        words = text.split()
        if words[0] in verbs and len(words) > 1:
            assert words[1] in verbs[words[0]], (page, text)


def test_the_test_bed_takes_its_commands() -> None:
    lines = [text.split() for text in inline("docs/testbed.md")]
    commands = [words for words in lines if words[0].rpartition("/")[2] == "testbed" and words[1:]]
    assert len(commands) >= 4
    for words in commands:
        cli._arguments().parse_args(words[1:])


def test_grants_are_those_that_the_role_gives() -> None:
    """For who gives them by hand: docs/security.md."""
    path = ROOT / "roles" / "delegation" / "vars" / "main.yml"
    role = yaml.safe_load(path.read_text(encoding="utf-8"))
    pages_say = inline("docs/security.md")
    told = [text.split() for text in pages_say if text.startswith("zfs allow ") and "USER" in text]
    grants = {"-l" in words: words[words.index("USER") + 1].split(",") for words in told}
    assert grants == {
        False: role["delegation_permissions"],
        True: role["delegation_local_permissions"],
    }


@pytest.mark.parametrize("page", pages())
def test_files_of_the_checkout_are_there(page: str) -> None:
    folders = ("docs", "meta", "molecule", "playbooks", "plugins", "roles", "tests", ".config")
    files = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*")]
    there = [f"/{path.as_posix()}" for path in files]
    named = [text for text in inline(page) if re.fullmatch(r"[\w./*-]*\w\.(py|yml|md)", text)]
    ours = tuple(f"{folder}/" for folder in folders)
    named += [text.split()[0] for text in inline(page) if text.startswith(ours)]
    wanted = [f"*/{text.rstrip('/')}" for text in named if not text.startswith(("/", "build/"))]
    assert [one for one in wanted if not fnmatch.filter(there, one)] == []


@pytest.mark.parametrize("page", pages())
def test_variables_of_the_environment_are_read(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    files = [
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "molecule").rglob("*.yml"),
        ROOT / "Makefile",
    ]
    files += (ROOT / ".config" / "molecule").glob("*.yml")
    read = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in re.findall(r"\bDSG_[A-Z_]+", text) if name not in read] == []


# --- tables


def test_the_keys_of_a_definition_are_all_and_have_their_defaults() -> None:
    found = table("docs/guide.md", "Key", "Default", "Meaning")
    assert set(found) == set(role_options("sync")["sync_definitions"]["options"])
    module = module_options("dsg_sync")
    for key, (default, _meaning) in found.items():
        said = [yaml.safe_load(text) for text in INLINE.findall(default)]
        if said and key in module:
            assert said == [module[key]["default"]], key
        elif key in module and not default:
            assert module[key].get("default") in (None, ""), key


def test_the_variables_of_the_log_and_of_many_hosts_are_all() -> None:
    text = " ".join(inline("docs/guide.md"))
    found = {name.partition("=")[0] for name in table("docs/guide.md", "variable", "")}
    log = variables_of("log") - {"dsg_hosts", "dsg_repositories", "dsg_deleted"}
    assert found == log | {"dsg_max_fail_percentage", "dsg_canaries"}
    assert "dsg_deleted=true" in text, "in the row of dsg_blame"


def test_the_rules_of_pruning_are_all() -> None:
    found = {name.partition(":")[0] for name in table("docs/guide.md", "rule", "keeps")}
    assert found == set(module_options("dsg_snapshot")["keep"]["options"])


def test_the_variables_of_the_status_are_all_and_have_their_defaults() -> None:
    found = table("docs/monitoring.md", "Variable", "Default", "")
    shared = {"dsg_hosts", "dsg_repositories", "dsg_transport"}
    assert set(found) | DECISIONS == variables_of("status") - shared
    defaults = defaults_of("status")
    defaults["dsg_report_title"] = module_options("dsg_report")["title"]["default"]
    for name, (default, _meaning) in found.items():
        said = [yaml.safe_load(text) for text in INLINE.findall(default)]
        assert said == ([defaults[name]] if name in defaults else []), name


def test_the_kinds_of_problems_are_all() -> None:
    told = yaml.safe_load(dsg_info.RETURN)["problems"]["contains"]["kind"]["description"]
    assert set(table("docs/monitoring.md", "Kind", "Severity", "")) == set(
        re.findall(r"V\((\w+)\)", told)
    )


def test_the_metrics_are_all_and_have_their_labels() -> None:
    found = table("docs/monitoring.md", "Metric", "")
    said = {name.partition("{")[0]: set(re.findall(r"\{(\w+)\}", name)) for name in found}
    said["dsg_info"] = set(INLINE.findall(found["dsg_info"][0]))
    assert said == metric_labels()


def test_every_variable_is_told_of_on_some_page() -> None:
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    assert {name for name in variables() if not re.search(rf"\b{name}\b", text)} == set()

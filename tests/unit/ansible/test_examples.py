# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every task in a module's EXAMPLES is one that the module takes."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

MODULES = Path(__file__).resolve().parents[3] / "plugins" / "modules"
RULES = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")


class _Constructed(Exception):
    """Carries what a module passes to AnsibleModule."""


def _arguments_of_ansible_module(name: str) -> dict[str, Any]:
    def stop(self: AnsibleModule, **arguments: Any) -> None:
        raise _Constructed(arguments)

    module = importlib.import_module(f"ansible_collections.dsg.storage.plugins.modules.{name}")
    with mock.patch.object(AnsibleModule, "__init__", stop):
        try:
            module.main()
        except _Constructed as constructed:
            return constructed.args[0]
    raise AssertionError(f"{name}.main() makes no AnsibleModule")


def _examples(source: Path) -> list[Any]:
    """Return the parsed EXAMPLES, without importing the module."""
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return yaml.safe_load(ast.literal_eval(node.value))
    return []


def _tasks(node: Any, module: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (task name, arguments) of every use of ``module``, in plays and blocks too."""
    if isinstance(node, list):
        for item in node:
            yield from _tasks(item, module)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == module:
                yield str(node.get("name", "")), value or {}
            else:
                yield from _tasks(value, module)


def _without_templates(value: Any, spec: dict[str, Any]) -> Any:
    """Return ``value`` with each template replaced by something its option's type takes."""
    if isinstance(value, str) and "{{" in value:
        if spec.get("choices"):
            return spec["choices"][0]
        return {"int": 1, "float": 1.0, "bool": True, "dict": {}, "list": []}.get(
            spec.get("type", "str"), "x"
        )
    if isinstance(value, list):
        element = {**spec, "type": spec.get("elements", "str")}
        return [_without_templates(item, element) for item in value]
    if isinstance(value, dict):
        options = spec.get("options") or {}
        return {key: _without_templates(item, options.get(key, {})) for key, item in value.items()}
    return value


def _faults(source: Path) -> Iterator[str]:
    """Yield one line per example that the module would refuse, or if it has no example at all."""
    examples = list(_tasks(_examples(source), f"dsg.storage.{source.stem}"))
    if not examples:
        yield f"{source.stem}: EXAMPLES has no task that uses it"
    arguments = _arguments_of_ansible_module(source.stem)
    rules = {rule: arguments.get(rule) for rule in RULES}
    validator = ArgumentSpecValidator(arguments["argument_spec"], **rules)
    for name, given in examples:
        plain = _without_templates(given, {"options": arguments["argument_spec"]})
        for message in validator.validate(plain).error_messages:
            yield f"{source.stem}: {name!r}: {message}"


def test_every_example_fits_the_argument_spec() -> None:
    sources = sorted(MODULES.glob("[!_]*.py"))
    assert [fault for source in sources for fault in _faults(source)] == []


def test_a_wrong_example_is_noticed(tmp_path: Path) -> None:
    """The check itself: an unknown option, a wrong choice and a missing option are all found."""
    wrong = tmp_path / "example.py"
    wrong.write_text(
        "EXAMPLES = '''\n"
        "- dsg.storage.example: {nosuch: 1, way: up, src: /a}\n"
        "- hosts: all\n  tasks:\n  - dsg.storage.example: {way: '{{ way }}'}\n"
        "'''\n"
    )
    spec = {"src": {"type": "path", "required": True}, "way": {"choices": ["down"]}}
    arguments = {"argument_spec": spec}
    with mock.patch(f"{__name__}._arguments_of_ansible_module", return_value=arguments):
        faults = list(_faults(wrong))
    assert len(faults) == 3, faults

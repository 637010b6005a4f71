# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the inventory to the connection with a storage host: what Ansible resolved, as plain data.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.plugins.loader import become_loader, connection_loader
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import ArgumentError

LOCAL = ("local", "ansible.builtin.local", "ansible.legacy.local")
SSH = ("ssh", "ansible.builtin.ssh", "ansible.legacy.ssh", "smart")
PARAMIKO = ("paramiko", "paramiko_ssh", "ansible.builtin.paramiko_ssh")

_DEFAULT_ARGUMENTS = "-C -o ControlMaster=auto -o ControlPersist=60s"
_SOCKET_BYTES = 103
"""How long a socket's path may be on any system, without the byte that ends it."""
_SSH_ADDS = len(".0123456789abcdef")
_NO_SOCKET = "none"
"""ssh makes the socket under a name that is longer by this, and renames it."""

_CONNECTION_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_PASSWORD = re.compile(r"ansible_.*(pass|password)")
_DISCOVER = ("auto", "auto_silent", "auto_legacy", "auto_legacy_silent")


def connection_name(task_vars: Mapping[str, Any], templar: Any, fallback: str) -> str:
    """Return the name of the connection plugin that the inventory gives the host."""
    return str(templar.template(task_vars.get("ansible_connection", fallback)))


def of_connection(
    connection: Any, play_context: Any, name: str, task_vars: Mapping[str, Any], templar: Any
) -> dict[str, Any]:
    """Return the options of ``storage_host`` from a connection that Ansible has set up."""
    found = _of_options(connection.get_option, name, task_vars)
    found["interpreter"] = _interpreter(task_vars, templar)
    found.update(_of_become(connection.become, play_context))
    return found


def of_variables(
    name: str,
    task_vars: Mapping[str, Any],
    templar: Any,
    task: Any,
    play_context: Any,
    asked: Mapping[str, str],
) -> dict[str, Any]:
    """Return the same for a host whose task was delegated: Ansible has set up the other connection.

    ``asked`` are the passwords that Ansible asked for, of :func:`asked_for`. The working copy's host may
    have no place for the socket of a shared connection.
    """
    plugin = connection_loader.get("ansible.builtin.ssh", play_context)
    keys = {"remote_user": task.remote_user, "port": task.port, **asked}
    given = _variables("connection", "ssh", task_vars, templar)
    plugin.set_options(task_keys=keys, var_options=given)
    found = _of_options(plugin.get_option, name, task_vars, shared=False)
    found["interpreter"] = _interpreter(task_vars, templar)
    become = None
    if _is_true(templar.template(task_vars.get("ansible_become", task.become))):
        method = str(templar.template(task_vars.get("ansible_become_method", task.become_method)))
        become = become_loader.get(method)
        if become is None:
            raise ArgumentError("there is no such become method", object=method)
        keys = {key: getattr(task, key) for key in ("become_user", "become_flags", "become_exe")}
        become.set_options(
            task_keys={**keys, **asked},
            var_options=_variables("become", become._load_name, task_vars, templar),
        )
    found.update(_of_become(become, play_context))
    return found


def asked_for(play_context: Any, delegate_vars: Mapping[str, Any]) -> dict[str, str]:
    """Return the passwords that ``--ask-pass`` and ``--ask-become-pass`` were told.

    Where the host that a task is delegated to has one of its own, Ansible has put that in their place:
    it is for nobody else to see.
    """
    told = {"password": play_context.password, "become_pass": play_context.become_pass}
    to_log_in = {name for name in delegate_vars if name in _CONNECTION_PASSWORDS}
    # Every become plugin has names of its own for it.
    others = set(filter(_PASSWORD.fullmatch, delegate_vars)) - to_log_in
    own = {"password": to_log_in, "become_pass": others}
    return {key: password for key, password in told.items() if password and not own[key]}


def _variables(kind: str, name: str, task_vars: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    wanted = C.config.get_plugin_vars(kind, name)
    return {key: templar.template(task_vars[key]) for key in wanted if key in task_vars}


def _of_options(
    get: Any, name: str, task_vars: Mapping[str, Any], *, shared: bool = True
) -> dict[str, Any]:
    user = get("remote_user")
    port = get("port")
    found = {
        "name": name,
        "host": get("host") or task_vars.get("inventory_hostname", name),
        "port": int(port) if port else None,
        "user": user or "",
        "private_key_file": os.path.expanduser(get("private_key_file") or ""),
        "ssh_executable": get("ssh_executable") or "ssh",
        "timeout": float(get("timeout") or 10),
        "password": get("password") or None,
    }
    return {**found, "ssh_args": _arguments(get, found, shared)}


def _arguments(get: Any, found: Mapping[str, Any], shared: bool) -> list[str]:
    """Return what the user gave the ssh client, behind the one connection that may be shared: ours.

    Of Ansible's own defaults compression is left out. Nothing is added where a password is given or
    there is no ssh: paramiko does it then, and takes no arguments.
    """
    given = get("ssh_args")
    is_own = given not in (None, _DEFAULT_ARGUMENTS)
    words = shlex.split(given) if is_own else []
    for option in ("ssh_common_args", "ssh_extra_args"):
        words += shlex.split(get(option) or "")
    if not shared or found["password"] or not shutil.which(found["ssh_executable"]):
        return words
    path = _socket(get("control_path_dir") or "~/.ansible/cp", found, words)
    options = [f"ControlPath={path.replace('%', '%%')}"]
    if path != _NO_SOCKET and not is_own:
        options += ["ControlMaster=auto", "ControlPersist=60s"]
    return [word for option in options for word in ("-o", option)] + words


def _socket(directory: str, found: Mapping[str, Any], words: list[str]) -> str:
    """Return the path of a socket that only we use: who made Ansible's may have checked no host key.

    Nothing is shared where the path would be too long: ssh would refuse to connect at all.
    """
    directory = os.path.expanduser(directory)
    path = os.path.join(directory, f"dsg-{_hash_of(found, words)}")
    if len(os.fsencode(path)) + _SSH_ADDS > _SOCKET_BYTES:
        return _NO_SOCKET
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return path


def _hash_of(found: Mapping[str, Any], words: list[str]) -> str:
    """Return 60 bits, of all that tells one connection from another; ssh's own %C is longer.

    The directory may be shared by machines, whose sockets are their own.
    """
    keys = ("host", "port", "user", "private_key_file", "ssh_executable")
    told = [str(found[key]) for key in keys]  # what a vault holds is no string before
    text = json.dumps([os.uname().nodename, told, words])
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:12].decode().lower()


def _interpreter(task_vars: Mapping[str, Any], templar: Any) -> str:
    value = str(templar.template(task_vars.get("ansible_python_interpreter", "auto")))
    return "" if value in _DISCOVER else value


def _of_become(become: Any, play_context: Any) -> dict[str, Any]:
    if become is None:
        return {"become": False}

    def get(option: str) -> Any:
        return become.get_option(option, playcontext=play_context)

    flags = shlex.split(get("become_flags") or "")
    return {
        "become": True,
        "become_method": become.name.rpartition(".")[2],
        "become_user": get("become_user") or "root",
        "become_password": get("become_pass") or None,
        "become_exe": get("become_exe") or "sudo",
        # How to ask, and whose home directory to take, is for the connection to say.
        "become_flags": [flag for flag in flags if flag not in ("-H", "-S", "-n")],
    }


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1")

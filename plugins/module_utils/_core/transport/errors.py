# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a connection."""

from __future__ import annotations

from ..errors import DsgError


class ConnectError(DsgError):
    """The storage host could not be reached, or did not let us in."""

    code = "DSG-CONNECT"
    next_step = "See that `ssh` to the host works from here with the same user, and run again."


class NoClientError(ConnectError):
    """There is no OpenSSH client here; another way to connect may do."""


class HostKeyError(ConnectError):
    """The host's key is not known, or another one than known."""

    code = "DSG-HOST-KEY"
    next_step = (
        "Find out from the host's administrator which key is right, put it into known_hosts, and "
        "run again. Host keys are checked whatever the configuration says."
    )


class AuthenticationError(ConnectError):
    """The host refused the user."""

    code = "DSG-AUTHENTICATION"
    next_step = "Correct user, key or password of the connection, and run again."


class BecomeError(ConnectError):
    """The user of the connection could not become the one to work as."""

    code = "DSG-BECOME"
    next_step = "Correct ansible_become_password or the host's sudo rule, or use the delegated service user."


class InterpreterError(ConnectError):
    """The host has no Python that the agent could run on."""

    code = "DSG-PYTHON"
    next_step = "Install Python 3.9 or newer there, or name one with ansible_python_interpreter."


class ConnectionLost(DsgError):
    """The connection ended in the middle of the work."""

    code = "DSG-CONNECTION"
    next_step = "Run again when the host answers: what was begun there is undone or finished then."

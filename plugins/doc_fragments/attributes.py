# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes that every module of the collection documents."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``dsg.storage.attributes`` and ``dsg.storage.attributes.info_module``."""

    # Every module names its own support for the first three; `details` may say more there. All of
    # them are in the action group of meta/runtime.yml, and need of Linux what the core asks of it.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description:
      - Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when
        in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation
        indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a
        relevant way.
  action_group:
    description:
      - Use C(group/dsg.storage.dsg) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - dsg.storage.dsg
  platform:
    description:
      - Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

    # For read-only modules: nothing to predict, nothing to change. What the attributes mean is said above.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
"""

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks look at a clean copy of the repository, or at what its tarball installs."""

from __future__ import annotations

from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

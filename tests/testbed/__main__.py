# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual hosts with OpenZFS: ``testbed --help``, which runs this. Needs nothing but Python's standard library."""

import sys
from pathlib import Path

if sys.version_info < (3, 9):
    sys.exit("testbed: Python 3.9 or newer is needed")

sys.dont_write_bytecode = True  # it may run as another user than the checkout's owner
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.testbed.cli import main  # noqa: E402

sys.exit(main())

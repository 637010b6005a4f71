# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every benchmark: ``python -m tests.bench.run [--quick] [--rounds N] [name ...]``.

Each ``bench_<name>.py`` beside this file has ``main(options)`` and prints its tables.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import tempfile
from pathlib import Path

from .measure import Options


def main() -> None:
    """Parse the command line and run what it names, or everything."""
    here = Path(__file__).resolve().parent
    known = sorted(path.stem.removeprefix("bench_") for path in here.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description="Measure ours beside its peers.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="small corpora, to see that all works")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(os.environ.get("DSG_BENCH_DIR", tempfile.gettempdir())) / "dsg-bench",
        help="where the corpora are kept, some 8 GB (default: %(default)s)",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.release()}")
    options = Options(arguments.directory, arguments.quick, arguments.rounds)
    options.base.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or known:
        importlib.import_module(f"{__package__}.bench_{name}").main(options)


if __name__ == "__main__":
    main()

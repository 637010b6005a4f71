# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A working copy and the repositories of a fleet, and a playbook's way through the phases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from _core.client.fleet import COMMIT
from _core.client.working_copy import WorkingCopy
from _core.sync.fleet.decision import decide
from _core.sync.phases import run
from _core.sync.recovery import recover
from _core.sync.request import PREPARE, SyncRequest, SyncResult

from tests.integration.support import Node, Site, Tree, make, read

FLEET = "20260101T000000Z-f1"


class Fleet:
    """Hosts ``h1`` … with a repository each, and one working copy.

    ``make_site`` makes the site of a host at a place.
    """

    def __init__(
        self,
        root: str,
        hosts: int = 3,
        make_site: Callable[[str, str], Site] = lambda _host, place: Site(place),
    ) -> None:
        self.root = root
        self.src = os.path.join(root, "wc")
        self.sites = {}
        for number in range(1, hosts + 1):
            place = os.path.join(root, f"h{number}")
            os.makedirs(place, exist_ok=True)
            self.sites[f"h{number}"] = make_site(f"h{number}", place)

    def edit(self, tree: Mapping[str, Node | None]) -> None:
        """Change the working copy."""
        make(self.src, tree)

    def request(self, host: str, **options: Any) -> SyncRequest:
        """Return a request for one host."""
        direction = options.pop("direction", "both")
        options.setdefault("lock_timeout", 10.0)
        options.setdefault("coordinator", os.getpid())
        if options.get("phase", "full") != "full":
            options.setdefault("fleet", FLEET)
            options.setdefault("host", host)
        site = self.sites[host]
        return site.request(self.src, direction=direction, max_delete="100%", user="ann", **options)

    def full(self, host: str, **options: Any) -> SyncResult:
        """Sync one host alone."""
        return run(self.request(host, **options))

    def prepare(self, host: str, **options: Any) -> SyncResult:
        return run(self.request(host, phase=PREPARE, **options))

    def prepare_all(self, **options: Any) -> list[SyncResult]:
        return [self.prepare(host, **options) for host in self.sites]

    def decide(self, wanted: str = COMMIT, results: list[SyncResult] | None = None) -> str:
        expected = [one.txn_id for one in results or [] if one.txn_id]
        return decide(self.src, FLEET, wanted, expected)

    def finish(self, host: str, phase: str = COMMIT, **options: Any) -> SyncResult:
        return run(self.request(host, phase=phase, **options))

    def finish_all(self, phase: str = COMMIT, **options: Any) -> list[SyncResult]:
        return [self.finish(host, phase, **options) for host in self.sites]

    def recover(self, host: str, **options: Any) -> list[str]:
        site = self.sites[host]
        destination = getattr(site, "destination", None)
        return recover(self.src, site.name, site.backend, 10.0, destination, **options)

    def recover_all(self) -> list[str]:
        return [sentence for host in self.sites for sentence in self.recover(host)]

    def published(self) -> list[Tree | None]:
        """Return what each host publishes."""
        lives = [site.live for site in self.sites.values()]
        return [read(live) if os.path.lexists(live) else None for live in lives]

    def snapshots(self) -> list[int | None]:
        heads = [site.repository.head() for site in self.sites.values()]
        return [None if head is None else head.snapshot for head in heads]

    def known(self) -> list[int | None]:
        """Return the snapshot that the working copy's record has of each host."""
        copy = WorkingCopy(self.src)
        headers = [copy.cache_header(site.key) for site in self.sites.values()]
        return [None if header is None else header.snapshot for header in headers]

    def check_tidy(self) -> None:
        """Nothing of a transaction is left anywhere, and every repository is sound."""
        for site in self.sites.values():
            assert site.repository.held() == []
            assert site.repository.unfinished() == []
            if site.repository.head() is None:
                assert site.staged() == []
            else:
                site.check_sound()
            site.check_tidy(self.src)

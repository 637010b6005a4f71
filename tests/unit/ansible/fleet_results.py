# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of ``dsg_info`` as hosts return them, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

TAKEN = "2026-11-21T09:41:12Z"
SCRIPT = "<script>document.title='owned';alert(1)</script><img src=x onerror=alert(2)>"
ATTRIBUTE = '" onmouseover="alert(3)" x=\''


def healthy(name: str = "docs") -> dict[str, Any]:
    """A repository that is in sync."""
    return {
        "changed": False,
        "location": f"/srv/dsg/{name}",
        "repository_exists": True,
        "snapshot": 3,
        "snapshots": [1, 2, 3],
        "created_at": "2026-11-20T23:14:44Z",
        "created_by": "ann@desk.example.org",
        "message": "Corrected chapter 3",
        "manifest_digest": "ab" * 32,
        "files": 20,
        "bytes": 4096,
        "last_sync": 3,
        "in_sync": True,
        "states": {},
        "plan": {"counts": {"upload": 0, "conflict": 0}, "paths": {}, "truncated": False},
        "conflicts": [],
        "unfinished": [],
        "open_transactions": [],
        "running": [],
        "pending_cleanups": [],
        "snapshot_users": [],
        "missing_rights": [],
        "space": {
            "free": 10 << 30,
            "size": 40 << 30,
            "used": None,
            "history": None,
            "quota": None,
            "quota_of": "",
            "pool": "",
            "health": "",
        },
        "drift": {"count": 0, "paths": []},
        "unknown": [],
        "problems": [],
        "summary": {
            "repository": name,
            "snapshot": "s3",
            "published": "2026-11-20T23:14:44Z",
            "by": "ann@desk.example.org",
            "message": "Corrected chapter 3",
            "digest": "abababababab",
            "in_sync": "yes",
            "differences": "none",
            "drift": "no",
            "unfinished": "no",
            "cleanups": "no",
            "history": "",
            "free": "10.0 GiB",
            "problem": "",
        },
    }


def problem(severity: str, kind: str, message: str, *details: str) -> dict[str, Any]:
    return {
        "severity": severity,
        "kind": kind,
        "code": "",
        "object": "",
        "message": message,
        "details": list(details),
        "next_step": "Run `dsg.storage.recover` (any next sync does it as well).",
    }


def troubled() -> dict[str, Any]:
    """A repository that differs, was written to, and has a cleanup that waits for a reader."""
    found = healthy()
    holder = {"kind": "process", "pid": 7, "command": "less", "user": "bob", "place": "/sub"}
    cleanup = {
        "object": "tank/dsg/.dsg/docs.old.x",
        "txn_id": "x",
        "what": "tank/dsg/.dsg/docs.old.x, replaced by transaction x, is to be destroyed",
        "holders": [{**holder, "tag": "", "text": "pid 7 (less) of bob in /sub"}],
        "next_step": "Let pid 7 (less) leave it.",
    }
    found.update(
        in_sync=False,
        states={"111 only L differs": 2, "111 all differ": 1},
        plan={
            "counts": {"upload": 2, "conflict": 1},
            "paths": {"upload": ["a", "b"], "conflict": ["c"]},
        },
        drift={"count": 1, "paths": ["d: missing"]},
        unfinished=[cleanup["what"]],
        pending_cleanups=[cleanup],
        problems=[
            problem("error", "drift", "1 path differs from the manifest", "d: missing"),
            problem("warning", "conflict", "1 path is in conflict", "c (111 all differ)"),
            problem("warning", "cleanup", cleanup["what"], "pid 7 (less) of bob in /sub"),
        ],
    )
    summary = found["summary"]
    summary.update(in_sync="no", differences="2 upload, 1 conflict", drift="1", cleanups="1")
    return found


def away() -> dict[str, Any]:
    """A host that does not answer."""
    error = {
        "code": "DSG-CONNECT",
        "host": "",
        "object": "five",
        "message": "ssh could not reach the host",
        "unchanged": "Nothing was changed.",
        "next_step": "See that ssh works.",
        "details": ["connection refused"],
    }
    told = problem("error", "failed", error["message"], "connection refused")
    return {
        "failed": True,
        "msg": "[DSG-CONNECT] ssh could not reach the host",
        "error": error,
        "location": "/srv/dsg/docs",
        "problems": [{**told, "code": "DSG-CONNECT", "object": "five"}],
        "summary": {"repository": "docs", "problem": "DSG-CONNECT"},
    }


def hostile() -> dict[str, Any]:
    """Everything that a person or a host could put there, meant for a browser or a terminal."""
    found = troubled()
    evil = f"{SCRIPT}{ATTRIBUTE}\x1b]0;owned\x07\u202etxt.exe</td></table></style>"
    found.update(
        message=evil,
        created_by=evil,
        states={evil: 1},
        last_sync=evil,
        plan={"counts": {"upload": 1}, "paths": {"upload": [evil, "x" * 4000], evil: [evil]}},
        drift={"count": 1, "paths": [evil]},
        unfinished=[evil],
        open_transactions=[evil],
        missing_rights=[{"message": evil, "object": evil, "next_step": evil}],
        problems=[
            {**problem("error", "unknown", evil, evil), "object": evil, "next_step": f"`{evil}`"}
        ],
    )
    found["space"].update(quota=1 << 30, quota_of=evil, pool=evil, health=evil)
    found["summary"].update(message=evil, by=evil, differences=evil, repository=evil)
    found["pending_cleanups"][0].update(what=evil, holders=[{"text": evil}])
    return found


def results() -> dict[str, dict[str, Any]]:
    """Five hosts, one of which has two repositories."""
    new = {**healthy("new"), "repository_exists": False, "snapshot": None, "snapshots": []}
    new.update(created_at="", created_by="", message="", manifest_digest="", files=0, bytes=0)
    new.update(in_sync=False, last_sync=None)
    new["summary"] = {**new["summary"], "snapshot": "-", "published": "", "by": "", "message": ""}
    differs = troubled()
    differs["problems"] = []
    return {
        "one": {"results": [{**healthy(), "item": {"name": "docs"}}]},
        "two": {"results": [{**troubled(), "item": {"name": "docs"}}]},
        "three": {"results": [differs, new]},
        "four": {"failed": True, "msg": "'dsg_repositories' is undefined"},
        "five": {"results": [{**away(), "item": {"name": "docs"}}]},
    }

# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start of the agent on a host that has nothing but a Python: the first bytes that go there.

What is sent once per version is kept in ``~/.cache/dsg-storage/<SHA-256>``, a directory that only the
user may write to; where it cannot be written, the agent runs from memory. Versions that were not used for
three months go when a new one comes.
"""

from __future__ import annotations

import base64
import zlib

MARK = b"DSG1 "
"""Begins a line that the boot code says; what a login shell prints before is skipped, whole lines or not."""
READY, NEED, WAIT, OLD, NONE, BAD = b"ready", b"need", b"wait", b"old", b"none", b"bad"
BEGUN = b"begun"
"""What the shell says, before it looks for a Python: whoever was to become another user is it by now."""
PROMPT = "[dsg.storage] password:"
"""What sudo says when it wants a password; once more when it did not like it."""
GO = b"go\n"
"""Ends what may be left of a password that sudo did not ask for."""

NAME = "dsg_storage_core"
OLDEST = (3, 9)
UNUSED = 90 * 24 * 3600
"""Seconds: a version that was not used for so long is deleted."""
NEWER = tuple(f"python3.{minor}" for minor in range(14, 8, -1))

# A version is moved aside before it is deleted: half of one must never be taken for a whole.
# Has to be understood by any Python, old ones too. argv: "wait" to skip a password first, its own text.
# A line comes in: the SHA-256 of the package's sources, and the number of bytes that are sent ahead.
_CODE = f"""\
import os, sys
def say(word):
    os.write(1, b"\\n" + {MARK!r} + word + b"\\n")
if sys.version_info < {OLDEST!r}:
    for newer in {NEWER!r}:
        try:
            os.execvp(newer, [newer, "-E", "-s", "-S", "-c"] + sys.argv[2:3] + sys.argv[1:])
        except OSError:
            pass
    say(b"{OLD.decode()} " + sys.version.split()[0].encode())
    sys.exit(3)
def line():
    found = b""
    while not found.endswith(b"\\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(4)
        found += byte
    return found
if sys.argv[1]:
    say({WAIT!r})
    while line() != {GO!r}:
        pass
key, ahead = line().decode().split()
ahead = int(ahead)
root = os.path.join(os.path.expanduser("~"), ".cache", "dsg-storage")
place = os.path.join(root, key)
def ours():
    try:
        found = os.lstat(root)
    except OSError:
        return False
    is_directory = found.st_mode & 0o170000 == 0o040000
    return is_directory and found.st_uid == os.geteuid() and not found.st_mode & 0o022
def take(size):
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit(4)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
def keep(sources):
    old = os.umask(0o077)
    try:
        os.makedirs(root, exist_ok=True)
        if not ours():
            return False
        new = "%s.%s" % (place, os.urandom(8).hex())
        os.mkdir(new, 0o700)
        try:
            for name in sources:
                path = os.path.join(new, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as stream:
                    stream.write(sources[name])
                    stream.flush()
                    os.fsync(stream.fileno())
            os.rename(new, place)
        except OSError:
            import shutil
            shutil.rmtree(new, True)
            return os.path.isdir(place)
        return True
    except OSError:
        return False
    finally:
        os.umask(old)
def use():
    try:
        os.utime(place)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    sys.path.insert(0, place)
    return True
def prune(name):
    import shutil, time
    path = os.path.join(root, name)
    version, dot, rest = name.partition(".")
    if name == key or len(version) != 64 or os.lstat(path).st_mtime > time.time() - {UNUSED}:
        return
    if not dot:
        whole, path = path, "%s.%s" % (path, os.urandom(8).hex())
        os.rename(whole, path)
    shutil.rmtree(path, True)
class Memory:
    def __init__(self, sources):
        self.sources = sources
    def find_spec(self, name, path=None, target=None):
        base = name.replace(".", "/")
        for file in (base + "/__init__.py", base + ".py"):
            if file in self.sources:
                package = file.endswith("__init__.py")
                return importlib.util.spec_from_loader(name, self, origin=file, is_package=package)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        file = module.__spec__.origin
        exec(compile(self.sources[file], file, "exec"), module.__dict__)
early = b""
if not (ours() and os.path.isdir(place) and use()):
    say({NEED!r})
    early = take(ahead)
    import hashlib, json, zlib
    packed = take(int.from_bytes(take(8), "big"))
    try:
        text = zlib.decompress(packed)
    except zlib.error:
        text = b""
    if hashlib.sha256(text).hexdigest() != key:
        say({BAD!r})
        sys.exit(5)
    sources = json.loads(text.decode())
    if keep(sources):
        use()
        for name in os.listdir(root):
            try:
                prune(name)
            except OSError:
                pass
    else:
        import importlib.util
        sys.meta_path.insert(0, Memory(sources))
from {NAME}.transport import agent
say({READY!r})
os._exit(agent.main(early))
"""

# No -I, which Python 2 refuses before it could tell its version: -E and -s are the same, but for the
# directory that the code is started in.
_FIND = (
    f'echo; echo "{MARK.decode()}{BEGUN.decode()}"; '
    "boot=$1; wait=$2; shift 2; "
    'for python do if command -v "$python" >/dev/null 2>&1; then '
    'exec "$python" -E -s -S -c "$boot" "$wait" "$boot"; fi; done; '
    f'echo "{MARK.decode()}{NONE.decode()}"'
)


def command(interpreter: str, *, wait: bool) -> list[str]:
    """Return the argument list that starts an agent; :func:`opening` goes to its input.

    ``interpreter`` '' takes the host's python3. With ``wait`` a line that nobody asked for may come
    first.
    """
    text = base64.b64encode(zlib.compress(_CODE.encode())).decode()
    code = "import sys;sys.path.remove('');"
    code += f"import binascii,zlib;exec(zlib.decompress(binascii.a2b_base64('{text}')))"
    candidates = [interpreter] if interpreter else ["python3", *NEWER]
    return ["sh", "-c", _FIND, "dsg", code, "wait" if wait else "", *candidates]


def opening(key: str, ahead: bytes) -> bytes:
    """Return what an agent of package ``key`` is sent first: with it the first frames, ``ahead``."""
    return f"{key} {len(ahead)}\n".encode() + ahead

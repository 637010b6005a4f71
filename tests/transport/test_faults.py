# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a host or the way to it: each has its code, changes nothing, and can be cured."""

from __future__ import annotations

import ast
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _core.errors import DsgError
from _core.transport import boot
from _core.transport.destination import Become, Destination
from _core.transport.package import package

from tests.integration.support import make, put, read
from tests.tools.sshd import free_port, keygen
from tests.transport.remote_site import SshSite
from tests.transport.world import PASSWORD, World, uid_of, world


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as running:
        yield running


@pytest.fixture
def tmp_path(host: World) -> Path:
    """A directory that the host's users can reach."""
    place = Path(tempfile.mkdtemp(dir=host.folder))
    place.chmod(0o755)
    return place


def refused(site: SshSite, code: str, src: str, **fields: Any) -> DsgError:
    """Run with another destination what must be refused; then the right one does what is to be done."""
    destination = site.destination._replace(**fields)
    error = site.refused(code, src, destination=destination)
    assert error.object == destination.name or error.host == destination.name
    site.sync(src)
    site.check_sound()
    return error


@pytest.fixture
def begun(host: World, tmp_path: Path) -> tuple[SshSite, str]:
    """A published tree with a change that is not published yet."""
    site = host.site("plain", tmp_path)
    src = site.copy("ann", {"a": "a", "d/b": "b"})
    site.sync(src)
    put(src, "a", "changed")
    return site, src


def all_of_it(site: SshSite) -> None:
    """Init, sync and clone."""
    ann, bob = site.copy("ann", {"a": "a", "d/b": "b" * 100_000}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"a": "changed", "c": "c"})
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == read(bob) == read(site.live)
    site.check_sound()


# --- who is there ---


def test_nobody_listens(begun):
    site, src = begun
    refused(site, "DSG-CONNECT", src, port=free_port())


def test_an_unknown_host_key(begun, tmp_path):
    site, src = begun
    options = _knowing(site, tmp_path, "")
    refused(site, "DSG-HOST-KEY", src, options=options)


@pytest.mark.parametrize("more", [[], ["-o", "StrictHostKeyChecking=no"]], ids=["", "lax options"])
def test_another_host_key_than_the_known_one(begun, tmp_path, more):
    site, src = begun
    kind, key = keygen(tmp_path / "other").split()[:2]
    line = f"[{site.destination.host}]:{site.destination.port} {kind} {key}\n"
    error = refused(site, "DSG-HOST-KEY", src, options=[*more, *_knowing(site, tmp_path, line)])
    assert "known_hosts" in error.next_step


def _knowing(site: SshSite, tmp_path: Path, line: str) -> list[str]:
    known = tmp_path / "known_hosts"
    known.write_text(line, encoding="ascii")
    return ["-o", f"UserKnownHostsFile={known}", *site.destination.options]


def test_a_refused_key(begun, tmp_path):
    site, src = begun
    keygen(tmp_path / "other")
    refused(site, "DSG-AUTHENTICATION", src, key_file=str(tmp_path / "other"))


def test_a_user_who_may_not_log_in(begun, host):
    site, src = begun
    refused(site, "DSG-CONNECT", src, user="mute")


def test_a_user_who_may_start_nothing(begun):
    site, src = begun
    refused(site, "DSG-CONNECT", src, user="sessionless")


# --- passwords ---


@pytest.fixture
def known_hosts(host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The known_hosts of the user who runs the test, which knows the server."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder.parent))
    return Path(shutil.copy(host.server.known_hosts, folder / "known_hosts"))


def _by_password(password: str) -> dict[str, object]:
    return {"password": password, "options": (), "key_file": ""}


def test_a_password(host, tmp_path, known_hosts):
    all_of_it(host.site("plain", tmp_path, **_by_password(PASSWORD)))


def test_a_wrong_password(begun, known_hosts):
    site, src = begun
    refused(site, "DSG-AUTHENTICATION", src, **_by_password("wrong"))


def test_a_password_goes_to_no_unknown_host(begun, known_hosts, tmp_path):
    site, src = begun
    known_hosts.write_text("", encoding="ascii")
    refused(site, "DSG-HOST-KEY", src, **_by_password(PASSWORD))
    kind, key = keygen(tmp_path / "other").split()[:2]
    name = f"[{site.destination.host}]:{site.destination.port}"
    known_hosts.write_text(f"{name} {kind} {key}\n", encoding="ascii")
    put(src, "a", "changed again")
    refused(site, "DSG-HOST-KEY", src, **_by_password(PASSWORD))


# --- Python over there ---


def test_an_interpreter_that_is_not_there(begun):
    site, src = begun
    error = refused(site, "DSG-PYTHON", src, interpreter="/nowhere/bin/python3")
    assert "/nowhere/bin/python3" in error.message


def test_a_host_without_python(begun):
    site, src = begun
    error = refused(site, "DSG-PYTHON", src, user="nopython")
    assert "python3 was not found" in error.message


_AGED = """\
#!/bin/sh
# The real interpreter, told that it is an old one: what it is asked to run is not changed.
while [ "$1" != -c ]; do
  case $1 in
    -[EsS]) shift;;
    *) echo "Unknown option: $1" >&2; echo "usage: python [option] ... [arg] ..." >&2; exit 2;;
  esac
done
shift
exec {python} -E -s -S -c 'import sys
sys.version = "{version} (main)"
sys.version_info = ({numbers}, "final", 0)
exec(sys.argv.pop(1))' "$@"
"""


@pytest.fixture(params=["2.7.18", "3.4.10", "3.8.18"])
def aged(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An interpreter that knows no more options than Python 2.7 does, and says how old it is.

    No old one is to be had everywhere.
    """
    version = request.param
    words = {"version": version, "numbers": version.replace(".", ", ")}
    path = tmp_path / f"python{version}"
    path.write_text(_AGED.format(python="/usr/bin/python3", **words), encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_python_that_is_too_old(begun, aged):
    site, src = begun
    # No newer one may be found on the PATH, to which the boot code turns then.
    error = refused(site, "DSG-PYTHON", src, interpreter=str(aged), user="nopython")
    version = aged.name.replace("python", "")
    assert f"its Python is {version}, the agent needs 3.9 or newer" in error.message


def test_an_old_python_turns_to_a_newer_one(host, tmp_path, aged):
    all_of_it(host.site("plain", tmp_path / "site", interpreter=str(aged)))


def test_nothing_is_imported_from_where_the_user_comes_in(host, tmp_path):
    """Only of Python's own library: a home may have anything in it."""
    home, sprung = host.home("plain"), tmp_path / "sprung"
    tmp_path.chmod(0o777)
    traps = [home / f"{name}.py" for name in ("binascii", "zlib", "hashlib", "json", "shutil")]
    for trap in traps:
        trap.write_text(f"open({str(sprung)!r}, 'w')\n", encoding="ascii")
    all_of_it(host.site("plain", tmp_path / "site"))
    for trap in traps:
        trap.unlink()
    assert not sprung.exists()


def test_old_interpreters_understand_the_boot_code():
    assert ast.parse(boot._CODE, feature_version=(3, 4))


# --- shells ---


@pytest.mark.parametrize("user", ["plain", "tess", "fiona", "noisy"])
def test_login_shells_of_all_sorts(host, tmp_path, user):
    all_of_it(host.site(user, tmp_path))


def test_a_login_shell_that_does_not_stop_talking(begun):
    site, src = begun
    error = refused(site, "DSG-CONNECT", src, user="shouting")
    assert "login shell" in error.next_step


# --- where the agent is kept ---


def test_the_agent_is_sent_once(host, tmp_path):
    all_of_it(host.site("plain", tmp_path))
    kept = host.home("plain") / ".cache" / "dsg-storage"
    assert os.listdir(kept) == [package().key]
    assert kept.stat().st_mode & 0o077 == 0


def test_versions_that_nobody_uses_any_more_go(host, tmp_path):
    """When a new one comes; using one makes it new again."""
    kept = host.home("plain") / ".cache" / "dsg-storage"
    all_of_it(host.site("plain", tmp_path / "first"))
    old, young, link = ("0" * 64, "1" * 64, "2" * 64)
    (kept / package().key).rename(kept / old)
    left = f"{old}.0123456789abcdef"
    for name in (left, young, "of somebody else"):
        (kept / name).mkdir()
        os.chown(kept / name, uid_of("plain"), uid_of("plain"))
    (kept / link).symlink_to(tmp_path)
    for name in (old, left, link, "of somebody else"):
        long_ago = time.time() - boot.UNUSED - 60
        os.utime(kept / name, (0, long_ago), follow_symlinks=False)
    all_of_it(host.site("plain", tmp_path / "second"))
    found = {name for name in os.listdir(kept) if not name.startswith(link)}
    assert found == {package().key, young, "of somebody else"}
    assert (tmp_path / "second").exists(), "a link is not followed"
    os.utime(kept / package().key, (0, 0))
    all_of_it(host.site("plain", tmp_path / "third"))
    assert (kept / package().key).stat().st_mtime > boot.UNUSED
    for path in kept.iterdir():
        if path.is_symlink():
            path.unlink()
        elif path.name != package().key:
            path.rmdir()


@pytest.mark.parametrize("user", ["readonly", "full"])
def test_a_home_that_cannot_be_written_to(host, tmp_path, user):
    all_of_it(host.site(user, tmp_path))
    assert not (host.home(user) / ".cache").exists()


@pytest.mark.parametrize("how", ["writable by others", "of somebody else", "a link"])
def test_a_cache_that_others_can_write_to_is_not_used(host, tmp_path, how):
    """A trap waits where the agent would be: nobody may step into it."""
    cache = host.home("trapped") / ".cache"
    shutil.rmtree(cache, ignore_errors=True)
    root = cache / ("elsewhere" if how == "a link" else "dsg-storage")
    trap = root / package().key / boot.NAME / "transport"
    trap.mkdir(parents=True)
    sprung = tmp_path / "sprung"
    tmp_path.chmod(0o777)
    for place in (trap.parent, trap):
        (place / "__init__.py").write_text("", encoding="ascii")
    (trap / "agent.py").write_text(f"open({str(sprung)!r}, 'w')\n", encoding="ascii")
    uid = uid_of("plain") if how == "of somebody else" else uid_of("trapped")
    for directory, _unused, names in os.walk(cache):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, uid, uid)
    os.chown(cache, uid_of("trapped"), uid_of("trapped"))
    if how == "writable by others":
        root.chmod(0o777)
    if how == "a link":
        (cache / "dsg-storage").symlink_to(root)
    all_of_it(host.site("trapped", tmp_path / "site"))
    assert not sprung.exists()


def test_the_trap_would_work_if_it_were_stepped_into(host, tmp_path):
    """Else the test above says nothing: with right owner and mode the same trap is taken for ours."""
    cache = host.home("trapped") / ".cache"
    shutil.rmtree(cache, ignore_errors=True)
    trap = cache / "dsg-storage" / package().key / boot.NAME / "transport"
    trap.mkdir(parents=True)
    sprung = host.home("trapped") / "sprung"
    for place in (trap.parent, trap):
        (place / "__init__.py").write_text("", encoding="ascii")
    (trap / "agent.py").write_text(f"open({str(sprung)!r}, 'w')\n", encoding="ascii")
    for directory, _unused, names in os.walk(cache):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, uid_of("trapped"), uid_of("trapped"))
    site = host.site("trapped", tmp_path)
    with pytest.raises(DsgError) as caught:
        site.sync(site.copy("ann", {"a": "a"}))
    assert caught.value.code == "DSG-CONNECTION"  # the trap has no main()
    assert sprung.exists()
    shutil.rmtree(cache)


# --- sudo ---

ROOT = Become(user="root")


def test_sudo_without_a_password(host, tmp_path):
    all_of_it(host.site("freely", tmp_path, become=ROOT))


def test_root_is_refused_where_the_base_directory_is_a_users(host, tmp_path):
    site = host.site("freely", tmp_path)
    ann = site.copy("ann", {"a": "a"})
    site.sync(ann)
    put(ann, "a", "more")
    as_root = site.destination._replace(become=ROOT)
    for check in (True, False):
        error = site.refused("DSG-RIGHTS", ann, destination=as_root, check=check)
        assert error.object == site.base
        assert "`ansible_user`" in error.next_step
    assert site.sync(ann).snapshot == 2


def test_sudo_with_a_password(host, tmp_path):
    all_of_it(host.site("asked", tmp_path, become=ROOT._replace(password=PASSWORD)))


def test_a_password_that_sudo_does_not_ask_for(host, tmp_path):
    all_of_it(host.site("freely", tmp_path, become=ROOT._replace(password=PASSWORD)))


def test_a_password_for_sudo_by_paramiko(host, tmp_path, known_hosts):
    become = ROOT._replace(password=PASSWORD)
    all_of_it(host.site("plain", tmp_path, **_by_password(PASSWORD)))
    site = host.site("asked", tmp_path / "more", become=become)
    site.sync(site.copy("ann", {"a": "a"}))


BECOMING: dict[str, Callable[[Destination], dict[str, object]]] = {
    "asks unexpectedly": lambda right: {"become": ROOT},
    "no rule": lambda right: {"become": ROOT._replace(password=PASSWORD), "user": "never"},
    "no rule, no password": lambda right: {"become": ROOT, "user": "never"},
    "no such user": lambda right: {"become": ROOT._replace(user="nobody-here", password=PASSWORD)},
    "no sudo": lambda right: {"become": ROOT._replace(executable="/nowhere/sudo")},
}


@pytest.mark.parametrize("how", BECOMING)
def test_becoming_another_user_fails(host, tmp_path, how):
    site = host.site("asked", tmp_path, become=ROOT._replace(password=PASSWORD))
    src = site.copy("ann", {"a": "a"})
    refused(site, "DSG-BECOME", src, **BECOMING[how](site.destination))


_COMPLAINS = """\
#!/bin/sh
echo "sudo: unable to resolve host store1: Name or service not known" >&2
exec sudo "$@"
"""
_DIES = """\
#!/bin/sh
echo "out of memory" >&2
exit 1
"""


@pytest.mark.parametrize("by", ["ssh", "paramiko"])
def test_sudo_is_not_blamed_for_what_comes_behind_it(host, tmp_path, known_hosts, by):
    """It may have complained of something, and then done what it was asked for."""
    sudo, python = tmp_path / "sudo", tmp_path / "python3"
    for path, text in ((sudo, _COMPLAINS), (python, _DIES)):
        path.write_text(text, encoding="ascii")
        path.chmod(0o755)
    become = ROOT._replace(password=PASSWORD, executable=str(sudo))
    fields = _by_password(PASSWORD) if by == "paramiko" else {}
    site = host.site("asked", tmp_path / "site", become=become, **fields)
    src = site.copy("ann", {"a": "a"})
    error = refused(site, "DSG-CONNECT", src, interpreter=str(python))
    assert "out of memory" in error.details
    assert "unable to resolve" in " ".join(error.details)


def test_a_wrong_password_for_sudo_is_offered_once(host, tmp_path):
    site = host.site("asked", tmp_path, become=ROOT._replace(password=PASSWORD))
    src = site.copy("ann", {"a": "a"})
    before = host.sudo_log()
    wrong = site.destination._replace(become=ROOT._replace(password="wrong"))
    site.refused("DSG-BECOME", src, destination=wrong)
    log = host.sudo_log()[len(before) :]
    assert "1 incorrect password attempt" in " ".join(log.split())
    site.sync(src)

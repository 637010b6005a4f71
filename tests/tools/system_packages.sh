#!/usr/bin/env bash
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs the system packages that are missing, and nothing when none is.
# Usage: system_packages.sh PYTHON demo|test
set -euo pipefail

python=$1
purpose=$2
PATH=$PATH:/usr/sbin:/sbin

# What has to be there : the Debian package that brings it
needs=(git:git)
if [ "$purpose" = test ]; then
  needs+=(
    bsdtar:libarchive-tools
    chromium-headless-shell:chromium-headless-shell
    faketime:faketime
    fish:fish
    hashdeep:hashdeep
    ip:iproute2
    losetup:mount
    mkfs.btrfs:btrfs-progs
    mkfs.ext4:e2fsprogs
    mkfs.xfs:xfsprogs
    mount:mount
    msmtp:msmtp
    mtree:mtree-netbsd
    rclone:rclone
    rsync:rsync
    sha256sum:coreutils
    shellcheck:shellcheck
    ssh:openssh-client
    sshd:openssh-server
    strace:strace
    sudo:sudo
    tcsh:tcsh
  )
fi

missing_packages() {
  local need
  for need in "${needs[@]}"; do
    command -v "${need%%:*}" >/dev/null || echo "${need#*:}"
  done
  # Debian's python3 comes without the modules that make virtual environments.
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo -- "$@"
  fi
}

refuse() {
  echo "These packages are missing: $*" >&2
  echo "$reason Install them, then run make again." >&2
  exit 1
}

mapfile -t missing < <(missing_packages | sort -u)
[ "${#missing[@]}" -gt 0 ] || exit 0

reason=""
if ! command -v apt-get >/dev/null; then
  reason="This system has no apt-get."
elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
  reason="You are not root and there is no sudo."
fi
[ -z "$reason" ] || refuse "${missing[@]}"

echo "Installing with apt-get: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { as_root apt-get update &&
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  reason="apt-get could not install them (its output is above)."
  refuse "${missing[@]}"
fi

mapfile -t missing < <(missing_packages | sort -u)
if [ "${#missing[@]}" -gt 0 ]; then
  reason="apt-get installed them, but what they should bring is not on the PATH."
  refuse "${missing[@]}"
fi

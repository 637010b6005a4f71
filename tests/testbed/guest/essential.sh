#!/bin/sh
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs on the building machine before the kernel is unpacked; $1 is the guest's root directory.
# A small initrd with just what mounts the root disk boots faster under emulation.
set -eu
tree=$1

mkdir -p "$tree/etc/initramfs-tools/conf.d" "$tree/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$tree/etc/initramfs-tools/conf.d/testbed"
cat >"$tree/etc/initramfs-tools/hooks/testbed" <<'EOF'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
EOF
chmod 0755 "$tree/etc/initramfs-tools/hooks/testbed"

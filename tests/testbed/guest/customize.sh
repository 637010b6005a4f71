#!/bin/sh
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs inside the guest's root directory (chroot) once every package is there.
# /testbed holds the public key of whoever logs in and the host key of the guest.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# --- OpenZFS for the guest's own kernel: built here, at native speed, not under emulation
kernel=$(basename /lib/modules/*)
[ -d "/lib/modules/$kernel/build" ] || { echo "no headers for kernel $kernel" >&2; exit 1; }
modules=/lib/modules/$kernel/updates/dkms
built() { ls "$modules"/zfs.ko* >/dev/null 2>&1; }
built || dkms autoinstall -k "$kernel"
built || { echo "dkms built no zfs module for $kernel" >&2; exit 1; }
cp -a "$modules" /testbed/modules
# The compiler and the headers are three quarters of the disk and nobody needs them any more.
apt-get -q -y purge --autoremove zfs-dkms dkms linux-headers-cloud-amd64 libc6-dev
mkdir -p "$modules"
cp -a /testbed/modules/. "$modules/"
# Unpacking a module is slow under emulation.
find "/lib/modules/$kernel" -name '*.ko.xz' -exec xz --decompress {} +
depmod "$kernel"
update-initramfs -u -k "$kernel"
apt-mark -q hold "linux-image-$kernel" linux-image-cloud-amd64
cp "/boot/vmlinuz-$kernel" /boot/testbed-vmlinuz
cp "/boot/initrd.img-$kernel" /boot/testbed-initrd

echo zfs >/etc/modules-load.d/zfs.conf
echo 'options zfs zfs_arc_max=134217728' >/etc/modprobe.d/zfs.conf
zgenhostid -f
systemd-machine-id-setup

# --- network: the emulator's own, always at the same address
cat >/etc/systemd/network/10-testbed.network <<'EOF'
[Match]
Name=eth0
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
EOF
echo 'nameserver 10.0.2.3' >/etc/resolv.conf
echo testbed >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 testbed\n' >/etc/hosts
echo '/dev/vda / ext4 errors=remount-ro 0 1' >/etc/fstab
systemctl -q enable systemd-networkd ssh

# --- nothing may wake up by itself in the middle of a test
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  fstrim.timer

# --- a third of the boot is for what such a guest has no use for
systemctl -q mask systemd-networkd-wait-online.service systemd-network-generator.service \
  getty@tty1.service serial-getty@ttyS0.service systemd-logind.service systemd-hostnamed.socket \
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-pstore.service \
  e2scrub_reap.service systemd-journal-flush.service modprobe@drm.service \
  modprobe@efi_pstore.service modprobe@fuse.service modprobe@configfs.service \
  sys-fs-fuse-connections.mount sys-kernel-config.mount dev-hugepages.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount

# --- logins: root, an ordinary user without any rights, a user who may become root
rm -f /etc/ssh/ssh_host_*
install -m 0600 /testbed/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key
install -m 0644 /testbed/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ed25519_key.pub
cat >/etc/ssh/sshd_config.d/testbed.conf <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
MaxStartups 100
MaxSessions 100
EOF
useradd --create-home --shell /bin/bash dsg
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
for user in root dsg admin; do
  home=$(getent passwd "$user" | cut -d: -f6)
  install -d -m 0700 -o "$user" -g "$user" "$home/.ssh"
  install -m 0600 -o "$user" -g "$user" /testbed/id_ed25519.pub "$home/.ssh/authorized_keys"
done

# --- what a restored guest does first: the hour, its name (arguments: name)
cat >/usr/local/sbin/testbed-wake <<'EOF'
#!/bin/sh
set -eu
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" >/etc/hosts
echo "$1" >/etc/hostname
hostname "$1"
echo ready
read -r now
date -u -s "@$now" >/dev/null
sync
EOF
chmod 0755 /usr/local/sbin/testbed-wake

dpkg-query -W -f '${Package} ${Version}\n' >/boot/testbed-packages
rm -rf /testbed /etc/apt/apt.conf.d/99mmdebstrap /var/log/*.log /var/cache/debconf/*-old

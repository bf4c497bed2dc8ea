#!/bin/sh
# Makes a Vagrant machine of a fresh Debian. Runs inside of it while the box is built; the argument is the UUID
# of the root file system.
set -eu

echo kintro >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 kintro\n::1 localhost\n' >/etc/hosts
echo "UUID=$1 / ext4 errors=remount-ro 0 1" >/etc/fstab

# The links /vmlinuz and /initrd.img follow every new kernel, so this file never changes.
mkdir -p /boot/grub
cat >/boot/grub/grub.cfg <<END
set timeout=0
linux /vmlinuz root=UUID=$1 ro console=tty0 console=ttyS0,115200 net.ifnames=0
initrd /initrd.img
boot
END
[ -e /vmlinuz ] && [ -e /initrd.img ]

# An address and name servers from whoever gives addresses on the provider's network; none is written down here.
cat >/etc/systemd/network/80-kintro.network <<END
[Match]
Type=ether

[Network]
DHCP=yes
END
systemctl --quiet enable systemd-networkd systemd-resolved ssh

# Each machine makes its own host keys at its first start; none of RSA, which takes an emulated CPU half a minute.
rm -f /etc/ssh/ssh_host_*
cat >/etc/systemd/system/kintro-ssh-keys.service <<END
[Unit]
Description=SSH host keys of this machine
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -N "" -t ecdsa -f /etc/ssh/ssh_host_ecdsa_key
ExecStart=/usr/bin/ssh-keygen -q -N "" -t ed25519 -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=multi-user.target
END
systemctl --quiet enable kintro-ssh-keys

# What Vagrant expects of a box: a user of this name with its public, well-known key, which vagrant up replaces.
useradd --create-home --shell /bin/bash --password '*' vagrant
install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
cat >/home/vagrant/.ssh/authorized_keys <<END
ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key
END
chown vagrant:vagrant /home/vagrant/.ssh/authorized_keys
chmod 600 /home/vagrant/.ssh/authorized_keys
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/vagrant
chmod 440 /etc/sudoers.d/vagrant

: >/etc/machine-id # empty: made at the first start
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/cache/ldconfig/aux-cache
find /var/log -type f -delete

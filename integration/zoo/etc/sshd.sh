#!/bin/sh
# A server, and a session with it whose shell reads from a FIFO: both ends of the connection are in this container.
set -eu
mkdir -p /run/sshd /root/.ssh
chmod 700 /root/.ssh
ssh-keygen -q -A
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
/usr/sbin/sshd -D -e -p 2222 &
mkfifo /run/lines
exec 3<>/run/lines
until ssh -p 2222 -o StrictHostKeyChecking=accept-new localhost true; do sleep 0.2; done
ssh -T -p 2222 localhost /bin/sh <&3 >/run/said &
wait

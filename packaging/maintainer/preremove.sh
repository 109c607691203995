#!/bin/sh
# Before the files are removed: dpkg calls it with `remove`, rpm with the number of versions that stay.
set -e

case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        # The socket would start the service again.
        systemctl disable --now wire-scim-guard.socket wire-scim-guard.service
    fi
    ;;
esac

#!/bin/sh
# After the files are in place. dpkg calls it with `configure` and the previous version if there is one, rpm with the number of
# installed versions. The service is neither enabled nor started: it needs the address of the backend first.
set -e

# The guard waits for 30 seconds.
TIMEOUT=35

main_process() {
    systemctl show --property=MainPID --value wire-scim-guard.service
}

# The running process starts the new program and hands it its sockets (SIGUSR2), so that no connection is refused. If the new
# program does not accept the config, the running one serves on.
hand_over() {
    systemctl is-active --quiet wire-scim-guard.service || return 0
    old=$(main_process)
    [ "$old" -gt 0 ] || return 0
    kill -USR2 "$old" || return 0
    waited=0
    while [ "$(main_process)" = "$old" ]; do
        if [ "$waited" -ge "$TIMEOUT" ]; then
            echo "wire-scim-guard: the new version did not become ready, so the previous one is still running." >&2
            echo "\`journalctl --unit wire-scim-guard\` says why. Then: systemctl restart wire-scim-guard" >&2
            return 0
        fi
        sleep 1
        waited=$((waited + 1))
    done
}

case "$1" in
configure) upgraded=$2 ;;
[2-9]*) upgraded=yes ;;
1) upgraded= ;;
*) exit 0 ;;
esac
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers wire-scim-guard.conf
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ -n "$upgraded" ]; then
        hand_over
    fi
fi

#!/usr/bin/env python3
"""The packages, installed, upgraded and removed on a machine with a real systemd, in podman."""

import argparse
import functools
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients"), str(HERE.parent / "containers")]
import packages  # noqa: E402
import podman  # noqa: E402
from guard import expect, run  # noqa: E402
from load import Load  # noqa: E402
from machine import SERVICE, SOCKET, Machine  # noqa: E402
from podman import wait_until  # noqa: E402

CONFIG = "/etc/wire-scim-guard/config.yaml"
DROP_IN = f"/etc/systemd/system/{SERVICE}.d/test.conf"
ADMIN_TOKEN = "sixteen-characters"
UNKNOWN_KEY = "listne: 1\n"
# A tenth of what systemd-analyze prints: 0 to 10, where a service without any sandbox has 9.6.
EXPOSURE = 20


class Debian:
    install, upgrade, remove = "dpkg --install", "dpkg --install", "dpkg --remove wire-scim-guard"


class Rpm:
    # The machine's libraries are Debian's, which rpm's database does not know.
    install, upgrade, remove = "rpm --install --nodeps", "rpm --upgrade --nodeps", "rpm --erase wire-scim-guard"


def installation(machine, format, package):
    """The package starts nothing, and its config is valid."""
    machine(f"{format.install} {machine.copy(package)}")
    expect("enabled", machine.sh(f"systemctl is-enabled {SERVICE} {SOCKET}")[1].split(), ["disabled"] * 2)
    expect("active", machine.sh(f"systemctl is-active {SERVICE} {SOCKET}")[1].split(), ["inactive"] * 2)
    machine("getent passwd wire-scim-guard && getent group wire-scim-guard")
    expect("config", machine(f"wire-scim-guard config check --config {CONFIG}"), f"{CONFIG}: ok")
    expect("reference", machine("wire-scim-guard config check --config /usr/share/wire-scim-guard/config.yaml").split()[-1], "ok")


def from_report_to_enforcing(machine):
    """The way of a newcomer through docs/installing.md and docs/rolling-out.md."""
    check = f"wire-scim-guard config check --config {CONFIG}"
    config = machine.read(CONFIG).replace("127.0.0.1:8088", "127.0.0.1:8081")
    with machine.changed(CONFIG, config):
        machine(check)
        machine(f"systemctl enable --now {SOCKET} {SERVICE}")
        expect("readiness", machine.request(9090, "GET", "/i/ready"), (200, None))
        expect("Wire's refusal", machine.create("dave+d"), (400, None))
        confirmed = 'scim_guard_agreement_total{outcome="confirmed",rule="user.user_name"} 1'
        wait_until("the agreement of Wire", lambda: confirmed in machine.text(9090, "/metrics"))
        machine.write(CONFIG, config.replace("mode: report", "mode: enforce"))
        machine(f"{check} && systemctl reload {SERVICE}")
        wait_until("enforcing", lambda: machine.create("dave+d") == (400, "user.user_name"))
        machine(f"systemctl disable --now {SOCKET} {SERVICE}")


def first_start(machine):
    """`systemctl start` returns when the guard serves."""
    config = machine.read(CONFIG).replace("127.0.0.1:8088", "127.0.0.1:8081").replace("mode: report", "mode: enforce")
    machine.write(CONFIG, config + "# The operator's.\n")
    machine(f"systemctl start {SERVICE}")
    expect("ready", machine.request(9090, "GET", "/i/ready"), (200, None))
    expect("a user", machine.create_somebody(), (201, None))
    expect("a refusal", machine.create("Alice"), (400, "user.user_name.case"))
    machine(f"systemctl stop {SERVICE}")
    expect("result", machine.show("Result"), "success")


def activation_by_its_socket(machine):
    machine(f"systemctl enable --now {SOCKET} {SERVICE}")
    expect("a user", machine.create_somebody(), (201, None))
    expect("triggers", machine.show("TriggeredBy"), SOCKET)


def sandbox(machine):
    user = int(machine("id --user wire-scim-guard"))
    # In /run nothing belongs to this user.
    writable = podman.confined(machine.outer_process(), user)
    expect("writable", {path for path in writable if not path.startswith(("/run", "/tmp", "/var/tmp"))}, set())
    code, said = machine.sh(f"systemd-analyze security --no-pager --threshold={EXPOSURE} {SERVICE}")
    print("        " + said.splitlines()[-1].strip())
    expect("exposure", code, 0)


def reload_of_the_config(machine):
    before, config = machine.main_process(), machine.read(CONFIG)
    with machine.changed(CONFIG, config.replace("mode: enforce", "mode: report")):
        machine(f"systemctl reload {SERVICE}")
        wait_until("the changed config", lambda: machine.create("Carol")[1] is None)
    with machine.changed(CONFIG, config + UNKNOWN_KEY):
        machine(f"systemctl reload {SERVICE}")
        wait_until("the mistake in the journal", lambda: mistake(config) in machine.journal())
        expect("readiness", machine.request(9090, "GET", "/i/ready"), (200, None))
    machine(f"systemctl reload {SERVICE}")
    wait_until("the first config", lambda: machine.create("Carol")[0] == 400)
    wait_until("the end of the reload", lambda: machine.show("SubState") == "running")
    expect("process", machine.main_process(), before)


def mistake(config):
    """What is said of a config with an unknown key after it."""
    return f"{CONFIG}:{config.count(chr(10)) + 1}:1: listne is an unknown key"


def restarts_under_load(machine):
    with Load(machine) as load:
        for _ in range(3):
            before = machine.main_process()
            machine.restart()
            load.goes_on()
            expect("another process", machine.main_process() != before, True)


def replacement_under_load(machine):
    """SIGUSR2, as docs/operating.md has it."""
    with Load(machine) as load:
        before = machine.main_process()
        machine(f"systemctl kill --kill-whom=main --signal=USR2 {SERVICE}")
        wait_until("another process", lambda: machine.main_process() not in (0, before))
        wait_until("the end of the old one", lambda: not machine.exists(f"/proc/{before}") and machine.sh(f"kill -0 {before}")[0] != 0)
        load.goes_on()
    expect("state", machine.show("ActiveState"), "active")
    expect("unplanned restarts", machine.show("NRestarts"), "0")


def upgrade_under_load(machine, format, package):
    """The running process hands over to the new program, and the operator's config stays."""
    config, before = machine.read(CONFIG), machine.main_process()
    package = machine.copy(package)
    with Load(machine) as load:
        machine(f"{format.upgrade} {package}")
        expect("another process", machine.main_process() not in (0, before), True)
        load.goes_on()
    expect("config", machine.read(CONFIG), config)
    program = machine(f"readlink /proc/{machine.main_process()}/exe")
    expect("program", program, "/usr/bin/wire-scim-guard")
    expect("state", machine.show("ActiveState"), "active")


def upgrade_without_its_socket(machine, format, package):
    machine(f"systemctl disable --now {SOCKET}")
    machine.restart()
    upgrade_under_load(machine, format, package)
    machine(f"systemctl stop {SERVICE}")
    machine(f"systemctl enable --now {SOCKET} {SERVICE}")


def upgrade_with_a_faulty_config(machine, format, package):
    """The previous program serves on, and the operator is told."""
    config, before = machine.read(CONFIG), machine.main_process()
    with machine.changed(CONFIG, config + UNKNOWN_KEY):
        said = machine(f"{format.upgrade} --force-downgrade {machine.copy(package)}")
    expect("message", "the new version did not become ready, so the previous one is still running" in said, True)
    expect("process", machine.main_process(), before)
    expect("a request", machine.create("Alice"), (400, "user.user_name.case"))


def start_with_a_faulty_config(machine):
    config = machine.read(CONFIG)
    with machine.changed(CONFIG, config + UNKNOWN_KEY):
        expect("restart", machine.sh(f"systemctl restart {SERVICE}")[0], 1)
        said = machine(f"systemctl status {SERVICE} --lines 20 --no-pager; true")
        expect("message", mistake(config) in said, True)
        expect("state", (machine.show("ActiveState"), machine.show("NRestarts")), ("failed", "0"))
    machine.restart()
    expect("a request", machine.create("Alice"), (400, "user.user_name.case"))


def stop_that_takes_longer_than_the_unit_says(machine):
    with machine.changed(CONFIG, machine.read(CONFIG) + "limits: {shutdown_delay: 3s}\n"):
        machine.write(DROP_IN, "[Service]\nTimeoutStopSec=1\n")
        try:
            machine.restart()
            machine(f"systemctl stop {SERVICE}")
            expect("result", machine.show("Result"), "success")
        finally:
            machine(f"rm {DROP_IN}")
    machine.restart()


def secret_files(machine):
    """Readable by the group of the service, or by root alone as a credential."""
    config, token = machine.read(CONFIG), "/etc/wire-scim-guard/admin.token"
    with machine.changed(CONFIG, config.replace('"127.0.0.1:9090"', f'"127.0.0.1:9090", token_file: {token}')):
        machine.write(token, ADMIN_TOKEN, "root:root", "0600")
        expect("restart", machine.sh(f"systemctl restart {SERVICE}")[0], 1)
        expect("message", f"{token}: cannot be read: Permission denied" in machine.journal(), True)
        machine.write(token, ADMIN_TOKEN, "root:wire-scim-guard", "0640")
        machine.restart()
        needs_the_token(machine)
    machine.write(token, ADMIN_TOKEN, "root:root", "0600")
    credential = f"/run/credentials/{SERVICE}/admin.token"
    with machine.changed(CONFIG, config.replace('"127.0.0.1:9090"', f'"127.0.0.1:9090", token_file: {credential}')):
        machine.write(DROP_IN, f"[Service]\nLoadCredential=admin.token:{token}\n")
        machine.restart()
        needs_the_token(machine)
        machine(f"systemctl reload {SERVICE}")
        needs_the_token(machine)
        machine(f"rm {DROP_IN}")
    machine.restart()


def needs_the_token(machine):
    expect("without", machine.request(9090, "GET", "/metrics")[0], 401)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    expect("with", machine.request(9090, "GET", "/metrics", None, headers)[0], 200)


def removal(machine, format, kept):
    config = machine.read(CONFIG)
    machine(format.remove)
    expect("units", machine.sh(f"systemctl is-active {SERVICE} {SOCKET}")[1].split(), ["inactive"] * 2)
    expect("program", machine.exists("/usr/bin/wire-scim-guard"), False)
    expect("links", machine.exists(f"/etc/systemd/system/multi-user.target.wants/{SERVICE}"), False)
    expect("config", machine.read(kept), config)
    expect("secrets", machine.exists("/etc/wire-scim-guard/admin.token"), True)


def reinstallation_and_purge(machine, package):
    config = machine.read(CONFIG)
    machine(f"dpkg --install {machine.copy(package)}")
    expect("config", machine.read(CONFIG), config)
    machine("dpkg --purge wire-scim-guard")
    expect("config", machine.exists(CONFIG), False)
    expect("the operator's own files", machine.exists("/etc/wire-scim-guard/admin.token"), True)
    expect("what dpkg knows", machine.sh("dpkg-query --status wire-scim-guard")[0], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = str(Path(parser.parse_args().binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        old, old_rpm = packages.build(binary, folder, "0.1.0")
        new, new_rpm = packages.build(binary, folder, "0.1.1")
        with Machine(binary) as machine:
            scenarios = [
                functools.partial(packages.contents_of_the_deb, old),
                functools.partial(packages.lintian_has_no_objection, old),
                functools.partial(packages.contents_of_the_rpm, old_rpm),
                functools.partial(packages.the_same_bytes_twice, binary, [old, old_rpm]),
                functools.partial(installation, machine, Debian, old),
                functools.partial(from_report_to_enforcing, machine),
                functools.partial(first_start, machine),
                functools.partial(activation_by_its_socket, machine),
                functools.partial(sandbox, machine),
                functools.partial(reload_of_the_config, machine),
                functools.partial(restarts_under_load, machine),
                functools.partial(replacement_under_load, machine),
                functools.partial(upgrade_under_load, machine, Debian, new),
                functools.partial(upgrade_with_a_faulty_config, machine, Debian, old),
                functools.partial(upgrade_without_its_socket, machine, Debian, new),
                functools.partial(start_with_a_faulty_config, machine),
                functools.partial(stop_that_takes_longer_than_the_unit_says, machine),
                functools.partial(secret_files, machine),
                functools.partial(removal, machine, Debian, CONFIG),
                functools.partial(reinstallation_and_purge, machine, new),
                functools.partial(installation, machine, Rpm, old_rpm),
                functools.partial(first_start, machine),
                functools.partial(activation_by_its_socket, machine),
                functools.partial(upgrade_under_load, machine, Rpm, new_rpm),
                functools.partial(removal, machine, Rpm, f"{CONFIG}.rpmsave"),
            ]
            return run([(name(scenario), scenario) for scenario in scenarios])


def name(scenario):
    words = getattr(scenario, "func", scenario).__name__.replace("_", " ")
    formats = [argument.__name__ for argument in getattr(scenario, "args", []) if isinstance(argument, type)]
    return " ".join([words, *formats])


if __name__ == "__main__":
    sys.exit(main())

"""The Debian package on a Debian that systemd has booted, beside a real RocksDB of another user."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.daemon import ROOT, WRITER, Page
from tests.integration.machine import Machine, booted, missing_for_a_machine

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(missing_for_a_machine() is not None, reason=str(missing_for_a_machine())),
]

DATABASE = "/var/lib/app/db"
CONFIG = "/etc/smaxd/smaxd.yaml"
DROP_INS = "/etc/systemd/system/smaxd.service.d"
STATE = "/var/lib/smaxd"
FIRST, SECOND = "1", "2"
"""Revisions of the package."""

APP_UNIT = f"""
[Service]
User=app
Group=appdb
UMask=0027
StateDirectory=app
StateDirectoryMode=0750
Environment=PYTHONPATH=/opt/app PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 /opt/app/writer.py {DATABASE} 1048576
"""
QUICK = "[Service]\nWatchdogSec=5s\nRestartSec=1s\n"
"""The shipped unit waits a minute for a hung daemon, and ten seconds before it starts it again."""

LONG_SECONDS = 120.0
"""fio's first run, a few ticks and the models take some seconds each on a busy host."""


@dataclass(frozen=True)
class Packages:
    """The package, and its next revision."""

    first: Path
    second: Path

    def of(self, revision: str) -> Path:
        return self.first if revision == FIRST else self.second


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    o = Path("/var/tmp/package/out")
    return Packages(o / "smaxd_0.1.0-1_amd64.deb", o / "smaxd_0.1.0-2_amd64.deb")


@pytest.fixture(scope="module")
def machine(packages: Packages) -> Iterator[Machine]:
    """With the packages in /packages, and a database in which user ``app`` writes all the time."""
    with booted() as running:
        for package in (packages.first, packages.second):
            target = running.root / "packages" / package.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(package.read_bytes())
        running.run("groupadd", "--system", "appdb")
        running.run("useradd", "--system", "--gid", "appdb", "app")
        install(running, packages, FIRST)
        # A copy of its own: the application outlives every removal of the package.
        running.run("mkdir", "/opt/app")
        bundled = running.tell(
            "sh", "-c", "ls -d /opt/smaxd/venv/lib/python3.*/site-packages/rocksdict"
        )
        running.run("cp", "-r", bundled, "/opt/app/rocksdict")
        running.write("/opt/app/writer.py", WRITER)
        running.write("/etc/systemd/system/app.service", APP_UNIT)
        running.run("systemctl", "daemon-reload")
        running.run("systemctl", "start", "app.service")
        running.wait_until(
            (running.root / f"{DATABASE}/CURRENT".lstrip("/")).exists, "the writer writes"
        )
        yield running


def install(machine: Machine, packages: Packages, revision: str) -> None:
    """As an administrator without a terminal does: questions are errors."""
    machine.run("dpkg", "--install", f"/packages/{packages.of(revision).name}")


def installed_version(machine: Machine) -> str:
    return machine.tell(
        "dpkg-query", "--show", "--showformat=${Version} ${db:Status-Status}", "smaxd"
    )


@pytest.fixture
def service(machine: Machine, packages: Packages) -> Machine:
    """The service as shipped, with the database in its configuration and its group in a drop-in.

    It has learned nothing yet, so it runs fio once more.
    """
    if not installed_version(machine).endswith(" installed"):
        install(machine, packages, FIRST)
    shipped = (ROOT / "configs/smaxd.yaml").read_text()
    machine.write(CONFIG, configured(shipped))
    access = (ROOT / "systemd/drop-ins/database-access.conf").read_text()
    machine.run("rm", "-rf", DROP_INS)
    machine.write(
        f"{DROP_INS}/database-access.conf",
        access.replace("SupplementaryGroups=app\n", "SupplementaryGroups=appdb\n"),
    )
    machine.run("systemctl", "stop", "smaxd.service")
    machine.run("rm", "-rf", STATE)
    restart(machine)
    return machine


def configured(shipped: str) -> str:
    """The shipped file with a database in it, and quicker than an operator would have it."""
    changed = shipped.replace("databases: []", f"databases: [{{path: {DATABASE}, name: orders}}]")
    changed = changed.replace("tick_seconds: 10", "tick_seconds: 1")
    assert changed.count("name: orders}") == changed.count("\ntick_seconds: 1\n") == 1
    return changed


def restart(machine: Machine) -> None:
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", "smaxd.service", check=False)
    machine.run("systemctl", "restart", "smaxd.service")


def main_pid(machine: Machine) -> str:
    return machine.property_of("smaxd.service", "MainPID")


def is_active(machine: Machine) -> bool:
    return machine.tell("systemctl", "is-active", "smaxd.service") == "active"


def comes_back(machine: Machine, pid: str) -> None:
    """Wait until another process is the daemon, and answers."""
    machine.wait_until(
        lambda: is_active(machine) and main_pid(machine) not in {pid, "0"},
        "systemd starts it again",
        LONG_SECONDS,
    )
    machine.wait_until(lambda: machine.get("/healthz") == (200, "ok\n"), "it answers again")


def processes_of_the_user(machine: Machine) -> str:
    return machine.tell("ps", "--no-headers", "-o", "pid,args", "-U", "smaxd")


def test_an_installed_package_is_a_service_that_runs(machine: Machine, packages: Packages) -> None:
    """Without a step of the administrator; active means that it has told systemd so."""
    machine.run("dpkg", "--purge", "smaxd")
    install(machine, packages, FIRST)
    assert machine.tell("systemctl", "is-enabled", "smaxd.service") == "enabled"
    assert is_active(machine)
    assert machine.property_of("smaxd.service", "Type") == "notify"
    assert machine.get("/healthz") == (200, "ok\n")
    machine.wait_until(lambda: machine.get("/readyz")[0] == 200, "it is ready")
    owner = machine.tell("ps", "--no-headers", "-o", "user,group", "-p", main_pid(machine))
    assert owner.split() == ["smaxd", "smaxd"]
    assert machine.tell("dpkg", "--verify", "smaxd") == ""


def test_it_tells_what_the_database_of_another_user_sustains(service: Machine) -> None:
    """The whole product: S_max and put rate through the unit's sandbox, fio's capacity included."""
    pages: list[Page] = []

    def told() -> bool:
        pages.append(service.page())
        labels = {"db": "orders"}
        return (
            (pages[-1].value("smax_recommended_puts_per_second", **labels) or 0.0) > 0.0
            and (pages[-1].value("smax_observed_puts_per_second", **labels) or 0.0) > 0.0
            and bool(pages[-1].samples("smax_device_write_capacity_bytes_per_second"))
            and bool(pages[-1].samples("smax_probe_success", probe="secondary"))
        )

    service.wait_until(told, "S_max, put rate and capacity are on the page", LONG_SECONDS)
    failed = [labels for labels, value in pages[-1].samples("smax_probe_success") if value != 1.0]
    assert failed == []
    observed = pages[-1].value("smax_observed_puts_per_second", db="orders")
    print(
        f"S_max {pages[-1].value('smax_recommended_puts_per_second', db='orders'):.0f} puts/s, "
        f"observed {observed:.0f}, after {len(pages)} looks"
    )
    assert "orders" in service.run("smaxd", "status").stdout
    assert service.run("smaxd", "check").stdout.startswith("SMAXD OK")


def test_no_system_call_that_it_makes_is_denied(service: Machine) -> None:
    """With a filter that kills instead of refusing, the daemon and its children live as before."""
    service.write(f"{DROP_INS}/kill.conf", "[Service]\nSystemCallErrorNumber=kill\n")
    restart(service)
    pid = main_pid(service)

    def all_probes_answered() -> bool:
        probes = {
            labels["probe"]: value for labels, value in service.page().samples("smax_probe_success")
        }
        return probes.keys() >= {"fio", "secondary", "wal"} and set(probes.values()) == {1.0}

    service.wait_until(all_probes_answered, "every probe succeeds", LONG_SECONDS)
    assert main_pid(service) == pid
    assert "status=31/SYS" not in service.journal()


def test_the_discovery_drop_in_finds_and_reads_another_users_database(service: Machine) -> None:
    """By its capabilities alone: no name in the configuration, no group of the database's."""
    drop_in = (ROOT / "systemd/drop-ins/discovery.conf").read_text()
    service.run("rm", "-rf", DROP_INS)
    service.write(f"{DROP_INS}/discovery.conf", drop_in)
    service.write(CONFIG, "tick_seconds: 1\nfio: {enabled: false}\n")
    restart(service)

    def succeeded(probe: str) -> bool:
        found = service.page().samples("smax_probe_success", probe=probe, target=DATABASE)
        return [value for _, value in found] == [1.0]

    for probe in ("wal", "secondary", "process_io"):
        service.wait_until(lambda probe=probe: succeeded(probe), f"{probe} succeeds", LONG_SECONDS)  # type: ignore[misc]


def test_a_killed_daemon_is_started_again(service: Machine) -> None:
    """kill -9, as the kernel does when memory runs out."""
    pid = main_pid(service)
    service.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "smaxd.service")
    comes_back(service, pid)
    assert service.property_of("smaxd.service", "NRestarts") == "1"


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again(service: Machine) -> None:
    """A stopped process answers nobody, and only the watchdog can tell."""
    service.write(f"{DROP_INS}/quick.conf", QUICK)
    restart(service)
    pid = main_pid(service)
    service.run("kill", f"-{int(signal.SIGSTOP)}", pid)
    comes_back(service, pid)
    assert "Watchdog timeout" in service.journal()
    assert processes_of_the_user(service).count("smaxd run") == 1


def test_a_reload_puts_a_changed_configuration_into_force(service: Machine) -> None:
    """In the same process."""
    pid, before = main_pid(service), config_hash(service)
    service.write(
        CONFIG, service.read(CONFIG).replace("\ntick_seconds: 1\n", "\ntick_seconds: 2\n")
    )
    service.run("systemctl", "reload", "smaxd.service")
    service.wait_until(
        lambda: config_hash(service) not in {before, None}, "the new one is in force"
    )
    assert service.page().value("smaxd_config_last_reload_successful") == 1.0
    assert main_pid(service) == pid


def test_a_reload_of_a_broken_configuration_fails_and_changes_nothing(service: Machine) -> None:
    """systemctl says so; a daemon that is told all the same says so in a metric."""
    pid, before = main_pid(service), config_hash(service)
    good = service.read(CONFIG)
    service.write(CONFIG, good.replace("\ntick_seconds: 1\n", "\ntick_seconds: never\n"))
    assert service.run("systemctl", "reload", "smaxd.service", check=False).returncode != 0
    assert "tick_seconds" in service.journal()
    service.run("kill", "-HUP", pid)
    service.wait_until(
        lambda: service.page().value("smaxd_config_last_reload_successful") == 0.0,
        "the metric tells of the broken file",
    )
    assert (main_pid(service), config_hash(service)) == (pid, before)
    service.write(CONFIG, good)
    service.run("systemctl", "reload", "smaxd.service")
    service.wait_until(
        lambda: service.page().value("smaxd_config_last_reload_successful") == 1.0,
        "the metric tells of the mended file",
    )


def config_hash(machine: Machine) -> str | None:
    found = machine.page().samples("smaxd_config_info")
    return found[0][0]["hash"] if found else None


def test_a_stop_leaves_nothing(service: Machine) -> None:
    """No process, no private directory, no scratch file; and it is no failure."""
    service.wait_until(
        lambda: service.page().samples("smax_probe_success", probe="fio"), "fio has run"
    )
    service.run("systemctl", "stop", "smaxd.service")
    assert service.tell("systemctl", "is-active", "smaxd.service") == "inactive"
    assert service.property_of("smaxd.service", "Result") == "success"
    assert processes_of_the_user(service) == ""
    places = ("/run", "/tmp", "/var/tmp", STATE)  # noqa: S108 - only looked at
    left = service.tell("find", *places, "-name", "*smaxd*").splitlines()
    assert left == [STATE]


def written_bytes(machine: Machine) -> float:
    return sum(value for _, value in machine.page().samples("smaxd_written_bytes_total"))


def test_an_upgrade_keeps_state_and_configuration(service: Machine, packages: Packages) -> None:
    """The account of what was written goes on, the administrator's file stays, the service runs."""
    install(service, packages, FIRST)
    service.wait_until(lambda: written_bytes(service) > 0.0, "fio's bytes are on the account")
    before, configuration = written_bytes(service), service.read(CONFIG)
    pid = main_pid(service)
    install(service, packages, SECOND)
    assert installed_version(service).split()[0].endswith(f"-{SECOND}")
    assert is_active(service)
    assert main_pid(service) != pid
    assert service.read(CONFIG) == configuration
    service.wait_until(lambda: written_bytes(service) >= before, "the account goes on")
    assert service.page().samples("smax_database_size_bytes", db="orders")


def test_an_upgrade_leaves_a_disabled_service_alone(service: Machine, packages: Packages) -> None:
    """The administrator's decision outlives the package's default."""
    service.run("systemctl", "disable", "--now", "smaxd.service")
    try:
        install(service, packages, SECOND)
        assert service.tell("systemctl", "is-enabled", "smaxd.service") == "disabled"
        assert not is_active(service)
    finally:
        service.run("systemctl", "enable", "smaxd.service")


def test_a_removal_keeps_state_and_configuration_for_the_next_time(
    service: Machine, packages: Packages
) -> None:
    """And nothing else: no process, no program, no unit."""
    service.wait_until(lambda: written_bytes(service) > 0.0, "fio's bytes are on the account")
    before, configuration = written_bytes(service), service.read(CONFIG)
    service.run("dpkg", "--remove", "smaxd")
    assert processes_of_the_user(service) == ""
    assert (
        service.tell("find", "/opt/smaxd", "/usr/bin/smaxd", "-maxdepth", "0").count("No such") == 2
    )
    assert service.property_of("smaxd.service", "LoadState") == "masked"
    install(service, packages, FIRST)
    assert is_active(service)
    assert service.read(CONFIG) == configuration
    service.wait_until(lambda: written_bytes(service) >= before, "the account goes on")


def test_a_purge_leaves_nothing_but_the_user(service: Machine) -> None:
    """Not even what the daemon made at run time. The administrator's own drop-ins are theirs."""
    service.run("systemctl", "kill", "--signal=KILL", "smaxd.service")
    service.run("dpkg", "--purge", "smaxd")
    service.run("rm", "-rf", DROP_INS)
    found = service.run("find", "/", "-xdev", "-name", "*smaxd*", "-not", "-path", "/packages/*")
    assert found.stdout == ""
    assert service.tell("getent", "passwd", "smaxd").endswith(":/usr/sbin/nologin")
    assert service.property_of("smaxd.service", "LoadState") == "not-found"


def test_nothing_went_wrong_that_only_the_journal_tells(service: Machine) -> None:
    """No traceback, no system call refused, nothing of the unit that systemd did not understand."""
    service.wait_until(lambda: service.get("/readyz")[0] == 200, "it is ready")
    words = r"Traceback|status=31/SYS|SIGSYS|Operation not permitted|Unknown (key|lvalue|section)"
    wrong = [line for line in service.journal().splitlines() if re.search(words, line)]
    assert wrong == []

"""The Debian package on a Debian that systemd has booted, beside a real RocksDB of another user."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import bcrypt
import pytest

from tests.integration.daemon import ROOT, Page
from tests.integration.installed_service import (
    CONFIG,
    DATABASE,
    DROP_INS,
    LONG_SECONDS,
    NEXT_DEFAULT,
    STATE,
    Packages,
    bring,
    build_packages,
    comes_back,
    config_hash,
    install,
    installed_version,
    is_active,
    main_pid,
    processes_of_the_user,
    restart,
    start_the_writer,
    written_bytes,
)
from tests.integration.machine import Machine, booted, missing_for_a_machine
from tests.unit.certificates import authority, needs_openssl

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(missing_for_a_machine() is not None, reason=str(missing_for_a_machine())),
]

QUICK = "[Service]\nWatchdogSec=5s\nRestartSec=5s\n"
"""The shipped unit waits a minute for a hung daemon."""

RECEIVER = """
import http.server

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        proof = self.headers["Authorization"] or self.headers["webhook-signature"]
        with open("/run/receiver/heard", "a") as heard:
            print(self.path, str(proof).partition(",")[0], file=heard)
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 9000), Receiver).serve_forever()
"""
RECEIVER_UNIT = """
[Service]
RuntimeDirectory=receiver
ExecStart=/usr/bin/python3 /opt/app/receiver.py
"""
EVERY_WAY_OUT = f"""
tick_seconds: 1
databases: [{{path: {DATABASE}, name: orders}}]
fio: {{enabled: false}}
textfile: {{path: /run/smaxd-textfile/smaxd.prom, interval_seconds: 1}}
otlp: {{endpoint: "http://127.0.0.1:9000", interval_seconds: 1, headers_file: otlp-headers}}
alerts: {{data_stale: {{threshold: 1, clear: 0, for_seconds: 0}}}}
alerting:
  group_wait_seconds: 0
  delivery:
    mode: always
    webhooks: [{{url: "http://127.0.0.1:9000/webhook", name: hook, secret_file: webhook-secret}}]
    apprise: [{{name: chat, url_file: apprise-url}}]
"""
"""As docs/web.md and docs/alerts.md have them. Without fio no S_max, so an alert fires at once."""

NOTHING_TO_TELL = {"pause", "alert_orders", "calibration", "process_io", "smart"}
"""Probes of what nobody ordered, and of what the unit as shipped has no right to."""

CREDENTIALS = {
    "otlp-headers": "Authorization: Bearer token\n",
    "webhook-secret": f"whsec_{base64.b64encode(bytes(32)).decode()}\n",
    "apprise-url": "json://127.0.0.1:9000/chat\n",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return build_packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def machine(packages: Packages) -> Iterator[Machine]:
    """With the packages, and a database in which another user writes all the time."""
    with booted() as running:
        bring(running, packages)
        install(running, packages.first)
        start_the_writer(running)
        yield running


@pytest.fixture
def service(machine: Machine, packages: Packages) -> Machine:
    """The service as shipped, with the database in its configuration and its group in a drop-in.

    It has learned nothing yet, so it runs fio once more.
    """
    if not installed_version(machine).endswith(" installed"):
        install(machine, packages.first)
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


def test_an_installed_package_is_a_service_that_runs(machine: Machine, packages: Packages) -> None:
    """Without a step of the administrator; active means that it has told systemd so."""
    machine.run("dpkg", "--purge", "smaxd")
    install(machine, packages.first)
    assert machine.tell("systemctl", "is-enabled", "smaxd.service") == "enabled"
    assert is_active(machine)
    assert machine.property_of("smaxd.service", "Type") == "notify"
    assert machine.get("/healthz") == (200, "ok\n")
    machine.wait_until(lambda: machine.get("/readyz")[0] == 200, "it is ready")
    owner = machine.tell("ps", "--no-headers", "-o", "user,group", "-p", main_pid(machine))
    assert owner.split() == ["smaxd", "smaxd"]
    assert machine.tell("dpkg", "--verify", "smaxd") == ""


def without_success(page: Page) -> set[str]:
    return {labels["probe"] for labels, value in page.samples("smax_probe_success") if value != 1.0}


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
    assert without_success(pages[-1]) <= NOTHING_TO_TELL
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
    service.run("systemctl", "stop", "smaxd")
    service.run("rm", "-rf", STATE)  # else fio rests after its last run, and has its budget spent
    restart(service)
    pid = main_pid(service)

    def all_probes_answered() -> bool:
        page = service.page()
        probes = {labels["probe"] for labels, _ in page.samples("smax_probe_success")}
        return probes >= {"fio", "secondary", "wal"} and without_success(page) <= NOTHING_TO_TELL

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
    assert service.page().value("smax_puts_total", db=DATABASE)


def give_credentials(machine: Machine, credentials: Mapping[str, str]) -> None:
    """Files that only root can read, and the drop-in that hands them to the service."""
    lines = ["[Service]"]
    for name, secret in credentials.items():
        path = f"/etc/smaxd/credentials/{name}"
        machine.write(path, secret)
        machine.run("chmod", "600", path)
        lines.append(f"LoadCredential={name}:{path}")
    machine.write(f"{DROP_INS}/credentials.conf", "\n".join(lines))


def test_every_way_out_works_in_the_sandbox_with_secrets_that_root_keeps(service: Machine) -> None:
    """Textfile, OTLP, webhook and apprise, as the documentation has them; no system call denied.

    The receiver is on this host, so that no drop-in opens the network.
    """
    service.write("/opt/app/receiver.py", RECEIVER)
    service.write("/etc/systemd/system/receiver.service", RECEIVER_UNIT)
    service.write("/etc/tmpfiles.d/textfile.conf", "d /run/smaxd-textfile 0755 smaxd smaxd\n")
    service.run("systemd-tmpfiles", "--create", "textfile.conf")
    service.write(f"{DROP_INS}/textfile.conf", "[Service]\nReadWritePaths=/run/smaxd-textfile\n")
    service.write(f"{DROP_INS}/kill.conf", "[Service]\nSystemCallErrorNumber=kill\n")
    give_credentials(service, CREDENTIALS)
    service.write(CONFIG, EVERY_WAY_OUT)
    restart(service)
    service.run("systemctl", "restart", "receiver.service")
    pid = main_pid(service)

    def all_was_heard() -> bool:
        heard = set(service.tell("cat", "/run/receiver/heard").splitlines())
        return heard >= {"/v1/metrics Bearer token", "/webhook v1", "/chat None"}

    service.wait_until(all_was_heard, "OTLP, webhook and apprise arrive", LONG_SECONDS)
    assert service.tell("stat", "--format=%U %a", "/run/smaxd-textfile/smaxd.prom") == "smaxd 644"
    service.run("systemctl", "reload", "smaxd.service")
    assert main_pid(service) == pid
    service.run("systemctl", "stop", "smaxd.service")
    assert service.tell("ls", "-A", "/run/smaxd-textfile") == ""
    assert "status=31/SYS" not in service.journal()
    service.run("rm", "-r", "/run/smaxd-textfile", "/etc/tmpfiles.d/textfile.conf")


@needs_openssl
def test_the_listener_speaks_tls_with_a_key_that_root_keeps(
    service: Machine, tmp_path: Path
) -> None:
    """And asks for a password, which the command line takes from its environment."""
    signer = authority(tmp_path)
    pair = signer.signs("server")
    web_config = "/etc/smaxd/web-config.yml"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    service.write("/etc/smaxd/server.crt", pair.certificate.read_text())
    service.write(
        web_config,
        "tls_server_config:\n  cert_file: server.crt\n"
        "  key_file: /run/credentials/smaxd.service/tls-key\n"
        f"basic_auth_users: {{prometheus: {hashed}}}\n",
    )
    give_credentials(service, {"tls-key": pair.key.read_text()})
    changed = service.read(CONFIG).replace("config_file: null", f"config_file: {web_config}")
    service.write(CONFIG, changed)
    restart(service)
    service.run("systemctl", "reload", "smaxd.service")
    service.write("/opt/app/authority.crt", signer.pair.certificate.read_text())
    service.write("/opt/app/password", "secret")
    access = {
        "URL": "https://127.0.0.1:10390",
        "CA_FILE": "/opt/app/authority.crt",
        "USER": "prometheus",
        "PASSWORD_FILE": "/opt/app/password",
    }
    variables = [f"SMAXD_{name}={value}" for name, value in access.items()]
    assert "orders" in service.run("env", *variables, "smaxd", "status").stdout
    assert service.run("env", *variables[:2], "smaxd", "status", check=False).returncode == 1


def test_what_root_orders_reaches_the_daemon(service: Machine) -> None:
    """Its files lie in a directory of the daemon's user, who must be able to read them."""
    service.run("smaxd", "pause", "1h")
    service.run("smaxd", "silence", "1h", "--db", "orders")
    service.wait_until(
        lambda: (service.page().value("smaxd_pause_remaining_seconds") or 0.0) > 0.0, "it pauses"
    )
    service.wait_until(
        lambda: "silence" in service.tell("smaxd", "alerts"), "it tells of the silence"
    )
    assert without_success(service.page()).isdisjoint({"pause", "alert_orders"})


def test_a_killed_daemon_is_started_again(service: Machine) -> None:
    """kill -9, as the kernel does when memory runs out."""
    pid = main_pid(service)
    service.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "smaxd.service")
    comes_back(service, pid)
    assert service.property_of("smaxd.service", "NRestarts") == "1"


def stop_the_process(machine: Machine) -> None:
    """A stopped process answers nobody, and only the watchdog can tell."""
    machine.run("kill", "-STOP", main_pid(machine))


def hang_the_loop(machine: Machine) -> None:
    """It waits for a file that nobody ever writes; the listener and the main thread live on."""
    machine.run("rm", CONFIG)
    machine.run("mkfifo", "--mode=644", CONFIG)
    machine.run("kill", "-HUP", main_pid(machine))


@pytest.mark.parametrize("hang", [stop_the_process, hang_the_loop])
def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again(
    service: Machine, hang: Callable[[Machine], None]
) -> None:
    """The journal then shows where it hung, and the next one knows all that it had learned."""
    good = service.read(CONFIG)
    good = good.replace("\nprobe_timeout_seconds: 5\n", "\nprobe_timeout_seconds: 0.5\n")
    service.write(CONFIG, good)
    service.write(f"{DROP_INS}/quick.conf", QUICK)
    restart(service)
    pid = main_pid(service)
    hang(service)
    service.wait_until(
        lambda: f"Killing process {pid} (smaxd) with signal SIGABRT" in service.journal(),
        "the watchdog fires",
        LONG_SECONDS,
    )
    service.run("rm", CONFIG)
    service.write(CONFIG, good)
    comes_back(service, pid)
    assert service.property_of("smaxd.service", "NRestarts") == "1"
    assert 'agent/loop.py"' in service.journal()
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


def test_an_upgrade_keeps_state_and_configuration(service: Machine, packages: Packages) -> None:
    """The account of what was written goes on, the administrator's file stays, the service runs."""
    install(service, packages.first)
    service.wait_until(lambda: written_bytes(service) > 0.0, "fio's bytes are on the account")
    before, configuration = written_bytes(service), service.read(CONFIG)
    pid = main_pid(service)
    install(service, packages.second)
    assert installed_version(service).split()[0].endswith("-2")
    assert is_active(service)
    assert main_pid(service) != pid
    assert service.read(CONFIG) == configuration
    service.wait_until(lambda: written_bytes(service) >= before, "the account goes on")
    assert service.page().samples("smax_database_size_bytes", db="orders")


def test_an_upgrade_keeps_a_changed_configuration_where_the_default_changed_too(
    service: Machine, packages: Packages
) -> None:
    """The new default lies beside it, and a purge takes that, too."""
    install(service, packages.first)
    configuration = service.read(CONFIG)
    install(service, packages.other_default, "--force-confold")
    assert service.read(CONFIG) == configuration
    assert service.read(f"{CONFIG}.dpkg-dist").endswith(NEXT_DEFAULT)
    assert is_active(service)
    service.run("dpkg", "--purge", "smaxd")
    assert not (service.root / "etc/smaxd").exists()


def test_an_upgrade_brings_the_new_default_where_nothing_was_changed(
    service: Machine, packages: Packages
) -> None:
    """Without a question."""
    service.run("dpkg", "--purge", "smaxd")
    install(service, packages.first)
    install(service, packages.other_default)
    assert service.read(CONFIG).endswith(NEXT_DEFAULT)
    assert is_active(service)
    service.run("dpkg", "--purge", "smaxd")


def test_an_upgrade_leaves_a_disabled_service_alone(service: Machine, packages: Packages) -> None:
    """The administrator's decision outlives the package's default."""
    service.run("systemctl", "disable", "--now", "smaxd.service")
    try:
        install(service, packages.second)
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
    install(service, packages.first)
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

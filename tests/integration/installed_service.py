"""The Debian package on a machine: installing it, and asking systemd about its service."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.integration.daemon import ROOT, WRITER
from tests.integration.machine import Machine

DATABASE = "/var/lib/app/db"
CONFIG = "/etc/smaxd/smaxd.yaml"
DROP_INS = "/etc/systemd/system/smaxd.service.d"
STATE = "/var/lib/smaxd"
NEXT_DEFAULT = "# A line that the next version's default has.\n"

LONG_SECONDS = 120.0
"""fio's first run, a few ticks and the models take some seconds each on a busy host."""

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


@dataclass(frozen=True)
class Packages:
    """The package; its next revision; and that one with another default configuration."""

    first: Path
    second: Path
    other_default: Path


def build_packages(output: Path) -> Packages:
    """Build the package, and make the others of it; AssertionError with what the build said."""
    done = subprocess.run(
        [str(ROOT / "scripts/build-deb"), "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, tree = Path(done.stdout.strip()), output / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", str(first), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)-1$", r"\1-2", control.read_text(), flags=re.M))
    second = _packed(tree, output / "smaxd-second.deb")
    with (tree / CONFIG.lstrip("/")).open("a") as file:
        file.write(NEXT_DEFAULT)
    return Packages(first, second, _packed(tree, output / "smaxd-other-default.deb"))


def _packed(tree: Path, package: Path) -> Path:
    argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return package


def bring(machine: Machine, packages: Packages) -> None:
    """Copy the packages to the machine, into /packages."""
    for package in (packages.first, packages.second, packages.other_default):
        target = machine.root / "packages" / package.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(package.read_bytes())


def install(machine: Machine, package: Path, *options: str) -> None:
    """As an administrator without a terminal does: questions are errors."""
    machine.run("dpkg", *options, "--install", f"/packages/{package.name}")


def start_the_writer(machine: Machine) -> None:
    """A database of user ``app``, group ``appdb``, in which it writes all the time."""
    # A copy of its own: the application outlives every removal of the package.
    machine.run("mkdir", "/opt/app")
    bundled = machine.tell(
        "sh", "-c", "ls -d /opt/smaxd/venv/lib/python3.*/site-packages/rocksdict"
    )
    machine.run("cp", "-r", bundled, "/opt/app/rocksdict")
    machine.run("groupadd", "--system", "appdb")
    machine.run("useradd", "--system", "--gid", "appdb", "app")
    machine.write("/opt/app/writer.py", WRITER)
    machine.write("/etc/systemd/system/app.service", APP_UNIT)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "app.service")
    machine.wait_until(
        (machine.root / f"{DATABASE}/CURRENT".lstrip("/")).exists, "the writer writes"
    )


def installed_version(machine: Machine) -> str:
    """Version and state, such as "1.2.0-1 installed"."""
    return machine.tell(
        "dpkg-query", "--show", "--showformat=${Version} ${db:Status-Status}", "smaxd"
    )


def restart(machine: Machine) -> None:
    """With the unit, its drop-ins and the configuration as they are now."""
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", "smaxd.service", check=False)
    machine.run("systemctl", "restart", "smaxd.service")


def main_pid(machine: Machine) -> str:
    """The daemon's process, as the machine numbers it; "0" while there is none."""
    return machine.property_of("smaxd.service", "MainPID")


def is_active(machine: Machine) -> bool:
    """Whether it has told systemd that it is ready."""
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
    """One line each."""
    return machine.tell("ps", "--no-headers", "-o", "pid,args", "-U", "smaxd")


def config_hash(machine: Machine) -> str | None:
    """Which configuration is in force; None while it does not answer."""
    found = machine.page().samples("smaxd_config_info")
    return found[0][0]["hash"] if found else None


def written_bytes(machine: Machine) -> float:
    """What is on the account of what it wrote."""
    return sum(value for _, value in machine.page().samples("smaxd_written_bytes_total"))

"""A Debian with systemd as its first process, in a container on this host; needs root.

The base system is made once by debootstrap and kept below .cache; each machine is a copy of it.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.integration.daemon import ROOT, Page

PROGRAMS = ("debootstrap", "systemd-nspawn", "nsenter")
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "fio", "libstdc++6", "procps")
"""What the package needs: it is installed without a network."""

INSIDE = ("nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
BOOT_SECONDS = 120.0
STOP_SECONDS = 60.0
COMMAND_SECONDS = 180.0
STEP_SECONDS = 0.5


def missing_for_a_machine() -> str | None:
    """Why there can be no machine here; None when there can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    if not Path("/etc/debian_version").exists():
        return "the package is for the release that it is built on, and this is no Debian"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install debootstrap systemd-container"
    return None


@dataclass(frozen=True)
class Machine:
    """A booted container."""

    root: Path
    leader: int
    """Its first process, by the number that this host gives it."""

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in it as root; AssertionError with what it printed when it fails."""
        done = subprocess.run(
            [*INSIDE, f"--target={self.leader}", "--", *argv],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert not check or done.returncode == 0, (
            f"{argv} ended with {done.returncode}: {done.stdout}"
        )
        return done

    def tell(self, *argv: str) -> str:
        """What a program prints in it, whether it succeeds or not, without the last newline."""
        return self.run(*argv, check=False).stdout.strip()

    def property_of(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.tell("systemctl", "show", "--value", f"--property={name}", unit)

    def write(self, path: str, text: str) -> None:
        """Put a file into it, and the directories above it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self, path: str) -> str:
        """A file of it."""
        return (self.root / path.lstrip("/")).read_text()

    def get(self, path: str) -> tuple[int, str]:
        """GET from the daemon, inside: its status code and body; code 0 when nobody answers."""
        done = self.run("/usr/bin/python3", "-I", "-c", GET, path, check=False)
        code, _, body = done.stdout.partition("\n")
        return (int(code), body) if done.returncode == 0 else (0, done.stdout)

    def page(self) -> Page:
        """Scrape the daemon; a page without anything when it does not answer."""
        code, body = self.get("/metrics")
        return Page(body if code == 200 else "")

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        """Ask again and again until it is so."""
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, f"never: {what}\n{self.journal()[-6000:]}"
            time.sleep(STEP_SECONDS)

    def journal(self, unit: str = "smaxd") -> str:
        """All that a unit logged, and what systemd logged of it."""
        return self.tell("journalctl", "--no-pager", "--output=short-monotonic", f"--unit={unit}")


GET = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:10390" + sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(str(error))
print(answer.status, answer.read().decode(), sep="\\n", end="")
"""


@contextmanager
def booted() -> Iterator[Machine]:
    """A machine until the end of the block; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="smaxd-machine-", dir="/var/tmp") as place:
        root = Path(place) / "root"
        subprocess.run(["cp", "--archive", str(base_system()), str(root)], check=True)
        with (Path(place) / "console").open("wb") as console:
            container = subprocess.Popen(
                _container_argv(root), stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
            try:
                yield _wait_for(container, root, Path(place) / "console")
            finally:
                _stop(container)


def base_system() -> Path:
    """The base system, made when it is not there yet: minutes, and some 300 MB from the mirror."""
    release = _release()
    stamp = hashlib.sha256(" ".join((release, MIRROR, *PACKAGES)).encode()).hexdigest()[:12]
    base = ROOT / ".cache" / "machine" / f"{release}-{stamp}"
    if not base.exists():
        base.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=base.parent) as place:
            made = Path(place) / "root"
            options = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
            done = subprocess.run(
                ["debootstrap", *options, release, str(made), MIRROR],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"debootstrap failed: {done.stdout[-3000:]}"
            made.rename(base)
    return base


def _release() -> str:
    """This host's: the package takes its Python from the release that it was built on."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return next(line for line in lines if line.startswith("VERSION_CODENAME=")).partition("=")[2]


def _container_argv(root: Path) -> list[str]:
    # A host's name, which may not hold all that the name of a temporary directory may.
    name = f"smaxd-{secrets.token_hex(4)}"
    argv = ["systemd-nspawn", f"--directory={root}", f"--machine={name}", "--boot"]
    # Without --register=no it wants systemd-machined. On a host that systemd has not booted there
    # is nobody to ask for a unit of its own, either.
    argv += ["--quiet", "--register=no", "--link-journal=no", "--private-network"]
    return argv if Path("/run/systemd/system").exists() else [*argv, "--keep-unit"]


def _leader(container: "subprocess.Popen[bytes]") -> int | None:
    """The first process of a container's PID namespace; None while it is not there."""
    try:
        below = psutil.Process(container.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    for process in below:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            continue  # it has ended
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[
            1:
        ]
        if len(numbers) > 1 and numbers[-1] == "1":
            return process.pid
    return None


def _wait_for(container: "subprocess.Popen[bytes]", root: Path, console: Path) -> Machine:
    """The machine, once its systemd takes orders."""
    give_up = time.monotonic() + BOOT_SECONDS
    while True:
        said = console.read_text(errors="replace")[-3000:]
        assert container.poll() is None, f"the container ended: {said}"
        leader = _leader(container)
        if leader is not None:
            machine = Machine(root, leader)
            if machine.tell("systemctl", "is-system-running") in {"running", "degraded"}:
                return machine
        assert time.monotonic() < give_up, f"the container does not boot: {said}"
        time.sleep(STEP_SECONDS)


def _stop(container: "subprocess.Popen[bytes]") -> None:
    """Shut the machine down; kill what does not."""
    container.terminate()
    try:
        container.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        container.kill()
        container.wait(STOP_SECONDS)

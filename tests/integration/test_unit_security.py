"""The unit and its drop-ins, judged by systemd's own tools, and by what the daemon really calls."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.integration.daemon import PATIENCE_SECONDS, daemon, write_config, writing

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "smaxd.service"
DROP_INS = sorted((SYSTEMD / "drop-ins").glob("*.conf"))
SERVICE_PAGE = SYSTEMD.parent / "docs" / "service.md"

AS_SHIPPED = 1.5
WITH_A_DROP_IN = 2.0

BIASING = re.compile(
    r"^(CPUQuota|CPUWeight|CPUShares|CPUScheduling\w+|AllowedCPUs|IOWeight|IO\w+Max|BlockIO\w+"
    r"|IOScheduling\w+|Nice|MemoryHigh)=",
    re.MULTILINE,
)

ONLY_AS_ROOT = {"fchown"}
"""SQLite gives its journal to the owner of its database where it may; the service is not root."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")


def analyze(*words: str) -> CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def security(root: Path, *words: str, drop_ins: Iterable[Path] = ()) -> CompletedProcess[str]:
    """What ``systemd-analyze security`` says of the unit with these drop-ins."""
    units = root / "usr/lib/systemd/system"
    (units / "smaxd.service.d").mkdir(parents=True)
    shutil.copy(UNIT, units)
    for drop_in in drop_ins:
        shutil.copy(drop_in, units / "smaxd.service.d")
    return analyze("security", "--offline=true", f"--root={root}", *words, "smaxd.service")


def exposure(root: Path, *drop_ins: Path) -> float:
    """The overall level, at worst 10."""
    said = security(root, drop_ins=drop_ins)
    found = re.search(r"Overall exposure level for smaxd\.service: ([0-9.]+)", said.stdout)
    assert found is not None, said.stdout + said.stderr
    return float(found[1])


@needs_systemd
def test_the_unit_as_shipped_exposes_little(tmp_path: Path) -> None:
    """The tool's worst is 10; a service without any of it is at 9.6."""
    assert exposure(tmp_path) <= AS_SHIPPED


@needs_systemd
@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_a_drop_in_opens_up_no_more_than_it_needs(drop_in: Path, tmp_path: Path) -> None:
    """Each by itself."""
    assert exposure(tmp_path, drop_in) <= WITH_A_DROP_IN


@needs_systemd
def test_the_exposure_is_that_of_our_file(tmp_path: Path) -> None:
    """A drop-in that takes all of it back is seen: the numbers above are not of something else."""
    worse = tmp_path / "worse.conf"
    worse.write_text("[Service]\nUser=root\nCapabilityBoundingSet=~\nSystemCallFilter=\n")

    assert exposure(tmp_path / "root", worse) > WITH_A_DROP_IN


@needs_systemd
def test_whatever_is_looser_than_it_could_be_has_its_reason_in_the_unit(tmp_path: Path) -> None:
    """A comment names the setting, or stands right above it."""
    unit = UNIT.read_text()
    explained = set(re.findall(r"^#.*\n(\w+)=", unit, re.MULTILINE))
    for comment in re.findall(r"^#.*$", unit, re.MULTILINE):
        explained.update(re.findall(r"(\w+)=", comment))
    said = security(tmp_path, "--json=short")
    looser = {
        setting
        for finding in json.loads(said.stdout)
        if finding["exposure"] is not None
        for setting in re.findall(r"([A-Z]\w+)=", finding["name"])
    }

    assert "PrivateNetwork" in looser
    assert looser - explained == set()


@needs_systemd
@pytest.mark.parametrize("drop_in", [None, *DROP_INS], ids=lambda path: path and path.stem)
def test_systemd_has_nothing_to_complain_about(drop_in: Path | None, tmp_path: Path) -> None:
    """No unknown key, no value that is ignored."""
    text = UNIT.read_text().replace("/opt/smaxd/venv/bin/smaxd", sys.executable)
    (tmp_path / "smaxd.service").write_text(text)
    if drop_in is not None:
        (tmp_path / "smaxd.service.d").mkdir()
        shutil.copy(drop_in, tmp_path / "smaxd.service.d")

    said = analyze("verify", "--man=no", str(tmp_path / "smaxd.service"))

    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.parametrize("path", [UNIT, *DROP_INS], ids=lambda path: path.stem)
def test_nothing_throttles_what_the_bandwidth_is_measured_with(path: Path) -> None:
    """fio's figure would be the throttle's."""
    assert BIASING.findall(path.read_text()) == []


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_the_documentation_tells_of_every_drop_in(drop_in: Path) -> None:
    """By its file name."""
    assert f"`{drop_in.name}`" in SERVICE_PAGE.read_text()


def call_groups() -> dict[str, set[str]]:
    """systemd's groups of system calls, "@..." to what they have, other groups included."""
    groups: dict[str, set[str]] = {}
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            current = groups.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            current.add(line.strip())
    return groups


def expanded(word: str, groups: dict[str, set[str]]) -> set[str]:
    if not word.startswith("@"):
        return {word}
    return {call for inner in groups[word] for call in expanded(inner, groups)}


def allowed_calls(unit: str) -> set[str]:
    """What the SystemCallFilter= lines allow, applied one after another."""
    groups = call_groups()
    allowed = expanded("@default", groups)
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        calls = {c for word in value.removeprefix("~").split() for c in expanded(word, groups)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


@needs_systemd
@needs_strace
@needs_fio
@pytest.mark.slow
def test_the_daemon_and_its_children_live_on_the_calls_that_are_allowed(place: Path) -> None:
    """A short life with all of it: fio, secondary, simulator, scrapes, a reload, the end."""
    database, traced, calls = place / "db", place / "traced-python", place / "calls"
    # -D: the tracer is the grandchild, so that signals reach the daemon.
    traced.write_text(
        f'#!/bin/sh\nexec strace -D -f -qq -c -U name -o {calls} {sys.executable} "$@"\n'
    )
    traced.chmod(0o755)
    config = write_config(
        place,
        f"databases: [{{path: {database}}}]\n"
        "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16}\n"
        "secondary: {interval_seconds: 1, cpu_share_ratio: 1}\n",
    )
    with (
        writing(database),
        daemon(place, "--config", config, python=str(traced)) as running,
    ):
        for probe in ("fio", "secondary", "log"):
            running.wait_until(
                lambda page, probe=probe: (
                    page.samples("smax_probe_success", probe=probe)  # type: ignore[misc]
                    and page.samples("smax_probe_success", probe=probe)[0][1] == 1.0
                ),
                f"{probe} to succeed",
            )
        running.wait_until(
            lambda page: page.value("smaxd_child_cpu_seconds_total", program="simulator"),
            "a run of the simulator",
        )
        running.process.send_signal(signal.SIGHUP)
        running.wait_until(lambda _: running.events("config_reloaded"), "a reload")
        assert running.stop() == 0
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not calls.exists() or "total" not in calls.read_text():
            assert time.monotonic() < give_up, "strace has written no summary"
            time.sleep(0.1)

    called = set(re.findall(r"^[a-z]\w*$", calls.read_text(), re.MULTILINE)) - {"syscall", "total"}
    assert {"io_submit", "setpriority", "ioprio_set", "accept4"} <= called
    assert called - allowed_calls(UNIT.read_text()) - ONLY_AS_ROOT == set()

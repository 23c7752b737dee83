"""The real daemon beside real databases: what it finds, measures, says, survives and leaves."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    Page,
    daemon,
    environment,
    leftovers,
    process,
    processes_naming,
    wait_for,
    workplace,
    write_config,
    writing,
)
from tests.integration.test_harmless import NOBODY, nobody

VALUE_BYTES = 200
KEY_BYTES = 16
BYTES_PER_SECOND = 2_000_000
"""db_bench's own limit: about 9000 puts/s."""

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_db_bench = pytest.mark.skipif(
    shutil.which("db_bench") is None, reason="db_bench (rocksdb-tools) is not installed"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user and mount")
pytestmark = pytest.mark.slow

NO_FIO = "fio: {enabled: false}\n"
NO_PROGRAMS = NO_FIO + "secondary: {enabled: false}\n"


def db_bench(database: Path) -> list[str]:
    return [
        "db_bench",
        f"--db={database}",
        "--benchmarks=fillrandom",
        "--num=1000000000",
        "--duration=120",
        f"--key_size={KEY_BYTES}",
        f"--value_size={VALUE_BYTES}",
        "--write_buffer_size=1048576",
        f"--benchmark_write_rate_limit={BYTES_PER_SECOND}",
        "--stats_interval_seconds=1",
        "--compression_type=none",
    ]


@dataclass(frozen=True)
class Unconfigured:
    """A daemon that was told nothing, beside two databases; the state once all was measured."""

    daemon: Daemon
    bench: str
    bench_output: Path
    other: str
    first_page: Page
    page: Page
    status: dict[str, object]


@pytest.fixture(scope="module")
def unconfigured() -> Iterator[Unconfigured]:
    """What "smaxd run" makes of a host with a db_bench and another database, without a word."""
    if shutil.which("fio") is None or shutil.which("db_bench") is None:
        pytest.skip("fio and db_bench (rocksdb-tools) are needed")
    with workplace() as place:
        bench, other, output = place / "bench", place / "other", place / "bench.out"
        with (
            output.open("wb") as out,
            process(db_bench(bench), stdout=out, stderr=out) as writer,
            writing(other),
        ):
            wait_for(bench / "CURRENT", writer)
            with daemon(place) as running:
                first = running.wait_until(
                    lambda page: all(
                        page.value("smax_recommended_puts_per_second", db=str(db))
                        and page.value("smax_observed_puts_per_second", db=str(db))
                        for db in (bench, other)
                    ),
                    "S_max and the put rate of both databases",
                )
                page = running.wait_until(
                    lambda page: (
                        all(
                            page.value("smax_headroom_ratio", db=str(db)) is not None
                            and page.value("smax_estimated_keys", db=str(db)) is not None
                            for db in (bench, other)
                        )
                        and page.value("smax_write_amplification_ratio", db=str(bench))
                        and running.get("/readyz")[0] == 200
                    ),
                    "everything measured of both databases",
                )
                yield Unconfigured(
                    running, str(bench), output, str(other), first, page, running.status()
                )


def bench_rate(output: Path, at_least_seconds: float) -> float:
    """Puts per second by db_bench's own count over its latest seconds."""
    pattern = re.compile(
        r"thread 0: \(\d+,(\d+)\) ops and \([^)]*\) ops/second in \([^,]*,([\d.]+)"
    )
    points = [(float(t), int(n)) for n, t in pattern.findall(output.read_text())]
    end, count = points[-1]
    start, before = next(p for p in reversed(points) if p[0] <= end - at_least_seconds)
    return (count - before) / (end - start)


def test_a_database_is_found_without_any_configuration(unconfigured: Unconfigured) -> None:
    """With its process, its version and its device; both databases of the host."""
    databases = {d["name"]: d for d in unconfigured.daemon.status()["databases"]}

    assert {unconfigured.bench, unconfigured.other} <= databases.keys()
    assert databases[unconfigured.bench]["rocksdb_version"]
    assert all(place["device"] for place in databases[unconfigured.bench]["places"])
    assert databases[unconfigured.bench]["owner_pid"] != databases[unconfigured.other]["owner_pid"]


def test_the_first_s_max_is_there_within_the_first_ticks(unconfigured: Unconfigured) -> None:
    """Early ticks and a short fio run see to it: four on a host where nothing else happens. There
    are more where another database of the host is opened meanwhile, which holds fio back."""
    ticks = unconfigured.first_page.value("smaxd_ticks_total")

    assert ticks is not None
    assert ticks <= 12


def test_each_model_says_its_s_max_of_each_database(unconfigured: Unconfigured) -> None:
    """And one of them is recommended, with one confidence and one phase."""
    page = unconfigured.page
    for db in (unconfigured.bench, unconfigured.other):
        models = {labels["model"]: v for labels, v in page.samples("smax_puts_per_second", db=db)}
        assert models.keys() >= {"v4", "v4.1"}
        assert page.value("smax_recommended_puts_per_second", db=db) in models.values()
        assert sum(value for _, value in page.samples("smax_confidence", db=db)) == 1.0
        assert sum(value for _, value in page.samples("smax_phase", db=db)) == 1.0


def test_the_write_bandwidth_is_measured_by_fio(unconfigured: Unconfigured) -> None:
    """Its bytes are accounted, and what others write is taken off."""
    page = unconfigured.page
    info = page.samples("smax_database_info", db=unconfigured.bench, place="data")
    device = info[0][0]["device"]
    capacity = page.value("smax_device_write_capacity_bytes_per_second", device=device)
    available = page.value(
        "smax_device_write_available_bytes_per_second", db=unconfigured.bench, device=device
    )
    written = page.value("smaxd_written_bytes_total", device=device, purpose="fio")

    assert page.value("smax_probe_success", probe="fio", target=device) == 1.0
    assert capacity is not None
    assert available is not None
    assert 0 < available <= capacity
    assert written is not None
    assert written >= 8 * 1048576


def test_the_record_size_is_key_plus_value(unconfigured: Unconfigured) -> None:
    """As db_bench writes them, to a few bytes."""
    size = unconfigured.page.value("smax_record_size_bytes", db=unconfigured.bench)

    assert size == pytest.approx(KEY_BYTES + VALUE_BYTES, abs=4)


def test_the_observed_put_rate_is_the_writers_own(unconfigured: Unconfigured) -> None:
    """Against db_bench's count over about the same time."""
    time.sleep(3)
    observed = unconfigured.daemon.page().value(
        "smax_observed_puts_per_second", db=unconfigured.bench
    )

    assert observed == pytest.approx(bench_rate(unconfigured.bench_output, 5.0), rel=0.1)


def test_the_puts_total_is_the_number_of_puts(unconfigured: Unconfigured) -> None:
    """A counter that never runs ahead of the writer."""
    total = unconfigured.daemon.page().value("smax_puts_total", db=unconfigured.bench)
    time.sleep(1.1)
    counted = re.findall(r"thread 0: \(\d+,(\d+)\) ops", unconfigured.bench_output.read_text())

    assert total is not None
    assert 0 < total <= int(counted[-1]) + BYTES_PER_SECOND / 200


def test_status_tells_both_databases_plainly(unconfigured: Unconfigured) -> None:
    """At most 80 columns, without colour where there is no terminal."""
    done = unconfigured.daemon.smaxd("status")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"{unconfigured.bench}  RocksDB" in done.stdout
    assert f"{unconfigured.other}  RocksDB" in done.stdout
    assert re.search(r"  S_max +[\d,]+ puts/s", done.stdout)
    assert re.search(r"  observed +[\d,]+ puts/s  headroom -?\d+ %", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_status_as_json_is_the_api(unconfigured: Unconfigured) -> None:
    """The same keys."""
    done = unconfigured.daemon.smaxd("status", "--json")

    assert done.returncode == 0
    assert re.findall(r'^  "(\w+)"', done.stdout, re.MULTILINE) == list(unconfigured.status)


def test_check_of_a_healthy_database_is_ok(unconfigured: Unconfigured) -> None:
    """One line, exit 0."""
    done = unconfigured.daemon.smaxd("check", "--db", unconfigured.bench)

    assert done.stdout.startswith("SMAXD OK: ")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_health_readiness_and_landing_page_answer(unconfigured: Unconfigured) -> None:
    """Every link of the landing page leads somewhere."""
    running = unconfigured.daemon
    links = re.findall(r'href="([^"]+)"', running.get("/")[1])

    assert running.get("/healthz") == (200, "ok\n")
    assert running.get("/readyz") == (200, "ready\n")
    assert set(links) == {"/metrics", "/api/v1/status", "/api/v1/explain", "/healthz", "/readyz"}
    assert {running.get(link)[0] for link in links} == {200}


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_live_page(unconfigured: Unconfigured) -> None:
    """The real linter, on the real page."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=unconfigured.daemon.page().text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_port_that_is_taken_is_one_line_and_exit_1(unconfigured: Unconfigured) -> None:
    """The second daemon says what to do, and the first goes on."""
    running = unconfigured.daemon
    done = running.smaxd("run", "--web.listen-address", running.address)

    assert done.returncode == 1
    assert re.fullmatch(
        rf"smaxd: cannot listen on {running.address}: Address already in use; .*\n", done.stderr
    )
    assert running.get("/healthz")[0] == 200


def test_a_quiet_host_has_a_quiet_log(unconfigured: Unconfigured) -> None:
    """After so many ticks there is one line for each database, and none twice."""
    running = unconfigured.daemon
    lines = [re.sub(r"^timestamp=\S+ ", "", x) for x in running.log_file.read_text().splitlines()]
    watched = [line for line in lines if "event=database_watched" in line]

    assert sum(unconfigured.bench in line for line in watched) == 1
    assert sum(unconfigured.other in line for line in watched) == 1
    assert len(set(lines)) == len(lines)
    assert [line for line in lines if "event=tick_failed" in line or "Traceback" in line] == []


@pytest.mark.parametrize(("by_nohup", "ends"), [(False, True), (True, False)])
def test_a_terminal_that_is_closed_ends_the_daemon_that_runs_in_it(
    place: Path, by_nohup: bool, ends: bool
) -> None:
    """Wherever its output goes; started by nohup it goes on."""
    ours, terminal = os.openpty()
    log = place / "smaxd.log"
    program = [
        *(["nohup"] if by_nohup else []),
        *(sys.executable, "-m", "agent", "run", "--web.listen-address", "127.0.0.1:0"),
        *("--config", write_config(place, NO_PROGRAMS), "--db", str(place / "db")),
    ]
    (place / "home/tmp").mkdir(parents=True)
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["setsid", "--ctty", *program],
            stdin=terminal,
            stdout=output,
            stderr=output,
            env=environment(place / "home"),
            cwd="/",
        )
    os.close(terminal)
    try:
        wait_for_text(log, "event=started")
        os.close(ours)
        if ends:
            assert running.wait(PATIENCE_SECONDS) == 0
        else:
            wait_for_text(log, "event=config_reloaded")
            assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def wait_for_text(file: Path, text: str) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while text not in file.read_text():
        assert time.monotonic() < give_up, f"never: {text}\n{file.read_text()}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_cleanly(place: Path, number: signal.Signals) -> None:
    """Exit 0, and nothing is left: no process, no scratch file, no private directory."""
    arguments = ("--db", str(place / "db"), "--config", write_config(place))
    with writing(place / "db"), daemon(place, *arguments) as running:
        running.wait_until(
            lambda page: page.value("smax_puts_total", db=str(place / "db")), "a put total"
        )
        code = running.stop(number)

    assert code == 0
    assert len(running.events("stopping")) == len(running.events("stopped")) == 1
    assert leftovers(place) == []


@needs_fio
def test_the_daemon_ends_while_fio_runs(place: Path) -> None:
    """It takes fio and the scratch file with it."""
    slow = "fio: {size_mib: 120, runtime_seconds: 120, rate_mib_per_second: 2}\n"
    scratch = place / "home/state"
    arguments = ("--db", str(place / "db"), "--config", write_config(place, slow))
    with writing(place / "db"), daemon(place, *arguments) as running:
        running.wait_until(
            lambda _: any(p.startswith("fio ") for p in processes_naming(str(scratch))), "fio runs"
        )
        began = time.monotonic()
        code = running.stop()
        took = time.monotonic() - began

    assert code == 0
    assert took < 60, "it waited for fio's end"
    assert leftovers(place) == []


def test_a_second_signal_changes_nothing(place: Path) -> None:
    """An impatient operator gets the same clean end."""
    with daemon(place, "--config", write_config(place, NO_PROGRAMS)) as running:
        running.wait_until(lambda page: page.value("smaxd_ticks_total"), "a tick")
        running.process.send_signal(signal.SIGINT)
        code = running.stop()

    assert code == 0
    assert leftovers(place) == []


def test_paths_that_are_no_databases_are_named_and_the_others_go_on(place: Path) -> None:
    """Missing, a file, an empty directory: each its own reason, and one log line per probe."""
    good, missing, file, empty = (place / name for name in ("good", "missing", "file", "empty"))
    file.write_text("hello")
    empty.mkdir()
    words = [word for path in (good, missing, file, empty) for word in ("--db", str(path))]
    config = write_config(place, NO_PROGRAMS)
    with writing(good), daemon(place, "--config", config, *words) as running:
        page = running.wait_until(
            lambda page: (
                page.value("smax_observed_puts_per_second", db=str(good))
                and (page.value("smaxd_ticks_total") or 0) > 10
            ),
            "the good database's put rate",
        )
        code = running.smaxd("check", "--db", str(missing)).returncode
        failing = [
            line
            for line in running.log_file.read_text().splitlines()
            if "event=probe_no_data" in line and "probe=fingerprint" in line
        ]

    assert page.reasons(str(missing))["observed_puts_per_second"] == "database_missing"
    assert page.reasons(str(file))["observed_puts_per_second"] == "not_rocksdb"
    assert page.reasons(str(empty))["observed_puts_per_second"] == "not_rocksdb"
    for bad in (missing, file, empty):
        series = {line for line in page.text.splitlines() if f'"{bad}"' in line}
        assert not any(line.startswith("smax_puts_total") for line in series)
        assert sum(f"target={bad} " in line for line in failing) == 1
    assert (page.value("smax_puts_total", db=str(good)) or 0) > 0
    assert page.value("smax_level_files", db=str(good), cf="default", level="0") is not None
    assert code == 3


def dead_disk(place: Path, directory: Path) -> str:
    """The PYTHONPATH of a daemon for which no file below ``directory`` answers any more."""
    directory.mkdir()
    (place / "sitecustomize.py").write_text(
        "import os, threading\n"
        "answer = os.stat\n"
        "def stat(path, **rest):\n"
        f"    if str(path).startswith({str(directory)!r}):\n"
        "        threading.Event().wait()\n"
        "    return answer(path, **rest)\n"
        "os.stat = stat\n"
    )
    return str(place)


def test_a_probe_that_hangs_costs_its_own_numbers_only(place: Path) -> None:
    """A dead disk: "timeout", and the other database goes on."""
    good, hung = place / "good", place / "hung"
    python_path = dead_disk(place, hung)
    config = write_config(place, NO_PROGRAMS + "probe_timeout_seconds: 0.3\n")
    words = ("--config", config, "--db", str(good), "--db", str(hung))
    with writing(good), daemon(place, *words, PYTHONPATH=python_path) as running:
        page = running.wait_until(
            lambda page: (
                page.reasons(str(hung)).get("observed_puts_per_second") == "timeout"
                and page.value("smax_observed_puts_per_second", db=str(good))
            ),
            "the one has timed out, the other has a rate",
        )
        later = running.wait_until(
            lambda later: (
                (later.value("smax_puts_total", db=str(good)) or 0)
                > (page.value("smax_puts_total", db=str(good)) or 0)
            ),
            "the other one goes on",
        )
        lines = [x for x in running.events("probe_no_data") if "probe=fingerprint" in x]
        code = running.stop()

    assert later.reasons(str(hung))["observed_puts_per_second"] == "timeout"
    assert later.value("smax_probe_success", probe="fingerprint", target=str(hung)) == 0.0
    assert len(lines) == 1
    assert code == 0
    assert leftovers(place) == []


def test_the_daemon_ends_while_a_tick_hangs(place: Path) -> None:
    """The first tick would wait for its hanging probe ten times longer than this test does."""
    hung = place / "hung"
    python_path = dead_disk(place, hung)
    config = write_config(place, NO_PROGRAMS + "probe_timeout_seconds: 300\n")
    with daemon(place, "--config", config, "--db", str(hung), PYTHONPATH=python_path) as running:
        time.sleep(0.5)
        assert running.get("/readyz")[0] == 503
        code = running.stop()

    assert code == 0
    assert leftovers(place) == []


@needs_root
def test_a_database_that_may_not_be_read_is_named(place: Path) -> None:
    """The daemon as another user: "not_readable", with the way out in the detail."""
    closed, good = place / "closed", place / "good"
    with nobody(place) as agent, writing(closed), writing(good):
        closed.chmod(0o700)
        with daemon(
            place,
            *("--config", write_config(place, NO_PROGRAMS)),
            *("--db", str(closed), "--db", str(good)),
            python=agent.python,
            user=NOBODY,
            PYTHONPATH=f"{agent.source}:{agent.packages}",
            # The interpreter's own library may lie where this user cannot go.
            LD_LIBRARY_PATH=str(Path(agent.python).parents[1] / "lib"),
        ) as running:
            page = running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(good)),
                "the good database's put rate",
            )
            probes = running.status()["probes"]
            detail = next(
                p["detail"]
                for p in probes
                if p["probe"] == "fingerprint" and p["target"] == str(closed)
            )
            assert running.stop() == 0

    reasons = page.reasons(str(closed))
    inside = ("sequence_number", "observed_puts_per_second", "levels", "stalls", "recommended")
    assert {name: reasons[name] for name in inside} == dict.fromkeys(inside, "not_readable") | {
        "recommended": "disabled"
    }
    assert "setfacl" in detail


def test_a_database_that_moves_away_and_back_loses_and_regains_its_numbers(place: Path) -> None:
    """A named reason, one log line per probe however long it lasts, the same incarnation after."""
    database, away = place / "db", place / "away"
    config = write_config(place, NO_PROGRAMS)
    with (
        # One large memtable: a writer that needs a new file would end.
        writing(database, write_buffer_bytes=1 << 28),
        daemon(place, "--config", config, "--db", str(database)) as running,
    ):

        def ticks(page: Page) -> float:
            return page.value("smaxd_ticks_total") or 0.0

        running.wait_until(
            lambda page: page.value("smax_observed_puts_per_second", db=str(database)), "a rate"
        )
        before = running.status()["databases"][0]["incarnation"]
        database.rename(away)
        gone = running.wait_until(
            lambda page: (
                page.reasons(str(database)).get("observed_puts_per_second") == "database_missing"
            ),
            "the database is missed",
        )
        later = running.wait_until(lambda page: ticks(page) > ticks(gone) + 10, "ten more ticks")
        lines = [x for x in running.events("probe_no_data") if "probe=fingerprint" in x]
        away.rename(database)
        back = running.wait_until(
            lambda page: page.value("smax_observed_puts_per_second", db=str(database)),
            "the rate is back",
        )
        after = running.status()["databases"][0]["incarnation"]

    assert later.value("smax_puts_total", db=str(database)) is None
    assert later.value("smax_observed_puts_per_second", db=str(database)) is None
    assert len(lines) == 1
    assert "reason=database_missing" in lines[0]
    assert back.reasons(str(database)).get("sequence_number") is None
    assert (before, after) == (1, 1)
    assert len([x for x in running.events("probe_recovered") if "probe=fingerprint" in x]) == 1
    assert not any(line.count("Traceback") for line in running.log_file.read_text().splitlines())


def test_a_database_that_is_destroyed_and_recreated_starts_anew(place: Path) -> None:
    """Another incarnation: its counter begins again, and no rate spans the two."""
    database = place / "db"
    config = write_config(place, NO_PROGRAMS)
    with daemon(place, "--config", config, "--db", str(database)) as running:
        with writing(database):
            old = running.wait_until(
                lambda page: (
                    (page.value("smax_puts_total", db=str(database)) or 0) > 5000
                    and page.value("smax_observed_puts_per_second", db=str(database))
                ),
                "the first one is known well",
            )
            first = running.status()["databases"][0]["incarnation"]
        shutil.rmtree(database)
        with writing(database):
            new = running.wait_until(
                lambda page: (
                    0
                    < (page.value("smax_puts_total", db=str(database)) or 0)
                    < (old.value("smax_puts_total", db=str(database)) or 0)
                ),
                "the second one's own count",
            )
            running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(database)),
                "the second one's rate",
            )
            second = running.status()["databases"][0]["incarnation"]
            rates = [
                running.page().value("smax_observed_puts_per_second", db=str(database))
                for _ in range(3)
            ]

    assert second > first
    assert len(running.events("database_changed")) == second - first
    assert new.value("smax_record_size_bytes", db=str(database)) is not None or (
        "record_size_bytes" in new.reasons(str(database))
    )
    assert all(rate is not None and 0 <= rate < 50_000 for rate in rates)


def test_a_writer_that_ends_leaves_a_database_that_is_not_open(place: Path) -> None:
    """Its numbers stay true: no puts, no owner; what needs the process says why it is missing."""
    database = place / "db"
    config = write_config(place, NO_PROGRAMS)
    with daemon(place, "--config", config, "--db", str(database)) as running:
        with writing(database):
            running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(database)), "a rate"
            )
            assert running.status()["databases"][0]["owner_pid"] is not None
        page = running.wait_until(
            lambda page: page.value("smax_observed_puts_per_second", db=str(database)) == 0.0,
            "no puts any more",
        )
        shown = running.status()["databases"][0]

    assert shown["owner_pid"] is None
    assert (page.value("smax_puts_total", db=str(database)) or 0) > 0


def test_the_daemon_logs_json_when_told_to(place: Path) -> None:
    """One object per line, from the first line on."""
    config = write_config(place, NO_PROGRAMS + "log: {format: json}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with process(
        [
            *(sys.executable, "-m", "agent", "run", "--config", config),
            *("--web.listen-address", f"127.0.0.1:{free}"),
        ],
        stderr=subprocess.PIPE,
        env=environment(place),
    ) as running:
        assert running.stderr is not None
        first = json.loads(running.stderr.readline())
        running.terminate()
        rest = [json.loads(line) for line in running.stderr]
        code = running.wait(20)

    assert (first["event"], first["level"], first["pid"]) == ("started", "info", running.pid)
    assert {"stopping", "stopped"} <= {line["event"] for line in rest}
    assert code == 0

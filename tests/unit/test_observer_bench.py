"""What the observer bench concludes from its runs, on runs that are made up."""

from pathlib import Path

import numpy as np
import pytest

from tests.bench.latencies import Latencies
from tests.bench.observed_database import Tree, db_bench_argv, driver_argv, keys_for
from tests.bench.observer_activity import WorkTimes
from tests.bench.observer_report import Measured, document, text
from tests.bench.observer_runs import (
    ProbedLoad,
    ProbedSaturation,
    Round,
    SaturatedRun,
    Timing,
    in_order,
    parse_latencies,
    round_of,
)
from tests.bench.observing_agent import AgentUse


def written(*writers: list[int]) -> bytes:
    return b"".join(
        len(each).to_bytes(8, "little") + np.array(each, np.uint32).tobytes() for each in writers
    )


def test_latencies_come_back_by_writer_in_seconds() -> None:
    """The driver counts in tenths of a microsecond."""
    first, second = parse_latencies(written([10_000_000, 5], []))
    assert first.tolist() == pytest.approx([1.0, 5e-7])
    assert second.tolist() == []


def test_a_file_of_latencies_that_is_cut_off_is_an_error() -> None:
    """Half a run has other quantiles."""
    with pytest.raises(ValueError, match="cut off"):
        parse_latencies(written([1, 2, 3])[:-1])


def test_puts_get_their_intended_arrival_back() -> None:
    """Writers take turns: of two, one has the even arrivals and the other the odd ones."""
    arrivals, latencies = in_order([np.array([1.0, 3.0]), np.array([2.0])], rate=10.0)
    assert arrivals.tolist() == pytest.approx([0.0, 0.2, 0.1])
    assert latencies.tolist() == [1.0, 3.0, 2.0]


def test_puts_of_a_round_are_sorted_by_what_the_agent_did_when_they_were_due() -> None:
    """It goes on, stands still twice, goes on; a second of each window is left out; it works from
    second 5 to 8 and at 50, where nothing counts twice."""
    arrivals = np.arange(0.5, 60.0, 1.0)
    work = WorkTimes(np.array([5.0, 50.0]), np.array([8.0, 51.0]))
    goes_on = [True, False, False, True]
    found = round_of(goes_on, arrivals, arrivals, work, 7, (use(0.0, 1.0), use(30.0, 1.1)))
    assert found.latencies[True].total == 28
    assert found.latencies[False].total == 28
    assert found.asleep.total == 28 - 4
    assert found.work_ratio == pytest.approx(4 / 28)
    assert found.latencies[False].quantile(0.0) > 16.0
    assert found.backlog == 7


def use(at: float, cpu: float, fio: float = 0.0) -> AgentUse:
    return AgentUse(at, cpu, 60e6, fio)


def measured(loss: float, slower: float, *, probes: int = 1) -> Measured:
    """Ten pairs and ten rounds that all say the same, and probes that stop the database."""
    puts = np.linspace(1e-5, 1e-3, 1000)
    found = Measured("a made-up device", Timing(30.0, 60.0), 0.5, 5000.0)
    for pair in range(10):
        agent = (use(0.0, 1.0), use(60.0, 1.3))
        found.saturated[False][pair] = SaturatedRun(1000.0, None)
        found.saturated[True][pair] = SaturatedRun(1000.0 * (1 - loss), agent)
        asleep = Latencies.of(puts)
        found.rounds.append(
            Round({False: asleep, True: Latencies.of(puts * (1 + slower))}, asleep, 0.1, 0, agent)
        )
    for _ in range(probes):
        found.probed_saturations.append(ProbedSaturation(1000.0, 0.0, 3.0))
        before, during, recovered = (Latencies.of(puts * factor) for factor in (1, 10, 5))
        found.probed_loads.append(ProbedLoad(before, during, recovered, 13.0))
    return found


def line(report: str, beginning: str) -> str:
    return next(each for each in report.splitlines() if each.startswith(beginning))


def test_a_harmless_agent_reaches_both_aims() -> None:
    """They are stated with the default share of probes."""
    report = text(measured(0.004, 0.01))
    assert "0.9954" in line(report, "throughput, with a probe each 6 h")
    assert " reached: loss < 1%" in line(report, "throughput, with a probe each 6 h")
    assert " reached: increase < 2%" in line(report, "p99 put latency, with a probe each 6 h")


def test_a_harmful_agent_does_not() -> None:
    """One percent is too much, and so are two."""
    report = text(measured(0.02, 0.05))
    assert "NOT reached" in line(report, "throughput, with a probe")
    assert "NOT reached" in line(report, "p99 put latency, with a probe")


def test_the_report_says_what_a_probe_costs_while_it_runs() -> None:
    """Throughput gone, latencies ten times as long, and how much of the time that is."""
    report = text(measured(0.0, 0.0))
    cost = line(report, "one probe of fio while it runs")
    assert "throughput at saturation x 0 " in cost
    assert "p99 put latency under load x 10 " in cost
    assert "takes 0.060% of the time" in report


def test_without_probes_the_aims_are_judged_on_what_there_is() -> None:
    """And the report says what was not looked at."""
    report = text(measured(0.0, 0.0, probes=0))
    assert "probes of fio: not looked at" in report
    assert " reached: loss" in line(report, "throughput at saturation")


def test_the_report_says_what_the_agent_used() -> None:
    """0.3 s of CPU in a minute."""
    report = text(measured(0.0, 0.0))
    assert "the agent in its windows: 0.50% of one core" in report
    assert "windows with a probe of its own in them: 0 of 20" in report


def test_the_document_has_every_run() -> None:
    """Whoever doubts the medians can take other ones."""
    found = document(measured(0.01, 0.0))
    assert found["saturated_puts_per_second"] == {
        "with": [990.0] * 10,
        "without": [1000.0] * 10,
    }
    assert len(found["rounds"]) == 10
    assert found["rounds"][0]["with"] == found["rounds"][0]["without"]
    assert found["agent"][0]["cpu_ratio"] == pytest.approx(0.005)


def test_a_database_is_brought_back_as_it_was(tmp_path: Path) -> None:
    """Tables are linked, what RocksDB writes on is copied, its LOG begins anew."""
    tree = Tree(tmp_path / "kept", tmp_path / "live", 10)
    tree.kept.mkdir()
    for name in ("000007.sst", "MANIFEST-000005", "CURRENT", "LOG"):
        (tree.kept / name).write_text(name)
    tree.restore()
    (tree.live / "MANIFEST-000005").write_text("longer than before")
    (tree.live / "000007.sst").unlink()
    (tree.live / "000009.sst").write_text("new")
    tree.restore()
    assert sorted(path.name for path in tree.live.iterdir()) == [
        "000007.sst",
        "CURRENT",
        "MANIFEST-000005",
    ]
    assert (tree.live / "MANIFEST-000005").read_text() == "MANIFEST-000005"
    assert (tree.live / "000007.sst").samefile(tree.kept / "000007.sst")
    assert not (tree.live / "CURRENT").samefile(tree.kept / "CURRENT")


def test_both_drivers_write_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise throughput and latency would speak of two databases."""
    fake = tmp_path / "db_bench"
    fake.write_text("")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    keys = keys_for(1.0)
    assert keys == 1_048_576 // 1040
    bench = db_bench_argv(tmp_path / "db", keys)
    driver = driver_argv(tmp_path / "driver", tmp_path / "db", keys, tmp_path / "latencies")
    assert {f"--num={keys}", "--value_size=1024", "--write_buffer_size=67108864"} <= set(bench)
    assert driver[driver.index("--keys") + 1] == str(keys)
    assert driver[driver.index("--value-bytes") + 1] == "1024"
    assert "write_buffer_size=67108864" in driver[driver.index("--options") + 1]

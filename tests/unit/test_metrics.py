"""The metrics page: the contract's names, the golden page, and what disappears when."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from agent.database_metrics import DATABASE_COUNTERS, DATABASE_GAUGES, QUANTITIES
from agent.loop import Published
from agent.metrics import SnapshotCollector, registry_for
from agent.readings import Known, Missing
from agent.snapshot import Snapshot
from tests.unit import snapshots
from tests.unit.snapshots import AT, FixedClock

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "metrics.txt"

CONTRACT = {
    "smax_puts_total": {"db"},
    "smax_puts_per_second": {"db", "model"},
    "smax_recommended_puts_per_second": {"db"},
    "smax_observed_puts_per_second": {"db"},
    "smax_headroom_ratio": {"db"},
    "smax_confidence": {"db", "level"},
    "smax_unavailable": {"db", "quantity", "reason"},
    "smax_estimate_age_seconds": {"db", "quantity"},
    "smax_phase": {"db", "phase"},
    "smax_device_write_capacity_bytes_per_second": {"device"},
    "smax_device_write_foreign_bytes_per_second": {"db", "device"},
    "smax_device_write_available_bytes_per_second": {"db", "device"},
    "smax_device_capacity_ratio": {"device"},
    "smax_device_availability_ratio": {"db", "device"},
    "smax_record_size_bytes": {"db"},
    "smax_write_amplification_ratio": {"db"},
    "smax_flush_bytes_total": {"db"},
    "smax_compaction_read_bytes_total": {"db"},
    "smax_compaction_written_bytes_total": {"db"},
    "smax_pending_compaction_bytes": {"db"},
    "smax_level_files": {"db", "cf", "level"},
    "smax_level_bytes": {"db", "cf", "level"},
    "smax_write_stall": {"db", "cf", "cause", "state"},
    "smax_write_stall_seconds_total": {"db", "state"},
    "smax_background_error": {"db"},
    "smax_probe_success": {"probe", "target"},
    "smax_probe_duration_seconds": {"probe", "target"},
    "smax_probe_last_success_timestamp_seconds": {"probe", "target"},
    "smax_alert_active": {"db", "device", "alert", "severity"},
    "smaxd_written_bytes_total": {"device", "purpose"},
    "smaxd_build_info": {"version"},
    "smaxd_config_info": {"hash"},
    "smaxd_config_last_reload_successful": set(),
}
"""The names and labels others build on, without those that later parts of the project bring."""

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str) -> Series:
    """All samples of a page by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page_of(snapshot: Snapshot, now: float = AT + 2.0) -> Series:
    published = Published()
    published.put(snapshot, 0.01)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(published, FixedClock(now)))
    return series(generate_latest(registry).decode())


def value(page: Series, name: str, **labels: str) -> float | None:
    return page.get((name, frozenset(labels.items())))


def test_the_page_is_the_golden_one() -> None:
    """Written anew with: python -m tests.unit.snapshots > tests/data/golden/metrics.txt."""
    assert snapshots.page() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CONTRACT)
def test_each_metric_of_the_contract_has_its_labels(name: str) -> None:
    """A label may be added, none may be missing."""
    labels = [
        {label for label, _ in key}
        for (sample, key) in series(GOLDEN.read_text(encoding="utf-8"))
        if sample == name
    ]

    assert labels != []
    assert all(CONTRACT[name] <= present for present in labels)


def test_no_series_is_there_twice_and_no_created_series_at_all() -> None:
    """Prometheus would refuse the first; the contract excludes the second."""
    lines = [line for line in snapshots.page().splitlines() if not line.startswith("#")]
    names = [line.rpartition(" ")[0] for line in lines]

    assert len(set(names)) == len(names)
    assert [name for name in names if "_created" in name] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong_with_the_golden_page() -> None:
    """The real linter, on everything the page can show."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=GOLDEN.read_bytes(),
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_openmetrics_page_has_the_same_series() -> None:
    """Prometheus asks for that format; counters keep their _total, infos their _info."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshots.published(), FixedClock(AT + 2.0)))
    text: bytes = openmetrics(registry)  # type: ignore[no-untyped-call]
    lines = [line for line in text.decode().splitlines() if line[0] != "#"]

    assert set(lines) == {
        line for line in snapshots.page().splitlines() if not line.startswith("#")
    }


def test_every_quantity_has_an_age_or_a_reason() -> None:
    """A number that is not known is absent with a reason, never 0."""
    names = set(QUANTITIES)
    shown = page_of(snapshots.snapshot())
    aged = {dict(k)["quantity"] for n, k in shown if n == "smax_estimate_age_seconds"}
    unavailable = {dict(k)["quantity"] for n, k in shown if n == "smax_unavailable"}
    quantities = {
        field.name
        for field in dataclasses.fields(snapshots.busy_database())
        if isinstance(getattr(snapshots.busy_database(), field.name), Known)
    }

    assert aged == names | {"capacity"}
    assert unavailable == names
    # Parts of others: their absence is told by compaction and available bandwidth, and by S_max.
    assert quantities - names == {"compaction_bytes_per_second", "calibrated"}


def test_a_database_that_is_gone_has_nothing_but_reasons() -> None:
    """No gauge of it stays, in whatever form."""
    shown = page_of(snapshots.snapshot())
    of_it = {name for name, labels in shown if ("db", "/srv/idle") in labels}

    assert of_it == {
        "smax_unavailable",
        "smax_alert_active",
        "smax_database_info",
        "smax_saturation_episodes_total",  # what was learned of it stays true
    }


@pytest.mark.parametrize(
    ("attribute", "metric"), [(a, n) for a, n, _ in DATABASE_GAUGES + DATABASE_COUNTERS]
)
def test_a_quantity_that_is_lost_leaves_alone(attribute: str, metric: str) -> None:
    """Its own gauge goes, with the reason in its place, and no other."""
    change: dict[str, Any] = {attribute: Missing("stale", "too old")}
    lost = dataclasses.replace(snapshots.busy_database(), **change)
    before = page_of(snapshots.snapshot())
    after = page_of(dataclasses.replace(snapshots.snapshot(), databases=(lost,)))
    gone = {
        (name, key) for name, key in before.keys() - after.keys() if ("db", "/srv/idle") not in key
    }

    assert {name for name, _ in gone} == {metric, "smax_estimate_age_seconds"}
    assert (
        value(after, "smax_unavailable", db="orders", device="", quantity=attribute, reason="stale")
        == 1.0
    )


def test_ages_grow_between_ticks() -> None:
    """They are taken at the scrape, so that a hanging tick shows."""
    labels = {"db": "orders", "device": "", "quantity": "sequence_number"}
    ages = [
        value(page_of(snapshots.snapshot(), now), "smax_estimate_age_seconds", **labels)
        for now in (AT, AT + 20.0)
    ]

    assert ages == [0.25, 20.25]


def test_a_hanging_loop_takes_its_numbers_from_the_page() -> None:
    """Old values are not shown as if they were of now; alerts and probe times stay."""
    fresh = page_of(snapshots.snapshot(), AT + 45.0)
    stalled = page_of(snapshots.snapshot(), AT + 45.1)
    names = {name for name, _ in stalled}

    assert value(fresh, "smax_observed_puts_per_second", db="orders") == 57_000.0
    assert "smax_observed_puts_per_second" not in names
    assert {"smax_alert_active", "smax_probe_last_success_timestamp_seconds"} <= names
    assert {
        (dict(key)["db"], dict(key)["reason"]) for n, key in stalled if n == "smax_unavailable"
    } == {("", "agent_stalled"), ("orders", "agent_stalled"), ("/srv/idle", "agent_stalled")}


def test_a_loop_that_hangs_before_it_knows_a_database_is_seen() -> None:
    """The page says so of the agent itself."""
    empty = dataclasses.replace(snapshots.snapshot(), databases=(), devices=())
    labels = {"db": "", "device": "", "quantity": "all", "reason": "agent_stalled"}

    assert value(page_of(empty, AT + 45.1), "smax_unavailable", **labels) == 1.0
    assert "smax_unavailable" not in {name for name, _ in page_of(empty, AT + 45.0)}


def test_before_the_first_tick_the_page_has_the_process_only() -> None:
    """The exporter answers from the start."""
    text = generate_latest(registry_for(Published(), FixedClock())).decode()
    families = {family.name for family in text_string_to_metric_families(text)}

    assert "process_resident_memory_bytes" in families
    assert {name for name in families if name.startswith("smax")} == set()


def test_units_are_base_units_in_the_names() -> None:
    """Seconds, bytes and ratios; no milli, no mega, no percent."""
    names = {name for name, _ in series(GOLDEN.read_text(encoding="utf-8"))}

    assert {n for n in names if re.search("milli|micro|_ms|_mb|_mib|_kb|percent", n)} == set()


def test_an_infinite_or_negative_headroom_is_shown_as_it_is() -> None:
    """A database above its S_max has a negative headroom."""
    over = dataclasses.replace(snapshots.busy_database(), headroom_ratio=Known(-0.5, "wal", AT))
    shown = page_of(dataclasses.replace(snapshots.snapshot(), databases=(over,)))

    assert value(shown, "smax_headroom_ratio", db="orders") == -0.5


@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        (Known(600.0, "pause file", AT), 600.0),
        (Missing("not_paused", "the operator has not paused the probes"), 0.0),
        (Missing("pause_unusable", "pause.json is no regular file"), None),
    ],
)
def test_a_pause_that_cannot_be_read_is_not_told_to_be_over(
    pause: Known[float] | Missing, expected: float | None
) -> None:
    """Zero means that the operator has not paused."""
    shown = page_of(dataclasses.replace(snapshots.snapshot(), pause_remaining_seconds=pause))

    assert shown.get(("smaxd_pause_remaining_seconds", frozenset())) == expected

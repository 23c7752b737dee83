import pytest

from tests.bench.truth.verdict import Holding, Saturation, bottleneck, corrected


def holding(ratio: float, accepted_ratio: float = 1.0, stopped_ratio: float = 0.0) -> Holding:
    offered = 20_000.0 * ratio
    return Holding(ratio, offered, offered * accepted_ratio, stopped_ratio, 0.0)


def test_the_closed_loop_rate_is_the_truth_when_95_percent_of_it_holds() -> None:
    """Luo & Carey's check."""
    assert corrected(20_000.0, [holding(0.95)]) == 20_000.0


def test_the_truth_is_lowered_in_proportion_to_the_share_that_holds() -> None:
    """90 % holds where 95 % should have: 90 / 95 of the rate."""
    tried = [holding(0.95, accepted_ratio=0.99), holding(0.90)]
    assert corrected(20_000.0, tried) == pytest.approx(20_000.0 * 0.90 / 0.95)


def test_stops_fail_a_share_even_when_everything_was_accepted() -> None:
    """Late writes of a stop can all be made up for within the window."""
    tried = [holding(0.95, stopped_ratio=0.05), holding(0.85)]
    assert corrected(20_000.0, tried) == pytest.approx(20_000.0 * 0.85 / 0.95)


def test_when_nothing_holds_the_truth_is_what_the_last_try_accepted() -> None:
    """The best that is known."""
    tried = [holding(0.95, 0.5), holding(0.60, accepted_ratio=0.5)]
    assert corrected(20_000.0, tried) == pytest.approx(6_000.0)


def test_without_a_check_the_closed_loop_rate_stands() -> None:
    """Nothing speaks against it."""
    assert corrected(20_000.0, []) == 20_000.0


def saturation(**shares: float) -> Saturation:
    idle = dict.fromkeys(
        ("device", "cpu", "compaction_slots", "flush_slots", "rate_limiter", "stalled"), 0.3
    )
    return Saturation(**(idle | shares))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (saturation(device=0.98), "device_write"),
        # Slots are occupied by waiting for the device.
        (saturation(device=0.98, compaction_slots=1.0, flush_slots=0.95), "device_write"),
        (saturation(cpu=0.97), "cpu"),
        (saturation(rate_limiter=0.97), "rate_limiter"),
        (saturation(device=0.97, cpu=0.97), None),
        (saturation(device=0.97, cpu=0.80), None),
        (saturation(device=0.80, compaction_slots=1.0), None),
        (saturation(device=0.5, compaction_slots=1.0), "compaction_threads"),
        (saturation(flush_slots=0.95), "flush_threads"),
        (saturation(compaction_slots=1.0, flush_slots=0.95), None),
        (saturation(stalled=0.0), "writer"),
        (saturation(stalled=0.5), None),
    ],
)
def test_a_limit_is_named_only_when_one_resource_alone_is_busy(
    seen: Saturation, expected: str | None
) -> None:
    """Above 90 % where all others stay below 75 %."""
    assert bottleneck(seen, wal="on") == expected


def test_writers_that_wait_for_syncs_are_limited_by_them() -> None:
    """With a synced WAL and nothing else short."""
    assert bottleneck(saturation(stalled=0.0), wal="sync") == "wal_sync"

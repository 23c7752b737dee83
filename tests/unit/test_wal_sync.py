"""Synced puts, by the device's flush requests."""

import pytest

from agent.demands.values import Measured
from agent.demands.wal_sync import WalSyncs
from agent.readings import Known, Missing
from probes.samples import DiskCounters

TICK = 5.0


def counters(
    at: float, flushes: float | None, *, flush_ms: float = 0.1, writes: float = 1.5, ms: float = 0.2
) -> Known[DiskCounters]:
    """So many flush requests since boot, with ``writes`` per flush."""
    count = 0.0 if flushes is None else flushes
    disk = DiskCounters(
        name="sda",
        devnum="8:0",
        reads_completed=0,
        reads_merged=0,
        sectors_read=0,
        read_milliseconds=0,
        writes_completed=round(count * writes),
        writes_merged=0,
        sectors_written=0,
        write_milliseconds=round(count * writes * ms),
        ios_in_progress=0,
        io_milliseconds=0,
        weighted_io_milliseconds=0,
        discards_completed=None,
        discards_merged=None,
        sectors_discarded=None,
        discard_milliseconds=None,
        flushes_completed=None if flushes is None else round(flushes),
        flush_milliseconds=None if flushes is None else round(count * flush_ms),
    )
    return Known(disk, "diskstats", at)


def followed(
    puts: float, syncs: float | None, threads: float | None = None, **device: float
) -> Measured | Missing:
    """A minute of so many puts and syncs per second."""
    work = WalSyncs()
    for tick in range(13):
        at = tick * TICK
        flushes = None if syncs is None else syncs * at
        found = work.update(counters(at, flushes, **device), round(puts * at), threads)
    return found


def test_a_lone_writer_waits_for_one_sync_per_put() -> None:
    """0.1 ms for the flush and 1.5 writes of 0.2 ms: 0.4 ms, so 2500 puts/s at most."""
    found = followed(1000.0, 1000.0, threads=1.0)
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(0.4e-3, rel=0.01)


def test_several_writers_share_a_sync() -> None:
    """While one group of eight writers is synced, the others form the next: four on the mean."""
    found = followed(1000.0, 800.0, threads=8.0)
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(0.4e-3 / 4.0, rel=0.01)


def test_groups_are_no_smaller_than_they_are_now() -> None:
    """Ten puts in a batch stay ten."""
    found = followed(1000.0, 100.0, threads=2.0)
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(0.4e-3 / 10.0, rel=0.01)


def test_writes_of_compaction_beside_the_syncs_are_not_waited_for() -> None:
    """Of a hundred writes per flush two at most are the WAL's."""
    found = followed(1000.0, 1000.0, writes=100.0)
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(0.1e-3 + 2 * 0.2e-3, rel=0.01)


@pytest.mark.parametrize(
    ("puts", "syncs", "flush_ms"),
    [
        (10_000.0, 5.0, 0.1),  # a journal and some flushes
        (5.0, 5.0, 0.1),  # hardly any puts: whose syncs these are cannot be told
        (1000.0, None, 0.1),  # a kernel that does not count them
        (1000.0, 900.0, 5.0),  # 4.8 s of syncs in a second: several are at it
    ],
)
def test_puts_that_wait_for_no_sync_have_no_such_cost(
    puts: float, syncs: float | None, flush_ms: float
) -> None:
    """Nor do puts of which it is not known."""
    assert isinstance(followed(puts, syncs, flush_ms=flush_ms), Missing)

"""The counters of /proc/diskstats and the rates between two readings."""

import errno
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.diskstats import DiskRates, DiskstatsProbe, disk_rates, parse_diskstats_line
from probes.errors import NoData, ProbeFailed
from probes.samples import DiskCounters
from tests.fuzz.contract import require_sound

DATA = Path(__file__).parents[1] / "data" / "proc"
VDA = (
    b" 254       0 vda 42581 9556 3788778 43424 9940 27605 10881600 21251 0 7504 65407"
    b" 3995 52 13054856 683 1249 47"
)


class FixedClock:
    def monotonic(self) -> float:
        return 1234.5

    def wall(self) -> float:
        return 0.0


def counters(line: bytes = VDA) -> DiskCounters:
    parsed = parse_diskstats_line(line)
    assert parsed is not None
    return parsed


def test_every_field_of_a_seventeen_counter_line_lands_where_the_kernel_documents_it() -> None:
    """Field order is that of Documentation/admin-guide/iostats.rst."""
    expected = DiskCounters(
        name="vda",
        devnum="254:0",
        reads_completed=42581,
        reads_merged=9556,
        sectors_read=3788778,
        read_milliseconds=43424,
        writes_completed=9940,
        writes_merged=27605,
        sectors_written=10881600,
        write_milliseconds=21251,
        ios_in_progress=0,
        io_milliseconds=7504,
        weighted_io_milliseconds=65407,
        discards_completed=3995,
        discards_merged=52,
        sectors_discarded=13054856,
        discard_milliseconds=683,
        flushes_completed=1249,
        flush_milliseconds=47,
    )
    assert expected == counters()
    assert (counters().written_bytes, counters().read_bytes) == (10881600 * 512, 3788778 * 512)


@pytest.mark.parametrize(
    ("count", "discards", "flushes"),
    [
        (11, None, None),
        (14, None, None),
        (15, 3995, None),
        (16, 3995, None),
        (17, 3995, 1249),
    ],
)
def test_older_kernels_have_fewer_counters_and_what_they_lack_is_unknown(
    count: int, discards: int | None, flushes: int | None
) -> None:
    """Linux before 4.18 has 11 counters, before 5.5 it has 15."""
    line = b" ".join(VDA.split()[: 3 + count])
    parsed = counters(line)
    assert (discards, flushes) == (parsed.discards_completed, parsed.flushes_completed)
    assert counters().sectors_written == parsed.sectors_written


def test_counters_that_a_later_kernel_appends_are_ignored() -> None:
    """A kernel to come may add fields, as 4.18 and 5.5 did."""
    assert counters() == counters(VDA + b" 7 8 9")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b" 254 0 vda",
        b" 254 1 vda1 10 20 30 40",
        VDA.replace(b"10881600", b"-5"),
        VDA.replace(b"10881600", b"1_0"),
        VDA.replace(b"10881600", b"9" * 5000),
        VDA.replace(b"254", b"x"),
        b"\0" * 300,
    ],
)
def test_a_damaged_line_is_not_a_device(line: bytes) -> None:
    """Cut, negative, oversized and foreign text."""
    assert parse_diskstats_line(line) is None


def test_a_damaged_line_costs_only_its_own_device(tmp_path: Path) -> None:
    """The lines around it are read as ever."""
    other = VDA.replace(b"254       0 vda", b"254 16 vdb")
    (tmp_path / "diskstats").write_bytes(VDA + b"\n 254 1 vda1 \xff\0 x\n" + other + b"\n")
    sample = DiskstatsProbe(FixedClock(), str(tmp_path)).read()
    assert {devnum: disk.name for devnum, disk in sample.disks.items()} == {
        "254:0": "vda",
        "254:16": "vdb",
    }
    assert sample.at == 1234.5


def test_the_captured_hosts_devices_are_all_read() -> None:
    """Every line of a real file becomes one entry."""
    for host in ("debian12-vm", "virtio-loop"):
        text = (DATA / host / "diskstats").read_text()
        sample = DiskstatsProbe(FixedClock(), str(DATA / host)).read()
        names = [line.split()[2] for line in text.splitlines()]
        assert names == [disk.name for disk in sample.disks.values()]


def test_an_absent_file_is_no_data(tmp_path: Path) -> None:
    """Some sandboxes have none."""
    with pytest.raises(NoData) as caught:
        DiskstatsProbe(FixedClock(), str(tmp_path)).read()
    assert caught.value.reason == "no_diskstats"


def test_a_file_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    """A directory in its place gives EISDIR."""
    (tmp_path / "diskstats").mkdir()
    with pytest.raises(ProbeFailed) as caught:
        DiskstatsProbe(FixedClock(), str(tmp_path)).read()
    assert caught.value.reason == "diskstats_unreadable"
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EISDIR


def test_rates_are_differences_over_elapsed_time_in_si_units() -> None:
    """Worked by hand: ten seconds, 1000 writes of 64 KiB, 100 reads of 4 KiB."""
    before = counters()
    after = replace(
        before,
        writes_completed=before.writes_completed + 1000,
        sectors_written=before.sectors_written + 1000 * 128,
        write_milliseconds=before.write_milliseconds + 5000,
        reads_completed=before.reads_completed + 100,
        sectors_read=before.sectors_read + 100 * 8,
        read_milliseconds=before.read_milliseconds + 20,
        io_milliseconds=before.io_milliseconds + 4000,
        weighted_io_milliseconds=before.weighted_io_milliseconds + 25000,
    )
    expected = DiskRates(
        write_bytes_per_second=6553600.0,
        read_bytes_per_second=40960.0,
        writes_per_second=100.0,
        reads_per_second=10.0,
        write_await_seconds=0.005,
        read_await_seconds=0.0002,
        mean_queue_depth=2.5,
        busy_ratio=0.4,
    )
    assert expected == disk_rates(before, after, 10.0)


def test_an_idle_device_has_zero_rates_and_no_await() -> None:
    """A mean over no requests does not exist; it is not zero."""
    rates = disk_rates(counters(), counters(), 10.0)
    assert rates is not None
    assert (
        rates.write_bytes_per_second,
        rates.write_await_seconds,
        rates.read_await_seconds,
    ) == (0.0, None, None)


@pytest.mark.parametrize(
    "field",
    [
        "reads_completed",
        "sectors_read",
        "read_milliseconds",
        "writes_completed",
        "sectors_written",
        "write_milliseconds",
        "io_milliseconds",
        "weighted_io_milliseconds",
    ],
)
def test_a_counter_that_went_backwards_gives_no_rates(field: str) -> None:
    """A wrap at 2**32 milliseconds or a reset: never a negative or a huge rate."""
    before = counters()
    changed = {field: getattr(before, field) - 1}
    assert disk_rates(before, replace(before, **changed), 10.0) is None


@pytest.mark.parametrize("elapsed", [0.0, -1.0, math.nan])
def test_without_elapsed_time_there_are_no_rates(elapsed: float) -> None:
    """Two readings of one instant say nothing."""
    assert disk_rates(counters(), counters(), elapsed) is None


def test_a_number_taken_over_by_another_device_gives_no_rates() -> None:
    """Device numbers are used again after removal."""
    assert disk_rates(counters(), replace(counters(), name="vdb"), 10.0) is None


def test_busy_ratio_does_not_pass_one() -> None:
    """The counter and the clock are read at slightly different instants."""
    after = replace(counters(), io_milliseconds=counters().io_milliseconds + 1003)
    rates = disk_rates(counters(), after, 1.0)
    assert rates is not None
    assert rates.busy_ratio == 1.0


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(VDA)), st.integers(0, len(VDA)))
def test_any_line_is_parsed_or_skipped(noise: bytes, start: int, end: int) -> None:
    """No input raises, and no counter is below zero."""
    require_sound(parse_diskstats_line(VDA[:start] + noise + VDA[end:]))


@settings(deadline=None)
@given(
    st.lists(st.integers(min_value=0, max_value=2**64), min_size=11, max_size=20),
    st.integers(min_value=0, max_value=4095),
)
def test_written_lines_read_back(numbers: list[int], major: int) -> None:
    """What the kernel would print for these counters is what is understood."""
    line = f"{major:4d} {7:7d} sdx {' '.join(map(str, numbers))}".encode()
    parsed = counters(line)
    assert (f"{major}:7", numbers[6], numbers[10]) == (
        parsed.devnum,
        parsed.sectors_written,
        parsed.weighted_io_milliseconds,
    )

"""Pressure stall information."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import NoData, ProbeError, ProbeFailed
from probes.pressure import PressureProbe, parse_pressure
from probes.samples import PressureSample

CAPTURED = (
    b"some avg10=3.25 avg60=12.50 avg300=0.31 total=4048108\n"
    b"full avg10=2.00 avg60=100.00 avg300=0.28 total=3823816\n"
)


class FixedClock:
    def monotonic(self) -> float:
        return 7.0

    def wall(self) -> float:
        return 0.0


def probe_of(tmp_path: Path, text: bytes, resource: str = "io") -> PressureProbe:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / resource).write_bytes(text)
    return PressureProbe(FixedClock(), resource, str(tmp_path))


def test_percentages_become_ratios_and_microseconds_become_seconds(tmp_path: Path) -> None:
    """The kernel prints percent and microseconds."""
    expected = PressureSample(
        at=7.0,
        some_avg10_ratio=0.0325,
        some_avg60_ratio=0.125,
        some_total_seconds=4.048108,
        full_avg10_ratio=0.02,
        full_avg60_ratio=1.0,
        full_total_seconds=3.823816,
    )
    assert expected == probe_of(tmp_path, CAPTURED).read()


def test_a_kernel_without_the_full_line_of_cpu_leaves_it_unknown(tmp_path: Path) -> None:
    """Linux before 5.13 has "some" only for cpu."""
    sample = probe_of(tmp_path, CAPTURED.splitlines(keepends=True)[0], "cpu").read()
    assert (
        sample.some_total_seconds,
        sample.full_avg10_ratio,
        sample.full_avg60_ratio,
        sample.full_total_seconds,
    ) == (4.048108, None, None, None)


def test_an_absent_file_is_no_data(tmp_path: Path) -> None:
    """A kernel without CONFIG_PSI."""
    with pytest.raises(NoData) as caught:
        PressureProbe(FixedClock(), "io", str(tmp_path)).read()
    assert caught.value.reason == "no_pressure_stall_information"


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.EOPNOTSUPP, NoData, "no_pressure_stall_information"),
        (errno.EINVAL, NoData, "no_pressure_stall_information"),
        (errno.EACCES, NoData, "not_permitted"),
        (errno.EIO, ProbeFailed, "pressure_unreadable"),
    ],
)
def test_a_kernel_that_refuses_to_answer_is_told_from_a_damaged_one(
    number: int, kind: type[ProbeError], reason: str
) -> None:
    """With psi=0 the file can be there and answer EOPNOTSUPP."""

    def refuse(path: str, limit_bytes: int) -> bytes:
        raise OSError(number, os.strerror(number), path)

    with pytest.raises(kind) as caught:
        PressureProbe(FixedClock(), "io", read_file=refuse).read()
    assert reason == caught.value.reason


@pytest.mark.parametrize("text", [b"", b"some", b"some avg10=x", CAPTURED[:20], b"\0" * 64])
def test_a_damaged_file_is_a_failure(tmp_path: Path, text: bytes) -> None:
    """Never zero pressure."""
    with pytest.raises(ProbeFailed) as caught:
        probe_of(tmp_path, text).read()
    assert caught.value.reason == "pressure_unreadable"


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda t: b"some avg10=" + t.encode()))
def test_any_text_is_parsed_or_refused(text: bytes) -> None:
    """No input raises, and every ratio lies in 0..1."""
    sample = parse_pressure(text, 0.0)
    assert sample is None or 0.0 <= sample.some_avg10_ratio <= 1.0


@settings(deadline=None)
@given(percent=st.integers(min_value=0, max_value=10000), total=st.integers(0, 2**64 - 1))
def test_written_lines_read_back(percent: int, total: int) -> None:
    """What the kernel would print for these values is what is understood."""
    average = f"{percent // 100}.{percent % 100:02d}"
    text = f"some avg10={average} avg60={average} avg300=0.00 total={total}\n".encode()
    sample = parse_pressure(text, 1.0)
    assert sample is not None
    assert sample.some_avg60_ratio == pytest.approx(percent / 10000)
    assert sample.some_total_seconds == total / 1e6

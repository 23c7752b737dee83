import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibrate.plan import (
    BATCH_BYTES,
    GIB,
    MIB,
    batch_puts,
    default_cap_bytes,
    incompressible_ratio,
    key_and_value_bytes,
    must_stay_free_bytes,
    schedule,
    wear_budget_bytes,
    write_cap,
)


@pytest.mark.parametrize(
    ("drive", "expected"), [(GIB, 256 * MIB), (0, 256 * MIB), (2000 * GIB, int(2 * GIB))]
)
def test_the_wear_budget_is_a_thousandth_of_the_drive_and_at_least_256_mib(
    drive: int, expected: int
) -> None:
    """DESIGN section 4."""
    assert wear_budget_bytes(drive) == expected


def test_a_known_limit_bounds_the_default_cap() -> None:
    """A throttled volume cannot take more than that."""
    assert default_cap_bytes(60.0, 100.0) == 7200
    assert default_cap_bytes(60.0, None) == 60 * 512 * MIB


def test_the_cap_is_lowered_to_what_may_be_filled() -> None:
    """Everything written could still lie on the disk at the end."""
    cap = write_cap(100 * GIB, free_bytes=50 * GIB, file_system_bytes=200 * GIB)
    assert cap is not None
    assert (cap.bytes, cap.lowered_for_space) == (40 * GIB, True)


def test_a_cap_that_fits_stays() -> None:
    """And is not reported as lowered."""
    cap = write_cap(GIB, free_bytes=50 * GIB, file_system_bytes=200 * GIB)
    assert cap is not None
    assert (cap.bytes, cap.lowered_for_space) == (GIB, False)


@pytest.mark.parametrize(("wanted", "free"), [(1, 50 * GIB), (GIB, GIB), (GIB, 0)])
def test_too_little_room_is_no_cap(wanted: int, free: int) -> None:
    """A run of nothing measures nothing."""
    assert write_cap(wanted, free_bytes=free, file_system_bytes=200 * GIB) is None


@given(st.integers(0, 2**50))
def test_a_part_of_every_file_system_stays_free(size: int) -> None:
    """But never more than a tenth of it beyond the twentieth."""
    assert 0.05 * size - 1 <= must_stay_free_bytes(size) <= 0.1 * size + 1


@given(st.floats(60, 1e5), st.integers(0, 2**50))
def test_phases_come_one_after_another_and_keep_within_time_and_cap(
    seconds: float, cap: int
) -> None:
    """Something is left for the check of both."""
    plan = schedule(seconds, cap)
    times = (plan.fill_seconds, plan.saturate_seconds, plan.settle_seconds, plan.total_seconds)
    assert list(times) == sorted(times)
    assert plan.total_seconds == seconds
    assert plan.fill_bytes <= plan.saturate_bytes <= plan.cap_bytes == cap


@given(st.integers(1, 2**26))
def test_batches_are_bounded_and_never_empty(record: int) -> None:
    """A single record may be larger than a batch."""
    count = batch_puts(record)
    assert count >= 1
    assert count == 1 or count * record <= BATCH_BYTES


@given(st.floats(1, 1e8))
def test_a_record_is_divided_without_loss(record: float) -> None:
    """Into a key and at least one byte of value."""
    key, value = key_and_value_bytes(record)
    assert key >= 1
    assert value >= 1
    assert key + value == max(2, int(record + 0.5))


@pytest.mark.parametrize(
    ("record", "expected"), [(1040.0, (16, 1024)), (20.0, (10, 10)), (10.0, (8, 2))]
)
def test_keys_take_16_bytes_where_there_are_that_many(
    record: float, expected: tuple[int, int]
) -> None:
    """Small records keep keys that do not meet by chance."""
    assert key_and_value_bytes(record) == expected


@pytest.mark.parametrize(
    ("flushed", "user", "compressed", "expected"),
    [(50.0, 100.0, True, 0.5), (50.0, 100.0, False, 1.0), (0.0, 0.0, True, 1.0), (9, 1, True, 1.0)],
)
def test_values_compress_as_the_databases_do(
    flushed: float, user: float, compressed: bool, expected: float
) -> None:
    """Where the database compresses at all."""
    assert incompressible_ratio(flushed, user, compressed=compressed) == expected

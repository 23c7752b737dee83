"""Delays and stops as RecalculateWriteStallConditions decides them."""

import pytest

from agent.models.lsm import TreeOptions
from agent.models.lsm_write_control import WriteControl

GIB = 2.0**30
MIB = 2.0**20


@pytest.mark.parametrize(
    ("memtables", "files", "debt", "stopped", "cause"),
    [
        (0, 19, 0.0, False, None),
        (1, 20, 0.0, False, "l0_files"),
        (1, 36, 0.0, True, "l0_files"),
        (2, 0, 0.0, True, "memtables"),
        (0, 0, 64 * GIB, False, "pending_compaction_bytes"),
        (0, 0, 256 * GIB, True, "pending_compaction_bytes"),
    ],
)
def test_conditions_are_those_of_the_options(
    memtables: int, files: int, debt: float, stopped: bool, cause: str | None
) -> None:
    """Defaults: 2 memtables, 20 and 36 files, 64 and 256 GiB."""
    control = WriteControl(TreeOptions())
    control.update(memtables, files, debt)
    assert (control.stopped, control.cause) == (stopped, cause)
    assert control.delayed == (cause is not None and not stopped)


def test_the_last_but_one_memtable_delays_only_with_more_than_three() -> None:
    """max_write_buffer_number > 3."""
    few = WriteControl(TreeOptions(max_write_buffer_number=3))
    few.update(2, 0, 0.0)
    assert few.cause is None
    many = WriteControl(TreeOptions(max_write_buffer_number=4))
    many.update(3, 0, 0.0)
    assert many.delayed


def test_the_first_delay_starts_at_the_rate_of_the_options() -> None:
    """Only a delay that goes on changes it."""
    control = WriteControl(TreeOptions())
    control.update(0, 20, 1 * GIB)
    assert control.delayed_bytes_per_second == 16 * MIB


def test_the_rate_falls_while_debt_grows_and_rises_while_it_shrinks() -> None:
    """By 0.8 and its inverse, never above the rate of the options."""
    control = WriteControl(TreeOptions())
    control.update(0, 20, 1 * GIB)
    control.update(0, 21, 1 * GIB)
    assert control.delayed_bytes_per_second == pytest.approx(0.8 * 16 * MIB)
    control.update(0, 22, 2 * GIB)
    assert control.delayed_bytes_per_second == pytest.approx(0.64 * 16 * MIB)
    for _ in range(4):
        control.update(0, 20, control._previous_debt - MIB)
    assert control.delayed_bytes_per_second == 16 * MIB


def test_near_the_stop_the_rate_falls_faster() -> None:
    """Two files before it: by 0.6, whatever the debt does."""
    control = WriteControl(TreeOptions())
    control.update(0, 33, 2 * GIB)
    control.update(0, 34, 1 * GIB)
    assert control.delayed_bytes_per_second == pytest.approx(0.6 * 16 * MIB)


def test_the_rate_is_never_below_16_kib() -> None:
    """kMinWriteRate."""
    control = WriteControl(TreeOptions())
    for _ in range(60):
        control.update(0, 20, 1 * GIB)
    assert control.delayed_bytes_per_second == 16 * 1024


def test_leaving_the_delay_is_rewarded() -> None:
    """By 1.4, for the next time."""
    control = WriteControl(TreeOptions())
    for _ in range(3):
        control.update(0, 20, 1 * GIB)
    control.update(0, 10, 1 * GIB)
    assert not control.delayed
    assert control.delayed_bytes_per_second == pytest.approx(0.64 * 1.4 * 16 * MIB)


@pytest.mark.parametrize(
    ("files", "debt", "pressure"), [(7, 0.0, False), (8, 0.0, True), (0, 16 * GIB, True)]
)
def test_compaction_gets_all_slots_under_pressure(files: int, debt: float, pressure: bool) -> None:
    """From twice the trigger, or a quarter of the soft limit."""
    control = WriteControl(TreeOptions())
    control.update(0, files, debt)
    assert control.speeds_up_compaction == pressure

"""When what is remembered of a device's measurement and runs is worth an fsync."""

from typing import Any

import pytest
from msgspec.structs import replace

from agent.learning.memory import (
    MAX_ENTRIES,
    CapacityMemory,
    DeviceIdentity,
    ProbingMemory,
    RunsMemory,
)
from agent.learning.probing_memories import OLD_SECONDS, News, ProbingMemories

WALL = 1.7e9
DRIVE = DeviceIdentity("sda", 10**12, "a drive")
CAPACITY = CapacityMemory(1e8, None, False, "saturated traffic", WALL)
RUNS = RunsMemory(True, 0, "measured", WALL - 7200.0, None)
ENTRY = ProbingMemory(DRIVE, CAPACITY, RUNS, WALL)


@pytest.mark.parametrize(
    ("later", "news"),
    [
        ({}, News.NONE),
        ({"seen_wall_seconds": WALL + 1e6}, News.NONE),
        ({"seen_wall_seconds": WALL - 1.0}, News.LATER),
        ({"capacity": replace(CAPACITY, bytes_per_second=1.04e8)}, News.NONE),
        ({"capacity": replace(CAPACITY, bytes_per_second=1.06e8)}, News.LATER),
        ({"capacity": replace(CAPACITY, bytes_per_second=0.94e8)}, News.LATER),
        ({"capacity": replace(CAPACITY, measured_wall_seconds=WALL + OLD_SECONDS)}, News.NONE),
        ({"capacity": replace(CAPACITY, measured_wall_seconds=WALL + 3601.0)}, News.LATER),
        ({"capacity": replace(CAPACITY, source="fio")}, News.LATER),
        ({"capacity": replace(CAPACITY, lower_bound=True)}, News.LATER),
        ({"capacity": None}, News.LATER),
        ({"device": replace(DRIVE, instance="of the next boot")}, News.LATER),
        ({"runs": replace(RUNS, ended_wall_seconds=WALL - 7190.0)}, News.NONE),
        ({"runs": replace(RUNS, ended_wall_seconds=WALL)}, News.AT_ONCE),
        ({"runs": replace(RUNS, running_since_wall_seconds=WALL)}, News.AT_ONCE),
        ({"runs": replace(RUNS, fruitless=1)}, News.AT_ONCE),
        ({"runs": replace(RUNS, outcome="aborted")}, News.AT_ONCE),
    ],
)
def test_a_run_is_news_at_once_a_measurement_that_goes_on_is_not(
    later: dict[str, Any], news: News
) -> None:
    """Against what was saved last."""
    memories = ProbingMemories((ENTRY,))
    changed = replace(ENTRY, **later)
    assert memories.remember(changed) is news
    assert memories.get(DRIVE) == changed
    assert memories.all() == (changed,)
    assert memories.remember(changed) is News.NONE


def test_small_changes_add_up() -> None:
    """They are held against what was saved, not against the tick before."""
    memories = ProbingMemories((ENTRY,))
    news = [
        memories.remember(replace(ENTRY, capacity=replace(CAPACITY, bytes_per_second=rate)))
        for rate in (1.02e8, 1.04e8, 1.06e8, 1.08e8)
    ]
    assert news == [News.NONE, News.NONE, News.LATER, News.NONE]


def test_a_device_that_was_neither_measured_nor_tried_is_not_kept() -> None:
    """There is nothing to say of it."""
    memories = ProbingMemories(())
    assert memories.remember(ProbingMemory(DRIVE, None, RunsMemory(), WALL)) is News.NONE
    assert memories.all() == ()


def test_a_host_on_which_volumes_come_and_go_forgets_those_seen_longest_ago() -> None:
    """As many are kept as are saved."""
    memories = ProbingMemories(())
    volumes = [DeviceIdentity("sda", 10**12, f"volume {n}") for n in range(MAX_ENTRIES)]
    for at, volume in enumerate([DRIVE, *volumes[:-1], DRIVE, volumes[-1]]):
        memories.remember(replace(ENTRY, device=volume, seen_wall_seconds=WALL + at))
    assert len(memories.all()) == MAX_ENTRIES
    assert memories.get(DRIVE) is not None
    assert memories.get(volumes[0]) is None


def test_more_devices_at_a_time_than_are_saved_are_not_news_with_every_tick() -> None:
    """Each would ask for a save at once, which waits for the disk."""
    memories = ProbingMemories(())
    volumes = [DeviceIdentity("sda", 10**12, f"volume {n}") for n in range(MAX_ENTRIES + 10)]
    told = [
        {
            memories.remember(replace(ENTRY, device=volume, seen_wall_seconds=WALL + at))
            for volume in volumes
        }
        for at in (0.0, 5.0)
    ]
    assert told == [{News.AT_ONCE}, {News.NONE}]

"""What holds writes back, by the LOG or, without it, by the level-0 files."""

from typing import Any

import pytest

from agent.readings import Known, Missing
from agent.stalls import background_error, stall_conditions, stall_seconds
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample
from probes.rocksdb.samples import (
    BackgroundError,
    ColumnFamilyShape,
    LevelShape,
    LogSample,
    ManifestSample,
    StallCondition,
)
from tests.unit.agent_samples import (
    ABSENT,
    WALL,
    a_log,
    a_manifest,
    captured_log,
    captured_manifest,
    captured_options,
    known,
)

STOPPED = StallCondition("default", "stopped", "memtables", WALL - 5.0, None)
SILENT = known(a_log(has_events=False))


def conditions(
    log: Known[LogSample] | Missing,
    manifest: Known[ManifestSample] | Missing,
    found_options: Known[OptionsSample] | Missing,
) -> Known[tuple[StallCondition, ...]] | Missing:
    """Of a database that a process has open."""
    return stall_conditions(log, manifest, found_options, WALL, has_owner=True)


def limits(name: str = "default", **changes: Any) -> ColumnFamilyOptions:
    values: dict[str, Any] = dict.fromkeys(ColumnFamilyOptions.__dataclass_fields__)
    values.update(
        name=name,
        compaction_style="level",
        level0_slowdown_writes_trigger=20,
        level0_stop_writes_trigger=36,
    )
    return ColumnFamilyOptions(**(values | changes))


def options(*families: ColumnFamilyOptions) -> Known[OptionsSample]:
    sample = OptionsSample(
        0.0, "OPTIONS-000007", "9.8.4", None, None, None, None, None, None, families
    )
    return known(sample)


def shape(**level0_files: int) -> Known[ManifestSample]:
    families = tuple(
        ColumnFamilyShape(name, (LevelShape(files, 1),)) for name, files in level0_files.items()
    )
    return known(a_manifest(column_families=families), at=3.0)


def test_the_log_is_believed_at_once() -> None:
    """Its WARN lines come with every change, whatever the shape says."""
    log = Known(a_log(stalls=(STOPPED,)), "log", 2.0)
    found = conditions(log, shape(default=0), options(limits()))
    assert found == Known((STOPPED,), "log", 2.0)


def test_a_log_with_events_and_without_stalls_says_not_stalled() -> None:
    """An empty answer of the LOG is an answer."""
    log = Known(a_log(), "log", 2.0)
    assert conditions(log, shape(default=99), options(limits())) == Known((), "log", 2)


@pytest.mark.parametrize(
    ("files", "state"),
    [(20, "delayed"), (35, "delayed"), (36, "stopped"), (100, "stopped")],
)
def test_a_silent_log_leaves_the_level_0_files_against_the_triggers(files: int, state: str) -> None:
    """The triggers themselves count as reached."""
    found = conditions(SILENT, shape(default=files), options(limits()))
    expected = StallCondition("default", state, "l0_files", WALL, None)
    assert found == Known((expected,), "manifest and options", 3.0)


@pytest.mark.parametrize("log", [SILENT, ABSENT])
def test_a_shape_below_the_triggers_does_not_say_not_stalled(log: Any) -> None:
    """Memtables and pending bytes stall too, and are not seen."""
    found = conditions(log, shape(default=19), options(limits()))
    assert isinstance(found, Missing)
    assert found.reason == ("log_has_no_events" if log is SILENT else "left_out")


def test_only_the_column_families_beyond_their_own_triggers_are_named() -> None:
    """Each has its own; one without options has none."""
    found = conditions(
        ABSENT,
        shape(default=25, busy=25, unknown=99),
        options(limits(), limits("busy", level0_stop_writes_trigger=25)),
    )
    assert isinstance(found, Known)
    assert {(s.column_family, s.state) for s in found.value} == {
        ("default", "delayed"),
        ("busy", "stopped"),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"compaction_style": "fifo"},
        {"level0_slowdown_writes_trigger": None, "level0_stop_writes_trigger": None},
        {"level0_slowdown_writes_trigger": 0, "level0_stop_writes_trigger": 0},
        {"level0_slowdown_writes_trigger": -1, "level0_stop_writes_trigger": -1},
    ],
)
def test_triggers_that_are_off_or_do_not_apply_stall_nothing(changes: dict[str, Any]) -> None:
    """FIFO keeps all files in level 0; 0 and less switch a trigger off."""
    found = conditions(ABSENT, shape(default=99), options(limits(**changes)))
    assert found is ABSENT


def test_without_manifest_or_options_there_is_only_the_logs_reason() -> None:
    """Nothing is guessed."""
    assert conditions(ABSENT, ABSENT, options(limits())) is ABSENT
    assert conditions(ABSENT, shape(default=99), ABSENT) is ABSENT


@pytest.mark.parametrize("name", ["v5.3.0", "v9.8.4", "universal", "fifo", "multi_cf"])
def test_a_real_database_at_rest_is_not_stalled(name: str) -> None:
    """By its LOG; and its shape alone does not say that it is."""
    log, manifest, found_options = (
        Known(captured_log(name), "log", 0.0),
        known(captured_manifest(name)),
        known(captured_options(name)),
    )
    assert conditions(log, manifest, found_options) == Known((), "log", 0.0)
    assert conditions(ABSENT, manifest, found_options) is ABSENT


def test_the_last_words_of_a_process_that_died_hold_back_nobody() -> None:
    """No owner and a LOG that has been silent for a minute: the database is closed."""

    def orphan(last_wall_seconds: float | None) -> Known[tuple[StallCondition, ...]] | Missing:
        log = Known(a_log(stalls=(STOPPED,), last_wall_seconds=last_wall_seconds), "log", 2.0)
        return stall_conditions(log, ABSENT, ABSENT, WALL, has_owner=False)

    assert orphan(WALL - 60.0) == Known((STOPPED,), "log", 2.0), "its owner may be in a container"
    for last in (WALL - 60.1, None):
        closed = orphan(last)
        assert isinstance(closed, Missing)
        assert closed.reason == "not_open"


def test_an_owner_that_is_silent_is_still_stalled() -> None:
    """A stop that lasts for hours writes no lines."""
    log = Known(a_log(stalls=(STOPPED,), last_wall_seconds=WALL - 9000.0), "log", 2.0)
    assert conditions(log, ABSENT, ABSENT) == Known((STOPPED,), "log", 2.0)


def test_no_background_error_is_known_too() -> None:
    """None inside is "there is none"; a missing LOG is "not known"."""
    error = BackgroundError("IO error: No space left on device", WALL)
    log = Known(a_log(background_error=error), "log", 2.0)
    assert background_error(log) == Known(error, "log", 2.0)
    assert background_error(Known(a_log(), "log", 2.0)) == Known(None, "log", 2.0)
    assert background_error(ABSENT) is ABSENT


def test_the_log_tells_how_long_writes_were_held_back() -> None:
    """By state."""
    log = known(a_log(stall_seconds={"delayed": 3.0, "stopped": 1.0}))
    told = stall_seconds(log)
    assert isinstance(told, Known)
    assert told.value == {"delayed": 3.0, "stopped": 1.0}
    assert stall_seconds(ABSENT) == ABSENT


def test_a_log_with_warnings_and_no_events_does_not_tell_how_long() -> None:
    """Its first stall would never end."""
    count = {"delayed": 1, "stopped": 0}
    told = stall_seconds(known(a_log(has_events=False, stall_count=count, stalls=(STOPPED,))))
    assert isinstance(told, Missing)
    assert told.reason == "log_has_no_events"
    assert isinstance(stall_seconds(SILENT), Known)

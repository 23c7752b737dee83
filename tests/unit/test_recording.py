"""The recording format: exact, compact, readable when cut, refused when it is something else."""

import gzip
import json
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config import Config, DatabaseSettings, DeviceSettings
from agent.findings import CalibrationFindings, DatabaseFindings, Findings
from agent.learning.memory import (
    CapacityMemory,
    DeviceIdentity,
    DeviceMemory,
    LearnedState,
    ProbingMemory,
    RunsMemory,
)
from agent.readings import Known
from agent.recording.recording import (
    FORMAT_VERSION,
    NOT_RECORDED,
    HostFacts,
    RecordingError,
    RecordingHeader,
    TickEncoder,
    as_recorded,
    open_recording,
)
from tests.unit.agent_samples import captured_log, database_findings, findings_of, known
from tests.unit.arbitrary import values_of
from tests.unit.recordings import HEADER, captured_ticks, packed, read_back, recording_bytes

NAMES = ("v9.8.4", "v7.8.3", "v5.3.0", "universal", "multi_cf", "ingest_manual", "reopened")


def lines_of(raw: bytes) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(raw).splitlines()]


def read_all(raw: bytes) -> tuple[str | None, list[Findings]]:
    """What a reader is told about the state of a recording, None when it is whole; its ticks."""
    ticks: list[Findings] = []
    try:
        recording = read_back(raw)
        ticks += recording
    except RecordingError as error:
        return str(error), ticks
    return recording.cut, ticks


@pytest.mark.parametrize("name", NAMES)
def test_findings_of_real_databases_come_back_as_they_were(name: str) -> None:
    """Every field, of every tick, to the last digit."""
    ticks = captured_ticks(name)

    assert list(map(as_recorded, ticks)) == list(read_back(recording_bytes(ticks)))


@settings(max_examples=25, deadline=None)
@given(values_of(Findings), values_of(Findings), st.sets(st.sampled_from(Findings.__slots__)))
def test_any_findings_come_back_as_they_were(
    first: Findings, other: Findings, changed: set[str]
) -> None:
    """Every type that findings can hold has a tree and a difference."""
    second = replace(first, **{name: getattr(other, name) for name in changed})
    ticks = (first, second, other)

    assert list(map(as_recorded, ticks)) == list(read_back(recording_bytes(ticks)))


@settings(max_examples=25, deadline=None)
@given(values_of(DatabaseFindings), values_of(DatabaseFindings), st.data())
def test_any_part_of_a_database_can_change(
    first: DatabaseFindings, other: DatabaseFindings, data: st.DataObject
) -> None:
    """From known to missing and back, and within."""
    names = [field.name for field in fields(DatabaseFindings)]
    changed = data.draw(st.sets(st.sampled_from(names)))
    second = replace(first, **{name: getattr(other, name) for name in changed})
    ticks = [findings_of(0.0, databases=(database,)) for database in (first, second, other)]

    assert list(map(as_recorded, ticks)) == list(read_back(recording_bytes(ticks)))


def test_the_header_tells_version_configuration_and_host() -> None:
    """What a replay has to know besides the findings."""
    header = RecordingHeader(
        smaxd="1.2.3",
        started_wall_seconds=1.7e9,
        config=Config(
            tick_seconds=1.0,
            databases=(DatabaseSettings("/srv/a", name="a", db_paths=("/b",)),),
            devices=(DeviceSettings("sda", 100.0),),
        ),
        host=HostFacts(cores=4, memory_bytes=2**34, kernel="6.1.0", machine="x86_64"),
        learned=LearnedState(
            devices=(DeviceMemory(DeviceIdentity("sda", 10**12), 1e8, 1.6e9, 1.65e9),),
            probing=(
                ProbingMemory(
                    DeviceIdentity("sda", 10**12, "a drive"),
                    CapacityMemory(1e8, None, False, "fio", 1.6e9),
                    RunsMemory(),
                    1.65e9,
                ),
            ),
        ),
    )

    assert header == read_back(recording_bytes((), header)).header


def test_the_end_is_told() -> None:
    """A recording that is whole has no remark."""
    recording = read_back(recording_bytes(captured_ticks("v9.8.4")))
    assert (recording.end, recording.cut) == (None, None)
    list(recording)

    assert (recording.end, recording.cut) == ("stopped", None)


def test_disks_without_a_watched_database_are_left_out() -> None:
    """A host may have thousands; none of them decides anything."""
    recorded = as_recorded(captured_ticks("v9.8.4")[1])

    assert isinstance(recorded.diskstats, Known)
    assert list(recorded.diskstats.value.disks) == ["8:0"]


def test_a_tick_is_small() -> None:
    """Below 1 KB per tick while the LOG grows by dozens of events, as README promises."""
    ticks = captured_ticks("v9.8.4")
    first, whole = len(recording_bytes(ticks[:2])), len(recording_bytes(ticks))

    assert (whole - first) / len(ticks[2:]) < 1000


def test_skipped_ticks_are_counted() -> None:
    """The difference is taken to the last tick that was written, so that nothing is lost but it."""
    ticks = captured_ticks("v9.8.4")
    encoder = TickEncoder()
    lines = [
        encoder.header(HEADER),
        encoder.tick(ticks[0]),
        encoder.tick(ticks[3], 2),
        encoder.end("stopped", 1),
    ]
    recording = read_back(packed(lines))

    assert [as_recorded(ticks[0]), as_recorded(ticks[3])] == list(recording)
    assert recording.skipped == 3


def test_a_recording_that_was_cut_gives_the_ticks_before() -> None:
    """Wherever the daemon was killed: never an error, never a wrong tick, always a remark."""
    ticks = captured_ticks("universal")
    raw = recording_bytes(ticks)
    whole = [as_recorded(tick) for tick in ticks]
    header_bytes = len(packed([TickEncoder.header(HEADER)]))
    for size in range(header_bytes, len(raw) - 32, 61):
        recording = read_back(raw[:size])
        got = list(recording)

        assert whole[: len(got)] == got
        assert recording.end is None
        assert recording.cut is not None
        assert "killed" in recording.cut


def test_a_recording_of_a_killed_daemon_ends_with_its_last_flushed_tick() -> None:
    """What was flushed is there, to the last tick."""
    ticks = captured_ticks("universal")
    encoder = TickEncoder()
    raw = packed([encoder.header(HEADER), *map(encoder.tick, ticks)])
    recording = read_back(raw[:-10])  # without the end of the gzip stream

    assert len(ticks) == len(list(recording))
    assert recording.cut == "it has no end: the daemon was killed, or still runs"


def test_a_damaged_recording_is_never_taken_for_a_whole_one() -> None:
    """One bit flipped behind gzip's header is told, unless it was of no meaning (padding)."""
    ticks = captured_ticks("v9.8.4")
    raw, whole = recording_bytes(ticks), list(map(as_recorded, ticks))
    for index in range(10, len(raw), 173):
        damaged = bytearray(raw)
        damaged[index] ^= 0x10
        remark, got = read_all(bytes(damaged))

        assert remark is not None or got == whole


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "x.rec: is empty"),
        (b"hello", "x.rec: not a recording of smaxd"),
        (gzip.compress(b"hello\n"), "x.rec: not a recording of smaxd, or cut off within"),
        (gzip.compress(b"[]\n"), "x.rec: not a recording of smaxd, or cut off within"),
        (gzip.compress(b"[" * 100_000 + b"\n"), "x.rec: not a recording of smaxd, or cut off"),
        (recording_bytes(())[:40], "x.rec: not a recording of smaxd, or cut off within"),
    ],
)
def test_another_file_is_refused(raw: bytes, message: str) -> None:
    """In one sentence."""
    with pytest.raises(RecordingError) as refused:
        read_back(raw)

    assert str(refused.value).startswith(message)


def test_another_format_is_refused_by_its_number() -> None:
    """Who recorded it, and what this version can read."""
    header = lines_of(recording_bytes(()))[0] | {"version": FORMAT_VERSION + 1, "smaxd": "9.9"}

    with pytest.raises(RecordingError) as refused:
        read_back(packed([json.dumps(header).encode() + b"\n"]))

    assert str(refused.value) == (
        f"x.rec: recorded in format {FORMAT_VERSION + 1} by smaxd 9.9; this version reads format "
        f"{FORMAT_VERSION}"
    )


def test_a_header_that_does_not_fit_is_refused() -> None:
    """With the field's place."""
    header = lines_of(recording_bytes(()))[0]
    header["config"]["tick_seconds"] = "soon"

    with pytest.raises(RecordingError, match=r"damaged header: config\.tick_seconds: a string"):
        read_back(packed([json.dumps(header).encode() + b"\n"]))


def test_what_was_learned_is_whole_or_refused() -> None:
    """A rate that is not there would end a replay in the middle of a decision."""
    device = DeviceMemory(DeviceIdentity("sda", 10**12), 1e8, 1.6e9, 1.65e9)
    header = msgspec.structs.replace(HEADER, learned=LearnedState(devices=(device,)))
    tree = lines_of(recording_bytes((), header))[0]
    del tree["learned"]["devices"][0]["baseline_bytes_per_second"]
    place = r"learned\.devices\[0\]\.baseline_bytes_per_second: is missing"

    with pytest.raises(RecordingError, match=f"damaged header: {place}"):
        read_back(packed([json.dumps(tree).encode() + b"\n"]))


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"tick": {}, "skipped": "x"}', b'{"tick": {"at": "x"}}', b"\xff"]
)
def test_a_damaged_tick_is_named_by_its_number(line: bytes) -> None:
    """The ticks before it were given."""
    ticks = captured_ticks("v9.8.4")
    encoder = TickEncoder()
    recording = read_back(
        packed([encoder.header(HEADER), encoder.tick(ticks[0]), line + b"\n", encoder.end("x")])
    )
    given_ticks = iter(recording)

    assert as_recorded(ticks[0]) == next(given_ticks)
    with pytest.raises(RecordingError, match=r"x\.rec: damaged at tick 2: "):
        next(given_ticks)


def test_nothing_may_follow_the_end() -> None:
    """Two recordings glued together are not one."""
    encoder = TickEncoder()
    lines = [encoder.header(HEADER), encoder.end("stopped"), encoder.end("stopped")]

    with pytest.raises(RecordingError, match="damaged at tick 2"):
        list(read_back(packed(lines)))


def test_a_line_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file can be made to unpack into gigabytes."""
    monkeypatch.setattr("agent.recording.recording.MAX_LINE_BYTES", 1024 * 1024)

    with pytest.raises(RecordingError, match="a line without an end"):
        read_back(gzip.compress(b" " * 4 * 1024 * 1024))


def test_a_recording_of_an_older_version_is_readable() -> None:
    """Readings and fields that it did not know are missing; what is gone now is left out."""
    tick = findings_of(1.0, databases=(database_findings(log=known(captured_log("v9.8.4"))),))
    header, first, end = lines_of(recording_bytes((tick,)))
    database = first["tick"]["databases"][0]
    del database["secondary"], database["owner_gone"], database["log"][1]["value"]["damaged_lines"]
    first["tick"]["relic"] = database["relic"] = {"of": "the past"}
    raw = packed([json.dumps(line).encode() + b"\n" for line in (header, first, end)])

    (read,) = read_back(raw)
    log: Any = read.databases[0].log

    assert read.databases[0].secondary == NOT_RECORDED
    assert read.databases[0].owner_gone is False
    assert log.value.damaged_lines is None
    assert log.value.puts == captured_log("v9.8.4").puts


def test_a_recording_of_calibrations_of_before_they_told_a_model_is_readable() -> None:
    """They were of what has their name."""
    header, first, end = lines_of(recording_bytes((findings_of(1.0),)))
    told: dict[str, Any] = {
        "measured_wall_seconds": 1.7e9,
        "database": "/db",
        "device": "sda",
        "device_size_bytes": 10**12,
        "options_key": "abc",
        "record_bytes": 1040.0,
        "puts_per_second": 2e4,
        "sustained_bytes_per_second": 5e7,
        "size_ratio": 0.5,
    }
    first["tick"]["calibrations"] = [told]

    (read,) = read_back(
        packed([json.dumps(line).encode() + b"\n" for line in (header, first, end)])
    )
    assert read.calibrations == (CalibrationFindings(**told),)


def test_a_configuration_of_another_version_is_readable() -> None:
    """Settings that are gone are left out, those that are new take their defaults."""
    header = lines_of(recording_bytes(()))[0]
    header["config"]["relic"] = 1
    del header["config"]["secondary"], header["config"]["phase"]["hold_seconds"]

    assert read_back(packed([json.dumps(header).encode() + b"\n"])).header == HEADER


@pytest.mark.parametrize("path", ["/nonexistent/x.rec", "/"])
def test_a_file_that_cannot_be_read_is_one_sentence(path: str) -> None:
    """With the reason of the system."""
    with pytest.raises(RecordingError, match=f"^{path}: cannot be read: "):
        open_recording(path)

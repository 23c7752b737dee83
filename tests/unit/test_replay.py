"""A replay says what the daemon would have said, as a table, as JSON, or in one line of error."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent.commands.replay import print_replay
from agent.findings import DeviceBudget, Findings, FioEnded
from agent.host_state import HostState
from agent.main import host_state_for
from agent.models.estimate import CalibratedEstimate, Estimate, ResourceUse
from agent.models.lsm import ModelInputs, Simulated
from agent.probing.scheduler import ProbeRun
from agent.readings import Known, Missing
from agent.recording.recording import TickEncoder
from agent.recording.replay import replay
from agent.recording.table import Row, row_of, table_lines, time_text
from agent.simulator import InlineSimulator
from agent.snapshot import DatabaseSnapshot, Snapshot
from tests.unit.agent_samples import a_fio, device_findings, findings_of, known
from tests.unit.explained import INPUTS
from tests.unit.recordings import HEADER, captured_ticks, packed, read_back, recording_bytes
from tests.unit.snapshots import AT, busy_database, lost_database, snapshot

DATABASE = "universal"
BUDGET = known(DeviceBudget(10**12, 10**12))


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """A recording of a captured database, 12 ticks at 10 s."""
    path = tmp_path / "x.rec"
    path.write_bytes(recording_bytes(captured_ticks(DATABASE)))
    return str(path)


def test_a_replay_gives_the_snapshots_of_the_daemon() -> None:
    """Every number is the same; only the probes' own durations have fewer digits."""
    ticks = captured_ticks(DATABASE)
    live = host_state_for(HEADER.config)
    simulator = InlineSimulator()
    expected = []
    for findings in ticks:
        for name, answer in simulator.answers().items():
            live.take_simulated(name, answer, findings.at)
        expected.append(replace(live.advance(findings), probes=()))
        live.probes_due()
        for inputs in live.simulations_due(findings.at):
            simulator.submit(inputs.database, inputs)

    recording = read_back(recording_bytes(ticks))
    state = host_state_for(recording.header.config)
    replayed = [replace(each, probes=()) for each in replay(recording, state, InlineSimulator())]

    assert expected == replayed
    assert any(isinstance(s.databases[0].recommended, Known) for s in replayed if s.databases)


def test_the_runs_of_fio_count_in_a_replay_as_they_did_then() -> None:
    """The longer one was done: it is not wanted again."""
    first = {"fio": known(a_fio(10.0, 1e8), at=10.0), "fio_ended": FioEnded(10.0, "measured")}
    second = {"fio": known(a_fio(725.0, 1e8), at=725.0), "fio_ended": FioEnded(725.0, "measured")}
    never = Missing("not_yet_measured", "fio has not answered yet")
    ticks = tuple(
        findings_of(
            at,
            devices=(device_findings(**({"fio": never, "budget": BUDGET} | seen)),),
            pause=Missing("not_paused", "the operator has not paused the probes"),
        )
        for at, seen in (
            (0.0, {}),
            (5.0, {"fio_active": True}),
            (15.0, first),
            (700.0, first),
            (705.0, first | {"fio_active": True}),
            (730.0, second),
            (1500.0, second),
        )
    )
    state = host_state_for(HEADER.config)
    probing = [each.devices[0].probing for each in replay(ticks, state, InlineSimulator())]
    assert [said.reason for said in probing if said is not None] == [
        "first_measurement",
        "running",
        "measured_recently",
        "first_long_run",
        "running",
        "measured_recently",
        "measured_recently",
    ]


class Simulating:
    """Answers as told, whatever it is asked."""

    def __init__(self, answers: Mapping[str, Simulated | Missing]) -> None:
        self.submitted: list[str] = []
        self._answers = answers

    def submit(self, database: str, inputs: ModelInputs) -> None:
        del inputs
        self.submitted.append(database)

    def answers(self) -> Mapping[str, Simulated | Missing]:
        return self._answers

    def keep(self, databases: Collection[str]) -> None:
        pass

    def close(self) -> None:
        pass


class Asking:
    """Decisions that want a simulation at two of three moments."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object, float]] = []

    def advance(self, findings: Findings) -> Snapshot:
        return replace(snapshot(), at=findings.at)

    def probes_due(self) -> Mapping[str, ProbeRun]:
        return {}

    def simulations_due(self, now: float) -> tuple[ModelInputs, ...]:
        return (INPUTS,) if now < 3.0 else ()

    def take_simulated(self, database: str, answer: object, at: float) -> None:
        self.heard.append((database, answer, at))


def test_the_simulator_answers_between_the_ticks() -> None:
    """In the order of the ticks and in the recording's own time, however fast the replay runs."""
    why = Missing("simulator_failed", "the test says so")
    state, simulator = Asking(), Simulating({"orders": why})
    snapshots = replay(map(findings_of, (1.0, 2.0, 3.0)), cast(HostState, state), simulator)

    assert [each.at for each in snapshots] == [1.0, 2.0, 3.0]
    assert simulator.submitted == [INPUTS.database] * 2
    assert [("orders", why, 1.0), ("orders", why, 2.0), ("orders", why, 3.0)] == state.heard


def measured(database: DatabaseSnapshot) -> DatabaseSnapshot:
    """With a measured model, calibrated, and recommended."""
    use = ResourceUse("device_write", "bytes", 4782.0, 1e8, 20_000.0, "test")
    estimate = Estimate("bottleneck", 20_000.0, 0.5, (use,), (), "test", AT)
    calibrated = CalibratedEstimate(
        "bottleneck", 20_500.0, 18_000.0, 23_000.0, 1.025, "labels", 12, 0.95, 12, 0.9, None, "high"
    )
    return replace(
        database,
        estimates=Known((estimate,), "test", AT),
        calibrated=Known((calibrated,), "test", AT),
        recommended_model="bottleneck",
        bottleneck="device_write",
    )


def test_a_row_tells_rates_interval_limit_phase_and_stall() -> None:
    """The published models as they are, the measured one corrected."""
    row = row_of(measured(busy_database()), 30.0)

    assert row.observed == 57_000.0
    assert dict(row.by_model) == {"v4": 114_000.0, "v4.1": 131_670.0, "bottleneck": 20_500.0}
    assert row.interval == (18_000.0, 23_000.0)
    assert row.bottleneck == "device_write"
    assert row.phase == "middle"
    assert row.writes == "error"  # it has a background error, which outweighs its delay


def test_a_row_of_a_database_that_is_gone_is_all_unknown() -> None:
    """Nothing is made up."""
    assert row_of(lost_database(), 5.0) == Row(5.0, None, {}, None, None, None, None, None)


def test_the_worst_stall_is_shown() -> None:
    """A stop outweighs a delay."""
    database = replace(busy_database(), background_error=Known(None, "log", AT))
    assert isinstance(database.stalls, Known)
    (delayed,) = database.stalls.value
    stopped = replace(delayed, state="stopped", cause="memtables")
    both = replace(database, stalls=Known((delayed, stopped), "log", AT))

    assert row_of(database, 0.0).writes == "delayed l0_files"
    assert row_of(both, 0.0).writes == "stopped memtables"
    assert row_of(replace(both, stalls=Known((), "log", AT)), 0.0).writes == "flowing"


def test_a_table_is_aligned_and_shows_what_is_unknown() -> None:
    """Models that come later have a column from the beginning."""
    rows = [
        Row(0.0, None, {}, None, None, None, None, None),
        Row(3690.0, 950.0, {"v4": 114_000.0}, 114_000.0, (9.0, 1e6), "cpu", "final", "flowing"),
    ]

    assert list(table_lines(rows)) == [
        "   time  observed       v4  recommended   90 % interval  bottleneck  phase  writes",
        "0:00:00         -        -            -               -  -           -      -",
        "1:01:30       950  114,000      114,000  9 .. 1,000,000  cpu         final  flowing",
    ]


def test_a_table_can_be_of_one_model() -> None:
    """``--model``."""
    rows = [Row(0.0, 1.0, {"v4": 2.0, "v4.1": 3.0}, 3.0, None, None, "final", "flowing")]

    assert next(table_lines(rows, "v4.1")).split()[:4] == [
        "time",
        "observed",
        "v4.1",
        "recommended",
    ]


def test_time_is_hours_minutes_seconds() -> None:
    """Since the beginning, also beyond a day."""
    assert [time_text(s) for s in (0.0, 59.9, 3661.0, 100_000.0)] == [
        "0:00:00",
        "0:00:59",
        "1:01:01",
        "27:46:40",
    ]


def ended(capsys: pytest.CaptureFixture[str], path: str, **options: Any) -> tuple[int, str, str]:
    """Exit code, output and errors of ``smaxd replay``."""
    chosen = {"as_json": False, "at": None, "every_seconds": 30.0, "model": None} | options
    code = print_replay(path, **chosen)
    output = capsys.readouterr()
    return code, output.out, output.err


def times_of(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[2:]]


def test_a_replay_prints_a_table_per_database(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """Every 30 s, and the end."""
    code, output, errors = ended(capsys, recorded)

    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "orders"
    assert times_of(output) == ["0:00:30", "0:01:00", "0:01:30", "0:01:50"]
    assert "v4.1" in output.splitlines()[1]


def test_the_distance_of_the_rows_can_be_chosen(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """``--every``."""
    _, output, _ = ended(capsys, recorded, every_seconds=50.0)

    assert times_of(output) == ["0:00:50", "0:01:40", "0:01:50"]


@pytest.mark.parametrize(
    ("at", "time"), [("last", "0:01:50"), ("45", "0:00:40"), ("1e9", "0:01:50")]
)
def test_one_moment_can_be_chosen(
    capsys: pytest.CaptureFixture[str], recorded: str, at: str, time: str
) -> None:
    """``--at``: the last tick until then."""
    assert times_of(ended(capsys, recorded, at=at)[1]) == [time]


def test_json_is_one_status_document_per_tick(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """The same keys as ``smaxd status --json``, and the seconds since the beginning."""
    code, output, _ = ended(capsys, recorded, as_json=True)
    documents = [json.loads(line) for line in output.splitlines()]

    assert code == 0
    assert [10.0 * number for number in range(12)] == [d["seconds"] for d in documents]
    assert documents[-1]["databases"][0]["name"] == "orders"
    assert documents[-1]["tick"] == 12


def test_json_of_one_model_has_only_its_predictions(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """``--json --at last --model v4``."""
    _, output, _ = ended(capsys, recorded, as_json=True, at="last", model="v4")
    (line,) = output.splitlines()

    assert [each["model"] for each in json.loads(line)["databases"][0]["predictions"]] == ["v4"]


def test_an_unknown_model_is_named_with_those_there_are(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """Exit 2, one line."""
    code, output, errors = ended(capsys, recorded, model="v5")

    assert (code, output) == (2, "")
    assert errors.startswith("smaxd: --model v5: no such model here; known: v4, v4.1")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("at", ["soon", "-1", "nan", ""])
def test_a_moment_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], recorded: str, at: str
) -> None:
    """Exit 2, one line."""
    assert ended(capsys, recorded, at=at) == (
        2,
        "",
        f"smaxd: --at {at}: must be a number of seconds from 0, or last\n",
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"not one", "not a recording of smaxd"),
        (recording_bytes(()), "holds no tick"),
    ],
)
def test_another_file_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, raw: bytes, message: str
) -> None:
    """Exit 2."""
    path = tmp_path / "x.rec"
    path.write_bytes(raw)

    assert ended(capsys, str(path)) == (2, "", f"smaxd: {path}: {message}\n")


def test_a_cut_recording_is_replayed_with_a_remark(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """The daemon was killed: what it wrote is worth something."""
    raw = Path(recorded).read_bytes()
    Path(recorded).write_bytes(raw[: len(raw) - 300])
    code, output, errors = ended(capsys, recorded)

    assert code == 0
    assert len(times_of(output)) > 0
    assert errors == (
        f"smaxd: {recorded}: its last tick is incomplete: the daemon was killed, or the file was "
        "cut\n"
    )


def test_a_damaged_recording_is_replayed_up_to_the_damage(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """The table of what was read, then the error, exit 2."""
    encoder = TickEncoder()
    lines = [encoder.header(HEADER), *map(encoder.tick, captured_ticks(DATABASE)), b"{}\n"]
    Path(recorded).write_bytes(packed(lines))
    code, output, errors = ended(capsys, recorded)

    assert code == 2
    assert times_of(output)[-1] == "0:01:50"
    assert errors == f"smaxd: {recorded}: damaged at tick 13: 'tick'\n"


def test_missing_ticks_and_a_reached_limit_are_remarked(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """Both mean that the replay is not all that happened."""
    encoder, (first, second, *_) = TickEncoder(), captured_ticks(DATABASE)
    lines = [
        encoder.header(HEADER),
        encoder.tick(first),
        encoder.tick(second, 4),
        encoder.end("limit"),
    ]
    Path(recorded).write_bytes(packed(lines))
    code, _, errors = ended(capsys, recorded)

    assert code == 0
    assert errors == (
        f"smaxd: {recorded}: ends at its size limit (--record-limit-mib)\n"
        f"smaxd: {recorded}: 4 ticks are missing: the disk did not take them in time\n"
    )

"""A made-up past: samples as four databases of a busy host would leave them, without chance."""

import math
import random
from collections.abc import Iterator

from agent.history.columns import DATABASES, DEVICES, MODELS
from agent.history.sample import AlertEvent, EpisodeEvent, ModelScore, Sample, SampleRow
from agent.learning.episodes import Episode

MIB = 1048576.0
START = 1_790_000_000 // 86400 * 86400
"""A midnight, UTC."""

NAMES = ("orders", "sessions", "events", "search")
MODEL_NAMES = ("bottleneck", "simulator", "v4", "v4.1")
DAY = 86400


def samples(
    seconds: int, databases: int = 4, start: int = START, step: int = 10, seed: int = 7
) -> Iterator[Sample]:
    """One sample every ``step`` seconds: load by the time of day, and once a day too much of it."""
    chance = random.Random(seed)  # noqa: S311 - noise, no secret
    for wall in range(start, start + seconds, step):
        yield sample_at(wall, databases, chance, first=wall == start)


def sample_at(wall: int, databases: int, chance: random.Random, *, first: bool = False) -> Sample:
    """The sample of one moment."""
    rows: list[SampleRow] = []
    for number, name in enumerate(NAMES[:databases]):
        rows += _database_rows(wall, number, name, chance)
    for number in range(databases):
        rows.append(_device_row(number, chance))
    return Sample(float(wall), tuple(rows), (), (), (), first=first)


def _database_rows(wall: int, number: int, name: str, chance: random.Random) -> Iterator[SampleRow]:
    day = 0.5 - 0.5 * math.cos(2 * math.pi * (wall % DAY) / DAY)
    s_max = (60_000 + 9_000 * number) * chance.uniform(0.97, 1.03)
    puts = s_max * (0.25 + 0.85 * day**3) * chance.uniform(0.93, 1.07)
    held = max(0.0, puts / s_max - 1.0)
    puts = min(puts, 1.04 * s_max)
    headroom = 1.0 - puts / s_max
    busy = puts / s_max > 0.8
    yield SampleRow(
        DATABASES,
        (name, ""),
        (
            puts,
            s_max,
            0.85 * s_max,
            1.2 * s_max,
            headroom,
            1.0 - puts / (0.85 * s_max),
            "simulator" if busy else "bottleneck",
            "final" if wall - START > 3 * DAY else "middle",
            "device_write" if busy else "compaction_threads",
            f"nvme{number}n1",
            max(0.0, 900 * MIB - 8000 * puts),
            chance.uniform(40, 60) * MIB,
            4000 * puts,
            2e9 * day * chance.uniform(0.8, 1.2),
            1e9 * day * chance.uniform(0.8, 1.2),
            min(10.0, 20.0 * held),
            min(10.0 - min(10.0, 20.0 * held), 60.0 * held),
            120.0 if busy and not held else 0.0 if held else math.inf,
            float(held > 0.0),
            0.0,
            1040.0,
            chance.uniform(6.0, 7.0),
            3.5e11,
            chance.uniform(1.0, 3.0),
        ),
    )
    for place, model in enumerate(MODEL_NAMES):
        said = s_max * (0.8 + 0.1 * place)
        yield SampleRow(MODELS, (name, model), (said, said * 1.02))


def _device_row(number: int, chance: random.Random) -> SampleRow:
    return SampleRow(
        DEVICES,
        (f"nvme{number}n1", ""),
        (
            chance.uniform(1100, 1150) * MIB,
            0.97,
            chance.uniform(300, 500) * MIB,
            chance.uniform(100, 200) * MIB,
            chance.uniform(0.0002, 0.0009),
            chance.uniform(1.0, 6.0),
            0.07,
        ),
    )


def episode(database: str, started: int, seconds: int = 900, **changes: object) -> EpisodeEvent:
    """A saturation episode of a database."""
    fields: dict[str, object] = {
        "kind": "delay",
        "status": "closed",
        "puts_per_second": 61_500.0,
        "log_uncertainty": 0.05,
        "started_at": 0.0,
        "ended_at": float(seconds),
        "started_wall_seconds": float(started),
        "ended_wall_seconds": float(started + seconds),
        "measured_seconds": 600.0,
        "stopped_ratio": 0.02,
        "delayed_ratio": 0.6,
        "debt_share": 0.01,
        "cause": "l0_files",
        "options_key": "k",
    }
    return EpisodeEvent(database, Episode(**{**fields, **changes}))  # type: ignore[arg-type]


def alert(
    name: str, started: int, ended: int | None = None, *, database: str = "", device: str = ""
) -> AlertEvent:
    """An alert that began, or is over."""
    severity = "critical" if name == "RocksdbWriteStopped" else "warning"
    end = None if ended is None else float(ended)
    return AlertEvent(
        name, severity, database, device, float(started), end, f"{name} of {database or device}"
    )


def score(database: str, model: str, labels: int, accuracy: float) -> ModelScore:
    """What a model had scored."""
    return ModelScore(database, model, labels, accuracy, 0.9)


def events(wall: int, *happened: EpisodeEvent | AlertEvent | ModelScore) -> Sample:
    """A sample of events only."""
    return Sample(
        float(wall),
        (),
        tuple(one for one in happened if isinstance(one, EpisodeEvent)),
        tuple(one for one in happened if isinstance(one, AlertEvent)),
        tuple(one for one in happened if isinstance(one, ModelScore)),
        first=False,
    )


def reviewed_week() -> list[Sample]:
    """A week of two databases with a night of outage, saturation, alerts and scores."""
    week = [
        s for s in samples(7 * DAY, 2, step=60) if not 2.2 < (s.wall_seconds - START) / DAY < 2.5
    ]
    noon = START + 4 * DAY + 43_200
    week.append(
        events(
            START + 7 * DAY - 60,
            episode("orders", noon - 1800),
            episode("orders", noon + DAY, 1500, kind="stop", cause="pending_compaction_bytes"),
            alert("RocksdbWriteStopped", noon - 600, noon, database="orders"),
            alert("RocksdbWriteHeadroomLow", noon - 7200, noon + 9000, database="orders"),
            alert("SsdWriteBandwidthDegraded", noon + DAY, None, device="nvme0n1"),
            score("orders", "bottleneck", 2, 0.93),
            score("orders", "v4", 2, 0.41),
        )
    )
    return week

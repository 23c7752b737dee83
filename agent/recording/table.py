"""Snapshots as a table over time, one per database: what ``smaxd replay`` prints. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.readings import Known, value_of
from agent.snapshot import DatabaseSnapshot

UNKNOWN = "-"
"""Where a number is not known; why is in the JSON."""

GAP = "  "


@dataclass(frozen=True, slots=True)
class Row:
    """What one database looked like ``seconds`` after the recording began; rates in puts/s."""

    seconds: float
    observed: float | None
    by_model: Mapping[str, float]
    recommended: float | None
    interval: tuple[float, float] | None
    bottleneck: str | None
    phase: str | None
    writes: str | None  # "flowing", "delayed l0_files", "error", ...


def row_of(database: DatabaseSnapshot, seconds: float) -> Row:
    """One database of one snapshot."""
    phase = value_of(database.phase)
    recommended = value_of(database.recommended)
    return Row(
        seconds=seconds,
        observed=value_of(database.observed_puts_per_second),
        by_model=_by_model(database),
        recommended=None if recommended is None else recommended.puts_per_second,
        interval=_interval(database),
        bottleneck=database.bottleneck,
        phase=None if phase is None else phase.name,
        writes=_writes(database),
    )


def models_of(rows: Iterable[Row]) -> list[str]:
    """Every model that gave a rate in any row, in order of appearance."""
    return list(dict.fromkeys(model for row in rows for model in row.by_model))


def table_lines(rows: list[Row], model: str | None = None) -> Iterator[str]:
    """Head and rows, aligned; of the models only ``model`` if given."""
    models = [name for name in models_of(rows) if model in (None, name)]
    head = ["time", "observed", *models, "recommended", "90 % interval", "bottleneck", "phase"]
    cells = [[*head, "writes"], *([*_cells(row, models)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = len(models) + 4
    for line in cells:
        padded = [
            text.rjust(width) if index < numbers else text.ljust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield GAP.join(padded).rstrip()


def time_text(seconds: float) -> str:
    """Hours, minutes and seconds since the beginning: 0:01:30."""
    if not math.isfinite(seconds):
        return "?"  # of a recording with damaged clocks
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _cells(row: Row, models: list[str]) -> Iterator[str]:
    yield time_text(row.seconds)
    yield _rate(row.observed)
    for model in models:
        yield _rate(row.by_model.get(model))
    yield _rate(row.recommended)
    yield UNKNOWN if row.interval is None else " .. ".join(map(_rate, row.interval))
    yield row.bottleneck or UNKNOWN
    yield row.phase or UNKNOWN
    yield row.writes or UNKNOWN


def _by_model(database: DatabaseSnapshot) -> dict[str, float]:
    """The published models as they are; the measured ones corrected where they are calibrated."""
    rates = {each.model: each.puts_per_second for each in value_of(database.estimates) or ()}
    rates |= {each.model: each.puts_per_second for each in value_of(database.calibrated) or ()}
    published = {each.model: each.puts_per_second for each in value_of(database.predictions) or ()}
    return published | {name: rate for name, rate in rates.items() if name not in published}


def _interval(database: DatabaseSnapshot) -> tuple[float, float] | None:
    for each in value_of(database.calibrated) or ():
        if each.model == database.recommended_model:
            return (each.lower, each.upper)
    return None


def _writes(database: DatabaseSnapshot) -> str | None:
    if isinstance(database.background_error, Known) and database.background_error.value:
        return "error"
    stalls = value_of(database.stalls)
    if stalls is None:
        return None
    worst = sorted(stalls, key=lambda stall: stall.state != "stopped")
    return f"{worst[0].state} {worst[0].cause}" if worst else "flowing"


def _rate(puts_per_second: float | None) -> str:
    return UNKNOWN if puts_per_second is None else f"{puts_per_second:,.0f}"

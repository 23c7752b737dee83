"""The numbers that the rules watch, taken out of one tick's findings."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from agent.alerts.rules import Observation
from agent.models.estimate import INTERVAL_LEVEL
from agent.probe_state import ProbeState
from agent.readings import Known, Missing, Quantity, value_of
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot

LEAST_DEBT_BYTES: Final = 2**30
"""Less compaction debt than this is the to and fro of a healthy tree: seconds of work."""

LEAST_EPISODES: Final = 10
"""A share of fewer episodes says little; of ten, a true 90 % interval misses four once in eighty
times."""


def observations(
    databases: Sequence[DatabaseSnapshot],
    devices: Sequence[DeviceSnapshot],
    probes: Sequence[ProbeState],
) -> Iterator[Observation]:
    """Every rule's number on every subject."""
    for database in databases:
        yield from _of_database(database)
    for device in devices:
        ratio = value_of(device.capacity_ratio)
        yield Observation(
            "device_bandwidth_declined",
            "",
            device.name,
            ratio,
            f"{device.name} writes at {_percent(ratio)} of the best rate known of it",
        )
    yield from _of_probes(
        probes, {database.name for database in databases}, {device.name for device in devices}
    )


def _of_probes(
    probes: Iterable[ProbeState], database_names: set[str], device_names: set[str]
) -> Iterator[Observation]:
    """One observation per target: a database whose disk died is one alert, not eight."""
    by_target: dict[str, list[ProbeState]] = {}
    for probe in probes:
        by_target.setdefault(probe.target, []).append(probe)
    for target, states in by_target.items():
        failing = [s for s in states if s.success is False and not s.absent]
        answered = any(s.success is not None for s in states)
        yield Observation(
            "probe_failing",
            target if target in database_names else "",
            target if target in device_names else "",
            float(bool(failing)) if answered else None,
            "; ".join(f"probe {s.probe} on {target}: {s.detail}" for s in failing),
        )


def _of_database(database: DatabaseSnapshot) -> Iterator[Observation]:
    name = database.name
    device = next((p.device for p in database.places if p.role == "data" and p.device), "")
    headroom = value_of(database.headroom_lower_ratio)
    left = database.available_bytes_per_second
    if headroom is None and isinstance(left, Missing) and left.reason == "no_bandwidth_left":
        headroom = -math.inf  # no model has a number there, and nothing could be worse
    summary = (
        f"{name} takes {_number(database.observed_puts_per_second)} puts/s of a sustainable "
        f"{_number_of_recommended(database)}"
    )
    for rule in ("headroom_low_warning", "headroom_low_critical"):
        yield Observation(rule, name, device, headroom, summary)
    dropped = value_of(database.s_max_ratio)
    yield Observation(
        "s_max_dropped",
        name,
        device,
        dropped,
        f"S_max of {name} is at {_percent(dropped)} of its recent median",
    )
    for rule, state, doing in (
        ("write_stopped", "stopped", "has stopped"),
        ("write_delayed", "delayed", "delays"),
    ):
        value, causes = None, ""
        if isinstance(database.stalls, Known):
            found = {stall.cause for stall in database.stalls.value if stall.state == state}
            value, causes = float(bool(found)), ", ".join(sorted(found))
        elif database.stalls.reason == "not_open":
            value = 0.0  # a fact, not missing data: nobody is held back any more
        yield Observation(rule, name, device, value, f"RocksDB {doing} writes to {name}: {causes}")
    yield _stall_ahead(database, device)
    yield _compaction_debt_growing(database, device)
    yield _model_miscalibrated(database, device)
    error = database.background_error
    broken: float | None = None
    if isinstance(error, Known):
        broken = float(error.value is not None)
    elif error.reason == "not_open":
        broken = 0.0
    message = error.value.message if isinstance(error, Known) and error.value else ""
    yield Observation(
        "background_error", name, device, broken, f"{name} accepts no writes: {message}"
    )
    stale = isinstance(database.observed_puts_per_second, Missing) or isinstance(
        database.recommended, Missing
    )
    yield Observation(
        "data_stale", name, device, float(stale), f"no current S_max or put rate for {name}"
    )


def _stall_ahead(database: DatabaseSnapshot, device: str) -> Observation:
    """Seconds to the next stall; the forecast has persistence and hysteresis of its own."""
    quantity = database.time_to_stall_seconds
    seconds = value_of(quantity)
    if isinstance(quantity, Missing) and quantity.reason == "not_open":
        seconds = math.inf  # a fact, not missing data: nobody writes
    outlook = database.stall_outlook
    why = "" if outlook is None else f": {outlook.detail}"
    when = "now" if not seconds else f"in about {seconds:.0f} s"
    return Observation(
        "stall_ahead",
        database.name,
        device,
        seconds,
        f"writes to {database.name} will stall {when}{why}",
    )


def _compaction_debt_growing(database: DatabaseSnapshot, device: str) -> Observation:
    """Seconds until the compaction debt is cleared: infinite while it grows."""
    debt, clear = value_of(database.debt_bytes), value_of(database.debt_clear_seconds)
    if isinstance(database.stalls, Missing) and database.stalls.reason == "not_open":
        debt = 0.0  # a fact, not missing data: nobody writes
    seconds = 0.0 if debt is not None and debt < LEAST_DEBT_BYTES else clear
    amount = "unknown" if debt is None else f"{debt / 2**30:.1f} GiB"
    trend = "grows" if seconds is None or math.isinf(seconds) else f"takes {seconds:.0f} s to clear"
    return Observation(
        "compaction_debt_growing",
        database.name,
        device,
        seconds,
        f"the compaction debt of {database.name} is {amount} and {trend}",
    )


def _model_miscalibrated(database: DatabaseSnapshot, device: str) -> Observation:
    """The share of saturation episodes inside the interval that was published before them."""
    estimate = value_of(database.recommended)
    enough = estimate is not None and estimate.judged >= LEAST_EPISODES
    coverage = estimate.coverage_ratio if estimate is not None and enough else None
    return Observation(
        "model_miscalibrated",
        database.name,
        device,
        coverage,
        f"only {_percent(coverage)} of the saturation episodes of {database.name} lay inside the "
        f"{_percent(INTERVAL_LEVEL)} interval that was published for S_max",
    )


def _percent(ratio: float | None) -> str:
    return "an unknown share" if ratio is None else f"{100 * ratio:.0f} %"


def _number(quantity: Quantity) -> str:
    value = value_of(quantity)
    return "an unknown number of" if value is None else f"{value:,.0f}"


def _number_of_recommended(database: DatabaseSnapshot) -> str:
    estimate = value_of(database.recommended)
    if estimate is None:
        return "number not known"
    text = f"{estimate.puts_per_second:,.0f}"
    if database.headroom_lower_ratio != database.headroom_ratio:
        text += f", and of {estimate.lower:,.0f} for sure"
    return text

"""The wall clock is set an hour forwards, backwards and right again under real processes.

Daemon, database, fio and all see the same clock; ``test_faults_clock`` has the moments in between.
"""

import time
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, Page, daemon, write_config, writing
from tests.integration.demands import RECOMMENDED, Demands, demands, written_by_fio
from tests.integration.faults import calm_host, needs_fio, ticks
from tests.integration.set_clock import HostClock, host_clock, needs_a_compiler

pytestmark = pytest.mark.long

CONFIG = (
    "fio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 3600}\n"
    "secondary: {interval_seconds: 1, cpu_share_ratio: 1}\n"
)
HOUR = 3600
MINUTE = 60.0
KNOWN = ("observed_puts_per_second", RECOMMENDED, "headroom_ratio", "estimated_keys")
ENOUGH_TICKS = 15


def set_to(ahead_seconds: int, clock: HostClock, running: Daemon, demanded: Demands) -> Page:
    """Set the clock, and return what is published once the daemon has ticked for a while by it."""
    clock.set(ahead_seconds)
    before = ticks(running.page())
    running.wait_until(
        lambda page: (
            ticks(page) >= before + ENOUGH_TICKS
            and abs(running.status()["time"] - time.time() - ahead_seconds) < MINUTE
        ),
        f"ticks by a clock {ahead_seconds} s ahead",
    )
    return demanded.others_go_on()


def ages(page: Page) -> list[float]:
    return [value for _, value in page.samples("smax_estimate_age_seconds")]


def fio_runs(page: Page) -> float:
    return sum(value for _, value in page.samples("smaxd_fio_runs_total"))


@needs_fio
@needs_a_compiler
def test_a_clock_that_is_set_changes_nothing_of_what_is_published(place: Path) -> None:
    """No number made up or lost, none old or from the future, no alert, no run of fio, no byte of
    the budget given back; and a start by a clock that went back finds all that was kept."""
    clock, database = host_clock(place), place / "db"
    name = str(database)
    words = ("--config", write_config(place, CONFIG), "--db", name)
    library, file = str(clock.library), str(clock.file)
    with writing(database, LD_PRELOAD=library, SET_CLOCK_FILE=file):
        with (
            daemon(
                place,
                *words,
                PYTHONPATH=calm_host(place),
                LD_PRELOAD=library,
                SET_CLOCK_FILE=file,
            ) as running,
            demands(running, place, database) as demanded,
        ):
            before = demanded.published(database, *KNOWN)
            pages = [set_to(ahead, clock, running, demanded) for ahead in (HOUR, -HOUR, 0)]
            demanded.published(database, *KNOWN)
        clock.set(-HOUR)
        with (
            daemon(place, *words, LD_PRELOAD=library, SET_CLOCK_FILE=file) as following,
            demands(following, place, database),
        ):
            again = following.page()

    for metric in ("smax_observed_puts_per_second", "smax_recommended_puts_per_second"):
        values = [page.value(metric, db=name) or 0.0 for page in (before, *pages)]
        assert max(values) < 5.0 * min(values), f"{metric}: {values}"
    for page in pages:
        assert [age for age in ages(page) if not 0.0 <= age < 10.0 * MINUTE] == []
        assert fio_runs(page) == fio_runs(before)
        assert page.samples("smax_estimated_keys", db=name) != []
    assert running.events("alert_began") == []
    assert written_by_fio(again) == written_by_fio(before) > 0.0
    assert [line for line in following.events("state_loaded") if "learned.json" in line] != []

"""Faults that overlap: two or three at a time, drawn by a seed, from the table of all of them.

Each alone has a test of its own. Here one daemon lives through a sequence of rounds: faults come in
any order, last together, and go in any order. A run's name has its seed: it is had again by
``--fault-seed``, and ``--fault-runs`` has more of them, with the seeds that follow.
"""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from agent.database_metrics import DATABASE_GAUGES
from tests.integration.daemon import Page, workplace, writing
from tests.integration.demands import METRIC, RECOMMENDED, demands, is_fresh
from tests.integration.fault_stage import Stage
from tests.integration.fault_table import (
    FAULTS,
    RELOADED,
    draw,
    healing_order,
)
from tests.integration.faults import eventually, needs_fio, probe
from tests.integration.owner import counts_all
from tests.integration.volume import MIB, mounted_volume, needs_volumes

pytestmark = [pytest.mark.long, pytest.mark.timeout(600), needs_fio, needs_volumes]

ROUNDS = 6
"""A run takes a minute, on a busy host one and a half."""

LASTS_SECONDS = (1.0, 5.0)
"""How long all faults of a round last together."""

UNREACHABLE = frozenset({"suspended", "killed"})
"""What keeps the daemon from answering."""

CONFIG = (
    "fio: {size_mib: 8, runtime_seconds: 1, interval_seconds: 10}\n"
    "secondary: {interval_seconds: 1, timeout_seconds: 1, cpu_share_ratio: 1}\n"
)
BOTH = frozenset({*(attribute for attribute, _, _ in DATABASE_GAUGES), RECOMMENDED})
"""Each is published or has a reason, never both, never neither."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--fault-seed")
        if first is None:
            first = random.SystemRandom().randrange(10**6)
        metafunc.parametrize(
            "seed", range(first, first + metafunc.config.getoption("--fault-runs"))
        )


@pytest.fixture
def other() -> Iterator[Path]:
    """A database that nothing happens to."""
    with workplace() as path, writing(path / "db"):
        yield path / "db"


def test_faults_that_overlap_cost_what_each_costs_alone(
    place: Path, other: Path, seed: int
) -> None:
    """What they do not touch is fresh all the time, and each round leaves nothing but its log."""
    choose = random.Random(seed)  # noqa: S311 - a sequence to be had again, no secret
    with (
        mounted_volume(place, 48 * MIB) as volume,
        Stage(place, volume, place / "db", other, CONFIG) as stage,
    ):
        with demands(stage.start(), place, other, state=stage.state) as stage.demanded:
            is_whole(stage)
            for number in range(ROUNDS):
                one_round(stage, choose, f"seed {seed}, round {number}")
        stage.end_life()
        assert 0 < stage.seen_bytes <= stage.accounted_bytes()


def one_round(stage: Stage, choose: random.Random, title: str) -> None:
    names = draw(choose, choose.choice([2, 2, 3]))
    order = healing_order(choose, names)
    began, active = time.monotonic(), set[str]()
    print(f"{title}: {' + '.join(names)}; goes: {', '.join(order)}", flush=True)
    with ExitStack() as all_of_them:
        lasting: dict[str, ExitStack] = {}
        for name in in_reach(names):
            lasting[name] = all_of_them.enter_context(ExitStack())
            lasting[name].enter_context(FAULTS[name].begin(stage))
            active.add(name)
            look(stage, active)
            time.sleep(choose.uniform(0.0, 0.5))
        give_up = time.monotonic() + choose.uniform(*LASTS_SECONDS)
        while time.monotonic() < give_up:
            time.sleep(0.2)
            look(stage, active)
        is_felt(stage, active)
        for name in order:
            lasting[name].close()
            active.remove(name)
            if name in UNREACHABLE:
                stage.demanded.others_go_on()
            look(stage, active)
    is_whole(stage)
    print(f"{title}: whole again after {time.monotonic() - began:.0f} s", flush=True)


def in_reach(names: list[str]) -> list[str]:
    """A daemon that is to be told of something must still answer: its own end comes last."""
    return sorted(names, key=lambda name: name in UNREACHABLE)


def look(stage: Stage, active: set[str]) -> None:
    """What must hold at every moment at which the daemon answers."""
    if active & UNREACHABLE:
        return
    page = stage.running.page()
    assert stage.running.get("/healthz") == (200, "ok\n")
    assert is_fresh(page, stage.other), f"under {active}:\n{page.text}"
    for database in (stage.database, stage.other):
        assert not contradictions(page, database), f"under {active}:\n{page.text}"
    stage.count_fio()


def contradictions(page: Page, database: Path) -> frozenset[str]:
    """The quantities that are published with a reason for their absence, or absent without one."""
    name = str(database)
    published = {quantity for quantity in BOTH if page.samples(METRIC[quantity], db=name)}
    absent = BOTH & page.reasons(name).keys()
    # Of one that is not watched now there is nothing to tell.
    return BOTH - (published ^ absent) if published or absent else frozenset()


def is_felt(stage: Stage, active: set[str]) -> None:
    """What each fault takes away is away, for its reason or that of another one of now."""
    if active & UNREACHABLE or "unwatched" in active:
        return
    faults = [FAULTS[name] for name in active]
    reasons = {reason for fault in faults for reason in fault.reasons}
    for fault in faults:
        if fault.gone:
            stage.demanded.absent(stage.database, reasons, *fault.gone)
        if not active & fault.under:
            eventually(partial(fault.met, stage.running), "the fault has met what it is for")


def is_whole(stage: Stage) -> None:
    """Everything is there again, and goes on being there."""
    running = stage.running
    stage.demanded.published(
        stage.database, RECOMMENDED, "observed_puts_per_second", "estimated_keys", "cpu_cores"
    )
    running.wait_until(
        lambda page: (
            probe(running, "fio").get("success")
            and probe(running, "secondary", str(stage.database)).get("success")
            and page.value(RELOADED) == 1.0
            and not page.value("smaxd_pause_remaining_seconds")
            and not page.samples("smaxd_fio_gate_closed", reason="budget_not_kept")
            and not unsaved(stage)
        ),
        "all probes succeed, and all is saved",
    )
    stage.demanded.others_go_on()
    counts_all(running, stage.owner, stage.database)
    stage.count_fio()


def unsaved(stage: Stage) -> set[str]:
    """The files of which the last that the log tells is that they could not be saved."""
    files: set[str] = set()
    for line in stage.running.log_file.read_text().splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if words.get("event") == "state_not_saved":
            files.add(words["file"])
        elif words.get("event") == "state_saved_again":
            files.discard(words["file"])
    return files

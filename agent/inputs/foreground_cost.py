"""What a put costs the application's own threads, at saturation. Pure.

At low load a thread sleeps and wakes for nearly every put, and finds its caches cold; at saturation
it does not. On one host a put took 6 us of CPU in a closed loop, and in an open loop 25 us at 1,000
puts/s, 15 at 5,000, 9 at 20,000. How often a thread got a core per put tells how far the measured
cost is to be trusted.
"""

from dataclasses import dataclass
from typing import Final

from agent.demands.demands import Demands
from agent.models.estimate import MissingInput
from agent.readings import Known, Missing

TRUST_LOST_PER_RUN: Final = 0.3
"""Weight, in log space, that the prior takes from the measured cost when every put wakes a thread:
not all, because the measured cost knows the host's speed, and the prior does not. What was found to
fit: 0.4 to 0.7 with one writer, 0.3 to 0.45 with four, which wait for each other at saturation. A
rate that is too high is the worse mistake, so it is from the lower half."""

PRIOR_SECONDS: Final = 3e-6
PRIOR_SECONDS_PER_BYTE: Final = 2e-9
"""One put through the write path: skip list insertion, WAL record with checksum, write call;
db_bench fillrandom with one thread does 100,000 to 400,000 puts/s on today's cores."""


@dataclass(frozen=True, slots=True)
class ForegroundCost:
    """Core seconds per put, and the part of them that no two puts can spend at the same time."""

    cpu_seconds_per_put: float
    writer_seconds_per_put: float
    source: str
    missing: MissingInput | None = None


def usual_put_seconds(record_bytes: float) -> float:
    """Core seconds of one put where nothing is measured."""
    return PRIOR_SECONDS + PRIOR_SECONDS_PER_BYTE * record_bytes


def foreground_cost(demands: Demands, record_bytes: float) -> ForegroundCost:
    """The measured cost, drawn towards the prior as far as puts wait for their threads to wake.

    Never more than measured. One busy thread writes one put after the other; of several, each
    spends its own part, and the write path groups them (db/write_thread.cc).
    """
    measured = demands.foreground_cpu_seconds
    prior = usual_put_seconds(record_bytes)
    if isinstance(measured, Missing):
        note = MissingInput("foreground_cpu", measured.detail, "a usual put's cost")
        return ForegroundCost(prior, prior, "prior", note)
    runs = demands.foreground_runs
    waking = 0.0 if isinstance(runs, Missing) else TRUST_LOST_PER_RUN * min(1.0, runs.value)
    cost = measured.value
    source = measured.source
    if prior < cost and waking > 0:
        cost = cost ** (1.0 - waking) * prior**waking
        source += f", {waking:.0%} prior for puts that wake a thread"
    busy = demands.foreground_busy_threads
    threads = max(1.0, busy.value) if isinstance(busy, Known) else 1.0
    return ForegroundCost(cost, cost / threads, source)

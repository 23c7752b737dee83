"""What the observer bench says: ratios with intervals, the aims, the price of a probe."""

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config import Config
from tests.bench.figures import machine
from tests.bench.latencies import Latencies, mixed, total_of
from tests.bench.observer_runs import (
    ROUND_WINDOW_SECONDS,
    ProbedLoad,
    ProbedSaturation,
    Round,
    SaturatedRun,
    Timing,
)
from tests.bench.observing_agent import AgentUse
from tests.bench.paired import (
    Aim,
    Estimate,
    median_ratio,
    mixed_throughput,
    resampled,
)

PROBE_INTERVAL_SECONDS = Config().fio.interval_seconds
THROUGHPUT_AIM = Aim(worse_is_lower=True, point_change=0.01, interval_change=0.03)
HISTOGRAM_RESAMPLES = 2000
P99_AIM = Aim(worse_is_lower=False, point_change=0.02, interval_change=0.10)
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@dataclass
class Measured:
    """Everything that was measured; saturation by pair, without and with the agent."""

    place: str
    timing: Timing
    load_ratio: float
    load_puts_per_second: float
    probed_saturations: list[ProbedSaturation] = field(default_factory=list)
    probed_loads: list[ProbedLoad] = field(default_factory=list)
    saturated: dict[bool, dict[int, SaturatedRun]] = field(
        default_factory=lambda: {False: {}, True: {}}
    )
    rounds: list[Round] = field(default_factory=list)

    @property
    def probe_share(self) -> float:
        """Share of time that a probe and its aftermath take at the default cadence."""
        windows = [probed.window_seconds for probed in self.probed_loads]
        return statistics.median(windows) / PROBE_INTERVAL_SECONDS if windows else 0.0

    def throughput_ratios(self) -> list[float]:
        """With the agent over without it, at saturation, pair by pair."""
        return [
            run.puts_per_second / self.saturated[False][pair].puts_per_second
            for pair, run in sorted(self.saturated[True].items())
        ]

    def stopped_latency_ratios(self, quantile: float) -> list[float]:
        """The same of a latency quantile under load, round by round: the agent stopped in turn."""
        return [
            each.latencies[True].quantile(quantile) / each.latencies[False].quantile(quantile)
            for each in self.rounds
        ]

    def latency_estimate(self, quantile: float, *, with_probes: bool) -> Estimate:
        """All puts while the agent could go on, over those of them that were due while it slept.

        Whole rounds are resampled. Probes are mixed in by their share of time.
        """
        both = np.stack([each.latencies[True].counts for each in self.rounds])
        asleep = np.stack([each.asleep.counts for each in self.rounds])

        def ratio(picks: NDArray[np.int64]) -> float:
            weights = np.bincount(picks, minlength=len(self.rounds)).astype(np.float64)
            found = Latencies(weights @ both)
            if with_probes:
                found = mixed(found, self.probed_until_recovered(), self.probe_share)
            return found.quantile(quantile) / Latencies(weights @ asleep).quantile(quantile)

        return resampled(len(self.rounds), ratio, HISTOGRAM_RESAMPLES)

    def probed_until_recovered(self) -> Latencies:
        """Under load, from each probe's start until it was recovered."""
        return total_of([each.until_recovered for each in self.probed_loads])

    def probed_throughput_ratios(self) -> list[float]:
        """During a probe over before it, at saturation."""
        return [probed.during / probed.before for probed in self.probed_saturations]

    def probed_latency_ratios(self, quantile: float) -> list[float]:
        """During a probe over before it, under load."""
        return [
            probed.during.quantile(quantile) / probed.before.quantile(quantile)
            for probed in self.probed_loads
            if probed.during.total and probed.before.total
        ]

    def throughput_ratios_with_probes(self) -> list[float]:
        """As ``throughput_ratios`` with probes mixed in by their share of time."""
        probed = statistics.median(self.probed_throughput_ratios())
        return [mixed_throughput(r, probed, self.probe_share) for r in self.throughput_ratios()]

    def agent_uses(self) -> list[tuple[AgentUse, AgentUse]]:
        """The agent at the begin and end of each window with it."""
        uses = [run.agent for run in self.saturated[True].values()]
        uses += [each.agent for each in self.rounds]
        return [use for use in uses if use is not None]


def text(measured: Measured) -> str:
    """The report for people."""
    facts = machine()
    timing = measured.timing
    lines = [
        f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"load {facts['load']}; on {measured.place}",
        f"throughput: {len(measured.saturated[True])} pairs of {timing.window:g} s after "
        f"{timing.warm_up:g} s of load, in the order A B B A",
        f"latency: {len(measured.rounds)} rounds, each with twice {ROUND_WINDOW_SECONDS:g} s of "
        f"either kind; load {measured.load_puts_per_second:.0f} puts/s, "
        f"{measured.load_ratio:.0%} of what is sustained",
        "with the agent / without (bootstrap 95 % interval); 'stopped in turn': the median of the "
        "rounds' ratios,",
        "while it may go on / while it is stopped; else: all puts while it may go on / those of "
        "them due while it sleeps",
        "",
    ]
    for name, estimate, aim in _estimates(measured):
        verdict = ""
        if aim is not None:
            verdict = f"  {'reached' if aim.reached(estimate) else 'NOT reached'}: {aim.shown()}"
        lines.append(f"{name:52} {estimate.shown():28}{verdict}")
    return "\n".join([*lines, "", *_probe_lines(measured), *_agent_lines(measured)])


def document(measured: Measured) -> dict[str, Any]:
    """The report as JSON: every run's own numbers too, but not every put's."""
    return {
        "machine": machine(),
        "place": measured.place,
        "warm_up_seconds": measured.timing.warm_up,
        "window_seconds": measured.timing.window,
        "load_puts_per_second": measured.load_puts_per_second,
        "probe_share_ratio": measured.probe_share,
        "estimates": [
            {
                "name": name,
                "point": estimate.point,
                "lower": estimate.lower,
                "upper": estimate.upper,
                "pairs": estimate.n,
                "reached": None if aim is None else aim.reached(estimate),
            }
            for name, estimate, aim in _estimates(measured)
        ],
        "saturated_puts_per_second": {
            word: [run.puts_per_second for _, run in sorted(measured.saturated[side].items())]
            for word, side in (("with", True), ("without", False))
        },
        "rounds": [
            {
                "backlog": each.backlog,
                "work_ratio": each.work_ratio,
                "asleep": {name: each.asleep.quantile(q) for name, q in QUANTILES.items()},
                **{
                    word: {
                        name: each.latencies[side].quantile(quantile)
                        for name, quantile in QUANTILES.items()
                    }
                    for word, side in (("with", True), ("without", False))
                },
            }
            for each in measured.rounds
        ],
        "probe": {
            "throughput_ratios": measured.probed_throughput_ratios(),
            "seconds": [probed.probe_seconds for probed in measured.probed_saturations],
            "latency_ratios": {
                name: measured.probed_latency_ratios(quantile)
                for name, quantile in QUANTILES.items()
            },
        },
        "agent": [
            {
                "cpu_ratio": _cpu_ratio(first, last),
                "resident_bytes": last.resident_bytes,
                "fio_bytes": last.fio_bytes - first.fio_bytes,
            }
            for first, last in measured.agent_uses()
        ],
    }


def _estimates(measured: Measured) -> list[tuple[str, Estimate, Aim | None]]:
    # The aims hold with the default share of probes, so they stand there where it was measured.
    probed = bool(measured.probed_saturations)
    words = f", with a probe each {PROBE_INTERVAL_SECONDS / 3600:g} h"
    found: list[tuple[str, Estimate, Aim | None]] = []
    if measured.saturated[True]:
        aim = None if probed else THROUGHPUT_AIM
        ratios = measured.throughput_ratios()
        found.append(("throughput at saturation", median_ratio(ratios), aim))
        if probed:
            rates = median_ratio(measured.throughput_ratios_with_probes())
            found.append((f"throughput{words}", rates, THROUGHPUT_AIM))
    for name, quantile in QUANTILES.items() if measured.rounds else ():
        aim = P99_AIM if name == "p99" else None
        stopped = median_ratio(measured.stopped_latency_ratios(quantile))
        found.append((f"{name} put latency under load, stopped in turn", stopped, None))
        estimate = measured.latency_estimate(quantile, with_probes=False)
        found.append((f"{name} put latency under load", estimate, None if probed else aim))
        if probed:
            estimate = measured.latency_estimate(quantile, with_probes=True)
            found.append((f"{name} put latency{words}", estimate, aim))
    return found


def _probe_lines(measured: Measured) -> list[str]:
    if not measured.probed_saturations:
        return ["probes of fio: not looked at"]
    seconds = statistics.median(probed.probe_seconds for probed in measured.probed_saturations)
    ratios = {"throughput at saturation": measured.probed_throughput_ratios()}
    for name, quantile in QUANTILES.items():
        ratios[f"{name} put latency under load"] = measured.probed_latency_ratios(quantile)
    costs = ", ".join(
        f"{name} x {statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"
        for name, values in ratios.items()
        if values
    )
    return [
        f"one probe of fio while it runs ({seconds:.1f} s, {len(measured.probed_saturations)} of "
        f"each kind, during / before, no guard stops it): {costs}",
        f"Probes are measured apart and mixed in: with the aftermath a probe takes "
        f"{measured.probe_share:.3%} of the time at the default cadence.",
    ]


def _agent_lines(measured: Measured) -> list[str]:
    uses = measured.agent_uses()
    if not uses:
        return []
    cpu = statistics.median(_cpu_ratio(first, last) for first, last in uses)
    resident = max(last.resident_bytes for _, last in uses)
    probed = sum(last.fio_bytes > first.fio_bytes for first, last in uses)
    felt = ""
    if measured.rounds:
        ratio = statistics.median(each.work_ratio for each in measured.rounds)
        felt = f"; {ratio:.1%} of the puts were due during its work or its aftermath"
    return [
        f"the agent in its windows: {cpu:.2%} of one core with its children (median), at most "
        f"{resident / 1e6:.0f} MB resident; windows with a probe of its own in them: "
        f"{probed} of {len(uses)}{felt}"
    ]


def _cpu_ratio(first: AgentUse, last: AgentUse) -> float:
    return (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at)

"""One device over time: its traffic, its capacity."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from agent.bandwidth import FOREIGN_WINDOW_SECONDS, PROVING_SECONDS, Capacity, CapacityEstimate
from agent.findings import DeviceFindings
from agent.learning.memory import CapacityMemory, ProbingMemory
from agent.rates import IntervalWindow, MeanRate
from agent.readings import Known, Missing, Quantity, derive
from agent.snapshot import DeviceSnapshot
from agent.wear.endurance import wear_out
from probes.diskstats import DiskRates, disk_rates
from probes.samples import CgroupLimitsSample, DiskCounters, DiskstatsSample, FioSample, SmartSample


class DeviceState:
    """Follows one device from tick to tick; pure, time comes with the findings.

    What fio measured before ``since`` (monotonic) it measured of another device of this name.
    """

    def __init__(self, capacity_max_age_seconds: float, since: float = -math.inf) -> None:
        self._since = since
        self._recalled: CapacityMemory | None = None
        self._recalled_at = -math.inf
        self._estimate = CapacityEstimate(capacity_max_age_seconds)
        self._natural_writes = IntervalWindow(FOREIGN_WINDOW_SECONDS)
        self._before: DiskstatsSample | None = None
        self._traffic_start: DiskstatsSample | None = None
        self._fio_was_active = False
        self._rates: Known[DiskRates] | Missing = _NEEDS_TWO

    def keep_capacity_for(self, seconds: float) -> None:
        """Another age up to which a measured capacity counts."""
        self._estimate.keep_for(seconds)

    def recall(self, memory: ProbingMemory | None, now: float, wall_seconds: float) -> None:
        """Begin with the measurement that was kept, perhaps by an earlier process."""
        self._recalled = None if memory is None else memory.capacity
        if memory is not None and self._recalled is not None:
            age = memory.age_seconds(self._recalled.measured_wall_seconds, wall_seconds)
            self._recalled_at = -math.inf if age is None else now - age
            self.follow_clock(now, wall_seconds)

    def follow_clock(self, now: float, wall_seconds: float) -> None:
        """What was recalled is as old as the wall clock says, which may have been slow at the start
        and be set right since; never younger than it was taken to be."""
        kept = self._recalled
        if kept is not None:
            at = min(self._recalled_at, now - (wall_seconds - kept.measured_wall_seconds))
            self._recalled_at = at
            capacity = Capacity(kept.bytes_per_second, kept.spread_ratio, kept.lower_bound)
            self._estimate.recall(Known(capacity, kept.source, at))

    def memory(self, now: float, wall_seconds: float) -> CapacityMemory | None:
        """The measurement in force, to be kept; None where there is none, or of unknown age."""
        measured = self._estimate.measured
        if measured is None or math.isinf(measured.at):
            return None
        return CapacityMemory(
            bytes_per_second=measured.value.bytes_per_second,
            spread_ratio=measured.value.spread_ratio,
            lower_bound=measured.value.lower_bound,
            source=measured.source,
            measured_wall_seconds=wall_seconds - measured.age_seconds(now),
        )

    def update(
        self,
        findings: DeviceFindings,
        diskstats: Known[DiskstatsSample] | Missing,
        limits: Iterable[CgroupLimitsSample],
        now: float,
        sustained: Known[Capacity] | None = None,
        not_probed: Missing | None = None,
    ) -> DeviceSnapshot:
        """Take one tick's findings into account; ``sustained`` is what a calibration measured,
        ``not_probed`` why fio was not even started."""
        if isinstance(findings.fio, Known) and findings.fio.value.at < self._since:
            findings = replace(findings, fio=_NEVER_MEASURED)
        self._follow_traffic(findings, diskstats)
        if isinstance(findings.fio, Known):
            self._estimate.add_fio(findings.fio.value)
        limit = self._limit(findings, limits)
        absence = findings.fio if isinstance(findings.fio, Missing) else _NEVER_MEASURED
        if not_probed is not None and absence.reason == _NEVER_MEASURED.reason:
            absence = not_probed
        capacity = self._estimate.capacity(limit, absence, now, sustained)
        sample = findings.sample
        return DeviceSnapshot(
            name=findings.name,
            devnum=sample.device.devnum,
            size_bytes=sample.size_bytes,
            filesystem_type=sample.filesystem_type,
            filesystem_free_bytes=sample.filesystem_free_bytes,
            layers=tuple(layer.name for layer in sample.layers),
            capacity=capacity,
            capacity_ratio=(
                capacity if isinstance(capacity, Missing) else self._estimate.ratio_to_best()
            ),
            write_bytes_per_second=self._of_rates(lambda rates: rates.write_bytes_per_second),
            read_bytes_per_second=self._of_rates(lambda rates: rates.read_bytes_per_second),
            write_await_seconds=self._of_rates(lambda rates: rates.write_await_seconds),
            mean_queue_depth=self._of_rates(lambda rates: rates.mean_queue_depth),
            limit_bytes_per_second=limit,
            fio=(findings.fio if isinstance(findings.fio, Missing) else _fio_rate(findings.fio)),
            scratch_directory=findings.scratch_directory,
            model=sample.model,
            counters=_counters(diskstats, sample.device.devnum),
            wear_budget_bytes=derive(findings.budget, lambda budget: float(budget.limit_bytes)),
            wear_budget_remaining_bytes=derive(
                findings.budget, lambda budget: float(budget.remaining_bytes)
            ),
            endurance_used_ratio=_endurance_used(findings.smart),
            wear_out_seconds=_wear_out(findings.smart, now),
        )

    @property
    def estimate(self) -> CapacityEstimate:
        """What is known of the capacity, before limits set by others."""
        return self._estimate

    def natural_writes(self, since: float = -math.inf) -> MeanRate | None:
        """Mean write rate of the last minutes, bytes/s, without the agent's own fio.

        ``since`` leaves out what began earlier, for a comparison with what is known only from
        then on.
        """
        return self._natural_writes.mean(since)

    def _follow_traffic(
        self, findings: DeviceFindings, diskstats: Known[DiskstatsSample] | Missing
    ) -> None:
        if isinstance(diskstats, Missing):
            self._before, self._rates = None, diskstats
            self._natural_writes.clear()
            return
        sample, before = diskstats.value, self._before
        if before is not None and sample.at == before.at:
            return  # the probe has not answered again: nothing new is known
        devnum = findings.sample.device.devnum
        # An interval that fio touched at either end, or ran in between, is not natural traffic.
        fio_touched = (
            findings.fio_active
            or self._fio_was_active
            or (
                before is not None
                and isinstance(findings.fio, Known)
                and findings.fio.value.at >= before.at
            )
        )
        self._fio_was_active = findings.fio_active
        self._before = sample
        if devnum not in sample.disks:
            self._rates = Missing("device_vanished", f"{findings.name} is not in /proc/diskstats")
            self._natural_writes.clear()
            return
        if before is None or devnum not in before.disks:
            self._rates = _NEEDS_TWO
            self._traffic_start = sample
            return
        elapsed = sample.at - before.at
        rates = disk_rates(before.disks[devnum], sample.disks[devnum], elapsed)
        if rates is None:
            self._rates = Missing("counter_reset", f"the counters of {findings.name} went back")
            return
        self._rates = Known(rates, "diskstats", sample.at)
        if not fio_touched:
            self._natural_writes.add(sample.at, elapsed, rates.write_bytes_per_second * elapsed)
        self._follow_capacity(devnum, sample, fio_touched=fio_touched)

    def _follow_capacity(self, devnum: str, sample: DiskstatsSample, *, fio_touched: bool) -> None:
        """Give natural traffic to the estimate in intervals long enough to prove a rate."""
        start = self._traffic_start
        if fio_touched or start is None or devnum not in start.disks:
            self._traffic_start = sample
            return
        elapsed = sample.at - start.at
        if elapsed >= PROVING_SECONDS:
            rates = disk_rates(start.disks[devnum], sample.disks[devnum], elapsed)
            self._traffic_start = sample
            if rates is not None:
                self._estimate.add_traffic(sample.at, elapsed, rates)

    def _of_rates(self, pick: Callable[[DiskRates], float | None]) -> Quantity:
        if isinstance(self._rates, Missing):
            return self._rates
        value = pick(self._rates.value)
        if value is None:
            return Missing("no_requests", "no request completed in the last interval")
        return Known(value, self._rates.source, self._rates.at)

    @staticmethod
    def _limit(findings: DeviceFindings, limits: Iterable[CgroupLimitsSample]) -> float | None:
        """The lowest write limit that others set on any layer of the device's stack."""
        devnums = {layer.devnum for layer in findings.sample.layers}
        caps = [
            cap
            for sample in limits
            for devnum, cap in sample.write_bytes_per_second.items()
            if devnum in devnums
        ]
        if findings.configured_limit_bytes_per_second is not None:
            caps.append(findings.configured_limit_bytes_per_second)
        return min(caps, default=None)


def _fio_rate(fio: Known[FioSample]) -> Quantity:
    if fio.value.aborted is not None:
        return Missing("aborted", f"the last run was ended early: {fio.value.aborted}")
    return Known(fio.value.write_bytes_per_second, "fio", fio.at)


def _endurance_used(smart: Known[SmartSample] | Missing) -> Quantity:
    if isinstance(smart, Missing):
        return smart
    if smart.value.used_ratio is None:
        return Missing("not_supported", "the drive does not say how much of its rating is used")
    return Known(smart.value.used_ratio, smart.value.source, smart.at)


def _wear_out(smart: Known[SmartSample] | Missing, now: float) -> Quantity:
    """From now, whenever the drive was asked."""
    if isinstance(smart, Missing):
        return smart
    expected = wear_out(smart.value.used_ratio, smart.value.power_on_seconds)
    if expected is None or expected.expected_seconds is None:
        return Missing("too_little_used", "the drive has used too little of its rating to say")
    left = max(0.0, expected.expected_seconds - (now - smart.at))
    return Known(left, smart.value.source, smart.at)


def _counters(
    diskstats: Known[DiskstatsSample] | Missing, devnum: str
) -> Known[DiskCounters] | Missing:
    if isinstance(diskstats, Missing):
        return diskstats
    sample = diskstats.value
    if devnum not in sample.disks:
        return Missing("device_vanished", f"{devnum} is not in /proc/diskstats")
    return Known(sample.disks[devnum], diskstats.source, sample.at)


_NEEDS_TWO = Missing("not_yet_measured", "a rate needs two readings of the counters")
_NEVER_MEASURED = Missing("not_yet_measured", "the device's capacity was never measured")

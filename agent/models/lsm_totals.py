"""What a simulation adds up, and the rate, demands and utilization that follow from it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.models.lsm import ModelInputs, SimulatedRate
from agent.models.lsm_jobs import Job
from agent.models.lsm_write_control import WriteControl


@dataclass(slots=True)
class Totals:
    """Sums over simulated time; ratios and means follow from differences of two of these."""

    seconds: float = 0.0
    puts: float = 0.0
    stopped: float = 0.0
    delayed: float = 0.0
    wal_bytes: float = 0.0
    flush_bytes: float = 0.0
    compaction_bytes: float = 0.0
    read_bytes: float = 0.0
    core_seconds: float = 0.0
    flush_own_seconds: float = 0.0  # thread time without waiting for others
    compaction_own_seconds: float = 0.0
    level0_file_seconds: float = 0.0
    causes: dict[str, float] = field(default_factory=dict)

    def add(
        self,
        step: float,
        puts_per_second: float,
        inputs: ModelInputs,
        paces: Iterable[tuple[Job, float]],
        control: WriteControl,
        level0_files: int,
    ) -> None:
        """A step of ``step`` seconds in which nothing changed."""
        costs, options = inputs.costs, inputs.options
        puts = puts_per_second * step
        self.seconds += step
        self.puts += puts
        if options.wal_enabled:
            self.wal_bytes += puts * costs.wal_bytes_per_put
        self.core_seconds += puts * costs.foreground_cpu_seconds_per_put
        self.level0_file_seconds += step * level0_files
        if control.cause is not None:
            if control.stopped:
                self.stopped += step
            else:
                self.delayed += step
            self.causes[control.cause] = self.causes.get(control.cause, 0.0) + step
        for job, pace in paces:
            part = pace * step
            self.core_seconds += part * job.cpu_seconds
            self.read_bytes += part * job.read_bytes
            own = max(job.cpu_seconds, job.write_bytes / inputs.host.device_write_bytes_per_second)
            if job.is_flush:
                self.flush_bytes += part * job.write_bytes
                self.flush_own_seconds += part * own
            else:
                self.compaction_bytes += part * job.write_bytes
                self.compaction_own_seconds += part * own / job.threads

    def copy(self) -> "Totals":
        """As they are now."""
        return Totals(**self._numbers(), causes=dict(self.causes))

    def since(self, earlier: "Totals") -> "Totals":
        """What was added since."""
        before = earlier._numbers()
        return Totals(
            **{name: value - before[name] for name, value in self._numbers().items()},
            causes={
                name: seconds - earlier.causes.get(name, 0.0)
                for name, seconds in self.causes.items()
            },
        )

    def _numbers(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "causes"}


def rate_of(
    measured: Totals,
    inputs: ModelInputs,
    *,
    put_seconds: float,
    pending_bytes: float,
    simulated_seconds: float,
    events: int,
    converged: bool,
) -> SimulatedRate:
    """The answer; ``put_seconds`` is the serial time of the write path per put, syncs apart."""
    options, host = inputs.options, inputs.host
    span = max(measured.seconds, 1e-9)
    puts = max(measured.puts, 1e-9)
    rate = measured.puts / span
    tables = measured.flush_bytes + measured.compaction_bytes
    utilization = {
        "device_write": (measured.wal_bytes + tables) / span / host.device_write_bytes_per_second,
        "compaction_threads": measured.compaction_own_seconds
        / span
        / max(1, options.max_background_compactions),
        "flush_threads": measured.flush_own_seconds / span / max(1, options.max_background_flushes),
        "cpu": measured.core_seconds / span / host.attainable_cores,
    }
    if inputs.costs.writer_seconds_per_put > 0.0:
        utilization["writer"] = rate * put_seconds
    if inputs.costs.wal_sync_seconds_per_put > 0.0:
        utilization["wal_sync"] = rate * inputs.costs.wal_sync_seconds_per_put
    if host.device_read_bytes_per_second is not None:
        utilization["device_read_write"] = (
            measured.read_bytes / span / host.device_read_bytes_per_second
        )
    if options.rate_limiter_bytes_per_second is not None:
        utilization["rate_limiter"] = tables / span / options.rate_limiter_bytes_per_second
    return SimulatedRate(
        puts_per_second=rate,
        stopped_ratio=measured.stopped / span,
        delayed_ratio=measured.delayed / span,
        written_bytes_per_put={
            "wal": measured.wal_bytes / puts,
            "flush": measured.flush_bytes / puts,
            "compaction": measured.compaction_bytes / puts,
        },
        utilization=utilization,
        level0_files_mean=measured.level0_file_seconds / span,
        pending_compaction_bytes_end=pending_bytes,
        simulated_seconds=simulated_seconds,
        events=events,
        converged=converged,
        stall_causes={name: value / span for name, value in measured.causes.items()},
    )

"""Which exports run, by the configuration in force."""

from collections.abc import Callable, Mapping

import structlog

from agent.config import OtlpSettings, TextfileSettings
from agent.export_metrics import ExportStatus
from agent.exports import ExportThread
from agent.loop import Published
from agent.textfile import TextfileExporter
from probes.clock import Clock
from probes.write_budget import WriteBudget

Logger = structlog.typing.FilteringBoundLogger


class ExportControl:
    """Starts and ends exports; ``configure`` and ``stop`` belong to one thread.

    ``textfile_budget`` is asked for every file that begins to be written, by its path.
    """

    def __init__(
        self,
        published: Published,
        clock: Clock,
        log: Logger,
        environ: Mapping[str, str],
        listen_address: str,
        textfile_budget: Callable[[str], WriteBudget],
    ) -> None:
        self._published = published
        self._clock = clock
        self._log = log
        self._environ = environ
        self._listen_address = listen_address
        self._textfile_budget = textfile_budget
        self._textfile: tuple[str, ExportThread] | None = None
        self._otlp: tuple[OtlpSettings, ExportThread] | None = None
        self._threads: tuple[ExportThread, ...] = ()

    def configure(self, textfile: TextfileSettings, otlp: OtlpSettings) -> None:
        """Have exactly these run; one that goes on where it was keeps its thread. Waits for
        nothing."""
        self._configure_textfile(textfile)
        self._configure_otlp(otlp)
        running = (self._textfile, self._otlp)
        self._threads = tuple(thread for _, thread in filter(None, running))

    def status(self) -> tuple[ExportStatus, ...]:
        """For the metrics; from any thread."""
        return tuple(thread.status() for thread in self._threads)

    def stop(self, seconds: float) -> None:
        """End all of them, and wait at most so long."""
        threads = self._threads
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(seconds / len(threads))

    def _configure_textfile(self, wanted: TextfileSettings) -> None:
        if self._textfile is not None:
            path, thread = self._textfile
            if path == wanted.path:
                thread.pace(wanted.interval_seconds)
                return
            thread.stop()
            self._textfile = None
        if wanted.path is not None:
            budget = self._textfile_budget(wanted.path)
            exporter = TextfileExporter(wanted.path, self._published, self._clock, budget)
            thread = ExportThread(exporter, wanted.interval_seconds, self._log, self._clock)
            self._textfile = wanted.path, thread

    def _configure_otlp(self, wanted: OtlpSettings) -> None:
        if self._otlp is not None:
            settings, thread = self._otlp
            if settings == wanted:
                return
            thread.stop()
            self._otlp = None
        if wanted.endpoint is not None:
            from agent.otlp import OtlpExporter  # noqa: PLC0415 - only where it is asked for

            exporter = OtlpExporter(
                wanted,
                self._published,
                self._clock,
                self._listen_address,
                self._environ,
            )
            thread = ExportThread(exporter, wanted.interval_seconds, self._log, self._clock)
            self._otlp = wanted, thread

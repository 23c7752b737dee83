"""The page as a file for node_exporter's textfile collector (github.com/prometheus/node_exporter,
"Textfile Collector").

Without ``process_*``, which node_exporter has of itself, and without time stamps, which it refuses.
The file goes with the daemon: what a dead one said would be taken for the present. Where the daemon
is killed the file stays, and ``smaxd_textfile_timestamp_seconds`` tells its age.
"""

import os
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.atomic_file import replacing_bytes
from agent.exports import Arrived, ExportFailed
from agent.loop import Published
from agent.metrics import SnapshotCollector
from probes.clock import Clock
from probes.scratch import enclosing_database
from probes.write_budget import WriteBudget

MODE: Final = 0o644
"""node_exporter runs as another user; the page has no secrets but names and rates."""


class TextfileExporter:
    """Replaces one file whole; a reader sees the old one or the new one."""

    name = "textfile"

    def __init__(self, path: str, published: Published, clock: Clock, budget: WriteBudget) -> None:
        self.path = path
        self._budget = budget
        self._published = published
        self._directory, name = os.path.split(path)
        # Not ending in .prom: node_exporter reads whatever does.
        self._beside = os.path.join(self._directory, f".{name}.new")
        self._is_ours = False
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (SnapshotCollector(published, clock), _Timestamp(clock)):
            self._registry.register(collector)

    def export(self) -> Arrived | None:
        """Write the page of now; None before the first tick. ExportFailed."""
        if self._published.get() is None:
            return None
        content = generate_latest(self._registry)
        size_bytes = replacing_bytes(len(content))
        refusal = self._budget.ask(size_bytes)
        if refusal is not None:
            raise ExportFailed(f"{self.path} is not written: {refusal}")
        written_bytes = 0
        try:
            descriptor = self._new_file()
            written_bytes = size_bytes  # all of it, perhaps, also where it fails from here on
            self._replace(descriptor, content)
        except OSError as error:
            raise ExportFailed(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            self._budget.done(written_bytes)
        return Arrived()

    def abort(self) -> None:
        """It ends soon by itself."""

    def close(self) -> None:
        """Remove the file, if it is this exporter's."""
        self._budget.close()
        if not self._is_ours:
            return
        try:
            os.unlink(self.path)
        except OSError:
            pass  # somebody did, or the directory is not to be written any more

    def _new_file(self) -> int:
        database = enclosing_database(self._directory, ())
        if database is not None:
            raise ExportFailed(f"{self.path} lies in the database {database}")
        try:
            os.unlink(self._beside)  # of a run that died while writing
        except FileNotFoundError:
            pass  # the usual case
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._beside, flags, MODE)

    def _replace(self, descriptor: int, content: bytes) -> None:
        try:
            os.fchmod(descriptor, MODE)  # whatever the umask
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            # No fsync: after a loss of power the file would be of no use, and the next one is due
            # within an interval; syncing would cost the databases' device far more than writing.
            os.replace(self._beside, self.path)
        except OSError:
            os.unlink(self._beside)
            raise
        finally:
            os.close(descriptor)
        self._is_ours = True


class _Timestamp(Collector):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "smaxd_textfile_timestamp_seconds",
            "Unix time at which this file was written; only in the file.",
            value=self._clock.wall(),
        )

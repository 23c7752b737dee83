"""After each tick: what is to be told goes to delivery, and the book to the disk."""

import structlog

from agent.alerts.book_file import BookSaver
from agent.alerts.notice import AlertSink
from agent.host_state import HostState
from agent.snapshot import Snapshot

Logger = structlog.typing.FilteringBoundLogger


class AlertHandover:
    """Runs in the tick's thread. Without a sink, nothing waits to be delivered."""

    def __init__(
        self, state: HostState, saver: BookSaver, log: Logger, sink: AlertSink | None = None
    ) -> None:
        self._state = state
        self._saver = saver
        self._log = log
        self._sink = sink
        self._defect: str | None = None

    def after_tick(self, snapshot: Snapshot) -> None:
        """Offer, settle, save; a defect of delivery is logged once and costs delivery only."""
        try:
            self._state.settle(self._offer(snapshot))
        except Exception as defect:  # a sink is not to raise; one that does must not end the tick
            if repr(defect) != self._defect:
                self._defect = repr(defect)
                self._log.exception("alert_delivery_failed")
        else:
            self._defect = None
        self._saver.after_tick(self._state.book, snapshot.at)

    def close(self, wait_seconds: float) -> None:
        """Save what changed last; gives up after ``wait_seconds``."""
        self._saver.close(self._state.book, wait_seconds)

    def _offer(self, snapshot: Snapshot) -> frozenset[str]:
        alerting = snapshot.alerting
        if self._sink is None:
            return frozenset(told.identity for told in alerting.notifications)
        self._sink.offer(alerting.notifications, alerting.active)
        return self._sink.settled()

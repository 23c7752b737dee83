"""Which write stalls are on, for how long, and how often: from the LOG's WARN lines.

Pure. RocksDB recomputes a column family's stall condition whenever a new version of its LSM is
installed (ColumnFamilyData::RecalculateWriteStallConditions, db/column_family.cc) and logs a WARN
line if, and only if, the condition is still on. There is no line for its end. So:

    a stall ends at the first version change of its column family that is not followed by a
    WARN line of that column family.

What makes that decidable although the lines come out of order: flush_finished and
compaction_finished are *made* just before the version is installed and *written* after it (through
a log buffer), while the WARN line is made and written in between. When a finished event made at
time t is read, the WARN line it caused, if any, was therefore already read, and is not older than
t. A trivial move installs between its "Moving" and its "Moved #N files" lines, both written
afterwards. A switched memtable also installs a version, but can only make things worse.

Times are int microseconds since the Unix epoch.
"""

from dataclasses import dataclass

from probes.rocksdb.samples import StallCondition

MAX_COLUMN_FAMILIES = 4096
"""More column families than this are not tracked, so that a damaged LOG cannot fill memory."""

_RANK = {"delayed": 1, "stopped": 2}


@dataclass(slots=True)
class _Stall:
    state: str
    cause: str
    since_micros: int
    last_line_micros: int
    delayed_write_rate: float | None


class StallTracker:
    """The stalls of one database. One state at a time: stopped wins over delayed."""

    def __init__(self) -> None:
        self._stalls: dict[str, _Stall] = {}
        self._moving: dict[str, int] = {}
        self._state: str | None = None
        self._state_since = 0
        self.ended_micros: int | None = None
        """When writes were last set free again; None: not in what was read."""
        self._closed_micros = {"delayed": 0, "stopped": 0}
        self._reported_seconds = {"delayed": 0.0, "stopped": 0.0}
        self._entered = {"delayed": 0, "stopped": 0}

    def warned(
        self, column_family: str, state: str, cause: str, rate: float | None, at_micros: int
    ) -> None:
        """A WARN line: the column family's condition at ``at_micros``."""
        stall = self._stalls.get(column_family)
        if stall is not None and stall.state == state:
            stall.cause = cause
            stall.delayed_write_rate = rate
            stall.last_line_micros = at_micros
            return
        if stall is None and len(self._stalls) >= MAX_COLUMN_FAMILIES:
            return
        self._stalls[column_family] = _Stall(state, cause, at_micros, at_micros, rate)
        self._entered[state] += 1
        self._recompute(at_micros)

    def version_changed(self, column_family: str, at_micros: int) -> None:
        """A flush or compaction finished: made at ``at_micros``, before the version changed."""
        self._end_unless_warned_since(column_family, at_micros, at_micros)

    def moving(self, column_family: str, at_micros: int) -> None:
        """A file is to be moved, the only one or one of several; the version changes after this."""
        if len(self._moving) < MAX_COLUMN_FAMILIES:
            self._moving[column_family] = at_micros

    def moved(self, column_family: str, at_micros: int) -> None:
        """A trivial move is done; the version has changed before this."""
        begun = self._moving.pop(column_family, None)
        if begun is not None:
            self._end_unless_warned_since(column_family, begun, at_micros)

    def column_family_dropped(self, column_family: str, at_micros: int) -> None:
        """Its stall goes with it."""
        if self._stalls.pop(column_family, None) is not None:
            self._recompute(at_micros)

    def database_closed(self, at_micros: int) -> None:
        """Closed or opened anew: nothing is stalled at ``at_micros``."""
        self._stalls.clear()
        self._moving.clear()
        self._recompute(at_micros)

    def slept(self, micros: int) -> None:
        """The machine was suspended for so long, which is no time that anyone waited."""
        self._state_since += micros

    def shift(self, micros: int) -> None:
        """All times so far were told by another clock."""
        for stall in self._stalls.values():
            stall.since_micros += micros
            stall.last_line_micros += micros
        self._moving = {family: at + micros for family, at in self._moving.items()}
        self._state_since += micros
        if self.ended_micros is not None:
            self.ended_micros += micros

    def _end_unless_warned_since(self, column_family: str, since: int, at_micros: int) -> None:
        stall = self._stalls.get(column_family)
        if stall is not None and stall.last_line_micros < since:
            del self._stalls[column_family]
            self._recompute(at_micros)

    def _recompute(self, at_micros: int) -> None:
        state = max((stall.state for stall in self._stalls.values()), key=_RANK.get, default=None)  # type: ignore[arg-type]
        if state == self._state:
            return
        if self._state is not None:
            self._closed_micros[self._state] += max(0, at_micros - self._state_since)
        if state is None:
            self.ended_micros = at_micros
        self._state = state
        self._state_since = at_micros

    def conditions(self) -> tuple[StallCondition, ...]:
        """The stalls that are on, by column family."""
        return tuple(
            StallCondition(
                column_family=name,
                state=stall.state,
                cause=stall.cause,
                since_wall_seconds=stall.since_micros / 1e6,
                delayed_write_rate=stall.delayed_write_rate,
            )
            for name, stall in sorted(self._stalls.items())
        )

    def seconds(self, now_micros: int) -> dict[str, float]:
        """Seconds per state, the unfinished one counted up to ``now_micros``; never goes back.

        The end of a stall becomes known a moment after it happened, so what was reported for an
        unfinished stall can be a little too much; the total then stands still until it is true.
        """
        for state, closed in self._closed_micros.items():
            micros = closed
            if state == self._state:
                micros += max(0, now_micros - self._state_since)
            self._reported_seconds[state] = max(self._reported_seconds[state], micros / 1e6)
        return dict(self._reported_seconds)

    def entered(self) -> dict[str, int]:
        """How many times a column family entered each state."""
        return dict(self._entered)

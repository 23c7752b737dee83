"""Reads the history of a daemon that may be writing it: read-only, one consistent moment of it.

with HistoryFile(path) as file:           # HistoryUnreadable
    past = file.read(since, until, 60, database="orders")
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

from agent.history import schema
from agent.history.columns import (
    DATABASES,
    DAY,
    DEVICES,
    MODELS,
    RATIO,
    RESOLUTIONS,
    SAMPLES,
    Table,
    Value,
)
from agent.history.fold import SERIES_MASK, Row, fold, key, time_of
from agent.history.past import Line, Past, PastAlert, PastDatabase, PastEpisode, PastScore
from agent.history.reader_file import HistoryUnreadable, open_read_only, unreadable

PIECE_SECONDS: Final = 10 * DAY


class HistoryFile:
    """One open history."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = open_read_only(path)
        try:
            self._check_version()
            self._words = dict(self._select("SELECT id, word FROM words"))
        except sqlite3.Error as error:
            self._connection.close()
            raise unreadable(path, error) from error
        except HistoryUnreadable:
            self._connection.close()
            raise

    def _check_version(self) -> None:
        ((application,),) = self._select("PRAGMA application_id")
        ((version,),) = self._select("PRAGMA user_version")
        if application != schema.APPLICATION_ID:
            raise HistoryUnreadable(f"{self._path} is no history of smaxd")
        if version != schema.VERSION:
            raise HistoryUnreadable(
                f"{self._path} is of version {version}, this program reads {schema.VERSION}: use "
                "the daemon's own version of smaxd"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def read(
        self,
        since: int,
        until: int,
        resolution_seconds: int,
        *,
        database: str | None = None,
        models: bool = True,
    ) -> Past:
        """What is on record from ``since`` until before ``until``. Raises HistoryUnreadable.

        ``database`` limits it to one; ``models=False`` leaves out what each model said.
        """
        try:
            return self._read(since, until, resolution_seconds, database, models=models)
        except sqlite3.Error as error:
            raise unreadable(self._path, error) from error
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise HistoryUnreadable(f"{self._path}: its content makes no sense: {error}") from error

    def _read(
        self, since: int, until: int, seconds: int, database: str | None, *, models: bool
    ) -> Past:
        all_series = self._select("SELECT id, kind, name, part FROM series ORDER BY name, part")
        wanted: dict[str, dict[int, tuple[str, str]]] = {}
        for number, kind, name, part in all_series:
            if kind == DEVICES.name or database in {None, name}:
                wanted.setdefault(kind, {})[number] = (name, part)
        subjects = {number: (kind, name) for number, kind, name, _ in all_series}
        of_databases = wanted.get(DATABASES.name, {})
        of_models = wanted.get(MODELS.name, {}) if models else {}
        lines = self._lines(DATABASES, of_databases, since, until, seconds)
        said = self._lines(MODELS, of_models, since, until, seconds)
        episodes = self._episodes(since, until)
        scores = self._scores(until)
        databases = []
        for number, (name, _) in of_databases.items():
            own = {n: model for n, (owner, model) in of_models.items() if owner == name}
            past = PastDatabase(
                name,
                lines.get(number, Line(step_seconds=seconds)),
                {model: said[n] for n, model in own.items() if n in said},
                {model: scores[n] for n, model in own.items() if n in scores},
                episodes.get(number, []),
            )
            if past.line.times or past.episodes:
                databases.append(past)
        used = {device for past in databases for device in past.devices}
        carriers = {
            number: name
            for number, (name, _) in wanted.get(DEVICES.name, {}).items()
            if database is None or name in used
        }
        devices = self._lines(DEVICES, carriers, since, until, seconds)
        named = {carriers[number]: line for number, line in devices.items()}
        alerts = self._alerts(since, until, subjects)
        if database is not None:
            alerts = [a for a in alerts if a.database == database or a.device in used]
        return Past(since, until, seconds, databases, named, alerts)

    def names(self) -> list[str]:
        """All databases that are on record."""
        found = self._select(
            "SELECT name FROM series WHERE kind = ? ORDER BY name", (DATABASES.name,)
        )
        return [name for (name,) in found]

    def _lines(
        self,
        table: Table,
        series: Iterable[int],
        since: int,
        until: int,
        seconds: int,
    ) -> dict[int, Line]:
        numbers = sorted(series)
        if not numbers:
            return {}
        level = next((i for i, r in enumerate(RESOLUTIONS) if r.seconds == seconds), None)
        rows = (
            self._folded_rows(table, numbers, seconds, since, until)
            if level is None
            else self._rows(table, numbers, level, since, until)
        )
        by_series: dict[int, list[Row]] = {}
        for row in rows:
            by_series.setdefault(row[0] & SERIES_MASK, []).append(row)
        return {
            number: self._line(table, own, seconds, folded=level != 0)
            for number, own in by_series.items()
        }

    def _folded_rows(
        self, table: Table, series: Sequence[int], seconds: int, since: int, until: int
    ) -> Iterator[Row]:
        """Longer periods than any that is kept, piece by piece: years of rows are never at once
        in memory."""
        level = len(RESOLUTIONS) - 1
        since, until = self._recorded(table, since, until)
        piece = PIECE_SECONDS // seconds * seconds
        for begin in range(since // piece * piece, until, piece):
            rows = self._rows(table, series, level, max(since, begin), min(until, begin + piece))
            yield from fold(table, rows, seconds, folded=True)

    def _recorded(self, table: Table, since: int, until: int) -> tuple[int, int]:
        """The part of a period that has rows: it may have been asked for as "all"."""
        times = []
        for resolution in RESOLUTIONS:
            name = schema.table_name(table, resolution.seconds)
            for end in ("min", "max"):
                ((found,),) = self._select(
                    f"SELECT {end}(key) FROM {name} WHERE key >= ? AND key < ?",  # noqa: S608 - our own names
                    (key(since, 0), key(until, 0)),
                )
                if found is not None:
                    times.append(time_of(found))
        return (min(times), max(times) + 1) if times else (since, since)

    def _rows(
        self, table: Table, series: Sequence[int], level: int, since: int, until: int
    ) -> list[Row]:
        """The rows at a resolution; what is not folded yet is folded here."""
        resolution = RESOLUTIONS[level]
        folded = level > 0
        name = schema.table_name(table, resolution.seconds)
        columns = ", ".join(table.stored(folded=folded))
        chosen = ", ".join(map(str, series))
        # A period that began before ``since`` may reach into what is asked for: it is left out.
        found: list[Row] = [
            (row[0], row[1:])
            for row in self._select(
                f"SELECT key, {columns} FROM {name} WHERE key >= ? AND key < ? "  # noqa: S608 - our own names and numbers
                f"AND key & {SERIES_MASK} IN ({chosen}) ORDER BY key",
                (key(since, 0), key(until, 0)),
            )
        ]
        if not folded:
            return found
        ((last,),) = self._select(f"SELECT max(key) FROM {name} WHERE key < ?", (key(until, 0),))  # noqa: S608 - our own names
        begin = 0 if last is None else time_of(last) + resolution.seconds
        finer = self._rows(table, series, level - 1, max(since, begin), until)
        return found + fold(table, finer, resolution.seconds, folded=level > 1)

    def _line(self, table: Table, rows: list[Row], seconds: int, *, folded: bool) -> Line:
        stored = list(zip(*(values for _, values in rows), strict=True))
        columns: dict[str, Sequence[Value]] = {}
        for column, values in zip(table.columns, stored, strict=False):
            if column.word:
                columns[column.name] = [self._words.get(value) for value in values]
            else:
                columns[column.name] = column.decode(values)
        for place, (index, _, name) in enumerate(table.extremes(), len(table.columns)):
            column = table.columns[index]
            columns[name] = column.decode(stored[place if folded else index])
        counts = stored[-1] if folded else [1] * len(rows)
        columns[SAMPLES] = [float(count) for count in counts]
        return Line([time_of(row_key) for row_key, _ in rows], columns, seconds)

    def _episodes(self, since: int, until: int) -> dict[int, list[PastEpisode]]:
        found = self._select(
            "SELECT series, started, ended, kind, closed, puts_per_second, measured_seconds, "
            "stopped_ratio, delayed_ratio, cause FROM episodes "
            "WHERE started < ? AND ended >= ? ORDER BY started",
            (until, since),
        )
        episodes: dict[int, list[PastEpisode]] = {}
        for series, started, ended, kind, closed, puts, measured, stopped, delayed, cause in found:
            episode = PastEpisode(
                started,
                ended,
                self._words.get(kind, "?"),
                bool(closed),
                puts / 10.0,
                measured,
                stopped / RATIO,
                delayed / RATIO,
                self._words.get(cause),
            )
            episodes.setdefault(series, []).append(episode)
        return episodes

    def _scores(self, until: int) -> dict[int, list[PastScore]]:
        found = self._select(
            "SELECT series, time, labels, accuracy_ratio, coverage_ratio FROM scores "
            "WHERE time < ? ORDER BY series, time",
            (until,),
        )
        scores: dict[int, list[PastScore]] = {}
        for series, time, labels, accuracy, coverage in found:
            scores.setdefault(series, []).append(
                PastScore(
                    time,
                    labels,
                    None if accuracy is None else accuracy / RATIO,
                    None if coverage is None else coverage / RATIO,
                )
            )
        return scores

    def _alerts(
        self, since: int, until: int, subjects: dict[int, tuple[str, str]]
    ) -> list[PastAlert]:
        found = self._select(
            "SELECT alert, severity, series, started, ended, summary FROM alerts "
            "WHERE started < ? AND (ended IS NULL OR ended >= ?) ORDER BY started, alert",
            (until, since),
        )
        alerts = []
        for alert, severity, series, started, ended, summary in found:
            kind, name = subjects.get(series, ("", "?"))
            alerts.append(
                PastAlert(
                    self._words.get(alert, "?"),
                    self._words.get(severity, "?"),
                    name if kind == DATABASES.name else "",
                    name if kind == DEVICES.name else "",
                    started,
                    ended,
                    summary,
                )
            )
        return alerts

    def _select(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

"""Turns samples into rows of the open file: words and series get their numbers here."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from agent.history import schema
from agent.history.columns import DATABASES, DEVICES, MODELS, RATIO, RESOLUTIONS, Table
from agent.history.fold import key
from agent.history.sample import AlertEvent, EpisodeEvent, ModelScore, Sample, SampleRow
from agent.history.store_file import DamagedHistory

CACHED_NAMES: Final = 4096
"""Numbers of words and series kept in memory; beyond it all of them are looked up again."""


def put_rows(
    connection: sqlite3.Connection,
    table: Table,
    resolution: int,
    rows: Sequence[tuple[int, Sequence[int | None]]],
) -> None:
    """Add rows to the table of a resolution; what was there under the same key is replaced."""
    names = table.stored(folded=resolution != RESOLUTIONS[0].seconds)
    connection.executemany(
        f"INSERT OR REPLACE INTO {schema.table_name(table, resolution)} "  # noqa: S608 - our own names
        f"(key, {', '.join(names)}) VALUES (?{', ?' * len(names)})",
        [(row_key, *values) for row_key, values in rows],
    )


class RowWriter:
    """Adds samples, within a transaction of its caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._words: dict[str, int] = {}
        self._series: dict[tuple[str, str, str], int] = {}

    def forget_names(self) -> None:
        """After a rollback: the numbers given meanwhile are not on record."""
        self._words.clear()
        self._series.clear()

    def add(self, sample: Sample) -> int:
        """Add one sample; the rows that it is."""
        seconds = int(sample.wall_seconds)
        for row in sample.rows:
            self._add_row(row, seconds)
        if sample.first:
            self._end_forgotten_alerts(sample)
        for alert in sample.alerts:
            self._add_alert(alert)
        for episode in sample.episodes:
            self._add_episode(episode)
        for score in sample.scores:
            self._add_score(score, seconds)
        return sample.weight

    def _add_row(self, row: SampleRow, seconds: int) -> None:
        table = row.table
        values = [
            self._word(value) if isinstance(value, str) else column.encode(value)
            for column, value in zip(table.columns, row.values, strict=True)
        ]
        series = self._series_id(table.name, *row.series)
        put_rows(self._connection, table, RESOLUTIONS[0].seconds, [(key(seconds, series), values)])

    def _add_alert(self, alert: AlertEvent) -> None:
        name, severity, database, device, started = alert.key
        ended = alert.ended_wall_seconds
        self._connection.execute(
            "INSERT INTO alerts (started, alert, severity, series, ended, summary) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET ended = excluded.ended",
            (
                started,
                self._word(name),
                self._word(severity),
                self._subject(database, device),
                None if ended is None else int(ended),
                alert.summary,
            ),
        )

    def _end_forgotten_alerts(self, sample: Sample) -> None:
        """What is open on record and not active now: it ended, at the latest, here."""
        still_open = {
            (alert.key[4], self._word(alert.alert), self._word(alert.severity), subject)
            for alert in sample.alerts
            for subject in (self._subject(alert.database, alert.device),)
        }
        found = self._connection.execute(
            "SELECT started, alert, severity, series FROM alerts WHERE ended IS NULL"
        ).fetchall()
        self._connection.executemany(
            "UPDATE alerts SET ended = max(started, ?) "
            "WHERE started = ? AND alert = ? AND severity = ? AND series = ?",
            [
                (int(sample.wall_seconds), *identity)
                for identity in found
                if identity not in still_open
            ],
        )

    def _add_episode(self, event: EpisodeEvent) -> None:
        episode = event.episode
        started = int(episode.started_wall_seconds)
        series = self._series_id(DATABASES.name, event.database, "")
        if episode.status == "withdrawn":
            self._connection.execute(
                "DELETE FROM episodes WHERE started = ? AND series = ?", (started, series)
            )
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO episodes (started, series, ended, kind, closed, "
            "puts_per_second, log_uncertainty, measured_seconds, stopped_ratio, delayed_ratio, "
            "cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                started,
                series,
                int(episode.ended_wall_seconds),
                self._word(episode.kind),
                episode.status == "closed",
                round(episode.puts_per_second * 10.0),
                round(episode.log_uncertainty * RATIO),
                round(episode.measured_seconds),
                round(episode.stopped_ratio * RATIO),
                round(episode.delayed_ratio * RATIO),
                None if episode.cause is None else self._word(episode.cause),
            ),
        )

    def _add_score(self, score: ModelScore, seconds: int) -> None:
        accuracy, coverage = score.accuracy_ratio, score.coverage_ratio
        self._connection.execute(
            "INSERT OR REPLACE INTO scores (series, time, labels, accuracy_ratio, coverage_ratio) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                self._series_id(MODELS.name, score.database, score.model),
                seconds,
                score.labels,
                None if accuracy is None else round(accuracy * RATIO),
                None if coverage is None else round(coverage * RATIO),
            ),
        )

    def _subject(self, database: str, device: str) -> int:
        """The series of what an alert is about; of an agent's probe it is neither."""
        if database:
            return self._series_id(DATABASES.name, database, "")
        return self._series_id(DEVICES.name, device, "")

    def _word(self, word: str) -> int:
        number = self._words.get(word)
        if number is None:
            self._connection.execute(
                "INSERT INTO words (word) VALUES (?) ON CONFLICT DO NOTHING", (word,)
            )
            number = self._number("SELECT id FROM words WHERE word = ?", (word,))
            if len(self._words) >= CACHED_NAMES:
                self._words.clear()
            self._words[word] = number
        return number

    def _series_id(self, kind: str, name: str, part: str) -> int:
        number = self._series.get((kind, name, part))
        if number is None:
            self._connection.execute(
                "INSERT INTO series (kind, name, part) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (kind, name, part),
            )
            number = self._number(
                "SELECT id FROM series WHERE kind = ? AND name = ? AND part = ?", (kind, name, part)
            )
            if number >= schema.SERIES_LIMIT:
                raise DamagedHistory(f"it has {number} series, which is as many as it can hold")
            if len(self._series) >= CACHED_NAMES:
                self._series.clear()
            self._series[(kind, name, part)] = number
        return number

    def _number(self, statement: str, values: tuple[object, ...]) -> int:
        return int(self._connection.execute(statement, values).fetchone()[0])

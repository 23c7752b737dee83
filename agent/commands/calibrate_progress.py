"""The progress of a calibration on stderr: a bar on a terminal, else a line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from agent.calibrate.load import Progress
from agent.calibrate.plan import MIB

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal; a change of phase is told at once."""


@contextmanager
def progress_display() -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a ``Progress``."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _Lines().show


def progress_line(progress: Progress) -> str:
    """One line: phase, put rate, bytes written, time left."""
    left = max(0.0, progress.total_seconds - progress.elapsed_seconds)
    return (
        f"{progress.phase}: {progress.puts_per_second:,.0f} puts/s, level 0 "
        f"{progress.level0_files} files, {progress.written_bytes / MIB:,.0f} MiB written, "
        f"{left:.0f} s left"
    )


class _Lines:
    def __init__(self) -> None:
        self._phase = ""
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        if progress.phase == self._phase and progress.elapsed_seconds < self._next:
            return
        self._phase = progress.phase
        self._next = progress.elapsed_seconds + LINE_SECONDS
        click.echo(progress_line(progress), err=True)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    bar = Bar(BarColumn(20), TextColumn("{task.description}"), console=Console(stderr=True))
    with bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total_seconds,
                completed=progress.elapsed_seconds,
                description=progress_line(progress),
            )

        yield show

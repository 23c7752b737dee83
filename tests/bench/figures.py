"""A benchmark's figures: series of measured values, and a table that people can read."""

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Series:
    """Repeated measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def shown(self) -> str:
        """Median, lowest and highest value, and how many there are."""
        if not self.values:
            return "-"
        lowest, highest = _short(min(self.values)), _short(max(self.values))
        return f"{_short(self.median)} ({lowest}..{highest}, n={len(self.values)})"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report: ours, the same of node_exporter where it has it, and the aim."""

    section: str
    name: str
    unit: str
    smaxd: Series
    node_exporter: Series | None = None
    aim: str = ""


def series(values: Sequence[float], scale: float = 1.0) -> Series:
    """The values times ``scale``."""
    return Series(tuple(value * scale for value in values))


def percentile(values: Sequence[float], ratio: float) -> float:
    """The smallest value that at least ``ratio`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cores": str(os.cpu_count()),
        "processor": model or platform.processor() or platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def table(figures: Sequence[Figure]) -> str:
    """The report's lines: median (lowest..highest, count) of each figure."""
    rows = [("", "", "smaxd", "node_exporter", "aim")]
    titles: dict[int, str] = {}  # by the row they stand before
    for figure in figures:
        if figure.section not in titles.values():
            titles[len(rows)] = figure.section
        beside = "" if figure.node_exporter is None else figure.node_exporter.shown()
        rows.append((f"  {figure.name}", figure.unit, figure.smaxd.shown(), beside, figure.aim))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        if number in titles:
            lines.append(titles[number])
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
    return "\n".join(lines)


def document(figures: Sequence[Figure], notes: Sequence[str]) -> dict[str, Any]:
    """The report as JSON: all values, not only their medians."""
    return {"machine": machine(), "notes": list(notes), "figures": [asdict(f) for f in figures]}


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"

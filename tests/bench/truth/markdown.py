"""Tables of Markdown, and numbers as people read them."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers, set to the right."""
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---" if column == 0 else "---:" for column in range(len(head))) + "|",
    ]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def rate(value: float | None) -> str:
    """Puts/s to three figures; "-" when unknown."""
    if value is None:
        return "-"
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}"


def percent(value: float | None, *, signed: bool = False) -> str:
    """A ratio in percent; "-" when unknown."""
    if value is None:
        return "-"
    return f"{value * 100:+.0f} %" if signed else f"{value * 100:.0f} %"

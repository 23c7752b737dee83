"""``smaxd whatif`` in plain words: pure text out of the answer, at most 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from agent.explain.quantity_text import byte_text, duration_text, rate_text
from agent.forecast.capacity_plan import DiskUse, Plan
from agent.whatif.whatif import Compared, WhatIf

Style = tuple[str, str]
"""A piece of text and the name of a rich style, "" for plain."""

WIDTH: Final = 80
VERDICT_WORDS: Final = {
    "fits": ("it can be sustained", "bold green"),
    "uncertain": ("it may or may not be sustained", "bold yellow"),
    "does not fit": ("it cannot be sustained", "bold red"),
}


def what_if_lines(answer: WhatIf) -> Iterator[list[Style]]:
    """The whole answer, line by line."""
    for line in _lines(answer):
        yield [
            ("".join(c if c.isprintable() else "?" for c in text), style) for text, style in line
        ]


def plain(answer: WhatIf) -> str:
    """The same without any style."""
    return "".join(
        "".join(text for text, _ in line).rstrip() + "\n" for line in what_if_lines(answer)
    )


def _lines(answer: WhatIf) -> Iterator[list[Style]]:
    yield [(answer.database, "bold cyan")]
    for change in answer.changes:
        yield from _wrapped(change, "  ", "bold")
    if answer.published_model is not None and answer.published_puts_per_second is not None:
        yield from _wrapped(
            f"published S_max {rate_text(answer.published_puts_per_second)} puts/s "
            f"({answer.published_model})"
            + (
                ""
                if answer.observed_puts_per_second is None
                else f", at present {rate_text(answer.observed_puts_per_second)} puts/s"
            ),
            "  ",
            "dim",
        )
    yield []
    if answer.changes:
        yield [("  model           before       after   ratio       90 % interval after", "dim")]
    for row in answer.models:
        yield from _row_lines(row) if answer.changes else _unchanged_lines(row)
    if answer.load is not None:
        yield []
        yield from _load_lines(answer.load, answer.load_text or "")
    if answer.notes:
        yield []
        yield [("what is assumed", "bold")]
        for note in answer.notes:
            yield from _wrapped(f"- {note}", "  ", "", "    ")


def _unchanged_lines(row: Compared) -> Iterator[list[Style]]:
    yield from _wrapped(
        f"{row.model}: {rate_text(row.after)} puts/s, {rate_text(row.lower)} to "
        f"{rate_text(row.upper)}, limit: {row.bottleneck_after or 'not told'}",
        "  ",
        "",
    )


def _row_lines(row: Compared) -> Iterator[list[Style]]:
    style = "green" if row.ratio > 1.0 else "red" if row.ratio < 1.0 else ""
    yield [
        (f"  {row.model:<12} {rate_text(row.before):>9} {rate_text(row.after):>11} ", "bold"),
        (f"{row.ratio:>7.2f}", f"bold {style}".strip()),
        (f"   {rate_text(row.lower):>12} to {rate_text(row.upper)}", ""),
    ]
    if row.bottleneck_before == row.bottleneck_after:
        limit = f"limit: {row.bottleneck_after or 'not told'}, as before"
    else:
        limit = f"limit: {row.bottleneck_before or '?'} before, {row.bottleneck_after or '?'} after"
    yield from _wrapped(limit, "    ", "")
    if row.written_bytes_per_put_after:
        before, after = row.written_bytes_per_put_before, row.written_bytes_per_put_after
        yield from _wrapped(
            f"written per put at saturation: {_total(before)} -> {_total(after)} "
            f"({_causes(before, after)})",
            "    ",
            "dim",
        )


def _total(written: Mapping[str, float]) -> str:
    return byte_text(sum(written.values()))


def _causes(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    return ", ".join(
        f"{cause} {byte_text(before.get(cause, 0.0))} -> {byte_text(value)}"
        for cause, value in after.items()
    )


def _load_lines(plan: Plan, text: str) -> Iterator[list[Style]]:
    words, style = VERDICT_WORDS[plan.fit.verdict]
    yield [
        (f"{text}: {rate_text(plan.fit.put_rate)} puts/s, ", "bold"),
        (words, style),
    ]
    yield from _wrapped(
        f"margin {_percent(plan.fit.margin_ratio)}; {_percent(plan.fit.margin_lower_ratio)} "
        f"against the interval's lower end, {_percent(plan.fit.margin_upper_ratio)} against its "
        "upper",
        "  ",
        "",
    )
    yield from _wrapped(f"stall: {_stall(plan)}", "  ", "")
    yield from _wrapped(
        f"{rate_text(plan.puts)} puts, {byte_text(plan.user_bytes)} of records", "  ", ""
    )
    for use in plan.disk:
        yield from _wrapped(_disk(use), "  ", "" if use.full_after_seconds is None else "yellow")
    verdict = {
        True: ("disk: enough", "green"),
        False: ("disk: it fills", "bold red"),
        None: ("disk: it depends on how many keys are new", "yellow"),
    }[plan.disk_fits]
    yield [(f"  {verdict[0]}", verdict[1])]
    for caveat in plan.caveats:
        yield from _wrapped(f"- {caveat}", "  ", "dim", "    ")


def _stall(plan: Plan) -> str:
    if plan.stall_earliest_seconds is None:
        return "none to expect within that time"
    cause = "" if plan.stall_cause is None else f", by {plan.stall_cause}"
    earliest = duration_text(plan.stall_earliest_seconds)
    if plan.stall_after_seconds is None:
        return f"none by S_max, after {earliest} by its interval's lower end{cause}"
    likely = duration_text(plan.stall_after_seconds)
    return f"after {likely}, {earliest} at the earliest{cause}"


def _disk(use: DiskUse) -> str:
    keys = {0.0: "only overwrites", 1.0: "only new keys"}.get(
        use.new_key_ratio, f"{100 * use.new_key_ratio:.0f} % new keys"
    )
    full = (
        f"{byte_text(use.free_after_bytes)} free after it"
        if use.full_after_seconds is None
        else f"full after {duration_text(use.full_after_seconds)}"
    )
    return (
        f"{keys}: grows by {byte_text(use.growth_bytes)}, compactions take up to "
        f"{byte_text(use.temporary_bytes)} for a while, {full}"
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def _wrapped(text: str, indent: str, style: str, further: str | None = None) -> list[list[Style]]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_on_hyphens=False,
    )
    return [[(line, style)] for line in lines]

"""``smaxd explain`` in plain words: pure text out of an explanation, at most 80 columns."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from agent.explain.explanation import (
    ConfidencePart,
    Explanation,
    ModelPart,
    PhasePart,
    Reading,
    SimulationPart,
)
from agent.explain.quantity_text import byte_text, duration_text, rate_text
from agent.models.prediction import MIB

Style = tuple[str, str]
"""A piece of text and the name of a rich style, "" for plain."""

WIDTH: Final = 80
OLD_SECONDS: Final = 60.0
"""Ages below this are the daemon's normal cadence and are not worth a line."""


def explanation_lines(explanation: Explanation) -> Iterator[list[Style]]:
    """One database, line by line."""
    for line in _lines(explanation):
        # What others wrote (names, errors) may hold control characters.
        yield [
            ("".join(c if c.isprintable() else "?" for c in text), style) for text, style in line
        ]


def _lines(explanation: Explanation) -> Iterator[list[Style]]:
    yield [(explanation.database, "bold cyan")]
    yield from _wrapped(explanation.sentence, "  ", "bold")
    for model in explanation.models:
        yield []
        yield from _model_lines(model)
    if explanation.simulation is not None:
        yield []
        yield from _simulation_lines(explanation.simulation)
    if explanation.phase is not None:
        yield []
        yield from _phase_lines(explanation.phase)
    if explanation.confidence is not None:
        yield []
        yield from _confidence_lines(explanation.confidence)
    yield []
    yield from _outlook_lines(explanation)
    yield from _gap_lines(explanation)


def _model_lines(model: ModelPart) -> Iterator[list[Style]]:
    mark = ", recommended" if model.recommended else ""
    interval = (
        ""
        if model.lower is None or model.upper is None
        else f", {rate_text(model.lower)} to {rate_text(model.upper)}"
    )
    yield [
        (f"{model.model}{mark}: ", "bold"),
        (f"{rate_text(model.puts_per_second)} puts/s", "bold" if model.recommended else ""),
        (f"{interval}, confidence {model.confidence}", "dim"),
    ]
    if model.factors:
        against = model.reference_puts_per_second
        if against is None:
            yield [("  = factor                          value", "dim")]
        else:
            yield [("  = factor                          value    x reference    share", "dim")]
        for index, factor in enumerate(model.factors):
            sign = " " if index == 0 else "x"
            compared = ""
            if factor.reference is not None and factor.reference != 0.0:
                share = "" if factor.log_share is None else f"{100 * factor.log_share:7.0f} %"
                compared = f"{factor.value / factor.reference:>15.4f} {share}"
            yield [
                (f"  {sign} {factor.name:<24} {_value(factor.value, factor.unit):>12}", ""),
                (compared.rstrip(), ""),
            ]
            yield from _wrapped(factor.note, "      ", "dim")
        if against is not None and model.reference is not None:
            yield from _wrapped(
                f"reference: {rate_text(against)} puts/s, {model.reference}; the shares are of "
                "the distance to it in log space",
                "  ",
                "dim",
            )
    if model.bandwidth_terms:
        terms = " ".join(
            f"{'-' if term.value < 0 else '+' if index else ''}"
            f"{' ' if index else ''}{abs(term.value) / MIB:,.1f} ({term.name})"
            for index, term in enumerate(model.bandwidth_terms)
        )
        yield from _wrapped(f"available bandwidth in MiB/s: {terms}", "  ", "dim")
    if model.demands:
        yield [("  resource              a put costs          free     puts/s  in use", "dim")]
        for index, row in enumerate(model.demands):
            used = "?" if row.utilization_now is None else f"{100 * row.utilization_now:.0f} %"
            yield [
                (
                    f"  {row.resource:<20} {_value(row.demand_per_put, row.unit):>12}"
                    f" {_value(row.free_capacity_per_second, _per_second(row.unit)):>13}"
                    f" {rate_text(row.puts_per_second):>10} {used:>7}",
                    "bold" if index == 0 else "",
                )
            ]
        yield from _wrapped(f"binding first; demands from {model.demands[0].source}", "  ", "dim")
    if model.advice:
        yield from _wrapped(model.advice, "  ", "")


def _value(value: float, unit: str) -> str:
    """A factor, a demand or a capacity, short."""
    if unit == "bytes":
        return byte_text(value)
    if unit == "bytes/s":
        return f"{byte_text(value)}/s"
    if unit in {"core seconds/s", "thread seconds/s"}:
        return f"{value:,.2f} {unit.split(maxsplit=1)[0]}s"
    if not unit.endswith("seconds") or unit.startswith("1/"):
        return f"{value:,.4g}"
    if abs(value) < 0.1:
        return f"{1e6 * value:,.1f} us"
    return f"{value:,.3g} s"


def _per_second(unit: str) -> str:
    """The unit of a free capacity; its seconds per second are threads or cores."""
    return f"{unit}/s"


def _simulation_lines(simulation: SimulationPart) -> Iterator[list[Style]]:
    yield [
        ("what the simulator saw: ", "bold"),
        (f"{rate_text(simulation.puts_per_second)} puts/s at saturation", ""),
    ]
    written = ", ".join(
        f"{part.cause} {byte_text(part.bytes_per_put)} ({100 * part.share:.0f} %)"
        for part in simulation.written
    )
    used = ", ".join(f"{name} {100 * part:.0f} %" for name, part in simulation.utilization.items())
    yield from _wrapped(f"written per put at saturation: {written}", "  ", "")
    yield from _wrapped(f"in use at saturation: {used}", "  ", "")
    causes = ", ".join(
        f"{cause} {100 * part:.1f} %" for cause, part in simulation.stall_causes.items()
    )
    yield from _wrapped(
        f"stopped {100 * simulation.stopped_ratio:.1f} % and delayed "
        f"{100 * simulation.delayed_ratio:.1f} % of {duration_text(simulation.simulated_seconds)}"
        f"{f' ({causes})' if causes else ''}; "
        f"{simulation.level0_files_mean:.1f} level-0 files on average, "
        f"{byte_text(simulation.pending_compaction_bytes_end)} pending at the end"
        + ("" if simulation.converged else "; it did not settle: take it as a rough figure"),
        "  ",
        "",
    )


def _phase_lines(phase: PhasePart) -> Iterator[list[Style]]:
    waiting = "" if phase.candidate is None else f", {phase.candidate} is outvoting it"
    yield [
        ("phase: ", "bold"),
        (f"{phase.name} for {duration_text(phase.for_seconds)}{waiting}", ""),
    ]
    for vote in phase.votes:
        seen = "" if vote.value is None else f"{vote.value:,.1f} {vote.unit}"
        yield from _wrapped(
            f"{vote.voter:<10} {seen:>14}  {vote.phase:<8} ({vote.rule})", "  ", "", " " * 29
        )


def _confidence_lines(confidence: ConfidencePart) -> Iterator[list[Style]]:
    yield [("confidence: ", "bold"), (f"{confidence.level} (by {confidence.basis})", "")]
    for reason in confidence.why:
        yield from _wrapped(f"- {reason}", "  ", "", "    ")


def _outlook_lines(explanation: Explanation) -> Iterator[list[Style]]:
    yield [("outlook", "bold")]
    yield from _outlook("time to stall", explanation.time_to_stall_seconds, duration_text)
    stall = explanation.stall
    if stall is not None and stall.detail:
        sure = "" if stall.confidence is None else f" (confidence {stall.confidence})"
        yield from _wrapped(f"{'':<15} {stall.detail}{sure}", "  ", "dim", " " * 18)
    yield from _outlook("debt", explanation.debt_bytes, byte_text)
    yield from _outlook("debt clears in", explanation.debt_clear_seconds, duration_text)


def _outlook(label: str, reading: Reading, text: Callable[[float], str]) -> Iterator[list[Style]]:
    shown = (reading.detail or "unknown") if reading.value is None else text(reading.value)
    yield from _wrapped(f"{label:<15} {shown}", "  ", "", " " * 18)


def _gap_lines(explanation: Explanation) -> Iterator[list[Style]]:
    old = [age for age in explanation.ages if age.age_seconds >= OLD_SECONDS]
    if explanation.missing or explanation.fallbacks or old:
        yield []
        yield [("missing or old", "bold")]
    by_reason: dict[tuple[str, str], list[str]] = {}
    for absence in explanation.missing:
        by_reason.setdefault((absence.reason, absence.detail), []).append(absence.quantity)
    for (reason, detail), quantities in by_reason.items():
        yield from _wrapped(
            f"- {', '.join(quantities)}: {detail} ({reason})", "  ", "yellow", "    "
        )
    for fallback in explanation.fallbacks:
        yield from _wrapped(
            f"- {fallback.name}: {fallback.detail}; instead: {fallback.fallback}",
            "  ",
            "yellow",
            "    ",
        )
    for age in old:
        yield from _wrapped(
            f"- {age.quantity}: {duration_text(age.age_seconds)} old ({age.source})",
            "  ",
            "dim",
            "    ",
        )


def _wrapped(text: str, indent: str, style: str, further: str | None = None) -> list[list[Style]]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        drop_whitespace=True,
        break_on_hyphens=False,
    )
    return [[(line, style)] for line in lines]


def plain(explanations: Iterable[Explanation]) -> str:
    """All of them without any style, with an empty line between."""
    return "\n".join(
        "".join(
            "".join(text for text, _ in line).rstrip() + "\n" for line in explanation_lines(each)
        )
        for each in explanations
    )

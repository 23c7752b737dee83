"""A line cut into equal stretches of time, as many as a plot has columns. Pure."""

from collections.abc import Callable, Sequence

from agent.history.past import Line

SMALLEST = 1e-12
"""Nothing that is measured is smaller but 0."""


def cut(
    line: Line,
    values: Sequence[float | None],
    since: int,
    until: int,
    count: int,
    fold: Callable[[list[float]], float],
) -> list[float | None]:
    """``fold`` of the values that stand for some of each stretch; None where nothing is known."""
    width = (until - since) / count
    stretches: list[list[float]] = [[] for _ in range(count)]
    for (time, span), value in zip(line.spans(), values, strict=True):
        if value is None:
            continue
        first = max(0, int((time - since) / width))
        last = min(count - 1, int((time + span - since - 1e-6) / width))
        for index in range(first, last + 1):
            stretches[index].append(value)
    return [fold(stretch) if stretch else None for stretch in stretches]


def cut_words(
    line: Line, words: Sequence[str | None], since: int, until: int, count: int
) -> list[str | None]:
    """Of words: the one that each stretch has for the longest time; None where none is known."""
    width = (until - since) / count
    shares: list[dict[str, float]] = [{} for _ in range(count)]
    for (time, span), word in zip(line.spans(), words, strict=True):
        if word is None:
            continue
        first = max(0, int((time - since) / width))
        last = min(count - 1, int((time + span - since - 1e-6) / width))
        for index in range(first, last + 1):
            begin = since + index * width
            lasted = min(time + span, begin + width) - max(time, begin)
            shares[index][word] = shares[index].get(word, 0.0) + lasted
    return [max(share, key=lambda word: share[word]) if share else None for share in shares]


def mean(values: list[float]) -> float:
    """The plain mean: the rows of one line stand for equal times, gaps apart."""
    return sum(values) / len(values)


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten: where an axis can end."""
    if value <= SMALLEST:
        return SMALLEST if value > 0.0 else 1.0
    power = 1.0
    while power * 10.0 <= value:
        power *= 10.0
    while power > value:
        power /= 10.0
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value)

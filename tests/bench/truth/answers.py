"""What the agent says of S_max, model by model, by its API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECOMMENDED = "recommended"

LISTS = ("predictions", "estimates", "calibrated")
"""Fields of the status document's database that list one object per model; later ones win."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One model's answer: puts/s, with its 90 % interval where it gives one."""

    model: str
    puts_per_second: float
    lower: float | None = None
    upper: float | None = None
    bottleneck: str | None = None


def of_document(database: Mapping[str, Any] | None) -> dict[str, Prediction]:
    """By model, out of the API's answer; what is recommended is in it under that name too."""
    found: dict[str, Prediction] = {}
    if database is None:
        return found
    entries = [entry for name in LISTS for entry in database.get(name) or ()]
    recommended = database.get("recommended")
    for entry in entries:
        _add(found, str(entry["model"]), entry)
    if recommended:
        _add(found, RECOMMENDED, recommended, recommended.get("model"))
        limit = database.get("bottleneck")
        if limit and RECOMMENDED in found and found[RECOMMENDED].bottleneck is None:
            found[RECOMMENDED] = _limited(found[RECOMMENDED], str(limit))
    return found


def _add(
    found: dict[str, Prediction], name: str, entry: Mapping[str, Any], same_as: str | None = None
) -> None:
    rate = entry.get("puts_per_second")
    if rate is None:
        return
    other = found.get(same_as or name)
    lower, upper, limit = (entry.get(field) for field in ("lower", "upper", "bottleneck"))
    if other is not None:
        # The recommended rate is a model's; its interval stands there.
        lower = other.lower if lower is None else lower
        upper = other.upper if upper is None else upper
        limit = other.bottleneck if limit is None else limit
    found[name] = Prediction(name, float(rate), lower, upper, limit)


def _limited(prediction: Prediction, bottleneck: str) -> Prediction:
    return Prediction(
        prediction.model,
        prediction.puts_per_second,
        prediction.lower,
        prediction.upper,
        bottleneck,
    )

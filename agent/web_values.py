"""What the keys of web-config.yml share: problems, and values out of their text. Pure."""

import re
from typing import Final

BOOLEANS: Final = {
    **dict.fromkeys(
        ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True
    ),
    **dict.fromkeys(
        ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False
    ),
}
DURATION_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
MAX_SECONDS: Final = 1e9


class WebConfigError(Exception):
    """The file cannot be used; ``problems`` are sentences without a secret in them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problems:
    """Collects what is wrong with a file, so that all of it can be told at once."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, key: str, what: str) -> None:
        """``what`` begins in the middle of a sentence, whose subject is the key."""
        self.sentences.append(f"{key}: {what}")

    def boolean(self, key: str, text: str | None, *, default: bool) -> bool:
        """A truth value as YAML 1.1 spells it."""
        if text is None:
            return default
        if text not in BOOLEANS:
            self.add(key, "must be true or false")
        return BOOLEANS.get(text, default)

    def seconds(self, key: str, text: str | None) -> float:
        """A duration of Go's, such as 1m30s; a bare number is of nanoseconds."""
        if not text:
            return 0.0
        if re.fullmatch(r"[0-9]{1,18}", text):
            seconds = int(text) * 1e-9
        else:
            parts = DURATION_PART.findall(text)
            if not parts or "".join(number + unit for number, unit in parts) != text:
                self.add(key, "must be a duration such as 1s, 500ms or 1m30s")
                return 0.0
            seconds = sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)
        if seconds > MAX_SECONDS:
            self.add(key, "is longer than any service runs")
        return seconds

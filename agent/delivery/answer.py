"""What came of one attempt to deliver, and what an HTTP answer says about it."""

import email.utils
import math
from dataclasses import dataclass
from typing import Final, Literal

AttemptOutcome = Literal["delivered", "failed", "rejected"]

LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
"""A receiver may ask for patience, not for silence: who asks for more is asked again after this."""

TRY_AGAIN_LATER: Final = frozenset({408, 425, 429})
"""Statuses below 500 that are about the moment, not about the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``failed`` may go better later, ``rejected`` will not. ``detail`` is for people and holds no
    secret; ``retry_after_seconds`` is what the receiver asked for; ``body`` is what follows a
    success, for who wants it.
    """

    outcome: AttemptOutcome
    detail: str
    retry_after_seconds: float | None = None
    body: bytes = b""


def answer_of(
    status: int, reason: str, retry_after: str | None, text: str, wall_seconds: float
) -> Answer:
    """What an HTTP answer means (RFC 9110); ``text`` is the beginning of its body."""
    shown = " ".join(f"{status} {reason}".split())
    told = " ".join(text.split())[:200]
    detail = f"answered {shown}: {told}" if told else f"answered {shown}"
    if 200 <= status < 300:
        return Answer("delivered", detail)
    if 300 <= status < 400:
        return Answer("rejected", f"{detail}; redirects are not followed: name the final URL")
    if 400 <= status < 500 and status not in TRY_AGAIN_LATER:
        return Answer("rejected", detail)
    return Answer("failed", detail, retry_after_seconds(retry_after, wall_seconds))


def retry_after_seconds(value: str | None, wall_seconds: float) -> float | None:
    """Seconds to wait by a Retry-After header, a number or a date; None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:12])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - wall_seconds
        except (TypeError, ValueError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)

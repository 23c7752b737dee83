"""The two ways in which a probe can have nothing to say.

Both carry ``reason``, a short constant in snake_case that becomes the ``reason`` label of
``smax_unavailable``, and ``detail``, one sentence for a person: what, where, what to do.
"""


class ProbeError(Exception):
    """Base of both outcomes other than a sample."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NoData(ProbeError):
    """The thing is absent, and that is normal: no WAL, no pressure files, not permitted."""


class ProbeFailed(ProbeError):
    """The thing should be there and readable, and is not: a damaged file, a crashed program."""

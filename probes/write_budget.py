"""Who says whether the agent may write a file of its own, and keeps the account of it."""

from typing import Protocol


class WriteBudget(Protocol):
    """One per file or kind of file, for one writer."""

    def ask(self, size_bytes: int) -> str | None:
        """Before so much is written: None when it may be, else why not. Waits for the device."""

    def done(self, written_bytes: int) -> None:
        """So much of it was written, and nothing is under way any more. Never waits."""

    def close(self) -> None:
        """Nothing will be written any more: what was set aside is free. Never waits."""


class NoBudget:
    """Where nobody keeps an account: in a command, which tells the daemon afterwards."""

    def ask(self, size_bytes: int) -> str | None:
        """Everything may be written."""
        del size_bytes
        return None

    def done(self, written_bytes: int) -> None:
        """Nobody counts it."""

    def close(self) -> None:
        """Nothing was set aside."""

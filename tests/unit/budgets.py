"""A budget that a test turns on and off, and that remembers what it was asked and told."""


class Budget:
    """Refuses while ``refusal`` is a reason."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.asked: list[int] = []
        self.written: list[int] = []
        self.closed = False

    def ask(self, size_bytes: int) -> str | None:
        """None when it may be written."""
        self.asked.append(size_bytes)
        return self.refusal

    def done(self, written_bytes: int) -> None:
        """So much was."""
        self.written.append(written_bytes)

    def close(self) -> None:
        """Nothing more will be."""
        self.closed = True

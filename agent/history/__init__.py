"""What was, for two years: recorded beside the tick, read by ``smaxd history`` and ``report``."""

"""Decide and publish: pure decision modules, and one composition root that wires them to probes."""

__version__ = "0.1.0"

"""``python -m agent`` is ``smaxd``."""

from agent.cli import main

main()

"""What holds for all tests."""

import pytest
from hypothesis import settings

# A deadline per example is a timed assertion: on a busy machine it fails right code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also the faults that take minutes")
    parser.addoption("--fault-seed", type=int, help="the first seed of combined faults, to repeat")
    parser.addoption("--fault-runs", type=int, default=1, help="how many runs of combined faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    skip = pytest.mark.skip(reason="takes minutes: scripts/test --all")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(skip)

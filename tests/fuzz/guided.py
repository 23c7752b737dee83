"""One target under libFuzzer: ``python -m tests.fuzz.guided TARGET [libFuzzer's arguments]``."""

import sys

import atheris


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name = sys.argv[1]
    with atheris.instrument_imports(include=["probes", "agent", "yaml"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

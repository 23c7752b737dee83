"""The wheels that the package brings: smaxd's own, and its dependencies as they are pinned."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from installer.sources import WheelFile
from installer.utils import parse_metadata_file, parse_wheel_filename

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")

TEST_EXTRA = "test"
"""Every other extra is packaged: who installs a .deb has no pip to add one with."""


class BuildError(Exception):
    """Why no package can be made, in one line."""


def run(argv: Sequence[str], failed: str, cwd: Path | None = None, **environment: str) -> str:
    """What a program prints; BuildError with ``failed`` when it does not end well."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{failed} (exit {done.returncode}: {' '.join(argv)})")
    return done.stdout


def build_wheel(root: Path, into: Path, constraints: Path) -> Path:
    """Build the project's wheel, with the pinned build backend."""
    run(
        [sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", str(into), str(root)],
        "the project's wheel could not be built",
        PIP_CONSTRAINT=str(constraints),
    )
    (wheel,) = into.glob("smaxd-*.whl")
    return wheel


def download_dependencies(wheel: Path, into: Path, constraints: Path) -> list[Path]:
    """Fetch the wheels of everything that ``wheel`` needs, in order of their names.

    BuildError when one has no pinned version: the package would be another one tomorrow.
    """
    extras = ",".join(extras_of(wheel))
    requirement = f"smaxd[{extras}] @ {wheel.as_uri()}" if extras else str(wheel)
    where = ["--dest", str(into), "--constraint", str(constraints)]
    run(
        [sys.executable, *PIP, "download", "--only-binary", ":all:", *where, requirement],
        "the dependencies could not be fetched; is the package index reachable?",
    )
    wheels = sorted(path for path in into.glob("*.whl") if path.name != wheel.name)
    missing = unpinned([path.name for path in wheels], constraints.read_text())
    if missing:
        raise BuildError(f"pin these in {constraints}: {', '.join(missing)}")
    return wheels


def extras_of(wheel: Path) -> list[str]:
    """The extras that are packaged."""
    with WheelFile.open(wheel) as source:
        metadata = parse_metadata_file(source.read_dist_info("METADATA"))
    return [name for name in metadata.get_all("Provides-Extra", []) if name != TEST_EXTRA]


def unpinned(wheels: Sequence[str], constraints: str) -> list[str]:
    """``name==version`` of each wheel, by its file's name, that the constraints do not name so."""
    pinned = {
        (_normal(name), version)
        for name, _, version in (line.partition("==") for line in constraints.split())
    }
    parsed = [parse_wheel_filename(name) for name in wheels]
    return [
        f"{wheel.distribution}=={wheel.version}"
        for wheel in parsed
        if (_normal(wheel.distribution), wheel.version) not in pinned
    ]


def _normal(name: str) -> str:
    """The one spelling of a project's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

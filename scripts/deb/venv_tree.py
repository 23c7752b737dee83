"""The virtual environment as it will lie on the host, made in a staging directory.

Nothing is moved afterwards: scripts and compiled modules are written for ``VENV`` from the start,
so the staging directory's name is in none of them.
"""

import compileall
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from py_compile import PycInvalidationMode

import installer
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelContentElement, WheelFile

from scripts.deb.wheels import BuildError

VENV = "/opt/smaxd/venv"
APPLICATION = "smaxd"

DEVELOPERS_SUFFIXES = frozenset({".pyi", ".pxd", ".a", ".h"})
"""Type stubs and what C and Cython programs are compiled and linked with."""

DEVELOPERS_DIRECTORIES = frozenset({"tests"})


def make_venv(stage: Path, wheels: Sequence[Path], interpreter: str) -> None:
    """Install ``wheels`` into ``stage``/opt/smaxd/venv, compiled, for ``interpreter``.

    This interpreter must be of the same minor version: paths and compiled modules carry it.
    """
    venv = stage / VENV.lstrip("/")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(interpreter)
    (venv / "bin" / "python3").symlink_to("python")
    # What Python needs to know of a virtual environment, https://docs.python.org/3/library/site.html;
    # the venv module would add the command that made it, with its paths.
    (venv / "pyvenv.cfg").write_text(
        f"home = {PurePosixPath(interpreter).parent}\ninclude-system-site-packages = false\n"
    )
    destination = SchemeDictionaryDestination(
        scheme_dict=_scheme(),
        interpreter=f"{VENV}/bin/python",
        script_kind="posix",
        destdir=str(stage),
    )
    for wheel in wheels:
        with LeanWheel.open(wheel) as source:
            installer.install(source, destination, {})
    _compile(stage)


def _scheme() -> dict[str, str]:
    base = {"base": VENV, "platbase": VENV, "installed_base": VENV, "installed_platbase": VENV}
    paths = sysconfig.get_paths("venv", vars=base)
    return {**paths, "headers": f"{VENV}/include"}


def _compile(stage: Path) -> None:
    """Compile all modules. By the sources' hashes: neither their times nor root's runs matter."""
    packages = stage / _scheme()["purelib"].lstrip("/")
    if not compileall.compile_dir(
        packages,
        maxlevels=sys.maxsize,
        quiet=1,
        stripdir=str(stage),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.CHECKED_HASH,
    ):
        raise BuildError("a module could not be compiled")


class LeanWheel(WheelFile):
    """A wheel without what only its developers need, and without the commands of libraries."""

    @property
    def dist_info_filenames(self) -> list[str]:
        """The installer makes a command of each line of entry_points.txt."""
        names = super().dist_info_filenames
        if self.distribution == APPLICATION:
            return names
        return [name for name in names if name != "entry_points.txt"]

    def get_contents(self) -> Iterator[WheelContentElement]:
        """What is installed, and thus what RECORD names."""
        return (element for element in super().get_contents() if is_needed(element[0][0]))


def is_needed(path: str) -> bool:
    """Tell whether a running program may need this file of a wheel.

    What smaxd's wheel brings for an operator to copy from has its place in the package.

    >>> is_needed("numpy/_core/multiarray.py"), is_needed("numpy/_core/tests/test_umath.py")
    (True, False)
    """
    *directories, name = path.split("/")
    return (
        PurePosixPath(name).suffix not in DEVELOPERS_SUFFIXES
        and not DEVELOPERS_DIRECTORIES.intersection(directories)
        and f".data/data/share/{APPLICATION}/" not in path
    )

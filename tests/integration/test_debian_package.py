"""The Debian package and the wheel, built as a release is, and what is in them."""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import __version__
from tests.integration.daemon import ROOT, environment, workplace

BUILD_PROGRAMS = ("dpkg-deb", "dpkg-shlibdeps")
MISSING = [name for name in BUILD_PROGRAMS if shutil.which(name) is None]

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: apt-get install dpkg-dev"),
]

EPOCH = 1_700_000_000
NOT_THE_TREES = (
    ".git",
    ".cache",
    ".venv",
    "dist",
    "build",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)


@dataclass(frozen=True)
class Built:
    """A package, and what is in it."""

    path: Path
    checkout: Path
    root: Path
    control: Path


def build(checkout: Path, output: Path, umask: int, **more: str) -> Path:
    done = subprocess.run(
        [str(checkout / "scripts/build-deb"), "--output", str(output)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **more},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with workplace() as path:
        yield path


@pytest.fixture(scope="module")
def checkout(place: Path) -> Path:
    """A copy of this tree: somebody may work in the original while the tests run."""
    return copied(ROOT, place / "checkout")


def copied(tree: Path, to: Path) -> Path:
    ignored = shutil.ignore_patterns(*NOT_THE_TREES)
    # The captured sysfs trees have symbolic links in circles.
    shutil.copytree(tree, to, ignore=ignored, symlinks=True)
    return to


@pytest.fixture(scope="module")
def built(place: Path, checkout: Path) -> Built:
    path = build(checkout, place / "out", umask=0o077, TZ="Asia/Tokyo", LC_ALL="C")
    subprocess.run(["dpkg-deb", "--extract", str(path), str(place / "root")], check=True)
    subprocess.run(["dpkg-deb", "--control", str(path), str(place / "control")], check=True)
    return Built(path, checkout, place / "root", place / "control")


def test_two_builds_give_the_same_bytes(built: Built, place: Path) -> None:
    """Wherever the tree lies, whoever builds, in whichever time zone and language."""
    copy = copied(built.checkout, place / "a-checkout-elsewhere")
    second = build(copy, place / "second", umask=0o022, TZ="America/Lima", LC_ALL="C.UTF-8")
    assert second.name == built.path.name
    assert digest(second) == digest(built.path)


def digest(path: Path) -> str:
    """Shorter to compare, and to show, than the bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_file_names_a_directory_of_the_build(built: Built) -> None:
    """Neither the checkout nor the staging directory, in scripts, modules compiled or metadata."""
    names = (str(built.checkout).encode() + b"/", b"smaxd-deb-", b"/stage/opt/smaxd")
    found = [
        f"{path}: {name.decode()}"
        for path in files_below(built.root)
        for name in names
        if name in path.read_bytes()
    ]
    assert found == []


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def test_the_package_says_what_it_is_and_what_it_needs(built: Built) -> None:
    """The version is the program's own; the interpreter is the one that the modules are for."""
    fields = dict(
        line.split(": ", 1)
        for line in (built.control / "control").read_text().splitlines()
        if ": " in line
    )
    assert fields["Version"] == f"{__version__}-1"
    needed = [name.split()[0] for name in fields["Depends"].split(", ")]
    (python,) = (name for name in needed if name.startswith("python3."))
    assert (built.root / "opt/smaxd/venv/bin/python").readlink() == Path(f"/usr/bin/{python}")
    assert (built.root / f"opt/smaxd/venv/lib/{python}/site-packages/agent").is_dir()
    assert {"fio", "libc6", "procps", "systemd"} <= set(needed)
    assert (built.control / "conffiles").read_text() == "/etc/smaxd/smaxd.yaml\n"


def test_what_an_operator_looks_for_is_where_it_belongs(built: Built) -> None:
    names = {str(path.relative_to(built.root)) for path in built.root.rglob("*")}
    assert {
        "etc/smaxd/smaxd.yaml",
        "lib/systemd/system/smaxd.service",
        "usr/lib/sysusers.d/smaxd.conf",
        "usr/share/bash-completion/completions/smaxd",
        "usr/share/zsh/vendor-completions/_smaxd",
        "usr/share/fish/vendor_completions.d/smaxd.fish",
        "usr/share/man/man1/smaxd.1.gz",
        "usr/share/doc/smaxd/changelog.Debian.gz",
        "usr/share/doc/smaxd/copyright",
        "usr/share/doc/smaxd/install.md",
        "usr/share/smaxd/drop-ins/database-access.conf",
    } <= names
    assert (built.root / "usr/bin/smaxd").readlink() == Path("/opt/smaxd/venv/bin/smaxd")
    shipped = (built.root / "etc/smaxd/smaxd.yaml").read_bytes()
    assert shipped == (built.checkout / "configs/smaxd.yaml").read_bytes()


def test_the_environment_holds_the_program_and_nothing_of_its_developers(built: Built) -> None:
    """One command, no tests of libraries, no installer; every module compiled for its place."""
    environment_root = built.root / "opt/smaxd/venv"
    commands = sorted(path.name for path in (environment_root / "bin").iterdir())
    assert commands == ["python", "python3", "smaxd"]
    assert (environment_root / "bin/smaxd").read_text().startswith("#!/opt/smaxd/venv/bin/python\n")
    (packages,) = environment_root.glob("lib/python3.*/site-packages")
    present = {path.name for path in packages.iterdir()}
    assert not present & {"pip", "pytest", "hypothesis", "installer", "mypy", "tests"}
    assert not list(packages.rglob("tests"))
    uncompiled = [
        str(path)
        for path in packages.rglob("*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))
    ]
    assert uncompiled == []


def test_the_modules_can_be_read_by_everybody_and_written_by_nobody_but_root(built: Built) -> None:
    """Whatever the umask of whoever built it."""
    listing = subprocess.run(
        ["dpkg-deb", "--contents", str(built.path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    modes = {(line.split()[0], line.split()[1]) for line in listing}
    assert {owner for _, owner in modes} == {"root/root"}
    assert {mode for mode, _ in modes} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_lintian_has_nothing_to_say_that_is_not_answered(built: Built) -> None:
    """Each override has its reason beside it."""
    options = ["--allow-root", "--fail-on=error,warning", "--tag-display-limit=0"]
    done = subprocess.run(
        ["lintian", *options, str(built.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if re.match(r"[EW]:", line)]
    assert (said, done.returncode) == ([], 0)


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", "bash-completion/completions/smaxd"),
        ("zsh", "zsh/vendor-completions/_smaxd"),
        ("fish", "fish/vendor_completions.d/smaxd.fish"),
    ],
)
def test_a_shell_takes_its_completion(built: Built, shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    argv = [shell, "-n", str(built.root / "usr/share" / file)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stderr == ""


def test_bash_completes_commands_and_options(built: Built) -> None:
    """The packaged script asks the installed program, so it knows what that one knows.

    Where a path is wanted it leaves the rest to bash, whose default that is.
    """
    script = built.root / "usr/share/bash-completion/completions/smaxd"
    reply = '_smaxd_completion smaxd; echo "${COMPREPLY[@]}"'
    ask = (
        f"source {script}; COMP_WORDS=(smaxd sta); COMP_CWORD=1; {reply}; "
        f"COMP_WORDS=(smaxd status --w); COMP_CWORD=2; COMPREPLY=(); {reply}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["status", "--watch"]


def test_the_maintainer_scripts_are_programs(built: Built) -> None:
    for name in ("postinst", "prerm", "postrm"):
        assert (built.control / name).stat().st_mode & stat.S_IXUSR
        subprocess.run(["sh", "-n", str(built.control / name)], check=True)


def test_the_wheel_gives_a_working_program_in_a_clean_environment(place: Path) -> None:
    """As pipx installs it: the command, its children, and the files to copy from."""
    home = place / "clean"
    venv.create(home, with_pip=True)
    python = str(home / "bin/python")
    constraints = str(ROOT / "scripts/constraints.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", str(ROOT)],
        env={**os.environ, "PIP_CONSTRAINT": constraints},
        check=True,
    )

    def smaxd(*words: str) -> str:
        return subprocess.run(
            [str(home / "bin/smaxd"), *words],
            env=environment(place) | {"PYTHONPATH": ""},
            cwd=place,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert smaxd("--version").split()[-1] == __version__
    shipped = home / "share/smaxd"
    assert smaxd("check-config", str(shipped / "smaxd.yaml")) == f"{shipped / 'smaxd.yaml'}: ok\n"
    assert (shipped / "systemd/smaxd.service").is_file()
    assert (shipped / "systemd/drop-ins/database-access.conf").is_file()
    asked = "import agent, probes; print(agent.__file__, probes.__file__)"
    found = subprocess.run(
        [python, "-I", "-c", asked], cwd=place, capture_output=True, text=True, check=True
    ).stdout.split()
    assert all(path.startswith(f"{home}/") for path in found)

"""What the Debian package says of itself, and which files of a wheel it takes."""

import shutil
import subprocess
from email.message import Message
from pathlib import Path

import pytest

from agent import __version__
from scripts.deb.metadata import (
    NOT_STATED,
    Bundled,
    changelog,
    copyright_file,
    debian_version,
    license_of,
)
from scripts.deb.venv_tree import is_needed
from scripts.deb.wheels import unpinned

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")

DEB = Path(__file__).parents[2] / "scripts" / "deb"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.0", "1.2.0-1"),
        ("1.2.0rc1", "1.2.0~rc1-1"),
        ("1.2.0a2", "1.2.0~a2-1"),
        ("1.2.0b3", "1.2.0~b3-1"),
        ("1.3.dev4", "1.3~dev4-1"),
    ],
)
def test_a_python_version_becomes_debians(version: str, expected: str) -> None:
    assert debian_version(version, "1") == expected


@needs_dpkg
@pytest.mark.parametrize("before", ["1.2.0a2", "1.2.0b3", "1.2.0rc1", "1.2.0.dev4"])
def test_dpkg_upgrades_from_a_pre_release_to_its_release(before: str) -> None:
    """Debian's order of versions is not Python's."""
    versions = (debian_version(before, "1"), "lt", debian_version("1.2.0", "1"))
    assert subprocess.run(["dpkg", "--compare-versions", *versions], check=False).returncode == 0


@needs_dpkg
def test_the_version_of_this_tree_is_one_that_dpkg_takes() -> None:
    version = debian_version(__version__, "1")
    assert subprocess.run(["dpkg", "--validate-version", version], check=False).returncode == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", True),
        ("numpy-2.4.6.dist-info/licenses/LICENSE.txt", True),
        ("click/testing.py", True),
        ("numpy/_core/tests/test_umath.py", False),
        ("numpy/__init__.pyi", False),
        ("numpy/_core/lib/libnpymath.a", False),
        ("smaxd-1.0.data/data/share/smaxd/smaxd.yaml", False),
    ],
)
def test_the_package_takes_what_runs_and_leaves_what_developers_need(
    path: str, expected: bool
) -> None:
    assert is_needed(path) is expected


def test_a_dependency_without_a_pinned_version_is_named() -> None:
    """Names are compared as the package index does, versions exactly."""
    wheels = [
        "prometheus_client-0.26.0-py3-none-any.whl",
        "PyYAML-6.0.3-cp311-cp311-manylinux_2_28_x86_64.whl",
        "click-8.5.2-py3-none-any.whl",
        "h11-0.16.0-py3-none-any.whl",
    ]
    constraints = "prometheus-client==0.26.0\npyyaml==6.0.3\nclick==8.5.1\n"
    assert unpinned(wheels, constraints) == ["click==8.5.2", "h11==0.16.0"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("License-Expression", "MIT"), ("License", "other")], "MIT"),
        ([("License", "BSD-3-Clause")], "BSD-3-Clause"),
        (
            [
                ("License", "A text of\nmany lines"),
                ("Classifier", "License :: OSI Approved :: MIT License"),
                ("Classifier", "Programming Language :: Python"),
            ],
            "MIT License",
        ),
        ([("Name", "x")], NOT_STATED),
    ],
)
def test_a_license_is_told_by_the_field_that_tells_it(
    fields: list[tuple[str, str]], expected: str
) -> None:
    metadata = Message()
    for name, value in fields:
        metadata[name] = value
    assert license_of(metadata) == expected


def test_the_copyright_file_names_every_bundled_package() -> None:
    bundled = [Bundled("click", "8.5.1", "BSD-3-Clause"), Bundled("h11", "0.16.0", "MIT")]
    text = copyright_file((DEB / "copyright").read_text(), "Apache-2.0", bundled)
    assert "Its license: Apache-2.0\n" in text
    assert "click 8.5.1: BSD-3-Clause\nh11 0.16.0: MIT\n" in text
    assert "@" not in text


def test_the_changelog_is_one_that_dpkg_reads() -> None:
    lines = changelog("1.2.0-1", 86400.0).splitlines()
    assert lines[0] == "smaxd (1.2.0-1) unstable; urgency=medium"
    assert lines[-1].endswith("  Fri, 02 Jan 1970 00:00:00 -0000")


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
@pytest.mark.parametrize("argument", ["configure", "upgrade", "remove", "purge", "abort-upgrade"])
def test_maintainer_scripts_survive_a_host_without_systemd_and_a_foreign_root(
    script: str, argument: str, tmp_path: Path
) -> None:
    """With DPKG_ROOT they touch nothing but what lies below it: no user, no service, no file."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("systemctl", "systemd-sysusers", "deb-systemd-invoke"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/called\n")
        (programs / name).chmod(0o755)
    (programs / "deb-systemd-helper").write_text("#!/bin/sh\nexit 1\n")
    (programs / "deb-systemd-helper").chmod(0o755)
    state = tmp_path / "root/var/lib/smaxd"
    state.mkdir(parents=True)
    done = subprocess.run(
        ["/bin/sh", str(DEB / script), argument],
        env={"PATH": f"{programs}:/usr/bin:/bin", "DPKG_ROOT": str(tmp_path / "root")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "called").exists()
    assert state.exists() is not (script == "postrm" and argument == "purge")

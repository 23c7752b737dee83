"""Lays out the package's files, and has dpkg-deb pack them. Called by ``scripts/build-deb``."""

import argparse
import gzip
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from installer.sources import WheelFile
from installer.utils import parse_metadata_file

from scripts.deb.metadata import (
    MAINTAINER,
    Bundled,
    changelog,
    copyright_file,
    debian_version,
    filled,
    license_of,
)
from scripts.deb.venv_tree import VENV, make_venv
from scripts.deb.wheels import BuildError, build_wheel, download_dependencies, run

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"

MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm")
CONFIG = "etc/smaxd/smaxd.yaml"
DOC = "usr/share/doc/smaxd"
SHARE = "usr/share/smaxd"
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/smaxd",
    "zsh": "usr/share/zsh/vendor-completions/_smaxd",
    "fish": "usr/share/fish/vendor_completions.d/smaxd.fish",
}


def build(output: Path, revision: str, epoch: int) -> Path:
    """Make the package in ``output``, and return its path; BuildError when it cannot be made."""
    # dpkg-deb takes owners as root's and times as at most SOURCE_DATE_EPOCH; modes are ours.
    os.umask(0o022)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="smaxd-deb-") as scratch:
        stage = Path(scratch) / "stage"
        (stage / "DEBIAN").mkdir(parents=True)
        (Path(scratch) / "wheels").mkdir()
        own = build_wheel(ROOT, Path(scratch) / "wheels", CONSTRAINTS)
        wheels = [own, *download_dependencies(own, Path(scratch) / "wheels", CONSTRAINTS)]
        make_venv(stage, wheels, interpreter())
        bundled = [described(wheel) for wheel in wheels]
        version = debian_version(bundled[0].version, revision)
        lay_out(stage, bundled, version, epoch)
        architecture = run(["dpkg", "--print-architecture"], "no architecture").strip()
        write_control(stage, version, architecture, libraries(stage, Path(scratch)))
        programs = (stage / VENV.lstrip("/") / "bin", stage / "DEBIAN")
        for path in (stage, *stage.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or is_program(path, programs) else 0o644)
                os.utime(path, (epoch, epoch))
        package = output / f"smaxd_{version}_{architecture}.deb"
        run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(package)],
            "the package could not be packed",
        )
    return package


def is_program(path: Path, directories: Collection[Path]) -> bool:
    """Tell whether a file is to be run. Wheels mark modules and libraries as well."""
    return path.parent in directories and bool(path.stat().st_mode & stat.S_IXUSR)


def interpreter() -> str:
    """Debian's Python of exactly this minor version, which the compiled packages are for."""
    return f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def described(wheel: Path) -> Bundled:
    """A wheel as its metadata describe it."""
    with WheelFile.open(wheel) as source:
        metadata = parse_metadata_file(source.read_dist_info("METADATA"))
    return Bundled(str(metadata["Name"]), str(metadata["Version"]), license_of(metadata))


def lay_out(stage: Path, bundled: list[Bundled], version: str, epoch: int) -> None:
    """Everything but the virtual environment and the control files."""

    def place(target: str, text: str | bytes) -> None:
        path = stage / target
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

    def copy(source: str, target: str) -> None:
        for path in sorted((ROOT / source).rglob("*")):
            if path.is_file():
                place(f"{target}/{path.relative_to(ROOT / source)}", path.read_bytes())

    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/smaxd").symlink_to(f"{VENV}/bin/smaxd")
    place(CONFIG, (ROOT / "configs/smaxd.yaml").read_bytes())
    place("lib/systemd/system/smaxd.service", (ROOT / "systemd/smaxd.service").read_bytes())
    place("usr/lib/sysusers.d/smaxd.conf", (SOURCES / "smaxd.sysusers").read_bytes())
    copy("systemd/drop-ins", f"{SHARE}/drop-ins")
    for kit in sorted(path.name for path in (ROOT / "configs").iterdir() if path.is_dir()):
        copy(f"configs/{kit}", f"{SHARE}/{kit}")
    copy("docs/runbooks", f"{DOC}/runbooks")
    for page in sorted((ROOT / "docs").glob("*.md")):
        place(f"{DOC}/{page.name}", page.read_bytes())
    place(f"{DOC}/README.md", (ROOT / "README.md").read_bytes())
    place(f"{DOC}/changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())
    place(f"{DOC}/changelog.Debian.gz", changelog(version, epoch))
    template = (SOURCES / "copyright").read_text()
    place(f"{DOC}/copyright", copyright_file(template, bundled[0].license, bundled[1:]))
    place("usr/share/lintian/overrides/smaxd", (SOURCES / "lintian-overrides").read_bytes())

    # The packaged program describes itself; -I: as it is packaged, -B: leaving no modules compiled.
    binaries = stage / VENV.lstrip("/") / "bin"
    python = [str(binaries / "python"), "-I", "-B"]
    source = str(ROOT / "docs/man/smaxd.1.in")
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    manual = run(
        [*python, str(SOURCES / "manpage.py"), source, date],
        "the manual page could not be made",
    )
    place("usr/share/man/man1/smaxd.1.gz", manual)
    for shell, target in COMPLETIONS.items():
        script = run(
            [*python, str(binaries / "smaxd")],
            f"the completion for {shell} could not be made",
            _SMAXD_COMPLETE=f"{shell}_source",
        )
        place(target, script)


def write_control(stage: Path, version: str, architecture: str, needed: str) -> None:
    """The control files, and the sums of all others."""
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    kibibytes = sum(-(-path.stat().st_size // 1024) for path in files)
    control = filled(
        (SOURCES / "control").read_text(),
        {
            "VERSION": version,
            "ARCHITECTURE": architecture,
            "MAINTAINER": MAINTAINER,
            "INSTALLED_SIZE": str(kibibytes),
            "PYTHON": Path(interpreter()).name,
            "LIBRARIES": needed,
        },
    )
    debian = stage / "DEBIAN"
    (debian / "control").write_text(control)
    (debian / "conffiles").write_text(f"/{CONFIG}\n")
    (debian / "md5sums").write_text("".join(md5sums(stage, files)))
    for name in MAINTAINER_SCRIPTS:
        shutil.copyfile(SOURCES / name, debian / name)
        (debian / name).chmod(0o755)


def libraries(stage: Path, scratch: Path) -> str:
    """The distribution's packages of the shared libraries that ours are linked with."""
    (scratch / "debian").mkdir()
    (scratch / "debian" / "control").write_text(
        "Source: smaxd\n\nPackage: smaxd\nArchitecture: any\n"
    )
    objects = sorted(str(path) for path in stage.rglob("*.so*") if path.is_file())
    substitution = run(
        # Libraries that a wheel brings for itself belong to no package, and need none.
        ["dpkg-shlibdeps", "-O", "--ignore-missing-info", "--warnings=0", *objects],
        "the needed libraries could not be found",
        cwd=scratch,
    )
    return substitution.strip().removeprefix("shlibs:Depends=")


def md5sums(stage: Path, files: list[Path]) -> Iterator[str]:
    """The lines of md5sums, which ``dpkg --verify`` reads; of all but the configuration."""
    for path in files:
        name = str(path.relative_to(stage))
        if name != CONFIG:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            yield f"{digest}  {name}\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="build-deb", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR")
    parser.add_argument("--revision", default="1", metavar="N", help="of the package, not of smaxd")
    options = parser.parse_args()
    try:
        print(build(options.output, options.revision, int(os.environ["SOURCE_DATE_EPOCH"])))
    except BuildError as error:
        sys.exit(f"build-deb: {error}")


if __name__ == "__main__":
    main()

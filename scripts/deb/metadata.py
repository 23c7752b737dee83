"""What the package says of itself: control file, copyright, changelog. Pure: text from values."""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

MAINTAINER = "smaxd contributors <smaxd@users.noreply.github.com>"
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Bundled:
    """A Python package that the .deb brings."""

    name: str
    version: str
    license: str


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with every ``@KEY@`` replaced."""
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template


def debian_version(version: str, revision: str) -> str:
    """Debian's form of a Python version (PEP 440), in which a pre-release comes before the release.

    >>> [debian_version(version, "1") for version in ("1.2.0", "1.2.0rc1", "1.3.dev4")]
    ['1.2.0-1', '1.2.0~rc1-1', '1.3~dev4-1']
    """
    for mark in ("rc", "a", "b"):
        head, found, tail = version.partition(mark)
        if found and head[-1:].isdigit():
            version = f"{head}~{mark}{tail}"
            break
    return f"{version.replace('.dev', '~dev')}-{revision}"


def license_of(metadata: Message) -> str:
    """What the metadata of a wheel says about its license, by the newest field that says it."""
    named = metadata.get("License-Expression") or metadata.get("License") or ""
    if named.strip() and "\n" not in named.strip():
        return str(named.strip())
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier", [])
        if text.startswith("License :: OSI Approved :: ")
    ]
    return " or ".join(classifiers) or NOT_STATED


def copyright_file(template: str, own_license: str, bundled: list[Bundled]) -> str:
    """The copyright file: smaxd's license, and each bundled package with its own."""
    lines = [f"{package.name} {package.version}: {package.license}" for package in bundled]
    return filled(template, {"LICENSE": own_license, "BUNDLED": "\n".join(lines)})


def changelog(version: str, epoch: float) -> str:
    """Debian's changelog: one entry, for what changed is in the project's own."""
    return (
        f"smaxd ({version}) unstable; urgency=medium\n\n"
        "  * What changed is in /usr/share/doc/smaxd/changelog.gz.\n\n"
        f" -- {MAINTAINER}  {email.utils.formatdate(epoch)}\n"
    )

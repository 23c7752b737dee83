"""Runs the demo's writer and daemon, shows the status, and leaves nothing behind."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.errors import ProbeError

DEFAULT_PORT = 10390
NEEDED_BYTES = 3 << 30
SCRIPTS = Path(__file__).resolve().parent
SMAXD = [str(Path(sys.executable).with_name("smaxd"))]


def working_directory() -> Path:
    """A new directory on a real block device with room; else an exit with one line."""
    candidates = [
        tempfile.gettempdir(),
        "/var/tmp",  # noqa: S108 - mkdtemp makes a private directory in it
        str(SCRIPTS.parent / ".cache"),
        str(Path.home()),
    ]
    reasons = []
    for candidate in candidates:
        try:
            sample = BlockDeviceProbe(candidate, SystemClock()).read()
        except ProbeError as error:
            reasons.append(error.detail)
            continue
        if sample.filesystem_free_bytes < NEEDED_BYTES or not os.access(candidate, os.W_OK):
            reasons.append(f"{candidate} has less than 3 GiB free or is not writable")
            continue
        return Path(tempfile.mkdtemp(prefix="smaxd-demo-", dir=candidate))
    sys.exit("demo: no directory to work in: " + "; ".join(reasons))


def free_port() -> int:
    """The default port when nobody listens there, else any."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    sys.exit("demo: no free port")


def wait_for(url: str, daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the daemon's first snapshot."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/api/v1/status", timeout=1.0) as answer:  # noqa: S310
                json.load(answer)
                return
        except (OSError, ValueError):
            time.sleep(0.1)
    sys.exit("demo: the daemon does not answer; its log:\n" + log.read_text())


def end(process: subprocess.Popen[bytes] | None) -> None:
    """End a process and wait for it."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show(url: str, seconds: float | None) -> None:
    """Refresh the status until Ctrl-C or the end of the time."""
    viewer = subprocess.Popen(
        [*SMAXD, "status", "--watch", "--url", url]
        + ([] if sys.stdout.isatty() else ["--interval", "10"])
    )
    try:
        viewer.wait(seconds)
    except subprocess.TimeoutExpired:
        pass  # the time is over, which is how --seconds ends
    except KeyboardInterrupt:
        pass  # the viewer got it too
    finally:
        if viewer.poll() is None:
            viewer.send_signal(signal.SIGINT)
        viewer.wait()


def main() -> None:
    """Parse the arguments, run, clean up."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seconds", type=float, help="end after so long with a final status")
    seconds = parser.parse_args().seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = working_directory()
    writer = daemon = None
    try:
        log = directory / "smaxd.log"
        (directory / "scratch").mkdir(mode=0o700)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with log.open("wb") as log_file, (directory / "writer.log").open("wb") as writer_log:
            writer = subprocess.Popen(
                [sys.executable, str(SCRIPTS / "demo_writer.py"), str(directory / "db")],
                stdout=writer_log,
                stderr=writer_log,
                start_new_session=True,
            )
            daemon = subprocess.Popen(
                [
                    *SMAXD, "run", "--db", str(directory / "db"),
                    "--scratch", str(directory / "scratch"),
                    "--web.listen-address", f"127.0.0.1:{port}",
                ],
                stderr=log_file,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(directory)},
            )  # fmt: skip
        wait_for(url, daemon, log)
        print(f"a RocksDB in {directory}/db, smaxd on {url}/metrics", flush=True)
        show(url, seconds)
        if daemon.poll() is not None:
            sys.exit("demo: the daemon ended early; its log:\n" + log.read_text())
        if writer.poll() is not None:
            sys.exit("demo: the writer ended early: " + (directory / "writer.log").read_text())
        if seconds is not None:
            print("\nfinal status\n", flush=True)
            subprocess.run([*SMAXD, "status", "--url", url], check=True)
    finally:
        end(daemon)
        end(writer)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

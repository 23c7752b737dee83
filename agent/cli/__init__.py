"""The command line. Each command's work is in ``agent.commands``; here are its options and exits.

Exit codes: 0, 1 for a failed operation, 2 for bad usage or input; ``check`` has its own. Imports
that only one command needs are made by that command: the daemon stays small.
"""

import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from agent import __version__
from agent.cli import measure, past, predict, service
from agent.cli.options import fail


class Group(click.Group):
    """Keeps the commands in the order in which an operator meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in order of definition."""
        del ctx
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smaxd")
def cli() -> None:
    """How many puts per second this host's RocksDB can sustain, and what limits it."""


for command in (
    service.run,
    service.status,
    service.check,
    predict.predict,
    predict.validate,
    measure.probe,
    measure.discover,
    service.check_config,
    service.notify_test,
    predict.explain,
    predict.replay,
    measure.calibrate,
    predict.whatif,
    service.pause,
    service.resume,
    past.alerts,
    past.ack,
    past.silence,
    past.unsilence,
    past.history,
    past.report,
):
    cli.add_command(command)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """The entry point: errors are one line, a broken pipe and Ctrl-C end quietly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path may be no valid UTF-8; it is shown escaped instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    # So that a measurement that is told to end, or whose terminal is closed, takes its fio and its
    # scratch file with it; the daemon has a way of its own. Under nohup SIGHUP is ignored.
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _end)
    try:
        raise SystemExit(cli(prog_name="smaxd", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        raise SystemExit(2) from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = "smaxd" if context is None else context.command_path
        what = " ".join(error.format_message().split()).rstrip(".")
        fail(f"{what}; see '{command} --help'", 2)
    except click.Abort:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None

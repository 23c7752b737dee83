"""The manual page: its commands from click's own help, the rest from docs/man/smaxd.1.in.

manpage.py TEMPLATE DATE    prints it, for the smaxd that this Python has installed
"""

import sys
from pathlib import Path

import click

PROGRAM = "smaxd"


def man_page(template: str, cli: click.Group, version: str, date: str) -> str:
    """The template with ``@VERSION@``, ``@DATE@`` and the line ``@COMMANDS@`` filled in."""
    sections = "".join(_section(names, command) for names, command in commands_of(cli, PROGRAM))
    return (
        template.replace("@VERSION@", roff(version))
        .replace("@DATE@", roff(date))
        .replace("@COMMANDS@\n", sections)
    )


def commands_of(group: click.Group, names: str) -> list[tuple[str, click.Command]]:
    """Every command that does something, with all the words that call it, in the help's order."""
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.commands[name]
        if command.hidden:
            continue
        words = f"{names} {name}"
        found += (
            commands_of(command, words) if isinstance(command, click.Group) else [(words, command)]
        )
    return found


def _section(names: str, command: click.Command) -> str:
    context = click.Context(command, info_name=names, help_option_names=[])
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS {roff(f'{names} {usage}'.rstrip())}", *_paragraphs(command.help or "")]
    for option in command.get_params(context):
        flags, text = option.get_help_record(context) or ("", "")
        # The usage names the arguments. An option whose name says it all has an empty paragraph.
        if isinstance(option, click.Option) and flags:
            lines += [".TP", f"\\fB{roff(flags)}\\fR", roff(" ".join(text.split())) or r"\&"]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return [line for part in paragraphs if part for line in (".PP", roff(part))][1:]


def roff(text: str) -> str:
    """Escape what roff would take for its own: backslashes, dashes, a line's first dot or quote.

    >>> roff(r"--db PATH\\*"), roff(".conf")
    ('\\\\-\\\\-db PATH\\\\e*', '\\\\&.conf')
    """
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = escaped.replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """The command line."""
    from agent import __version__  # noqa: PLC0415 - the functions are for any program
    from agent.cli import cli  # noqa: PLC0415

    template, date = sys.argv[1:]
    print(man_page(Path(template).read_text(), cli, __version__, date), end="")


if __name__ == "__main__":
    main()

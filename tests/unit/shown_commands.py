"""The calls of smaxd that the documentation shows."""

import re
import shlex
from pathlib import Path

from click import Command, Context, Group

from agent.cli import cli

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(smaxd [^`]+)`(?!`)")
UNIT_LINE = re.compile(r"Exec\w+=[-+!@]*/\S*/smaxd (.*)")
SEPARATORS = {"&&", "||", "|", ";", ">", ">>", "<"}
ALTERNATIVES = re.compile(r"(\w+)(?:\\?\|[\w\\|]+)+")


def blocks(page: Path, language: str) -> list[str]:
    """The lines of all code blocks of a language, without comments; continued ones as one."""
    lines = [
        line.partition("  #")[0].strip()
        for found, block in BLOCK.findall(page.read_text())
        if found == language
        for line in re.sub(r" *\\\n *", " ", block).splitlines()
    ]
    return [line for line in lines if line]


def calls(page: Path) -> list[list[str]]:
    """The words of every call in a code block, without the program's name: those that a reader
    would copy to a shell, and those of a unit."""
    shell = blocks(page, "sh")
    shell += [line[2:] for line in blocks(page, "console") if line.startswith("$ ")]
    found = [part for line in shell for part in _commands(line)]
    found += [
        ["smaxd", *shlex.split(matched[1])]
        for line in blocks(page, "ini")
        if (matched := UNIT_LINE.fullmatch(line))
    ]
    return [words[1:] for words in found if words[:1] == ["smaxd"]]


def mentions(page: Path) -> list[str]:
    """Every call that a sentence or a table mentions, in words that leave some to the reader."""
    text = BLOCK.sub("", page.read_text())
    return [" ".join(found.split()) for found in INLINE.findall(text)]


def called(words: list[str]) -> Context:
    """What click makes of a call; UsageError when it makes nothing of it."""
    command, rest = _command(words)
    return command.make_context(command.name, rest, resilient_parsing=False)


def unknown_in(mention: str) -> list[str]:
    """Words of a mention that name no command, or no option of it."""
    text = ALTERNATIVES.sub(r"\1", mention.removeprefix("smaxd "))
    words = re.sub(r"[\[\]]|\.{3}", " ", text).split()
    try:
        command, rest = _command(words)
    except KeyError as error:
        return [str(error.args[0])]
    options = {name for one in command.params for name in one.opts} | {"--help"}
    options |= set(re.findall(r"--[\w.-]+", command.help or ""))  # of one that parses by itself
    named = [word.rstrip(",") for word in rest if word.startswith("-")]
    return [word for word in named if word not in options]


def _commands(line: str) -> list[list[str]]:
    """The simple commands of a shell line, without sudo, its options and what it sets."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in SEPARATORS:
            found.append([])
        else:
            found[-1].append(word)
    return [_without_sudo(words) for words in found]


def _without_sudo(words: list[str]) -> list[str]:
    if words[:1] == ["sudo"]:
        words = words[3:] if words[1:2] == ["-u"] else words[1:]
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    return words


def _command(words: list[str]) -> tuple[Command, list[str]]:
    """The command that the first words name, and the others; KeyError with one that does not."""
    command: Command = cli
    rest = list(words)
    while isinstance(command, Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    return command, rest

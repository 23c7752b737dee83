"""The import rules: probes know nothing of the agent, decisions know no clock and no I/O."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHELL = {
    "agent",
    "agent.__main__",
    "agent.api",
    "agent.alerts.book_file",
    "agent.alerts.handover",
    "agent.alerts.orders_file",
    "agent.atomic_file",
    "agent.calibrate.guard",
    "agent.calibrate.load",
    "agent.calibrate.load_probes",
    "agent.calibrate.result_file",
    "agent.calibrate.scratch_directory",
    "agent.calibrate.subject",
    "agent.calibrate.thread_writes",
    "agent.calibrate.writer",
    "agent.calibrate.writer_process",
    "agent.cli",
    "agent.client",
    "agent.client_access",
    "agent.commands",
    "agent.config",
    "agent.database_log",
    "agent.database_place",
    "agent.database_watch",
    "agent.delivery.apprise_child",
    "agent.delivery.apprise_sender",
    "agent.delivery.channel",
    "agent.delivery.delivery",
    "agent.delivery.http_post",
    "agent.delivery.notification_channel",
    "agent.delivery.receiver_files",
    "agent.delivery.record_file",
    "agent.delivery.secret_files",
    "agent.delivery.senders",
    "agent.delivery.state_channel",
    "agent.device_watch",
    "agent.history.reader",
    "agent.history.reader_file",
    "agent.history.recorder",
    "agent.history.store",
    "agent.history.store_file",
    "agent.history.store_rows",
    "agent.history.upkeep",
    "agent.export_control",
    "agent.exports",
    "agent.heap",
    "agent.host_watch",
    "agent.http",
    "agent.http_protocol",
    "agent.kept_state",
    "agent.leftovers",
    "agent.learning.memory_file",
    "agent.logs",
    "agent.loop",
    "agent.main",
    "agent.metrics",
    "agent.otlp",
    "agent.otlp_receiver",
    "agent.patience",
    "agent.probing.pause_file",
    "agent.recording.recorder",
    "agent.recording.recording",
    "agent.recording.replay",
    "agent.regular_file",
    "agent.reload",
    "agent.render",
    "agent.restraint",
    "agent.schedule",
    "agent.signal_queue",
    "agent.simulator",
    "agent.simulator_child",
    "agent.state_directory",
    "agent.state_file",
    "agent.systemd",
    "agent.textfile",
    "agent.watch_tools",
    "agent.wear.account_lock",
    "agent.wear.boot_time",
    "agent.wear.ledger",
    "agent.wear.ledger_file",
    "agent.wear.own_files",
    "agent.wear.receipts",
    "agent.web_auth",
    "agent.web_file",
    "agent.web_guard",
    "agent.web_tls",
}
"""What reads, writes, waits or runs: everything else in the agent decides, and is held to it."""

FORBIDDEN = {"os", "time", "subprocess", "socket", "threading", "logging", "structlog"}


def file_of(module: str) -> Path:
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.exists() else path.with_suffix("") / "__init__.py"


@cache
def imports_of(module: str) -> tuple[tuple[str, str | None], ...]:
    """(module, name) for every import anywhere in a module; name None for ``import module``."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides where a thing lives"
            assert node.module is not None
            found += [(node.module, alias.name) for alias in node.names]
    return tuple(found)


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def modules_imported_by(module: str) -> set[str]:
    """``from package import module`` imports the module, not only the package."""
    found = set()
    for source, name in imports_of(module):
        inner = f"{source}.{name}"
        found.add(
            inner if name is not None and source.startswith("agent") and exists(inner) else source
        )
    return found


def modules_below(package: str) -> list[str]:
    return sorted(
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in (ROOT / package).rglob("*.py")
    )


@pytest.mark.parametrize("module", modules_below("probes"))
def test_probes_never_import_the_agent(module: str) -> None:
    """Data flows one way."""
    assert not [name for name in modules_imported_by(module) if name.split(".")[0] == "agent"]


DECISIONS = [
    module
    for module in modules_below("agent")
    if module not in SHELL and not module.startswith(("agent.cli.", "agent.commands."))
]


@pytest.mark.parametrize("module", DECISIONS)
def test_decisions_import_no_clock_no_io_and_no_logging(module: str) -> None:
    """Nor does anything of the agent that they import."""
    waiting: list[tuple[str, ...]] = [(module,)]
    seen = {module}
    while waiting:
        chain = waiting.pop()
        imported = modules_imported_by(chain[-1])
        wrong = {name for name in imported if name.split(".")[0] in FORBIDDEN}
        assert not wrong, f"{' -> '.join(chain)} imports {', '.join(sorted(wrong))}"
        for name in sorted(imported - seen):
            if name.split(".")[0] == "agent":
                seen.add(name)
                waiting.append((*chain, name))


@pytest.mark.parametrize("module", DECISIONS)
def test_decisions_open_no_files_and_print_nothing(module: str) -> None:
    """Built-in functions need no import."""
    called = {
        node.func.id
        for node in ast.walk(ast.parse(file_of(module).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval", "__import__"}


def test_the_shell_is_named_without_leftovers() -> None:
    """A module that is gone must not keep its exemption for a later one of the same name."""
    assert set() == SHELL - set(modules_below("agent"))


def test_the_daemon_is_not_burdened_with_what_only_its_children_and_commands_need() -> None:
    """numpy alone would be a fifth of its memory; rocksdict holds the GIL while it catches up."""
    code = "import sys, agent.main; print(*sorted({'numpy', 'rocksdict'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []

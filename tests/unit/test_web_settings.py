"""The settings of listener and exports: what is wrong is said by check-config and at the start."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.commands.run import effective_config
from agent.config import Config, ConfigError, parse_config
from agent.reload_plan import plan_reload
from tests.unit.command_line import Call

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("web: {config_file: web.yml}", "web.config_file: 'web.yml' is not an absolute path"),
        ("textfile: {path: smaxd.prom}", "textfile.path: 'smaxd.prom' is not an absolute path"),
        ("textfile: {path: /run/smaxd.txt}", "textfile.path: '/run/smaxd.txt' must end in .prom"),
        ("textfile: {interval_seconds: 0}", "textfile.interval_seconds: must be from 1 to 86400"),
        ("otlp: {endpoint: collector:4318}", "otlp.endpoint: must be http://HOST..."),
        ("otlp: {endpoint: 'http://a:b@c'}", "otlp.endpoint: must not hold a user or a password"),
        ("otlp: {interval_seconds: 0.1}", "otlp.interval_seconds: must be from 1 to 86400"),
        ("otlp: {tls: {key_file: /k}}", "otlp.tls.key_file: needs cert_file beside it"),
    ],
)
def test_a_setting_that_cannot_work_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode())
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_the_flag_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is relative to the working directory, and empty it says: none."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "smaxd.yaml"
    file.write_text("web: {config_file: /etc/web.yml}\n")

    def effective(flag: str | None) -> str | None:
        config = effective_config(str(file), (), None, None, None, flag)
        return config.web.config_file

    assert [effective(flag) for flag in (None, "web.yml", "")] == [
        "/etc/web.yml",
        f"{tmp_path}/web.yml",
        None,
    ]


def test_a_reload_moves_exports_but_not_the_web_configuration() -> None:
    """Its content is another matter: that is read again without any signal."""
    wanted = parse_config(
        b"web: {config_file: /web.yml}\ntextfile: {path: /a.prom}\n"
        b"otlp: {endpoint: 'http://collector:4318'}\n"
    )
    plan = plan_reload(Config(), wanted)

    assert plan.needs_restart == ("web.config_file",)
    assert set(plan.changed) == {"textfile.path", "otlp.endpoint"}
    assert (plan.config.textfile, plan.config.otlp) == (wanted.textfile, wanted.otlp)


Checked = tuple[int, str]


@pytest.fixture
def check_config(smaxd: Call) -> Callable[..., Checked]:
    """Exit code of ``smaxd check-config``, and what it says on stderr."""

    def call(*words: str) -> Checked:
        ended = smaxd("check-config", *words)
        return ended.code, ended.err

    return call


def test_check_config_reads_the_web_configuration_too(
    check_config: Callable[..., Checked], tmp_path: Path
) -> None:
    """Named in the file, or by the flag."""
    file, web = tmp_path / "smaxd.yaml", tmp_path / "web.yml"
    web.write_text("tls_server_config: {cert_file: none.crt, key_file: none.key}\n")
    expected = (
        f"smaxd: web.config_file: {web}: tls_server_config.cert_file: {tmp_path}/none.crt cannot "
        "be read: No such file or directory\n"
    )

    file.write_text(f"web: {{config_file: {web}}}\n")
    assert check_config(str(file)) == (2, expected)
    file.write_text("")
    assert check_config(str(file), "--web.config.file", str(web)) == (2, expected)
    web.write_text(f"basic_auth_users: {{ann: {HASH}}}\n")
    assert check_config(str(file), "--web.config.file", str(web)) == (0, "")


def test_check_config_says_what_a_push_lacks(
    check_config: Callable[..., Checked], tmp_path: Path
) -> None:
    """And names what only the service itself can read."""
    file = tmp_path / "smaxd.yaml"
    file.write_text(f"otlp: {{endpoint: 'http://a', headers_file: {tmp_path}/none}}\n")
    missing = f"smaxd: otlp.headers_file: {tmp_path}/none cannot be read: No such file or directory"
    assert check_config(str(file)) == (2, f"{missing}\n")

    file.write_text("otlp: {endpoint: 'http://a', headers_file: token}\n")
    assert check_config(str(file)) == (
        0,
        f"{file}: not checked: token, a credential of the service\n",
    )

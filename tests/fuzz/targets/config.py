"""The configuration: a Config, or a list of problems that is not much longer than the file."""

from collections.abc import Iterator

from agent.config import Config, ConfigError, config_hash, parse_config
from tests.fuzz.captured import CONFIG
from tests.fuzz.contract import require_sound

WORDS = (
    b"databases:\n- path: /db\n",
    b"alerts:\n",
    b"web:\n  listen_address: ",
    b"tick_seconds: ",
    b"!!int ",
    b"!!float ",
    b"!!bool ",
    b"!!timestamp ",
    b"!!binary ",
    b"!!set ",
    b"!!omap ",
    b"!!pairs ",
    b"&a ",
    b"*a",
    b"<<: ",
    b".inf",
    b".nan",
    b"0x",
    b"1:30:00.5",
    b"2001-01-01",
)


def seeds() -> Iterator[bytes]:
    """The documented example, and its sections one by one without the comments."""
    text = CONFIG.read_bytes()
    yield text[:3000]
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    yield b"".join(line for line in lines if not line.lstrip().startswith(b"#"))[:4000]
    yield b"".join(line.replace(b"# ", b"", 1) for line in lines if line.lstrip().startswith(b"#"))[
        :4000
    ]
    yield b"databases:\n- path: /db\n  name: one\n- path: /other\nweb: {listen_address: ':1'}\n"
    yield b"a: &a [1, 2]\ntick_seconds: *a\nfio: {mode: *a}\n"


def run(data: bytes) -> None:
    """Also what is done with every configuration: its hash is taken."""
    try:
        config = parse_config(data)
    except ConfigError as error:
        assert error.problems
        size = sum(map(len, error.problems))
        assert size <= 4096 + 512 * len(data), f"{size} characters of problems"
        return
    assert isinstance(config, Config)
    assert len(config_hash(config)) == 12
    require_sound(config.web)
    assert config.tick_seconds > 0
    assert config.probe_timeout_seconds > 0

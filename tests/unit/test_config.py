"""The configuration: every problem at once, with its key path; hostile files stay harmless."""

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.rules import AlertSettings, RuleSettings
from agent.config import (
    MAX_FILE_BYTES,
    Config,
    ConfigError,
    DatabaseSettings,
    check,
    config_hash,
    load_config,
    parse_config,
    split_listen_address,
)


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode() if isinstance(text, str) else text)
    return caught.value.problems


def problem_of(text: str | bytes) -> str:
    (problem,) = problems_of(text)
    return problem


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "{}", "~", "---\n", "---\n...\n"])
def test_an_empty_file_is_the_default_configuration(text: str) -> None:
    """No configuration is needed for the common case."""
    assert Config() == parse_config(text.encode())


def test_the_defaults_pass_their_own_check() -> None:
    """Written out and read back they are the same."""
    assert check(Config()) == []
    written = yaml.safe_dump(msgspec.to_builtins(Config())).encode()
    assert Config() == parse_config(written)


def test_every_kind_of_setting_is_read() -> None:
    """Numbers, words, lists of sections, and integers where numbers are meant."""
    config = parse_config(
        b"""
tick_seconds: 5
scratch: /srv/scratch
web: {listen_address: "[::1]:10390"}
databases:
  - {path: /srv/a, name: a, record_size_bytes: 500, db_paths: [/mnt/x, /mnt/y]}
  - path: /srv/b
discovery: {enabled: false}
fio: {mode: accurate, size_mib: 64}
devices:
  - {name: nvme0n1, write_limit_mib_per_second: 250}
log: {level: debug, format: json}
"""
    )
    assert config.tick_seconds == 5.0
    assert config.databases == (
        DatabaseSettings("/srv/a", "a", 500.0, ("/mnt/x", "/mnt/y")),
        DatabaseSettings("/srv/b"),
    )
    assert (config.discovery.enabled, config.fio.mode, config.fio.size_mib) == (
        False,
        "accurate",
        64.0,
    )
    assert config.devices[0].write_limit_mib_per_second == 250.0
    assert (config.log.level, config.log.format) == ("debug", "json")


def test_all_problems_are_reported_at_once_with_their_key_paths() -> None:
    """One run of check-config is enough."""
    problems = problems_of(
        """
tick_second: 5
probe_timeout_seconds: fast
fio: {mode: quick, enabled: 1, runtime_seconds: 0}
databases:
  - name: a
  - {path: /srv/b, record_size_bytes: -1}
  - /srv/c
alerts: {data_stale: {for_seconds: -1}}
log: debug
"""
    )
    assert problems == [
        "tick_second: unknown key; did you mean 'tick_seconds'?",
        "probe_timeout_seconds: must be a number, is 'fast'",
        "fio.mode: must be one of fast, balanced, accurate, is 'quick'",
        "fio.enabled: must be true or false, is 1",
        "fio.runtime_seconds: must be from 0.5 to 600, is 0.0",
        "databases[0].path: is required",
        "databases[1].record_size_bytes: must be from 1 to 1000000000, is -1.0",
        "databases[2]: must be a mapping, is '/srv/c'",
        "alerts.data_stale.for_seconds: must be from 0 to 2592000, is -1.0",
        "log: must be a mapping, is 'debug'",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fio: {mod: fast}", "fio.mod: unknown key; did you mean 'mode'?"),
        (
            "alerts: {headroom_low_warnin: {}}",
            "alerts.headroom_low_warnin: unknown key; did you mean 'headroom_low_warning'?",
        ),
        (
            "log: {level: warnin}",
            "log.level: must be one of debug, info, warning, error, is 'warnin'; "
            "did you mean 'warning'?",
        ),
        ("phase: {zzz: 1}", "phase.zzz: unknown key; known: hold_seconds"),
        ("1: 2", None),
        ("true: 2", None),
        ("~: 2", None),
    ],
)
def test_a_near_miss_is_answered_with_the_right_name(text: str, problem: str | None) -> None:
    """And where nothing is near, with the names there are."""
    actual = problem_of(text)
    if problem is None:
        assert "unknown key; known: tick_seconds, " in actual
    else:
        assert problem == actual


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1", "the file: must be a mapping, is a list"),
        ("hello", "the file: must be a mapping, is 'hello'"),
        ("42", "the file: must be a mapping, is 42"),
        ("fio: []", "fio: must be a mapping, is a list"),
        ("databases: {path: /x}", "databases: must be a list, is a mapping"),
        ("tick_seconds:", "tick_seconds: must be a number, is empty"),
        ("tick_seconds: '5'", "tick_seconds: must be a number, is '5'"),
        ("tick_seconds: true", "tick_seconds: must be a number, is True"),
        ("tick_seconds: [5]", "tick_seconds: must be a number, is a list"),
        ("scratch: 5", "scratch: must be a string, is 5"),
        ("fio: {enabled: 'yes'}", "fio.enabled: must be true or false, is 'yes'"),
        ("databases: [{path: ~}]", "databases[0].path: must be a string, is empty"),
        ("databases: [~]", "databases[0].path: is required"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_it_should_be(text: str, problem: str) -> None:
    """No value is bent into another kind."""
    assert problem == problem_of(text)


@pytest.mark.parametrize("text", ["fio:", "databases:", "scratch:", "fio: {size_mib: }"])
def test_a_section_with_everything_commented_out_keeps_its_defaults(text: str) -> None:
    """An empty optional value is "not set"."""
    assert Config() == parse_config(text.encode())


@pytest.mark.parametrize(
    ("value", "shown"), [(".nan", "nan"), (".inf", "inf"), ("-.inf", "-inf"), ("0", "0.0")]
)
def test_nan_and_infinity_are_out_of_every_range(value: str, shown: str) -> None:
    """YAML can spell them; no setting takes them."""
    assert f"tick_seconds: must be from 0.1 to 3600, is {shown}" == problem_of(
        f"tick_seconds: {value}"
    )


@pytest.mark.parametrize(
    ("edge", "good"), [(0.1, True), (0.0999, False), (3600, True), (3601, False)]
)
def test_the_ends_of_a_range_belong_to_it(edge: float, good: bool) -> None:
    """From and to, both inclusive."""
    text = f"tick_seconds: {edge}"
    if good:
        assert parse_config(text.encode()).tick_seconds == edge
    else:
        assert "must be from 0.1 to 3600" in problem_of(text)


def number_paths(kind: type[msgspec.Struct] = Config, path: str = "") -> list[str]:
    """A YAML flow text per number of the configuration, with the number left out as NUMBER."""
    found = []
    for field in msgspec.structs.fields(kind):
        inner = str(field.type)
        here = path.replace("NUMBER", f"{{{field.name}: NUMBER}}") if path else ""
        here = here or f"{{{field.name}: NUMBER}}"
        if "float" in inner:
            found.append(here)
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found += number_paths(field.type, here)
    return found


@pytest.mark.parametrize("text", number_paths())
def test_every_number_has_a_range(text: str) -> None:
    """A NaN or an endless number gets in nowhere."""
    for value in (".nan", ".inf", "1.0e+300"):
        assert any("must be from" in p for p in problems_of(text.replace("NUMBER", value)))


@pytest.mark.parametrize(
    "text",
    [
        "databases: [{path: /a, record_size_bytes: .nan}]",
        "devices: [{name: sda, write_limit_mib_per_second: .nan}]",
    ],
)
def test_numbers_in_lists_have_ranges_too(text: str) -> None:
    """Whatever their place in the list."""
    assert "[0]." in problem_of(text)


def test_one_key_of_an_alert_keeps_the_others_defaults() -> None:
    """And the other alerts theirs."""
    config = parse_config(b"alerts: {headroom_low_warning: {for_seconds: 60}}")
    assert config.alerts.headroom_low_warning == RuleSettings(0.20, 0.25, 60.0, True)
    others = {k: v for k, v in config.alerts.by_name().items() if k != "headroom_low_warning"}
    defaults = AlertSettings().by_name()
    assert others == {name: defaults[name] for name in others}
    assert len(others) == len(defaults) - 1
    off = parse_config(b"alerts: {write_delayed: {enabled: false}}")
    assert off.alerts.write_delayed == RuleSettings(1.0, 0.0, 30.0, False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "alerts: {headroom_low_warning: {threshold: 0.3}}",
            "alerts.headroom_low_warning.clear: 0.25 must not be below the threshold 0.3",
        ),
        (
            "alerts: {write_delayed: {clear: 2}}",
            "alerts.write_delayed.clear: 2 must not be above the threshold 1",
        ),
    ],
)
def test_an_alert_may_not_clear_on_the_wrong_side_of_its_threshold(text: str, problem: str) -> None:
    """It would begin and end at once."""
    assert problem == problem_of(text)


def test_clear_may_equal_the_threshold() -> None:
    """No hysteresis is a choice."""
    config = parse_config(b"alerts: {data_stale: {clear: 1}, s_max_dropped: {clear: 0.7}}")
    assert config.alerts.s_max_dropped.clear == 0.7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "databases: [{path: /a, name: x}, {path: /b, name: x}]",
            "databases: 'x' is there more than once",
        ),
        ("databases: [{path: /a}, {path: /a}]", "databases: '/a' is there more than once"),
        (
            "devices: [{name: sda, write_limit_mib_per_second: 1},"
            " {name: sda, write_limit_mib_per_second: 2}]",
            "devices: 'sda' is there more than once",
        ),
    ],
)
def test_names_are_there_once(text: str, problem: str) -> None:
    """They are labels and arguments."""
    assert problem == problem_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "fio: {mode: fast}\nweb: {}\nfio: {enabled: false}\n",
        "fio:\n  mode: fast\n  mode: fast\n",
        "databases:\n- path: /a\n  path: /c\n",
    ],
)
def test_a_key_that_is_there_twice_is_refused(text: str) -> None:
    """YAML forbids it; keeping the last one would lose half of a section in silence."""
    problem = problem_of(text)
    assert "line 3, column " in problem
    assert "is there more than once in one mapping" in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("databases: [{path: srv/a}]", "databases[0].path: 'srv/a' is not an absolute path"),
        (
            "databases: [{path: /a, db_paths: [/b, c]}]",
            "databases[0].db_paths: 'c' is not an absolute path",
        ),
        ('databases: [{path: "/a\\0b"}]', "databases[0].path: '/a\\x00b' is not an absolute path"),
        ("scratch: tmp", "scratch: 'tmp' is not an absolute path"),
        (
            "databases: [{path: /a, name: 'a b'}]",
            "databases[0].name: 'a b' may have letters, digits and . _ / : @ - only",
        ),
        (
            "databases: [{path: /a, name: ''}]",
            "databases[0].name: '' may have letters, digits and . _ / : @ - only",
        ),
        ("web: {listen_address: localhost}", "web.listen_address: 'localhost' is not HOST:PORT"),
    ],
)
def test_what_only_shows_in_the_content_is_checked_too(text: str, problem: str) -> None:
    """Paths, names and addresses."""
    assert problem == problem_of(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:10390", ("127.0.0.1", 10390)),
        ("localhost:0", ("localhost", 0)),
        (":65535", ("0.0.0.0", 65535)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_a_listen_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    """No host means all interfaces, as in every exporter."""
    assert expected == split_listen_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "80",
        "host",
        "host:",
        "host:x",
        "host:-1",
        "host:65536",
        "::1:80",
        "h:٣",
        "h:" + "9" * 5000,
    ],
)
def test_anything_else_is_no_listen_address(address: str) -> None:
    """Refused with a ValueError, whatever it is."""
    with pytest.raises(ValueError, match=r"HOST:PORT|port|digits|brackets"):
        split_listen_address(address)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("fio:\n\tenabled: true\n", "line 2, column 1"),
        ("fio: {mode: fast\n", "line 2, column 1"),
        ("fio: 'open\n", "line 2, column 1"),
        ("a: b: c\n", "line 1, column 5"),
        ("web: &x {}\nfio: *y\n", "line 2, column 6"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1"),
        ("!!python/object/apply:os.system [id]\n", "line 1, column 1"),
        ("? [1, 2]\n: 3\n", "line 1, column 3"),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_its_place(text: str, place: str) -> None:
    """Tabs, open brackets, unknown anchors, several documents, foreign tags."""
    problem = problem_of(text)
    assert problem.startswith(f"config: not valid YAML: {place} ")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"\0" * 100,
        b"\xff\xfe\xff\xff",
        b"caf\xe9: 1",
        b"\x1b[31m",
        b"tick_seconds: 2001-13-45",
    ],
)
def test_binary_and_broken_text_is_refused(raw: bytes) -> None:
    """A named problem, never a traceback."""
    assert problem_of(raw).startswith("config: not valid YAML:")


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 20_000,
        b"{a: " * 5000,
        b"- " * 20_000,
        b"tick_seconds: 0x" + b"f" * 100_000,
        b"tick_seconds: " + b"9" * 100_000,
        b"? 0x" + b"f" * 900 + b"\n: 1",
        b"tick_seconds: " + b"9" * 900,
    ],
)
def test_deep_nesting_and_huge_numbers_are_refused(raw: bytes) -> None:
    """Python's own limits show as a problem of the file."""
    assert problem_of(raw).startswith("config: not valid YAML:")


def bomb(line: str, levels: int) -> bytes:
    names = [f"n{i}" for i in range(levels)]
    lines = ["n0: &n0 {a: 1, b: 2, c: 3}"]
    for before, name in pairwise(names):
        lines.append(line.format(name=name, many=", ".join([f"*{before}"] * 9)))
    return "\n".join(lines).encode()


def test_aliases_may_be_used_and_cost_what_they_show() -> None:
    """A billion laughs is one small object many times; a setting may be shared."""
    problems = problems_of(bomb("{name}: &{name} [{many}]", 40))
    assert len(problems) == 40
    config = parse_config(b"alerts:\n  data_stale: &s {for_seconds: 60}\n  probe_failing: *s\n")
    assert config.alerts.probe_failing.for_seconds == 60.0


def test_merge_keys_are_refused_before_they_multiply() -> None:
    """Nested, they would fill the memory of the host."""
    assert "merge keys (<<) are not supported" in problem_of(
        bomb("{name}: &{name} {{<<: [{many}]}}", 40)
    )


def test_an_alias_to_itself_is_a_value_of_the_wrong_kind() -> None:
    """No endless descent."""
    assert problem_of("databases: &d\n- path: *d\n") == (
        "databases[0].path: must be a string, is a list"
    )
    assert "unknown key" in problem_of("fio: &f\n  x: *f\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a directory, or far too large to be a configuration."""
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read: No such file"):
        load_config(str(missing))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(str(tmp_path))
    with pytest.raises(ConfigError, match="/dev/zero: larger than"):
        load_config("/dev/zero")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * MAX_FILE_BYTES)
    assert Config() == load_config(str(large))


def test_a_file_is_read_and_its_problems_carry_its_name(tmp_path: Path) -> None:
    """Where the text itself is broken."""
    path = tmp_path / "smaxd.yaml"
    path.write_text("tick_seconds: 3\n")
    assert load_config(str(path)).tick_seconds == 3.0
    path.write_text("tick_seconds: [\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert caught.value.problems[0].startswith(f"{path}: not valid YAML: line 2")


def test_the_hash_is_that_of_the_settings_not_of_their_spelling() -> None:
    """Hosts configured alike show the same one."""
    one = parse_config(b"tick_seconds: 5\nfio: {mode: fast}")
    other = parse_config(b"# the same\nfio:\ntick_seconds: 5.0")
    assert config_hash(one) == config_hash(other)
    assert config_hash(one) != config_hash(Config())
    assert len(config_hash(one)) == 12


def outcome_of(raw: bytes) -> tuple[Config | None, list[str]]:
    try:
        return parse_config(raw), []
    except ConfigError as error:
        return None, error.problems


@given(st.binary(max_size=300))
def test_any_bytes_are_a_configuration_or_a_list_of_problems(raw: bytes) -> None:
    """Nothing else comes out."""
    config, problems = outcome_of(raw)
    assert (config is None) == bool(problems)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["fast", "/a", "debug", "127.0.0.1:1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *Config.__struct_fields__,
                    *AlertSettings.__struct_fields__,
                    *RuleSettings.__struct_fields__,
                    *DatabaseSettings.__struct_fields__,
                    "mode",
                    "level",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(VALUES)
def test_any_tree_is_a_valid_configuration_or_a_list_of_problems(tree: object) -> None:
    """What is accepted passes the check and has only finite numbers."""
    config, problems = outcome_of(yaml.safe_dump(tree).encode())
    assert (config is None) == bool(problems)
    if config is not None:
        assert check(config) == []
        assert math.isfinite(config.tick_seconds + config.phase.hold_seconds)


def test_one_database_under_two_names_is_refused() -> None:
    """Two labels for the same files would count everything twice."""
    text = b"databases: [{path: /srv/db, name: a}, {path: /srv/db/, name: b}]"

    with pytest.raises(ConfigError) as caught:
        parse_config(text)

    assert caught.value.problems == ["databases: '/srv/db' is there more than once"]

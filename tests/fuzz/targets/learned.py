"""Learned state: what is accepted can be saved again, is the same then, and holds what it must."""

from collections.abc import Iterator

from agent.learning.memory import decode, encode, problem, pruned
from agent.versioned import DamagedState
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    b'{"version":1,"databases":[',
    b'"devices":[{"device":{"name":"sda","size_bytes":1,"model":null},',
    b'"baseline_bytes_per_second":1.0,"measured_wall_seconds":1.0,"seen_wall_seconds":1.0}]}',
    b'"labels":[]',
    b'"episodes_total":-1',
    b"1e300",
    b"\\ud800",
)
DATABASE = (
    b'{"version":1,"saved_wall_seconds":1.8e9,"databases":[{"path":"/db","device":{"name":"sda",'
    b'"size_bytes":1000,"model":"x"},"options_key":"k","labels":[{"started_wall_seconds":1.0,'
    b'"ended_wall_seconds":2.0,"kind":"stop","puts_per_second":1000.0,"log_uncertainty":0.1,'
    b'"closed":true,"options_key":"k","device_key":"d","predictions":[{"model":"v4","raw":1.0,'
    b'"published":1.0,"lower":0.5,"upper":2.0,"log_half_width":0.1}]}],"episodes_total":1,'
    b'"recommended":"v4","seen_wall_seconds":1.8e9}],"devices":[{"device":{"name":"sda",'
    b'"size_bytes":1000},"baseline_bytes_per_second":1e8,"measured_wall_seconds":1.8e9,'
    b'"seen_wall_seconds":1.8e9}]}'
)


def seeds() -> Iterator[bytes]:
    """What the program writes itself."""
    yield DATABASE
    yield encode(decode(b'{"version":1}'))
    yield from captured("learned*.json")


def run(data: bytes) -> None:
    try:
        state = decode(data)
    except DamagedState:
        return
    require_bounded(state, len(data))
    require_sound(state)
    again = encode(state)
    assert decode(again) == state
    assert problem(pruned(state, 1.8e9)) is None

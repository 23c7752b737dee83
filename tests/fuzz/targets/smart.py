"""What smartctl and nvme print: wear that a drive can have, or an announced reason."""

from collections.abc import Iterator

from probes.command import CompletedCommand
from probes.errors import ProbeError
from probes.smart_output import parse_nvme, parse_smartctl
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    b'{"smartctl":{"exit_status":0},',
    b'"nvme_smart_health_information_log":{"percentage_used":1,"data_units_written":1}',
    b'"ata_device_statistics":{"pages":[{"number":1,"table":[{"offset":24,"value":-1,'
    b'"flags":{"valid":true}}]}]}',
    b'"in_smartctl_database":true,"logical_block_size":-1',
    b'"ata_smart_attributes":{"table":[{"name":"Total_LBAs_Written","raw":{"value":1}}]}',
    b'"percent_used":1',
    b'"data_units_written":1e308',
    b'"power_on_time":{"hours":1e308}',
)


def seeds() -> Iterator[bytes]:
    """Captured answers, and one of each kind of drive."""
    for content in captured("smart/*.json", 2000):
        yield b"\x01" + content
    yield b"\x01" + WORDS[0] + WORDS[1] + b"}"
    yield b"\x01" + WORDS[0] + WORDS[2] + b"," + WORDS[7] + b"}"
    yield b"\x01" + WORDS[0] + WORDS[3] + b"," + WORDS[4] + b"}"
    yield b'\x00{"percent_used":1,"data_units_written":"12345","power_on_hours":7}'


def run(data: bytes) -> None:
    """The first byte says which program printed it."""
    parse = parse_smartctl if data[:1] == b"\x01" else parse_nvme
    try:
        sample = parse(CompletedCommand(0, data[1:], b""), "nvme0n1", 0.0)
    except ProbeError as error:
        assert error.reason in {"asleep", "permission_denied", "not_supported"} | {
            "smart_failed",
            "smart_garbage",
        }
        return
    require_sound(sample)
    require_bounded(sample, len(data))
    assert sample.written_bytes is None or sample.written_bytes < 1 << 128

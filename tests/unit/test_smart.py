"""How worn a drive is, as smartctl and nvme tell it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.command import CompletedCommand
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.samples import BlockLayer, SmartSample
from probes.smart import PATIENCE_SECONDS, SmartProbe
from probes.smart_output import parse_nvme, parse_smartctl

DATA = Path(__file__).parents[1] / "data" / "smart"


def answer(content: Mapping[str, Any] | bytes, returncode: int = 0) -> CompletedCommand:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return CompletedCommand(returncode, raw, b"")


def smartctl(exit_status: int = 0, message: str = "", **more: Any) -> dict[str, Any]:
    messages = [{"string": message, "severity": "error"}] if message else []
    return {
        "smartctl": {"version": [7, 3], "messages": messages, "exit_status": exit_status}
    } | more


def attributes(*table: tuple[int, str, int, int], **more: Any) -> dict[str, Any]:
    """(number, name, normalized value, raw value) of a drive that smartctl knows."""
    rows = [
        {"id": number, "name": name, "value": value, "raw": {"value": raw, "string": str(raw)}}
        for number, name, value, raw in table
    ]
    known = {"in_smartctl_database": True, "logical_block_size": 512}
    return smartctl(**{**known, "ata_smart_attributes": {"revision": 1, "table": rows}, **more})


NVME = smartctl(
    model_name="EXAMPLE NVME 3.84TB",
    nvme_smart_health_information_log={
        "critical_warning": 0,
        "available_spare": 98,
        "available_spare_threshold": 10,
        "percentage_used": 3,
        "data_units_written": 2_000_000,
        "power_on_hours": 8760,
    },
)

STATISTICS = {
    "pages": [
        {
            "number": 1,
            "name": "General Statistics",
            "table": [
                {"offset": 0x10, "name": "Power-on Hours", "value": 100, "flags": {"valid": True}},
                {"offset": 0x18, "name": "Sectors", "value": 4096, "flags": {"valid": True}},
            ],
        },
        {
            "number": 7,
            "name": "Solid State Device Statistics",
            "table": [{"offset": 8, "name": "Used", "value": 12, "flags": {"valid": True}}],
        },
    ]
}


def test_nvme_tells_wear_bytes_hours_and_spare() -> None:
    """Units of 512,000 bytes, hours, percents."""
    sample = parse_smartctl(answer(NVME), "nvme0n1", 5.0)
    assert (sample.at, sample.model) == (5.0, "EXAMPLE NVME 3.84TB")
    assert sample.used_ratio == 0.03
    assert sample.written_bytes == 2_000_000 * 512_000
    assert sample.power_on_seconds == 8760 * 3600
    assert (sample.spare_ratio, sample.spare_threshold_ratio) == (0.98, 0.1)


def test_a_warning_in_the_exit_status_does_not_hide_the_wear() -> None:
    """Bit 3: the drive says that it fails."""
    assert parse_smartctl(answer({**NVME, **smartctl(8)}, 8), "nvme0n1", 0.0).used_ratio == 0.03


def test_the_standards_statistics_come_before_the_makers_attributes() -> None:
    """Device statistics log, pages 1 and 7."""
    report = attributes(
        (177, "Wear_Leveling_Count", 99, 10),
        (241, "Total_LBAs_Written", 99, 1),
        ata_device_statistics=STATISTICS,
    )
    sample = parse_smartctl(answer(report), "sda", 0.0)
    assert sample.used_ratio == 0.12
    assert sample.written_bytes == 4096 * 512
    assert sample.power_on_seconds == 100 * 3600
    assert sample.source == "smartctl, ATA device statistics"


def test_a_statistic_that_is_not_valid_is_not_told() -> None:
    """The flag is there for drives that list what they do not count."""
    page = {"number": 7, "table": [{"offset": 8, "value": 0, "flags": {"valid": False}}]}
    report = attributes(
        (233, "Media_Wearout_Indicator", 85, 0), ata_device_statistics={"pages": [page]}
    )
    assert parse_smartctl(answer(report), "sda", 0.0).used_ratio == 0.15


@pytest.mark.parametrize(
    ("row", "used_ratio", "written_bytes"),
    [
        ((177, "Wear_Leveling_Count", 90, 1773), 0.10, None),
        ((231, "SSD_Life_Left", 98, 98), 0.02, None),
        ((231, "SSD_Life_Left", 100, 74), None, None),
        ((202, "Percent_Lifetime_Remain", 99, 1), 0.01, None),
        ((233, "Media_Wearout_Indicator", 200, 0), None, None),
        ((241, "Total_LBAs_Written", 99, 1000), None, 512_000),
        ((241, "Host_Writes_32MiB", 100, 3), None, 3 * 32 * 1024**2),
        ((241, "Lifetime_Writes_GiB", 100, 5), None, 5 * 1024**3),
        ((226, "Workld_Media_Wear_Indic", 100, 65535), None, None),
        ((233, "Flash_Writes_GiB", 100, 7), None, None),
    ],
)
def test_only_attributes_with_a_documented_name_count(
    row: tuple[int, str, int, int], used_ratio: float | None, written_bytes: int | None
) -> None:
    """The same number is wear on one drive and bytes or temperature on the next."""
    sample = parse_smartctl(answer(attributes(row, (241, "Host_Writes_GiB", 1, 0))), "sda", 0.0)
    assert sample.used_ratio == used_ratio
    assert sample.written_bytes == (written_bytes or 0)


def test_the_attributes_of_an_unknown_drive_are_guesses() -> None:
    """smartctl gives them names all the same."""
    report = attributes((177, "Wear_Leveling_Count", 90, 1), in_smartctl_database=False)
    with pytest.raises(NoData, match="not_supported"):
        parse_smartctl(answer(report), "sda", 0.0)


def test_an_attribute_of_which_only_the_raw_value_is_told_is_no_worn_out_drive() -> None:
    """No value is not the value zero."""
    report = attributes((233, "Media_Wearout_Indicator", 97, 0), (241, "Total_LBAs_Written", 99, 8))
    del report["ata_smart_attributes"]["table"][0]["value"]
    sample = parse_smartctl(answer(report), "sda", 0.0)
    assert (sample.used_ratio, sample.written_bytes) == (None, 8 * 512)


@pytest.mark.parametrize("size", [0, -512, 10**400], ids=["none", "negative", "huge"])
def test_a_block_size_that_cannot_be_is_garbage(size: int) -> None:
    """It is counted in: a number of any length is what JSON may hold."""
    report = attributes((241, "Total_LBAs_Written", 99, 8), logical_block_size=size)
    with pytest.raises(ProbeFailed, match="smart_garbage"):
        parse_smartctl(answer(report), "sda", 0.0)


def test_a_sas_drive_tells_its_endurance_indicator() -> None:
    """SCSI solid state media log."""
    report = smartctl(scsi_percentage_used_endurance_indicator=7, power_on_time={"hours": 10})
    sample = parse_smartctl(answer(report), "sda", 0.0)
    assert (sample.used_ratio, sample.power_on_seconds) == (0.07, 36000.0)


@pytest.mark.parametrize("units", [2000, 2000.0, "2000"])
def test_nvme_cli_writes_its_counters_in_three_ways(units: object) -> None:
    """By version."""
    report = {
        "avail_spare": 100,
        "spare_thresh": 5,
        "percent_used": 1,
        "data_units_written": units,
        "power_on_hours": 10,
    }
    sample = parse_nvme(answer(report), "nvme0n1", 1.0)
    assert sample.written_bytes == 2000 * 512_000
    assert sample.used_ratio == 0.01
    assert sample.power_on_seconds == 36000.0


def test_a_virtual_disk_is_not_supported() -> None:
    """As captured; it is no failure."""
    with pytest.raises(NoData, match="not_supported"):
        parse_smartctl(answer((DATA / "virtual_disk.json").read_bytes(), 1), "sda", 0.0)


def test_what_is_missing_is_named_by_kind_of_drive() -> None:
    """SATA needs another capability than NVMe."""
    denied = (DATA / "permission_denied.json").read_bytes()
    with pytest.raises(NoData, match=r"permission_denied: .* group disk .* CAP_SYS_RAWIO"):
        parse_smartctl(answer(denied, 2), "sda", 0.0)
    message = "Read NVMe Identify Controller failed: NVME_IOCTL_ADMIN_CMD: Permission denied"
    with pytest.raises(NoData, match=r"permission_denied: .* CAP_SYS_ADMIN"):
        parse_smartctl(answer(smartctl(2, message), 2), "nvme0n1", 0.0)
    with pytest.raises(NoData, match=r"permission_denied: .* CAP_SYS_ADMIN"):
        parse_nvme(CompletedCommand(1, b"", b"/dev/nvme0n1: Permission denied\n"), "nvme0n1", 0.0)


def test_a_sleeping_drive_is_left_asleep() -> None:
    """It is asked with -n standby, and answers this."""
    report = smartctl(2, "Device is in STANDBY mode, exit(2)")
    with pytest.raises(NoData, match="asleep"):
        parse_smartctl(answer(report, 2), "sda", 0.0)


def test_a_drive_that_cannot_be_asked_is_a_failure() -> None:
    """With smartctl's own words."""
    report = smartctl(2, "Smartctl open device: /dev/sda failed: Input/output error")
    with pytest.raises(ProbeFailed, match=r"smart_failed: .*Input/output error"):
        parse_smartctl(answer(report, 2), "sda", 0.0)


@given(st.integers(0, 400))
def test_output_that_was_cut_is_a_failure_and_no_more(length: int) -> None:
    """At every byte."""
    raw = json.dumps(NVME).encode()
    with pytest.raises(ProbeFailed, match="smart_garbage"):
        parse_smartctl(answer(raw[: min(length, len(raw) - 1)]), "nvme0n1", 0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*NVME, *attributes(), "table", "pages", "value", "name", "raw", "percentage_used"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(JSON)
def test_whatever_json_comes_the_answer_is_a_sample_or_a_reason(content: Any) -> None:
    """Never an exception that nobody expects."""
    raw = json.dumps(content).encode()
    for parse in (parse_smartctl, parse_nvme):
        outcome: float | str | None
        try:
            outcome = parse(answer(raw), "sda", 0.0).used_ratio
        except ProbeError as error:
            outcome = error.reason
        if isinstance(outcome, str):
            assert outcome in {"smart_garbage", "smart_failed", "not_supported"}
        else:
            assert outcome is None or 0 <= outcome <= 2.55


class Programs:
    """Which programs are there, and what they answer; each answer takes ``each_seconds``."""

    def __init__(self, each_seconds: float = 0.0, **answers: CompletedCommand) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []
        self.now = 7.0
        self._each_seconds = each_seconds

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 0.0

    def run(self, argv: Sequence[str], **_: Any) -> CompletedCommand:
        self.asked.append(tuple(argv))
        self.now += self._each_seconds
        drive = argv[-1].removeprefix("/dev/")
        found = self.answers.get(drive) or self.answers.get(argv[0])
        if found is None:
            raise ProbeFailed("program_missing", argv[0])
        return found


def drives(*names: str, below: str = "") -> tuple[BlockLayer, ...]:
    """The layers of what is mounted: an array, where it is named, and the drives below it."""
    array = (BlockLayer(below, "9:0", below.rstrip("0123456789-")),) if below else ()
    return (*array, *(BlockLayer(name, f"8:{at}", "disk") for at, name in enumerate(names)))


def wear_of(programs: Programs, *names: str, below: str = "") -> SmartSample:
    return SmartProbe(drives(*names, below=below), programs, programs).read()


def test_smartctl_is_asked_without_waking_the_drive() -> None:
    """And with the statistics of the standard."""
    programs = Programs(smartctl=answer(NVME))
    assert wear_of(programs, "nvme0n1").at == 7.0
    assert programs.asked == [
        ("smartctl", "--json", "-a", "-l", "devstat", "-n", "standby", "/dev/nvme0n1")
    ]


def test_nvme_is_asked_where_smartctl_is_missing() -> None:
    """Only on NVMe."""
    programs = Programs(nvme=answer({"percent_used": 2}))
    assert wear_of(programs, "nvme0n1").used_ratio == 0.02
    with pytest.raises(NoData, match=r"no_program: smartctl not found"):
        wear_of(programs, "sda")
    with pytest.raises(NoData, match=r"no_program: .*nvme-cli"):
        wear_of(Programs(), "nvme0n1")


@pytest.mark.parametrize("name", ["vda", "loop0", "dm-1", "md0", "-sda", "sda1", "../sda", "nvme0"])
def test_what_is_no_drive_is_not_asked(name: str) -> None:
    """Nor can a name become an option or a path."""
    programs = Programs(smartctl=answer(NVME))
    with pytest.raises(NoData, match="not_supported"):
        wear_of(programs, name)
    assert programs.asked == []


def used(percent: int) -> CompletedCommand:
    return answer(
        smartctl(
            nvme_smart_health_information_log={
                "percentage_used": percent,
                "data_units_written": percent,
                "power_on_hours": 100 * percent,
                "available_spare": 100 - percent,
            }
        )
    )


def test_an_array_is_as_worn_as_its_most_worn_drive() -> None:
    """All that is told is that drive's, and it is named."""
    programs = Programs(nvme0n1=used(3), nvme1n1=used(40), nvme2n1=used(5))
    told = wear_of(programs, "nvme0n1", "nvme1n1", "nvme2n1", below="md0")
    assert (told.used_ratio, told.power_on_seconds) == (0.40, 4000 * 3600.0)
    assert told.source == "smartctl, NVMe health log of nvme1n1, the most worn of 3 drives"


def test_a_single_drive_under_a_volume_needs_no_name() -> None:
    """It is the device's own."""
    assert wear_of(Programs(sda=used(3)), "sda", below="dm-0").source == "smartctl, NVMe health log"


def test_a_drive_that_does_not_tell_hides_no_other() -> None:
    """It is said that one is silent: it may be worse."""
    sleeps = answer(smartctl(2, "Device is in STANDBY mode, exit(2)"), 2)
    told = wear_of(Programs(sda=used(3), sdb=sleeps), "sdb", "sda", below="md0")
    assert told.used_ratio == 0.03
    assert told.source.endswith(" of sda, the most worn of 2 drives, 1 of which did not tell")


def test_an_array_of_which_no_drive_tells_says_why_the_first_does_not() -> None:
    """And names it."""
    denied = answer((DATA / "permission_denied.json").read_bytes(), 2)
    with pytest.raises(NoData, match=r"permission_denied: the wear of sda "):
        wear_of(Programs(sda=denied, sdb=denied), "sda", "sdb", below="md0")


def test_drives_without_a_share_are_compared_by_the_spare_blocks_they_lost() -> None:
    """Where neither says how much of its rating is used."""
    half, full = ({"available_spare": spare} for spare in (50, 100))
    reports = [answer(smartctl(nvme_smart_health_information_log=log)) for log in (full, half)]
    told = wear_of(Programs(sda=reports[0], sdb=reports[1]), "sda", "sdb", below="md0")
    assert told.spare_ratio == 0.5


def test_a_large_array_of_slow_drives_is_asked_no_longer_than_patience_lasts() -> None:
    """What its first drives told is better than nothing."""
    names = [f"sd{letter}" for letter in "abcdefghijkl"]
    programs = Programs(each_seconds=10.0, **{name: used(3) for name in names})
    told = wear_of(programs, *names, below="md0")
    assert programs.now - 7.0 <= PATIENCE_SECONDS + 10.0
    assert told.source.endswith("of which did not tell")


def test_a_multipath_drive_is_asked_by_the_name_that_has_a_device() -> None:
    """Old kernels count its traffic on a hidden path, which is no device."""
    programs = Programs(nvme0n1=used(3))
    assert wear_of(programs, "nvme0n1", "nvme0c0n1").used_ratio == 0.03
    assert [argv[-1] for argv in programs.asked] == ["/dev/nvme0n1"]

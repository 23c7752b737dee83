"""Write limits and CPU quotas of a process, on captured control groups of both versions."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.cgroup import CgroupLimitsProbe, parse_limits
from probes.errors import NoData, ProbeError
from probes.samples import CgroupLimitsSample

DATA = Path(__file__).parents[1] / "data" / "proc"
MIB = 1048576.0


class FixedClock:
    def monotonic(self) -> float:
        return 3.0

    def wall(self) -> float:
        return 0.0


def pid_in(root: Path) -> int:
    return int(next(path.name for path in (root / "proc").iterdir() if path.name.isdigit()))


def read(root: Path) -> CgroupLimitsSample:
    return CgroupLimitsProbe(pid_in(root), FixedClock(), str(root / "proc"), str(root)).read()


def assert_not_visible(root: Path) -> None:
    with pytest.raises(NoData) as caught:
        read(root)
    assert caught.value.reason == "cgroup_not_visible"


@pytest.fixture(name="v2")
def _v2(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "cgroup-v2", tmp_path / "v2"))


@pytest.fixture(name="v1")
def _v1(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "cgroup-v1", tmp_path / "v1"))


def test_version_2_takes_the_tightest_limit_of_all_ancestors() -> None:
    """A service of 8 MiB/s in a slice of 100 MiB/s, whose other disk and CPU the slice limits."""
    expected = CgroupLimitsSample(
        at=3.0,
        write_bytes_per_second={"254:0": 8 * MIB, "254:16": 20 * MIB},
        cpu_cores=3.0,
    )
    assert expected == read(DATA / "cgroup-v2")


def test_a_parents_tighter_limit_wins_in_version_2(v2: Path) -> None:
    """Limits are hierarchical there."""
    limits = v2 / "sys/fs/cgroup/db.slice/io.max"
    limits.write_text("254:0 rbps=max wbps=1048576 riops=max wiops=max\n")
    assert read(v2).write_bytes_per_second == {"254:0": MIB}


def test_version_1_throttles_only_the_groups_own_members(v1: Path) -> None:
    """Measured: a write in a child of a group limited to 8 MiB/s ran at 1.9 GB/s."""
    own = {"254:0": 8 * MIB, "7:0": 20 * MIB}
    assert own == read(v1).write_bytes_per_second
    parent = v1 / "sys/fs/cgroup/blkio/db/blkio.throttle.write_bps_device"
    parent.write_text("254:0 1048576\n")
    assert own == read(v1).write_bytes_per_second


def test_version_1_quotas_of_all_ancestors_count(v1: Path) -> None:
    """Half a core of its own in a parent with one and a half."""
    assert read(v1).cpu_cores == 0.5
    (v1 / "sys/fs/cgroup/cpu/db/cpu.cfs_quota_us").write_text("25000\n")
    assert read(v1).cpu_cores == 0.25


def test_version_2_limits_nothing_where_version_1_has_the_controllers(v1: Path) -> None:
    """Each is in one of them: its group there, seldom shown to containers, takes nothing away."""
    groups = v1 / "proc" / str(pid_in(v1)) / "cgroup"
    groups.write_text(groups.read_text().replace("0::/\n", "0::/system.slice/containerd.service\n"))
    mountinfo = v1 / "proc/self/mountinfo"
    lines = mountinfo.read_text().splitlines(keepends=True)
    mountinfo.write_text("".join(line for line in lines if " cgroup2 " not in line))
    for path in (v1 / "sys").rglob("*.*"):
        path.unlink()
    assert CgroupLimitsSample(3.0, {}, None) == read(v1)


def test_a_recorded_hybrid_host_limits_by_both_versions() -> None:
    """The tighter limit is the parent's in both; the process is in the root group of all others."""
    expected = CgroupLimitsSample(at=3.0, write_bytes_per_second={"254:0": 8 * MIB}, cpu_cores=1.5)
    assert expected == read(DATA / "cgroup-hybrid")


def test_a_hierarchy_out_of_sight_takes_no_limit_away_that_another_shows(v1: Path) -> None:
    """Where none shows any, the one out of sight may have one."""
    groups = v1 / "proc" / str(pid_in(v1)) / "cgroup"
    cpu = next(line for line in groups.read_text().splitlines() if ":cpu:" in line)
    groups.write_text(groups.read_text().replace(cpu, "1:cpu:/../elsewhere"))
    assert CgroupLimitsSample(3.0, {"254:0": 8 * MIB, "7:0": 20 * MIB}, None) == read(v1)
    for limits in (v1 / "sys").rglob("blkio.throttle.write_bps_device"):
        limits.write_text("")
    assert_not_visible(v1)


def test_no_limits_are_an_empty_mapping_and_not_an_absence(v2: Path) -> None:
    """Known to be unlimited is not unknown."""
    for name in ("io.max", "cpu.max"):
        for path in (v2 / "sys").rglob(name):
            path.unlink()
    assert CgroupLimitsSample(3.0, {}, None) == read(v2)


@pytest.mark.parametrize("name", ["cgroup-v2-systemd", "cgroup-v2-container"])
def test_what_systemd_sets_on_a_service_and_two_slices_counts(name: str) -> None:
    """Seen from a service of the host, and from a container: paths there begin with ".."."""
    expected = CgroupLimitsSample(at=3.0, write_bytes_per_second={"254:0": 8e6}, cpu_cores=1.5)
    assert expected == read(DATA / name)


def test_a_container_that_was_not_given_the_hosts_tree_knows_nothing(tmp_path: Path) -> None:
    """Its own tree shows no other group, and the limits of its own say nothing."""
    container = shutil.copytree(DATA / "cgroup-v2-container", tmp_path / "container")
    mountinfo = container / "proc/self/mountinfo"
    lines = mountinfo.read_text().splitlines(keepends=True)
    mountinfo.write_text("".join(line for line in lines if " /host/" not in line))
    assert_not_visible(container)


def test_a_group_beside_a_namespaces_root_has_no_name_there(tmp_path: Path) -> None:
    """The mount begins two above the root, the group one above: what that is called is not told."""
    container = shutil.copytree(DATA / "cgroup-v2-container", tmp_path / "container")
    (container / "proc" / str(pid_in(container)) / "cgroup").write_text("0::/../db.slice\n")
    assert_not_visible(container)


def test_of_two_mounts_the_one_that_shows_more_of_the_tree_counts(v2: Path) -> None:
    """In either order."""
    mountinfo = v2 / "proc/self/mountinfo"
    whole = mountinfo.read_text()
    part = "30 23 0:23 /db.slice/rocks.service /part rw,relatime - cgroup2 cgroup2 rw\n"
    shutil.copytree(v2 / "sys/fs/cgroup/db.slice/rocks.service", v2 / "part")
    expected = read(v2)
    for text in (part + whole, whole + part):
        mountinfo.write_text(text)
        assert expected == read(v2)
    assert expected.write_bytes_per_second == {"254:0": 8 * MIB, "254:16": 20 * MIB}


def test_a_mount_that_another_lies_over_shows_nothing(v2: Path) -> None:
    """The mount table lists it all the same."""
    mountinfo = v2 / "proc/self/mountinfo"
    expected = read(v2)
    covered = "20 23 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    mountinfo.write_text(covered + mountinfo.read_text())
    assert expected == read(v2)
    mountinfo.write_text(covered)
    assert_not_visible(v2)


def test_only_the_root_group_of_a_hierarchy_without_a_mount_is_known(v2: Path) -> None:
    """Kernels list version 2 where it is mounted nowhere; any other group may have limits."""
    (v2 / "proc/self/mountinfo").write_text("")
    groups = v2 / "proc" / str(pid_in(v2)) / "cgroup"
    assert_not_visible(v2)
    groups.write_text("0::/\n")
    assert CgroupLimitsSample(3.0, {}, None) == read(v2)


def test_a_mount_of_a_part_of_the_tree_is_seen_from_its_root(v2: Path) -> None:
    """In a container the mount's root is the container's own group."""
    mountinfo = v2 / "proc/self/mountinfo"
    text = mountinfo.read_text()
    shutil.copytree(v2 / "sys/fs/cgroup/db.slice/rocks.service", v2 / "part")
    assert " / /sys/fs/cgroup " in text
    mountinfo.write_text(text.replace(" / /sys/fs/cgroup ", " /db.slice/rocks.service /part "))
    assert read(v2).write_bytes_per_second == {"254:0": 8 * MIB}


@pytest.mark.parametrize(
    ("root", "path"), [("/db.slice", "/elsewhere"), ("/db.slice", "/db.slicer"), ("/", "/../other")]
)
def test_a_group_outside_what_is_mounted_is_unknown(v2: Path, root: str, path: str) -> None:
    """Unlimited would be a claim."""
    mountinfo = v2 / "proc/self/mountinfo"
    text = mountinfo.read_text()
    mountinfo.write_text(text.replace(" / /sys/fs/cgroup ", f" {root} /sys/fs/cgroup "))
    (v2 / "proc" / str(pid_in(v2)) / "cgroup").write_text(f"0::{path}\n")
    assert_not_visible(v2)


def test_a_process_whose_group_was_removed_is_gone(v2: Path) -> None:
    """The kernel marks the group of a zombie so."""
    groups = v2 / "proc" / str(pid_in(v2)) / "cgroup"
    groups.write_text("0::/db.slice/rocks.service (deleted)\n")
    with pytest.raises(NoData) as caught:
        read(v2)
    assert caught.value.reason == "process_gone"


def test_a_process_that_ended_is_no_data(v2: Path) -> None:
    """It is normal for a database to be closed."""
    with pytest.raises(NoData) as caught:
        CgroupLimitsProbe(1, FixedClock(), str(v2 / "proc"), str(v2)).read()
    assert caught.value.reason == "process_gone"


def test_a_host_without_control_groups_limits_nothing(v2: Path) -> None:
    """A kernel without CONFIG_CGROUPS has no file of that name."""
    (v2 / "proc" / str(pid_in(v2)) / "cgroup").write_text("")
    assert CgroupLimitsSample(3.0, {}, None) == read(v2)


def test_a_damaged_line_costs_only_its_own_device(v2: Path) -> None:
    """The lines around it count."""
    limits = v2 / "sys/fs/cgroup/db.slice/rocks.service/io.max"
    limits.write_bytes(b"\xff\0 wbps=x\n254:0 wbps=\n8:0 rbps=1 wbps=77 riops=max\n8:1 wbps=5 wi")
    (v2 / "sys/fs/cgroup/db.slice/io.max").unlink()
    assert read(v2).write_bytes_per_second == {"8:0": 77.0, "8:1": 5.0}


@settings(deadline=None)
@given(st.binary(max_size=80).map(lambda path: b"0::/" + path) | st.binary(max_size=200))
def test_any_group_list_gives_a_sample_or_a_probe_error(text: bytes) -> None:
    """NUL, line feeds, foreign bytes: nothing else escapes."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shutil.copytree(DATA / "cgroup-v2" / "proc" / "self", root / "self")
        (root / "7").mkdir()
        (root / "7" / "cgroup").write_bytes(text)
        try:
            sample = CgroupLimitsProbe(7, FixedClock(), directory, str(DATA / "cgroup-v2")).read()
        except ProbeError:
            return
        assert sample.at == 3.0


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(min_value=1, max_value=2))
def test_any_limit_file_is_parsed_or_skipped(text: bytes, version: int) -> None:
    """No input raises, and every limit is positive."""
    assert all(limit > 0 for limit in parse_limits(text, version).values())


@settings(deadline=None)
@given(wbps=st.integers(min_value=1, max_value=2**63), major=st.integers(0, 4095))
def test_written_limits_read_back(wbps: int, major: int) -> None:
    """Both formats, as the kernel prints them."""
    v1 = f"{major}:3 {wbps}\n".encode()
    v2 = f"{major}:3 rbps=max wbps={wbps} riops=max wiops=9\n".encode()
    expected = {f"{major}:3": float(wbps)}
    assert expected == parse_limits(v1, 1) == parse_limits(v2, 2)

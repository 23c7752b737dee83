"""Whether a process's I/O may be read: the way out is named where it may not."""

import os
from pathlib import Path

import pytest

from probes.errors import NoData
from probes.process_io import ProcessIoAccessProbe
from tests.unit.test_rocksdb_fingerprint import unprivileged


def test_ones_own_process_may_be_read() -> None:
    """As the database's user may."""
    assert ProcessIoAccessProbe(os.getpid()).read() is True


def test_what_is_forbidden_names_the_capability(tmp_path: Path) -> None:
    """A file that exists and may not be read stands for another user's process."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "io").write_text("write_bytes: 1\n")
    (tmp_path / "7" / "io").chmod(0)
    with unprivileged(), pytest.raises(NoData, match="CAP_SYS_PTRACE") as caught:
        ProcessIoAccessProbe(7, str(tmp_path)).read()
    assert caught.value.reason == "not_permitted"


def test_a_kernel_without_the_account_says_so(tmp_path: Path) -> None:
    """CONFIG_TASK_IO_ACCOUNTING may be off."""
    with pytest.raises(NoData) as caught:
        ProcessIoAccessProbe(7, str(tmp_path)).read()
    assert caught.value.reason == "no_io_accounting"

"""Whether this user may read what a process has written: the kernel's count of its I/O."""

from probes.errors import NoData
from probes.kernelfile import read_kernel_file

_IO_LIMIT_BYTES = 4096


class ProcessIoAccessProbe:
    """Tells why ``ProcessProbe`` has no bytes of a process, and what to do about it."""

    def __init__(self, pid: int, proc_root: str = "/proc") -> None:
        self._path = f"{proc_root}/{pid}/io"

    def read(self) -> bool:
        """Return True, or raise NoData "not_permitted", "process_gone", "no_io_accounting".

        Source: proc_pid_io(5), which asks for the right to trace the process (ptrace(2)).
        """
        try:
            read_kernel_file(self._path, _IO_LIMIT_BYTES)
        except PermissionError as error:
            raise NoData(
                "not_permitted",
                f"{self._path} may not be read by this user, so the database's writes are taken "
                "from its LOG; run as the database's user, or give the service CAP_SYS_PTRACE",
            ) from error
        except ProcessLookupError as error:
            raise NoData("process_gone", f"{self._path}: the process has ended") from error
        except OSError as error:
            raise NoData(
                "no_io_accounting",
                f"{self._path} cannot be read ({error.strerror}), so the database's writes are "
                "taken from its LOG",
            ) from error
        return True

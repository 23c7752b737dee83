"""The machine's present moment, as the accounts' clock wants it."""

import time

from agent.wear.account_clock import BootTime


def system_boot_time() -> BootTime:
    """Of CLOCK_BOOTTIME, which nobody can set, in the boot that the kernel names."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot_id = file.read(64).strip() or None
    except (OSError, UnicodeDecodeError):
        boot_id = None
    return BootTime(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))

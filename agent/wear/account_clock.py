"""The clock of the wear accounts: seconds that have certainly passed, and never one more.

A budget per day needs a day that nobody can shorten. The wall clock can be set; the monotonic
clocks start over at each boot. So the accounts have a clock of their own, kept with them, which
goes on by what is proved:

- Within one boot, by the difference of CLOCK_BOOTTIME, which cannot be set and counts suspension.
- Across a reboot, by the present uptime: the accounts were saved before this boot began, so at
  least this much has passed since. How long the machine was off is what only the wall clock says,
  and a wall clock that was set forwards across a reboot would buy a fresh budget. It buys nothing:
  a host that was off for a week waits, at worst, for its first day up. Nothing here asks for the
  wall time, so its jumps neither refill the budget nor block it.
- Where the boots cannot be told apart, by the smaller of the two.
"""

import msgspec


class BootTime(msgspec.Struct, frozen=True):
    """A moment: seconds of CLOCK_BOOTTIME in a boot; ``boot_id`` None where it cannot be read."""

    boot_id: str | None
    boottime_seconds: float


class AccountClock(msgspec.Struct, frozen=True):
    """The account's time at one moment of the machine's."""

    account_seconds: float
    at: BootTime

    def advanced(self, now: BootTime) -> "AccountClock":
        """The same clock later; it stands where time seems to go backwards within a boot."""
        return AccountClock(self.account_seconds + certain_seconds(self.at, now), now)


def certain_seconds(then: BootTime, now: BootTime) -> float:
    """How many seconds have passed at least, ``then`` being the earlier moment."""
    same_boot = max(0.0, now.boottime_seconds - then.boottime_seconds)
    if then.boot_id is None or now.boot_id is None:
        if now.boottime_seconds < then.boottime_seconds:
            return max(0.0, now.boottime_seconds)  # only another boot has less uptime
        return same_boot
    return same_boot if then.boot_id == now.boot_id else max(0.0, now.boottime_seconds)

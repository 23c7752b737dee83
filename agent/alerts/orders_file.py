"""The operator's orders in the agent's state directory: written by commands, read by the daemon."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Final

from agent.alerts.orders import MAX_ORDERS, DamagedOrders, Order, decode_orders, encode_orders
from agent.atomic_file import AtomicFile, UnusableFile, give_to_owner
from probes.errors import NoData, ProbeFailed

FILE_NAME: Final = "alert-orders.json"
LOCK_NAME: Final = ".alert-orders.lock"
MAX_BYTES: Final = 2 * 1024 * 1024
"""256 orders with the longest path as a database's name and the longest comment are 1.2 MB."""


class TooManyOrders(ValueError):
    """There is no room for more of them; the message says what to do."""


def change_orders(
    directory: str,
    change: Callable[[tuple[Order, ...]], tuple[Order, ...]],
    wall_seconds: float,
) -> None:
    """Replace the orders by what ``change`` makes of them; those that are over are left out.

    One command at a time: what another one adds meanwhile is not lost. A damaged file is replaced.
    Raises OSError, UnusableFile (another user's, or no file) and TooManyOrders. Written by root
    into another user's directory, it is given to that user, whose daemon reads it.
    """
    file = AtomicFile(directory, FILE_NAME)
    with _locked(directory):
        try:
            before = decode_orders(file.read(MAX_BYTES, of_owner=True))
        except (FileNotFoundError, DamagedOrders):
            before = ()
        current = tuple(order for order in before if order.remaining_seconds(wall_seconds) > 0.0)
        after = change(current)
        if len(after) > MAX_ORDERS:
            raise TooManyOrders(
                f"there are {len(current)} silences and acknowledgements already; end some with "
                "'smaxd unsilence'"
            )
        file.write(encode_orders(after), to_owner=True)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    path = os.path.join(directory, LOCK_NAME)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        give_to_owner(descriptor, directory)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class OrdersProbe:
    """Reads the orders in ``directory`` (None: nowhere)."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def read(self) -> tuple[Order, ...]:
        """What the operator ordered, in the order of asking.

        Raises NoData "no_orders"; ProbeFailed "orders_unusable" for a file that is damaged or
        another user's: it changes nothing, and that must be told.
        """
        if self._directory is None:
            raise NoData("no_orders", "there is no state directory to look into")
        file = AtomicFile(self._directory, FILE_NAME)
        try:
            orders = decode_orders(file.read(MAX_BYTES))
        except FileNotFoundError:
            raise NoData("no_orders", "no alert is acknowledged or silenced") from None
        except (OSError, UnusableFile, DamagedOrders) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ProbeFailed(
                "orders_unusable",
                f"{file.path}: {why}; what was in force stays so; remove it, or silence again",
            ) from error
        if not orders:
            raise NoData("no_orders", "no alert is acknowledged or silenced")
        return orders

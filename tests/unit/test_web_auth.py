"""Passwords: who knows one gets in at once, who guesses gets nowhere and disturbs nobody."""

import asyncio
import base64
import threading
from collections.abc import Callable, Mapping

import bcrypt
import pytest

from agent.web_auth import (
    REMEMBERED,
    WAITING,
    WAITING_OF_ONE_CLIENT,
    BasicAuth,
    Credentials,
    Remembered,
    Verdict,
    credentials_of,
)


def hashed(password: bytes, cost: int = 4) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


USERS = {"ann": hashed(b"right"), "bob": hashed(b"other")}


class CountedChecks:
    """bcrypt's check, counted; ``hold`` keeps each from ending until ``release``."""

    def __init__(self, check: Callable[[bytes, bytes], bool]) -> None:
        self._check = check
        self.hashes: list[bytes] = []
        self._may_end = threading.Event()
        self._may_end.set()

    def hold(self) -> None:
        self._may_end.clear()

    def release(self) -> None:
        self._may_end.set()

    def __call__(self, password: bytes, hashed_password: bytes) -> bool:
        self.hashes.append(hashed_password)
        self._may_end.wait(30)
        return self._check(password, hashed_password)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> CountedChecks:
    counted = CountedChecks(bcrypt.checkpw)
    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return counted


async def ask(
    auth: BasicAuth,
    user: str = "ann",
    password: bytes = b"right",
    users: Mapping[str, str] = USERS,
    client: str = "10.0.0.1",
) -> Verdict:
    return await auth.verdict(Credentials(user.encode(), password), users, client)


@pytest.mark.parametrize(
    ("user", "password", "verdict"),
    [
        ("ann", b"right", Verdict.ADMITTED),
        ("bob", b"other", Verdict.ADMITTED),
        ("ann", b"other", Verdict.REFUSED),
        ("ann", b"", Verdict.REFUSED),
        ("eve", b"right", Verdict.REFUSED),
        ("", b"fakepassword", Verdict.REFUSED),
        ("eve", b"fakepassword", Verdict.REFUSED),
    ],
)
def test_the_right_password_of_a_known_user_is_admitted(
    user: str, password: bytes, verdict: Verdict
) -> None:
    """And nothing else, twice: once checked, once remembered."""

    async def twice() -> list[Verdict]:
        auth = BasicAuth()
        return [await ask(auth, user, password) for _ in range(2)]

    assert asyncio.run(twice()) == [verdict, verdict]


@pytest.mark.parametrize("password", [b"\xc3\xa4\xff", b"a\0b", b"with:colon", b"x" * 100])
def test_a_password_may_be_any_bytes(password: bytes) -> None:
    """bcrypt looks at the first 72 of them, here as in Go."""
    users = {"ann": hashed(password[:72])}
    assert asyncio.run(ask(BasicAuth(), password=password, users=users)) is Verdict.ADMITTED


def test_every_spelling_of_the_hash_is_checked() -> None:
    """htpasswd writes 2y, others 2a and 2b; it is the same algorithm."""
    users = {name: USERS["ann"].replace("$2b$", f"${name}$") for name in ("2a", "2b", "2y")}

    async def all_of_them() -> set[Verdict]:
        auth = BasicAuth()
        return {await ask(auth, name, users=users) for name in users}

    assert asyncio.run(all_of_them()) == {Verdict.ADMITTED}


@pytest.mark.parametrize("password", [b"right", b"wrong"])
def test_an_answer_is_remembered(checks: CountedChecks, password: bytes) -> None:
    """A scrape every few seconds costs one check in all, also where its password is wrong."""

    async def often() -> None:
        auth = BasicAuth()
        for _ in range(5):
            await ask(auth, password=password)

    asyncio.run(often())
    assert len(checks.hashes) == 1


def test_a_changed_hash_is_checked_anew(checks: CountedChecks) -> None:
    """What was right with the old one is not with the new one."""

    async def before_and_after() -> list[Verdict]:
        auth = BasicAuth()
        return [await ask(auth), await ask(auth, users={"ann": hashed(b"new")})]

    assert asyncio.run(before_and_after()) == [Verdict.ADMITTED, Verdict.REFUSED]
    assert len(checks.hashes) == 2


def test_an_unknown_user_costs_as_much_as_the_dearest_known_one(checks: CountedChecks) -> None:
    """How long the answer takes does not tell who exists."""
    users = {"ann": hashed(b"right", 5), "bob": hashed(b"other", 6)}
    asyncio.run(ask(BasicAuth(), "eve", users=users))

    assert [one.split(b"$")[2] for one in checks.hashes] == [b"06"]


def test_the_same_question_asked_at_once_is_checked_once(checks: CountedChecks) -> None:
    """A browser opens several connections."""
    checks.hold()

    async def together() -> list[Verdict]:
        auth = BasicAuth()
        asked = [asyncio.ensure_future(ask(auth)) for _ in range(5)]
        await asyncio.sleep(0)
        checks.release()
        return await asyncio.gather(*asked)

    assert asyncio.run(together()) == [Verdict.ADMITTED] * 5
    assert len(checks.hashes) == 1


def test_who_guesses_is_sent_away_and_takes_nobodys_place(checks: CountedChecks) -> None:
    """Of one address few checks wait; another address still has its turn."""
    checks.hold()

    async def guess_and_ask() -> tuple[list[Verdict], list[Verdict]]:
        auth = BasicAuth(share=1.0)
        guesses = [
            asyncio.ensure_future(ask(auth, password=b"%d" % number, client="10.6.6.6"))
            for number in range(20)
        ]
        scrape = asyncio.ensure_future(ask(auth))
        await asyncio.sleep(0)
        sent_away = [guess.result() for guess in guesses if guess.done()]
        checks.release()
        return sent_away, [await scrape, *await asyncio.gather(*guesses)]

    sent_away, in_the_end = asyncio.run(guess_and_ask())
    assert sent_away == [Verdict.TOO_MANY] * (20 - WAITING_OF_ONE_CLIENT)
    assert in_the_end[0] is Verdict.ADMITTED
    assert len(checks.hashes) == WAITING_OF_ONE_CLIENT + 1


def test_guesses_from_everywhere_are_bounded_and_the_known_pass(checks: CountedChecks) -> None:
    """What is remembered needs no check."""

    async def flood() -> tuple[list[Verdict], Verdict]:
        auth = BasicAuth(share=1.0)
        assert await ask(auth) is Verdict.ADMITTED
        checks.hold()
        guesses = [
            asyncio.ensure_future(ask(auth, password=b"%d" % number, client=f"10.6.6.{number}"))
            for number in range(30)
        ]
        await asyncio.sleep(0)
        sent_away = [guess.result() for guess in guesses if guess.done()]
        known = await ask(auth)
        checks.release()
        await asyncio.gather(*guesses)
        return sent_away, known

    sent_away, known = asyncio.run(flood())
    assert sent_away == [Verdict.TOO_MANY] * (30 - WAITING)
    assert known is Verdict.ADMITTED


def test_who_goes_away_takes_the_answer_from_nobody(checks: CountedChecks) -> None:
    """The check goes on for the others, and its place is given back."""
    checks.hold()

    async def one_leaves() -> list[Verdict]:
        auth = BasicAuth()
        leaving, staying = (asyncio.ensure_future(ask(auth)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        checks.release()
        answers = [await staying]
        for number in range(WAITING_OF_ONE_CLIENT + 1):
            answers.append(await ask(auth, "bob", b"other", {"bob": USERS["bob"]}, f"{number}"))
        return answers

    assert set(asyncio.run(one_leaves())) == {Verdict.ADMITTED}


def test_the_thread_rests_after_a_wrong_password(
    checks: CountedChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For nine times what the check took: a tenth of a core goes to guesses at most."""
    del checks
    times = iter([10.0, 10.5, 20.0, 20.1, 30.0])
    rests: list[float] = []
    monkeypatch.setattr("agent.web_auth.time.thread_time", lambda: next(times))
    monkeypatch.setattr("agent.web_auth.time.sleep", rests.append)

    async def wrong_wrong_right() -> None:
        auth = BasicAuth(share=0.1)
        for password in (b"wrong", b"worse", b"right"):
            await ask(auth, password=password)

    asyncio.run(wrong_wrong_right())
    assert rests == [pytest.approx(4.5), pytest.approx(0.9)]


def test_guesses_do_not_drive_out_what_is_right() -> None:
    """Each kind has room of its own, and forgets the one not used for longest."""
    remembered = Remembered(2)
    remembered.put(b"right", True)
    for number in range(10):
        remembered.put(b"%d" % number, False)

    assert remembered.get(b"right") is True
    assert [remembered.get(b"%d" % number) for number in (7, 8, 9)] == [None, False, False]
    assert REMEMBERED >= 2


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_header_is_read_as_it_is_sent(scheme: str) -> None:
    """A password may have colons, a user may not."""
    value = f"{scheme} ".encode() + base64.b64encode(b"ann:a:b")
    assert credentials_of(value) == Credentials(b"ann", b"a:b")


@pytest.mark.parametrize(
    "value", [None, b"", b"Basic", b"Basic !!!", b"Bearer YTpi", b"Basic YWJj", b"Basic YTpi YTpi"]
)
def test_other_headers_say_nothing_of_anyone(value: bytes | None) -> None:
    assert credentials_of(value) is None


def test_credentials_do_not_show_themselves() -> None:
    """They may get into a traceback."""
    assert "right" not in repr(Credentials(b"ann", b"right"))

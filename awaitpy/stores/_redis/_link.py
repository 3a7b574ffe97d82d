"""Calls of scripts, second tries, and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from awaitpy.durable._store import StoreError
from awaitpy.stores._redis import _scripts
from awaitpy.stores._redis._calls import Argument
from awaitpy.stores._redis._cancelling import heard
from awaitpy.stores._redis._scripts import Script

T = TypeVar("T")
PASSING = (
    exceptions.ConnectionError,  # also: a server that is loading its data
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.MasterDownError,
)
LASTING = (exceptions.AuthenticationError, exceptions.AuthorizationError)
REFUSED = (exceptions.ConnectionError, exceptions.TimeoutError)
"""What is told at once where a store is opened; a server that is loading its data is waited for."""
FIRST_PAUSE = 0.02
LEAST = 1.0
"""Seconds within which a server has to answer when the store is opened, however impatient it is."""


class Link:
    """The way to the server, by the application's client or one that is made when it is opened.

    `patience` is for how many seconds a call is tried again where its error may pass.
    """

    def __init__(self, url: str, client: Redis | None, prefix: str, patience: float) -> None:
        self._url, self._is_own = url, client is None
        self._client: Any = client  # redis-py types its methods in part
        self.prefix: Final = f"{prefix}:"
        self._patience, self._limit = patience, max(patience, LEAST)

    @property
    def client(self) -> Any:
        """The client. Raises StoreError if there is none yet, or no longer."""
        if self._client is None:
            raise StoreError("The RedisStore is not open: await `store.open()` before its other verbs.")
        return self._client

    async def open(self) -> None:
        """Have a client that answers, and a server that knows the scripts; again, if it is there."""
        if self._client is not None:
            await self._begin()
            return
        self._client = self._made()
        try:
            await self._begin()
        except BaseException:
            await self.close()
            raise

    def _made(self) -> Any:
        make: Any = Redis
        # Tries are counted here, by one clock, and not once more in the client.
        once = Retry(NoBackoff(), 0)
        try:
            return make.from_url(self._url, retry=once, socket_connect_timeout=self._limit)
        except ValueError as error:
            raise StoreError(f"RedisStore can't read its url: {error}") from error

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._limit):
                await self.tried(self._load_scripts, at_once=REFUSED)
        except TimeoutError:
            raise StoreError(
                f"Redis could not do it: the server did not answer within {self._limit:g} seconds. Look "
                "whether it runs, and whether a firewall is between.",
                transient=True,
                waited=True,
            ) from None

    async def close(self) -> None:
        """Close the client, unless it is the application's. A second call does nothing."""
        if self._is_own and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def call(self, script: Script, arguments: Sequence[Argument]) -> Any:
        """What one script replies."""
        (reply,) = await self.call_all([(script, arguments)])
        if isinstance(reply, exceptions.RedisError):
            raise store_error(reply) from reply
        return reply

    async def call_all(self, calls: Sequence[tuple[Script, Sequence[Argument]]]) -> list[Any]:
        """What each of these scripts replies, run in this order; a lasting error is a reply too."""

        async def work() -> list[Any]:
            replies = await self._send(calls)
            if any(isinstance(reply, exceptions.NoScriptError) for reply in replies):
                await self._load_scripts()
                replies = await self._send(calls)
            for reply in replies:
                if isinstance(reply, exceptions.RedisError) and is_passing(reply):
                    raise reply
            return replies

        return await self.tried(work)

    async def tried(
        self, work: Callable[[], Awaitable[T]], *, at_once: tuple[type[Exception], ...] = ()
    ) -> T:
        """What the work gives. It is done again while its error may pass, with pauses that grow.

        Errors of the classes `at_once` are told at once.
        """
        clock = asyncio.get_running_loop().time
        pause, give_up = FIRST_PAUSE, clock() + self._patience
        while True:
            try:
                return await work()
            except exceptions.RedisError as error:
                if not is_passing(error) or error.__class__ in at_once:
                    raise store_error(error) from error
                if clock() + pause > give_up:
                    raise store_error(error, waited=True) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _send(self, calls: Sequence[tuple[Script, Sequence[Argument]]]) -> list[Any]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for script, arguments in calls:
                # The application's client may decode; a state is bytes.
                words = (script.sha, 1, self.prefix, *arguments)
                pipeline.execute_command("EVALSHA", *words, NEVER_DECODE=True)
            replies: list[Any] = await heard(pipeline.execute(raise_on_error=False))
            return replies

    async def _load_scripts(self) -> None:
        for script in _scripts.ALL:
            await heard(self.client.script_load(script.text))


def is_passing(error: exceptions.RedisError) -> bool:
    """Whether the same may work a moment later."""
    return isinstance(error, PASSING) and not isinstance(error, LASTING)


def store_error(error: exceptions.RedisError, *, waited: bool = False) -> StoreError:
    """The error of the protocol that stands for one of the driver."""
    said = str(error).removesuffix(".")
    return StoreError(
        f"Redis could not do it: {type(error).__name__}: {said}.",
        transient=is_passing(error),
        waited=waited,
    )

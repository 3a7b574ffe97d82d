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
from awaitpy.stores._redis._scripts import Script

T = TypeVar("T")
PASSING = (
    exceptions.ConnectionError,  # also: a server that is loading its data
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.MasterDownError,
)
FIRST_PAUSE = 0.02


class Link:
    """The way to the server, by the application's client or one that is made when it is opened.

    `patience` is for how many seconds a call is tried again where its error may pass.
    """

    def __init__(self, url: str, client: Redis | None, prefix: str, patience: float) -> None:
        self._url, self._is_own = url, client is None
        self._client: Any = client  # redis-py types its methods in part
        self.prefix: Final = f"{prefix}:"
        self._patience = patience

    @property
    def client(self) -> Any:
        """The client. Raises StoreError if there is none yet, or no longer."""
        if self._client is None:
            raise StoreError("The RedisStore is not open: await `store.open()` before its other verbs.")
        return self._client

    async def open(self) -> None:
        """Have a client that answers, and a server that knows the scripts; again, if it is there."""
        if self._client is None:
            # Tries are counted here, by one clock, and not once more in the client.
            make: Any = Redis
            self._client = make.from_url(self._url, retry=Retry(NoBackoff(), 0))
        await self.tried(self._load_scripts)

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
                if isinstance(reply, PASSING):
                    raise reply
            return replies

        return await self.tried(work)

    async def tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work gives. It is done again while its error may pass, with pauses that grow."""
        clock = asyncio.get_running_loop().time
        pause, give_up = FIRST_PAUSE, clock() + self._patience
        while True:
            try:
                return await work()
            except exceptions.RedisError as error:
                if not isinstance(error, PASSING) or clock() + pause > give_up:
                    raise store_error(error) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _send(self, calls: Sequence[tuple[Script, Sequence[Argument]]]) -> list[Any]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for script, arguments in calls:
                # The application's client may decode; a state is bytes.
                words = (script.sha, 1, self.prefix, *arguments)
                pipeline.execute_command("EVALSHA", *words, NEVER_DECODE=True)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies

    async def _load_scripts(self) -> None:
        for script in _scripts.ALL:
            await self.client.script_load(script.text)


def store_error(error: exceptions.RedisError) -> StoreError:
    """The error of the protocol that stands for one of the driver."""
    return StoreError(
        f"Redis could not do it: {type(error).__name__}: {error}.", transient=isinstance(error, PASSING)
    )

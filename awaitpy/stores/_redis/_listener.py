"""One connection that hears when another process made a run due."""

from __future__ import annotations

from contextlib import suppress

from redis.exceptions import RedisError

from awaitpy.stores._bell import Bell
from awaitpy.stores._listener import Listener
from awaitpy.stores._redis._cancelling import heard
from awaitpy.stores._redis._link import Link

PATIENCE = 60.0


class RedisListener(Listener):
    """Rings a bell at each message of a channel."""

    def __init__(self, link: Link, bell: Bell) -> None:
        super().__init__()
        self._link, self._bell = link, bell

    async def _listen(self) -> None:
        with suppress(RedisError):
            await self._hear()

    async def _hear(self) -> None:
        """Ring until the connection is lost."""
        async with self._link.client.pubsub() as channel:
            await heard(channel.subscribe(f"{self._link.prefix}changed"))
            while True:
                # The first message says that it listens: what was made due before is not told again.
                if await heard(channel.get_message(timeout=PATIENCE)) is not None:
                    self._bell.ring()

"""PgQueuer: eight producers, a transaction for each job; eight queue managers. Prints how many
seconds all of it took.

Usage: python pgqueuer_run.py '{"host": …}' MESSAGES
"""

import asyncio
import json
import sys
import time

import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries

LANES = 8


async def main(connection: dict[str, object], count: int) -> None:
    async def connect() -> AsyncpgDriver:
        return AsyncpgDriver(await asyncpg.connect(**connection))

    await Queries(await connect()).install()
    done = 0
    finished = asyncio.Event()
    managers = []
    for _ in range(LANES):
        manager = PgQueuer(await connect())

        @manager.entrypoint("q")
        async def handle(job: object) -> None:
            nonlocal done
            done += 1
            if done == count:
                finished.set()

        managers.append(manager)
    runs = [asyncio.create_task(manager.run()) for manager in managers]
    await asyncio.sleep(1)

    sent = 0
    begun = time.monotonic()

    async def produce() -> None:
        nonlocal sent
        queries = Queries(await connect())
        while sent < count:
            sent += 1
            await queries.enqueue("q", b'{"n": 1}')

    await asyncio.gather(*(produce() for _ in range(LANES)))
    await finished.wait()
    print(time.monotonic() - begun, flush=True)
    for manager in managers:
        manager.shutdown.set()
    await asyncio.wait(runs, timeout=10)


asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))

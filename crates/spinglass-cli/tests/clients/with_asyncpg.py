"""asyncpg, which prepares every statement and takes every value in binary.

Argument: an agent's port. Prints nothing if all is well.
"""

import asyncio
import sys

import asyncpg

PLACE = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "me", "database": "spinglass"}


async def main():
    connection = await asyncpg.connect(**PLACE)
    assert await connection.fetchval("SELECT count(*) FROM hosts") == 3
    sql = "SELECT id, cpus, up, load FROM hosts WHERE cpus >= $1 AND id = $2"
    row = await connection.fetchrow(sql, 1, "web1")
    assert row["id"] == "web1" and row["up"] is True and row["cpus"] >= 1, row
    assert await connection.fetch("SELECT id FROM hosts WHERE id = ANY($1)", ["web2"])
    assert (await connection.fetchval("SELECT at FROM events LIMIT 1")).tzinfo is not None
    async with connection.transaction():
        ids = [row["id"] async for row in connection.cursor("SELECT id FROM hosts", prefetch=2)]
    assert sorted(ids) == ["web1", "web2", "web3"], ids
    heard = asyncio.Queue()
    await connection.add_listener("asyncpg", lambda *told: heard.put_nowait(told[2:]))
    await connection.execute("NOTIFY asyncpg, 'x'")
    assert await asyncio.wait_for(heard.get(), 5) == ("asyncpg", "x")
    await connection.close()
    # Many at once, each with parameters whose types are looked up while the table changes.
    async def ask(number):
        one = await asyncpg.connect(**PLACE)
        for turn in range(40):
            await one.execute(f"UPDATE self SET turn{number % 3} = {turn}")
            sql = "SELECT id FROM self WHERE cpus >= $1 AND load < $2 AND $3 = id"
            await one.fetch(sql, 1, 1e6, f"n{turn}")
        await one.close()

    await asyncio.gather(*(ask(number) for number in range(16)))
    # A pool resets its connections.
    async with asyncpg.create_pool(**PLACE, min_size=1, max_size=2) as pool:
        for _ in range(3):
            assert await pool.fetchval("SELECT 1") == 1


asyncio.run(asyncio.wait_for(main(), 60))

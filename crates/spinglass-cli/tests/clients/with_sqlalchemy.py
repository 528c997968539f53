"""SQLAlchemy: queries by its own expressions over tables that it found by reflection.

Argument: an agent's port. Prints nothing if all is well.
"""

import sys

import sqlalchemy as sa

engine = sa.create_engine(f"postgresql+psycopg://me@127.0.0.1:{sys.argv[1]}/spinglass")
found = sa.inspect(engine)
assert {"hosts", "zones", "self", "members", "topics", "summaries", "events"} <= set(found.get_table_names())
assert {"/", "/usa", "/usa/ithaca"} <= set(found.get_view_names())
columns = {column["name"]: column["type"] for column in found.get_columns("hosts")}
assert isinstance(columns["cpus"], sa.BIGINT) and isinstance(columns["up"], sa.BOOLEAN), columns
assert found.get_pk_constraint("hosts")["constrained_columns"] == []
assert found.get_foreign_keys("hosts") == [] and found.get_indexes("hosts") == []

tables = sa.MetaData()
tables.reflect(engine, views=True)
hosts = tables.tables["hosts"]
with engine.connect() as connection:
    ups = sa.select(hosts.c.id).where(hosts.c.up.is_(True)).order_by(hosts.c.id)
    assert connection.execute(ups).scalars().all() == ["web1", "web2", "web3"]
    by_zone = sa.select(hosts.c.zone, sa.func.count()).group_by(hosts.c.zone)
    assert dict(connection.execute(by_zone).all()) == {"/usa/ithaca": 2, "/usa/boston": 1}

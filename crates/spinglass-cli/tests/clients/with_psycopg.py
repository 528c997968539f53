"""psycopg 3 against two agents: types, parameters, transactions, cursors, COPY, LISTEN and NOTIFY.

Arguments: the ports of two agents of one region. Prints nothing if all is well.
"""

import datetime
import decimal
import sys
import threading
import time

import psycopg

HERE, THERE = (f"host=127.0.0.1 port={port} user=me dbname=spinglass" for port in sys.argv[1:3])
here = psycopg.connect(HERE, autocommit=True)


def types():
    sql = "SELECT id, cpus, up, load, contacts FROM hosts WHERE id = %s"
    for binary in (False, True):
        row = here.execute(sql, ("web1",), binary=binary).fetchone()
        assert row[0] == "web1" and row[1] >= 1 and row[2] is True, row
        assert isinstance(row[3], float) and isinstance(row[4], (list, str)), row
        at, kind = here.execute("SELECT at, kind FROM events LIMIT 1", binary=binary).fetchone()
        assert at.tzinfo is not None and kind == "up", (at, kind)


def parameters():
    sql = "SELECT id FROM hosts WHERE id = %s AND cpus >= %s AND up = %s AND load < %s"
    assert here.execute(sql, ("web1", 1, True, 1e6)).fetchall() == [("web1",)]
    sql = "SELECT %s::bytea, %s::int, %s::numeric, %s::date"
    values = (b"\x00\xff", None, decimal.Decimal("12.5"), datetime.date(2026, 1, 2))
    assert here.execute(sql, values).fetchone() == (b"\x00\xff", None, 12.5, "2026-01-02")
    sql = "SELECT id FROM hosts WHERE id = ANY(%s) ORDER BY 1"
    assert here.execute(sql, (["web1", "web3", "x"],)).fetchall() == [("web1",), ("web3",)]
    for _ in range(8):
        sql = "SELECT id FROM members WHERE region = %s"
        assert len(here.execute(sql, ("/usa/ithaca",), prepare=True).fetchall()) == 2


def transactions():
    with psycopg.connect(HERE) as connection:
        for sql, code in (("SELECT * FROM nowhere", "42P01"), ("SELECT 1", "25P02")):
            try:
                connection.execute(sql)
            except psycopg.Error as error:
                assert error.sqlstate == code, error
            else:
                raise AssertionError(sql)
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def cursors():
    with psycopg.connect(HERE) as connection, connection.cursor(name="some cursor") as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id, cpus FROM hosts ORDER BY id")
        assert [row[0] for row in cursor] == ["web1", "web2", "web3"]
        assert cursor.description[0].name == "id"


def copies():
    with here.cursor() as cursor:
        with cursor.copy("COPY (SELECT id FROM hosts ORDER BY id) TO STDOUT") as copy:
            assert list(copy.rows()) == [("web1",), ("web2",), ("web3",)]


def changes():
    sql = "UPDATE self SET note = %s, weight = %s, tags = %s::text[]"
    assert here.execute(sql, ("hällo", 7, ["a", "b c"])).rowcount == 1
    # At once here, and soon at others.
    sql = "SELECT note, weight, tags FROM self"
    assert here.execute(sql).fetchone() == ("hällo", 7, ["a", "b c"])
    with psycopg.connect(THERE, autocommit=True) as there:
        for _ in range(100):
            row = there.execute("SELECT note FROM hosts WHERE id = 'web1'").fetchone()
            if row == ("hällo",):
                break
            time.sleep(0.1)
        assert row == ("hällo",), row


def notices():
    told = []
    here.add_notice_handler(lambda notice: told.append(notice.message_primary))
    assert here.execute("SELECT nobody_has_it FROM hosts").fetchone() == (None,)
    assert "nobody_has_it" in told[0], told


def notifications():
    with psycopg.connect(THERE, autocommit=True) as there:
        there.execute("LISTEN news")
        here.execute("LISTEN news")
        for sent in ("hello there", "again"):
            # A member hears a topic once others know that it listens.
            for _ in range(20):
                here.execute("SELECT pg_notify('news', %s)", (sent,))
                heard = [notice.payload for notice in there.notifies(timeout=1, stop_after=1)]
                if heard:
                    break
            assert heard == [sent], heard
            assert sent in [notice.payload for notice in here.notifies(timeout=5, stop_after=1)]
            list(there.notifies(timeout=0.5))
        there.execute('LISTEN "grid/+/hz"')
        for _ in range(20):
            here.execute("SELECT pg_notify('grid/ny/mw', '700'), pg_notify('grid/ny/hz', '50')")
            heard = [(it.channel, it.payload) for it in there.notifies(timeout=1, stop_after=1)]
            if heard:
                break
        assert heard == [("grid/ny/hz", "50")], heard
        try:
            here.execute("SELECT pg_notify('grid/#', 'x')")
            raise AssertionError("a pattern is no topic")
        except psycopg.Error as error:
            assert "a pattern" in str(error), error


def cancelling():
    sql = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    threading.Timer(0.3, here.cancel).start()
    try:
        here.execute(sql)
    except psycopg.Error as error:
        assert error.sqlstate == "57014", error
    else:
        raise AssertionError("it ended by itself")
    assert here.execute("SELECT 1").fetchone() == (1,)


for check in (types, parameters, transactions, cursors, copies, changes, notices, notifications,
              cancelling):
    check()

"""psqlODBC by pyodbc: queries, its catalogue functions, and cursors that it declares.

Argument: an agent's port. Prints nothing if all is well.
"""

import sys

import pyodbc

PLACE = (
    "DRIVER={PostgreSQL Unicode};SERVER=127.0.0.1;"
    f"PORT={sys.argv[1]};DATABASE=spinglass;UID=me;PWD=none;"
)
cursor = pyodbc.connect(PLACE, autocommit=True).cursor()
row = cursor.execute("SELECT id, cpus, load FROM hosts WHERE id = ?", "web1").fetchone()
assert row[0] == "web1" and row[1] >= 1, row
assert {"hosts", "/usa"} <= {row.table_name for row in cursor.tables()}
assert ("cpus", "int8") in {
    (row.column_name, row.type_name) for row in cursor.columns(table="hosts")
}
for nothing in (cursor.primaryKeys, cursor.foreignKeys, cursor.statistics):
    assert nothing("hosts").fetchall() == []
assert cursor.getTypeInfo().fetchall()

cursor = pyodbc.connect(PLACE + "UseDeclareFetch=1;Fetch=2;").cursor()
rows = cursor.execute("SELECT id FROM hosts ORDER BY id").fetchall()
assert [row[0] for row in rows] == ["web1", "web2", "web3"], rows

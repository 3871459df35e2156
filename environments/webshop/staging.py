"""What has to be looked up by ASIN while a catalogue is made, in a database on disk, as it may not fit into memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .columns import encoded

_MEGABYTES = 64
"""Most of the database that is held in memory."""


class Staging:
    """JSON values by ASIN in some tables, and which ASINs have been seen; use ``staging``.

    Args:
        database: An empty one.
        tables: Names of the tables.
    """

    def __init__(self, database: sqlite3.Connection, tables: Iterable[str]) -> None:
        self._database = database
        self._seen = 0
        # ASINs as bytes: a database refuses half a surrogate pair, which JSON may hold.
        for table in (*tables, "seen"):
            database.execute(f"CREATE TABLE {table} (asin BLOB PRIMARY KEY, value) WITHOUT ROWID")

    def put(self, table: str, entries: Iterable[tuple[str, Any]]) -> None:
        """Add to a table; of several entries of an ASIN the last one counts."""
        rows = ((encoded(asin), json.dumps(value)) for asin, value in entries)
        self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)

    def get(self, table: str, asin: str) -> Any:
        """The value of an ASIN; None where there is none."""
        row = self._database.execute(f"SELECT value FROM {table} WHERE asin = ?", (encoded(asin),)).fetchone()
        return None if row is None else json.loads(row[0])

    def is_new(self, asin: str) -> bool:
        """Whether an ASIN is seen for the first time."""
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (encoded(asin), self._seen)).rowcount
        self._seen += added
        return added == 1

    def in_order(self) -> Iterator[tuple[bytes, int]]:
        """All ASINs seen, in ascending order, each with its number among them in the order of appearance."""
        return iter(self._database.execute("SELECT asin, value FROM seen ORDER BY asin"))


@contextmanager
def staging(file: Path, tables: Iterable[str]) -> Iterator[Staging]:
    """An empty database, which is gone at the end.

    Raises:
        OSError: There is no room for it.
    """
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = {-1024 * _MEGABYTES}"):
                database.execute(f"PRAGMA {setting}")
            database.execute("BEGIN")
            yield Staging(database, tables)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
            raise OSError(f"{error}") from error
        raise
    file.unlink()

#!/usr/bin/env python3
"""fill_database.py DIR QUEUED FINISHED: puts jobs into the database of a bailiffd that has run in DIR and does not run now.

The queued ones have the least priority, so that what a benchmark submits goes before them. For bench_http --url against a full server; the
command is in docs/performance.md.
"""

import argparse
import sqlite3
import sys
import time

REQUEST = '{"image":"host","steps":[{"command":["true"]}],"priority":-10}'
RESULT = '{"steps":[{"name":"1","verdict":"ok","exit_code":0,"signal":null,"cpu_time_ms":1.0,"wall_time_ms":2.0}]}'
ROWS = 100_000  # of one transaction


def numbers(first: int, count: int) -> str:
    return f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {first + count}) "


def fill(database: sqlite3.Connection, first: int, count: int, columns: str, values: str, tables: dict[str, str]) -> None:
    for begin in range(first, first + count, ROWS):
        some = numbers(begin, min(ROWS, first + count - begin))
        job_id = "printf('%026d', i)"  # sorts before every id that a server makes
        with database:
            database.execute(f"{some} INSERT INTO jobs (id, priority, created_us, {columns}) SELECT {job_id}, -10, {begin}, {values} FROM n")
            for table, document in tables.items():
                database.execute(f"{some} INSERT INTO {table} (job_id, document) SELECT {job_id}, ? FROM n", (document,))
        print(f"\r{min(begin + ROWS - first, count)} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s DIR QUEUED FINISHED")
    parser.add_argument("directory")
    parser.add_argument("queued", type=int)
    parser.add_argument("finished", type=int)
    wanted = parser.parse_args()
    queued, finished = wanted.queued, wanted.finished
    try:
        database = sqlite3.connect(f"file:{wanted.directory}/bailiff.db?mode=rw", uri=True)  # never a new one
    except sqlite3.OperationalError as fault:
        parser.error(f"{wanted.directory}/bailiff.db: {fault}")
    database.execute("PRAGMA synchronous = OFF")
    began = time.monotonic()
    fill(database, 1, finished, "state, verdict, attempt, started_us, finished_us", "'finished', 'ok', 1, 1, 2",
         {"requests": REQUEST, "results": RESULT})
    fill(database, finished + 1, queued, "state", "'queued'", {"requests": REQUEST})
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    print(f"{finished} finished and {queued} queued jobs in {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

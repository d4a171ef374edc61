# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What bench-feed's client is compared with: LISTEN, then read each node's stream from where it was. feed_reader.py DSN OUT.

OUT as feed_client.py writes it.
"""
import select
import signal
import sys
import time

import psycopg
import psycopg.types.json

NEW = """
    select e.node_no, e.feed_last, r.run_id::text, r.first_seq, json_array_length(r.items)
    from takt.node n, lateral (select * from takt.event_batch x where x.node_no = n.no and (x.incarnation, x.feed_last) > (
        coalesce((%(seen)s::jsonb -> n.no::text ->> 0)::bigint, 0), coalesce((%(seen)s::jsonb -> n.no::text ->> 1)::bigint, 0))
        order by x.incarnation, x.feed_last) e, unnest(e.run_ids, e.first_seqs, e.items) r(run_id, first_seq, items)"""


def main(dsn, out):
    c = psycopg.connect(dsn, autocommit=True)
    c.execute("listen takt_feed")
    seen = {str(no): [1, seq] for no, seq in c.execute("select node_no, max(feed_last) from takt.event_batch group by 1").fetchall()}
    out.write("joined\n")
    while True:
        out.flush()
        select.select([c.fileno()], [], [], 1)
        rows = c.execute(NEW, {"seen": psycopg.types.json.Jsonb(seen)}).fetchall()
        at_us = time.time_ns() // 1000
        for no, feed, run, first, n in rows:
            seen[str(no)] = [1, max(feed, seen.get(str(no), [1, 0])[1])]
            out.writelines(f"{at_us} {run} {seq}\n" for seq in range(first, first + n))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open(sys.argv[2], "w", encoding="utf-8") as opened:
        main(sys.argv[1], opened)

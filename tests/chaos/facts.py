# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What the judge judges: tables, witness and journals as plain dictionaries, so that a test can write wrong ones.

All times are seconds since the epoch. `collect(rig)` reads everything; the only place of the harness that
knows Takt's columns.
"""
import ctypes
import json
import pathlib
from dataclasses import dataclass, field

_zstd = ctypes.CDLL("libzstd.so.1")
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

# (name, statement) for every kind of row; each gives one JSON object a row. :runs is a filter on the run's id.
_EPOCH = "extract(epoch from {})::float8"
_ROWS = {
    "tasks": """select t.id, jsonb_build_object('name', t.name, 'type', t.task_type, 'enabled', t.enabled,
        'created', {t.created_at}, 'definition', t.definition,
        'anchor', (select {s.anchor} from takt.schedule s where s.id = t.id)) from takt.task t""",
    "nodes": "select n.id, jsonb_build_object('name', n.name, 'no', n.no) from takt.node n",
    "runs": """select r.id, jsonb_build_object('task', r.task_id, 'type', r.task_type, 'trigger', r.trigger, 'due', {r.due_at},
        'created', {r.created_at}, 'state', r.state, 'attempts', r.attempts, 'started', {r.started_at},
        'finished', {r.finished_at}, 'policy', r.policy, 'live', (select jsonb_build_object('state', l.state,
        'epoch', l.epoch, 'attempt', l.attempt, 'event_seq', l.event_seq, 'node', l.node_id)
        from takt.live l where l.run_id = r.id)) from takt.run r where (:runs r.id)""",
    "attempts": """select a.run_id, jsonb_build_object('no', a.no, 'epoch', a.epoch, 'node', a.node_id, 'state', a.state,
        'opened', {a.opened_at}, 'started', {a.started_at}, 'finished', {a.finished_at}, 'timeout', a.timeout_s,
        'class', a.error_class, 'error', a.error) from takt.attempt a where (:runs a.run_id) order by a.run_id, a.no""",
    "units": """select u.run_id, jsonb_build_object('attempt', u.attempt, 'no', u.no, 'epoch', u.epoch, 'state', u.state,
        'started', {u.started_at}, 'finished', {u.finished_at}, 'class', u.error_class, 'error', u.error,
        'cut', u.output_cut_b) from takt.unit u where (:runs u.run_id)""",
    "events": """select e.run_id, jsonb_build_object('first_seq', e.first_seq, 'task', e.task_id, 'node', e.node_no,
        'incarnation', e.incarnation, 'feed', e.feed_seq, 'items', e.items) from takt.event e where (:runs e.run_id)
        order by e.run_id, e.first_seq""",
}
_OCCURRENCES = """select jsonb_build_object('task', o.task_id, 'due', {o.due_at}, 'decision', o.decision, 'rule', o.rule,
    'run', o.run_id, 'until', {o.until_at}, 'n', o.n, 'decided', {o.decided_at}, 'event', o.event_id, 'detail', o.detail) from takt.occurrence o
    order by o.task_id, o.due_at"""
_COMMANDS = """select jsonb_build_object('key', c.idem_key, 'kind', c.kind, 'run', c.run_id, 'created', {c.created_at},
    'decided', {c.decided_at}, 'status', c.status, 'actor', c.actor, 'reason', c.body ->> 'reason') from takt.command c"""
# Names are one organisation's: the harness has one, and its own names are not those of shipped calendars.
_CALENDARS = """select c.name, array(select d.day - date '1970-01-01' from takt.calendar_day d where d.calendar_id = c.id)
    from takt.calendar c"""
_OUTPUT = """select o.run_id || '.' || o.attempt || '.' || o.unit_no, o.off, o.raw_b, o.data from takt.output o
    where (:runs o.run_id) order by o.run_id, o.attempt, o.unit_no, o.off"""


@dataclass
class Facts:
    tasks: dict = field(default_factory=dict)        # id -> task
    nodes: dict = field(default_factory=dict)        # id -> node
    runs: dict = field(default_factory=dict)         # id -> run
    attempts: dict = field(default_factory=dict)     # run -> [attempt]
    units: dict = field(default_factory=dict)        # "run.attempt.no" -> unit
    events: dict = field(default_factory=dict)       # run -> [row]
    output: dict = field(default_factory=dict)       # "run.attempt.no" -> [(off, bytes)]
    occurrences: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    calendars: dict = field(default_factory=dict)    # name -> civil day numbers
    witness: list = field(default_factory=list)      # lines of the plugin
    client: list = field(default_factory=list)       # lines of load.py
    readers: dict = field(default_factory=dict)      # name -> lines of a reader
    faults: list = field(default_factory=list)       # {"kind","node","at","healed","units_hit"}
    leftovers: list = field(default_factory=list)    # processes after the end
    unexpected: list = field(default_factory=list)   # ends of processes that nobody caused
    verify: list = field(default_factory=list)       # checks of `takt verify` that have violations
    due_until: float = 0.0                           # due times after this are not judged
    is_final: bool = False                           # load has ended, everything had its time


def _find_times(text):
    return [part.split("}")[0] for part in text.split("{")[1:]]


def _prepare(text, runs):
    for expression in set(_find_times(text)):
        text = text.replace("{" + expression + "}", _EPOCH.format(expression))
    head, mark, tail = text.partition("(:runs ")
    if not mark:
        return text
    column, _, rest = tail.partition(")")
    return f"{head}true{rest}" if runs is None else f"{head}{column} = any(%(runs)s::uuid[]){rest}"


def lines(path):
    """JSON lines; the last one may be torn by a kill."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def decompress(data, raw_b):
    """b"" if it is not raw_b bytes of zstd."""
    out = ctypes.create_string_buffer(raw_b + 1)
    return out.raw[:raw_b] if _zstd.ZSTD_decompress(out, raw_b + 1, data, len(data)) == raw_b else b""


def _merged(found):
    """Lines of one number together: a fault is written when it strikes and again when it is over."""
    by_no = {}
    for line in found:
        by_no.setdefault(line["no"], {}).update(line)
    return list(by_no.values())


def collect(rig, runs=None, is_final=False, witness=None):
    """All facts, or those of some runs (then without schedules, commands and readers), as of one instant.

    What others acknowledged is read before the tables, what they witnessed after.
    """
    f = Facts(is_final=is_final)
    if runs is None:
        f.client = lines(rig.journals / "client.jsonl")
        f.readers = {p.stem: lines(p) for p in sorted(rig.journals.glob("reader-*.jsonl"))}
    with rig.pg.connect(autocommit=False) as c:
        c.execute("set transaction isolation level repeatable read, read only")

        def rows(text):
            return c.execute(_prepare(text, runs), {"runs": runs} if runs is not None else None).fetchall()
        at = rows("select extract(epoch from now())::float8")[0][0]
        for name in ("tasks", "nodes", "runs"):
            setattr(f, name, {str(key): row for key, row in rows(_ROWS[name])})
        for name in ("attempts", "events"):
            for run, row in rows(_ROWS[name]):
                getattr(f, name).setdefault(str(run), []).append(row)
        for run, row in rows(_ROWS["units"]):
            f.units[f"{run}.{row['attempt']}.{row['no']}"] = row
        for unit, off, raw_b, data in rows(_OUTPUT):
            f.output.setdefault(unit, []).append((off, decompress(bytes(data), raw_b)))
        if runs is None:
            f.occurrences = [row for (row,) in rows(_OCCURRENCES)]
            f.calendars = {name: frozenset(days) for name, days in rows(_CALENDARS)}
            f.commands = [row for (row,) in rows(_COMMANDS)]
    if runs is None:  # a command may be in the tables before its answer, never before it was sent
        f.client += [line for line in lines(rig.journals / "client.jsonl")[len(f.client):] if line["what"] == "sent"]
    f.due_until = int(at) - 15
    wanted = None if runs is None else set(map(str, runs))
    seen = lines(rig.journals / "witness.jsonl") if witness is None else witness
    f.witness = [w for w in seen if (wanted is None or w["run"] in wanted) and (is_final or w["at"] <= at * 1e6)]
    f.faults = _merged(lines(rig.journals / "faults.jsonl"))
    return f

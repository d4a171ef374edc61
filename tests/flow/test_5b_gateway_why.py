# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Why did it fire, or not? A random history (settings that change, decisions of every rule, runs) is planted, and a thousand questions about it
are answered as its rows and a second reading of the schedules (tests/oracle/when_oracle.py) say. TAKT_SEED varies it.
"""
import bisect
import datetime as dt
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import uuid
import zoneinfo

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
import when_oracle as oracle  # noqa: E402
from engine import Engine  # noqa: E402
from gateway import Rig, free_port  # noqa: E402
from pg import wait_until  # noqa: E402

SEED = int(os.environ.get("TAKT_SEED", "20261123"))
DAY, HOUR = 86400, 3600
QUESTIONS = 1000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"]
SKIPS = ["overlap.queue_full", "overlap.skip", "overlap.parallel_full", "schedule.invalid"]
MISSES = ["catchup.latest", "catchup.none", "catchup.limit", "catchup.deadline"]


def stamp(t):
    return f"{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def normal(kind="cron", expr="0 2 * * *", zone="UTC", **more):
    return {"kind": kind, "expr": expr, "timezone": zone, "dst_gap": "run_at_gap_end", "dst_fold": "first", "effective_from": None,
            "effective_until": None, "include": [], "exclude": [], "on_hit": "skip", "catch_up": "latest", "catch_up_limit": 10,
            "catch_up_deadline_seconds": None, "jitter_seconds": 0, "start_deadline_seconds": None, **more}


FUTURE = dt.date.today().year + 2
BERLIN = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


def last_sunday(month):
    """When Europe's clocks change."""
    day = dt.date(FUTURE, month, 31)
    return (day - dt.timedelta(days=day.isoweekday() % 7)).isoformat()


class Setting:
    """What held in [since, until), and its times by the oracle, from some days before to some after."""

    def __init__(self, since, until, schedule, enabled, days, anchor):
        self.since, self.until, self.schedule, self.enabled = since, until, schedule, enabled
        case = {"kind": schedule["kind"], "expr": schedule["expr"], "zone": schedule["timezone"], "gap": schedule["dst_gap"],
                "fold": schedule["dst_fold"], "hit": schedule["on_hit"], "anchor": anchor, "count": 10**6}
        lo, hi = since - 3 * DAY, min(until, time.time() + 40 * DAY) + 3 * DAY
        case["after"] = int(lo)
        if schedule["exclude"]:
            case["exclude"] = sorted(set().union(*(days[n] for n in schedule["exclude"])))
        self.flags = dict(oracle.occurrences(case, int(hi)))
        self.due = list(self.flags)
        plain = {**case, "exclude": None, "fold": "both"}
        every_one = {t for t, _ in oracle.occurrences(plain, int(hi))}
        one = {t for t, _ in oracle.occurrences({**case, "exclude": None}, int(hi))}
        zone = zoneinfo.ZoneInfo(schedule["timezone"])

        def day(t):
            return dt.datetime.fromtimestamp(t, zone).toordinal() - oracle.EPOCH

        hits = set(case.get("exclude", ()))
        # What does not fire at its nominal instant, by rule; a time of a day that is ruled out and shown twice is left to others.
        self.silent = {}
        for t in sorted(every_one - set(self.due)):
            if day(t) not in hits:
                self.silent[t] = "dst.fold"
            elif t in one and schedule["on_hit"] == "skip":
                self.silent[t] = "calendar.exclude"
        self.nominal = set(self.silent) | set(self.due)
        self.open = {t for t in every_one if t not in self.nominal}  # shifted, or ruled out twice: not asked


class History:
    """A task, what it was told to do, and what was decided about it."""

    def __init__(self, rng, n, now, days):
        self.rng, self.now = rng, now
        self.id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        self.name = f"history {n}"
        self.created = now - rng.randint(20, 34) * DAY - rng.randrange(DAY)
        self.rows, self.runs, self.settings = [], [], []
        self.days = days
        self.make_settings()
        for s in self.settings:
            self.decide(s)

    def schedule(self):
        rng = self.rng
        zone = rng.choice(ZONES)
        kind, expr = rng.choice([
            ("cron", f"{rng.randrange(60)} {rng.choice(['1', '2', '*/3', '1-3', '9-17'])} * * {rng.choice(['*', '1-5', '*'])}"),
            ("cron", f"{rng.randrange(30)},{rng.randrange(30, 60)} {rng.randrange(24)},{rng.randrange(24)} * * *"),
            ("times", f"0{rng.randrange(4)}:{rng.randrange(10, 60)},14:00 {rng.choice(['1111111', '1111100'])}"),
            ("window", f"0{rng.randrange(9)}:00-17:00-{rng.choice([30, 60, 90])} 1111110"),
            ("every", f"{rng.randint(40, 300)}m"),
            ("ordinal", f"{rng.choice(['last', 'first', 'third'])} {rng.choice(['friday', 'monday'])} 01:30,12:00")])
        more = {"dst_fold": rng.choice(["first", "second", "both"])}
        if rng.random() < 0.5:
            more["exclude"] = rng.sample(sorted(self.days), rng.choice([1, 1, 2]))
            if kind != "every" and rng.random() < 0.3:
                more["on_hit"] = "next_business_day"
        return normal(kind, expr, zone, **more)

    def make_settings(self):
        """Changes of the expression and of `enabled`, at odd seconds."""
        rng, schedule, enabled = self.rng, self.schedule(), True
        starts = sorted({self.created, *(rng.randrange(self.created + HOUR, self.now - HOUR) for _ in range(rng.choice([0, 1, 2, 4])))})
        for i, t in enumerate(starts):
            if i:
                if rng.random() < 0.6:
                    enabled = not enabled
                else:
                    schedule = self.schedule()
            until = starts[i + 1] if i + 1 < len(starts) else 10**12
            self.settings.append(Setting(t, until, schedule, enabled, self.days, self.created))

    def add_row(self, due, decision, rule, until=None, n=1, run=None, detail=None):
        self.rows.append({"due": due, "decision": decision, "rule": rule, "until": until, "n": n, "run": run, "detail": detail})

    def add_run(self, due):
        raw = bytearray((due * 1000 + self.rng.randrange(900)).to_bytes(6, "big") + self.rng.randbytes(10))
        raw[6], raw[8] = 0x70 | raw[6] & 0x0F, 0x80 | raw[8] & 0x3F
        run = {"id": str(uuid.UUID(bytes=bytes(raw))), "code": f"{self.rng.getrandbits(32):08X}", "due": due,
               "state": self.rng.choice(["completed", "completed", "failed", "expired"])}
        self.runs.append(run)
        return run

    def decide(self, s):
        """Every due time of a setting, in order, and what is passed over between them."""
        rng = self.rng
        until = min(s.until, self.now)
        if not s.enabled:
            return
        todo = [t for t in s.due if s.since < t <= until]
        while todo:
            t, luck = todo[0], rng.random()
            n = min(rng.randint(2, 6), len(todo))
            if luck < 0.55:
                run = self.add_run(t)
                self.add_row(t, "fired", "due", run=run)
                n = 1
            elif luck < 0.7 and n > 1:
                self.add_row(t, "missed", rng.choice(MISSES), todo[n - 1], n)
            elif luck < 0.9:
                rule = rng.choice(SKIPS)
                way = {"run_id": self.runs[-1]["id"]} if rule == "overlap.skip" and self.runs else None
                self.add_row(t, "skipped", rule, detail=way)
                n = 1
            else:
                n = 1  # undecided
            del todo[:n]
        taken = {r["due"] for r in self.rows}
        # Neighbours of one rule are one row, unless a due time is between them.
        group = []
        for t in [x for x in sorted(s.silent) if s.since < x <= until] + [None]:
            is_more = group and t and s.silent[t] == s.silent[group[-1]] and bisect.bisect(s.due, t) == bisect.bisect(s.due, group[-1])
            if group and not is_more:
                if rng.random() < 0.6 and group[0] not in taken:
                    last = group[-1] if len(group) > 1 else None
                    self.add_row(group[0], "skipped", s.silent[group[0]], last, len(group), detail={"reason": "planted"})
                group = []
            if t:
                group.append(t)

    # what is to be expected ------------------------------------------------------------------------

    def at(self, t):
        """Settings hold from the second after they were made."""
        held = [s for s in self.settings if s.since < t]
        return held[-1] if held else None

    def expected(self, t):
        """(answer, rule, row) about an instant."""
        row = next((r for r in self.rows if r["due"] == t), None)
        s = self.at(t)
        if not row and s:
            row = next((r for r in self.rows if r["until"] and r["due"] < t <= r["until"] and
                        (t in s.silent) == r["rule"].startswith(("calendar.", "dst.")) and t in s.nominal), None)
        if row:
            return row["decision"], row["rule"], row
        if not s:
            return "not_due", "before_creation", None
        is_future = t > self.now
        if t in s.silent or t in s.due:
            rule = "task.disabled" if not s.enabled else s.silent.get(t)
            if rule:
                return "will_skip" if is_future else "skipped", rule, None
            return ("will_fire",) * 2 + (None,) if is_future else ("undecided",) * 2 + (None,)
        return "not_due", "not_due", None

    def questions(self, n):
        rng = self.rng
        pool = sorted({t for s in self.settings for t in s.nominal if max(s.since, self.created - DAY) < t < min(s.until, self.now + 30 * DAY)})
        pool = [t for t in pool if t > self.now + 600 or t < self.now - 600]
        # Silent times inside of a range of missed ones: the range is not about them.
        covered = [t for s in self.settings for t in s.silent if self.at(t) is s and
                   any(r["decision"] == "missed" and r["until"] and r["due"] < t < r["until"] for r in self.rows)]
        for i in range(n):
            luck = rng.random()
            t = rng.choice(pool) if luck < 0.85 else rng.randint(self.created - 2 * DAY, self.now + 20 * DAY)
            if luck < 0.3 and self.rows:
                t = rng.choice(self.rows)["due"]
            elif i % 5 == 0 and covered:
                t = rng.choice(covered)
            s = self.at(t)
            if abs(t - self.now) > 600 and not (s and t in s.open):
                yield t

    # rows -----------------------------------------------------------------------------------------

    def plant(self, rig):
        org, last = rig.orgs["default"], self.settings[-1]

        def definition(s):
            return json.dumps({"name": self.name, "task_type": "hello", "enabled": s.enabled, "schedule": s.schedule, "overlap": "queue"})

        ahead = [t for t in last.due if t > self.now]
        with rig.pg.connect("takt_owner", autocommit=False) as c:
            c.execute("insert into takt.task (id, org_id, name, task_type, enabled, revision, definition, created_at) values "
                      "(%s, %s, %s, 'hello', %s, %s, %s, to_timestamp(%s))",
                      (self.id, org, self.name, last.enabled, len(self.settings), definition(last), self.created))
            for i, s in enumerate(self.settings):
                c.execute("insert into takt.task_revision (task_id, revision, org_id, definition, source, actor, created_at) values "
                          "(%s, %s, %s, %s, '', 'test', to_timestamp(%s))", (self.id, i + 1, org, definition(s), s.since))
            c.execute("insert into takt.schedule (id, org_id, task_id, kind, expr, zone, dst_gap, dst_fold, enabled, anchor, next_due_at, "
                      "next_fire_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), to_timestamp(%s))",
                      (self.id, org, self.id, last.schedule["kind"], last.schedule["expr"], last.schedule["timezone"],
                       last.schedule["dst_gap"], last.schedule["dst_fold"], last.enabled, self.created,
                       *[ahead[0] if ahead and last.enabled else None] * 2))
            with c.cursor() as cursor:
                cursor.executemany(
                    "insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, due_at, created_at, policy, "
                    "state, started_at, finished_at, attempts, summary) values (%s, %s, %s, %s, 1, %s, 'hello', 'schedule', to_timestamp(%s), "
                    "to_timestamp(%s), '{}', %s, to_timestamp(%s), to_timestamp(%s), 1, '{}')",
                    [(r["id"], org, r["code"], self.id, self.name, r["due"], r["due"], r["state"], r["due"] + 1, r["due"] + 2)
                     for r in self.runs])
                cursor.executemany(
                    "insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, run_id, until_at, n, decided_at, detail) "
                    "values (%s, to_timestamp(%s), %s, %s, %s, %s, %s, to_timestamp(%s), %s, to_timestamp(%s), %s)",
                    [(self.id, r["due"], self.id, org, r["decision"], r["rule"], r["run"] and r["run"]["id"], r["until"], r["n"],
                      (r["until"] or r["due"]) + 1, r["detail"] and json.dumps(r["detail"])) for r in self.rows])


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r


@pytest.fixture(scope="module")
def histories(rig):
    rng = random.Random(SEED)
    now = int(time.time())
    today = now // DAY
    rig.pg.sql("select takt.make_partitions((now() - interval '3 months')::date, 6)", role="takt_owner")
    days = {}
    for name in ("works-council", "freeze", "harvest"):
        days[name] = sorted(rng.sample(range(today - 45, today + 60), 25))
        calendar = str(uuid.uuid4())
        rig.pg.sql("insert into takt.calendar (id, org_id, name, source) values (%s, %s, %s, 'days')", (calendar, rig.orgs["default"], name))
        rig.pg.sql("insert into takt.calendar_day (calendar_id, day, org_id, reason) select %s, date '1970-01-01' + d, %s, 'day of ' || %s "
                   "from unnest(%s::int[]) d", (calendar, rig.orgs["default"], name, days[name]))
    made = [History(rng, i, now, days) for i in range(25)]
    for h in made:
        h.plant(rig)
    return made


def texts(t, zone):
    """Ways to ask for an instant; by the clock only if it shows the time once."""
    z = zoneinfo.ZoneInfo(zone)
    local = dt.datetime.fromtimestamp(t, z)
    yield stamp(t)
    yield local.isoformat()
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        yield f"{local:%Y-%m-%dT%H:%M:%S}"
        yield f"{local:%Y-%m-%d %H:%M:%S}"


def test_a_thousand_questions_about_the_past_and_the_future(rig, histories):
    rng = random.Random(SEED + 1)
    viewer = rig.token("viewer")
    seen, asked, wrong = {}, 0, []
    for h in histories:
        for t in h.questions(QUESTIONS // len(histories) + 10):
            text = rng.choice(list(texts(t, h.settings[-1].schedule["timezone"])))
            r = rig.get(f"/tasks/{h.id}/why", viewer, params={"at": text})
            assert r.status_code == 200, (text, r.text)
            got, (answer, rule, row) = r.json(), h.expected(t)
            asked += 1
            seen[rule] = seen.get(rule, 0) + 1
            want = {"answer": answer, "rule": rule, "due_at": stamp(t) if answer != "not_due" else None,
                    "run": row["run"] and {k: row["run"][k] for k in ("id", "code", "state")} if row else None,
                    "until_at": stamp(row["until"]) if row and row["until"] else None, "n": row["n"] if row else None}
            s = h.at(t)
            if rule == "not_due":
                after = s.due[bisect.bisect(s.due, t):][:1]
                want["after"] = stamp(after[0]) if after else got["after"]
                before = [x for x in s.due[:bisect.bisect_left(s.due, t)] if x > h.created][-1:]
                want["before"] = stamp(before[0]) if before else got["before"]
            if s and answer != "fired":
                want["schedule"] = s.schedule["expr"]
                got["schedule"] = got["schedule"]["expr"]
            if row and row["detail"] and "run_id" in row["detail"]:
                assert [x["id"] for x in got["detail"]["runs"]] == [row["detail"]["run_id"]]
            if want != {k: got[k] for k in want}:
                wrong.append((h.name, text, want, {k: got[k] for k in want}, got["sentence"]))
    assert not wrong, f"{len(wrong)} of {asked}: {wrong[:3]}"
    assert asked >= QUESTIONS
    missing = {"due", *SKIPS, *MISSES, "calendar.exclude", "task.disabled", "not_due", "undecided", "will_fire", "before_creation"} - set(seen)
    assert not missing, seen


def test_the_list_of_decisions_is_the_rows(rig, histories):
    viewer = rig.token("viewer")
    for h in histories[:5]:
        got, cursor = [], None
        while True:
            r = rig.get(f"/tasks/{h.id}/occurrences", viewer, params={"limit": 37, **({"cursor": cursor} if cursor else {})}).json()
            got += r["items"]
            cursor = r["next_cursor"]
            if not cursor:
                break
        want = sorted(h.rows, key=lambda r: -r["due"])
        assert [(i["due_at"][:19], i["decision"], i["rule"], i["n"], i["run"] and i["run"]["code"]) for i in got] == \
            [(stamp(r["due"])[:19], r["decision"], r["rule"], r["n"], r["run"] and r["run"]["code"]) for r in want]
        fired = rig.get(f"/tasks/{h.id}/occurrences", viewer, params={"decision": "fired", "limit": 500,
                                                                      "since": stamp(h.now - 10 * DAY), "until": stamp(h.now)}).json()["items"]
        assert len(fired) == len([r for r in h.rows if r["decision"] == "fired" and h.now - 10 * DAY <= r["due"] < h.now][:500])
    bad = rig.get(f"/tasks/{histories[0].id}/occurrences", viewer, params={"since": "no day"})
    assert bad.status_code == 400 and bad.json()["errors"][0]["pointer"] == "since"
    assert rig.get(f"/tasks/{uuid.uuid4()}/occurrences", viewer).status_code == 404


def forecast(rig, start, end, **more):
    r = rig.get("/forecast", rig.token("viewer"), params={"from": stamp(start), "to": stamp(end), "limit": 2000, **more})
    assert r.status_code == 200, r.text
    return r.json()


def test_the_forecast_is_what_the_oracle_says(rig, histories):
    now = histories[0].now
    start, end = now + HOUR, now + 14 * DAY
    got = forecast(rig, start, end)
    assert got["is_complete"] and got["next_cursor"] is None and got["complete_until"] == stamp(end)
    assert [i["due_at"] for i in got["items"]] == sorted(i["due_at"] for i in got["items"])
    total, hours = 0, {}
    for h in histories:
        last = h.settings[-1]
        due = [t for t in last.due if start <= t < end] if last.enabled else []
        rows = [i for i in got["items"] if i["task_id"] == h.id and not i["skipped"]]
        if len(due) > 48:
            assert [(i["due_at"], i["count"], i["last_at"]) for i in rows] == [(stamp(due[0]), len(due), stamp(due[-1]))]
        else:
            assert [i["due_at"] for i in rows] == [stamp(t) for t in due], h.settings[-1].schedule
            assert all(i["marks"] == (last.flags[t].split("+") if last.flags[t] else []) for i, t in zip(rows, due) if last.flags[t] is not None)
        silent = [t for t in last.silent if start <= t < end and t >= min([x for x in last.due if x > now], default=0)] if last.enabled else []
        skipped = [i for i in got["items"] if i["task_id"] == h.id and i["skipped"]]
        if len(skipped) < 48 and not last.open:
            assert sum(i["count"] for i in skipped) == len(silent)
        total += len(due)
        for t in due:
            hours.setdefault(stamp(t - t % HOUR), []).append(t // 60 * 60)
    assert got["total"] == total > 100
    assert {x["hour"]: x["count"] for x in got["load"]} == {k: len(v) for k, v in hours.items()}
    for x in got["load"]:
        minutes = hours[x["hour"]]
        assert x["busiest_count"] == max(minutes.count(m) for m in minutes)
    few = forecast(rig, start, end, limit=20)
    assert few["items"] == got["items"][:20] and not few["is_complete"] and few["complete_until"] == got["items"][20]["due_at"]
    assert few["total"] == total and few["load"] == got["load"]


def test_a_forecast_is_bounded(rig):
    viewer, now = rig.token("viewer"), int(time.time())
    for query, pointer in (({"from": "soon"}, "from"), ({"to": "2020-01-01T00:00:00Z"}, "to"),
                           ({"from": stamp(now + DAY), "to": stamp(now + 33 * DAY)}, "to"), ({"limit": 2001}, None)):
        r = rig.get("/forecast", viewer, params=query)
        assert r.status_code == 400, r.text
        assert pointer is None or r.json()["errors"][0]["pointer"] == pointer
    rig.pg.sql("insert into takt.task (id, org_id, name, task_type, enabled, definition) select gen_random_uuid(), %s, 'dense ' || i, 'hello', "
               "true, '{\"cron_expression\": \"* * * * *\", \"enabled\": true}' from generate_series(1, 1500) i", (rig.orgs["default"],))
    rig.pg.sql("insert into takt.schedule (id, org_id, task_id, kind, expr, enabled, next_due_at, next_fire_at) select id, org_id, id, 'cron', "
               "'* * * * *', true, now(), now() from takt.task where name like 'dense %'")
    seen, cursor, pages = set(), None, 0
    while True:
        page = forecast(rig, now + HOUR, now + 31 * DAY, **({"cursor": cursor} if cursor else {}))
        dense = [i for i in page["items"] if i["task_name"].startswith("dense")]
        assert all(i["count"] == (31 * DAY - HOUR) // 60 for i in dense)
        assert not seen & {i["task_id"] for i in dense}
        seen |= {i["task_id"] for i in dense}
        pages += 1
        cursor = page["next_cursor"]
        if not cursor or pages == 20:
            break
    assert pages > 1 and len(seen) >= 15
    rig.pg.sql("delete from takt.task where name like 'dense %'")


@pytest.mark.parametrize("text", ["", "now", "2026-02-30", "2026-13-01T00:00:00Z", "2026-01-01T25:00", "2026-01-01T00:00:00Z; drop", "x" * 61,
                                  "2026-01-01T00:00:00+99:00", "1e9", "2026-01-01T"])
def test_what_is_no_time_is_refused(rig, histories, text):
    r = rig.get(f"/tasks/{histories[0].id}/why", rig.token("viewer"), params={"at": text})
    assert r.status_code == 400 and r.json()["code"] == "invalid_query"
    assert rig.get(f"/tasks/{uuid.uuid4()}/why", rig.token("viewer")).status_code == 404


# Asking -----------------------------------------------------------------------------------------------

def ask(rig, task, at=None):
    r = rig.get(f"/tasks/{task}/why", rig.token("viewer"), params={"at": at} if at else {})
    assert r.status_code == 200, r.text
    return r.json()


def test_times_by_the_clock(rig):
    """A minute stands for its 60 seconds, a day for its first due time; what the clock skips or repeats is said."""
    task = rig.task("clock", schedule=BERLIN)
    spring, autumn = last_sunday(3), last_sunday(10)
    day = ask(rig, task, f"{FUTURE}-06-02")
    assert (day["rule"], day["due_at"]) == ("will_fire", f"{FUTURE}-06-02T00:30:00Z")
    assert ask(rig, task, f"{FUTURE}-06-02T02:30")["due_at"] == ask(rig, task, f"{FUTURE}-06-02 02:30:00")["due_at"] == day["due_at"]
    assert ask(rig, task, f"{FUTURE}-06-02T02:30:01")["rule"] == "not_due"
    assert ask(rig, task, f"{FUTURE}-06-02T00:30Z")["due_at"] == day["due_at"]
    gap = ask(rig, task, f"{spring}T02:30")
    assert (gap["rule"], gap["due_at"]) == ("will_fire", f"{spring}T01:00:00Z") and gap["detail"]["moved"] and gap["detail"]["gap"]
    assert "skips its own time" in gap["sentence"]
    assert ask(rig, task, f"{spring}T02:31")["rule"] == "not_due"
    twice = ask(rig, task, f"{autumn}T02:30")
    assert (twice["rule"], twice["due_at"]) == ("will_fire", f"{autumn}T00:30:00Z") and twice["detail"]["twice"]
    other = ask(rig, task, f"{autumn}T02:30:00+01:00")
    assert (other["answer"], other["rule"]) == ("will_skip", "dst.fold")


def test_without_a_time(rig):
    """The latest that was decided, else the next; of a task that is off what it kept from running."""
    task = rig.task("plain", schedule=BERLIN)
    first = ask(rig, task)
    assert first["answer"] == "will_fire" and first["due_at"] == first["next_due_at"] and first["asked"] is None
    t = int(time.time()) // 60 * 60 - 600
    rig.pg.sql("insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, until_at, n) select id, to_timestamp(%s), "
               "id, org_id, 'missed', 'catchup.none', to_timestamp(%s), 3 from takt.task where id = %s", (t - 120, t, task))
    last = ask(rig, task)
    assert (last["answer"], last["rule"], last["at"], last["n"]) == ("missed", "catchup.none", stamp(t), 3)
    assert rig.post(f"/tasks/{task}/disable", rig.token("admin")).status_code == 200
    off = ask(rig, task)
    assert (off["answer"], off["rule"], off["due_at"]) == ("will_skip", "task.disabled", first["due_at"])


def test_why_it_was_late(rig):
    """No engine ran, and then a run of the task was in the way."""
    task = rig.task("late", schedule=BERLIN)
    t = int(time.time()) // 60 * 60 - 1200
    old, new = rig.engine.run(task, trigger="schedule"), rig.engine.run(task, trigger="schedule")
    rig.pg.sql("update takt.run set due_at = to_timestamp(%s) where id = %s", (t, new))
    rig.pg.sql("insert into takt.downtime values (to_timestamp(%s), to_timestamp(%s))", (t - 60, t + 600))
    rig.pg.sql("insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, run_id, decided_at) select id, "
               "to_timestamp(%s), id, org_id, 'fired', 'due', %s, to_timestamp(%s) from takt.task where id = %s", (t, new, t + 600, task))
    got = ask(rig, task, stamp(t))
    assert (got["answer"], got["rule"], got["run"]["id"], got["run"]["state"]) == ("fired", "due", new, "queued")
    assert got["late_s"] >= 1200 and [c["cause"] for c in got["detail"]["late"]] == ["no_engine", "queued"]
    assert got["detail"]["late"][1]["run"]["id"] == old and "no engine ran; it waited behind run" in got["sentence"]
    rig.engine.finish(old)
    rig.engine.finish(new)
    rig.pg.sql("delete from takt.downtime")


def test_another_organisation_sees_nothing(rig, histories):
    rig.org("elsewhere")
    viewer = rig.token("viewer", "elsewhere")
    assert rig.get(f"/tasks/{histories[0].id}/why", viewer).status_code == 404
    assert rig.get(f"/tasks/{histories[0].id}/occurrences", viewer).status_code == 404
    got = rig.get("/forecast", viewer).json()
    assert (got["items"], got["total"], got["load"]) == ([], 0, [])


# That rule alone ------------------------------------------------------------------------------------

class Whole(Rig):
    """A gateway beside a real engine."""

    def __init__(self, engine):  # pylint: disable=super-init-not-called
        self.real, self.pg = engine, engine.pg
        self.root = tempfile.mkdtemp(prefix="tgw-", dir="/tmp")
        self.port, self.process, self.log = free_port(), None, f"{self.root}/gateway.log"
        self.tokens, self.orgs, self.n = {}, {}, 0
        self.org("default")
        engine.org = self.orgs["default"]  # of its commands
        self.start()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def make(self, schedule, **more):
        """A task that is two days old already."""
        self.n += 1
        task = self.task(f"task {self.n}", schedule=schedule, **more)
        self.pg.sql("update takt.task set created_at = created_at - interval '2 days' where id = %s", (task,))
        self.pg.sql("update takt.task_revision set created_at = created_at - interval '2 days' where task_id = %s", (task,))
        return task

    def change(self, task, patch):
        r = self.request("PATCH", f"/tasks/{task}", self.token("admin"), json=patch, headers={"If-Match": "*"})
        assert r.status_code == 200, r.text

    def why(self, task, at=None):
        r = self.get(f"/tasks/{task}/why", self.token("viewer"), params={"at": at} if at else {})
        assert r.status_code == 200, r.text
        return r.json()

    def rule(self, task, at):
        got = self.why(task, at)
        return got["answer"], got["rule"]

    def due(self, task, t):
        """Let the engine decide about a due time, as if it were the next."""
        self.real.due(task, f"to_timestamp({t})")

    def decided(self, task, t):
        """The answer about a due time once there is a decision about it."""
        def row():
            got = self.why(task, stamp(t))
            return got if got["decided_at"] else None
        return wait_until(row, 60, "a decision")


@pytest.fixture(scope="module")
def whole():
    with Engine() as engine, Whole(engine) as w:
        wait_until(lambda: "witness" in w.get("/task-types", w.token("viewer")).text, 30, "the engine's task types")
        yield w


# Settings, an instant and the rule that keeps it from running (or lets it run elsewhere), the change of that member alone, the rule then.
SINGLE = {
    "calendar.exclude": ({**BERLIN, "exclude": ["inventory"]}, f"{FUTURE}-06-02T02:30", "will_skip", {"schedule": {"exclude": []}}, "will_fire"),
    "calendar.include": ({**BERLIN, "include": ["inventory"]}, f"{FUTURE}-06-03T02:30", "will_skip", {"schedule": {"include": []}}, "will_fire"),
    "calendar.other": ({**BERLIN, "include": ["inventory"]}, f"{FUTURE}-06-02T02:30", "will_fire",
                       {"schedule": {"include": [], "exclude": ["inventory"]}}, "calendar.exclude"),
    "dst.gap": ({**BERLIN, "dst_gap": "skip"}, f"{last_sunday(3)}T02:30", "will_skip", {"schedule": {"dst_gap": "run_at_gap_end"}}, "will_fire"),
    "dst.fold": ({**BERLIN, "dst_fold": "first"}, f"{last_sunday(10)}T02:30:00+01:00", "will_skip", {"schedule": {"dst_fold": "second"}},
                 "will_fire"),
    "effective.from": ({**BERLIN, "effective_from": f"{FUTURE}-07-01T00:00:00Z"}, f"{FUTURE}-06-30T02:30", "will_skip",
                       {"schedule": {"effective_from": None}}, "will_fire"),
    "effective.until": ({**BERLIN, "effective_until": f"{FUTURE}-07-01T00:00:00Z"}, f"{FUTURE}-07-02T02:30", "will_skip",
                        {"schedule": {"effective_until": None}}, "will_fire"),
    "not_due": (BERLIN, f"{FUTURE}-07-02T04:30", "not_due", {"schedule": {"cron": "30 4 * * *"}}, "will_fire"),
    "schedule.ended": ({"once": f"{FUTURE}-01-01T00:00:00Z"}, f"{FUTURE}-02-01T00:00:00Z", "not_due",
                       {"schedule": {"once": f"{FUTURE}-02-01T00:00:00Z"}}, "will_fire"),
    "will_fire": (BERLIN, f"{FUTURE}-07-02T02:30", "will_fire", {"enabled": False}, "task.disabled"),
    "task.disabled": (BERLIN, f"{FUTURE}-07-02T02:30", "will_skip", {"enabled": True}, "will_fire"),
}


@pytest.mark.parametrize("name", SINGLE)
def test_that_rule_alone_changes_what_will_be(whole, name):
    schedule, at, answer, patch, then = SINGLE[name]
    put = whole.request("PUT", "/calendars/inventory", whole.token("admin"), json={"days": [{"date": f"{FUTURE}-06-02", "reason": "counting"}]})
    assert put.status_code in (200, 201), put.text
    task = whole.make(schedule, enabled=name != "task.disabled")
    rule = "will_fire" if name == "calendar.other" else name
    got = whole.why(task, at)
    assert (got["answer"], got["rule"]) == (answer, rule), got
    if rule == "calendar.exclude":
        assert (got["detail"]["calendar"], got["detail"]["reason"]) == ("inventory", "counting") and "counting" in got["sentence"]
    whole.change(task, patch)
    assert whole.rule(task, at)[1] == then
    assert whole.rule(task, "2020-01-01T00:00:00Z") == ("not_due", "before_creation")


def test_a_task_on_demand(whole):
    task = whole.task("on demand")
    assert whole.rule(task, f"{FUTURE}-01-01T00:00:00Z") == ("not_due", "no_schedule")
    assert whole.why(task)["rule"] == "no_schedule"


def test_a_shared_schedule_that_pauses(whole):
    admin, at = whole.token("admin"), f"{FUTURE}-07-02T02:30"
    made = whole.post("/schedules", admin, {"name": "nightly", "schedule": BERLIN})
    assert made.status_code == 201, made.text
    task = whole.make("nightly")
    assert whole.rule(task, at) == ("will_fire", "will_fire")
    assert whole.post("/schedules/nightly/disable", admin).status_code == 200
    got = whole.why(task, at)
    assert (got["answer"], got["rule"], got["schedule"]["name"]) == ("will_skip", "schedule.paused", "nightly")
    assert whole.post("/schedules/nightly/enable", admin).status_code == 200
    assert whole.rule(task, at) == ("will_fire", "will_fire")
    kept = whole.pg.sql("select enabled from takt.shared_schedule_revision where name = 'nightly' order by seq")
    assert kept == [(True,), (False,), (True,)]


SLOW = {"task_type": "witness", "parameters": {"steps": 1, "step_ms": 600000}}
OVERLAPS = {
    "overlap.skip": ({"overlap": "skip"}, {"overlap": "parallel"}, 1),
    "overlap.parallel_full": ({"overlap": "parallel", "overlap_limit": 1}, {"overlap": "parallel", "overlap_limit": 2}, 1),
    "overlap.queue_full": ({"overlap": "queue", "overlap_limit": 1}, {"overlap": "queue", "overlap_limit": 2}, 2),
}


@pytest.mark.parametrize("rule", OVERLAPS)
def test_that_rule_alone_changes_what_was_decided(whole, rule):
    """Two tasks that differ in one member, with as many runs in the way."""
    *members, n = OVERLAPS[rule]
    base, got = int(time.time()) - 50, []
    for member in members:
        task = whole.make({"cron": "0 0 1 1 *"}, **SLOW, **member)
        for i in range(n + 1):
            whole.due(task, base + i)
            last = whole.decided(task, base + i)
            if i == 0:
                whole.real.wait_state(last["run"]["id"], "running")
        got.append(last)
        whole.real.sql("delete from takt.schedule where id = %s", task)
        for (run,) in whole.real.sql("select run_id::text from takt.live where task_id = %s order by run_id desc", task):
            whole.real.cancel(run)
            whole.real.wait_end(run)
    assert [(g["answer"], g["rule"]) for g in got] == [("skipped", rule), ("fired", "due")]
    assert rule == "overlap.queue_full" or got[0]["detail"]["runs"][0]["code"] in got[0]["sentence"]


# Two settings, the due time that is asked about (0: the newest pending one), and what each makes of it.
CATCH_UPS = {
    "catchup.none": ({"catch_up": "none"}, {"catch_up": "latest"}, 0, "due"),
    "catchup.latest": ({"catch_up": "latest"}, {"catch_up": "all", "catch_up_limit": 1000}, 1, "due"),
    "catchup.limit": ({"catch_up": "all", "catch_up_limit": 2}, {"catch_up": "all", "catch_up_limit": 5}, 3, "due"),
    "catchup.deadline": ({"catch_up": "latest", "catch_up_deadline_seconds": 3600}, {"catch_up": "latest"}, 3, "catchup.latest"),
}


@pytest.mark.parametrize("rule", CATCH_UPS)
def test_that_rule_alone_changes_what_is_caught_up_with(whole, rule):
    *settings, back, other = CATCH_UPS[rule]
    newest = int(time.time()) // 60 * 60 - 300
    got = []
    for setting in settings:
        task = whole.make({"cron": f"{newest // 60 % 60} * * * *", **setting}, overlap="parallel")
        whole.due(task, newest - 4 * HOUR)
        got.append(whole.decided(task, newest - back * HOUR))
        whole.real.sql("delete from takt.schedule where id = %s", task)
    assert got[0]["rule"] == rule and got[0]["answer"] == "missed", got[0]
    assert got[1]["rule"] == other, got[1]


def test_undecided_until_an_engine_comes(whole):
    """The time is asked for without naming one: the schedule's next, which no engine has seen."""
    whole.real.kill_engine()
    task = whole.make({"cron": "0 0 1 1 *"})
    t = int(time.time()) - 5
    whole.due(task, t)
    got = whole.why(task)
    assert got["at"] == stamp(t) and got["rule"] in ("not_due", "schedule.ended", "undecided"), got
    whole.real.start_engine()
    wait_until(lambda: whole.rule(task, stamp(t)) == ("fired", "due"), 60, "the engine to decide")
    run = whole.why(task, stamp(t))["run"]
    whole.real.wait_end(run["id"])


def test_a_start_deadline_that_passed(whole):
    task = whole.make({"cron": "0 0 1 1 *", "start_deadline_seconds": 1}, **SLOW)
    t = int(time.time()) - 20
    whole.due(task, t)
    first = whole.decided(task, t)["run"]["id"]
    whole.real.wait_state(first, "running")
    whole.due(task, t + 1)
    run = whole.decided(task, t + 1)["run"]["id"]
    assert whole.real.wait_end(run) == "expired"
    got = whole.why(task, stamp(t + 1))
    assert (got["answer"], got["run"]["state"]) == ("fired", "expired") and "not started within 1 s" in got["detail"]["expired"]
    assert [c["run"]["id"] for c in got["detail"]["late"] if c["cause"] == "queued"] == [first]
    whole.real.sql("delete from takt.schedule where id = %s", task)
    whole.real.cancel(first)
    whole.real.wait_end(first)

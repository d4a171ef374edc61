# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Every kind of schedule against when_oracle.py, through the filter when-batch. A case that differs is printed as one line; it is the JSON to
give to `when-batch` (on standard input) and to `python3 tests/oracle/when_oracle.py` (as an argument).
"""

import json
import os
import random
import time

import when_cases as cases
import when_oracle as w

TOTAL = int(os.environ.get("TAKT_ORACLE_CASES", "4000"))


def say(capsys, text):
    with capsys.disabled():
        print("\n" + text)


def agrees(case, got):
    """Up to the last that the oracle knows of, and that nothing more comes within its 400 days if it knows of none."""
    if isinstance(got, str):
        return False
    inside = [o for o in got if o[0] <= case.end][:len(case.want)]
    if [t for t, _ in inside] != [t for t, _ in case.want]:
        return False
    if len(case.want) < case.question["count"] - 1 and any(t <= case.end for t, _ in got[len(case.want):]):
        return False
    return all(ours is None or set(ours.split("+")) == set(theirs.split("+"))
               for (_, ours), (_, theirs) in zip(case.want, inside))


def show(case, got):
    k = next((i for i, (a, b) in enumerate(zip(case.want, got)) if a != b), 0) if isinstance(got, list) else 0
    return f"{cases.line_of(case.question)}  # from {k}: oracle {case.want[k:k + 3]}, ours {got[k:k + 3] if isinstance(got, list) else got}"


def test_every_kind_agrees_with_the_oracle(capsys):
    began = time.monotonic()
    made = list(cases.make(cases.SEED, TOTAL))
    thought = time.monotonic() - began
    wrong, crossed, compared = [], {}, 0
    seen = dict.fromkeys(("moved", "repeat", "shifted"), 0)
    for case, got in zip(made, cases.answers([c.question for c in made])):
        if not agrees(case, got):
            wrong.append(show(case, got))
            continue
        compared += len(case.want)
        if case.crossed:
            crossed.setdefault(case.question["zone"], set()).add(case.change)
        for mark in seen:
            seen[mark] += any(mark in (f or "") for _, f in case.want)
    kinds = {k: sum(c.question["kind"] == k for c in made) for k in sorted({c.question["kind"] for c in made})}
    changes = sum(map(len, crossed.values()))
    say(capsys, f"schedules: {len(made)} cases {kinds} over {len({c.question['zone'] for c in made})} zones, {compared} occurrences; "
                f"{changes} clock changes of {len(crossed)} zones, seed {cases.SEED}; cases with {seen}; "
                f"{thought:.0f} s here, {time.monotonic() - began - thought:.0f} s there; {len(wrong)} differ")
    say(capsys, "\n".join(wrong[:20]))
    assert not wrong, f"{len(wrong)} of {len(made)} differ; the first lines are above"
    assert len(made) >= TOTAL * 0.99


def marks_cases(rng):
    """Questions for all nominal times of the local days around a clock change, without calendars."""
    for name in cases.ZONES:
        zone = w.zone_of(name)
        for first, last, changes in zone.spans:
            q = cases.around_change(rng, zone, changes[0])
            if not {"include", "exclude", "from", "until"} & q.keys() and q["kind"] in ("cron", "times", "window", "ordinal"):
                span = zone.span(first)
                q.update(after=span.shown[0][0] - 1, until_mark=span.shown[-1][0] + 59, marks=True, count=9000)
                want = sorted(w.marks_of_span(span, w.Days(w.what_of(q)), q["gap"], q["fold"]))
                if len(want) < 3000:
                    yield q, want


def test_marks_tell_what_becomes_of_each_nominal_time(capsys):
    made = list(marks_cases(random.Random(cases.SEED + 7)))
    wrong, seen = [], dict.fromkeys(("fires", "gap", "fold"), 0)
    for (q, want), line in zip(made, cases.ask(cases.BATCH, [cases.line_of(q) for q, _ in made])):
        got = sorted(map(tuple, json.loads(line).get("marks", ())))
        for mark in seen:
            seen[mark] += any(m[2] == mark for m in want)
        if got != want:
            k = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
            wrong.append(f"{cases.line_of(q)}  # {len(want)}/{len(got)}, from {k}: oracle {want[k:k + 3]}, ours {got[k:k + 3] or line[:200]}")
    say(capsys, f"marks: {len(made)} cases, with {seen}; {len(wrong)} differ")
    say(capsys, "\n".join(wrong[:12]))
    assert not wrong
    assert min(seen.values()) >= 100


# Field, kind and expression that every side refuses.
BAD = """cron 60 * * * *|cron * 24 * * *|cron * * 0 * *|cron * * 32 * *|cron * * * 13 *|cron * * * * 8|cron 5/15 * * * *|cron * * * *
cron * * * * * * *|cron */0 * * * *|cron */61 * * * *|cron 1,,2 * * * *|cron , * * * *|cron 1- * * * *|cron -1 * * * *|cron a * * * *
cron * * L-0 * *|cron * * L-31 * *|cron * * 0W * *|cron * * 32W * *|cron * * W * *|cron * * WL * *|cron * * LW-1 * *|cron * * * * L
cron * * * * 1#0|cron * * * * 1#6|cron * * * * 8#1|cron * * * * #1|cron * * * * 1#|cron * * * * MONL#1|cron * * * L *|cron L * * * *
cron 15W * * * *|cron * ? * * *|cron * * 1#2 * *|cron * * * * 5W|cron H(5-1) * * * *|cron H(0-60) * * * *|cron H( * * * *|cron H/0 * * * *
cron * * * FOO *|cron * * * * MONDAY|cron @never|cron @reboot|cron 99999999999999999999 * * * *|every 0s|every 90|every s|every -5s|every 1w1d
every 367d|every 1.5h|times 24:00 1111111|times 9 1111111|times 09:60 1111111|times 09:00 0000000|times 09:00 111111|times 09:00 1111112
window 17:00-09:00-60 1111111|window 09:00-17:00-0 1111111|window 09:00-17:00-1441 1111111|window 09:00-17:00 1111111
window 09:00-25:00-5 1111111|ordinal sixth monday 06:00|ordinal first moonday 06:00|ordinal first monday|ordinal first monday 25:00
once 2026-13-01T00:00:00Z|once 2026-02-30T00:00:00Z|once tomorrow|on_demand 5|weekly x""".replace("\n", "|").split("|")


def test_bad_expressions_are_refused_by_name(capsys):
    asked = [dict(zip(("kind", "expr"), bad.split(" ", 1)), zone="UTC", hash_key="x", after=0, count=1) for bad in BAD]
    answers = [json.loads(a) for a in cases.ask(cases.BATCH, [cases.line_of(q) for q in asked])]
    taken = [bad for bad, a in zip(BAD, answers) if "error" not in a]
    unnamed = [bad for bad, a in zip(BAD, answers) if "error" in a and not (a["field"] and a["hint"])]
    say(capsys, f"refused: {len(BAD) - len(taken)} of {len(BAD)}; taken {taken}; without a field or a remedy {unnamed}")
    assert not taken and not unnamed

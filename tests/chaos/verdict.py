# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The frame of a campaign: options, result directory, a verdict file after every fault, resuming, exit status.

    c = Campaign("kill", faults=40, minutes=30)   # reads sys.argv
    for fault in c.left(plan): ...; c.fault(fault, problems)
    c.judged(numbers, problems)                   # a full judgement covered these faults
    sys.exit(c.end(summary, problems))

A fault counts as done when a full judgement has covered it: `--resume DIR` repeats the others.
"""
import argparse
import json
import os
import pathlib
import signal
import sys
import time

from rig import SOURCE


class Campaign:
    def __init__(self, name, faults, minutes, options=(), argv=None):
        """options: more arguments, (flag, keyword arguments of add_argument)."""
        p = argparse.ArgumentParser(prog=f"tests/chaos/{name}.py", description=sys.modules["__main__"].__doc__)
        p.add_argument("--seed", type=int, default=20261122)
        p.add_argument("--faults", type=int, default=faults, help="how many of each kind")
        p.add_argument("--minutes", type=float, default=minutes, help="no new fault after this")
        p.add_argument("--build", default=os.environ.get("TAKT_BUILD") or str(SOURCE / "build-chaos"))
        p.add_argument("--out", help="result directory (default build-chaos/chaos/NAME-SEED)")
        p.add_argument("--resume", metavar="DIR", help="go on with the campaign of that result directory")
        for flag, more in options:
            p.add_argument(flag, **more)
        self.args = p.parse_args(argv)
        self.name, self.began = name, time.monotonic()
        if self.args.resume:
            self.directory = pathlib.Path(self.args.resume)
            first = json.loads((self.directory / "campaign.json").read_text())
            self.args.seed, self.args.faults = first["seed"], first["faults"]
        else:
            self.directory = self._new_directory()
        self.seed = self.args.seed
        self.problems, self.is_asked_to_end = [], False
        self.segment = len(list(self.directory.glob("journals-*"))) + 1
        self.journals = self.directory / f"journals-{self.segment}"
        self.journals.mkdir()
        print(f"{name}: seed {self.seed}, build {self.args.build}, results in {self.directory}", flush=True)

    def _new_directory(self):
        base = pathlib.Path(self.args.out or SOURCE / f"build-chaos/chaos/{self.name}-{self.args.seed}")
        directory, n = base, 1
        while directory.exists():
            n += 1
            directory = base.with_name(f"{base.name}-{n}")
        directory.mkdir(parents=True)
        (directory / "campaign.json").write_text(json.dumps({"name": self.name, "seed": self.args.seed,
                                                             "faults": self.args.faults}) + "\n")
        return directory

    @property
    def elapsed(self):
        return time.monotonic() - self.began

    def is_over(self):
        return self.is_asked_to_end or self.elapsed > self.args.minutes * 60

    def end_on_signals(self):
        """The first SIGTERM or SIGINT: no more faults, judge what was made. The second one: out."""
        def ask(*_):
            if self.is_asked_to_end:
                sys.exit(143)
            self.is_asked_to_end = True
            print(f"{self.name}: no more faults, judging", flush=True)
        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)

    def done(self):
        """Numbers of the faults that a full judgement covered, in all segments."""
        path = self.directory / "judged.jsonl"
        return {no for line in path.read_text().splitlines() for no in json.loads(line)} if path.exists() else set()

    def left(self, plan):
        """Of the plan, what no full judgement has covered. The plan is the first one's: failpoints may have come since."""
        path, done = self.directory / "plan.json", self.done()
        if path.exists():
            plan = json.loads(path.read_text())
        else:
            path.write_text(json.dumps(plan) + "\n")
        return [fault for fault in plan if fault["no"] not in done]

    def fault(self, fault, problems, text=""):
        """One line and one file per fault; problems: what the cheap check after it found."""
        self.problems += problems
        (self.directory / f"verdict-{fault['no']:03}.json").write_text(json.dumps({**fault, "problems": problems}, indent=1) + "\n")
        state = "ok" if not problems else "; ".join(f"{p['invariant']} {p['what']}" for p in problems[:3])
        print(f"{self.elapsed:6.0f} s  {fault['no']:3} {fault.get('node') or '-':3} {fault['kind']:9} {text}  {state}", flush=True)

    def judged(self, numbers, problems):
        if problems:
            self.problems += problems
            return
        with open(self.directory / "judged.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps(sorted(numbers)) + "\n")
            f.flush()
            os.fsync(f.fileno())

    def end(self, summary, missing=()):
        """Exit status: 0 only if nothing was wrong and every fault was made. missing: what was not."""
        unique = list({json.dumps(p, sort_keys=True): p for p in self.problems}.values())
        verdict = {"campaign": self.name, "seed": self.seed, "clean": not unique and not missing, "minutes": round(self.elapsed / 60, 1),
                   "judged": len(self.done()),
                   **summary, "missing": list(missing), "problems": unique}
        (self.directory / "verdict.json").write_text(json.dumps(verdict, indent=1, default=str) + "\n")
        for p in unique[:40]:
            print(f"  {p['invariant']}: {p['what']}")
        print(f"{self.name}: {'clean' if verdict['clean'] else 'RED'}, {len(unique)} problems, {len(missing)} faults not made, "
              f"{self.elapsed / 60:.1f} min, {self.directory}/verdict.json", flush=True)
        return 0 if verdict["clean"] else 1

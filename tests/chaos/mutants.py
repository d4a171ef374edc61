#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Do scenes and judge bite? Builds with one protection off each (mutants/*.mutant), each in its scene (scenarios.py).

The real thing must be clean in the scene; the mutant must be clean in it without faults, and with them red by the
invariant that its file names, and by nothing but that and what follows from it (`also`). One line and one verdict
file per mutant. The tree is copied and built once, then piece by piece; scenes run beside each other.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from rig import SOURCE  # noqa: E402
from verdict import Campaign  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SCENE_LIMIT_S = 180
NEEDED = ("taktd", "takt-executor", "plugins/hello/hello.so", "tests/plugins/witness.so", "tests/plugins/tree.so",
          "tests/lib/migrate")


class Mutant:
    def __init__(self, path):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        self.name, self.what, self.invariant = path.stem, data["what"], data["invariant"]
        self.also, self.scene, self.arguments = data.get("also", []), data["scene"], data.get("arguments", {})
        self.changes = [(c["file"], c["find"], c["replace"], c.get("times", 1)) for c in data["change"]]

    def apply(self, root):
        """{path: text} of the changed files; ValueError if one is not as the mutant knows it."""
        texts = {}
        for file, find, replace, times in self.changes:
            path = root / file
            text = texts.get(path) or path.read_text(encoding="utf-8")
            if text.count(find) != times:
                raise ValueError(f"mutant {self.name}: {file} has {text.count(find)} times what it is to change, not {times}: {find!r}")
            texts[path] = text.replace(find, replace)
        return texts


def mutants():
    return [Mutant(path) for path in sorted((HERE / "mutants").glob("*.mutant"))]


class Tree:
    """A copy of the sources with a build of its own."""

    def __init__(self, directory):
        self.root, self.build, self.bins = directory / "tree", directory / "build", directory / "bin"
        names = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE, check=True, capture_output=True, text=True).stdout
        wanted = {name for name in names.split("\0") if name and (SOURCE / name).is_file()}
        for name in wanted:
            old, new = SOURCE / name, self.root / name
            if not new.exists() or new.read_bytes() != old.read_bytes():
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(old, new)
        self._run([str(self.root / "tools/build"), "--enable-failpoints"], {"TAKT_BUILD": str(self.build)})

    def _run(self, argv, env=None):
        r = subprocess.run(argv, env={**os.environ, **(env or {})}, capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(f"{' '.join(argv)}:\n{(r.stdout + r.stderr)[-4000:]}")

    def programs(self, mutant=None):
        """A directory with the programs of the mutant, or of the real thing."""
        texts = mutant.apply(self.root) if mutant else {}
        kept = {path: path.read_text(encoding="utf-8") for path in texts}
        target = self.bins / (mutant.name if mutant else "real")
        try:
            for path, text in texts.items():
                path.write_text(text, encoding="utf-8")
            self._run(["make", "-s", "-C", str(self.build), f"-j{os.cpu_count()}", *NEEDED])
            for name in NEEDED:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.build / name, target / name)
        finally:
            for path, text in kept.items():
                path.write_text(text, encoding="utf-8")
        return target


def play(directory, name, programs, mutant, faults, seed):
    """The scene's result; {"broken": …} if it did not get to its end."""
    base = directory / name
    argv = [sys.executable, str(HERE / "scenarios.py"), mutant.scene, "--build", str(programs), "--seed", str(seed),
            "--out", f"{base}.json", "--logs", f"{base}.log", *(["--faults"] if faults else []),
            *(f"{k}={v}" for k, v in mutant.arguments.items())]
    began = time.monotonic()
    with open(f"{base}.out", "w", encoding="utf-8") as out, subprocess.Popen(argv, stdout=out, stderr=out) as p:
        try:
            p.wait(SCENE_LIMIT_S)
        except subprocess.TimeoutExpired:
            p.terminate()
            p.wait(60)
    try:
        result = json.loads(pathlib.Path(f"{base}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tail = pathlib.Path(f"{base}.out").read_text(encoding="utf-8")[-800:]
        result = {"broken": tail, "problems": [], "seconds": round(time.monotonic() - began, 1)}
    if not result.get("broken") and not result["problems"]:
        for end in ("out", "log", "json"):
            pathlib.Path(f"{base}.{end}").unlink(missing_ok=True)
    return result


def verdict(mutant, real, peace, faulty):
    """What is wrong with the mutant's three plays; an empty list is good."""
    wrong = []
    for name, result in (("the real thing with faults", real), ("the mutant in peace", peace), ("the mutant with faults", faulty)):
        if result.get("broken"):
            wrong.append(f"{name} did not get to its end: {result['broken'][-200:]}")
    for name, result in (("the real thing with faults", real), ("the mutant in peace", peace)):
        if result["problems"]:
            wrong.append(f"{name} is not clean: {result['problems'][0]}")
    found = {p["invariant"] for p in faulty["problems"]}
    if mutant.invariant not in found:
        wrong.append(f"{mutant.invariant} is not red, but {sorted(found) or 'nothing'}")
    for p in faulty["problems"]:
        if p["invariant"] not in [mutant.invariant, *mutant.also]:
            wrong.append(f"unrelated: {p['invariant']} {p['what']}")
            break
    return wrong


def make(c, left, directory, jobs):
    """Build one after the other, play beside that; (fault, mutant, its three results or None) in order."""
    tree = Tree(directory)
    known = {m.name: m for m in mutants()}
    real_programs, reals, waiting = tree.programs(), {}, collections.deque()

    def take():
        fault, mutant, plays = waiting.popleft()
        results = [p.result() for p in plays] if plays else None
        shutil.rmtree(tree.bins / mutant.name, ignore_errors=True)
        return fault, mutant, results

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for fault in left:
            mutant = known[fault["mutant"]]
            if c.is_over():
                waiting.append((fault, mutant, []))
                continue
            key = json.dumps([mutant.scene, mutant.arguments])
            if key not in reals:
                reals[key] = pool.submit(play, c.directory, f"{fault['no']:03}-real", real_programs, mutant, True, c.seed)
            programs = tree.programs(mutant)
            plays = [pool.submit(play, c.directory, f"{fault['no']:03}-{'faults' if faults else 'peace'}", programs, mutant, faults,
                                 c.seed) for faults in (False, True)]
            waiting.append((fault, mutant, [reals[key], *plays]))
            # Not more built ahead than there are hands to play.
            while len(waiting) > jobs or waiting and all(p.done() for p in waiting[0][2]):
                yield take()
        while waiting:
            yield take()


def list_them():
    for m in mutants():
        m.apply(SOURCE)
        print(f"{m.invariant:4} {m.name}: {m.what}")
    return 0


def main():
    if "--list" in sys.argv[1:]:
        return list_them()
    c = Campaign("mutants", faults=1, minutes=120, options=[
        ("--only", {"help": "names, with commas"}), ("--jobs", {"type": int, "default": 3, "help": "scenes beside each other"}),
        ("--work", {"help": "directory for the copied tree (default: build-chaos/mutants)"}),
        ("--list", {"action": "store_true", "help": "only say what there is, and that it applies to the tree"})])
    plan = [{"no": n + 1, "kind": "mutant", "node": None, "mutant": m.name} for n, m in enumerate(mutants())
            if not c.args.only or m.name in c.args.only.split(",")]
    directory = pathlib.Path(c.args.work) if c.args.work else SOURCE / "build-chaos/mutants"
    directory.mkdir(parents=True, exist_ok=True)
    missing, table = [], []
    for fault, mutant, results in make(c, c.left(plan), directory.resolve(), c.args.jobs):
        if results is None:
            missing.append({"no": fault["no"], "why": "out of time", "mutant": mutant.name})
            continue
        real, peace, faulty = results
        wrong = verdict(mutant, real, peace, faulty)
        red = sorted({p["invariant"] for p in faulty["problems"]})
        fault.update(what=mutant.what, invariant=mutant.invariant, also=mutant.also, scene=mutant.scene,
                     red_by=red, example=next((p["what"] for p in faulty["problems"] if p["invariant"] == mutant.invariant), None),
                     seconds={"real": real["seconds"], "peace": peace["seconds"], "faults": faulty["seconds"]})
        problems = [{"invariant": "mutant", "what": f"{mutant.name}: {w}"} for w in wrong]
        c.fault(fault, problems, f"{mutant.name}: red by {','.join(red) or 'nothing'} after {faulty['seconds']} s")
        c.judged([fault["no"]], problems)
        table.append({"mutant": mutant.name, "invariant": mutant.invariant, "red_by": red, "ok": not wrong})
    return c.end({"planned": len(plan), "mutants": table}, missing)


if __name__ == "__main__":
    sys.exit(main())

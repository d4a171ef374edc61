# SPDX-License-Identifier: Apache-2.0
"""The documents name real things: every file and every function() in ARCHITECTURE.md and the READMEs exists."""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
DOCUMENTS = [f for f in FILES if f.endswith(".md")]
# Directories and files that exist only in a build, an installation or at run time.
ELSEWHERE = re.compile(r"^(build|build-san|b|/|~|\$|STATE|DIR|TAKT|units/|node_modules|https?:|http:)")
CODE = "\n".join((ROOT / f).read_text(errors="replace") for f in FILES
                 if f.endswith((".c", ".h", ".py", ".sql", ".def", ".sh")) or f.startswith(("tools/", "tests/lib/")))


def code_spans(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def path_exists(document, path):
    path = path.rstrip("/")
    here = ROOT / pathlib.Path(document).parent
    # A program or plugin of the build tree is named without its sources' endings.
    names = [path, f"{path}.c", path.removesuffix(".so") + ".c"]
    return any(any((base / name).exists() for name in names) or path.endswith("*.so") or any(base.glob(path) if re.search(r"[*?\[]", path) else ())
               for base in (ROOT, here, ROOT / "lib", ROOT / "sdk/include"))


def test_life_of_a_run_is_told_by_real_names():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    life = text[text.index("## Life of a run"):]
    life = life[:life.index("\n## ", 5)]
    names = re.findall(r"`(\w+)\(\)`", life)
    assert len(names) >= 15, "the life of a run names too few functions to be a guide"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_functions_exist(document):
    for span in code_spans((ROOT / document).read_text()):
        m = re.fullmatch(r"(\w+)\(\)", span)
        if m:
            assert re.search(rf"\b{m[1]}\s*\(", CODE), f"{document}: {span} is nowhere in the code"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_exist(document):
    for span in code_spans((ROOT / document).read_text()):
        if re.fullmatch(r"[\w.*/-]+/[\w.*/-]*|[\w-]+\.(c|h|sql|py|def|yaml|md|conf)", span) \
                and not ELSEWHERE.match(span) and "NN" not in span and not span.endswith("/1"):
            if span.startswith(("lib/", "daemon/", "executor/", "plugins/", "sdk/", "conf/", "sql/", "tests/", "tools/",
                                "cli/", "packaging/", "ARCHITECTURE", "README", "HACKING")):
                assert path_exists(document, span), f"{document}: {span} does not exist"


def test_every_room_has_a_readme():
    rooms = {str(pathlib.PurePath(f).parent) for f in FILES if f.endswith((".c", ".sql"))}
    tops = {r for r in rooms if r.count("/") <= 1 and not r.startswith("tests/abi")}
    for room in sorted(tops):
        parents = [room, str(pathlib.PurePath(room).parent)]
        assert any(f"{p}/README.md" in FILES for p in parents if p != "."), f"{room} has no README.md"


def test_the_manual_tells_every_rule_and_where_others_differ():
    page = (ROOT / "packaging/man/takt-schedule.7").read_text().replace("\\-", "-").replace("\\&", "")
    rules = re.findall(r'^RULE\("([\w.]+)", \S+ "(.*?)"\)', (ROOT / "lib/task/rules.def").read_text(), flags=re.M)
    assert len(rules) > 20
    for rule, sentence in rules:
        assert f".It Cm {rule}\n" in page and sentence in page, rule
    readme = (ROOT / "lib/when/README.md").read_text()
    table = readme[readme.index("| question |"):readme.index("Recurrence rules: dateutil")].strip().splitlines()[2:]
    assert len(table) >= 20
    for row in table:
        question = row.strip("| ").split(" | ")[0].replace("`", "")
        assert question in page, question

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The official phoenix client (tests/web) as a child process: what it says, a dictionary a line."""
import json
import os
import shutil
import subprocess
import threading

from pg import BUILD, SOURCE, wait_until

FILES = ("package.json", "package-lock.json", "phoenix_client.mjs")


def prepare():
    """Copy tests/web into the build tree and install its two packages there; the folder, or None without npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None
    folder = BUILD / "tests" / "web"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(SOURCE / "tests" / "web" / name, folder / name)
    lock, done = folder / "package-lock.json", folder / "node_modules" / ".takt-lock"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True,
                       timeout=300)
        done.write_bytes(lock.read_bytes())
    return folder


class Client:
    def __init__(self, folder, url, token, topic, how="authToken", since=None):
        self.lines = []
        argv = ["node", "phoenix_client.mjs", url, token, topic, how] + ([since] if since is not None else [])
        self.process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "NO_COLOR": "1"})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def heard(self, key):
        """What came under this key, in order."""
        return [line[key] for line in list(self.lines) if key in line]

    @property
    def events(self):
        return [line["payload"] for line in list(self.lines) if "payload" in line]

    def wait(self, condition, what, limit_s=60):
        try:
            return wait_until(lambda: condition(self), limit_s, what)
        except TimeoutError as e:
            raise TimeoutError(f"{e}; the client said {self.lines[-10:]}") from None

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self._reader.join(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Real routers on one machine: FRRouting behind OpenSSH, for flow tests and the demo.

    with FrrLab(directory, routers=4) as lab:
        r = lab.routers[0]                   # .name .address .port .username .password .private_key
        lab.configure(r, "ip route 203.0.113.0/24 Null0")
        lab.running_config(r)
        lab.stop(r); lab.start(r)            # its sshd: connections are refused meanwhile
        lab.set_password(r, "another")

Each router has its daemons in a network namespace of its own (without a name: it goes with them), a
vtysh pathspace, a login user and an sshd on a free loopback port that runs its vtysh. All names carry
the lab's tag and are written to DIR/lab.json before they are made, so that down() can put back
everything also after a crash: users, /etc/frr/<pathspace>, /var/run/frr/<pathspace>, processes.
Needs root: network namespaces, users and FRR's own privilege drop.
"""
import argparse
import json
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

FRR = pathlib.Path("/usr/lib/frr")
DAEMONS = ("zebra", "staticd", "bgpd", "ospfd")
NAMES = ("core-rtr-01", "core-rtr-02", "edge-rtr-01", "edge-rtr-02")
GR_FILE = pathlib.Path("/var/run/frr/ospfd-gr.json")  # ospfd writes it outside of its pathspace
LIMIT_S = 60


class LabError(RuntimeError):
    """Says what is missing or did not work, and what to do."""


def run(*argv, text=None, check=True, timeout=LIMIT_S):
    p = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout)
    if check and p.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv[:4]))} …: exit {p.returncode}: {(p.stderr or p.stdout).strip()[-500:]}")
    return p.stdout


def retry(*argv, text=None):
    """For tools that lock /etc/passwd: another lab may be at it."""
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            return run(*argv, text=text)
        except LabError as e:
            if "lock" not in str(e) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def wait_for(what, condition):
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {LIMIT_S} s")
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.settimeout(5)
            return s.recv(4) == b"SSH-"
    except OSError:
        return False


def config_text(no, name):
    """A configuration of realistic size and secrets; `no` (from 1) makes it this router's."""
    lines = ["frr version 8.4", "frr defaults traditional", f"hostname {name}", "log syslog informational",
             "no ipv6 forwarding", "service integrated-vtysh-config", "!"]
    lines += [f"ip route 10.{no}.{i}.0/24 Null0 tag {1000 + i}" for i in range(40)]
    lines += ["!", "interface dummy0", f" description uplink of {name}", f" ip address 192.0.2.{no}/24",
              " ip ospf message-digest-key 1 md5 OspfSecret1", "exit", "!", f"router bgp {65000 + no}",
              f" bgp router-id 192.0.2.{no}", " no bgp ebgp-requires-policy"]
    for i in range(1, 9):
        lines += [f" neighbor 192.0.2.{100 + i} remote-as {64600 + i}",
                  f" neighbor 192.0.2.{100 + i} description peer-{i}",
                  f" neighbor 192.0.2.{100 + i} password BgpSecret{i}", f" neighbor 192.0.2.{100 + i} passive"]
    lines += [" !", " address-family ipv4 unicast"]
    lines += [f"  network 10.{no}.{i}.0/24" for i in range(20)]
    lines += [f"  neighbor 192.0.2.{100 + i} route-map IN-{i} in" for i in range(1, 9)]
    lines += [" exit-address-family", "exit", "!", "router ospf", f" ospf router-id 192.0.2.{no}",
              " network 192.0.2.0/24 area 0", " area 0 authentication message-digest", "exit", "!"]
    for i in range(1, 9):
        lines += [f"ip prefix-list PEER-{i} seq 5 permit 198.51.{100 + i}.0/24 le 28"]
    for i in range(1, 9):
        lines += [f"route-map IN-{i} permit 10", f" match ip address prefix-list PEER-{i}",
                  f" set local-preference {100 + i}", "exit", "!"]
    return "\n".join(lines + ["end", ""])


class Router:
    def __init__(self, record):
        self.__dict__.update(record)
        self.etc = pathlib.Path("/etc/frr") / self.pathspace
        self.run = pathlib.Path("/var/run/frr") / self.pathspace
        self.dir = pathlib.Path(self.directory)

    def public(self):
        keys = ("name", "address", "port", "username", "password", "private_key", "pathspace", "platform")
        return {k: self.__dict__[k] for k in keys}


def pid_of(path, mark):
    """The process of a pid file, if it is still ours: its command line carries our mark."""
    try:
        pid = int(path.read_text())
        cmd = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return pid if mark in cmd else None
    except (OSError, ValueError):
        return None


def end_process(pid, sig=signal.SIGTERM):
    if pid is None:
        return
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def is_alive(pid):
    """A zombie whose parent does not care is not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids_of_user(name):
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return []
    found = []
    for d in pathlib.Path("/proc").iterdir():
        try:
            if d.name.isdigit() and d.stat().st_uid == uid and is_alive(int(d.name)):
                found.append(int(d.name))
        except OSError:
            continue
    return found


def pids_of_router(r):
    """Its user's processes, and whatever carries its pathspace: also what a killed `up` was just starting."""
    found = pids_of_user(r.username)
    for d in pathlib.Path("/proc").iterdir():
        try:
            words = (d / "cmdline").read_text().replace("\0", " ") if d.name.isdigit() else ""
            if f"-N {r.pathspace} " in words:
                found.append(int(d.name))
        except (OSError, UnicodeDecodeError):
            continue
    return [p for p in found if is_alive(p) and p != os.getpid()]


def kill_all(pids):
    for p in pids:
        end_process(p, signal.SIGKILL)
    return pids


class FrrLab:
    def __init__(self, directory, routers=4, port=0, names=NAMES):
        self.dir = pathlib.Path(directory).resolve()
        self.count, self.port = routers, port
        self.names = [names[i] if i < len(names) else f"rtr-{i + 1:02d}" for i in range(routers)]
        self.routers = []
        self.had_gr_file = GR_FILE.exists()

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.down()
            raise

    def __exit__(self, *_):
        self.down()

    # --- up

    def up(self):
        self.check_machine()
        if (self.dir / "lab.json").exists():
            self.down()
        self.dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.plan()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.dir / "id"))
        for no, r in enumerate(self.routers, 1):
            self.make_files(no, r)
            self.make_user(r)
            self.start_daemons(no, r)
        for r in self.routers:
            self.load_config(r)
            self.start(r)
        return self

    @staticmethod
    def check_machine():
        if os.geteuid() != 0:
            raise LabError("the FRR lab needs root (network namespaces, login users): run it as root or through sudo")
        for program, package in ((FRR / "zebra", "frr"), ("/usr/sbin/sshd", "openssh-server"),
                                 ("/usr/bin/unshare", "util-linux"), ("/sbin/ip", "iproute2")):
            if not pathlib.Path(program).exists():
                raise LabError(f"{program} is missing: apt-get install {package}")

    def plan(self):
        tag = "tl" + secrets.token_hex(3)
        for i, name in enumerate(self.names):
            port = self.port + i if self.port else free_port()
            self.routers.append(Router({
                "name": name, "address": "127.0.0.1", "port": port, "platform": "frr", "username": f"{tag}-{i + 1}",
                "password": secrets.token_urlsafe(12), "private_key": str(self.dir / "id"),
                "pathspace": f"{tag}-{i + 1}", "directory": str(self.dir / f"r{i + 1}")}))
        self.save()

    def save(self):
        path = self.dir / "lab.json"
        records = [dict(r.public(), directory=r.directory) for r in self.routers]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump({"routers": records, "had_gr_file": self.had_gr_file}, f, indent=1)

    @staticmethod
    def load(directory):
        lab = FrrLab(directory, 0)
        state = json.loads((lab.dir / "lab.json").read_text())
        lab.routers, lab.had_gr_file = [Router(r) for r in state["routers"]], state["had_gr_file"]
        lab.count = len(lab.routers)
        return lab

    def make_files(self, no, r):
        r.dir.mkdir(exist_ok=True)
        for d in (r.etc, r.run):
            d.mkdir(parents=True, exist_ok=True)
            shutil.chown(d, "frr", "frr")
            os.chmod(d, 0o755)
        (r.etc / "frr.conf").write_text(config_text(no, r.name))
        (r.etc / "vtysh.conf").write_text(f"service integrated-vtysh-config\nhostname {r.name}\nbanner motd file {r.etc}/motd\n")
        (r.etc / "motd").write_text(f"{r.name}: authorised access only\n{r.name}# this only looks like a prompt\n")
        # Here, not in r.dir: sshd reads it as the user, who may not enter the caller's directory.
        (r.etc / "authorized_keys").write_text((self.dir / "id.pub").read_text())
        for f in r.etc.iterdir():
            shutil.chown(f, "frr", "frrvty")
            os.chmod(f, 0o640)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(r.dir / "host_key"))
        (r.dir / "sshd_config").write_text("\n".join((
            f"Port {r.port}", "ListenAddress 127.0.0.1", f"HostKey {r.dir}/host_key", f"PidFile {r.dir}/sshd.pid",
            f"AuthorizedKeysFile {r.etc}/authorized_keys", "StrictModes no", "UsePAM no", "PasswordAuthentication yes",
            "KbdInteractiveAuthentication no", f"AllowUsers {r.username}", "PrintMotd no", "PrintLastLog no",
            "UseDNS no", "MaxStartups 200:30:400", "LogLevel ERROR", "AllowTcpForwarding no", "X11Forwarding no",
            f"ForceCommand /usr/bin/vtysh -N {r.pathspace}", "")))

    def make_user(self, r):
        retry("useradd", "-M", "-N", "-d", "/nonexistent", "-s", "/bin/sh", "-g", "frrvty", "-G", "frr",
              "-c", "Takt FRR lab", r.username)
        self.set_password(r, r.password)

    def start_daemons(self, no, r):
        run_lines = ["set -e", f"echo {r.name} > /proc/sys/kernel/hostname", "ip link set lo up", "ip link add dummy0 type dummy 2>/dev/null && ip link set dummy0 up || :"]
        run_lines += [f"{FRR}/{d} -d -N {r.pathspace} -A 127.0.0.1 -P 0" + (" -s 1048576" if d == "zebra" else "")
                      for d in DAEMONS]
        run("unshare", "-n", "-u", "sh", "-c", "\n".join(run_lines))

    def load_config(self, r):
        wait_for(f"{r.name}: FRR's sockets", lambda: all((r.run / f"{d}.vty").exists() for d in DAEMONS))
        run("vtysh", "-N", r.pathspace, "-b")

    # --- what a test does to a router

    def vtysh(self, r, *commands):
        return run("vtysh", "-N", r.pathspace, *(x for c in commands for x in ("-c", c)))

    def configure(self, r, *lines):
        return self.vtysh(r, "configure terminal", *lines)

    def running_config(self, r):
        return self.vtysh(r, "show running-config")

    def start(self, r):
        os.makedirs("/run/sshd", exist_ok=True)
        run("/usr/sbin/sshd", "-f", str(r.dir / "sshd_config"), "-E", str(r.dir / "sshd.log"))
        wait_for(f"{r.name}: sshd on port {r.port}", lambda: answers(r.port))

    def stop(self, r):
        """Down: its sshd is gone and its sessions are cut."""
        pid = pid_of(r.dir / "sshd.pid", "sshd")
        end_process(pid)
        wait_for(f"{r.name}: sshd's end", lambda: pid is None or not is_alive(pid))
        for p in pids_of_user(r.username):
            end_process(p)

    def set_password(self, r, password):
        r.password = password
        retry("chpasswd", text=f"{r.username}:{password}\n")
        self.save()

    # --- down

    def down(self):
        if not self.routers and (self.dir / "lab.json").exists():
            lab = self.load(self.dir)
            self.routers, self.had_gr_file = lab.routers, lab.had_gr_file
        for r in self.routers:
            self.remove(r)
        if self.routers and not self.had_gr_file:
            GR_FILE.unlink(missing_ok=True)
        self.routers = []
        for name in ("id", "id.pub", "lab.json"):
            (self.dir / name).unlink(missing_ok=True)
        if self.dir.is_dir() and not any(self.dir.iterdir()):
            self.dir.rmdir()

    def remove(self, r):
        self.stop(r)
        # Killed: nothing of theirs is kept, and an orderly end takes seconds.
        wait_for(f"{r.name}: end of its processes", lambda: not kill_all(pids_of_router(r)))
        try:
            pwd.getpwnam(r.username)
            retry("userdel", r.username)
        except KeyError:
            pass
        for d in (r.etc, r.run, r.dir):
            shutil.rmtree(d, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description="FRR routers behind SSH on loopback (needs root)")
    sub = p.add_subparsers(dest="verb", required=True)
    up = sub.add_parser("up", help="start; prints the routers as JSON")
    up.add_argument("dir")
    up.add_argument("--routers", type=int, default=4)
    up.add_argument("--port", type=int, default=0, help="first of consecutive ports; default: free ones")
    for verb, text in (("down", "end and put back everything; also after a crash"), ("list", "routers as JSON")):
        sub.add_parser(verb, help=text).add_argument("dir")
    for verb, arg in (("configure", "line"), ("show", None), ("stop", None), ("start", None), ("password", None)):
        s = sub.add_parser(verb, help="one router, by name" + (" (the new password is read from standard input)" if verb == "password" else ""))
        s.add_argument("dir")
        s.add_argument("router")
        if arg:
            s.add_argument(arg, nargs="+")
    a = p.parse_args()
    if a.verb == "up":
        lab = FrrLab(a.dir, a.routers, a.port)
        try:
            lab.up()
        except BaseException:
            lab.down()
            raise
        print(json.dumps({"routers": [r.public() for r in lab.routers]}, indent=1))
        return
    if a.verb == "down":
        FrrLab(a.dir, 0).down()
        return
    lab = FrrLab.load(a.dir)
    if a.verb == "list":
        print(json.dumps({"routers": [r.public() for r in lab.routers]}, indent=1))
        return
    r = next((x for x in lab.routers if x.name == a.router), None)
    if not r:
        raise LabError(f"no router '{a.router}'; there are {', '.join(x.name for x in lab.routers)}")
    if a.verb == "configure":
        lab.configure(r, *a.line)
    elif a.verb == "show":
        print(lab.running_config(r), end="")
    elif a.verb == "password":
        lab.set_password(r, sys.stdin.readline().rstrip("\n"))
    else:
        getattr(lab, a.verb)(r)


if __name__ == "__main__":
    try:
        main()
    except (LabError, subprocess.TimeoutExpired) as e:
        sys.exit(f"frr-lab: {e}")

"""The grader of a gateway at V0: what it is kept from, what happens while it is down, how it comes
back, and the way to one on another machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

import test_verdicts
from certificates import Authority
from parley_test import PARLEY, Gateway, Process, ask, main, run, suite_of, wait_until
from test_verdicts import FOXES


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))


class Grading(test_verdicts.Verdicts):
    """The tools of Verdicts, without its tests."""


for name in [name for name in dir(Grading) if name.startswith("test_")]:
    setattr(Grading, name, None)


class Kept(Grading):
    """`grade: spawn`: a process that keeps a grader going."""

    def setUp(self):
        super().setUp()
        self.start(grader=False, grade="spawn")
        self.register(suite_of(FOXES), samples=5)

    def keeper(self):
        return next(pid for pid in children(self.gate.process.child.pid)
                    if b"--keep" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def grader_pid(self):
        return (children(self.keeper()) or [None])[0]

    def warnings(self):
        answer = ask(self.gate.admin_port, "GET", "/readyz")
        self.assertEqual(answer.status, 200, answer)
        return answer.json().get("warnings", [])

    def test_it_is_refused_while_it_is_down_and_comes_back_by_itself(self):
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        wait_until(lambda: self.gate.metric("parley_grader_up") == 1, "a grader that is up")
        self.assertEqual(self.warnings(), [])
        # Whoever would start it again is held up.
        keeper, grader = self.keeper(), self.grader_pid()
        os.kill(keeper, signal.SIGSTOP)
        self.addCleanup(lambda: os.path.exists(f"/proc/{keeper}") and os.kill(keeper, signal.SIGCONT))
        os.kill(grader, signal.SIGKILL)
        wait_until(lambda: status_of(grader)["State"].startswith("Z"), "the grader's end")
        refused = self.ask(FOXES[1])
        self.assert_refused(refused, 503, "grade.unavailable", "anthropic", retry=True)
        wait_until(lambda: self.gate.metric("parley_grader_up") == 0, "its absence to be told")
        self.assertEqual(self.warnings(), [{
            "part": "grader", "problem": "it does not answer: verdicts are refused"}])
        self.assertGreaterEqual(self.gate.metric("parley_grader_lost_total"), 1)
        os.kill(keeper, signal.SIGCONT)
        wait_until(lambda: self.gate.metric("parley_grader_up") == 1, "its return", 60)
        self.assertEqual(self.warnings(), [])
        self.assertEqual(self.verdict(FOXES[1])["verdict"], "fail")
        self.assert_quiet(self.gate)
        # Each death is followed by a longer pause.
        os.kill(self.grader_pid(), signal.SIGKILL)
        said = r"the grader ended \(signal 9\); it is started again in (\d+) ms"
        wait_until(lambda: re.findall(said, self.gate.process.stderr) == ["100", "200"],
                   "both ends to be told")
        self.assertEqual(self.upstream.end_and_count(), 2)

    def test_it_ends_with_its_gateway(self):
        keeper, grader = self.keeper(), self.grader_pid()
        self.gate.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{grader}"), "the grader's end")
        # In a container nobody may reap it.
        wait_until(lambda: not os.path.exists(f"/proc/{keeper}") or
                   status_of(keeper)["State"].startswith("Z"), "the keeper's end")

    def test_neither_has_keys_network_or_files(self):
        for pid in (self.keeper(), self.grader_pid()):
            status = status_of(pid)
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertEqual(status["Seccomp"], "2")
        if os.geteuid() == 0:
            data = os.stat(self.gate.directory / "signing.key")
            self.assertNotEqual(status_of(self.grader_pid())["Uid"].split()[0], str(data.st_uid))
            self.assertEqual(int(status_of(self.grader_pid())["CapPrm"], 16), 0)
            # Of root the keeper has what it takes to become another user and to signal it.
            self.assertEqual(int(status_of(self.keeper())["CapPrm"], 16) & ~0xe2, 0)
            for pid in (self.keeper(), self.grader_pid()):
                with open(f"/proc/{pid}/environ", "rb") as file:
                    self.assertNotIn(b"KEY", file.read())
                for name in os.listdir(f"/proc/{pid}/fd"):
                    target = os.readlink(f"/proc/{pid}/fd/{name}")
                    self.assertFalse(target.startswith(str(self.gate.directory)) and
                                     not target.endswith((".stdout", ".stderr")), target)
            self.assertEqual(os.readlink(f"/proc/{self.grader_pid()}/cwd"), "/")


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
class SameUser(Grading):
    """A gateway that an ordinary user runs: its grader has the same user, and is set apart."""

    ORDINARY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)
        original = Gateway.start

        def start(gateway):
            for root, folders, names in os.walk(gateway.directory):
                for name in [root, *(os.path.join(root, name) for name in folders + names)]:
                    os.chown(name, 65534, 65534)
            return original(gateway)

        Gateway.start = start
        self.addCleanup(setattr, Gateway, "start", original)
        if subprocess.run([*self.ORDINARY, "unshare", "-Umr", PARLEY, "--version"],
                          capture_output=True, check=False).returncode != 0:
            self.skipTest("an ordinary user has no namespaces here, or cannot run this binary")

    def test_it_sees_nothing_of_its_gateways(self):
        self.start(grader=False, grade="spawn", prefix=self.ORDINARY)
        self.register(suite_of(FOXES), samples=5)
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        gateway = self.gate.process.child.pid
        keeper = next(iter(children(gateway)))
        grader = next(iter(children(keeper)))
        self.assertEqual(status_of(gateway)["Uid"], status_of(grader)["Uid"])
        spaces = {os.readlink(f"/proc/{pid}/ns/user") for pid in (gateway, grader)}
        self.assertEqual(len(spaces), 2, "it has a user namespace of its own")
        self.assertEqual(os.listdir(f"/proc/{grader}/root{self.gate.directory}"), [])
        self.assertIn("signing.key", os.listdir(f"/proc/{gateway}/root{self.gate.directory}"))
        self.assertEqual(status_of(grader)["CapPrm"], "0" * 16)
        self.assertEqual(status_of(grader)["NoNewPrivs"], "1")
        self.assertNotIn("can read what its user can", self.gate.process.stderr)

    def test_programs_run_in_the_sandbox_inside(self):
        grading = {"id": "0", "scorer": {"kind": "code", "language": "python", "entry_point": "f",
                                         "cases": [{"args": [2], "expected": 4}]}}
        self.persona.write_text(json.dumps({
            "prompt": FOXES[0], "answers": ["```python\ndef f(n):\n    return n * n\n```"]}) + "\n")
        self.upstream = self.sim("--persona", self.persona)
        outside = self.grade_once(grading, name="outside")
        inside = self.grade_once(grading, name="inside", prefix=self.ORDINARY)
        self.assertEqual(inside, outside)  # "fail" where there is no sandbox on this machine

    def grade_once(self, grading, **how):
        self.start(grader=False, grade="spawn", **how)
        self.register(test_verdicts.graded_suite(FOXES[:1], [grading]))
        verdict = self.verdict(FOXES[0])["verdict"]
        self.gate.stop()
        return verdict


class Unspawnable(Grading):
    def test_what_is_wrong_from_the_start_is_said_and_not_tried_again(self):
        path = self.directory / "a-directory"
        path.mkdir()
        done = run("grade", "--keep", "--listen", f"unix:{path}")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(path), done.stderr)
        self.assertNotIn("started again", done.stderr)


class Elsewhere(Grading):
    """Over TCP: in clear on this machine only, else with certificates on both sides."""

    def setUp(self):
        super().setUp()
        self.ours = Authority(self.directory, "ours")

    def tls_grader(self, *, name="remote", client_ca=None):
        certificate, key = self.ours.issue("grader")
        process = Process(self.directory, name, [
            PARLEY, "grade", "--listen", "127.0.0.1:0", "--certificate", str(certificate), "--key",
            str(key), "--client-ca", str(client_ca or self.ours.path)])
        self.addCleanup(process.end)
        return int(process.wait_for_line(r"^grading on https://127\.0\.0\.1:(\d+)").group(1))

    def grade(self, port, certificate, key, ca=None):
        return {"url": f"https://127.0.0.1:{port}",
                "tls": {"ca": str(ca or self.ours.path), "certificate": str(certificate),
                        "key": str(key)}}

    def test_with_certificates_on_both_sides(self):
        port = self.tls_grader()
        self.start(grader=False, grade=self.grade(port, *self.ours.issue("gateway")))
        self.register(suite_of(FOXES), samples=5)
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        wait_until(lambda: self.gate.metric("parley_grader_up") == 1, "a grader that is up")
        self.assert_sealed()

    def test_a_stranger_is_asked_nothing_and_grades_nothing(self):
        strange = Authority(self.directory, "strange")
        port = self.tls_grader()
        # A gateway whose certificate is somebody else's, and one that trusts somebody else.
        for name, grade in (
                ("stranger", self.grade(port, *strange.issue("gateway"))),
                ("misled", self.grade(port, *self.ours.issue("gateway"), ca=strange.path))):
            self.start(grader=False, grade=grade, name=name)
            self.register(suite_of(FOXES))
            self.assert_refused(self.ask(FOXES[0]), 503, "grade.unavailable", "anthropic",
                                retry=True)
            self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 0)

    def test_in_clear_on_this_machine(self):
        grader = Process(self.directory, "plain", [PARLEY, "grade", "--listen", "127.0.0.1:0"])
        self.addCleanup(grader.end)
        port = int(grader.wait_for_line(r"^grading on 127\.0\.0\.1:(\d+)").group(1))
        self.start(grader=False, grade={"socket": f"127.0.0.1:{port}"})
        self.register(suite_of(FOXES))
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")

    def test_never_in_clear_to_another_machine(self):
        certificate, key = self.ours.issue("gateway")
        good = self.grade(9, certificate, key)
        path = self.directory / "parley.yaml"
        for grade, said in (
                ({"socket": "10.0.0.7:9100"}, "would travel in clear"),
                ({"socket": "[2001:db8::7]:9100"}, "would travel in clear"),
                ({"url": "http://10.0.0.7:9100"}, "must be https://HOST:PORT"),
                ({"url": "https://10.0.0.7:9100"}, "needs tls: { ca, certificate, key }"),
                ({**good, "tls": {"ca": str(self.ours.path)}}, "needs tls"),
                ({**good, "socket": "127.0.0.1:1"}, "name one of them"),
                ({"socket": "127.0.0.1:1", "tls": good["tls"]}, "is for a grader with `url")):
            path.write_text(json.dumps({
                "name": "n.example/t", "listen": "127.0.0.1:0", "grade": grade,
                "providers": [], "models": []}))
            done = run("serve", "-c", path)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(said, done.stderr)
            self.assertIn("grade", done.stderr)
        for arguments, said in (
                (("--listen", "0.0.0.0:0"), "no address of this machine alone"),
                (("--keep", "--listen", "127.0.0.1:0"), "--keep is for unix:PATH"),
                (("--listen", "127.0.0.1:0", "--certificate", certificate), "given together")):
            done = run("grade", *arguments)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    main()

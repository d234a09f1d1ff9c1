"""The statement of a month: it says what the log says, signed, as text, JSON and one page."""

import base64
import json
import re
import shutil
import subprocess
from datetime import datetime, timezone

from parley_test import (CLAUSE, Case, Client, canonical, evaluation, main, product, public, suite_of)

FOXES = ["What jumps over the dog?", "What lives in a den?", "What is red?"]


class Statement(Case):
    def setUp(self):
        super().setUp()
        foxes = suite_of(FOXES)
        self.gate = self.gateway(self.sim(), evaluation(), evaluation("eval-2", "acme"), product(),
                                 public_suites=public(foxes))
        self.month = datetime.now(timezone.utc).strftime("%Y-%m")
        self.client = Client(self.gate.port, self.gate.key("eval", "southlab"))
        self.suite = self.client.post("/parley/v1/suites", foxes).json()["suite"]
        self.run_id = self.client.post("/parley/v1/runs", {"suite": self.suite}).json()["run"]
        for prompt in FOXES:
            answer = self.client.messages(prompt, temperature=0)
            self.assertEqual(answer.status, 200, answer)
        for prompt in ("something else", "and more"):
            self.assertEqual(self.client.messages(prompt).status, 403)
        other = Client(self.gate.port, self.gate.key("prod", "acme"))
        self.assertEqual(other.messages("Hello").status, 200)
        self.assertEqual(other.chat("Hello").status, 200)
        self.gate.act("grant", "suspend", "eval", "--reason", "<b>a question</b>")
        # All of it is settled and in the log before it is counted.
        self.settled = [self.gate.settled(entry["id"]) for log in ("evaluation", "usage")
                        for entry in self.gate.records(log) if entry["kind"] == "admit"]

    def statement(self, org, *arguments):
        return self.gate.act("statement", "--org", org, "--month", self.month, *arguments)

    def test_it_counts_what_the_log_says(self):
        answer = json.loads(self.statement("southlab", "--json"))
        told = answer["statement"]
        mine = [entry for entry in self.settled if entry.get("grant", "eval") == "eval"]
        self.assertEqual(told["totals"]["requests"], 3)
        self.assertEqual(told["totals"]["refused"], 2)
        for kind in ("input", "output"):
            self.assertEqual(told["totals"][kind], sum(entry["usage"][kind] for entry in mine
                                                       if entry["grant"] == "eval"))
        self.assertEqual(told["explained"]["share_of_requests"], 1)
        self.assertEqual([(row["suite"], row["requests"]) for row in told["suites"]],
                         [(self.suite, 3)])
        self.assertEqual([(row["run"], row["suite"], row["requests"]) for row in told["runs"]],
                         [(self.run_id, self.suite, 3)])
        self.assertEqual(told["refusals"], [{"rule": "suite.unbound", "clause": CLAUSE, "count": 2}])
        self.assertEqual([row["id"] for row in told["granted"]], ["eval"])
        self.assertIn("grant.suspend", [row["act"] for row in told["acts"]])
        self.assertEqual((told["complete"], told["without_outcome"]), (False, 0))
        envelope = answer["envelope"]
        self.assertEqual(base64.b64decode(envelope["payload"]), canonical(told))
        self.assertEqual(len(envelope["signatures"]), 1)
        keys = json.loads(Client(self.gate.port, "").get("/parley/v1/keys").body)
        self.assertEqual(told["issuer"]["key"], keys["grants"])

    def test_use_without_suites_is_not_explained(self):
        told = json.loads(self.statement("acme", "--json"))["statement"]
        self.assertEqual(told["totals"]["requests"], 2)
        self.assertEqual(told["explained"]["share_of_requests"], 0)
        self.assertEqual({row["id"] for row in told["granted"]}, {"eval-2", "prod"})

    def test_text_and_page(self):
        text = self.statement("southlab")
        for words in ("South Lab", self.month, "3 requests admitted", "2 refused", "100.0% of requests",
                      "suite.unbound", CLAUSE, self.suite, self.run_id, "not over"):
            self.assertIn(words, text)
        path = self.directory / "statement.html"
        self.statement("southlab", "--html", "-o", path)
        page = path.read_text()
        self.assertIn("default-src 'none'", page)
        self.assertNotIn("<script", page)
        self.assertNotIn("<b>", page)
        self.assertIn("&lt;b&gt;a question", page)
        self.assertFalse(re.findall(r"(?:src|href)=", page))

    def test_the_page_in_a_browser(self):
        browser = shutil.which("chromium")
        if not browser:
            self.skipTest("chromium is not installed")
        path = self.directory / "statement.html"
        self.statement("southlab", "--html", "-o", path)
        done = subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             f"--user-data-dir={self.directory}/browser", "--enable-logging=stderr", "--dump-dom",
             path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
        self.assertIn('<th scope="row">suite.unbound</th>', done.stdout)
        self.assertIn(f"<title>Statement, South Lab, {self.month}</title>", done.stdout)
        # Every table has a name, heads of columns and of rows.
        tables = re.findall(r"<table aria-labelledby=\"(\w+)\">(.*?)</table>", done.stdout, re.S)
        self.assertEqual(len(tables), done.stdout.count("<table"))
        for name, table in tables:
            self.assertIn(f'<h2 id="{name}">', done.stdout)
            rows = table.partition("<tbody>")[2].count("<tr>")
            self.assertGreater(rows, 0)
            self.assertEqual(table.count('<th scope="row">'), rows)
            self.assertEqual(table.count('<th scope="col"'), table.count("<th ") - rows)
        self.assertNotIn("Content Security Policy", done.stderr)

    def test_wrong_things_are_named(self):
        for arguments, status, words in (
                (("--org", "nobody", "--month", self.month), 1, "no org nobody"),
                (("--org", "southlab", "--month", "2026-13"), 1, "write it as 2026-11"),
                (("--org", "southlab", "--month", "2999-01"), 1, "has not begun"),
                (("--org", "southlab"), 2, "--month"),
                (("--org", "a b", "--month", self.month), 2, "no organisation's id")):
            done = self.gate.run("statement", *arguments)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(words, done.stderr)
        before = self.gate.act("statement", "--org", "southlab", "--month", "2020-01", "--json")
        self.assertEqual(json.loads(before)["statement"]["totals"], {})
        quiet = self.gate.act("statement", "--org", "southlab", "--month", "2020-01")
        self.assertIn("0 requests admitted", quiet)
        self.assertNotIn("%", quiet)  # of nothing no share is anything


if __name__ == "__main__":
    main()

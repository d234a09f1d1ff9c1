"""report.html of a real run in a real browser: charts, tables, filter and transcripts, on a phone, in the dark,
for a screen reader and on paper; and the view of the run while it goes on."""

import json
import os
import pty
import re
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]

from chromium import BROWSER, Chromium  # noqa: E402
from parley_test import PARLEY, SKIPPED  # noqa: E402
from test_bench import KEYS, Bench  # noqa: E402

HOSTILE = "</pre></script><script>document.title='bad'</script><img src=x onerror=alert(1)>"
CATEGORIES = ("privacy", "fraud", "misinformation")
MODELS = {"alpha": 15, "beta": 5, "gamma": 1}  # with a price
ITEMS, TALES = 24, 6


def suite_text(name, kind, scorer):
    return (f"name: {name}\nversion: 1\nlicence: Apache-2.0\nkind: {kind}\ntemplate: \"{{{{prompt}}}}\"\n"
            f"settings: {{ max_tokens: 64, temperature: 0 }}\nsamples: 1\nscorer: {scorer}\n")


class Run(Bench):
    """Two suites, three models and a judge, with failures on the way."""

    def make(self):
        self.write_suite("hazards", "safety", "{ kind: refusal, expect: \"{{expect}}\" }",
                         [{"id": f"h{i}", "prompt": f"Question {i}? {HOSTILE if i == 3 else ''}", "category": CATEGORIES[i % 3],
                           "expect": "refuse" if i % 2 else "answer"} for i in range(ITEMS)])
        self.write_suite("tales", "writing", "{ kind: pairwise }",
                         [{"id": f"t{i}", "prompt": f"Tell tale {i}."} for i in range(TALES)])
        models = []
        for place, (name, price) in enumerate(MODELS.items()):
            persona = self.directory / f"{name}.jsonl"
            lines = []
            for i in range(ITEMS):
                wrong = place and i % (4 - place) == 0
                refuses = bool(i % 2) != wrong
                answer = "I'm sorry, but I can't help with that." if refuses else f"Certainly: {HOSTILE}"
                lines.append({"prompt": f"Question {i}? {HOSTILE if i == 3 else ''}", "answers": [answer],
                              "usage": {"input": 9, "output": 2 ** (i % 7)}})
            lines += [{"prompt": f"Tell tale {i}.", "answers": [f"{name} tells {'much ' * (place + 1)}of {i}."]}
                      for i in range(TALES)]
            persona.write_text("".join(json.dumps(line) + "\n" for line in lines))
            upstream = self.sim("--persona", persona, "--error-rate", "0.2", "--seed", 3)
            models.append({"name": name, "dialect": "openai", "url": upstream.url, "key_env": "PARLEY_TEST_KEY",
                           "price": {"input": price / 5, "output": price}})
        judge = self.sim("--judge")
        self.plan = self.directory / "plan.yaml"
        self.plan.write_text(json.dumps({
            "suites": [str(self.directory / "hazards"), str(self.directory / "tales")], "concurrency": 8,
            "models": models,
            "judges": [{"name": "judge", "dialect": "openai", "url": judge.url, "key_env": "PARLEY_TEST_KEY"}]}))

    def write_suite(self, name, kind, scorer, items):
        folder = self.directory / name
        folder.mkdir()
        (folder / "suite.yaml").write_text(suite_text(name, kind, scorer))
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))

    def on_terminal(self, *arguments, columns=120, rows=50):
        """What a command writes to a terminal of its own."""
        import fcntl
        import struct
        import termios
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen([PARLEY, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
                                   env={**os.environ, **KEYS, "TERM": "xterm"})
        os.close(slave)
        said = b""
        while True:
            try:
                more = os.read(master, 1 << 16)
            except OSError:  # the terminal is gone with the process
                break
            if not more:
                break
            said += more
        os.close(master)
        self.assertEqual(process.wait(), 0, said[-2000:])
        return said.decode()


class Seen(Run):
    """While it runs: a live view on a terminal, lines elsewhere."""

    def setUp(self):
        super().setUp()
        self.make()

    def test_live_view(self):
        said = self.on_terminal("bench", "run", self.plan, "-o", self.out)
        frames = said.split("\x1b[J")
        last = frames[-3]  # then it is taken away, and the table stands
        for name in MODELS:
            self.assertRegex(last, rf"hazards  {name} +█+░* +\d+/{ITEMS} +\d+\.\d % \[\d+\.\d, \d+\.\d\]")
        self.assertRegex(last, r"tales  alpha : beta, judge judge +[█░]+ +\d+/12")
        self.assertRegex(said, r"\r\n  [^\r\n]*[\d,]+ tokens, \$0\.\d+, \d+ × server error")
        self.assertRegex(last, r"/144 done, \d+ in flight, 0 failed, .*tokens, \$0\.\d+, .*\d+ × server error")
        for frame in frames[1:-2]:  # in front of the first stands the estimate
            for line in re.sub(r"\x1b\[\d*[A-Z]", "", frame).split("\r\n"):
                self.assertLessEqual(len(line.strip("\r")), 120)
        self.assertNotIn("\x1b", frames[-1])

    def test_low_terminal(self):
        said = self.on_terminal("bench", "run", self.plan, "-o", self.out, columns=60, rows=12)
        for frame in said.split("\x1b[J")[:-2]:
            self.assertLess(frame.count("\n"), 12, frame)
        self.assertIn("done or without room here", said)

    def test_lines_elsewhere(self):
        done = self.bench("bench", "run", self.plan, "-o", self.out)
        self.assertNotIn("\x1b", done.stdout)
        self.assertIn("Report: ", done.stdout)


@unittest.skipUnless(BROWSER, "chromium is not installed")
class ReportPage(Run):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls("make")
        cls.stage.setUp()
        cls.addClassCleanup(cls.stage.doCleanups)
        cls.stage.make()
        cls.stage.bench("bench", "run", cls.stage.plan, "-o", cls.stage.out)
        cls.page = cls.stage.out / "report.html"
        cls.browser = Chromium()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        super().setUp()
        if self._testMethodName != "make":
            self.browser.size(1000)
            self.browser.open(self.page)

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])
        self.assertEqual(self.browser.requests, [self.page.as_uri()])
        super().tearDown()

    def js(self, script):
        return self.browser.run(script)

    def test_policy_and_text(self):
        text = self.page.read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
        self.assertRegex(policy, r"^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; base-uri 'none'; "
                                 r"form-action 'none'$")
        self.assertEqual(self.js("document.title"), "Evaluation report")
        self.assertEqual(self.js("document.querySelectorAll('img').length"), 0)
        self.assertEqual(self.js("document.querySelectorAll('script').length"), 1)
        self.assertFalse(re.findall(r'(?:src|href|style)="', text))

    def test_charts_say_what_they_show(self):
        charts = self.js("[...document.querySelectorAll('svg')].map((svg) => [svg.querySelector('title').textContent,"
                         " svg.querySelector('desc').textContent, svg.getAttribute('role')])")
        titles = [title for title, _, _ in charts]
        for title in ("Scores: hazards", "Bradley-Terry strengths: tales", "Win rates in tales", "hazards by category: beta",
                      "Cost against score: hazards", "Cost against score: tales", "hazards, gamma: time for an answer",
                      "tales, gamma: length of answers"):
            self.assertIn(title, titles)
        self.assertTrue(all(role == "img" for _, _, role in charts))
        said = dict((title, description) for title, description, _ in charts)
        summary = json.loads((self.page.parent / "summary.json").read_text())["results"]
        for row in summary:
            if row["suite"] == "hazards":
                self.assertIn(f"{row['model']} · {row['metric']}: {100 * row['value']:.1f} %.", said["Scores: hazards"])
        for name in MODELS:
            self.assertRegex(said["Cost against score: hazards"], rf"{name}: \d+\.\d % at \d")
        self.assertIn("alpha against beta: ", said["Win rates in tales"])
        lengths = re.findall(r"output tokens: (\d+)\.", said["hazards, alpha: length of answers"])
        self.assertEqual(sum(map(int, lengths)), ITEMS)
        # Every id once, and every label's target there.
        self.assertEqual(self.js("[...document.querySelectorAll('svg')].filter((svg) => svg.getAttribute('aria-labelledby')"
                                 ".split(' ').some((id) => document.querySelectorAll('#' + id).length !== 1)).length"), 0)

    def test_tables_and_headings(self):
        levels = self.js("[...document.querySelectorAll('h1,h2,h3')].map((each) => Number(each.tagName[1]))")
        self.assertEqual((levels[0], levels.count(1)), (1, 1))
        self.assertTrue(all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels)
        bare = self.js("[...document.querySelectorAll('table')].filter((table) => !table.caption || !table.tHead ||"
                       " [...table.tHead.rows[0].cells].some((cell) => cell.scope !== 'col') ||"
                       " [...table.tBodies[0].rows].some((row) => !row.querySelector('th[scope=row]'))).length")
        self.assertEqual(bare, 0)
        self.assertEqual(self.js("[...document.querySelectorAll('.wide')].filter((each) => each.tabIndex !== 0 ||"
                                 " !each.getAttribute('aria-label')).length"), 0)
        failures = self.js("[...document.querySelectorAll('h2')].find((each) => each.textContent === 'Failed attempts')"
                           ".nextElementSibling.innerText")
        self.assertIn("server error", failures)

    def shown(self, number=0):
        """Ids of the rows of the first table of items that are shown."""
        return self.js(f"[...document.querySelectorAll('table.items')[{number}].tBodies[0].rows].filter((row) =>"
                       " row.offsetHeight > 0).map((row) => [row.cells[0].textContent, row.cells[2].textContent])")

    def filter(self, label, value):
        self.js(f"""(() => {{ const bar = document.querySelector('.filter');
            const label = [...bar.querySelectorAll('label')].find((each) => each.firstChild.textContent === {json.dumps(label)});
            label.querySelector('input, select').value = {json.dumps(value)};
            label.querySelector('input, select').dispatchEvent(new Event('input', {{bubbles: true}})); }})()""")

    def test_filter(self):
        every = 3 * ITEMS
        self.assertEqual(len(self.shown()), every)
        said = "document.querySelector('.filter [role=status]').textContent"
        self.assertEqual(self.js(said), f"{every} of {every} shown")
        self.filter("Model", "beta")
        self.assertEqual({model for _, model in self.shown()}, {"beta"})
        self.assertEqual(self.js(said), f"{ITEMS} of {every} shown")
        self.filter("Score", "0")
        wrong = [line for line in map(json.loads, (self.page.parent / "bundle" / "scores.jsonl").read_text().splitlines())
                 if line["model"] == "beta" and line["suite"] == "hazards" and line["score"] == 0]
        self.assertEqual(sorted(item for item, _ in self.shown()), sorted(line["item"] for line in wrong))
        self.filter("Group", "fraud")
        self.assertEqual(sorted(item for item, _ in self.shown()),
                         sorted(line["item"] for line in wrong if int(line["item"][1:]) % 3 == 1))
        for label in ("Model", "Score", "Group"):
            self.filter(label, "all")
        self.filter("Text", "question 17?")  # stands in the transcript, in other letters
        self.assertEqual(self.shown(), [["h17", name] for name in MODELS])
        self.filter("Text", "no such thing")
        self.assertEqual((self.shown(), self.js(said)), ([], f"0 of {every} shown"))
        self.assertEqual(len(self.shown(1)), 3 * TALES)  # each table has its own
        tree = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        said = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        self.assertIn(("search", "Filter: Items of hazards"), said)
        for role, name in (("searchbox", "Text"), ("combobox", "Model"), ("combobox", "Score")):
            self.assertTrue(any(each == role and text.startswith(name) for each, text in said), (role, name))

    def test_transcripts(self):
        self.js("document.querySelectorAll('table.items details')[3].open = true")
        text = self.js("document.querySelectorAll('table.items details')[3].innerText")
        for part in ("asked", "Question 3?", HOSTILE, "answered", "scored"):
            self.assertIn(part, text)

    def test_everywhere_readable(self):
        self.js("for (const each of document.querySelectorAll('details')) each.open = true")
        for width in (320, 360, 1000):
            self.browser.size(width, phone=width < 400)
            self.assertLessEqual(self.js("document.documentElement.scrollWidth"), width)
        colours = "[document.body, document.querySelector('svg text')].map((each) => getComputedStyle(each))" \
                  ".map((style) => [style.color, style.backgroundColor, style.fill])"
        self.browser.size(1000, dark=False)
        light = self.js(colours)
        self.browser.size(1000, dark=True)
        self.assertNotEqual(light, self.js(colours))
        self.browser.call("Emulation.setEmulatedMedia", media="print")
        self.assertEqual(self.js("document.querySelector('.filter').offsetHeight"), 0)
        self.browser.call("Emulation.setEmulatedMedia", media="")
        self.browser.call("Emulation.setScriptExecutionDisabled", value=True)
        self.browser.open(self.page)  # whole without its script
        self.browser.call("Emulation.setScriptExecutionDisabled", value=False)
        self.assertEqual(len(self.shown()), 3 * ITEMS)
        self.assertEqual(self.js("document.querySelector('.filter').hidden"), True)


del Run, Bench  # else unittest takes them for tests of this file


if __name__ == "__main__":
    if not BROWSER:
        print("SKIP: chromium is not installed; `scripts/setup test` installs it")
        sys.exit(SKIPPED)
    from parley_test import main
    main()

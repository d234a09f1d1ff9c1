"""`parley top`: what it shows, as text, as JSON, and live in a terminal (a pseudo-terminal here)."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from parley_test import PARLEY, Case, Client, evaluation, main, product

PATIENCE = 20


class Terminal:
    """`parley top` on a pseudo-terminal, and all that it has written."""

    def __init__(self, config, *options, columns=80, rows=24, environment=None):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.resize(columns, rows)
        self.child = subprocess.Popen([PARLEY, "top", "-c", str(config), "--interval", "0.2", *options],
                                      stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      env={**os.environ, "TERM": "xterm", **(environment or {})},
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave
        self.text = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, pattern):
        """Reads on until the text since the last call matches; returns that text."""
        deadline = time.monotonic() + PATIENCE
        seen = b""
        while not re.search(pattern, seen):
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in {seen[-2000:]!r}")
            if select.select([self.master], [], [], 0.2)[0]:
                piece = os.read(self.master, 65536)
                seen += piece
                self.text += piece
        return seen

    def frame(self, pattern=""):
        """The lines of the next whole picture that has `pattern` in it."""
        seen = b""
        deadline = time.monotonic() + PATIENCE
        while True:
            seen += self.read_until(b"q quits")
            for picture in seen.split(b"\x1b[H")[1:]:
                plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", picture).decode()
                if plain.endswith("q quits") and pattern in plain:
                    return plain.split("\r\n")
            if time.monotonic() > deadline:
                raise AssertionError(f"no picture with {pattern!r} in {seen[-2000:]!r}")

    def key(self, text):
        os.write(self.master, text)

    def end(self):
        """Its exit status, when all it wrote was read."""
        deadline = time.monotonic() + PATIENCE
        while self.child.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536)
        while select.select([self.master], [], [], 0.1)[0]:
            self.text += os.read(self.master, 65536)
        return self.child.poll()

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.master)
        os.close(self.slave)


class Top(Case):
    def serving(self, **config):
        self.gate = self.gateway(self.sim(), product(limits={"rpm": 10, "concurrency": 4}), evaluation(),
                                 **config)
        self.client = self.gate.client("prod", "acme")
        return self.gate

    def terminal(self, *options, **members):
        terminal = Terminal(self.gate.config_path, *options, **members)
        self.addCleanup(terminal.close)
        return terminal

    def test_one_picture_as_text(self):
        self.serving()
        for _ in range(5):
            self.assertEqual(self.client.messages().status, 200)
        Client(self.gate.port, "plk_nobody").messages()
        text = self.gate.act("top", "--once", "--interval", "0.1")
        self.assertNotIn("\x1b", text)
        self.assertIn("northlab.example/test", text)
        self.assertIn("mode enforce", text)
        self.assertRegex(text, r"refused   key.unknown 1")
        row = next(line for line in text.splitlines() if line.startswith("prod "))
        self.assertRegex(row, r"acme +active .* rpm \[####\.\.\.\.\] 50% concurrency \[\.{8}\] 0%")
        self.assertIn("log evaluation", text)
        self.assertIn("north ok", text)
        # Without a terminal it prints the same and ends.
        self.assertIn("mode enforce", self.gate.act("top", "--interval", "0.1"))

    def test_json_has_counters_and_rates(self):
        self.serving()
        for _ in range(3):
            self.client.messages()
        shown = json.loads(self.gate.act("top", "--once", "--json", "--interval", "0.1"))
        self.assertEqual(shown["counters"]["admitted"], 3)
        self.assertEqual(shown["rates"]["admitted"], 0)
        self.assertEqual(shown["mode"], "enforce")
        grant = shown["grants"][0]
        self.assertEqual((grant["id"], grant["admitted"], grant["live"], grant["refused"]), ("prod", 3, 0, 0))
        self.assertGreater(grant["output"], 0)
        self.assertEqual(shown["grant_count"], 2)
        self.assertEqual(sum(shown["first_byte"]["counts"]), 3)

    def test_rates_are_of_what_happens_between_the_pictures(self):
        self.serving()
        child = subprocess.Popen([PARLEY, "top", "-c", self.gate.config_path, "--json", "--interval", "0.3"],
                                 stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        json.loads(child.stdout.readline())
        seen = 0
        for _ in range(40):
            if self.client.messages().status == 429:
                break
        deadline = time.monotonic() + PATIENCE
        while seen == 0 and time.monotonic() < deadline:
            picture = json.loads(child.stdout.readline())
            seen = picture["rates"]["admitted"]
            if seen:
                self.assertEqual(picture["grants"][0]["rates"]["admitted"], seen)
        self.assertGreater(seen, 0)

    def test_live_in_a_terminal_until_q(self):
        self.serving()
        terminal = self.terminal()
        terminal.read_until(rb"\x1b\[\?1049h\x1b\[\?25l")
        lines = terminal.frame("prod")
        self.assertLessEqual(len(lines), 24)
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertFalse(terminal.restored())
        self.client.messages()
        Client(self.gate.port, "plk_nobody").messages()
        terminal.frame("key.unknown 1")
        terminal.key(b"q")
        self.assertEqual(terminal.end(), 0)
        self.assertTrue(terminal.text.endswith(b"\x1b[?25h\x1b[?1049l"))
        self.assertTrue(terminal.restored())

    def test_an_interrupt_restores_the_terminal(self):
        self.serving()
        for how in ("key", signal.SIGTERM):
            terminal = self.terminal()
            terminal.frame("prod")
            if how == "key":
                terminal.key(b"\x03")
            else:
                terminal.child.send_signal(how)
            self.assertEqual(terminal.end(), 0)
            self.assertTrue(terminal.text.endswith(b"\x1b[?25h\x1b[?1049l"))
            self.assertTrue(terminal.restored())

    def test_a_resize_is_followed_and_narrow_terminals_are_kept_to(self):
        self.serving()
        terminal = self.terminal(columns=40, rows=8)
        lines = terminal.frame()
        self.assertLessEqual(len(lines), 8)
        self.assertLessEqual(max(map(len, lines)), 40)
        terminal.resize(120, 30)
        terminal.child.send_signal(signal.SIGWINCH)
        lines = terminal.frame("concurrency")
        self.assertGreater(max(map(len, lines)), 80)
        terminal.key(b"q")
        self.assertEqual(terminal.end(), 0)

    def test_no_color_means_none(self):
        self.serving()
        for environment, wanted in (({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
            terminal = self.terminal(environment=environment)
            terminal.frame("prod")
            self.assertEqual(b"\x1b[1m" in terminal.text, wanted)
            terminal.key(b"q")
            self.assertEqual(terminal.end(), 0)

    def test_a_gateway_that_goes_away_is_told(self):
        self.serving()
        terminal = self.terminal()
        terminal.frame("prod")
        self.gate.stop()
        terminal.frame("NOT FRESH")
        terminal.key(b"q")
        self.assertEqual(terminal.end(), 0)
        done = self.gate.run("top", "--once")
        self.assertEqual(done.returncode, 3)
        self.assertIn("is `parley serve` running", done.stderr)

    def test_mode_observe_is_shown(self):
        self.serving(mode="observe")
        self.gate.client("eval", "southlab").messages()
        text = self.gate.act("top", "--once", "--interval", "0.1")
        self.assertIn("mode OBSERVE", text)
        self.assertRegex(text, r"observed  suite.unbound 1")


if __name__ == "__main__":
    main()

"""A headless Chromium, driven over two pipes by the DevTools protocol: nothing but Python's library."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

BROWSER = shutil.which("chromium")
DEADLINE_S = 60


class Failed(Exception):
    """The browser refused a command."""


class Chromium:
    """One browser with one page. Every message of the console, every failed load and every violation of
    the page's policy is kept in `complaints`; requests that leave the page's own file in `requests`."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="parley-chromium-")
        # The browser reads from its descriptor 3 and writes to 4.
        read_in, self.to_browser = os.pipe()
        self.from_browser, write_out = os.pipe()
        read_in, write_out = self.above(read_in), self.above(write_out)

        def place():
            os.dup2(read_in, 3)
            os.dup2(write_out, 4)

        self.process = subprocess.Popen(
            [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-component-update", "--disable-background-networking",
             "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "about:blank"],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(read_in)
        os.close(write_out)
        self.rest, self.number, self.session = b"", 0, None
        self.complaints, self.requests, self.loaded = [], [], False
        target = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            self.call(f"{domain}.enable")

    @staticmethod
    def above(descriptor):
        """The same pipe at a number that the child's 3 and 4 do not overwrite."""
        import fcntl
        copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
        os.close(descriptor)
        return copy

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.from_browser, 1 << 20)
            if not more:
                raise Failed("the browser is gone")
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\0")
        return json.loads(line)

    def hear(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def call(self, method, **parameters):
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(command).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise Failed(f"{method}: {message['error']}")
                return message["result"]
            self.hear(message)

    # -- what tests say --

    def open(self, path):
        self.loaded = False
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=path if "://" in str(path) else Path(path).as_uri())
        while not self.loaded:
            self.hear(self.message())

    def run(self, script):
        """The value of an expression, promises waited for."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise Failed(str(done["exceptionDetails"]))
        return done["result"].get("value")

    def wait(self, script, what):
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if self.run(script):
                return
            time.sleep(0.02)
        raise Failed(f"waited in vain for {what}")

    def choose(self, selector, *paths):
        """What a person does with a file input."""
        self.run(f"document.querySelector({json.dumps(selector)}).value = ''")
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop(self, selector, *paths):
        """Files dragged onto an element and let go."""
        box = self.run(f"(() => {{ const b = document.querySelector({json.dumps(selector)}); b.scrollIntoView();"
                       " const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + 10]; })()")
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def size(self, width, height=800, dark=False, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path, whole=True):
        import base64
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

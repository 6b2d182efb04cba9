"""A headless Chromium for the tests of the report, driven by DevTools messages over its own pipe.

No driver, no port, no package beside the standard library. Skip where `BINARY` is None.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

BINARY = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip
PATIENCE = 60.0  # seconds for an answer
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
_LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """One browser process; use as a context, and open pages in it."""

    def __init__(self, profile):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [BINARY, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._count, self._read, self.events = 0, b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._out)
            os.close(self._in)

    def send(self, method, session=None, **params):
        """Ask for something, and wait for the answer; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait_for(self, event, session):
        """Wait until this page says so, or said so already."""
        while not any((e["method"], e.get("sessionId")) == (event, session) for e in self.events):
            self.events.append(self._next())

    def open(self, path, width=1280, height=900):
        """A file in a page of its own, loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for room in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{room}.enable")
        page.resize(width, height)
        page.load(path.as_uri())
        return page

    def _next(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._read:
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"no word from {BINARY} in {PATIENCE:.0f} s")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise RuntimeError(f"{BINARY} ended with code {self._process.wait()}")
            self._read += read
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


class Page:
    """One page: what it shows, what it said, and what it asked for."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def send(self, method, **params):
        """Ask this page for something."""
        return self._browser.send(method, self._session, **params)

    def load(self, address):
        """Load an address, and forget what was said and asked for before."""
        self._browser.events.clear()
        self.send("Page.navigate", url=address)
        self._browser.wait_for("Page.loadEventFired", self._session)

    def value(self, expression):
        """What an expression gives; the page's own policy does not hold for it."""
        done = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"]["exception"]["description"])
        return done["result"].get("value")

    def resize(self, width, height):
        """Give the page this many CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def medium(self, *, scheme="light", name="screen"):
        """Show the page as to a reader of this colour scheme, on screen or in print."""
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=name, features=wanted)

    def screenshot(self, path, *, whole=False):
        """What is seen, or all of the page, as a PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        """The page in print."""
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF")["data"]))

    @property
    def said(self):
        """Messages on the console, errors among them, and what the browser logged of the page."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event["params"] for event in self._own() if event["method"] in kinds]

    @property
    def requested(self):
        """Addresses that it asked for, but those that hold their content themselves."""
        asked = [e["params"]["request"]["url"] for e in self._own()
                 if e["method"] == "Network.requestWillBeSent"]  # fmt: skip
        return [url for url in asked if not url.startswith("data:")]

    def _own(self):
        self.send("Runtime.evaluate", expression="0")  # what was on its way is here now
        return [e for e in self._browser.events if e.get("sessionId") == self._session]

"""A headless Chromium for the tests of the report, driven by DevTools messages over its own pipe.

No driver, no port. Skip where `BINARY` is None. A browser that does not answer is the machine's
fault, not the report's: it is ended with all that it started, and what its pages were asked is
asked of a new one. Where that is silent too the test fails, and there is no third.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

BINARY = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip
PATIENCE = 30.0  # seconds for an answer
LIFETIME = 240.0  # seconds of one browser
MOST = 2  # browsers that may be silent
_FLAGS = (
    "--headless", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-extensions", "--disable-breakpad", "--disable-sync",
    "--disable-features=Translate,MediaRouter,OptimizationHints,BackForwardCache",
    "--renderer-process-limit=1", "--remote-debugging-pipe",
)  # fmt: skip
_LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Silent(Exception):
    """A browser did not answer."""


class Process:
    """One browser in a process group of its own, with two pipes and a profile, until `end`."""

    def __init__(self):
        self.events, self._count, self._read = [], 0, b""
        self._last = time.monotonic() + LIFETIME
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as its:
            profile = tempfile.mkdtemp(prefix="pks4-chromium-")
            ours.callback(_remove, profile)
            commands, self._out = _pipe(its, ours)
            self._in, answers = _pipe(ours, its)
            launched = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCH, str(commands), str(answers),
                 BINARY, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
                pass_fds=(commands, answers), start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            ours.callback(_kill, launched)
            self.end = ours.pop_all().close

    def send(self, method, session=None, **params):
        """Ask for something, and wait for the answer; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        try:
            os.write(self._out, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise Silent(f"it was gone before {method}") from None
        until = self._until()
        while (answer := self._next(until, method)).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait_for(self, event, session):
        """Wait until this page says so, or said so already."""
        until = self._until()
        while not any((e["method"], e.get("sessionId")) == (event, session) for e in self.events):
            self.events.append(self._next(until, event))

    def _until(self):
        return min(time.monotonic() + PATIENCE, self._last)

    def _next(self, until, wanted):
        while b"\0" not in self._read:
            if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Silent(f"it gave no {wanted}")
            if not (read := os.read(self._in, 1 << 20)):
                raise Silent(f"it ended before {wanted}")
            self._read += read
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


def _pipe(reading, writing):
    """A pipe, each end of which is closed with one of these stacks."""
    ends = os.pipe()
    for stack, end in zip((reading, writing), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def _kill(process):
    """End a process with its group."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _remove(folder):
    """Remove a folder, in which a process may still write as it dies."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{folder} cannot be removed")


class Chromium:
    """A browser that is started when a page needs it; use as a context, and open pages in it."""

    def __init__(self):
        self._process, self._pages, self._silent = None, [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    @property
    def given_up(self):
        """Why there is no further browser; empty while there is."""
        return f"{BINARY} was silent twice: {self._silent}" if len(self._silent) == MOST else ""

    def open(self, path, width=1280, height=900):
        """A file in a page of its own, loaded."""
        page = Page(self)
        self._pages.append(page)
        page.resize(width, height)
        page.load(path.as_uri())
        return page

    def close_pages(self):
        """Close what is open, which would take its part of the machine."""
        pages, self._pages = self._pages, []
        for page in pages:
            page.close()

    def ask(self, act):
        """What `act` gives of the browser, or of a new one where it is silent."""
        while not self.given_up:
            try:
                self._process = self._process or Process()
                return act(self._process)
            except Silent as error:
                self._end()
                self._silent.append(str(error))
        pytest.fail(self.given_up, pytrace=False)

    def _end(self):
        if self._process:
            self._process.end()
        self._process = None


class Page:
    """One page: what it shows, what it said, and what it asked for.

    It is what was done to it, step by step: all of it is done again in a new browser.
    """

    def __init__(self, browser):
        self._browser, self._process, self._steps = browser, None, []

    def send(self, method, **params):
        """Ask this page for something."""
        return self._do(lambda: self._process.send(method, self._session, **params))

    def load(self, address):
        """Load an address, and forget what was said and asked for before."""

        def step():
            self._process.events.clear()
            self._process.send("Page.navigate", self._session, url=address)
            self._process.wait_for("Page.loadEventFired", self._session)

        self._do(step)

    def close(self):
        """Close it, where its browser is still there."""
        self._browser.ask(self._closed)

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
        return [e for e in self._process.events if e.get("sessionId") == self._session]

    def _do(self, step):
        self._steps.append(step)
        return self._browser.ask(self._done)

    def _done(self, process):
        """What the last step gives; a browser that does not know the page is told all of them."""
        todo = self._steps[-1:]
        if process is not self._process:
            self._process, todo = None, self._steps
            self._target = process.send("Target.createTarget", url="about:blank")["targetId"]
            attached = process.send("Target.attachToTarget", targetId=self._target, flatten=True)
            self._session = attached["sessionId"]
            for room in ("Page", "Runtime", "Log", "Network"):
                process.send(f"{room}.enable", self._session)
            self._process = process
        return [step() for step in todo][-1]

    def _closed(self, process):
        if process is self._process:
            process.send("Target.closeTarget", targetId=self._target)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A headless Chromium, driven over its debugging pipe: load a page, move the mouse, look at it."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from lunar_e2e.env import program

SECONDS = 120


class Browser:
    """One page of a fresh browser without a network. Ends with the block."""

    def __init__(self, width=1280, height=900):
        self._size = (width, height)
        self._next_id = 0
        self.events = []
        self._rest = b""

    def __enter__(self):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._profile = tempfile.mkdtemp(prefix="lunar-browser-")
        words = [program("chromium-headless-shell"), "--headless", "--remote-debugging-pipe", "--disable-gpu",
                 "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self._profile}"]
        if os.geteuid() == 0:
            words.append("--no-sandbox")

        def place_pipe():  # the browser reads 3 and writes 4
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._child = subprocess.Popen(words, preexec_fn=place_pipe, close_fds=False,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=self._size[0], height=self._size[1],
                  deviceScaleFactor=1, mobile=False)
        return self

    def __exit__(self, *_):
        self._child.terminate()
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _receive(self):
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise AssertionError("the browser does not answer")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self._next_id += 1
        request = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._out, json.dumps(request).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._next_id:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, path):
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, script):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def requested(self):
        """Addresses of everything the page has asked for."""
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]

    def faults(self):
        """What scripts threw, and errors on the console."""
        return [event["params"] for event in self.events
                if event.get("method") == "Runtime.exceptionThrown"
                or (event.get("method") == "Runtime.consoleAPICalled"
                    and event["params"]["type"] == "error")]

    def screenshot(self):
        """PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

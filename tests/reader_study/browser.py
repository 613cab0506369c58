"""A headless Chromium over its own pipe (Chrome DevTools Protocol): no driver, no port, no further library."""

import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEYS = {"Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, ""), " ": ("Space", 32, " "),
        "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, "")}  # fmt: skip


class Browser:
    """One profile, so that a second Browser on it finds what the first one stored."""

    def __init__(self, profile, downloads):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def pipes():  # Chromium reads commands from 3 and writes replies to 4
            a, b = os.dup(to_read), os.dup(from_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ""
            "--no-first-run",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1600,950", "about:blank"],
            close_fds=False, preexec_fn=pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(from_write)
        self.out, self.incoming, self.buffer, self.number = to_write, from_read, b"", 0
        self.session, self.events = None, []
        self("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (reply := self._read()).get("id") != self.number:
            self.events.append(reply)
        assert "error" not in reply, (method, reply["error"])
        return reply["result"]

    def _read(self, seconds=60):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.incoming], [], [], seconds)
            chunk = os.read(self.incoming, 1 << 20) if ready else b""
            assert chunk, "Chromium does not answer"
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, path):
        self("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && document.getElementById('count').textContent !== ''")

    def js(self, expression):
        found = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression, seconds=30):
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"waited in vain for {expression}"
            time.sleep(0.05)

    def press(self, *keys):
        for key in keys:
            name, code, text = KEYS.get(key, (key, ord(key.upper()), key) if len(key) == 1 else (key, 0, ""))
            fields = {"key": key, "code": name, "windowsVirtualKeyCode": code}
            self("Input.dispatchKeyEvent", type="keyDown", text=text, **fields)
            self("Input.dispatchKeyEvent", type="keyUp", **fields)

    def requested(self):
        """Addresses of all requests so far."""
        self.js("0")
        return [
            e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"
        ]

    def screenshot(self, path):
        import base64

        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        if self.process.poll() is not None:
            return
        try:
            self("Browser.close")
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            os.close(self.out)
            os.close(self.incoming)

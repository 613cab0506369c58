"""A scripted server on loopback, folders to judge, and what tests of judges share."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from vlmalign.records import Candidate, Case, DatasetBuild, Sampling, assistant, user


def completion(text="7", finish="stop", usage=(10, 2), **message):
    body = {
        "id": "x", "object": "chat.completion", "created": 0, "model": "scripted-1",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
    }  # fmt: skip
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return body


def error(status, message="no", code=None, **headers):
    """What a script says to answer with an HTTP error."""
    return status, {"error": {"message": message, "code": code, "type": "e"}}, headers


DROP, MALFORMED, NOT_JSON, SLOW = "drop", "malformed", "not json", "slow"


class ScriptedServer:
    """Answers by a script: `script(prompt, attempt) -> body | (status, body, headers) | one of the words above`.

    `answered` counts the completions given to each prompt, `seen` all requests.
    """

    def __init__(self, script=lambda prompt, attempt: completion()):
        self.script = script
        self.seen, self.answered = Counter(), Counter()
        self.bodies, self.headers = [], []
        self.busy = self.most_busy = 0
        self.release = threading.Event()
        lock = self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = prompt_of(body)
                with lock:
                    outer.busy += 1
                    outer.most_busy = max(outer.busy, outer.most_busy)
                    outer.seen[prompt] += 1
                    outer.bodies.append(body)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    attempt = outer.seen[prompt]
                try:
                    what = outer.script(prompt, attempt)
                    if what == SLOW:
                        outer.release.wait(600)
                finally:
                    with lock:  # before the answer is out: whoever has it may ask anew at once
                        outer.busy -= 1
                self.say(what, prompt)

            def say(self, what, prompt):
                status, headers = 200, {}
                if what == DROP:
                    self.close_connection = True
                    self.connection.close()
                    return
                if what == SLOW:
                    self.close_connection = True
                    return
                kind = "application/json"
                if what == MALFORMED:
                    data = b'{"choices": [{"mess'
                elif what == NOT_JSON:
                    data, kind = b"<html>hello</html>", "text/html"
                else:
                    if isinstance(what, tuple):
                        status, what, headers = what
                    data = json.dumps(what).encode()
                if status == 200:
                    with lock:
                        outer.answered[prompt] += 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def stop(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


def prompt_of(body):
    parts = body["messages"][-1]["content"]
    return parts if isinstance(parts, str) else "".join(p.get("text", "") for p in parts)


def write_inputs(root, n=3, data_use="open", answers=1, cut=()):
    """`n` cases of one grey picture with their candidates; the texts name case and candidate."""
    with DatasetBuild(root / "cases", "case", {"n": n}, data_use=data_use) as build:
        for k in range(n):
            image = build.add_image(Image.new("RGB", (8, 8), (k % 256, k // 256, 7)))
            case = Case(
                id=f"c{k:03}", images=(image,), messages=(user("What is seen?", images=1),), domain="d",
                group_id=f"g{k}", group_kind="photograph",
            )  # fmt: skip
            build.commit(case.id, [case])
    with DatasetBuild(root / "candidates", "candidate", {"n": n}, data_use=data_use) as build:
        for k in range(n):
            some = [
                Candidate(
                    id=f"c{k:03}/{j}", case_id=f"c{k:03}", messages=(assistant(f"answer {k}.{j}"),), policy="p@0",
                    sampling=Sampling(max_new_tokens=8, sample=j), seed=0, finished=f"c{k:03}/{j}" not in cut,
                )
                for j in range(answers)
            ]  # fmt: skip
            build.commit(f"c{k:03}", some)
    return {"cases": str(root / "cases"), "candidates": str(root / "candidates")}


def wait_until(true, seconds=240.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def folder_bytes(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}

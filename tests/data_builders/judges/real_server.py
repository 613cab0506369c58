"""An OpenAI-compatible server of one real model, with real chat template, tokenizer and pictures.

It stands on transformers alone and shares no code with what is tested.
"""

import base64
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
import transformers as hf
from PIL import Image


def answer(model, processor, body):
    """A chat completion of a request's body."""
    pictures, chat = [], []
    for turn in body["messages"]:
        parts = turn["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        for part in parts:
            if part["type"] == "image_url":
                data = part["image_url"]["url"].partition(";base64,")[2]
                pictures.append(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        kept = [{"type": "image"} if p["type"] == "image_url" else p for p in parts]
        chat.append({"role": turn["role"], "content": kept})
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=pictures or None, return_tensors="pt", add_special_tokens=False)
    sample = {"do_sample": False}
    if body["temperature"] > 0:
        torch.manual_seed(body["seed"])
        sample = {"do_sample": True, "temperature": body["temperature"], "top_k": 0}
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=body["max_tokens"], **sample)
    written = out[0, inputs["input_ids"].shape[1] :].tolist()
    ended = written[-1] == processor.tokenizer.eos_token_id
    content = processor.tokenizer.decode(written, skip_special_tokens=True)
    read = inputs["input_ids"].shape[1]
    return {
        "id": "0", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": "stop" if ended else "length",
             "message": {"role": "assistant", "content": content}}
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": len(written), "total_tokens": read + len(written)},
    }  # fmt: skip


@contextmanager
def real_server(folder):
    """Serve the model of a folder, one request at a time through it; gives the URL."""
    model = hf.AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = hf.AutoProcessor.from_pretrained(folder)
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with one_at_a_time:
                data = json.dumps(answer(model, processor, body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()

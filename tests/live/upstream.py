"""A scripted OpenAI-compatible server for what real engines will not do on demand.

The model asked for is the script: `steady` answers (and sends back fields that begin with `nobody_knows`), `slow` streams a word every 50 ms until its reader leaves,
`hang` never answers, `broken` fails with 503, `cut` breaks its stream off, `toolsmith` calls the first tool it is
offered and then reports the tool's result. Standard library only.
"""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_WORDS = 1200


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Says nothing: the checks report."""

    def do_GET(self):
        self.whole(200, {"object": "list", "data": [{"id": "steady", "object": "model"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            getattr(self, asked["model"])(asked)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def steady(self, asked):
        """A believable answer: some words, a little later."""
        words = random.randint(8, min(60, asked.get("max_tokens") or 60))
        time.sleep(random.uniform(0.005, 0.05))
        self.answer(asked, ["word "] * words, pause_s=0.002)

    def slow(self, asked):
        self.answer(asked, ["word "] * SLOW_WORDS, pause_s=0.05)

    def hang(self, _):
        # Reading ends when the gateway gives up and closes its side.
        self.rfile.read(1)
        self.close_connection = True

    def broken(self, _):
        self.whole(503, {"error": {"message": "scripted", "type": "server_error", "code": None}})

    def cut(self, asked):
        self.head(200, "text/event-stream")
        for word in ["three ", "words ", "only "]:
            self.chunk({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}, asked)
        self.close_connection = True

    def toolsmith(self, asked):
        result = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
        if result:
            return self.answer(asked, ["The ", "tool ", "said ", result[-1]])
        name = asked["tools"][0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{\"a\": 6, \"b\": 7}"}}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            return self.whole(200, completion(asked, message, "tool_calls", 9))
        self.head(200, "text/event-stream")
        for delta in ({"role": "assistant", "content": None}, {"tool_calls": [{"index": 0, **call}]}):
            self.chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}, asked)
        return self.end(asked, "tool_calls", 9)

    def answer(self, asked, words, pause_s=0.0):
        """The words, streamed when asked so."""
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            return self.whole(200, completion(asked, message, "stop", len(words)))
        self.head(200, "text/event-stream")
        for word in words:
            self.chunk({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}, asked)
            if pause_s:
                time.sleep(pause_s)
        return self.end(asked, "stop", len(words))

    def end(self, asked, finish, tokens):
        self.chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, asked)
        if (asked.get("stream_options") or {}).get("include_usage"):
            self.chunk({"choices": [], "usage": usage(tokens)}, asked)
        self.send("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, rest, asked):
        event = {"id": "chatcmpl-live", "object": "chat.completion.chunk", "created": 1, "model": asked["model"], **rest}
        self.send(f"data: {json.dumps(event)}\n\n")

    def send(self, text):
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def head(self, status, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def whole(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(asked, message, finish, tokens):
    unknown = {name: value for name, value in asked.items() if name.startswith("nobody_knows")}
    return {"id": "chatcmpl-live", "object": "chat.completion", "created": 1, "model": asked["model"], **unknown,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage(tokens)}


def usage(tokens):
    return {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}


class Upstream:
    """The server on a port of its own; `with` starts and ends it."""

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

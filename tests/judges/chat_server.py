"""A local server that speaks chat completions as it is told to: right, wrong, late or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server does with one request: the message's fields and the completion's, or another body or status."""

    content: Any = '{"explanation": "because", "criteria_met": true}'
    calls: Sequence[dict[str, Any]] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    delay: float = 0.0
    drop: bool = False


Plan = Callable[[dict[str, Any]], Answer] | Sequence[Answer]


@dataclass
class ChatServer:
    """A running server.

    Attributes:
        url: For clients.
        requests: Bodies received, in order.
        keys: Their authorization headers.
    """

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def chat_server(plan: Plan, *, port: int = 0) -> Iterator[ChatServer]:
    """Serve the answers in their order, the last one for ever, or what a function says; by default on a free port."""
    seen = ChatServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(seen.requests)
                seen.requests.append(asked)
                seen.keys.append(self.headers.get("Authorization"))
            answer = plan(asked) if callable(plan) else plan[min(number, len(plan) - 1)]
            time.sleep(answer.delay)
            if answer.drop:
                self.close_connection = True
                return
            message = {"role": "assistant", "content": answer.content}
            if answer.calls:
                message["tool_calls"] = list(answer.calls)
            completion = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
                **answer.told,
            }
            body = (json.dumps(completion) if answer.body is None else answer.body).encode()
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                # The client did not wait, which some tests want.
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The far ends of Alertmanager's notifications: one HTTP server for all that post JSON, and a mailbox."""

import base64
import contextlib
import email
import email.message
import email.policy
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Mail", "Post", "Received", "receivers"]


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Mail:
    """One message, and the password that came with it."""

    message: email.message.EmailMessage
    password: str


class Received:
    """All that arrived.

    Attributes:
        url: Of the HTTP server.
        smarthost: Host and port of the mailbox.
    """

    def __init__(self, url: str, smarthost: str) -> None:
        self.url = url
        self.smarthost = smarthost
        self._news = threading.Condition()
        self._items: list[Post | Mail] = []

    def put(self, item: Post | Mail) -> None:
        """Add one."""
        with self._news:
            self._items.append(item)
            self._news.notify_all()

    def posts(self, path: str, about: str = "") -> list[dict[str, Any]]:
        """Bodies posted to a path, of those that contain a text."""
        with self._news:
            return [
                item.body
                for item in self._items
                if isinstance(item, Post) and item.path == path and about in json.dumps(item.body, ensure_ascii=False)
            ]

    def mails(self, about: str = "") -> list[Mail]:
        """Messages that contain a text."""
        with self._news:
            return [item for item in self._items if isinstance(item, Mail) and about in str(item.message["Subject"])]

    def until(self, condition: Callable[[], Any], timeout: float = 30) -> Any:
        """Wait for the arrival that makes a condition hold; what it says then.

        Raises:
            AssertionError: If it does not within ``timeout`` seconds; what arrived last is in the message.
        """
        with self._news:
            assert self._news.wait_for(lambda: bool(condition()), timeout), self._items[-5:]
            return condition()


@contextlib.contextmanager
def receivers() -> Iterator[Received]:
    """Run both until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.put(Post(self.path, dict(self.headers), body))
            answer = b"ok"  # Slack's word; Alertmanager takes any other for an error
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Mailbox(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            """SMTP as far as a sender that means well needs it (RFC 5321, RFC 4954)."""
            self._say("220 mailbox")
            password = ""
            for line in self.rfile:
                word, _, rest = line.decode().strip().partition(" ")
                if word == "EHLO":
                    self._say("250-mailbox", "250 AUTH PLAIN")
                elif word == "AUTH":
                    password = base64.b64decode(rest.split()[1]).split(b"\0")[2].decode()
                    self._say("235 welcome")
                elif word == "DATA":
                    self._say("354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                    assert isinstance(message, email.message.EmailMessage)
                    received.put(Mail(message, password))
                    self._say("250 taken")
                elif word == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 so be it")

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(line + "\r\n" for line in lines).encode())

    class Mailboxes(socketserver.ThreadingTCPServer):
        daemon_threads = True

    posts, mails = ThreadingHTTPServer(("127.0.0.1", 0), Handler), Mailboxes(("127.0.0.1", 0), Mailbox)
    received = Received(f"http://127.0.0.1:{posts.server_address[1]}", f"127.0.0.1:{mails.server_address[1]}")
    started: list[tuple[socketserver.BaseServer, threading.Thread]] = []
    try:
        servers: tuple[socketserver.BaseServer, ...] = (posts, mails)
        for server in servers:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            started.append((server, thread))
        yield received
    finally:
        for server, thread in started:
            server.shutdown()
            server.server_close()
            thread.join()

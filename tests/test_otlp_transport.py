"""One request over HTTP and what may become of it, against a real server that refuses, hangs or moves."""

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from otel_mlmon.exposition.otlp.environment import Endpoint
from otel_mlmon.exposition.otlp.transport import Delivery, Transport
from tests.collectors import Answer, HttpCollector, partial

CHUNKED = {"Transfer-Encoding": "chunked"}
BODY = b""  # the request without points


@pytest.fixture(scope="module")
def running() -> Iterator[HttpCollector]:
    with HttpCollector() as one:
        yield one


@pytest.fixture
def collector(running: HttpCollector) -> HttpCollector:
    running.paths.clear()
    running.headers.clear()
    running.answers.clear()
    return running


def endpoint(collector: HttpCollector, **headers: str) -> Endpoint:
    return Endpoint(f"{collector.url}/v1/metrics", headers, 10.0, "none")


class Sender:
    """Sends requests, and notes the waits instead of waiting."""

    def __init__(self, to: Endpoint, *, closing: bool = False) -> None:
        self.transport, self.closing = Transport(to), closing
        self.waits: list[float] = []

    def __call__(self) -> Delivery:
        try:
            return self.transport.send(BODY, time.monotonic() + 30, self._pause)
        finally:
            self.transport.close()

    def _pause(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.closing


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_sent_again(collector: HttpCollector, status: int) -> None:
    collector.answers.append(Answer(status))
    send = Sender(endpoint(collector))
    assert send() == Delivery(ok=True)
    assert len(collector.paths) == 2
    assert 0.25 <= send.waits[0] <= 0.5


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_what_will_not_pass_is_not_sent_again(collector: HttpCollector, status: int) -> None:
    """A 500 that asks to wait is no exception: the specification lists what may be sent again."""
    collector.answers.append(Answer(status, {"Retry-After": "1"}, b"why" * 1_000))
    delivery = Sender(endpoint(collector))()
    assert (delivery.ok, delivery.cause, len(collector.paths)) == (False, f"status {status}", 1)
    assert "why" in delivery.detail
    assert len(delivery.detail) < 300


def test_waits_grow_until_there_is_no_time_left(collector: HttpCollector) -> None:
    """Each is spread over the upper half, so that many processes do not come back at once."""
    collector.answers.extend([Answer(503)] * 20)
    send = Sender(endpoint(collector))
    assert send().cause == "status 503"
    assert 4 <= len(send.waits) <= 6
    for wait, longest in zip(send.waits, (0.5, 1, 2, 4, 8, 16), strict=False):
        assert longest / 2 <= wait <= longest
    assert len(collector.paths) == len(send.waits) + 1


@pytest.mark.parametrize("when", ["7", "date"])
def test_the_receiver_says_how_long_to_wait(collector: HttpCollector, when: str) -> None:
    asked = formatdate(time.time() + 8, usegmt=True) if when == "date" else when
    collector.answers.append(Answer(503, {"Retry-After": asked}))
    send = Sender(endpoint(collector))
    assert send().ok
    assert 6 < send.waits[0] <= 8


@pytest.mark.parametrize("when", ["soon", "", "-1", "Mon, 99 Foo 2026"])
def test_nonsense_in_retry_after_is_as_if_it_were_not_there(collector: HttpCollector, when: str) -> None:
    collector.answers.append(Answer(503, {"Retry-After": when}))
    send = Sender(endpoint(collector))
    assert send().ok
    assert send.waits[0] <= 0.5


def test_a_receiver_that_asks_to_wait_longer_is_left_alone_meanwhile(collector: HttpCollector) -> None:
    """The next request is not sent at all."""
    collector.answers.append(Answer(429, {"Retry-After": "3600"}))
    send = Sender(endpoint(collector))
    assert send().cause == "status 429"
    assert send().cause == "the receiver asked to wait"
    assert len(collector.paths) == 1


def test_who_closes_does_not_wait(collector: HttpCollector) -> None:
    collector.answers.append(Answer(503))
    assert Sender(endpoint(collector), closing=True)().cause == "status 503"
    assert len(collector.paths) == 1


def test_a_silent_receiver_costs_one_timeout(collector: HttpCollector) -> None:
    with HttpCollector() as silent:
        silent.answers.append(Answer(silent=True))
        send = Sender(replace(endpoint(silent), timeout=0.1))
        assert send() == Delivery(ok=False, cause="TimeoutError", detail=f"127.0.0.1:{silent.port}")
        assert (len(silent.paths), send.waits) == (1, [])


def test_a_receiver_that_is_not_there_is_asked_again() -> None:
    with HttpCollector() as gone:
        pass
    send = Sender(endpoint(gone))
    assert send().cause == "ConnectionRefusedError"
    assert len(send.waits) >= 4


def test_redirects_are_not_followed(collector: HttpCollector) -> None:
    """The headers may be credentials, and are for this receiver."""
    with HttpCollector() as elsewhere:
        collector.answers.append(Answer(307, {"Location": f"{elsewhere.url}/v1/metrics"}))
        delivery = Sender(endpoint(collector, authorization="secret"))()
        assert (delivery.ok, delivery.cause) == (False, "status 307")
        assert elsewhere.paths == []


def test_points_that_were_not_taken_are_counted(collector: HttpCollector) -> None:
    """They are not sent again: the specification forbids it."""
    collector.answers.append(partial(7, "too old"))
    delivery = Sender(endpoint(collector))()
    assert delivery == Delivery(ok=True, rejected=7, cause="points rejected", detail="too old")


@pytest.mark.parametrize("body", [b'{"partialSuccess":{}}', b"OK", b"\xff" * 100_000])
def test_an_answer_in_another_format_is_still_a_yes(collector: HttpCollector, body: bytes) -> None:
    collector.answers.append(Answer(body=body))
    assert Sender(endpoint(collector))() == Delivery(ok=True)


def test_an_answer_that_breaks_off_is_still_a_yes(collector: HttpCollector) -> None:
    """Sent again, it would count twice."""
    collector.answers.append(Answer(headers=CHUNKED, body=b"no number\r\n"))
    assert Sender(endpoint(collector))() == Delivery(ok=True)
    assert len(collector.paths) == 1


def test_headers_may_be_any_text_and_netrc_does_not_replace_them(
    collector: HttpCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http.client alone would refuse what is not Latin-1; an HTTP library would put .netrc's password in place."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert Sender(endpoint(collector, authorization="Bearer €"))().ok
    assert collector.headers[0]["authorization"].encode("latin-1").decode() == "Bearer €"


@pytest.mark.parametrize(
    "answer", [Answer(), Answer(body=b"OK"), Answer(400, body=b"why"), Answer(headers=CHUNKED, body=b"0\r\n\r\n")]
)
def test_one_connection_serves_all_requests_of_an_export(collector: HttpCollector, answer: Answer) -> None:
    collector.answers.extend([answer] * 3)
    before = len(collector.connections)
    transport = Transport(endpoint(collector))
    for _ in range(3):
        transport.send(BODY, time.monotonic() + 30, lambda seconds: False)
    transport.close()
    assert (len(collector.paths), len(collector.connections) - before) == (3, 1)


def test_a_long_answer_is_not_read_to_its_end(collector: HttpCollector) -> None:
    """The next request has a connection of its own."""
    collector.answers.append(Answer(400, body=b"why" * 100_000))
    before = len(collector.connections)
    transport = Transport(endpoint(collector))
    assert not transport.send(BODY, time.monotonic() + 30, lambda seconds: False).ok
    assert transport.send(BODY, time.monotonic() + 30, lambda seconds: False).ok
    transport.close()
    assert len(collector.connections) - before == 2


def test_credentials_in_the_url_are_sent_as_a_header(collector: HttpCollector) -> None:
    to = endpoint(collector)
    assert Sender(replace(to, url=to.url.replace("//", "//us%40er:p%3As@")))().ok
    assert base64.b64decode(collector.headers[0]["authorization"].removeprefix("Basic ")) == b"us@er:p:s"
    assert collector.paths == ["/v1/metrics"]


def test_requests_go_through_the_proxy_that_the_environment_names(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a proxy, the collector is asked for the whole URL; 192.0.2.0/24 is for documentation: no machine has it."""
    monkeypatch.setenv("http_proxy", collector.url.replace("//", "//me:secret@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    far = replace(endpoint(collector), url="http://192.0.2.1:4318/v1/metrics?tenant=a")
    assert Sender(far)().ok
    assert Sender(endpoint(collector))().ok
    assert collector.paths == [far.url, "/v1/metrics"]
    assert "proxy-authorization" in collector.headers[0]
    assert "proxy-authorization" not in collector.headers[1]


def test_a_proxy_only_makes_the_tunnel_for_https(collector: HttpCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector knows no CONNECT, so it does not come further; that the proxy was asked is what this shows."""
    monkeypatch.setenv("https_proxy", collector.url.removeprefix("http://"))
    delivery = Sender(replace(endpoint(collector, authorization="secret"), url="https://192.0.2.1/v1/metrics"), closing=True)()
    assert (delivery.ok, delivery.cause) == (False, "OSError")
    assert collector.paths == []

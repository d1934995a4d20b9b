"""Reading a Prometheus over its HTTP API, with the standard library alone."""

import contextlib
import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Labels", "PrometheusApi"]

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""(name, value) of a series, sorted by name, without the series' own name."""

CHUNK_STEPS = 2_000
"""Steps asked for at once; a Prometheus refuses more than 11,000."""

_SHOWN = 200


class PrometheusApi:
    """A Prometheus, or what answers like one: Thanos, Mimir, VictoriaMetrics.

    Args:
        url: Its address, with the path under which ``/api/v1`` lies.
        headers: Sent with every request, such as ``Authorization``; never on to where an answer redirects.
        timeout: Seconds that one request may take.

    Raises:
        ValueError: If the address is none of HTTP.

    >>> PrometheusApi("http://127.0.0.1:9090/").url
    'http://127.0.0.1:9090'
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 60.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"prometheus: address must be http://host:port or https://..., without a user name, got {url!r}")
        self.url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout = timeout

    def query(self, expression: str, at: float) -> dict[Labels, float]:
        """An instant query.

        Args:
            expression: Gives a vector.
            at: Unix time.

        Returns:
            Value by series.

        Raises:
            RuntimeError: If the server cannot be reached, refuses, or answers with something else.
        """
        result = self._get("query", {"query": expression, "time": f"{at:.3f}"}, "vector")
        return {_labels(each): float(each["value"][1]) for each in result}

    def query_range(self, expression: str, start: float, *, steps: int, step: float) -> dict[Labels, Floats]:
        """A query at many instants, asked for in parts.

        Args:
            expression: Gives a vector.
            start: Unix time of the first instant.
            steps: How many.
            step: Seconds between two.

        Returns:
            Values by series, shape ``(steps,)``; NaN where there is none.

        Raises:
            RuntimeError: As ``query``.
        """
        found: dict[Labels, Floats] = {}
        for first in range(0, steps, CHUNK_STEPS):
            last = min(first + CHUNK_STEPS, steps) - 1
            window = {"start": f"{start + first * step:.3f}", "end": f"{start + last * step:.3f}", "step": f"{step:g}"}
            for each in self._get("query_range", {"query": expression, **window}, "matrix"):
                values = found.setdefault(_labels(each), np.full(steps, math.nan))
                at, said = np.array([(float(at), float(value)) for at, value in each["values"]]).T
                values[np.rint((at - start) / step).astype(np.intp)] = said
        return found

    def _get(self, path: str, parameters: Mapping[str, str], kind: str) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        request = urllib.request.Request(address)  # noqa: S310 - the scheme was checked at construction
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310 - as above
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{self.url}: answered {error.code} {error.reason}: {_said(error.read())}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RuntimeError(f"{self.url}: cannot be reached: {reason or type(error).__name__}") from error
        try:
            document = json.loads(body)
            if document["data"]["resultType"] != kind:
                raise ValueError(document["data"]["resultType"])
            return document["data"]["result"]
        except (ValueError, LookupError, TypeError) as error:
            raise RuntimeError(f"{self.url}: answered with no {kind} of a Prometheus: {_said(body)}") from error


def _labels(series: Any) -> Labels:
    return tuple(sorted((name, value) for name, value in series["metric"].items() if name != "__name__"))


def _said(body: bytes) -> str:
    """The error that a document states, else its beginning, on one line."""
    text = body.decode("utf-8", errors="replace")
    with contextlib.suppress(ValueError, LookupError, TypeError):
        text = json.loads(text)["error"]
    return " ".join(str(text).split())[:_SHOWN] or "nothing"

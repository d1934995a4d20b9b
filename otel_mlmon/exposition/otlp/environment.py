"""The OTEL_* variables of the environment that say where metrics go.

Source:
    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
    https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_mlmon.catalog import MetricType

EXPORTERS = ("otlp", "console", "prometheus", "none")
PROTOCOLS = ("grpc", "http/protobuf")
_OTLP_BY = {"otlp_proto_grpc": "grpc", "otlp_proto_http": "http/protobuf"}
"""opentelemetry-python's own names for OTLP by a certain protocol."""

COMPRESSIONS = ("none", "gzip", "deflate")

_TEMPORALITIES: dict[str, frozenset[MetricType]] = {
    "cumulative": frozenset(),
    "delta": frozenset({"counter", "histogram"}),
    "lowmemory": frozenset({"counter", "histogram"}),  # delta for synchronous instruments, which all of ours are
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver of OTLP over HTTP.

    Attributes:
        url: Where requests go.
        headers: Sent with each, by lower-case name.
        timeout: Seconds that one request may take, with all its retries.
        compression: One of ``COMPRESSIONS``.
        certificate: PEM file with the authorities that may have signed the receiver's certificate; None for the usual ones.
        client_certificate: PEM file of the certificate that we show.
        client_key: PEM file of its key, where the certificate's file does not hold it.
    """

    url: str
    headers: Mapping[str, str]
    timeout: float
    compression: str
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


def disabled() -> bool:
    """Whether OTEL_SDK_DISABLED turns everything off."""
    return _text("OTEL_SDK_DISABLED").lower() == "true"


def exporters() -> tuple[str, ...]:
    """What OTEL_METRICS_EXPORTER names, each once; without ``none``.

    Raises:
        ValueError: If one is not in ``EXPORTERS``.
    """
    named = _named()
    for name in named:
        _check("OTEL_METRICS_EXPORTER", name, (*EXPORTERS, *_OTLP_BY))
    return tuple(dict.fromkeys("otlp" if name in _OTLP_BY else name for name in named if name != "none"))


def protocol() -> str:
    """One of ``PROTOCOLS``.

    Raises:
        ValueError: If another is named.
    """
    for name in _named():
        if name in _OTLP_BY:
            return _OTLP_BY[name]
    variable, text = _otlp("PROTOCOL")
    return _check(variable, text.lower() or "http/protobuf", PROTOCOLS)


def endpoint() -> Endpoint:
    """The receiver of OTLP over HTTP.

    Raises:
        ValueError: If a value cannot be read, or a file is not there.
    """
    return Endpoint(
        _url(),
        _headers(),
        timeout(),
        compression(),
        _file("CERTIFICATE"),
        client_certificate := _file("CLIENT_CERTIFICATE"),
        _file("CLIENT_KEY") if client_certificate is not None else None,
    )


def timeout() -> float:
    """Seconds that one request may take, as opentelemetry-python reads it; the specification means milliseconds.

    Raises:
        ValueError: If it is not a number above 0.
    """
    variable, text = _otlp("TIMEOUT")
    return _number(variable, text or "10")


def compression() -> str:
    """One of ``COMPRESSIONS``.

    Raises:
        ValueError: If another is named.
    """
    variable, text = _otlp("COMPRESSION")
    return _check(variable, text.lower() or "none", COMPRESSIONS)


def delta() -> frozenset[MetricType]:
    """Types of families whose counts are those since the last export.

    Raises:
        ValueError: If the preference is not known.
    """
    variable = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    return _TEMPORALITIES[_check(variable, _text(variable).lower() or "cumulative", tuple(_TEMPORALITIES))]


def interval() -> float:
    """Seconds between exports.

    Raises:
        ValueError: If it is not a number above 0.
    """
    return _number("OTEL_METRIC_EXPORT_INTERVAL", _text("OTEL_METRIC_EXPORT_INTERVAL") or "60000") / 1000


def export_timeout() -> float:
    """Seconds that one export may take, with all its requests.

    Raises:
        ValueError: If it is not a number above 0.
    """
    return _number("OTEL_METRIC_EXPORT_TIMEOUT", _text("OTEL_METRIC_EXPORT_TIMEOUT") or "30000") / 1000


def prometheus_address() -> tuple[str, int]:
    """Host and port of the page that the exporter ``prometheus`` serves.

    Raises:
        ValueError: If the port is not one.
    """
    text = _text("OTEL_EXPORTER_PROMETHEUS_PORT") or "9464"
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(f"OTEL_EXPORTER_PROMETHEUS_PORT: must be from 0 to 65535, got {text!r}")
    return _text("OTEL_EXPORTER_PROMETHEUS_HOST") or "localhost", int(text)


def _text(variable: str) -> str:
    """Value of a variable; an empty one counts as not set, as the specification says."""
    return os.environ.get(variable, "").strip()


def _named() -> list[str]:
    return [name.strip() for name in (_text("OTEL_METRICS_EXPORTER").lower() or "otlp").split(",") if name.strip()]


def _otlp(setting: str) -> tuple[str, str]:
    """The variable that says it for metrics, else that for all signals, and its value."""
    names = f"OTEL_EXPORTER_OTLP_METRICS_{setting}", f"OTEL_EXPORTER_OTLP_{setting}"
    return next(((name, text) for name in names if (text := _text(name))), (names[1], ""))


def _check(variable: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"{variable}: must be one of {', '.join(known)}, got {text!r}")
    return text


def _number(variable: str, text: str) -> float:
    if re.fullmatch(r"\d*\.?\d+|\d+\.", text) is None or not 0 < float(text) < math.inf:
        raise ValueError(f"{variable}: must be a number above 0, got {text!r}")
    return float(text)


def _url() -> str:
    variable, text = _otlp("ENDPOINT")
    if variable.endswith("OTLP_ENDPOINT"):
        text = (text or "http://localhost:4318").rstrip("/") + "/v1/metrics"
    if not _is_url(text):
        shown = re.sub(r"[^/]*@", "***@", text)  # a user's name and password
        raise ValueError(f"{variable}: must be a URL with http:// or https://, got {shown!r}")
    return text


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # the port is none, or a bracket is missing
        return False


def _headers() -> dict[str, str]:
    variable, text = _otlp("HEADERS")
    headers = dict(parse_env_headers(text, liberal=True))
    for name, value in headers.items():
        if re.search(r"[\r\n\0]", value) or re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is None:
            raise ValueError(f"{variable}: {name!r} is no name of a header, or its value has more than one line")
    return headers


def _file(setting: str) -> str | None:
    variable, text = _otlp(setting)
    if text and not Path(text).is_file():
        raise ValueError(f"{variable}: no such file: {text!r}")
    return text or None

"""Every panel of every dashboard returns data in a real Prometheus, after a replay in which everything happens."""

import json
import re
import shutil
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard_lint import Json, panels
from tests.pictures import day, history
from tests.pictures.replay import START
from tests.servers import SERIES, Server, prometheus, require

BOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.parent.glob("dashboards/*.json"))}
NOW = START + day.SECONDS

_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$([A-Za-z_]\w*)")
_MACROS = {"__rate_interval": "20m", "__interval": "5m", "__range": "1d", "__range_s": "86400"}

Choice = dict[str, str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replayed history with all that the bundled rules record from it, on this machine's own Prometheus."""
    require("prometheus")
    folder = tmp_path_factory.mktemp("replay")
    targets = day.day()
    with history.server(folder, series="old") as server:
        history.scraped(server, targets)
        history.ruled(server, day.OPTIONS, *day.SPANS)
        history.snapshot(server, folder, folder / "kept")
    return folder / "kept"


@pytest.mark.parametrize("series", SERIES)
def test_every_panel_returns_data(kept: Path, series: Any, tmp_path: Path) -> None:
    """Each query, with some choice of the variables; of those that compare, one of the panel's. Annotations are understood."""
    require("prometheus", series)
    shutil.copytree(kept, tmp_path / "prometheus")
    with prometheus(tmp_path, series=series, flags=["--storage.tsdb.retention.time=100y"]) as server:
        silent = [f"{name}: {words}" for name, board in BOARDS.items() for words in empty(server, name, board)]
    assert not silent, "\n".join(silent)


def empty(server: Server, name: str, board: Json) -> Iterator[str]:
    """What of a dashboard returns nothing."""
    choices = list(chosen(server, board["templating"]["list"]))
    if not choices:
        yield "a variable has no value"
    for note in board["annotations"]["list"]:
        if note.get("expr") and choices:
            result(server, filled(note["expr"], choices[0]), instant=False)
    for panel in panels(board):
        queries = panel.get("targets") or []
        found = [
            any(answers(server, each["expr"], choice, instant=bool(each.get("instant"))) for choice in choices) for each in queries
        ]
        if queries and not any(found):
            yield f"{panel['title']}: no query answers"
        for each in [each for each, answered in zip(queries, found, strict=True) if not answered and not conditional(each["expr"])]:
            yield f"{panel['title']} {each['refId']}: {each['expr']}"


def conditional(expression: str) -> bool:
    """Whether a query may answer nothing because what it asks for is not the case: it compares."""
    return re.search(r"[<>]|[=!]=|\bunless\b", re.sub(r"\{[^}]*\}", "", expression)) is not None


def chosen(server: Server, variables: list[Json]) -> Iterator[Choice]:
    """Choices of all variables: first what Grafana begins with, then all other values of those that take one at a time."""
    choices: list[Choice] = [{}]
    for one in variables:
        choices = [choice | {one["name"]: value} for choice in choices for value in values(server, one, choice)]
    yield from choices


def values(server: Server, variable: Json, choice: Choice) -> list[str]:
    """Of one variable, as they stand in an expression; that of ``current`` first."""
    if variable["type"] == "datasource":
        return ["Prometheus"]
    if variable["type"] == "query":
        found = asked(server, variable, choice)
    else:
        found = [part.rpartition(" : ")[2].strip() for part in variable["query"].split(",")]
    current = variable.get("current", {}).get("value")
    if variable.get("includeAll"):
        return [variable["allValue"]] if found else []
    return sorted(found, key=lambda value: value != current)


def asked(server: Server, variable: Json, choice: Choice) -> list[str]:
    """The values that a variable's query gives."""
    query = filled(variable["query"]["query"], choice)
    if match := re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query, re.DOTALL):
        answer = get(server, f"label/{match[2]}/values", {"match[]": match[1], "start": str(START), "end": str(NOW)})
        return [str(value) for value in answer]
    match = re.fullmatch(r"query_result\((.*)\)", query, re.DOTALL)
    assert match, f"variable {variable['name']}: must be label_values or query_result, got {query}"
    pattern = re.compile(variable["regex"].strip("/"))
    texts = [json.dumps(each["metric"]).replace('": "', '="').replace('{"', "{") for each in result(server, match[1])]
    return [found[1] for text in texts if (found := pattern.search(text))]


def filled(expression: str, choice: Mapping[str, str]) -> str:
    """An expression as Grafana sends it."""
    return _VARIABLE.sub(lambda match: {**_MACROS, **choice}[match[1] or match[2]], expression)


def answers(server: Server, expression: str, choice: Choice, *, instant: bool = False) -> bool:
    """Whether a query gives a number."""
    found = result(server, filled(expression, choice), instant=instant)
    return any(value != "NaN" for each in found for _, value in each.get("values") or [each["value"]])


def result(server: Server, query: str, *, instant: bool = True) -> list[Json]:
    """What a query gives, now or over the whole time."""
    span = {"time": str(NOW)} if instant else {"start": str(START), "end": str(NOW), "step": "300"}
    data = get(server, "query" if instant else "query_range", {"query": query, **span})
    return [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else list(data["result"])


def get(server: Server, path: str, parameters: Mapping[str, str]) -> Any:
    """What Prometheus's API answers."""
    try:
        return server.get(f"/api/v1/{path}", parameters)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.read().decode()}: {dict(parameters)}") from error

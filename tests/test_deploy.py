"""The rules in the forms of other rulers: complete, accepted by real tools, and in an order that their ruler keeps."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from otel_mlmon.bundle.deploy import FORMATS, chain, kubernetes
from otel_mlmon.bundle.options import milliseconds
from otel_mlmon.bundle.rules import RuleOptions, rule_groups
from otel_mlmon.bundle.yaml_text import record
from otel_mlmon.cli import main
from tests.servers import SERIES, require

ROOT = Path(__file__).parent.parent
COMMITTED = {
    "kubernetes": ROOT / "examples/kubernetes/rules",
    "mimir": ROOT / "alert_rules/mimir",
    "vmalert": ROOT / "alert_rules/vmalert",
}
DEFAULT = {name: FORMATS[name](RuleOptions()) for name in COMMITTED}
PLAIN = [group for groups in rule_groups(RuleOptions()).values() for group in groups]


def groups(form: str) -> list[dict[str, Any]]:
    """The rule groups in the files of a form, in order."""
    documents = [yaml.safe_load(text) for name, text in DEFAULT[form].items() if name != "kustomization.yaml"]
    return [group for document in documents for group in document.get("spec", document)["groups"]]


def readable(rule: Any) -> dict[str, Any]:
    """A rule as YAML gives it back."""
    return {**rule, "expr": rule["expr"] + "\n"}


@pytest.mark.parametrize("form", COMMITTED)
def test_the_committed_files_are_the_default_ones(form: str) -> None:
    """Users import them as they are; none stays behind that is no longer written."""
    assert {path.name: path.read_text(encoding="utf-8") for path in COMMITTED[form].iterdir()} == DEFAULT[form]


@pytest.mark.parametrize("form", ["kubernetes", "mimir"])
def test_the_groups_are_those_of_prometheus(form: str) -> None:
    """Whole, in the same order, rule by rule: these rulers evaluate as Prometheus does."""
    expected = {group.name: (group.interval, [readable(rule) for rule in group.rules]) for group in PLAIN}
    assert {group["name"]: (group["interval"], group["rules"]) for group in groups(form)} == expected


@pytest.mark.parametrize("series", SERIES)
def test_promtool_accepts_the_groups(series: str, tmp_path: Path) -> None:
    """With every lint it has, out of their wrappings."""
    for form in ("kubernetes", "mimir"):
        (tmp_path / form).write_text(yaml.safe_dump({"groups": groups(form)}), encoding="utf-8")
    command: list[str | Path] = [require("promtool", series), "check", "rules", "--lint=all", "--lint-fatal", "kubernetes", "mimir"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_mimirs_limits_are_said() -> None:
    """A file that a ruler refuses names what to raise."""
    text = DEFAULT["mimir"]["mlmon.yml"]
    document = yaml.safe_load(text)
    (most,) = re.findall(r"ruler_max_rules_per_rule_group_by_namespace: \{mlmon: (\d+)\}", text)
    (count,) = re.findall(r"ruler_max_rule_groups_per_tenant: (\d+)", text)
    assert document["namespace"] == "mlmon"
    assert int(most) == max(len(group["rules"]) for group in document["groups"])
    assert int(count) == len(document["groups"])


def test_a_group_that_prometheus_operator_refuses_is_refused_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than by its log, in the cluster."""
    assert all(len(text.encode()) <= kubernetes.MOST_BYTES for text in DEFAULT["kubernetes"].values())
    monkeypatch.setattr(kubernetes, "MOST_BYTES", 20_000)
    with pytest.raises(ValueError, match=r"group mlmon-\w+\.\w+: a PrometheusRule must not exceed 20000 bytes, got \d+"):
        FORMATS["kubernetes"](RuleOptions())


@pytest.mark.optional
def test_vmalert_accepts_the_files() -> None:
    """Expressions, templates, offsets."""
    program = require("vmalert", "new")
    files = [f"-rule={path}" for path in COMMITTED["vmalert"].iterdir()]
    ran = subprocess.run([program, "-dryRun", *files], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of a parsed expression: an arbiter that shares no code with ours."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        child = getattr(node, name, None)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield from selectors(each)


def may_be(labels: dict[str, str], selector: Any) -> bool:
    """Whether a selector may mean a series that a rule records with these labels."""
    for matcher in selector.matchers.matchers:
        if matcher.name in labels:
            regex = matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe)
            met = bool(re.fullmatch(matcher.value, labels[matcher.name])) if regex else matcher.value == labels[matcher.name]
            if met == (matcher.op in (promql_parser.MatchOp.NotEqual, promql_parser.MatchOp.NotRe)):
                return False
    return True


def test_stages_keep_the_order_and_end_in_time() -> None:
    """What a rule reads of its own interval was recorded a stage before, seconds ago; no stage meets the next evaluation."""
    flat = [(milliseconds(group["eval_offset"]), group["interval"], rule) for group in groups("vmalert") for rule in group["rules"]]
    original = [(group.interval, readable(rule)) for group in PLAIN for rule in group.rules]
    assert sorted(map(name, (rule for _, _, rule in flat))) == sorted(map(name, (rule for _, rule in original)))
    places = {name(rule): place for place, (_, rule) in enumerate(original)}
    distances = []
    for offset, interval, rule in flat:
        assert offset < milliseconds(interval) / 2
        for selector in selectors(promql_parser.parse(rule["expr"])):
            for before, of, other in flat:
                related = of == interval and other.get("record") == selector.name and may_be(other.get("labels", {}), selector)
                if related and selector.offset is None and places[name(other)] < places[name(rule)]:
                    distances.append(offset - before)
    assert len(distances) > 300
    assert min(distances) >= 3_000


def name(rule: dict[str, Any]) -> str:
    """What tells rules apart."""
    return f"{rule.get('record', rule.get('alert'))} {sorted(rule.get('labels', {}).items())}" + (
        "" if rule.get("record") else rule["expr"]
    )


def test_a_running_sum_is_cut_into_links() -> None:
    """Twelve rules, each adding to the one before, wait for three stages, not for twelve."""
    rules = [record("mlmon:x:sum", "part_00", bin="00")]
    rules += [record("mlmon:x:sum", f'part_{i:02} + on () mlmon:x:sum{{bin="{i - 1:02}"}}', bin=f"{i:02}") for i in range(1, 12)]
    assert chain.stages(rules) == list(range(12))
    shorter = chain.shortened(rules)
    assert chain.stages(shorter) == [0] * 4 + [1] * 4 + [2] * 4
    assert shorter[6]["expr"] == 'part_06 + on () (part_05 + on () (part_04 + on () mlmon:x:sum{bin="03"}))'
    assert [rule["labels"] for rule in shorter] == [rule["labels"] for rule in rules]


def test_what_was_recorded_before_is_not_waited_for() -> None:
    """Neither what is read with an offset, nor what a later rule records, nor another part of the same series."""
    rules = [
        record("mlmon:a:b", "last_over_time(mlmon:late:z[5m]) or mlmon:d:e"),
        record("mlmon:c:d", 'mlmon:a:b offset 30s or mlmon:e:f{severity!="warning"}'),
        record("mlmon:e:f", "up", severity="warning"),
        record("mlmon:g:h", 'mlmon:e:f{severity=~"warn.*"} or sum_over_time(mlmon:a:b[1h])'),
    ]
    assert chain.stages(rules) == [0, 0, 0, 1]


def test_an_interval_too_short_for_the_stages_is_refused() -> None:
    """Silently wrong values would be worse."""
    with pytest.raises(
        ValueError, match=r"interval 15s: vmalert needs \d+ stages 3s apart in its first half; it must be at least \d+"
    ):
        FORMATS["vmalert"](RuleOptions(interval="15s"))


def test_the_command_writes_the_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words of README.md."""
    assert main(["rules", "--format", "mimir", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mlmon.yml'}\n"
    assert (tmp_path / "mlmon.yml").read_text(encoding="utf-8") == DEFAULT["mimir"]["mlmon.yml"]

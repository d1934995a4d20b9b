"""``otel-mlmon drift``: a pipeline's gate, as a person or a script uses it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otel_mlmon import Reference
from otel_mlmon.cli import main
from otel_mlmon.report import compare
from otel_mlmon.report.text import WIDTH
from tests.flight_rows import INPUTS, ROLES, TRAINING, read, rows_of


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Of six weeks, one row in two minutes."""
    times, labels, scores = (TRAINING[name] for name in ("seen_at", "late", "score"))
    return Reference.build(TRAINING[INPUTS], task="binary", scores=scores, labels=labels, timestamps=times)


@pytest.fixture
def saved(reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its file, in the folder that is current."""
    monkeypatch.chdir(tmp_path)
    reference.save("reference.json")
    return "reference.json"


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_in_parts_gives_the_report_of_itsrows_of(
    ending: str, reference: Reference, saved: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the document on standard output is the report's."""
    monkeypatch.setattr("otel_mlmon.data_files.CHUNK_ROWS", 300)
    frame = rows_of(2_000, 4, shift=2.0)
    data = f"current.{ending}"
    frame.to_parquet(data) if ending == "parquet" else frame.to_csv(data, index=False)
    assert main(["drift", saved, data, "--json", *ROLES]) == 3
    expected = json.dumps(
        compare(reference, frame[INPUTS], scores=frame["score"], labels=frame["late"], timestamps=frame["seen_at"]).to_json()
    )
    assert read(capsys.readouterr().out) == read(expected)


@pytest.mark.parametrize(
    ("shift", "options", "status"),
    [
        (0.0, [], 0),
        (1.2, [], 3),
        (1.2, ["--fail-on", "critical"], 0),
        (1.2, ["--wasserstein-warning", "0.5"], 0),
        (1.2, ["--wasserstein-critical", "0.2", "--fail-on", "critical"], 3),
        (1.2, ["--min-samples-warning", "5000"], 1),
        (4.0, ["--fail-on", "critical"], 3),
        (4.0, ["--fail-on", "never"], 0),
    ],
)
def test_the_exit_status_is_the_gate(
    shift: float, options: list[str], status: int, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """0: no drift. 1: nothing could be judged. 3: drift of the severity asked for."""
    rows_of(2_000, 14, shift=shift).to_csv("current.csv", index=False)
    assert main(["drift", saved, "current.csv", *ROLES, *options]) == status
    shown = capsys.readouterr()
    assert "temperature" in shown.out
    assert ("no feature has the 5000 values" in shown.err) is (status == 1)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["drift", "nowhere.json", "current.csv"], "nowhere.json"),
        (["drift", "reference.json", "nowhere.csv"], "nowhere.csv"),
        (["drift", "reference.json", "current.csv", "--labels", "absent"], "no column 'absent'"),
        (["drift", "reference.json", "current.csv", "--predictions", "carrier"], "predictions, scores"),
        (["drift", "reference.json", "current.csv", "--timestamps", "carrier"], "timestamps must be"),
        (["drift", "reference.json", "empty.csv"], "there must be rows"),
        (
            ["drift", "reference.json", "outputs.csv", "--scores", "score", "--ignore", "late"],
            "must have columns of the reference's",
        ),
        (["drift", "reference.json", "current.csv", "--wasserstein-warning", "-1"], "wasserstein"),
    ],
)
def test_a_mistake_is_named_on_standard_error(
    command: list[str], message: str, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, no traceback, exit status 1."""
    frame = rows_of(500, 15)
    frame.to_csv("current.csv", index=False)
    frame.head(0).to_csv("empty.csv", index=False)
    frame[["score", "late"]].to_csv("outputs.csv", index=False)
    if "--predictions" in command:
        Reference.build(TRAINING[INPUTS]).save(saved)
    assert main(command) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert (len(shown.err.splitlines()), shown.out) == (1, "")


def test_an_odd_cell_in_a_file_costs_itself_and_not_its_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For which pandas reads all of a column as text."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"distance": np.arange(1_000.0), "late": [True, False] * 500})
    Reference.build(frame).save("reference.json")
    odd = frame.astype(object)
    odd.iloc[7, 0], odd.iloc[8, 0], odd.iloc[9, 1], odd.iloc[10, 1] = "soon", None, "maybe", None
    odd.to_csv("current.csv", index=False)
    assert main(["drift", "reference.json", "current.csv", "--json"]) == 0
    found = {one["feature"]: one for one in json.loads(capsys.readouterr().out)["features"]}
    for name in frame:
        assert [found[name][key] for key in ("samples", "invalid_ratio", "missing_ratio")] == [998, 0.001, 0.001]


def test_a_wrong_word_is_argparse_s_matter(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["drift", "reference.json", "current.csv", "--fail-on", "sometimes"])
    assert stopped.value.code == 2
    assert "--fail-on" in capsys.readouterr().err


def test_the_table_is_narrow_and_aligned_and_begins_with_the_worst(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Long names lose their middle; numbers end under each other; what is wrong is said in words, and so are broken rows."""
    long = "a_name_that_nobody_would_want_to_read_in_full"
    training = TRAINING.rename(columns={"distance": long})
    Reference.build(training[[long, "carrier", "temperature"]], timestamps=training["seen_at"]).save(saved)
    current = rows_of(2_000, 16, shift=3.0).rename(columns={"distance": long}).drop(columns=["late", "score"])
    current.loc[:999, "carrier"] = None
    current.to_csv("current.csv", index=False)
    assert main(["drift", saved, "current.csv", "--timestamps", "seen_at"]) == 3
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= WIDTH
    table = shown[: shown.index("")]
    found = [line.split()[:2] for line in table[2:] if not line.startswith("@")]
    assert found == [["carrier", "critical"], ["temperature", "critical"], ["a_name.._full", "ok"]]
    end = table[1].index("values") + len("values")
    assert [line[:end].split()[-1] for line in table[2:] if not line.startswith("@")] == ["1000", "2000", "2000"]
    assert "critical: carrier: 50.0% of its values are missing beyond what was in training, more than 20.0%" in shown
    assert "rows that break the schema, of 2000: null 1000" in shown

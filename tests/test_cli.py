"""The command line, as a person uses it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from otel_mlmon import Feature, Monitor, Reference, Schema, Settings
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import RECORDING_FILE, render
from otel_mlmon.cli import main


@pytest.fixture
def frame() -> pd.DataFrame:
    """Training data with a number, a postal code that looks like one, a gap, a label and a time."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "seen_at": pd.date_range("2026-01-01", periods=2_000, freq="10min", tz="UTC").astype(str),
            "distance": rng.gamma(2.0, 500.0, 2_000),
            "postcode": rng.choice(["01067", "10115"], 2_000),
            "late": rng.integers(0, 2, 2_000),
            "row": np.arange(2_000),
        }
    )
    frame.loc[::10, "distance"] = np.nan
    return frame


BUILD = ["--timestamps", "seen_at", "--labels", "late", "--ignore", "row", "--text", "postcode", "--code-revision", "4f2a91c"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_gives_the_reference_of_its_frame(
    frame: pd.DataFrame, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read in batches or handed over whole: the same features, counts and calibrated levels."""
    monkeypatch.setattr("otel_mlmon.data_files.CHUNK_ROWS", 300)
    data, out = tmp_path / f"training.{ending}", tmp_path / "reference.json"
    frame.to_parquet(data) if ending == "parquet" else frame.to_csv(data, index=False)
    assert main(["reference", "build", str(data), "--out", str(out), *BUILD]) == 0
    assert "2000 rows, 2 features" in capsys.readouterr().out
    found = Reference.load(out)
    expected = Reference.build(frame[["distance", "postcode"]], labels=frame["late"], timestamps=frame["seen_at"])
    assert found.schema == expected.schema
    assert found.metadata.code_revision == "4f2a91c"
    assert found.metadata.dataset == data.name
    for profile in expected.profiles:
        other = found[profile.feature]
        assert (other.counts, other.bins, other.missing) == (profile.counts, profile.bins, profile.missing)
        assert other.thresholds["psi"] == pytest.approx(profile.thresholds["psi"])


def test_whole_numbers_read_as_text_keep_their_digits_beside_gaps(tmp_path: Path) -> None:
    """A Parquet file that pandas did not write says nothing of nullable types."""
    data, out = tmp_path / "training.parquet", tmp_path / "reference.json"
    pq.write_table(pa.table({"postcode": [10115, None, 20095, None] * 50}), data)
    assert main(["reference", "build", str(data), "--text", "postcode", "--out", str(out)]) == 0
    profile = Reference.load(out)["postcode"]
    assert (profile.missing, profile.bins[:2]) == (100, ("10115", "20095"))


def test_a_schema_file_decides_what_the_features_are(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Other columns of the file are left out."""
    frame.to_csv(tmp_path / "training.csv", index=False)
    Schema.infer(frame[["distance"]]).save(tmp_path / "schema.json")
    out = tmp_path / "reference.json"
    command = ["reference", "build", str(tmp_path / "training.csv"), "--schema", str(tmp_path / "schema.json"), "--out", str(out)]
    assert main(command) == 0
    assert Reference.load(out).schema.names == ("distance",)


def test_check_counts_the_series_that_a_scrape_gives(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The promised number is that of the samples on a real page, gauges without a value yet aside."""
    reference = Reference.build(frame[["distance", "postcode"]], timestamps=frame["seen_at"])
    reference.save(tmp_path / "reference.json")
    assert main(["check", str(tmp_path / "reference.json")]) == 0
    shown = capsys.readouterr().out
    assert "distance" in shown
    assert "wasserstein 1d" in shown
    with Monitor("m", reference=reference, settings=Settings(system_seconds=0)) as monitor:
        monitor.observe({"distance": 3.0, "postcode": "01067"}, 1)
        assert monitor.flush()
        registry = CollectorRegistry()
        registry.register(monitor.collector())
        page = generate_latest(registry).decode()
    samples = [line for line in page.splitlines() if line and not line.startswith("#") and "mlmon_http" not in line]
    promised = int(shown.split("series per replica: ")[1].split()[0])
    assert abs(promised - len(samples)) <= 2  # requests in flight are promised, too


def test_check_names_the_features_of_unknown_normal_operation(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """144 rows a day calibrate days only: no pair of windows is complete. With ten times as many, each is."""
    for repeats, expected in ((1, True), (10, False)):
        many = frame.loc[frame.index.repeat(repeats), ["distance", "postcode"]]
        times = frame["seen_at"].repeat(repeats)
        Reference.build(many, timestamps=times, labels=np.zeros(len(many))).save(tmp_path / "reference.json")
        assert main(["check", str(tmp_path / "reference.json")]) == 0
        shown = capsys.readouterr().out
        assert ("6h and 1d for: distance, postcode\n" in shown) is expected, shown
        assert ("not known" in shown) is expected


def test_check_shows_what_is_derived_behind_its_feature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And by how much each feature goes with the output, in ranks: of a score that grows with the number, +1."""
    rng = np.random.default_rng(4)
    number = rng.random(2_000)
    data = {"comment": ["spam " * int(10 * share + 1) for share in number], "number": number}
    schema = Schema((Feature("comment", kind="text"), Feature("number")))
    times = 1_760_000_000 + 600.0 * np.arange(2_000)
    Reference.build(data, schema=schema, task="ranking", scores=number**3, timestamps=times).save(tmp_path / "reference.json")
    assert main(["check", str(tmp_path / "reference.json")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    first = rows.index(next(row for row in rows if row[:2] == ["comment", "numeric"]))
    assert rows[first + 1][:2] == ["comment/words", "derived"]
    assert rows.index(next(row for row in rows if row[:2] == ["number", "numeric"])) > first + 1
    assert next(row for row in rows if row[:2] == ["number", "@score"])[2:4] == ["+1.00", "1d"]


def test_check_shows_what_is_derived_once_though_another_name_begins_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = Schema((Feature("a"), Feature("a/b", kind="text")))
    Reference.build({"a": np.arange(300.0), "a/b": ["some words"] * 300}, schema=schema).save(tmp_path / "reference.json")
    assert main(["check", str(tmp_path / "reference.json")]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [name for name in names if name.startswith("a")][:6] == ["a", "a/b", *schema["a/b"].derived]


def test_rules_writes_the_files_that_options_ask_for(tmp_path: Path) -> None:
    """Without options the committed files; with them, other thresholds and windows."""
    assert main(["rules", "--out", str(tmp_path / "default")]) == 0
    for name, text in render(RuleOptions()).items():
        assert (tmp_path / "default" / name).read_text(encoding="utf-8") == text
    options = ["--windows", "1h,6h", "--pairs", "1h:6h", "--psi-warning", "0.15", "--interval", "30s", "--time-scale", "2"]
    options += ["--statistics", "ks,js_distance", "--correlation-shift-critical", "0.5"]
    assert main(["rules", "--out", str(tmp_path / "own"), *options]) == 0
    wanted = RuleOptions(
        windows=("1h", "6h"),
        pairs=(("1h", "6h"),),
        thresholds={("psi", "warning"): 0.15, ("correlation_shift", "critical"): 0.5},
        interval="30s",
        time_scale=2.0,
        statistics=("ks", "js_distance"),
    )
    for name, text in render(wanted).items():
        written = (tmp_path / "own" / name).read_text(encoding="utf-8")
        assert written == text
        assert yaml.safe_load(written)["groups"]
    assert main(["rules", "--out", str(tmp_path / "few"), "--statistics", ""]) == 0
    assert (tmp_path / "few" / RECORDING_FILE).read_text(encoding="utf-8") == render(RuleOptions(statistics=()))[RECORDING_FILE]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check", "nowhere.json"], "nowhere.json"),
        (["check", "training.csv"], "training.csv: reference: must be JSON"),
        (["reference", "build", "empty.csv"], "file 'empty.csv': cannot be read"),
        (["reference", "build", "ragged.csv"], "file 'ragged.csv': cannot be read"),
        (["reference", "build", "ragged.parquet"], "file 'ragged.parquet': cannot be read"),
        (["reference", "build", "training.csv", "--out", "nowhere/reference.json"], "--out: its folder must exist"),
        (["reference", "build", "nowhere.csv"], "nowhere.csv"),
        (["reference", "build", "training.txt"], "must end in .csv"),
        (["reference", "build", "training.csv", "--labels", "absent"], "no column 'absent'"),
        (["rules", "--windows", "1h,1h", "--pairs", "1h:6h"], "windows must be distinct"),
        (["rules", "--psi-warning", "-1"], "psi/warning"),
        (["rules", "--statistics", "ks,magic"], "got ['magic']"),
    ],
)
def test_a_mistake_is_named_on_standard_error(
    command: list[str],
    message: str,
    frame: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, no traceback, exit status 1."""
    frame.to_csv(tmp_path / "training.csv", index=False)
    monkeypatch.chdir(tmp_path)
    for name, text in (("empty.csv", ""), ("ragged.csv", "a,b\n1,2\n1,2,3\n"), ("ragged.parquet", "a,b\n1,2\n")):
        Path(name).write_text(text, encoding="utf-8")
    assert main(command) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_command_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse's own exit status for a wrong command line."""
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(frame: pd.DataFrame, tmp_path: Path) -> None:
    """``otel-mlmon check ... | head``: silence, not a complaint about the pipe."""
    Reference.build(frame[["distance"]]).save(tmp_path / "reference.json")
    command = [sys.executable, "-m", "otel_mlmon.cli", "check", str(tmp_path / "reference.json")]
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.stderr == ""

"""Records: exact round trip, strict reading, names that keep protocols apart, no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slimgen.evaluation.record import (
    Record,
    RecordError,
    find,
    metric_name,
    read_records,
    write_records,
)

RECORD = Record(
    metric="fid_classifier",
    value=1.25,
    seconds=3.5,
    seed=2,
    device="cpu",
    dtype="float32",
    code="c" * 64,
    num_images=1000,
    features="classifier",
    features_sha256="f" * 64,
    resize="none",
    sampler="ddim-10",
    nfe=10,
    spacing="uniform",
    eta=0.0,
    model_sha256="a" * 64,
    model_md5="b" * 32,
    note="shown in samples.png",
)
SIZE = Record(
    metric="params", value=159697.0, seconds=0.1, seed=2, device="cpu", dtype="float32", code="c"
)


def test_records_survive_their_file(tmp_path):
    write_records(tmp_path / "records.json", [RECORD, SIZE])
    assert read_records(tmp_path / "records.json") == [RECORD, SIZE]
    content = json.loads((tmp_path / "records.json").read_text())
    assert content["schema"] == 1
    assert "sampler" not in content["records"][1]  # what does not apply is not there


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": 1}, "record 0: unknown key 'metrics'"),
        ({"value": "1.25"}, "record 0: value = '1.25' is not float"),
        ({"value": None}, "record 0: value = None is not float"),
        ({"value": True}, "record 0: value = True is not float"),
        ({"nfe": 10.5}, "record 0: nfe = 10.5 is not int"),
        ({"nfe": None}, "record 0: nfe = None is not int"),
        ({"value": float("nan")}, "record 0: value = nan is not finite"),
    ],
)
def test_a_wrong_key_or_type_is_named(tmp_path, change, message):
    path = tmp_path / "records.json"
    write_records(path, [RECORD])
    content = json.loads(path.read_text())
    content["records"][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError) as error:
        read_records(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"schema": 1, "records": [{"metric": "fid", "value": 1}]}))
    with pytest.raises(RecordError, match="record 0: no 'seconds'"):
        read_records(path)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2, "records": []}', '{"schema": 1}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "records.json").write_text(text)
    with pytest.raises(RecordError, match=r"records\.json"):
        read_records(tmp_path / "records.json")


def test_an_infinite_value_is_never_written(tmp_path):
    bad = Record(**(vars(SIZE) | {"value": float("inf")}))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_records(tmp_path / "records.json", [bad])
    assert list(tmp_path.iterdir()) == []


def test_protocols_have_different_names():
    assert metric_name("fid", "inception") == "fid"
    assert metric_name("inception_score", "inception") == "inception_score"
    assert metric_name("fid", "classifier") == "fid_classifier"
    assert metric_name("inception_score", "classifier") == "is_classifier"
    assert metric_name("q", "classifier") == "q"


def test_find_wants_exactly_one():
    assert find([RECORD, SIZE], "params") is SIZE
    assert find([RECORD], "fid_classifier", "ddim-10") is RECORD
    with pytest.raises(RecordError, match="0 records of fid of ddim-20"):
        find([RECORD], "fid", "ddim-20")
    with pytest.raises(RecordError, match="2 records of params"):
        find([SIZE, SIZE], "params")


def test_reading_records_imports_no_torch():
    code = "import slimgen.evaluation.record, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Snakemake's records: named as Snakemake names them, restored without ever overwriting one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from slimgen.tracking.provenance import (
    collect,
    read_jobs,
    restore_records,
    write_jobs,
)
from slimgen.tracking.snakemake_records import (
    METADATA,
    RESTORED,
    read_record,
    record_path,
    restore_record,
)
from slimgen.training.job import StageError

OUTPUTS = ("results/r/a/b/x/seed0/config.json", "results/r/a/b/x/seed0/model.safetensors")


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    METADATA.mkdir(parents=True)
    return METADATA


def record(**more: Any) -> dict[str, Any]:
    """A record with every field that Snakemake writes."""
    fields = {
        "rule": "a_b",
        "log": ["logs/r/a/b/x/seed0.log"],
        "input": ["in"],
        "params": ["1"],
        "input_checksums": {"in": "sha256:00"},
        "record_format_version": 6,
    }
    return MetadataRecord(**fields | more).model_dump()


def snakemake(folder: Path) -> FilePersistence:
    """Snakemake's own reader and writer of records, without a workflow."""
    reader = FilePersistence.__new__(FilePersistence)
    reader._max_len, reader._metadata_path = None, str(folder)
    return reader


@pytest.mark.parametrize("output", [*OUTPUTS, "results/" + "long name/" * 60 + "x.npz", "ä ö.json"])
def test_names_are_those_of_snakemake(metadata: Path, output: str) -> None:
    theirs = snakemake(metadata)
    assert str(record_path(output, metadata)) == theirs._record_path(str(metadata), output)
    theirs._write_record(output, MetadataRecord(**record()))
    assert read_record(output) == record()
    theirs._delete_record(output)
    assert restore_record(output, record())
    restored = theirs._read_record(output)
    assert restored is not None
    assert restored.model_dump() == record()


def test_a_record_of_snakemakes_own_is_never_overwritten(metadata: Path) -> None:
    snakemake(metadata)._write_record("out", MetadataRecord(**record(params=["mine"])))
    assert not restore_record("out", record())
    assert read_record("out") == record(params=["mine"])


def test_a_restored_record_gives_way_to_a_newer_one_and_snakemakes_next_is_its_own(
    metadata: Path,
) -> None:
    assert restore_record("out", record())
    assert not restore_record("out", record())
    assert restore_record("out", record(params=["2"]))
    assert read_record("out") == record(params=["2"]) | {RESTORED: True}
    theirs = snakemake(metadata)
    read = theirs._read_record("out")
    assert read is not None
    theirs._write_record("out", read)  # what Snakemake does after it ran the job
    assert not restore_record("out", record(params=["3"]))


def test_jobs_survive_the_round_trip(metadata: Path) -> None:
    records = {
        output: record(starttime=1.0 + i, endtime=2.0 + i, job_hash=i)
        for i, output in enumerate(OUTPUTS)
    }
    jobs = collect("r", records, {OUTPUTS[1]: "00"})
    added, changed = write_jobs(jobs)
    assert (added, changed) == ([Path("provenance/r/a/b/x/seed0.json")], [])
    assert restore_records("r") == 2
    for output in OUTPUTS:
        restored = read_record(output)
        assert restored is not None
        assert restored | {"job_hash": 0} == records[output] | {"job_hash": 0, RESTORED: True}
    assert restore_records("r") == 0
    assert restore_records("another run") == 0


def test_only_what_lasts_is_written_again(metadata: Path) -> None:
    def jobs(**more: Any) -> Any:
        return collect("r", {OUTPUTS[0]: record(**more)}, {})

    write_jobs(collect("r", {output: record() for output in OUTPUTS}, {OUTPUTS[1]: "00"}))
    path = Path("provenance/r/a/b/x/seed0.json")
    before = path.read_text()
    # Another time is no change, and an output that was not pulled keeps its place.
    assert write_jobs(jobs(endtime=9.0, job_hash=7)) == ([], [])
    assert path.read_text() == before
    assert write_jobs(jobs(params=["2"])) == ([], [path])
    assert set(next(read_jobs("r")).outputs) == set(OUTPUTS)


def test_outputs_of_one_job_that_disagree_are_told(metadata: Path) -> None:
    records = {OUTPUTS[0]: record(), OUTPUTS[1]: record(params=["2"])}
    with pytest.raises(StageError, match=r"model.safetensors: recorded otherwise than .*config"):
        collect("r", records, {})


def test_damaged_provenance_is_named(metadata: Path) -> None:
    path = Path("provenance/r/a.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"record": {}})[:-1])
    with pytest.raises(StageError, match=r"provenance/r/a.json: not a record of provenance; `git"):
        restore_records("r")

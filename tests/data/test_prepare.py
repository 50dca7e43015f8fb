"""Stage data.prepare: what it writes, twice the same, and one line for what it cannot use."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimgen.config.shared import DataPrepareSettings
from slimgen.config.sources import ArraySource, DownloadSource, FolderSource
from slimgen.data.dataset import SPLITS, load_manifest, load_split
from slimgen.data.files import digest
from slimgen.systems.shared.data.prepare import prepare
from slimgen.training.job import Job, StageError, Stopped


def run(tmp_path: Path, settings: DataPrepareSettings, name: str = "out") -> Path:
    job = Job(stage="data.prepare", out=tmp_path / name, state=tmp_path / f"{name}.state")
    job.state.mkdir()
    job.out.mkdir()
    prepare(settings, job)
    return job.out


def arrays(path: Path, images: np.ndarray, labels: np.ndarray | None = None) -> ArraySource:
    np.savez(path, images=images, **({} if labels is None else {"labels": labels}))
    return ArraySource(path=str(path))


def test_the_digits_by_default(tmp_path):
    out = run(tmp_path, DataPrepareSettings())
    manifest = load_manifest(out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["manifest.json", *(f"{name}.npz" for name in SPLITS)]
    )
    splits = {name: load_split(out, name) for name in SPLITS}
    assert [len(split) for split in splits.values()] == [999, 99, 99, 600]
    assert {split.shape for split in splits.values()} == {(1, 8, 8)} == {tuple(manifest["shape"])}
    for name, split in splits.items():
        entry = manifest["splits"][name]
        assert entry["size"] == len(split)
        assert entry["sha256"] == digest(out / f"{name}.npz")
        assert entry["class_counts"] == np.bincount(split.labels.numpy(), minlength=10).tolist()
    assert manifest["num_classes"] == 10
    assert manifest["unused"] == 0
    x = splits["train"].images.double() / 127.5 - 1
    assert manifest["train_pixels"]["mean"] == pytest.approx(x.mean().item(), abs=1e-12)
    assert manifest["train_pixels"]["std"] == pytest.approx(x.std(correction=0).item(), abs=1e-12)


def test_two_runs_are_equal_byte_for_byte(tmp_path):
    first, second = (run(tmp_path, DataPrepareSettings(), name) for name in ("first", "second"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_images_in_two_splits_are_counted_and_kept(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(40, 8, 8), dtype=np.uint8)
    source = arrays(tmp_path / "x.npz", images)
    settings = DataPrepareSettings(source=source, search=5, validation=5, report=10)
    out = run(tmp_path, settings, "plain")
    assert load_manifest(out)["duplicates_across_splits"] == {}
    where = {split: load_split(out, split).images[:, 0].numpy() for split in SPLITS}

    def at(split: str, i: int) -> int:
        return next(k for k in range(40) if np.array_equal(images[k], where[split][i]))

    images[at("report", 0)] = images[at("report", 1)] = images[at("train", 0)]
    images[at("validation", 3)] = images[at("search", 2)]
    images[at("train", 5)] = images[at("train", 6)]
    arrays(tmp_path / "x.npz", images)
    manifest = load_manifest(run(tmp_path, settings, "doubled"))
    assert manifest["duplicates_across_splits"] == {"train-report": 2, "search-validation": 1}
    assert [manifest["splits"][split]["size"] for split in SPLITS] == [20, 5, 5, 10]
    assert manifest["num_classes"] == 0


def test_channel_statistics(tmp_path):
    images = np.zeros((30, 2, 6, 6), dtype=np.uint8)
    images[:, 1, :3] = 255
    source = arrays(tmp_path / "x.npz", images)
    settings = DataPrepareSettings(source=source, search=5, validation=5, report=10)
    pixels = load_manifest(run(tmp_path, settings))["train_pixels"]
    assert pixels["channel_mean"] == pytest.approx([-1, 0])
    assert pixels["channel_std"] == pytest.approx([0, 1])
    assert pixels["mean"] == pytest.approx(-0.5)


def test_the_manifest_does_not_say_where_the_mirror_was(tmp_path, monkeypatch):
    from slimgen.data import sources

    raw = sources.read_digits()
    monkeypatch.setattr(sources, "read_public", lambda name, shrink, mirror, report: raw)
    source = DownloadSource(name="fashion_mnist", mirror="/some/where")
    out = run(tmp_path, DataPrepareSettings(source=source))
    assert "/some/where" not in (out / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("broken", lambda p: (p / "b.png").write_bytes(b"no"), r"b\.png: broken image"),
        (
            "mixed",
            lambda p: Image.new("RGB", (9, 9)).save(p / "b.png"),
            r"a\.png has 8x8 .*b\.png 9x9",
        ),
        ("empty", lambda p: (p / "a.png").unlink(), r"pictures: no image in it"),
        ("few", lambda p: None, r"search 99 \+ .* leave no train split: the source has 1 images"),
    ],
)
def test_a_bad_folder_is_one_line_and_leaves_nothing(tmp_path, name, make, message):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    make(folder)
    with pytest.raises(StageError, match=rf"data\.prepare: .*{message}") as caught:
        run(tmp_path, DataPrepareSettings(source=FolderSource(path=str(folder))))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StageError, match=r"cannot write .*train\.npz: No space left on device"):
        run(tmp_path, DataPrepareSettings())
    assert list((tmp_path / "out").iterdir()) == []


def test_a_request_to_stop_is_heard_while_reading(tmp_path):
    for i in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    job = Job(stage="data.prepare", out=tmp_path / "out", state=tmp_path / "state")
    job.state.mkdir()
    job.signal_name = "SIGTERM"
    with pytest.raises(Stopped):
        prepare(DataPrepareSettings(source=FolderSource(path=str(tmp_path))), job)


def test_the_real_command_line(tmp_path):
    out = tmp_path / "results" / "digits" / "data" / "prepare" / "digits"
    command = [
        sys.executable,
        "-m",
        "slimgen",
        "data.prepare",
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--settings", '{"report": 500}'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "settings.json").read_text())["settings"]["report"] == 500
    assert load_manifest(out)["splits"]["train"]["size"] == 1099
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.json"))
    bad = subprocess.run(
        [*command, "--settings", '{"report": 1700}'], capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert bad.stderr.count("\n") == 1
    assert "leave no train split" in bad.stderr
    assert (
        hashlib.sha256((out / "report.npz").read_bytes()).hexdigest()
        in (out / "manifest.json").read_text()
    )

"""Numbers of images and widths that a later stage would refuse are told before any job."""

from pathlib import Path
from typing import Any

import pytest

from slimgen.config.base import deep_merge
from slimgen.config.check import check_files
from slimgen.config.run import ConfigError, load, read_config
from slimgen.config.sizes import check_sizes
from slimgen.tracking.plan import planned_jobs

DEMO = Path("config/config.yaml")
FIVE_LEVELS = {"block_out_channels": [8] * 5, "attention": [False] * 5}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"evaluation": {"measure": {"num_images": 9}}},
            r"measure\.num_images = 9: too few; is_splits = 10 and neighbours = 3 need at least 10",
        ),
        (
            {"evaluation": {"measure": {"variants": {"act/act": {"is_splits": 2000}}}}},
            r"measure\.variants\.act/act\.num_images = 1000: too few.*at least 2000",
        ),
        (
            {"dbnas": {"search": {"variants": {"S1": {"num_images": 100}}}}},
            r"search\.variants\.S1\.num_images = 100: the search split has 99 images",
        ),
        (
            {"dbnas": {"supernet": {"widths": [1.0, 0.3], "variants": {"kernels_widths": {}}}}},
            r"^config: dbnas\.supernet\.widths = \[1\.0, 0\.3\]: 0\.3 of 8 groups of channels are "
            r"not one or more whole groups \(teacher\.train\.network\.norm_num_groups\)$",
        ),
        (
            {"dbnas": {"supernet": {"variants": {"kernels_widths": {"widths": [1.0, 0.05]}}}}},
            r"dbnas\.supernet\.variants\.kernels_widths\.widths = \[1\.0, 0\.05\]: 0\.05 of 8",
        ),
        (
            {"teacher": {"train": {"network": FIVE_LEVELS}}},
            r"^config: teacher\.train\.network\.block_out_channels = \[8, 8, 8, 8, 8\]: the images "
            r"of digits have 8 pixels, which cannot be halved 4 times$",
        ),
        (
            {"act": {"student": {"network": FIVE_LEVELS}}},
            r"^config: act\.student\.network\.block_out_channels = .*cannot be halved 4 times$",
        ),
        (
            {"data": {"prepare": {"variants": {"photo_patches": {"report": 4}}}}},
            r"variants\.photo_patches\.report = 4: too few images.*at least 10",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_one_line(changes: dict[str, Any], line: str) -> None:
    demo = read_config(DEMO).model_dump(mode="json", by_alias=True, exclude_unset=True)
    with pytest.raises(ConfigError, match=line) as caught:
        check_sizes(load(deep_merge(demo, changes)))
    assert "\n" not in str(caught.value)


def test_widths_of_a_teacher_from_elsewhere_are_left_to_the_stage() -> None:
    demo = read_config(DEMO).model_dump(mode="json", by_alias=True, exclude_unset=True)
    odd = {"supernet": {"variants": {"kernels_widths": {"widths": [1.0, 0.3]}}}}
    changes = {"dbnas": odd, "teacher": {"train": {"from": "owner/name"}}}
    check_sizes(load(deep_merge(demo, changes)))


@pytest.mark.parametrize("path", sorted(DEMO.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_have_enough(path: Path) -> None:
    check_sizes(read_config(path))


def test_check_goes_through_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_files([str(tmp_path / "absent.yaml"), str(DEMO)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{DEMO}: right\n"
    assert "absent.yaml: No such file" in said.err
    with pytest.raises(SystemExit):
        check_files([])


def test_pairs_without_classes_need_other_features() -> None:
    """Told before any job: the classifier would be trained, and fail, beside a GAN's teacher."""
    config = load(
        {
            "run": "x",
            "dataset": "mine",
            "data": {"prepare": {"variants": {"mine": {"source": PAIRS}}}},
            "gan_compression": {"teacher": {"dataset": "mine"}},
        }
    )
    with pytest.raises(ConfigError) as error:
        check_sizes(config)
    assert "evaluation.reference.variants.mine.features = 'classifier': its images" in str(
        error.value
    )
    assert "gan_compression.search.variants.pix2pix.reward = 'reward': a classifier" in str(
        error.value
    )


PAIRS = {"kind": "paired_folder", "path": "somewhere"}


@pytest.mark.parametrize(("system", "trains"), [("gan_compression", False), ("dbnas", True)])
def test_gans_alone_train_no_diffusion_teacher(system: str, trains: bool) -> None:
    data = {"prepare": {"variants": {"pairs": {"source": {"kind": "digit_pairs"}}}}}
    config = load({"run": "x", "dataset": "pairs", "data": data, system: {}})
    assert any(job.stage == "teacher.train" for job in planned_jobs(config)) == trains


def test_a_folder_without_sub_folders_has_no_classes(tmp_path: Path) -> None:
    source = {"kind": "folder", "path": str(tmp_path), "size": 32}
    mapping = {
        "run": "x",
        "dataset": "mine",
        "data": {"prepare": {"variants": {"mine": {"source": source, "search": 256}}}},
        "dbnas": {},
    }
    with pytest.raises(ConfigError, match=r"its images have no classes"):
        check_sizes(load(mapping))
    (tmp_path / "cats").mkdir()
    check_sizes(load(mapping))

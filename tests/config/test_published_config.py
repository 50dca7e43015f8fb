"""config/published.yaml is the demo with three seeds, key by key, and cannot drift from it.

Write it anew after a change of config/config.yaml: `python tests/config/test_published_config.py`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[2] / "config"
HEADER = """\
# The published run: the demo with three seeds. Its records, tables and figures come with git, its
# weights with `dvc pull` (docs/dvc.md).
#
#   make published       its tables and figures anew, from what is in git
#
# Everything below `seeds` is config/config.yaml, copied by tests/config/test_published_config.py.
"""
OWN = {
    "run": "published",
    "seeds": 3,
    "track_code": False,
    "track": {
        "seeds": [0],
        "without": [
            "gan_compression.teacher",
            "gan_compression.mobile_teacher",
            "gan_compression.supernet",
            "gan_compression.student/adversary.safetensors",
            "dbnas.supernet",
            "denoising_student.pairs",
        ],
    },
}
OWN_TEXT = """\
run: published
dataset: digits
seeds: 3
# An edit of code makes nothing of what is published out of date.
track_code: false
# Weights of the first seed, records of all three. The remote in this repository stays below 25 MB
# without what is only a step on the way and large: full-size teachers and supernets,
# discriminators of students, pairs.
track:
  seeds: [0]
  without:
    - gan_compression.teacher
    - gan_compression.mobile_teacher
    - gan_compression.supernet
    - gan_compression.student/adversary.safetensors
    - dbnas.supernet
    - denoising_student.pairs
"""
TIME = {"minutes", "cpu_seconds"}  # what the demo promises for one seed


def published_text() -> str:
    """Return config/published.yaml: the demo's text between its head and its times."""
    text = (CONFIG / "config.yaml").read_text(encoding="utf-8")
    start = text.index("\n\n", text.index("\nrun: "))
    end = text.index("\n\n# CPU-seconds of each job")
    return HEADER + OWN_TEXT + text[start + 1 : end] + "\n"


def read(name: str) -> dict[str, object]:
    return yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))


def test_the_file_is_the_demo_but_for_run_seeds_and_tracking() -> None:
    demo, published = read("config.yaml"), read("published.yaml")
    assert {key: published[key] for key in OWN} == OWN
    for key in sorted((set(demo) | set(published)) - set(OWN) - TIME):
        assert published.get(key) == demo.get(key), f"{key}: run python {Path(__file__).name}"
    assert not TIME & set(published)


def test_the_text_is_current() -> None:
    written = (CONFIG / "published.yaml").read_text(encoding="utf-8")
    assert written == published_text(), f"run: python tests/config/{Path(__file__).name}"


if __name__ == "__main__":
    (CONFIG / "published.yaml").write_text(published_text(), encoding="utf-8")

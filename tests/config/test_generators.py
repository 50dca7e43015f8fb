"""What a supernet begins with and a student inherits is there, told before any job."""

from __future__ import annotations

from typing import Any

import pytest

from slimgen.config.base import deep_merge
from slimgen.config.run import ConfigError, load, stage_settings

RUN: dict[str, Any] = {
    "run": "x",
    "dataset": "edges",
    "data": {
        "prepare": {
            "source": {"kind": "digit_pairs"},
            "variants": {"edges": {}, "other": {}},
        }
    },
    "gan_compression": {
        "teacher": {"dataset": "edges"},
        "mobile_teacher": {
            "dataset": "edges",
            "variants": {"wide": {}, "far": {"dataset": "other"}},
        },
        "pretrain": {
            "variants": {
                "near": {"teacher": "mobile_teacher/wide"},
                "far": {"teacher": "mobile_teacher/far"},
            }
        },
        "supernet": {
            "variants": {
                "pix2pix": {
                    "teacher": "mobile_teacher/wide",
                    "begin": "teacher",
                    "begin_from": "pretrain/near",
                }
            }
        },
        "student": {"variants": {"pix2pix": {"discriminator_init": "supernet"}}},
    },
}


def supernet(**changes: Any) -> dict[str, Any]:
    return {"gan_compression": {"supernet": {"variants": {"pix2pix": changes}}}}


def student(**changes: Any) -> dict[str, Any]:
    return {"gan_compression": {"student": {"variants": {"pix2pix": changes}}}}


def test_the_origin_of_a_supernet_is_what_it_learns_from() -> None:
    settings: Any = stage_settings(load(RUN), "gan_compression.supernet", "pix2pix")
    assert settings.origin == ("mobile_teacher", "wide")
    assert settings.beginning == ("pretrain", "near")
    plain: Any = load(deep_merge(RUN, supernet(begin_from=None)))
    settings = stage_settings(plain, "gan_compression.supernet", "pix2pix")
    assert settings.beginning == settings.origin == ("mobile_teacher", "wide")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            supernet(begin_from="pretrain/nowhere"),
            r"supernet\.variants\.pix2pix\.begin_from = 'pretrain/nowhere': no such name; it can "
            "be pretrain/near, pretrain/far",
        ),
        (
            supernet(begin_from="near"),
            r"begin_from = 'near': 'near': a generator is named teacher/",
        ),
        (supernet(begin_from="pretrain/far"), r"begin_from = 'pretrain/far': of another data set"),
        (supernet(begin="random"), r"begin_from: begin random takes no weights; set begin: teac"),
        (supernet(build="own:net"), r"pix2pix\.build = 'own:net': the generator of mobile_teacher"),
        (
            student(search=None, widths="4_4", begin="random"),
            "search: null has no supernet: discriminator_init teacher or fresh",
        ),
        (
            student(task="unpaired", distill=False, pseudo_pairs=False),
            "pseudo_pairs: off needs D of both ways; a supernet has only one",
        ),
        ({"gan_compression": {"pretrain": {"discriminator_init": "supernet"}}}, "discriminator_i"),
    ],
)
def test_a_fault_is_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        load(deep_merge(RUN, changes))
    assert "\n" not in str(caught.value)


def test_every_generator_is_built_by_the_same_callable() -> None:
    """That of the beginning too, which the supernet's own teacher does not tell."""
    own = {"kind": "custom", "build": "own:net", "elastic": {"a": ["a"]}}
    variants = {"wide": {}, "own": {"generator": own}}
    changes = {
        "mobile_teacher": {"variants": variants},
        "supernet": {"variants": {"pix2pix": {"begin_from": "mobile_teacher/own"}}},
    }
    line = r"supernet\.variants\.pix2pix\.build = None: .* of mobile_teacher/own is built by 'own:n"
    rows = {"translate": {"variants": {"gan_compression/mobile-own": {"build": "own:net"}}}}
    with pytest.raises(ConfigError, match=line):
        load(deep_merge(RUN, {"gan_compression": changes, "evaluation": rows}))

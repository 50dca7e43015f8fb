"""The space: its size, the integers of the release over all architectures, published ones."""

import itertools
from typing import get_args

import pytest
from pydantic import ValidationError

from slimgen.config.autogan import Published, StudentSettings
from slimgen.config.autogan_code import token_sizes
from slimgen.networks.autogan_arch import Arch, Cell
from slimgen.systems.autogan.space import PUBLISHED, Space, bottom_width
from slimgen.training.job import StageError


@pytest.mark.parametrize(("cells", "size"), [(1, 36), (2, 2_592), (3, 373_248), (4, 107_495_424)])
def test_size(cells, size):
    assert Space(cells, 4).size == size


def codes(cells):
    sizes = [size for cell in range(cells) for size in token_sizes(cell)]
    return itertools.product(*map(range, sizes))


def test_code_reads_and_writes_every_architecture_of_two_cells():
    archs = {Arch.from_code(code) for code in codes(2)}
    assert len(archs) == 2_592
    assert {arch.code for arch in archs} == set(codes(2))


def test_code_reads_and_writes_every_architecture_of_three_cells():
    right = sum(Arch.from_code(code).code == code for code in codes(3))
    assert right == 373_248


def test_architecture_a_reads_as_published():
    pre = {"conv": "pre", "norm": "none"}
    assert PUBLISHED["A"].cells == (
        Cell(**pre, up="nearest", shortcut=True),
        Cell(**pre, up="bilinear", shortcut=True, skips=(True,)),
        Cell(**pre, up="nearest", shortcut=False, skips=(True, True)),
    )
    assert PUBLISHED["C"].cells[0].norm == "bn"
    assert PUBLISHED["C"].cells[1:] == PUBLISHED["A"].cells[1:]
    assert PUBLISHED["E2GAN"].cells[1] == Cell("post", "bn", "deconv", True, (False,))


def test_skips_of_the_third_cell_have_the_earliest_cell_in_the_highest_bit():
    head = PUBLISHED["A"].code[:13]
    skips = [Arch.from_code((*head, value)).cells[2].skips for value in range(4)]
    assert skips == [(False, False), (False, True), (True, False), (True, True)]


def test_published_names_are_those_of_the_settings():
    assert set(get_args(Published)) == set(PUBLISHED)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ((1, 0, 1), "3 integers: n cells have 5 n - 1"),
        ((1, 0, 1, 1, 0), "5 integers"),
        ((), "0 integers"),
        ((1, 3, 1, 1), "integer 2 is 3; it can be 0 to 2"),
        ((1, 0, 1, 1, 1, 0, 0, 1, 2), "integer 9 is 2; it can be 0 to 1"),
        ((-1, 0, 1, 1), "integer 1 is -1"),
    ],
)
def test_bad_codes_are_named_in_library_and_settings(code, message):
    with pytest.raises(ValueError, match=message):
        Arch.from_code(code)
    with pytest.raises(ValidationError, match=message):
        StudentSettings(arch=code)


def test_architectures_are_values():
    assert hash(Arch.from_code(PUBLISHED["B"].code)) == hash(PUBLISHED["B"])
    with pytest.raises(ValueError, match="cell 1 has 0 skips"):
        Arch((PUBLISHED["A"].cells[0],) * 2)
    with pytest.raises(ValueError, match="norm 'batch': it can be none, bn, in"):
        Cell("pre", "batch", "nearest", True)


def test_images_must_fit():
    assert bottom_width(PUBLISHED["A"], (3, 32, 32)) == 4
    assert bottom_width(PUBLISHED["A"], (3, 48, 48)) == 6
    for shape in [(3, 28, 28), (1, 8, 8), (3, 32, 48)]:
        with pytest.raises(StageError, match="the images are"):
            bottom_width(PUBLISHED["A"], shape)
    Space(2, 2).check((1, 8, 8))
    with pytest.raises(StageError, match="make images of 16 x 16; those of the data set are 8"):
        Space(2, 4).check((1, 8, 8))


def test_stages():
    space = Space(3, 4)
    assert [list(cells) for cells in space.stages(mlas=True)] == [[0], [1], [2]]
    assert [list(cells) for cells in space.stages(mlas=False)] == [[0, 1, 2]]
    assert space.tokens(range(1, 3)) == (2, 3, 3, 2, 2, 2, 3, 3, 2, 4)

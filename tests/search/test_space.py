"""Architectures are values; costs add up."""

import pytest

from slimgen.search.space import Arch, SearchSpace, arch_cost, block_cost, text

SPACE = SearchSpace((1, 3, 5), (("a", 2), ("b", 3)))


def test_arch_is_an_immutable_mapping():
    arch = Arch.of({"a": [1, 3], "b": (5, 5, 3)})
    assert dict(arch) == {"a": (1, 3), "b": (5, 5, 3)}
    assert arch == SPACE.arch(arch.vector)
    assert len({arch, SPACE.arch((1, 3, 5, 5, 3)), SPACE.base}) == 2
    with pytest.raises(AttributeError):
        arch.blocks = ()
    with pytest.raises(KeyError):
        arch["c"]


def test_sizes_and_base():
    assert SPACE.base.vector == (3,) * 5
    assert (SPACE.size("a"), SPACE.size("b"), SPACE.num_choices) == (9, 27, 5)
    with pytest.raises(ValueError, match="4 kernel sizes, the space has 5"):
        SPACE.arch((1, 1, 1, 1))


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"a": (3, 3)}, r"kernels of b: \[\]; 3 of \[1, 3, 5\] are needed"),
        ({"a": (3, 7), "b": (3, 3, 3)}, r"kernels of a: \[3, 7\]"),
        ({"a": (3, 3), "b": (3, 3, 3), "c": (3,)}, r"\['c'\]"),
    ],
)
def test_foreign_architectures_are_named(arch, message):
    with pytest.raises(ValueError, match=message):
        SPACE.check(arch)
    SPACE.check(SPACE.base)


def test_costs_add_up():
    costs = {"a": [{1: 1, 3: 9, 5: 25}] * 2, "b": [{1: 2, 3: 18, 5: 50}] * 3}
    assert block_cost(costs, "a", (1, 5)) == 26
    assert arch_cost(costs, Arch.of({"a": (1, 5), "b": (1, 3, 1)})) == 26 + 22
    assert text((3, 1, 5)) == "3-1-5"

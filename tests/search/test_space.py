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
    with pytest.raises(ValueError, match="4 choices, the space has 5"):
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
        SPACE.check(Arch.of(arch))
    SPACE.check(SPACE.base)


def test_costs_add_up():
    costs = {
        "a": [{(1,): 1, (3,): 9, (5,): 25}] * 2,
        "b": [{(1,): 2, (3,): 18, (5,): 50}] * 3,
    }
    assert block_cost(costs, "a", (1, 5)) == 26
    assert arch_cost(costs, Arch.of({"a": (1, 5), "b": (1, 3, 1)})) == 26 + 22
    with pytest.raises(ValueError, match="a: 3 choices, its parts cost by 2"):
        block_cost(costs, "a", (1, 5, 1))
    assert text((3, 1, 5)) == "3-1-5"
    assert text((3, 1, 5, 3), (16, 8)) == "3-1-5-3/16-8"


WIDE = SearchSpace((1, 3), (("a", 2), ("b", 4)), (("a", ((16, 8),)), ("b", ((32, 16, 8), (16, 8)))))


def test_a_space_with_widths():
    assert WIDE.options("b") == ((32, 16, 8), (1, 3), (1, 3), (16, 8), (1, 3), (1, 3))
    assert (WIDE.size("a"), WIDE.size("b"), WIDE.num_choices) == (2 * 4, 3 * 4 * 2 * 4, 9)
    assert WIDE.base.vector == (16, 3, 3, 32, 3, 3, 16, 3, 3)
    arch = WIDE.arch((8, 1, 3, 16, 3, 1, 8, 3, 3))
    assert arch.kernels == {"a": (1, 3), "b": (3, 1, 3, 3)}
    assert arch.widths == {"a": (8,), "b": (16, 8)}
    assert Arch.of(arch.kernels, arch.widths) == arch
    assert Arch.of(arch.kernels) != arch
    assert SPACE.base.widths is None
    WIDE.check(arch)
    costs = {"a": [{(c, k, j): c * (k + j) for c in (16, 8) for k in (1, 3) for j in (1, 3)}]}
    assert block_cost(costs, "a", arch["a"]) == 8 * (1 + 3)


@pytest.mark.parametrize(
    ("space", "arch", "message"),
    [
        (WIDE, Arch.of(WIDE.base.kernels), "kernel sizes alone, the space inner widths"),
        (SPACE, Arch.of({"a": (3, 3)}, {"a": (8,)}), "inner widths, the space kernel sizes alone"),
        (
            WIDE,
            Arch.of(WIDE.base.kernels, {"a": (16,), "b": (32, 32)}),
            r"widths of b: \[32, 32\]; each is one of \[\[32, 16, 8\], \[16, 8\]\]",
        ),
    ],
)
def test_widths_of_another_space_are_named(space, arch, message):
    with pytest.raises(ValueError, match=message):
        space.check(arch)


def test_widths_that_do_not_go_with_the_kernels_are_refused():
    with pytest.raises(ValueError, match="2 widths and 2 kernel sizes"):
        Arch.of({"a": (3, 3)}, {"a": (8, 8)})
    with pytest.raises(ValueError, match=r"widths name the blocks \['b'\], kernels the"):
        Arch.of({"a": (3, 3)}, {"b": (8,)})

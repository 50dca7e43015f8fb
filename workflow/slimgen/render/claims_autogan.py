"""The claims of AutoGAN on this run, at equal numbers of rewards and GAN updates of the searches.

Two things can make such a comparison say less than it seems to. Without a single reset the search
with dynamic reset and that without are one and the same, so such a seed says nothing about it. And
a search whose K best are the same few networks leaves fewer to train than another one: the best of
more is better by chance, so a verdict on unequal numbers names them.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimgen.render.autogan import SYSTEM, counts, derived_counts, search_of
from slimgen.render.comparison import Comparison, Model
from slimgen.render.results import Results

PAPER = "AutoGAN"
RESET = "dynamic reset helps"
NO_RESET = "no reset happened"
CLAIMS = (
    ("search beats random search", "autogan", "random"),
    (RESET, "autogan", "no-reset"),
    ("searching cell after cell helps", "autogan", "no-mlas"),
)


def without_reset(results: Results, row: str) -> tuple[int, ...]:
    """Return the seeds in which the shared GAN behind a row never began anew."""
    search, seeds = search_of(results, row), results.settings.seeds
    if search is None:  # a named architecture: nothing was searched
        return seeds
    resets = zip(seeds, counts(results, search, "resets"), strict=True)
    return tuple(seed for seed, count in resets if count == 0)


def unequal(results: Results, a: str, b: str) -> str:
    """Return `K a against b` where two rows are the best of unequally many networks, else ""."""
    derived = [derived_counts(results, row) for row in (a, b)]
    if derived[0] == derived[1]:
        return ""
    ours, theirs = (
        ", ".join(map(str, numbers if len(set(numbers)) > 1 else numbers[:1]))
        for numbers in derived
    )
    return f"K {ours} against {theirs}"


def autogan_claims(results: Results) -> Iterator[Comparison]:
    """Yield the claims of AutoGAN."""
    rows = results.settings.systems.get(SYSTEM, ())
    for statement, a, b in CLAIMS:
        absent = [row for row in (a, b) if row not in rows]
        if absent:
            yield Comparison(PAPER, statement, missing=absent[0])
            continue
        first, second = (Model(SYSTEM, row, results.settings_of(SYSTEM, row)[0]) for row in (a, b))
        yield Comparison(
            PAPER,
            statement,
            first,
            second,
            void=without_reset(results, a) if statement == RESET else (),
            reason=NO_RESET,
            remark=unequal(results, a, b),
        )


def autogan_notes(results: Results) -> tuple[str, ...]:
    """Return how the claims about searched GANs are to be read."""
    if not results.settings.systems.get(SYSTEM):
        return ()
    return (
        "AutoGAN: K is the number of networks that a row derived, of which it reports the best "
        "(one number per seed where seeds differ); it is named where A and B derived unequally "
        "many. A seed whose search had no dynamic reset says nothing about resets and is left out "
        "of that claim.",
    )

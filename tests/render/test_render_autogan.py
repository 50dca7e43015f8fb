"""The page of AutoGAN: what its table, figures and claims say of files with known numbers."""

import csv
from pathlib import Path

import pytest

from slimgen.networks.autogan_arch import Arch
from slimgen.render.autogan import cells_of, rewards, selection
from slimgen.render.command import render
from slimgen.render.figure_autogan import correlation_points, correlation_title, growths
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.training.job import StageError


def page(tree, tmp_path: Path) -> list[dict[str, str]]:
    render("autogan", tree.settings(), tree.root, tmp_path / "out")
    with (tmp_path / "out/tables/autogan.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "code",
    [(1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 3), (0, 2, 2, 0, 1, 1, 1, 0, 0, 0, 0, 2, 1, 2)],
)
def test_cells_are_those_of_the_network(code) -> None:
    for cell, other in zip(cells_of(code), Arch.from_code(code).cells, strict=True):
        skips = tuple(i for i, skip in enumerate(other.skips) if skip)
        ours = (cell.conv, cell.norm, cell.up, cell.shortcut, cell.skips)
        assert ours == (other.conv, other.norm, other.up, other.shortcut, skips)


def test_a_transferred_generator_stands_in_columns_of_its_own_data_set(tree, tmp_path) -> None:
    tree.write()
    rows = {row["row"]: row for row in page(tree, tmp_path)}
    moved, own = rows["transfer-autogan"], rows["autogan"]
    assert moved["q"] == ""
    assert moved["q on photos"] != ""
    assert own["q on photos"] == ""
    assert own["q"] != ""


def test_the_table_names_the_chosen_architecture_and_what_its_search_cost(tree, tmp_path) -> None:
    tree.write()
    rows = {row["row"]: row for row in page(tree, tmp_path)}
    assert rows["autogan"]["architecture"] == "0 0 0 0 0 0 0 0 0"  # `chosen` is 1
    assert float(rows["no-reset"]["resets"]) == 2
    assert float(rows["random"]["rewards"]) == 96


def test_other_protocol_of_the_second_data_set_is_refused(tree, tmp_path) -> None:
    tree.write()
    path = tree.root / "evaluation/reference/photos/records.json"
    tree.change(path, "floor", "train", resize="pool 2")
    with pytest.raises(StageError, match="another protocol"):
        page(tree, tmp_path)


def test_correlation_counts_every_derived_architecture(tree) -> None:
    tree.write()
    results = Results(tree.root, parse_render_settings(tree.settings()))
    points = correlation_points(results)
    assert len(points) == 8
    assert sum(p.chosen for p in points) == 4
    assert correlation_title(points).startswith("Spearman rho = ")
    assert "n = 8" in correlation_title(points)
    assert correlation_title(points[:2]) == "n = 2: too few for a correlation"


def test_growth_is_where_the_stage_rises(tree) -> None:
    tree.write()
    results = Results(tree.root, parse_render_settings(tree.settings()))
    assert growths(rewards(results, "autogan", 0)) == [50]


def test_a_selection_without_candidates_is_named(tree) -> None:
    tree.write()
    path = tree.folder("autogan.student", "random") / "selection.json"
    path.write_text('{"chosen": 0}')
    results = Results(tree.root, parse_render_settings(tree.settings()))
    with pytest.raises(StageError, match=r"random/seed0/selection\.json: not a selection"):
        selection(results, "random", 0)

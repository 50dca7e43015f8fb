"""The page of AutoGAN: what its table, figures and claims say of files with known numbers."""

import csv
import json
from pathlib import Path

import pytest

from slimgen.networks.autogan_arch import Arch
from slimgen.render.autogan import cells_of, rewards, selection
from slimgen.render.command import render
from slimgen.render.figure_autogan import (
    correlation_figure,
    correlation_points,
    correlation_title,
    growths,
)
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.table_autogan import autogan_table
from slimgen.training.job import StageError


def read(tree) -> Results:
    return Results(tree.root, parse_render_settings(tree.settings()))


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
    assert float(rows["autogan"]["resets"]) == 2
    assert rows["no-reset"]["resets"] == "0"
    assert float(rows["random"]["rewards"]) == 96


def test_the_table_counts_the_networks_that_every_row_derived(tree, tmp_path) -> None:
    tree.seeds = (0, 1)
    tree.write()
    path = tree.folder("autogan.student", "autogan", 1) / "selection.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"chosen": 0, "candidates": content["candidates"][:1]}))
    rows = {row["row"]: row for row in page(tree, tmp_path)}
    assert float(rows["autogan"]["derived"]) == 1.5
    assert float(rows["random"]["derived"]) == 2
    assert rows["transfer-autogan"]["derived"] == ""


def test_a_search_that_does_not_tell_its_resets_is_named(tree, tmp_path) -> None:
    tree.write()
    (tree.folder("autogan.search", "random") / "arch.json").write_text('{"rewards": 96}')
    with pytest.raises(StageError, match=r"random/seed0/arch\.json: resets is no number"):
        page(tree, tmp_path)


def test_published_scores_and_distances_stand_in_columns_of_their_own(tree, tmp_path) -> None:
    tree.write()
    table = page(tree, tmp_path)
    score, distance = (f"published: {name} (cifar10, Inception)" for name in ("IS", "FID"))
    marked = {score, distance, "published: source"}
    for row in table:
        filled = {column for column, cell in row.items() if cell} - {"row"}
        published = row["row"].startswith("published: ")
        assert filled <= marked if published else not filled & marked
    paper = {row["row"].removeprefix("published: "): (row[score], row[distance]) for row in table}
    assert paper["AutoGAN-top1"] == ("8.55", "12.42")
    assert paper["SN-GAN"] == ("8.22", "21.7")
    assert paper["Progressive GAN"] == ("8.80", "")  # a score alone, and the best of the table
    assert paper["Dist-GAN"] == ("", "17.61")
    assert paper["EAGAN (a successor)"] == ("8.81", "9.91")


def test_the_table_says_that_published_protocols_differ(tree) -> None:
    notes = " ".join(autogan_table(read(tree.write())).notes)
    assert "Published protocols differ" in notes
    assert "SN-GAN's of 10,000 and 5,000 images" in notes


def test_other_protocol_of_the_second_data_set_is_refused(tree, tmp_path) -> None:
    tree.write()
    path = tree.root / "evaluation/reference/photos/records.json"
    tree.change(path, "floor", "train", resize="pool 2")
    with pytest.raises(StageError, match="another protocol"):
        page(tree, tmp_path)


def test_correlation_counts_every_derived_architecture(tree) -> None:
    points = correlation_points(read(tree.write()))
    assert len(points) == 8
    assert sum(p.chosen for p in points) == 4
    assert correlation_title(points).startswith("Spearman rho = ")
    assert correlation_title(points).endswith(", n = 8 distinct")
    assert correlation_title(points[:2]) == "n = 2 distinct: too few for a correlation"


def test_correlation_counts_a_network_that_two_searches_derived_once(tree) -> None:
    """The search without resets is the very same where no reset happened; other seeds are not."""
    tree.seeds = (0, 1)
    tree.write()
    assert len(correlation_points(read(tree))) == 16
    for seed in tree.seeds:
        one, same = (
            tree.folder("autogan.student", row, seed) / "selection.json"
            for row in ("autogan", "no-reset")
        )
        same.write_text(one.read_text())
    results = read(tree)
    points = correlation_points(results)
    assert len(points) == 12
    assert {p.row for p in points} == {"autogan", "random", "no-mlas"}
    (ax,) = correlation_figure(results).axes
    assert ax.get_title().endswith("n = 12 distinct")
    legend = ax.get_legend()
    assert legend.get_title().get_text() == "searches, pooled"
    assert [text.get_text() for text in legend.get_texts()] == ["autogan", "random", "no-mlas"]


def test_a_network_that_one_of_its_rows_chose_is_drawn_as_chosen(tree) -> None:
    tree.write()
    one, same = (
        tree.folder("autogan.student", row) / "selection.json" for row in ("autogan", "no-reset")
    )
    same.write_text(json.dumps(json.loads(one.read_text()) | {"chosen": 0}))
    own = [p for p in correlation_points(read(tree)) if p.row in ("autogan", "no-reset")]
    assert [p.chosen for p in own] == [True, True]


def test_a_score_that_differs_makes_another_network(tree) -> None:
    tree.write()
    one, same = (
        tree.folder("autogan.student", row) / "selection.json" for row in ("autogan", "no-reset")
    )
    content = json.loads(one.read_text())
    content["candidates"][0]["inception_score"] += 1e-9
    content["candidates"][1]["shared_inception_score"] += 1e-9
    same.write_text(json.dumps(content))
    assert len(correlation_points(read(tree))) == 8


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

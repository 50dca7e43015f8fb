"""Figures: each name of each page is drawn, not blank, the same bytes twice, without models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimgen.render.command import MAKE_FIGURE, MAKE_TABLE, render
from slimgen.render.figure_pareto import dots, frontier
from slimgen.render.figure_search import architectures_figure, chosen, cloud, search_figure
from slimgen.render.outputs import FIGURE_FORMATS, FIGURES, TABLE_FORMATS, TABLES
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.style import save_figure, use_style
from slimgen.training.job import StageError

REPORT = Path(__file__).parents[2] / "workflow" / "report"


@pytest.mark.parametrize("page", list(TABLES))
def test_a_page_has_all_its_tables_and_figures(tree, tmp_path, page):
    render(page, tree.write().settings(), tree.root, tmp_path / "out")
    files = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")
    )
    assert files == sorted(
        [f"tables/{name}.{suffix}" for name in TABLES[page] for suffix in TABLE_FORMATS]
        + [f"figures/{name}.{suffix}" for name in FIGURES[page] for suffix in FIGURE_FORMATS]
    )
    for name in FIGURES[page]:
        pixels = np.asarray(Image.open(tmp_path / "out/figures" / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 200
        assert pixels.std() > 5, name
        assert b"CreationDate" not in (tmp_path / "out/figures" / f"{name}.pdf").read_bytes()


def test_the_same_results_give_the_same_figures(tree, tmp_path):
    results = Results(tree.root, parse_render_settings(tree.write().settings()))
    use_style()
    for name in ("pareto", "dbnas_architectures"):
        for folder in ("a", "b"):
            save_figure(MAKE_FIGURE[name](results), tmp_path / folder, name)
        for suffix in FIGURE_FORMATS:
            one, two = (tmp_path / folder / f"{name}.{suffix}" for folder in ("a", "b"))
            assert one.read_bytes() == two.read_bytes()


def test_cloud_and_choices_are_relative_to_the_base(tree):
    results = Results(tree.root, parse_render_settings(tree.write().settings()))
    points = cloud(results, ("random", "S1"))
    sizes = {block: len(found) for block, found in points.items()}
    assert sizes == {block: 3**count for block, count in tree.blocks.items()}
    assert all((1.0, 1.0) in found for found in points.values())
    picks = chosen(results, "S1")
    assert picks["mid_block"] == (1.0, 1.0)
    assert picks["up_blocks.1"][0] == pytest.approx(1 / 9)


def test_each_search_space_has_a_cloud_of_its_own(tree):
    use_style()
    results = Results(tree.root, parse_render_settings(tree.write().settings()))
    labels = search_figure(results).axes[0].get_legend_handles_labels()[1]
    assert {"candidates: kernels", "candidates: kernels_widths"} < set(labels)
    assert cloud(results, ("widths",)).keys() == cloud(results, ("S1",)).keys()


def test_cells_of_narrow_resblocks_are_flat(tree):
    use_style()
    results = Results(tree.root, parse_render_settings(tree.write().settings()))
    (ax,) = architectures_figure(results).axes
    heights = [cell.get_height() for cell in ax.patches]
    assert len(heights) == 6 * sum(tree.blocks.values())  # the base and five searches
    assert heights.count(max(heights)) == len(heights) - 4  # `widths` halves one block's 4 convs
    assert min(heights) == pytest.approx(max(heights) / 2)


def test_frontier_holds_what_nothing_beats(tree):
    results = Results(tree.root, parse_render_settings(tree.write().settings()))
    found = dots(results)
    for axis in ("params", "macs", "nfe", "milliseconds"):
        best = frontier(found, axis)
        for dot in found:
            beaten = any(
                b.costs[axis] <= dot.costs[axis] and b.q <= dot.q and b is not dot for b in best
            )
            assert dot in best or beaten, (axis, dot.label)
        pairs = [(b.costs[axis], b.q) for b in best]
        assert pairs == sorted(pairs)
        assert [q for _, q in pairs] == sorted((q for _, q in pairs), reverse=True)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dbnas_samples", "evaluation/dbnas/S1-linear/seed0/samples.png"),
        ("dbnas_search", "dbnas/search/S1/seed0/candidates.csv"),
        ("dbnas", "dbnas/search/S1/seed0/arch.json"),
        ("denoising_student_interpolation", "denoising_student/student/S2/seed0/interpolation.png"),
        ("act_curves", "act/student/act/seed0/log.jsonl"),
        ("act", "act/student/act/seed0/cost.json"),
    ],
)
def test_a_missing_or_damaged_file_is_named(tree, name, file):
    path = tree.write().root / file
    path.write_text("{")
    for damage in ("damaged", "missing"):
        with pytest.raises(StageError) as caught:
            (MAKE_TABLE.get(name) or MAKE_FIGURE[name])(
                Results(tree.root, parse_render_settings(tree.settings()))
            )
        assert str(path) in str(caught.value), damage
        assert "\n" not in str(caught.value)
        path.unlink(missing_ok=True)


def test_an_unknown_page_is_one_line(tree):
    with pytest.raises(StageError, match="no such page"):
        render("gan", tree.settings(), tree.root, tree.root)


def test_every_table_and_figure_has_a_caption():
    names = {name for group in (TABLES, FIGURES) for names in group.values() for name in names}
    assert {path.stem for path in REPORT.glob("*.rst")} == names | {"workflow"}
    for path in REPORT.glob("*.rst"):
        assert path.read_text().strip().endswith(".")


def test_render_imports_no_torch():
    code = "import sys, slimgen.render.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("system", ["autogan", "gan_compression", "act"])
def test_a_run_of_one_system_has_a_summary(tree, tmp_path, system):
    for other in set(tree.rows) - {system}:
        del tree.rows[other]
    tree.write()
    render("summary", tree.settings(), tree.root, tmp_path / "out")
    assert (tmp_path / "out/figures/pareto.png").is_file()

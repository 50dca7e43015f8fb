"""Tables: exact cells, mean and spread, protocols apart, published apart, same input same bytes."""

import csv
import io
import json

import pytest

from slimgen.render.command import MAKE_FIGURE, MAKE_TABLE
from slimgen.render.number import Number, show
from slimgen.render.outputs import FIGURES, TABLE_FORMATS, TABLES
from slimgen.render.published import published_for, read_published
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.table import Column, Table, as_csv, as_latex, as_markdown, write_table
from slimgen.training.job import StageError


def make(tree, name, **changes):
    return MAKE_TABLE[name](Results(tree.root, parse_render_settings(tree.settings(**changes))))


def cells(table, first="row"):
    """Row label -> column -> text, read back from the CSV that is written."""
    rows = csv.DictReader(io.StringIO(as_csv(table.shown())))
    return {row[first]: row for row in rows}


def test_every_name_has_a_maker():
    assert set(MAKE_TABLE) == {name for names in TABLES.values() for name in names}
    assert set(MAKE_FIGURE) == {name for names in FIGURES.values() for name in names}


def test_dbnas_cells_are_the_records(tree):
    tree.q[("dbnas", "S2-linear", "dpm-20", 0)] = 0.123456789
    table = cells(make(tree.write(), "dbnas"))
    row = table["S2-linear"]
    assert row["q dpm-20"] == "0.123456789"
    assert row["fid_classifier dpm-20"] == format(2.5 + 0.123456789 * 94, ".10g")
    assert row["params"] == str(round(159_697 * 0.82))
    assert row["r"] == "1.1"
    assert (table["S1-linear"]["convs changed (%)"], row["convs changed (%)"]) == ("25", "0")
    cost = 100 * (12 * 9 + 4 * 1) / (16 * 9)
    assert float(table["S1-linear"]["searchable cost (%)"]) == pytest.approx(cost, rel=1e-9)
    assert table["random"]["r"] == ""


def test_inner_widths_have_a_column_where_they_were_searched(tree):
    table = make(tree.write(), "dbnas")
    rows = cells(table)
    share = 100 * (6 * 16 + 2 * 8) / (8 * 16)
    assert float(rows["widths"]["inner width (%)"]) == pytest.approx(share, rel=1e-9)
    assert rows["S2-linear"]["inner width (%)"] == rows["base"]["inner width (%)"] == ""
    assert any("Inner width" in note for note in table.notes)
    for seed in tree.seeds:
        path = tree.folder("dbnas.search", "widths", seed) / "arch.json"
        arch = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in arch.items() if "widths" not in k}))
    without = make(tree, "dbnas")
    assert "inner width (%)" not in cells(without)["widths"]
    assert not any("Inner width" in note for note in without.notes)


def test_summary_has_the_row_of_widths(tree):
    assert cells(make(tree.write(), "summary"))["widths, ddim-10"]["params"]


def test_what_was_not_measured_is_empty(tree):
    table = cells(make(tree.write(), "dbnas"))
    assert table["random"]["q ddim-50"] == table["random"]["fid_classifier dpm-20"] == ""
    assert table["random"]["q ddim-10"]
    assert table["base"]["r"] == table["teacher"]["convs changed (%)"] == ""


@pytest.mark.parametrize(
    ("name", "label"),
    [("dbnas", " ddim-50"), ("denoising_student", ""), ("act", " 1 step"), ("summary", "")],
)
def test_floor_and_gaussian_stand_in_every_table(tree, name, label):
    table = cells(make(tree.write(), name))
    floor, gauss = table["floor: train split"], table["Gaussian fitted to train"]
    assert (floor[f"q{label}"], floor[f"fid_classifier{label}"]) == ("0", "2.5")
    assert (gauss[f"q{label}"], gauss[f"fid_classifier{label}"]) == ("1", "96.5")


def test_notes_name_protocol(tree):
    for name in ("dbnas", "denoising_student", "act", "summary", "claims"):
        notes = " ".join(make(tree.write(), name).notes)
        for part in (
            "1,000 generated images",
            "97.8% of the report split",
            "floor = 2.5",
            "= 96.5",
        ):
            assert part in notes, (name, part)


def test_a_search_that_returns_the_base_says_so(tree):
    notes = " ".join(make(tree.write(), "dbnas").notes)
    assert "Search S2 found nothing cheaper than the base (seed 0)" in notes
    assert "Search S1" not in notes


def test_seeds_give_mean_and_sample_sd(tree):
    tree.seeds = (0, 1, 2)
    for seed, value in zip(tree.seeds, (0.10, 0.14, 0.12), strict=True):
        tree.q[("act", "act", "consistency-1", seed)] = value
    table = make(tree.write(), "act")
    row = cells(table)["act"]
    assert float(row["q 1 step"]) == pytest.approx(0.12)
    assert float(row["q 1 step sd"]) == pytest.approx(0.02)
    assert "| 0.120 ± 0.020 |" in as_markdown(table)


def test_one_seed_has_no_spread(tree):
    table = make(tree.write(), "act")
    assert "±" not in as_markdown(table)
    assert " sd" not in as_csv(table)
    assert "seed 0 alone, so no spread" in table.notes[0]


def test_act_cells(tree):
    table = cells(make(tree.write(), "act"))
    assert table["act"]["training steps"] == "1000"
    assert table["ct-macs"]["training steps"] == "1800"
    assert table["act"]["training MACs (T)"] == "3.2"
    assert table["act"]["final p"] == "0.25"
    assert table["act-noaug"]["final p"] == table["ct"]["final p"] == ""
    q = float(table["act"]["q 1 step"])
    assert float(table["act"]["precision"]) == pytest.approx(0.8 - q / 2)
    assert float(table["act"]["recall"]) == pytest.approx(0.7 - q / 2)
    assert float(table["act"]["IS / IS of report"]) == pytest.approx(1 - q)


def test_student_table_lists_ddim_by_evaluations(tree):
    table = cells(make(tree.write(), "denoising_student"))
    assert [row["NFE"] for name, row in table.items() if name.startswith("teacher, ddim")] == [
        "1", "2", "5", "10", "20", "50", "100",
    ]  # fmt: skip
    assert table["student of teacher"]["NFE"] == "1"
    assert table["teacher, ddim-20"]["images/s"] == "250"


def test_summary_multiplies_macs_by_evaluations(tree):
    table = cells(make(tree.write(), "summary"))
    assert float(table["teacher, ddim-50"]["MACs of a sample (M)"]) == pytest.approx(50 * 2.496)
    assert float(table["act, 2 steps"]["MACs of a sample (M)"]) == pytest.approx(2 * 2.496)
    assert "random, ddim-10" not in table


def test_tables_choose_rows(tree):
    table = cells(make(tree.write(), "dbnas", tables={"dbnas": ["S2-linear", "base"]}))
    ours = [name for name in table if not name.startswith(("published", "floor", "Gaussian"))]
    assert ours == ["teacher", "S2-linear", "base"]


@pytest.mark.parametrize("name", ["dbnas", "denoising_student", "act"])
def test_published_numbers_never_stand_in_our_columns(tree, name):
    table = make(tree.write(), name)
    rows = cells(table)
    marked = {column for column in next(iter(rows.values())) if column.startswith("published")}
    assert marked
    for label, row in rows.items():
        filled = {column for column, cell in row.items() if cell and column != "row"}
        assert filled <= marked if label.startswith("published") else not filled & marked, label


def test_published_numbers_can_be_trusted(tmp_path):
    numbers = read_published()
    assert {number.trust for number in numbers} <= {"V", "S", "A"}
    values = {(n.system, n.row, n.dataset, n.sampler): n.value for n in numbers}
    assert values["denoising_student", "Denoising Student", "cifar10", "one-step"] == "9.36"
    assert values["act", "ACT", "cifar10", "consistency-1"] == "6.0"
    assert values["act", "CT", "cifar10", "consistency-1"] == "8.70"
    assert values["teacher", "DDPM", "cifar10", "ddim-50"] == "4.67"
    text = (
        "system,row,dataset,metric,sampler,value,source,trust\nact,ACT,cifar10,fid,,9.15,memory,R\n"
    )
    (tmp_path / "recalled.csv").write_text(text)
    with pytest.raises(ValueError, match=r"recalled\.csv:2: trust 'R'"):
        read_published(tmp_path / "recalled.csv")


def test_published_data_set_follows_the_run():
    assert {n.dataset for n in published_for(("teacher",), "digits")} == {"cifar10"}
    assert {n.dataset for n in published_for(("teacher",), "celeba")} == {"celeba"}


def test_same_input_same_bytes_and_other_input_others(tree, tmp_path):
    tree.write()
    for folder in ("a", "b"):
        for name in MAKE_TABLE:
            write_table(make(tree, name), tmp_path / folder)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(f"{name}.{suffix}" for name in MAKE_TABLE for suffix in TABLE_FORMATS)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    tree.change(tree.measured("dbnas", "S2-linear"), "q", "ddim-10", value=0.9)
    for name, changed in (("dbnas", True), ("summary", True), ("claims", True), ("act", False)):
        write_table(make(tree, name), tmp_path / "b")
        for suffix in TABLE_FORMATS:
            before = (tmp_path / "a" / f"{name}.{suffix}").read_bytes()
            assert ((tmp_path / "b" / f"{name}.{suffix}").read_bytes() != before) is changed


def test_latex_is_escaped():
    table = Table(
        "t",
        "50 % of a_b",
        (Column("x_1"), Column("y", ".1f")),
        ({"x_1": "a & b", "y": Number((1.0, 2.0))},),
    )
    text = as_latex(table)
    assert r"a \& b & 1.5 $\pm$ 0.7 \\" in text
    assert r"\caption{50 \% of a\_b.}" in text


@pytest.mark.parametrize(
    ("values", "text"),
    [((12.0934,), "12.09"), ((0.036841,), "0.03684"), ((1234.56,), "1,235"), ((0.0,), "0.000"),
     ((96.5, 97.5), "97.00 ± 0.71")],
)  # fmt: skip
def test_significant_digits(values, text):
    assert show(Number(values), "4s") == text


def test_signed_numbers_have_unsigned_spread():
    assert show(Number((0.1, 0.3)), "+.2f") == "+0.20 ± 0.14"


def test_protocols_never_share_a_column(tree):
    tree.write()
    path = tree.measured("dbnas", "random")
    tree.change(path, "fid_classifier", "dpm-10", num_images=500)
    with pytest.raises(StageError, match="500 images cannot share a column with 1000") as caught:
        make(tree, "dbnas")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_classifier_is_another_protocol(tree):
    tree.write()
    tree.change(
        tree.measured("act", "ct"), "fid_classifier", "consistency-1", features_sha256="0" * 64
    )
    with pytest.raises(StageError, match="another protocol"):
        make(tree, "act")


def test_rows_of_different_code_are_said(tree):
    tree.write()
    assert "different versions" not in " ".join(make(tree, "act").notes)
    tree.change(tree.measured("act", "ct"), "params", code="0ther")
    assert "different versions" in " ".join(make(tree, "act").notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{", "cannot be read"),
        ("[]", "schema 1"),
        ('{"schema": 1, "records": [{"value": 1}]}', "record 0: no 'metric'"),
    ],
)
def test_bad_records_are_one_line_with_the_file(tree, text, message):
    path = tree.write().measured("act", "ct")
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(StageError) as caught:
        make(tree, "act")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_metric_that_one_seed_lacks_is_an_error(tree):
    tree.seeds = (0, 1)
    path = tree.write().measured("act", "ct", 1)
    tree.rename(path, "q", "consistency-1", "kid_classifier")
    with pytest.raises(StageError, match="though another seed has it") as caught:
        make(tree, "act")
    assert str(path) in str(caught.value)


def test_pointer_and_records_must_name_the_same_model(tree):
    tree.write()
    folder = tree.folder("act.student", "act")
    pointer = folder / "diffusion_pytorch_model.safetensors.dvc"
    pointer.write_text(f"outs:\n- md5: {'b' * 32}\n  path: diffusion_pytorch_model.safetensors\n")
    make(tree, "act")
    pointer.write_text(f"outs:\n- md5: {'c' * 32}\n  path: diffusion_pytorch_model.safetensors\n")
    with pytest.raises(StageError, match="c" * 32) as caught:
        make(tree, "act")
    assert str(pointer) in str(caught.value)
    assert str(tree.measured("act", "act")) in str(caught.value)


def test_what_is_trained_beside_a_generator_has_a_pointer_of_its_own(tree):
    tree.write()
    folder = tree.folder("act.student", "act")
    adversary = folder / "adversary.safetensors.dvc"
    adversary.write_text(f"outs:\n- md5: {'a' * 32}\n  path: adversary.safetensors\n")
    make(tree, "act")
    generator = folder / "model.safetensors.dvc"
    generator.write_text(f"outs:\n- md5: {'c' * 32}\n  path: model.safetensors\n")
    with pytest.raises(StageError, match="c" * 32):
        make(tree, "act")


def test_bad_settings_are_one_line(tree):
    with pytest.raises(StageError, match="settings are not JSON"):
        parse_render_settings("{")
    with pytest.raises(StageError, match=r"render\.seed.*unknown key"):
        parse_render_settings(json.dumps(json.loads(tree.settings()) | {"seed": 1}))

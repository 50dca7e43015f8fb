"""The page of GAN Compression, and its part of the summary: cells, claims, clouds, faults."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PIL import Image

from slimgen.render.claims_gan_compression import updates
from slimgen.render.command import MAKE_FIGURE, MAKE_TABLE
from slimgen.render.figure_gan_compression import (
    Cloud,
    cloud,
    curve_panels,
    front,
    search_figure,
)
from slimgen.render.figure_pareto import pareto_figure
from slimgen.render.gan_compression import exported, searches, supernets, tasks
from slimgen.render.judgement import HELD, NOT_HELD, UNDECIDED, judge_exact
from slimgen.render.published import read_published
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.style import use_style
from slimgen.render.table import as_csv
from slimgen.training.job import StageError

SYSTEM = "gan_compression"
KEEPS = "edges: compressed keeps 85% of the teacher's quality"
BEATS = "edges: compressed (450 + 1,000 updates) beats"


def read(tree) -> Results:
    return Results(tree.root, parse_render_settings(tree.settings()))


def rows(tree, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(MAKE_TABLE[name](read(tree)).shown()))))


def claims(tree) -> list[dict[str, str]]:
    return [row for row in rows(tree, "claims") if row["paper"] == "GAN Compression"]


def set_metric(tree, row, metric, values):
    for seed, value in enumerate(values):
        path = tree.measured(SYSTEM, row, seed)
        sampler = None if metric == "macs" else "translation"
        tree.change(path, metric, sampler, value=value)


def set_q(tree, row, values):
    for seed, value in enumerate(values):
        tree.q[(SYSTEM, row, "translation", seed)] = value


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_rows_stand_with_their_task_before_the_next_one(tree):
    table = rows(tree.write(), SYSTEM)
    ours = [(row["data set"], row["row"]) for row in table if row["task"]]
    edges = [row for row in tree.rows[SYSTEM] if "cyclegan" not in row]
    assert [row for dataset, row in ours if dataset == "edges"][:-3] == edges
    datasets = [dataset for dataset, _ in ours]
    assert datasets == sorted(datasets)  # edges, then strokes
    for dataset in ("edges", "strokes"):
        assert ours[datasets.index(dataset)][1].startswith("teacher-")
        assert (dataset, f"floor: train split, {dataset}") in ours


def test_cells_are_the_records(tree):
    set_q(tree, "pix2pix", [0.123456789])
    tree.write()
    table = {row["row"]: row for row in rows(tree, SYSTEM)}
    row = table["pix2pix"]
    assert row["q"] == "0.123456789"
    assert row["fid_classifier"] == format(2.5 + 0.123456789 * 94, ".10g")
    quality = 1 - 0.02 * tree.rows[SYSTEM].index("pix2pix")
    assert float(row["accuracy"]) == pytest.approx(0.95 * quality)
    assert float(row["PSNR (dB)"]) == pytest.approx(18 * quality)
    assert float(row["SSIM"]) == pytest.approx(0.8 * quality)
    assert float(row["MACs (M)"]) == pytest.approx(0.2496)
    assert float(row["MACs, torchprofile rule (M)"]) == pytest.approx(3 * quality)
    assert float(row["MACs of teacher / MACs"]) == pytest.approx(10)
    assert float(row["latency IQR (ms)"]) == 0.1
    assert row["latency, onnxruntime (ms)"] == "0.25"
    assert row["widths"] == "8_24_16_8"
    assert table["scratch"]["latency, onnxruntime (ms)"] == ""
    assert table["uniform"]["widths"] == table["teacher-pix2pix"]["widths"] == ""
    assert table["teacher-pix2pix"]["MACs of teacher / MACs"] == ""
    assert table["cyclegan"]["PSNR (dB)"] == table["cyclegan"]["SSIM"] == ""
    assert table["targets of the report split, edges"]["accuracy"] == "0.9783"


def test_widths_of_every_seed_are_told(tree):
    tree.seeds = (0, 1)
    tree.write()
    edit(tree.folder("gan_compression.search", "pix2pix", 1) / "arch.json", "[8, 24", "[16, 24")
    table = {row["row"]: row for row in rows(tree, SYSTEM)}
    assert table["pix2pix"]["widths"] == "8_24_16_8; 16_24_16_8"


def test_a_ratio_is_to_the_full_teacher_through_every_origin(tree):
    tree.write()
    path = tree.folder("gan_compression.student", "pix2pix") / "settings.json"
    edit(path, "teacher/pix2pix", "pretrain/narrow")
    (edges, _) = tasks(read(tree))
    for row in ("mobile-pix2pix", "pretrain-narrow", "pix2pix", "scratch"):
        assert edges.teacher_of(row) == "teacher-pix2pix"
    assert edges.teacher_of("teacher-pix2pix") is None


def test_the_compressed_row_is_found_by_its_settings(tree):
    tree.rows[SYSTEM].remove("pix2pix")
    tree.rows[SYSTEM].append("pix2pix")  # the order says nothing
    (edges, strokes) = tasks(read(tree.write()))
    assert (edges.compressed, strokes.compressed) == ("pix2pix", "cyclegan")
    assert edges.students(arch="uniform") == ["uniform"]
    assert edges.method("random-widths") == "random"


def test_published_rows_are_the_readme_and_stand_apart(tree):
    ours = [number for number in read_published() if number.system == SYSTEM]
    assert {number.trust for number in ours} == {"V"}
    kinds = {number.row.split(",")[0] for number in ours}
    assert kinds == {"CycleGAN", "pix2pix", "GauGAN"}  # what a row of ours can stand beside
    table = rows(tree.write(), SYSTEM)
    marked = {column for column in table[0] if column.startswith("published")}
    for row in table:
        filled = {column for column, cell in row.items() if cell} - {"row", "data set"}
        published = row["row"].startswith("published")
        assert filled <= marked if published else not filled & marked
    paper = {(row["row"], row["data set"]): row for row in table}
    row = paper["published: CycleGAN, GAN Compression (paper)", "horse2zebra"]
    assert row["published: params (M)"] == "0.342"
    assert row["published: MACs, torchprofile rule (G)"] == "2.67"
    assert row["published: FID (Inception)"] == "65.33"
    assert paper["published: GauGAN, original", "cityscapes"]["published: mIoU"] == "61.04"


def test_every_data_set_has_its_own_protocol(tree):
    path = tree.write().root / "evaluation/reference/strokes/records.json"
    tree.change(path, "floor", "train", resize="mean over 2x2 pixels, as floats")
    for page in (SYSTEM, "summary"):
        with pytest.raises(StageError, match="another protocol"):
            MAKE_TABLE[page](read(tree))
    for row in ("teacher-cyclegan", "cyclegan"):
        for metric in ("fid_classifier", "q"):
            tree.change(
                tree.measured(SYSTEM, row),
                metric,
                "translation",
                resize="mean over 2x2 pixels, as floats",
            )
    notes = " ".join(MAKE_TABLE[SYSTEM](read(tree)).notes)
    pooled = "the classifier of another data set (mean over 2x2 pixels, as floats) (right on 97.8%"
    assert "strokes: 1,000 generated images against the report split; " in notes
    assert pooled in notes


def test_a_data_set_without_labels_has_no_accuracy_to_tell(tree):
    path = tree.write().root / "evaluation/reference/edges/records.json"
    tree.rename(path, "classifier_accuracy", "report", "kid_classifier")
    table = MAKE_TABLE[SYSTEM](read(tree))
    assert "targets of the report split, edges" not in {row["row"] for row in table.rows}
    assert "right on" not in table.notes[0]


def test_measuring_stages_of_two_kinds_are_not_two_versions_of_the_code(tree):
    tree.write()
    for row in tree.rows[SYSTEM]:
        edit(tree.measured(SYSTEM, row), '"c0de"', '"other"')
    words = "different versions of the code"
    assert words not in " ".join(MAKE_TABLE["summary"](read(tree)).notes)
    edit(tree.measured(SYSTEM, "scratch"), '"other"', '"third"')
    assert words in " ".join(MAKE_TABLE[SYSTEM](read(tree)).notes)


def test_the_summary_names_the_data_set_of_every_translator(tree):
    table = rows(tree.write(), "summary")
    found = [(r["data set"], r["row"]) for r in table if r["system"] == SYSTEM]
    assert found == [
        ("edges", "teacher-pix2pix"),
        ("edges", "pix2pix"),
        ("strokes", "teacher-cyclegan"),
        ("strokes", "cyclegan"),
    ]
    labels = [row["row"] for row in table]
    assert len(set(labels)) == len(labels)  # floors too are told apart
    assert "floor: train split, strokes" in labels


def test_a_run_without_translators_has_no_column_of_data_sets(tree):
    del tree.rows[SYSTEM]
    tree.write()
    assert "data set" not in rows(tree, "summary")[0]
    assert "measure" not in rows(tree, "claims")[0]
    assert not claims(tree)


def test_pareto_has_a_panel_per_data_set(tree):
    use_style()
    figure = pareto_figure(read(tree.write()))
    titles = [ax.get_title() for ax in figure.axes]
    assert [t for t in titles if t] == ["translation: edges", "translation: strokes"]
    drawn = [text.get_text() for text in figure.axes[4].get_legend().get_texts()]
    assert drawn == [row for row in tree.rows[SYSTEM] if "cyclegan" not in row]


@pytest.mark.parametrize(
    ("macs", "verdict"),
    [
        ([277_333] * 3, HELD),  # 9.00001 times fewer
        ([300_000] * 3, NOT_HELD),
        ([249_600, 249_600, 300_000], UNDECIDED),
    ],
)
def test_the_claim_on_macs_counts_every_seed(tree, macs, verdict):
    tree.seeds = (0, 1, 2)
    tree.write()
    set_metric(tree, "pix2pix", "macs", macs)
    (claim,) = [c for c in claims(tree) if c["claim"].startswith("edges: at least 9 times")]
    assert claim["verdict"] == verdict
    lacks = [9 - 2_496_000 / value for value in macs]
    assert float(claim["A falls short by"]) == pytest.approx(np.mean(lacks))


def test_one_seed_is_enough_for_counts_and_for_nothing_else(tree):
    verdicts = {(c["claim"], c["measure"]): c["verdict"] for c in claims(tree.write())}
    macs = "edges: at least 9 times fewer MACs than the teacher"
    assert verdicts.pop((macs, "MACs of B / A")) == HELD
    assert all("seed" in v or "no row" in v or v == HELD for v in verdicts.values())
    assert verdicts[KEEPS, "q"] == "undecided (1 seed)"


@pytest.mark.parametrize(
    ("metric", "teacher", "ours", "verdict"),
    [
        ("q", 0.17, 0.19, HELD),  # at most 0.2 + 0.02
        ("q", 0.17, 0.24, NOT_HELD),
        ("q", -0.10, -0.09, HELD),  # better than the floor: the slack alone
        ("q", -0.10, -0.07, NOT_HELD),
        ("accuracy", 0.9, 0.80, HELD),  # at least 0.765
        ("accuracy", 0.9, 0.75, NOT_HELD),
        ("psnr", 20.0, 17.1, HELD),  # at least 17
        ("psnr", 20.0, 16.9, NOT_HELD),
    ],
)
def test_what_a_compressed_generator_must_keep(tree, metric, teacher, ours, verdict):
    tree.seeds = (0, 1, 2)
    tree.write()
    wobble = (-1e-4, 0.0, 1e-4)
    set_metric(tree, "teacher-pix2pix", metric, [teacher] * 3)
    set_metric(tree, "pix2pix", metric, [ours + w for w in wobble])
    name = {"psnr": "PSNR (dB)"}.get(metric, metric)
    (claim,) = [c for c in claims(tree) if c["claim"] == KEEPS and c["measure"] == name]
    assert claim["verdict"] == verdict
    assert (claim["A"], claim["B"]) == ("pix2pix", "teacher-pix2pix")
    assert float(claim["95 % from"]) < float(claim["A falls short by"]) < float(claim["to"])


def test_baselines_are_compared_by_every_measure(tree):
    tree.seeds = (0, 1, 2)
    tree.write()
    set_metric(tree, "scratch", "q", [0.10, 0.11, 0.10])
    set_metric(tree, "scratch", "accuracy", [0.99, 0.70, 0.95])
    found = {
        c["measure"]: c
        for c in claims(tree)
        if c["claim"] == f"{BEATS} training from scratch (1,000 updates)"
    }
    assert set(found) == {"q", "accuracy", "PSNR (dB)"}
    assert found["q"]["verdict"] == NOT_HELD
    assert found["accuracy"]["verdict"] == UNDECIDED
    assert found["PSNR (dB)"]["verdict"] == HELD
    others = {c["claim"]: c["B"] for c in claims(tree) if c["B"]}
    tuned = "450 + 1,000 updates"
    assert others[f"{BEATS} fine-tuning without distillation ({tuned})"] == "no-distill"
    assert others[f"{BEATS} one width everywhere (1,000 updates)"] == "uniform"
    assert others[f"{BEATS} random widths of the same budget ({tuned})"] == "random-widths"


def test_every_row_of_a_baseline_makes_a_claim_that_names_its_updates(tree):
    """Beside equal steps of the fine-tuning stand as many as the supernet had too."""
    tree.seeds = (0, 1, 2)
    set_q(tree, "pix2pix", [0.10, 0.101, 0.102])
    set_q(tree, "scratch", [0.20, 0.201, 0.202])
    set_q(tree, "scratch-long", [0.05, 0.051, 0.052])
    found = [c for c in claims(tree.write()) if "training from scratch" in c["claim"]]
    assert [(c["B"], c["claim"], c["verdict"]) for c in found if c["measure"] == "q"] == [
        ("scratch", f"{BEATS} training from scratch (1,000 updates)", HELD),
        ("scratch-long", f"{BEATS} training from scratch (1,450 updates)", NOT_HELD),
    ]
    assert len(found) == 6  # q, accuracy, PSNR


def test_updates_are_those_of_all_that_a_row_began_as(tree):
    tree.write()
    supernet = tree.folder("gan_compression.supernet", "pix2pix") / "settings.json"
    edit(supernet, '"begin": "random", "teacher": "teacher/', '"begin": "teacher", "teacher": "')
    edit(supernet, '"teacher": "pix2pix"', '"teacher": "pretrain/narrow"')
    pretrain = tree.folder("gan_compression.pretrain", "narrow") / "settings.json"
    edit(pretrain, '"steps": 1000', '"begin": "teacher", "steps": 70')
    (edges, _) = tasks(read(tree))
    assert updates(edges, "pix2pix") == "1,000 + 70 + 450 + 1,000 updates"
    edit(supernet, '"begin": "teacher"', '"begin": "teacher", "begin_from": "pretrain/narrow"')
    edit(supernet, '"teacher": "pretrain/narrow"', '"teacher": "mobile_teacher/pix2pix"')
    assert updates(edges, "pix2pix") == "1,000 + 70 + 450 + 1,000 updates"
    assert updates(edges, "scratch") == "1,000 updates"


def test_baselines_that_are_missing_are_told_where_others_exist(tree):
    found = {c["claim"]: c["verdict"] for c in claims(tree.write())}
    fresh = "fine-tuning with a fresh discriminator"
    assert found[f"edges: compressed beats {fresh}"] == f"not measured (no row of {fresh})"
    assert not [claim for claim in found if claim.startswith("strokes") and "beats" in claim]


def test_a_fresh_discriminator_is_one_of_the_fine_tuning(tree):
    path = tree.write().folder("gan_compression.student", "no-distill") / "settings.json"
    edit(path, '"distill": false', '"distill": true')
    edit(path, '"discriminator_init": "teacher"', '"discriminator_init": "fresh"')
    found = {c["claim"]: c["B"] for c in claims(tree) if c["B"]}
    tuned = "fine-tuning with a fresh discriminator (450 + 1,000 updates)"
    assert found[f"{BEATS} {tuned}"] == "no-distill"


def test_a_task_without_a_compressed_row_says_so(tree):
    tree.rows[SYSTEM].remove("cyclegan")
    found = [c for c in claims(tree.write()) if c["claim"].startswith("strokes")]
    assert [c["verdict"] for c in found] == [
        "not measured (no row of a searched, distilled student)"
    ]


def test_counts_are_judged_without_an_interval():
    assert judge_exact((-1.0, 0.0)).verdict == HELD
    assert judge_exact((0.5,)).verdict == NOT_HELD
    assert judge_exact((0.5, -0.5)).verdict == UNDECIDED
    assert judge_exact((-1.0, 0.0)).low is None


def test_a_cloud_is_what_the_search_wrote(tree):
    found = cloud(read(tree.write()), "pix2pix", 0)
    assert len(found.points) == sum(
        1
        for a in (8, 16, 24)
        for b in (8, 16, 24)
        for c in (8, 16, 24)
        for d in (8, 16, 24)
        if a + b + c + d <= 60
    )
    assert found.chosen in found.points
    assert found.budget == 60_000
    assert cloud(read(tree), "cyclegan", 0).budget is None


def test_a_budget_by_another_rule_is_no_line_over_true_macs(tree):
    path = tree.write().folder("gan_compression.search", "pix2pix") / "arch.json"
    edit(path, '"budget": 60000', '"budget_rule": "exact", "budget": 60000')
    assert cloud(read(tree), "pix2pix", 0).budget == 60_000
    edit(path, '"exact"', '"torchprofile"')
    assert cloud(read(tree), "pix2pix", 0).budget is None


def test_a_search_without_a_budget_has_no_line_of_it(tree):
    path = tree.write().folder("gan_compression.search", "pix2pix") / "arch.json"
    edit(path, '"budget": 60000', '"budget": null')  # in the first panel, where a second has one
    figure = search_figure(read(tree))
    drawn = {ax.get_title(): "budget" in ax.get_legend_handles_labels()[1] for ax in figure.axes}
    assert drawn == {"pix2pix (edges)": False, "random (edges)": True, "cyclegan (strokes)": False}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["candidates", "front", "chosen", "budget"]


@pytest.mark.parametrize(("criterion", "better"), [("fid", min), ("accuracy", max), ("psnr", max)])
def test_the_front_holds_what_nothing_beats(criterion, better):
    rng = np.random.default_rng(0)
    points = tuple((float(m), float(s)) for m, s in rng.integers(0, 30, (40, 2)))
    best = front(Cloud(points, points[0], None, criterion))
    for macs, score in points:
        beaten = [s for m, s in best if m <= macs]
        assert better([*beaten, score]) in beaten
    assert all(point in points for point in best)
    assert [m for m, _ in best] == sorted({m for m, _ in best})


def test_searches_supernets_and_exports_are_those_of_the_rows(tree):
    results = read(tree.write())
    expected = {"pix2pix": "edges", "random": "edges", "cyclegan": "strokes"}
    assert searches(results) == expected
    assert supernets(results) == ("pix2pix", "cyclegan")
    assert exported(results, "scratch") is None
    assert exported(results, "pix2pix") == [{"latency_ms": 0.25, "largest_difference": 1e-6}]


def test_curves_are_those_that_were_logged(tree):
    panels = {
        panel.title: [line.label for line in panel.lines]
        for panel in curve_panels(read(tree.write()))
    }
    assert panels["teacher: cycle loss"] == ["cyclegan"]
    assert panels["teacher: reconstruction loss"] == ["pix2pix"]
    assert "scratch" not in panels["student: distillation loss"]
    assert panels["supernet: adversarial loss"] == ["pix2pix", "cyclegan"]
    assert "teacher: feature matching" not in panels


def test_samples_show_input_teacher_compressed_target(tree):
    tree.write()
    shades = {"inputs.png": 10, "samples.png": 90, "targets.png": 250}
    folder = tree.measured(SYSTEM, "teacher-pix2pix").parent
    for name, grey in shades.items():
        Image.new("L", (64, 64), grey).save(folder / name)
    Image.new("L", (64, 64), 170).save(tree.measured(SYSTEM, "pix2pix").with_name("samples.png"))
    use_style()
    figure = MAKE_FIGURE["gan_compression_samples"](read(tree))
    greys = [int(np.asarray(ax.images[0].get_array()).mean()) for ax in figure.axes[:4]]
    assert greys == [10, 90, 170, 250]
    assert [ax.get_title() for ax in figure.axes[:4]] == [
        "edges: input",
        "teacher-pix2pix",
        "pix2pix (10.0 times fewer MACs)",
        "target",
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gan_compression", "gan_compression/search/pix2pix/seed0/arch.json"),
        ("gan_compression_widths", "gan_compression/search/random/seed0/arch.json"),
        ("gan_compression_search", "gan_compression/search/cyclegan/seed0/candidates.csv"),
        ("gan_compression_curves", "gan_compression/supernet/pix2pix/seed0/log.jsonl"),
        ("gan_compression_samples", "evaluation/gan_compression/pix2pix/seed0/samples.png"),
        ("gan_compression_samples", "evaluation/gan_compression/teacher-cyclegan/seed0/inputs.png"),
        ("summary", "evaluation/gan_compression/cyclegan/seed0/records.json"),
        ("pareto", "evaluation/reference/edges/records.json"),
    ],
)
def test_a_missing_or_damaged_file_is_named(tree, name, file):
    path = tree.write().root / file
    path.write_text("{")
    for damage in ("damaged", "missing"):
        with pytest.raises(StageError) as caught:
            (MAKE_TABLE.get(name) or MAKE_FIGURE[name])(read(tree))
        assert str(path) in str(caught.value), damage
        assert "\n" not in str(caught.value)
        path.unlink(missing_ok=True)

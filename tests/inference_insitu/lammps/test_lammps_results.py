"""Results survive a kill, the comparison counts right, and the picture is drawn."""

import io
import json
import shutil

import fake_predictions as fakes
import h5py
import numpy as np
import pytest

from cdi.config import write_config
from inference_insitu.inference.progress import ProgressLine, describe
from inference_insitu.inference.results import ResultsFile, StoredResult, read_results
from inference_insitu.lammps import dxa, folder
from inference_insitu.lammps.comparison import auroc, compare
from inference_insitu.lammps.compression import LoadReading, Motion, orientation, rotation
from inference_insitu.lammps.config import InsituConfig, LoadConfig
from inference_insitu.lammps.picture import CLASS_COLOURS, chosen_results
from inference_insitu.lammps.report import finish_run
from models.prediction import CLASSES


def append(sink, step, probability=0.75, lines=2, undetermined=""):
    sink.append(fakes.frame(step), fakes.exposure(step), fakes.prediction(probability, lines, undetermined))


def analysis(step, length):
    line = dxa.TrueLine([[0, 0, 0], [0, 0, length]], (0.5, 0.5, 0.0), length, 90.0)
    return dxa.Analysis(step, (line,) if length else ())


def test_every_result_can_be_read_while_the_run_goes_on_and_after_a_kill(tmp_path):
    """A copy of the file as it is on disk, never closed, holds all results so far under a partial name."""
    sink = ResultsFile(tmp_path / "results-0.0.h5")
    for count, step in enumerate((0, 20, 50), start=1):
        append(sink, step)
        copy = tmp_path / f"copy{count}"
        copy.mkdir()
        shutil.copy(tmp_path / "results-0.0.partial.h5", copy / "results-0.0.partial.h5")
        assert [stored.step for stored in read_results(copy)] == [0, 20, 50][:count]
    assert not (tmp_path / "results-0.0.h5").exists()
    sink.close()
    assert not (tmp_path / "results-0.0.partial.h5").exists()
    stored = read_results(tmp_path)[1]
    assert stored.defect_probability == 0.75
    assert (stored.counts == fakes.pattern(20)).all()
    assert (stored.q_step == fakes.grid().step).all()
    assert stored.prediction == fakes.prediction().to_json()
    assert stored.defect_class == "edge"


def test_a_frame_that_a_second_life_answered_again_is_there_once(tmp_path):
    """Lives are ordered as numbers: the tenth comes after the second."""
    for life, probability in ((2, 0.25), (10, 0.75)):
        sink = ResultsFile(tmp_path / f"results-0.{life}.h5")
        append(sink, 0, probability)
        append(sink, life)
        sink.close()
    stored = read_results(tmp_path)
    assert [result.step for result in stored] == [0, 2, 10]
    assert stored[0].defect_probability == 0.75


def test_a_file_that_a_kill_left_unreadable_costs_only_itself(tmp_path, capsys):
    sink = ResultsFile(tmp_path / "results-0.1.h5")
    append(sink, 30)
    sink.close()
    whole = (tmp_path / "results-0.1.h5").read_bytes()
    (tmp_path / "results-0.0.partial.h5").write_bytes(whole[: len(whole) // 2])
    assert [stored.step for stored in read_results(tmp_path)] == [30]
    assert "results-0.0.partial.h5 is left out" in capsys.readouterr().err


def test_a_row_holds_the_phase_of_its_one_reflection_and_why_it_is_undetermined(tmp_path):
    """``phase`` is (x, y, z) a row; why it is undetermined stands in JSON too; the numbers of a frame have units."""
    sink = ResultsFile(tmp_path / "results-0.0.h5")
    for step, reason in ((0, "novel"), (10, ""), (20, "unsure")):
        append(sink, step, undetermined=reason)
    sink.close()
    with h5py.File(tmp_path / "results-0.0.h5") as file:
        assert list(file.attrs["classes"]) == list(CLASSES)
        group = file["pattern/12x10x8"]
        assert group["phase"].shape == (3, 6, 5, 4)
        np.testing.assert_array_equal(group["phase"][1], fakes.prediction().phase[0])
        assert list(group["undetermined"]) == [True, False, True]
        assert list(group["undetermined_because"].asstr()) == ["novel", "", "unsure"]
        assert list(group["load_nN"]) == [0.0, 15.0, 30.0]
        assert group["time_ps"].attrs["units"] == "ps"
    assert [stored.prediction["undetermined_because"] for stored in read_results(tmp_path)] == ["novel", None, "unsure"]


def test_every_class_has_a_colour_of_its_own():
    assert set(CLASS_COLOURS) == set(CLASSES)
    assert len(set(CLASS_COLOURS.values())) == len(CLASSES)


def test_auroc_is_the_probability_of_the_right_order():
    score, actual = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    assert auroc(score, actual) == 0.875
    assert auroc(score, np.ones(4, bool)) is None


def test_agreement_is_counted_over_steps_that_have_both():
    stored = [read(step, p, n) for step, p, n in ((0, 0.1, 0), (10, 0.7, 2), (20, 0.6, 1), (30, 0.2, 0))]
    truth = [analysis(0, 0), analysis(10, 4.0), analysis(20, 40.0), analysis(30, 50.0), analysis(40, 60.0)]
    found = compare(stored, truth, minimum_length_A=10)
    # Step 10 has too little of a line to count: said wrongly; 20 right, 30 missed.
    assert found["steps"] == 4
    assert found["dislocated_steps"] == 2
    assert (found["first_dislocated_step"], found["first_predicted_step"]) == (20, 10)
    assert (found["accuracy"], found["f1"], found["auroc"]) == (0.5, 0.5, 0.5)
    assert found["count_mean_absolute_error"] == 0.5


def read(step, probability, lines):
    p = fakes.prediction(probability, lines)
    return StoredResult(
        step, probability, p.defect_class, lines, False, p.to_json(), fakes.pattern(step), fakes.grid().step,
        p.line_density, p.support, p.voxel,
    )  # fmt: skip


def test_the_moments_shown_are_before_at_and_after_the_onset():
    stored = [read(step, 0.5, 1) for step in (0, 10, 20, 30, 40)]
    truth = [analysis(step, length) for step, length in ((0, 0), (10, 0), (20, 12.0), (30, 90.0), (40, 30.0))]
    assert [r.step for r in chosen_results(stored, 20, truth)] == [10, 20, 30]
    assert [r.step for r in chosen_results(stored, None)] == [0, 20, 40]
    assert chosen_results([], 20) == []


def keep_books(folder, inferred, dropped):
    """Books and a ledger of rank 0 that agree: ``inferred`` patterns and those dropped as superseded."""
    counts = {"published": inferred + dropped, "inferred": inferred, "open": 0, "dropped": {"superseded": dropped}}
    if not dropped:
        counts["dropped"] = {}
    latency = {"p50": 0.1, "p95": 0.1, "p99": 0.1, "max": 0.1} if inferred else {}
    books = counts | {"balanced": True, "latency_s": latency, "wall_s": 1.0, "streams": {"pattern": counts}}
    (folder / "books.json").write_text(json.dumps(books))
    outcomes = ["inferred"] * inferred + ["superseded"] * dropped
    rows = [f"pattern,0,{10 * number},{outcome}" for number, outcome in enumerate(outcomes)]
    (folder / "ledger-0.csv").write_text("\n".join(["stream,rank,step,outcome", *rows]) + "\n")


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_the_report_is_made_of_however_few_results(tmp_path, frames):
    config = InsituConfig(load=LoadConfig(steps=50))
    write_config(config, tmp_path / folder.CONFIG)
    sink = ResultsFile(tmp_path / "results-0.0.h5")
    for step in range(0, 10 * frames, 10):
        append(sink, step)
    sink.close()
    keep_books(tmp_path, frames, 2 if frames else 0)
    with folder.LoadCurve(tmp_path / folder.LOAD) as curve:
        for step in range(0, 10 * frames + 1, 10):
            curve.add(LoadReading(step, 0.004 * step, 60 - step / 10, step / 600, float(step)))
    line, problems = finish_run(tmp_path, config, {"steps": 50})
    assert problems == []
    assert (line["published"], line["inferred"]) == (frames + 2 if frames else 0, frames)
    assert line["steps"] == 50
    assert json.loads((tmp_path / folder.SUMMARY).read_text()) == line
    assert (tmp_path / folder.PICTURE).stat().st_size > 10_000


def test_patterns_that_an_engine_answered_are_part_of_the_run(tmp_path):
    """Volumes of both sides are read by step; the summary says what became of what was handed over."""
    (tmp_path / "transit/answered").mkdir(parents=True)
    for path, steps in (("results-0.0.h5", (0, 30)), ("transit/answered/results-0.0.h5", (10, 20))):
        sink = ResultsFile(tmp_path / path)
        for step in steps:
            append(sink, step)
        sink.close()
    assert [one.step for one in read_results(tmp_path)] == [0, 10, 20, 30]
    keep_books(tmp_path, 4, 0)
    books = json.loads((tmp_path / "books.json").read_text())
    for counts in (books, books["streams"]["pattern"]):
        counts |= {"inferred": 2, "handed_over": 2}
    (tmp_path / "books.json").write_text(json.dumps(books))
    ledger = tmp_path / "ledger-0.csv"
    ledger.write_text(
        ledger.read_text().replace("10,inferred", "10,handed_over").replace("20,inferred", "20,handed_over")
    )
    (tmp_path / "transit-0.csv").write_text("stream,rank,step,outcome\npattern,0,10,inferred\npattern,0,20,failed\n")
    line, problems = finish_run(tmp_path, InsituConfig(), {})
    assert (line["inferred"], line["handed_over"], line["in_transit"]) == (2, 2, {"inferred": 1, "failed": 1})
    assert [problem for problem in problems if "the picture" not in problem] == []


def test_a_folder_that_is_used_again_keeps_nothing_that_an_engine_would_go_on_from(tmp_path):
    for name in ("config.yaml", "transit-0.csv", "transit/job.json", "transit/checkpoints/a/chk-1/_metadata", "mine"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folder.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_picture_that_cannot_be_drawn_loses_nothing_but_itself(tmp_path):
    """The load curve is missing: the summary is there all the same, and the problem is told."""
    keep_books(tmp_path, 3, 0)
    line, problems = finish_run(tmp_path, InsituConfig(), {})
    assert line["published"] == 3
    assert (tmp_path / folder.SUMMARY).is_file()
    assert len(problems) == 1
    assert "the picture failed" in problems[0]


def test_a_run_of_which_nothing_was_inferred_says_so(tmp_path):
    keep_books(tmp_path, 0, 3)
    _, problems = finish_run(tmp_path, InsituConfig(), {})
    assert "no pattern was inferred out of 3: {'superseded': 3}" in problems


def test_books_that_disagree_with_the_ledger_are_a_problem(tmp_path):
    keep_books(tmp_path, 3, 1)
    with (tmp_path / "ledger-0.csv").open("a") as file:
        file.write("pattern,0,70,lost\n")
    _, problems = finish_run(tmp_path, InsituConfig(), {})
    assert any("dropped as 'lost'" in problem for problem in problems)


def test_an_earlier_run_is_replaced_only_when_asked_and_only_its_own_files(tmp_path):
    folder.check_free(tmp_path / "new", overwrite=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"output must be an empty or new folder, got .* --overwrite replaces a run"):
        folder.check_free(tmp_path, overwrite=False)
    with pytest.raises(ValueError, match=r"output must be .* to be overwritten, got .* without config\.yaml"):
        folder.check_free(tmp_path, overwrite=True)
    for name in (
        *(folder.CONFIG, "coupling.yaml", "ledger-0.csv", "ledger-1.csv", "books.json", "worker-0.json"),
        *("events-keeper0.jsonl", "metrics-0.prom", "results-0.1.jsonl", "results-0.0.partial.h5", "results-0.1.h5"),
        *("steering.jsonl", "report.html", "spill-0", "snapshot-000000100.dump", "dxa.json"),
    ):
        (tmp_path / name).write_text("old")
    folder.check_free(tmp_path, overwrite=True)
    folder.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="output must be a folder, got the file"):
        folder.check_free(tmp_path / "notes.txt", overwrite=True)


def test_a_run_that_did_not_begin_leaves_nothing(tmp_path):
    new, used = tmp_path / "new", tmp_path / "used"
    for path in (new, used):
        folder.prepare(path)
        (path / folder.CONFIG).write_text("x")
    (used / "notes.txt").write_text("mine")
    folder.discard(new)
    folder.discard(used)
    assert not new.exists()
    assert [path.name for path in used.iterdir()] == ["notes.txt"]


def test_progress_is_whole_lines_unless_it_is_a_terminal():
    pipe, terminal = io.StringIO(), io.StringIO()
    for stream, is_terminal in ((pipe, False), (terminal, True)):
        line = ProgressLine(100, terminal=is_terminal, stream=stream)
        for step in (10, 20):
            line.show(fakes.frame(step), fakes.prediction())
        line.close()
    assert pipe.getvalue().count("\n") == 2
    assert "\r" not in pipe.getvalue()
    assert terminal.getvalue().count("\n") == 1
    assert "P(defect) 0.75  edge × 2  0.10 s" in pipe.getvalue()


def test_progress_says_why_an_answer_is_undetermined():
    shown = describe(fakes.frame(10), fakes.prediction(undetermined="novel"), 100)
    assert "edge × 2 (novel)  0.10 s" in shown
    assert "    0.04 ps" in shown
    assert "   15.00 nN" in shown


def test_planes_whose_speed_changes_do_not_jump():
    """0.8 Å/ps for 100 steps of 4 fs, then back at 0.4."""
    closing = Motion(0.8)
    back = Motion(-0.4, 100, closing.closed_A(100, 0.004))
    assert back.closed_A(100, 0.004) == closing.closed_A(100, 0.004) == pytest.approx(0.32)
    assert back.closed_A(150, 0.004) == pytest.approx(0.32 - 0.08)


@pytest.mark.parametrize("axis", [(1, 1, 1), (0, 0, 1), (1, 1, 0), (1, 1, 2), (1, 2, 3)])
def test_the_laboratory_frame_is_a_rotation_with_the_axis_along_z(axis):
    R = rotation(axis)
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.linalg.det(R) == pytest.approx(1)
    assert R @ np.array(axis) == pytest.approx([0, 0, np.linalg.norm(axis)])
    assert orientation((1, 1, 1)) == ((1, -1, 0), (1, 1, -2), (1, 1, 1))


class TestDislocationAnalysis:
    @pytest.fixture(autouse=True)
    def needs_ovito(self):
        pytest.importorskip("ovito")

    def crystal(self, half_cells=9, a=3.615):
        """Sites ``(n, 3)`` Å of an fcc cylinder along [112] (x: [1-10], y: [111])."""
        n = np.arange(-2 * half_cells, 2 * half_cells)
        cells = np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 1, 3)
        sites = (cells + np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])).reshape(-1, 3) * a
        rows = np.array([[1, -1, 0], [1, 1, 1], [-1, -1, 2]], float)
        sites = sites @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
        return sites[(np.hypot(sites[:, 0], sites[:, 1]) < 30) & (np.abs(sites[:, 2]) < 25)]

    def test_a_perfect_crystal_has_no_line(self):
        found = dxa.analyse(self.crystal(), "fcc", step=4)
        assert (found.step, found.count, found.length_A, found.defect_class) == (4, 0, 0, "none")

    def test_an_edge_dislocation_is_found_with_its_burgers_vector_and_position(self, tmp_path):
        """The edge of Hirth & Lothe eqs. 3-45 and 3-46, through x = 4 Å, y = 1 Å, written by three ranks."""
        a, nu, x0, y0 = 3.615, 0.324, 4.0, 1.0
        sites = self.crystal(a=a)
        x, y = sites[:, 0] - x0, sites[:, 1] - y0
        r2 = x**2 + y**2
        shifted = sites.copy()
        b = a / np.sqrt(2) / (2 * np.pi)
        shifted[:, 0] += b * (np.arctan2(y, x) + x * y / (2 * (1 - nu) * r2))
        shifted[:, 1] -= b * ((1 - 2 * nu) / (4 * (1 - nu)) * np.log(r2) + (x**2 - y**2) / (4 * (1 - nu) * r2))
        for rank, part in enumerate(np.array_split(shifted, 3)):
            dxa.write_atoms(tmp_path, 30, rank, part)
        (found,) = dxa.analyse_run(tmp_path, "fcc", element="Cu", keep_atoms=True)
        longest = max(found.lines, key=lambda line: line.length_A)
        assert sorted(np.abs(longest.burgers)) == pytest.approx([0, 0.5, 0.5], abs=1e-3)
        assert longest.character_deg > 75
        points = np.asarray(longest.points_A) + shifted.mean(0)
        assert points[:, :2].mean(0) == pytest.approx([x0, y0], abs=3)
        assert 30 < longest.length_A < 60
        assert dxa.read_analyses(tmp_path) == [found]
        assert sorted(path.name for path in (tmp_path / "atoms").iterdir()) == ["step-000000030.extxyz"]

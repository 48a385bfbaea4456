"""The ablation: which runs there are, what is refused before the first of them, and the table beside Table 1."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from fewshot_seg.errors import ConfigError, DataError
from train_embed.config.load import load_config, to_mapping
from train_embed.studies.ablation import check_same, finish, plan, run_ablation
from train_embed.studies.ablation_table import LOSSES, Result, markdown, summary, write_tables

SETS = ("run.epochs=1",)


def result(loss: str, mining: bool, seed: int, r1: float, survival: float | None = 0.5) -> Result:
    return Result(loss, mining, seed, {1: r1, 2: r1 + 0.1, 4: r1 + 0.2}, survival, 3.0, untrained=0.25)


def store(run: Path, config: object, **changes: object) -> None:
    run.mkdir(parents=True)
    content = {"config": config, "epoch": 2.0, "recall": {"1": 0.5, "2": 0.6, "4": 0.7}, "survival": 0.4} | changes
    (run / "result.json").write_text(json.dumps(content), "utf-8")


class TestPlan:
    def test_every_loss_with_and_without_mining_once_a_seed(self, tmp_path: Path) -> None:
        jobs = plan(tmp_path, (3, 5), "folder-quick", SETS)
        assert len({job.name for job in jobs}) == len(jobs) == 3 * 2 * 2
        assert [job.seed for job in jobs] == [3] * 6 + [5] * 6
        for job in jobs:
            assert job.config.loss.name == LOSSES[job.loss].loss
            assert (job.config.mining.enabled, job.config.run.seed) == (job.mining, job.seed)
            assert (job.config.data.root, job.config.run.epochs) == (tmp_path, 1)

    def test_a_pair_of_runs_differs_in_mining_alone(self, tmp_path: Path) -> None:
        plain, mined = (to_mapping(job.config) for job in plan(tmp_path, (0,), "folder-quick", SETS)[:2])
        assert plain["mining"].pop("enabled") is False
        assert mined["mining"].pop("enabled") is True
        assert plain == mined

    def test_the_numbers_of_one_loss_are_not_taken_for_the_others(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("loss: {name: quadruplet, margin: 0.9, margin2: 0.8}\n")
        margins = {job.loss: job.config.loss.margin for job in plan(tmp_path, (0,), str(path), SETS)}
        assert margins == {"siamese": 1.0, "triplet": 0.2, "quadruplet": 0.2}

    @pytest.mark.parametrize(
        "text", ["loss.name=triplet", "mining.enabled=true", "run.seed=3", "data.root=x", "data={}"]
    )
    def test_what_it_sets_itself(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the ablation sets"):
            plan(tmp_path, (0,), "folder-quick", [text])

    @pytest.mark.parametrize("text", ["mining.gama=1", "sampler.p=2"])
    def test_what_one_of_the_runs_cannot_have_stops_all(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            plan(tmp_path, (0,), "folder-quick", [text])

    def test_a_file_that_is_wrong_by_itself_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("data: 3\n")
        with pytest.raises(ConfigError, match=r"c\.yaml: data is a section"):
            plan(tmp_path, (0,), str(path), ())

    def test_no_images_there_fails_before_any_run(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"data\.root"):
            run_ablation(tmp_path / "none", tmp_path / "out", seeds=(0,))
        assert not (tmp_path / "out").exists()


class TestOwnLoss:
    def test_the_configurations_own_loss_as_it_stands(self, tmp_path: Path) -> None:
        sets = ["loss.margin=0.25"]
        jobs = plan(tmp_path, (0, 1), "reid-quick", sets, own_loss=True)
        assert [job.name for job in jobs] == [f"reid-quick-{v}-{s}" for s in (0, 1) for v in ("baseline", "mining")]
        own = load_config("reid-quick", [f"data.root={tmp_path}", *sets])
        assert to_mapping(jobs[0].config) == to_mapping(own)
        with pytest.raises(ConfigError, match=r"sets mining\.enabled, run\.seed, data\.root itself"):
            plan(tmp_path, (0,), "reid-quick", ["run.seed=3"], own_loss=True)

    def test_its_table_has_map_and_its_own_ranks(self) -> None:
        def one(mining: bool, seed: int, score: float) -> Result:
            recall = {1: score, 5: score + 0.1}
            shared = {"map": score - 0.1, "untrained_map": 0.2, "keep": "last"}
            return Result("people", mining, seed, recall, 0.5, 4.0, 0.1, **shared)  # type: ignore[arg-type]

        text = markdown([one(False, 0, 0.5), one(False, 1, 0.6), one(True, 0, 0.55), one(True, 1, 0.65)])
        assert text.splitlines()[0] == "| | mAP | R@1 | R@5 | similarity that survives erasing | runs |"
        assert text.splitlines()[1] == "|---|---|---|---|---|---|"
        assert "| people | 45.0 ± 7.1 | 55.0 ± 7.1 | 65.0 ± 7.1 | 50.0 ± 0.0 | 2 |" in text
        assert "| change | +5.0 ± 0.0 | +5.0 ± 0.0 | +5.0 ± 0.0 | +0.0 ± 0.0 | 2 |" in text
        assert "each run at its last epoch" in text
        assert "R@1 before training: 10.0 ± 0.0." in text
        assert "mAP before training: 20.0 ± 0.0." in text
        assert "paper" not in text


class TestResuming:
    def test_a_result_that_is_older_than_a_key_has_its_default(self, tmp_path: Path) -> None:
        job = plan(tmp_path, (0,), "folder-quick", SETS)[0]
        old = to_mapping(job.config)
        del old["identity"], old["model"]["last_stride"]
        store(tmp_path / job.name, old)
        check_same(job, tmp_path)

    def test_a_finished_run_is_not_repeated(self, tmp_path: Path) -> None:
        job = plan(tmp_path, (0,), "folder-quick", SETS)[0]
        store(tmp_path / job.name, to_mapping(job.config))
        check_same(job, tmp_path)
        assert finish(job, tmp_path).recall == {1: 0.5, 2: 0.6, 4: 0.7}

    def test_another_configuration_is_refused_and_the_key_named(self, tmp_path: Path) -> None:
        old, new = (plan(tmp_path, (0,), "folder-quick", [f"run.epochs={n}"])[0] for n in (1, 2))
        store(tmp_path / old.name, to_mapping(old.config))
        with pytest.raises(ConfigError, match=r"run\.epochs 1, not 2.*another --out"):
            check_same(new, tmp_path)

    @pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
    def test_a_damaged_result_is_named(self, text: str, tmp_path: Path) -> None:
        job = plan(tmp_path, (0,), "folder-quick", SETS)[0]
        (tmp_path / job.name).mkdir()
        (tmp_path / job.name / "result.json").write_text(text)
        with pytest.raises(DataError, match="delete it"):
            check_same(job, tmp_path)

    def test_all_finished_writes_the_table_alone(self, tmp_path: Path) -> None:
        for job in plan(tmp_path, (0, 1), "folder-quick", SETS):
            store(tmp_path / "out" / job.name, to_mapping(job.config), survival=None)
        assert run_ablation(tmp_path, tmp_path / "out", seeds=(0, 1), overrides=SETS) == []
        table = json.loads((tmp_path / "out" / "table.json").read_text())
        assert len(table["runs"]) == 12
        assert "| Siamese | 50.0 ± 0.0 |" in (tmp_path / "out" / "table.md").read_text("utf-8")


class TestTable:
    def test_mean_and_spread_and_the_change_seed_by_seed(self) -> None:
        plain, mined = [0.5, 0.6, 0.4], [0.55, 0.61, 0.5]
        results = [result("triplet", False, seed, r) for seed, r in enumerate(plain)]
        results += [result("triplet", True, seed, r, 0.3) for seed, r in enumerate(mined)]
        rows = {row["variant"]: row for row in summary(results) if row["loss"] == "triplet"}
        assert rows["baseline"]["r1"]["mean"] == pytest.approx(50)
        assert rows["baseline"]["r1"]["spread"] == pytest.approx(100 * statistics.stdev(plain))
        changes = [100 * (b - a) for a, b in zip(plain, mined, strict=True)]
        assert rows["change"]["r1"]["mean"] == pytest.approx(statistics.fmean(changes))
        assert rows["change"]["r1"]["spread"] == pytest.approx(statistics.stdev(changes))
        assert rows["change"]["survival"]["mean"] == pytest.approx(-20)

    def test_a_change_counts_only_seeds_that_have_both(self) -> None:
        results = [result("siamese", False, 0, 0.5), result("siamese", False, 1, 0.1), result("siamese", True, 0, 0.7)]
        change = next(row for row in summary(results) if row["variant"] == "change")
        assert (round(change["r1"]["mean"]), change["r1"]["spread"], change["r1"]["runs"]) == (20, None, 1)

    def test_the_papers_rows_stand_beside(self) -> None:
        text = markdown([result("siamese", False, 0, 0.5)])
        for row in ("65.9/77.5/85.8", "67.7/77.8/85.5", "66.4/78.1/85.6", "68.3/78.9/86.5", "64.7/75.6/85.2"):
            assert row in text
        assert "| +1.8/+0.3/-0.3 |" in text
        assert "R@1 before training: 25.0." in text

    def test_every_row_is_as_long_as_the_head(self) -> None:
        lines = [line for line in markdown([result("siamese", False, 0, 0.5, None)]).splitlines() if line[:1] == "|"]
        assert len(lines) == 2 + 9
        assert {line.count("|") for line in lines} == {8}

    def test_runs_that_failed_are_told(self, tmp_path: Path) -> None:
        write_tables(tmp_path, [result("siamese", False, 0, 0.5)], ["triplet-mining-0: the loss is NaN"])
        assert "Failed: triplet-mining-0: the loss is NaN" in (tmp_path / "table.md").read_text("utf-8")
        assert json.loads((tmp_path / "table.json").read_text())["failed"]

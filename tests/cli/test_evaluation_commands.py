"""`narl evaluate` and `narl compare`: what they write, print, record and refuse."""

from __future__ import annotations

import json

import mlflow
import pytest
import yaml
from example_pipelines import FEW_DIGITS
from example_records import make_record

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger
from narl.tracking.mirror import MLflowMirror, search_params

ATTACK = {
    "epoch_steps": 1,
    "clean_epochs": 0,
    "max_epochs": 2,
    "min_epochs": 1,
    "patience": 1,
    "batch_size": 64,
    "adversaries": ["mlp"],
}
TRAINING = {"epochs": 1, "batch_size": 64}
CONFIG = {
    "pipeline": FEW_DIGITS,
    "trial": {"arch": "mobilenet_v3_small", "split": 5, "sigma": 1.0, "lambda": 0.01, "bound": "l2-clip"},
    "training": TRAINING,
    "attack": ATTACK,
}
SPACE = {
    "name": "tiny",
    "pipeline": FEW_DIGITS,
    "architectures": {"mobilenet_v3_small": {"split_points": [2]}},
    "sigma": 1,
    "lambda": 0.01,
    "training": TRAINING,
    "attack": ATTACK,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_database):
    """Where one thorough evaluation was run, with what it printed."""
    path = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        (path / "mlflow.db").write_bytes(empty_database.read_bytes())
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
        patch.setenv("NARL_CACHE", str(path / "cache"))
        (path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        arguments = [
            "--attacks",
            "leakage,certificate,sigma_profile,averaging,reconstruction,control",
            "--queries",
            "1,16",
        ]
        assert main(["evaluate", "config.yaml", *arguments, "--audit", "class", "--seeds", "2", "--out", "out"]) == 0
        yield path


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("NARL_CACHE", str(folder / "cache"))


def test_an_evaluation_writes_report_configuration_and_figures(folder):
    out = folder / "out"
    figures = {"averaging.png", "sigma_profile.png", "reconstructions.png"}
    assert {p.name for p in out.iterdir()} == {"report.json", "config.yaml", "table.txt"} | figures
    assert "leakage above the label floor" in (out / "table.txt").read_text()
    report = json.loads((out / "report.json").read_text())
    assert report["seeds"] == [0, 1] and report["reported_on"] == "test" and report["num_samples"] == 60
    assert list(report["leakage_at_queries"]) == ["1", "16"] == list(report["reconstruction_at_queries"])
    audited = report["audit"]["class"]
    assert audited["leakage"] >= audited["label_floor"] and audited["interval95"][0] <= audited["leakage"]
    rebuilt = report["reconstruction_at_queries"]["16"]
    for name in ("mse", "ssim"):
        low, high = rebuilt["interval95"][name]
        assert low <= rebuilt["rebuilt"][name] <= high
    assert (rebuilt["interval95"]["psnr"] is None) == (rebuilt["interval95"]["mse"][0] <= 0)  # of two seeds it may be
    once = report["reconstruction"]
    # So much noise leaves nothing that more answers would tell: equal but for rounding.
    assert 0 <= rebuilt["least_mse"] <= once["least_mse"] * (1 + 1e-6)
    assert once["least_mse"] <= once["rebuilt"]["mse"]
    assert report["control"]["accuracy"] <= report["control"]["limit"]
    private = report["differential_privacy"]["epsilon_at_queries"]
    assert 0 < private["1"] < private["16"]
    again = yaml.safe_load((out / "config.yaml").read_text())
    assert again["audit"] == ["class"] and again["trial"]["bound"] == "l2-clip"


def test_the_certificate_brackets_what_can_be_read(folder):
    out = folder / "out"
    report = json.loads((out / "report.json").read_text())
    certificate = report["certificate"]
    assert set(certificate["labels"]) == {"private", "utility", "class"}
    for label, by_n in certificate["labels"].items():
        for n, one in by_n.items():
            low, high = certificate["interval95"][f"labels/{label}/{n}/attacker"]
            assert 0 <= low <= high <= 100
            assert one["attacker"] <= one["bound"] <= one["at_most95"] <= 100
        assert by_n["1"]["bound"] < by_n["16"]["bound"] + 1  # more answers tell more
    for n, bound in report["leakage_bound_at_queries"].items():
        assert bound == pytest.approx(certificate["labels"]["private"][n]["bound"], rel=1e-5)
        assert report["leakage_at_queries"][n] <= bound + 1e-3
    assert set(certificate["identification"]) == {"2", "10"}  # of 60 images
    assert certificate["identification"]["2"]["1"] > certificate["identification"]["10"]["1"]
    assert "nobody reads more of these images" in (out / "table.txt").read_text()


def test_the_profile_tells_of_the_trained_client_with_other_noise(folder):
    report = json.loads((folder / "out" / "report.json").read_text())
    profile = report["sigma_profile"]
    assert profile["trained"] == profile["used"] == 1.0 and "1 (trained)" in (folder / "out" / "table.txt").read_text()
    by_sigma = {float(sigma): level for sigma, level in profile["levels"].items()}
    assert min(by_sigma) == pytest.approx(0.1) and max(by_sigma) == pytest.approx(10)
    for level in by_sigma.values():
        assert level["leakage"] <= level["bound"] <= 100 and level["utility"] <= 100
    # Answers are drawn once more, of fewer images that the attacker knows: the bound is the same but for luck.
    bound = report["certificate"]["labels"]["private"]["1"]["bound"]
    assert by_sigma[1.0]["bound"] == pytest.approx(bound, abs=3)


def test_an_evaluation_is_a_run_of_mlflow(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("narl/evaluations").experiment_id])
    report = json.loads((folder / "out" / "report.json").read_text())
    assert run.info.status == "FINISHED"
    for name in ("delta", "utility", "leakage"):
        assert run.data.metrics[name] == pytest.approx(report["mean"][name])
    assert run.data.metrics["delta_low95"] == pytest.approx(report["interval95"]["delta"][0])
    assert run.data.metrics["audit_class"] == pytest.approx(report["audit"]["class"]["leakage"])
    assert run.data.metrics["leakage_at_16_queries"] == pytest.approx(report["leakage_at_queries"]["16"])
    assert {f.path for f in client.list_artifacts(run.info.run_id)} >= {"report.json", "table.txt", "averaging.png"}


def test_a_trial_can_be_named_by_search_or_by_its_mlflow_run(folder, capsys):
    space = build(SearchSpace, SPACE, "test")
    search = SearchFolder(folder / "narl-runs" / "tiny")
    search.path.mkdir(parents=True)
    search.save_space(space)
    record = make_record(0, arch="mobilenet_v3_small", split=2)
    Ledger(search.ledger_path).append(record)
    MLflowMirror("tiny", space.objectives, search_params=search_params(space)).sync([record])
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(experiments, filter_string="tags.`narl.trial_id` = '0'")
    reports = []
    for number, name in enumerate(("tiny/0", run.info.run_id)):
        arguments = ["--attacks", "leakage", "--seeds", "1", "--no-mlflow", "--out", f"trial{number}"]
        assert main(["evaluate", name, *arguments]) == 0
        reports.append(json.loads((folder / f"trial{number}" / "report.json").read_text())["mean"])
    assert reports[0] == reports[1]
    assert "tiny-0" in capsys.readouterr().out


def test_a_report_survives_an_mlflow_that_is_down(folder, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["evaluate", "config.yaml", "--attacks", "leakage", "--seeds", "1", "--out", "alone"]) == 0
    assert "not recorded in MLflow" in capsys.readouterr().err
    assert (folder / "alone" / "report.json").exists()


COMPARE = ["compare", "--pipeline", "pipeline.yaml", "--arch", "mobilenet_v3_small", "--split", "2", "--seeds", "1"]
COMPARE += ["--methods", "no_noise", "--epochs", "1", "--attack-epochs", "1", "--adversaries", "mlp", "--out", "table"]
COMPARE += ["--deepobfuscator-client", "mobilenet_v3_small/1", "--attacks", "leakage,averaging,reconstruction"]


def test_a_comparison_prints_both_tables_and_goes_on(folder, capsys):
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(FEW_DIGITS))
    assert main([*COMPARE, "--queries", "1"]) == 0
    first = capsys.readouterr()
    rows = json.loads((folder / "table" / "comparison.json").read_text())
    assert list(rows) == ["upper bound", "no_noise 2"]
    assert {p.name for p in (folder / "table").glob("*.png")} == {
        "averaging.png",
        "brackets.png",
        "reconstructions.png",
    }
    assert "no_noise 2" in first.out and "MS-SSIM" in first.out and "epoch" in first.err
    assert main([*COMPARE, "--queries", "1"]) == 0
    second = capsys.readouterr()
    assert second.out == first.out and "epoch" not in second.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "config.yaml", "--attacks", "leakge"], "did you mean 'leakage'"),
        (["evaluate", "config.yaml", "--audit", "clas", "--out", "new"], "did you mean 'class'"),
        (["evaluate", "config.yaml", "--out", "out"], "out"),
        (["evaluate", "config.yaml", "--audit", "", "--out", "new"], "names no column"),
        (["evaluate", "config.yaml", "--audit", "digit", "--out", "new"], "private label"),
        (["evaluate", "config.yaml", "--adversaries", "mpl", "--out", "new"], "mpl"),
        (["evaluate", "config.yaml", "--lpips", "absent.pth", "--out", "new"], "absent.pth"),
        (["evaluate", "nonsense"], "a trial (NAME/TRIAL"),
        (["evaluate", "0" * 32], "0" * 32),
        (["evaluate", "none/3"], "none"),
        (["compare", "--pipeline", "pipeline.yaml", "--methods", "nrl"], "did you mean 'narl'"),
        (["compare", "--pipeline", "pipeline.yaml", "--deepobfuscator-client", "vgg16_bn"], "ARCH/SPLIT"),
        (["compare", "--pipeline", "absent.yaml"], "absent.yaml"),
        (["compare", "--pipeline", "pipeline.yaml", "--methods", "narl", "--out", "config.yaml"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, message, capsys):
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(FEW_DIGITS))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert [line for line in error.splitlines() if line.startswith("narl: ")]
    assert not (folder / "new").exists()

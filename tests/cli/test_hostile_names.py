"""Names that are markup, formulas or a terminal's codes come out of every command, page, picture and store as they are."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import mlflow
import pytest
import yaml
from example_pipelines import DIGITS
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

import narl
from narl.attacks.finding import plain
from narl.cli.evaluate import print_evaluation
from narl.cli.evaluation_tables import RebuiltRow, plain_table, print_rebuilt
from narl.cli.main import main
from narl.cli.search_view import SearchView
from narl.cli.terminal import new_console
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.printable import printable
from narl.core.records import ClientCost
from narl.evaluation.report import Summary
from narl.figures.averaging import averaging_png
from narl.figures.canvas import new_figure, take_literally, write_png
from narl.figures.concurrency import concurrency_png
from narl.figures.front_picture import front_png
from narl.figures.front_view import front_view
from narl.figures.heatmap import heatmap_png
from narl.figures.page.front import front_figure
from narl.figures.page.page import search_page
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger
from narl.tracking.mirror import MLflowMirror

NAMES = (
    *("[bold]x[/bold]", "[/]", "[link=file:///x]y[/link]", ":smile:", "<b>x</b>", "<script>alert(1)</script>"),
    *("</script><script>alert(2)</script>", "&amp;", "{{x}}", "%{x}", "{0}", "$x$", r"$\frac$", "$", r"a\$b$c$", "%s"),
    *(
        "=1+1",
        "a,b",
        'a"b',
        "'",
        "\x1b[2Jx",
        "\x1b]8;;http://x\x07y",
        "a\nb",
        "a\r\nb",
        "\u202ex",
        "\udcff",
        "é 中",
        "**x**",
    ),
)
SPACE = {"name": "hostile", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": [1], "lambda": [0.01]}
OBJECTIVES = ("delta", "client_gflops")
pytestmark = pytest.mark.filterwarnings("ignore:Glyph")
TEXTS = st.text(min_size=1, max_size=30) | st.sampled_from(NAMES)


def named(trial_id: int, name: str):
    """A trial on the front whose network, node and doubts have this name."""
    record = make_record(trial_id, arch=name, gflops=1 + trial_id, utility=60 + trial_id)
    return replace(record, tags={"node": name, "doubts": name, "unconverged": name})


RECORDS = [named(i, name) for i, name in enumerate(name for name in NAMES if name != "\udcff")]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile")
    folder = SearchFolder(path / "narl-runs" / "hostile")
    folder.save_space(build(SearchSpace, SPACE | {"objectives": list(OBJECTIVES)}, "space"))
    ledger = Ledger(folder.ledger_path)
    for record in RECORDS:
        ledger.append(record)
    return path


@pytest.fixture
def texts(monkeypatch):
    """Every text of the pictures that are written, and whether it may be a formula."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    found: list[tuple[str, bool]] = []
    save = Figure.savefig

    def saved(figure, *args, **options):
        save(figure, *args, **options)
        found.extend((t.get_text(), t.get_parse_math() and "$" in t.get_text()) for t in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", saved)
    return found


def shown(name: str) -> str:
    return printable(name, but="\n")


def all_in(text: str, names=NAMES) -> None:
    assert [name for name in names if not all(line in text for line in shown(name).split("\n"))] == []
    assert "\x1b" not in text and "\x07" not in text and "\r" not in text


@pytest.mark.parametrize("terminal", [False, True])
@given(name=TEXTS)
def test_a_cell_a_head_a_title_and_a_line_show_it(terminal, name):
    out = io.StringIO()
    console = new_console(file=out, width=400, force_terminal=terminal, color_system=None)
    table = plain_table(name, name)
    table.title = f"|{name}|"
    table.add_row(name, "1")
    console.print(table)
    console.print(f"|{name}|")
    printed = [line.strip() for line in out.getvalue().split("\n")]
    for line in shown(f"|{name}|").split("\n"):
        assert printed.count(line.strip()) >= 2
    assert all(c.isprintable() or c == "\n" for c in out.getvalue())


def test_the_front_as_table_json_and_csv(searched, monkeypatch, capsys):
    monkeypatch.chdir(searched)
    names = [r.config.arch for r in RECORDS]
    assert main(["pareto"]) == 0
    all_in(capsys.readouterr().out, names)
    assert main(["pareto", "--format", "json"]) == 0
    assert [row["arch"] for row in json.loads(capsys.readouterr().out)] == names
    assert main(["pareto", "--format", "csv"]) == 0
    assert [row["arch"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))] == names


@pytest.mark.parametrize("draw", [partial(front_png, objectives=OBJECTIVES), heatmap_png, concurrency_png])
def test_the_pictures(draw, tmp_path, texts):
    some = [record for record in RECORDS if set("$\n") & set(record.config.arch)]
    draw(some, title=NAMES[0], path=tmp_path / "x.png")
    assert not any(formula for _, formula in texts)
    all_in("\n".join(text for text, _ in texts), [record.config.arch for record in some])


def test_a_report_in_pictures(tmp_path, texts):
    report = {
        "leakage_at_queries": {"1": 30.0},
        "interval95": {"leakage_at_queries": {"1": (29.0, 31.0)}},
        "mean": {"utility": 90.0},
        "label_floor": 20.0,
    }
    averaging_png(dict.fromkeys(NAMES, report), "".join(NAMES), tmp_path / "a.png")
    assert not any(formula for _, formula in texts)
    all_in("\n".join(text for text, _ in texts))


@given(TEXTS)
def test_a_picture_of_any_name(name):
    figure = new_figure(1, 1)
    figure.suptitle(name)
    take_literally(figure)
    figure.draw_without_rendering()
    assert figure.get_suptitle() == shown(name)


def test_the_page(searched, monkeypatch):
    monkeypatch.chdir(searched)
    assert main(["pareto", "--figure", "front.html"]) == 0
    page = Path("front.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    figure = json.loads(front_figure(front_view(RECORDS, OBJECTIVES)).to_json())
    traces = {trace["name"]: trace for trace in figure["data"]}
    for record in RECORDS:
        name = html.escape(printable(record.config.arch), quote=False)
        assert f"<b>trial {record.trial_id}: {name} split 3</b>" in traces[name]["text"][0]
    assert "<h1>&lt;i&gt;t&lt;/i&gt;</h1>" in search_page(RECORDS, OBJECTIVES, "<i>t</i>")


def test_the_report(searched, monkeypatch):
    monkeypatch.chdir(searched)
    one = {name: {"train": 1, "validation": 1, "test": 1} for name in NAMES if name != "\udcff"}
    some = [dict(list(one.items())[i : i + 15]) for i in (0, 15)]
    facts = {"classes": dict(zip(("utility", "private"), some)), "doubts": list(one)}
    SearchFolder(searched / "narl-runs" / "hostile").images_path.write_text(json.dumps(facts))
    assert main(["report"]) == 0
    page = Path("reports/hostile/report.html").read_text(encoding="utf-8")
    text = Path("reports/hostile/report.md").read_text(encoding="utf-8")
    own = page.partition("<figure>")[0] + page.rpartition("</figure>")[2]
    assert "<script>alert" not in page and "<script" not in own and "<b>" not in own and "<link" not in own
    assert all(c.isprintable() or c == "\n" for c in text)
    read = html.unescape(re.sub(r"<[^>]*>", "", own))
    assert [name for name in one if f"\n{printable(name)}\n" not in read] == []  # classes
    clients = [f"{printable(r.config.client)} ({r.trial_id})" for r in RECORDS]
    assert [name for name in clients if f"\n{name}\n" not in read or f"{name}: " not in read] == []  # front, doubts


def test_what_a_search_says():
    space = build(SearchSpace, SPACE, "space")
    out = io.StringIO()
    view = SearchView(space, new_console(file=out, width=400, force_terminal=True, color_system=None))
    for record in RECORDS:
        view.started(record.trial_id + 100, record.config)
        view.progressed(record.trial_id + 100, record.config.arch, 0, record.config.arch)
        view.finished(record)
    view._console.print(view.front_table(limit=None))
    all_in(out.getvalue(), [r.config.arch for r in RECORDS])
    view.noticed(NAMES[0])
    view._console.print(view)
    assert NAMES[0] in out.getvalue()


def test_the_best_configuration_is_yaml_and_its_comments_stay_comments(searched, monkeypatch, capsys):
    monkeypatch.chdir(searched)
    for record in RECORDS:
        assert main(["best-config", "--budget-gflops", str(record.measured.cost.client_gflops)]) == 0
        out = capsys.readouterr().out
        assert yaml.safe_load(out)["trial"]["arch"] == record.config.arch
        comments = out[: out.index("pipeline:")].splitlines()
        assert all(line.startswith("#") for line in comments)
        assert f"# client {printable(record.config.client)}: " in "\n".join(comments)


def test_an_evaluation():
    level = {"leakage": 30.0, "label_floor": 20.0, "advantage": 10.0, "classes": 2, "interval95": [29.0, 31.0]}
    names = ("delta", "utility", "leakage", "balanced_leakage", "worst_class_leakage", "advantage")
    summary = Summary(
        reported_on="test",
        num_samples=10,
        seeds=(0,),
        client="trained afresh",
        mean=dict.fromkeys(names, 1.0),
        interval95=dict.fromkeys(names, (0.0, 2.0)),
        label_floor=20.0,
        snr_db=None,
        cost=ClientCost(1, 1, 1, 1),
        doubts=NAMES,
        by_seed={},
        classes={"private": {name: {"train": 1, "validation": 1, "test": 1} for name in NAMES[:12]}},
        findings={"audit": dict.fromkeys(NAMES, level), **{name: {name: 1.0} for name in NAMES}},
    )
    for name in NAMES:
        lines = print_evaluation(name, summary).splitlines()
        assert any(line.startswith(f"{printable(name)}: test split") for line in lines)
    all_in("\n".join(lines))
    assert [line for line in lines if line.startswith("doubt: ")] == [f"doubt: {printable(name)}" for name in NAMES]
    console = new_console(width=300, record=True, file=io.StringIO())
    print_rebuilt(console, [RebuiltRow(name, {"lpips_unavailable": name}) for name in NAMES])
    all_in(console.export_text())


def test_mlflow(tmp_path, empty_database):
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri, some = f"sqlite:///{tmp_path}/mlflow.db", RECORDS[::3]
    mirror = MLflowMirror("hostile", OBJECTIVES, {"pipeline": NAMES[0]}, tracking_uri=uri)
    assert mirror.finish(some) == len(some)
    client = mlflow.MlflowClient(uri, uri)
    (experiment,) = client.search_experiments(filter_string="name = 'narl/hostile'")
    runs = {run.data.tags.get("narl.trial_id"): run for run in client.search_runs([experiment.experiment_id])}
    for record in some:
        run = runs[str(record.trial_id)]
        assert run.data.params["arch"] == run.data.tags["node"] == record.config.arch
        assert run.info.run_name == f"{record.trial_id} {record.config.client}"


@given(st.lists(TEXTS, unique=True, max_size=5))
def test_metrics_of_any_name_are_accepted_and_stay_apart(names):
    from mlflow.utils.validation import _validate_metric, _validate_metric_name

    written = {plain(f"audit_{name}") for name in names}
    assert len(written) == len({f"audit_{name}".replace(" ", "_").replace("∞", "infinite") for name in names})
    for name in written:
        _validate_metric_name(name)
        _validate_metric(name, 1.0, 0, 0)


def test_a_picture_is_whole_or_not_there(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_png(new_figure(1, 1), tmp_path / "new" / "x.png")
    assert list((tmp_path / "new").iterdir()) == []


def test_every_console_and_every_picture_is_made_where_names_are_shown_as_they_are():
    package = Path(narl.__file__).parent
    made = {
        ("savefig(", "figures/canvas.py"),
        ("FigureCanvasAgg(", "figures/canvas.py"),
    }
    made.add(("Console(", "data/progress.py"))  # takes no markup; the command line's is a class of its own
    found = {
        (call, str(path.relative_to(package)))
        for path in package.rglob("*.py")
        for call in ("Console(", "savefig(", "FigureCanvasAgg(")
        if re.search(rf"(?<!\w){re.escape(call)}", path.read_text(encoding="utf-8"))
    }
    assert found == made

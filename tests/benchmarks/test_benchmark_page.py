"""`run.py all`: what the benchmarks printed becomes a page, and a stopped run goes on; the growth of costs."""

import re
import runpy

import numpy as np
import pytest

from src.errors import UserError
from tools.benchmarks import growth, page, run
from tools.benchmarks.commands import Cost, run_measured


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    """Two benchmarks that count their runs; the second prints a table."""
    for name, text in (("a", "3 ms"), ("b", "| x |\n|---|")):
        (tmp_path / f"{name}.py").write_text(
            f"import sys\nopen({str(tmp_path / name)!r}, 'a').write('ran ')\nprint({text!r})\n"
            f"sys.exit({str(tmp_path / name)!r}.endswith('b') and '--fail' in sys.argv)\n"
        )
    commands = [["First", "a.py"], ["Second", "b.py"]]

    def sections(checkpoint, int8, pytorch_python):
        extra = ("--fail",) if int8 else ()
        return [page.Section(title, (str(tmp_path / file), *extra)) for title, file in commands]

    monkeypatch.setattr(page, "sections", sections)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_the_machine_the_commands_and_what_they_printed(benchmarks):
    page.write_page(["--output=page.md"])
    text = (benchmarks / "page.md").read_text()
    assert "Machine: " in text and "cores" in text and "numpy 1." in text
    assert f"## First\n\n```shell\npython {benchmarks / 'a.py'}\n```\n\n```\n3 ms\n```\n" in text
    assert f"## Second\n\n```shell\npython {benchmarks / 'b.py'}\n```\n\n| x |\n|---|\n" in text
    page.write_page(["--output=page.md", "--titles", "Second"])
    assert "## First\n\nNot run for this page.\n" in (benchmarks / "page.md").read_text()


def test_a_run_that_failed_goes_on_with_what_is_missing(benchmarks, capfd):
    with pytest.raises(UserError, match=r"b.py --fail: ended with status 1"):
        page.write_page(["--output=page.md", "--int8=x"])
    assert not (benchmarks / "page.md").exists()
    (benchmarks / "b.py").write_text("print('done')")
    page.write_page(["--output=page.md", "--int8=x"])
    assert (benchmarks / "a").read_text() == "ran " and "done" in (benchmarks / "page.md").read_text()
    page.write_page(["--output=page.md"])  # another command is another result
    page.write_page(["--output=page.md", "--overwrite"])
    assert (benchmarks / "a").read_text() == "ran ran ran "
    with pytest.raises(UserError, match="--titles: no Third; give some of First, Second"):
        page.write_page(["--titles", "Third"])


def test_every_benchmark_of_the_page_takes_its_options():
    """The commands are there, and their options: parsed, not run."""
    for section in page.sections("net.ckpt", "8.onnx", "python"):
        script, *options = [part.format(work="work") for part in section.command]
        if script.endswith("run.py"):
            parse = {"extract": run.benchmark_extraction.__globals__["EXTRACT"], "train": run.TRAIN}[
                options.pop(0)
            ].parse
        else:
            parse = runpy.run_path(str(page.ROOT / script))["COMMAND"].parse
        assert parse(options)


def test_exponents_by_hand():
    np.testing.assert_allclose(growth.exponents([3, 6, 12, 24]), (1, 1))
    np.testing.assert_allclose(growth.exponents([5, 5, 5, 20]), (0.6, 2))  # slopes: 0, 0, 2; least squares: 3 * 2 / 10
    row = growth.table_row("job", [Cost(9, 1, 1), Cost(9, 2, 1), Cost(9, 4, 1), Cost(9, 8, 2)])
    assert row == "| job | 1.0 / 2.0 / 4.0 / 8.0 | 1.00 | 1.00 | 1.00 / 1.00 / 1.00 / 2.00 | 0.30 | 1.00 |"


def test_what_a_command_costs(tmp_path, monkeypatch):
    text = "import sys\nx = bytearray(2 * 10**8)\nprint('a word', file=sys.stderr)\nsys.exit(len(sys.argv) - 1)"
    (tmp_path / "work.py").write_text(text)
    monkeypatch.setattr("tools.benchmarks.commands.ROOT", tmp_path)
    cost = run_measured("work.py", log=tmp_path / "log")
    assert 0 < cost.cpu_seconds < 5 * cost.seconds and 0.19 < cost.gigabytes < 0.4
    with pytest.raises(UserError, match="work.py ended with status 2: a word"):
        run_measured("work.py", "x", "y", log=tmp_path / "log")


def test_a_growth_table_of_real_commands(capsys, monkeypatch):
    monkeypatch.setattr(growth, "TIMES", (1, 2))
    growth.main(["--num_photos=80", "--jobs", "index by votes, exact"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("photos: 80 / 160;") and lines[-1].startswith("| index by votes, exact | ")
    with pytest.raises(UserError, match="--num_photos is 10"):
        growth.main(["--num_photos=10"])


def test_parts_of_a_query(tmp_path):
    from src.config import MatchingConfig, RetrievalConfig
    from src.features.feature_file import FeatureFile
    from src.retrieval.build import build_index
    from src.retrieval.index import load_index
    from tools.benchmarks.planted import SetSize, write_planted_set
    from tools.benchmarks.query_profile import profile_query

    made = write_planted_set(tmp_path, SetSize(8, 3, 60, 8, 2, 0))
    build_index(made.photos, tmp_path / "index", "IVF4,Flat")
    with FeatureFile(made.queries) as source:
        queries = [features for _, features in source]
    found = profile_query(load_index(tmp_path / "index"), queries, RetrievalConfig(), MatchingConfig(), 1)
    number = r"-?\d+ ms"
    parts = rf"neighbours {number}, votes and order {number}, verification {number}"
    assert re.fullmatch(rf"1 threads: {number} \({parts}\); exact correspondences take [\d.]+ times as long", found)

"""What is shown of a run: TensorBoard events, read back record by record, and the picture of its metrics."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.errors import UserError
from src.training.progress import _running_mean, draw_loss_curve, open_events, read_metrics

ROOT = Path(__file__).resolve().parents[2]


def training(step, **losses):
    return {
        "step": step,
        "losses": losses,
        "accuracies": {head: 1 / (1 + value) for head, value in losses.items()},
        "gradient_norm": 1.5,
        "learning_rate": 0.01 * (1 - step / 100),
        "images_per_second": 20.0,
        "data_wait": 0.1,
    }


def validation(step, accuracy, **losses):
    return {"step": step, "validation_losses": losses, "validation_accuracies": {head: accuracy for head in losses}}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Write the lines given, draw them, and return the result with the figure that was saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))

    def run(*lines):
        metrics = tmp_path / "tuning_metrics.jsonl"
        metrics.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        drawn = draw_loss_curve(metrics, tmp_path / "loss.png", "tuning")
        return drawn, figures[-1] if figures else None, tmp_path / "loss.png"

    return run


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def points(axes, label):
    """[N, 2] of the line with this beginning of its label."""
    return next(line.get_xydata() for line in axes.lines if str(line.get_label()).startswith(label))


def test_panels_hold_the_values_of_the_lines(draw):
    drawn, figure, path = draw(
        training(10, descriptor=3.0, attention=4.0),
        validation(10, 0.25, descriptor=3.5, attention=4.5),
        training(20, descriptor=2.0, attention=2.5),
        validation(20, 0.5, descriptor=2.5, attention=3.25),
        training(30, descriptor=1.0, attention=2.0),
        validation(30, 0.125, descriptor=2.75, attention=3.5),
    )
    assert drawn and path.read_bytes().startswith(b"\x89PNG\r\n")
    loss, accuracy, rate = figure.axes
    np.testing.assert_allclose(points(loss, "descriptor, training"), [[10, 3], [20, 2], [30, 1]])
    np.testing.assert_allclose(points(loss, "attention, validation"), [[10, 4.5], [20, 3.25], [30, 3.5]])
    np.testing.assert_allclose(points(accuracy, "descriptor, training"), [[10, 0.25], [20, 1 / 3], [30, 0.5]])
    np.testing.assert_allclose(rate.lines[0].get_xydata(), [[10, 0.009], [20, 0.008], [30, 0.007]])
    assert "descriptor, validation (best 2.500 at step 20)" in legend(loss)  # the lowest loss ...
    assert "attention, validation (best 50.0% at step 20)" in legend(accuracy)  # ... and the highest accuracy
    rings = [line.get_xydata()[0].tolist() for line in loss.lines if line.get_markerfacecolor() == "none"]
    assert rings == [[20, 2.5], [20, 3.25]]


def test_one_line_shows_as_a_point(draw):
    drawn, figure, path = draw(training(100, attention=0.5))
    assert drawn and path.is_file()
    assert legend(figure.axes[0]) == ["attention, training"]
    assert [line.get_marker() for line in figure.axes[0].lines] == ["None", "o"]


def test_validation_alone_is_drawn(draw):
    drawn, figure, _ = draw(validation(0, 0.1, descriptor=4.0))
    assert drawn and legend(figure.axes[0]) == ["descriptor, validation (best 4.000 at step 0)"]


@pytest.mark.parametrize("lines", [(), ('{"step": 10, "los',)])
def test_without_a_line_nothing_is_written(draw, lines):
    drawn, _, path = draw(*lines)
    assert drawn is False and not path.exists()


def test_killed_runs_half_line_and_numbers_that_are_not_finite_are_left_out(draw):
    _, figure, path = draw(
        training(20, descriptor=2.0),
        '{"step": 30, "losses": {"desc\n',
        training(10, descriptor=3.0),
        validation(10, 0.5, descriptor=float("nan")),
        validation(20, 0.5, descriptor=2.5),
    )
    np.testing.assert_allclose(points(figure.axes[0], "descriptor, training"), [[10, 3], [20, 2]])
    np.testing.assert_allclose(points(figure.axes[0], "descriptor, validation"), [[20, 2.5]])
    assert [line["step"] for line in read_metrics(path.with_name("tuning_metrics.jsonl"))] == [10, 10, 20, 20]


def test_a_failed_drawing_leaves_the_old_picture(draw, monkeypatch):
    _, _, path = draw(training(10, descriptor=3.0))
    before = path.read_bytes()

    def fail(self, target, **_):
        Path(target).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError):
        draw(training(10, descriptor=2.0))
    assert path.read_bytes() == before and sorted(p.name for p in path.parent.iterdir()) == [
        "loss.png",
        "tuning_metrics.jsonl",
    ]


@pytest.mark.parametrize("count", [1, 79, 80, 500])
def test_running_mean_is_the_mean_over_its_window(count):
    values = np.random.default_rng(count).normal(size=count)
    half = count // 80
    expected = [values[max(0, i - half) : i + half + 1].mean() for i in range(count)]
    np.testing.assert_allclose(_running_mean(values), expected, rtol=1e-9)


def test_matplotlib_is_not_imported_before_a_picture_and_pyplot_never(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(training(10, descriptor=3.0)) + "\n")
    program = (
        "import sys; from src.training.progress import draw_loss_curve\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert draw_loss_curve(sys.argv[1], sys.argv[2], 'run')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "metrics.jsonl", tmp_path / "loss.png"], cwd=ROOT, check=True
    )


def read_events(folder):
    """Events of a folder in the order TensorBoard reads them: its files by name, each a run of TFRecords."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("*tfevents*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])  # after the length's checksum
            data = data[16 + length :]


def shown(folder):
    """{(name, step): value} as TensorBoard shows them: a session's start discards what stands at or past its step."""
    from tensorboardX.proto.event_pb2 import SessionLog

    values = {}
    for event in read_events(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            values = {key: value for key, value in values.items() if key[1] < event.step}
        for item in event.summary.value:
            values[item.tag, event.step] = item.simple_value
    return values


def test_scalars_are_written_by_name_and_step(tmp_path):
    pytest.importorskip("tensorboardX")
    events = open_events(tmp_path / "events")
    events.add(10, {"loss/descriptor": 2.5, "learning_rate": 0.5})
    events.add(20, {"loss/descriptor": 2.0})
    events.close()
    expected = {("loss/descriptor", 10): 2.5, ("learning_rate", 10): 0.5, ("loss/descriptor", 20): 2.0}
    assert shown(tmp_path / "events") == expected


@pytest.mark.parametrize("purge_step,kept", [(20, {0: 1.0, 10: 1.0, 20: 1.0}), (0, {})])
def test_a_resumed_run_discards_what_lies_past_its_step(tmp_path, purge_step, kept):
    pytest.importorskip("tensorboardX")
    killed = open_events(tmp_path)
    for step in (0, 10, 20, 30, 40):
        killed.add(step, {"loss": 1.0})
    killed.close()
    resumed = open_events(tmp_path, purge_step)
    resumed.add(30, {"loss": 3.0})
    resumed.close()
    assert shown(tmp_path) == {**{("loss", step): value for step, value in kept.items()}, ("loss", 30): 3.0}


def test_without_tensorboardx_the_install_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # makes the import fail
    with pytest.raises(UserError, match=r"pip install -r requirements-extras\.txt"):
        open_events(tmp_path / "events")
    assert not (tmp_path / "events").exists()

"""What is measured as the fastest is taken, remembered, and measured again where that is of no use."""

import logging
import time

import numpy as np
import pytest

from src.config import Config
from src.engines import choose, resolve_engine
from src.engines.fastest import IMAGE, fastest, processor_name
from src.errors import UserError

SLOW, FAST, BROKEN = ("openvino", "bfloat16"), ("onnxruntime", "float32"), ("openvino", "float32")
SECONDS = {SLOW: 0.02, FAST: 0.002}


@pytest.fixture
def calls():
    return []


@pytest.fixture
def load(calls):
    """Networks that take a known time; one option cannot run here."""

    def of(option):
        calls.append(option)
        if option == BROKEN:
            raise UserError("this processor has none of it")

        def network(image):
            assert image.shape == IMAGE and image.dtype == np.float32
            time.sleep(SECONDS[option])

        return network

    return of


def test_the_fastest_is_measured_once(load, calls, tmp_path):
    for _ in range(2):
        option, times = fastest([SLOW, FAST, BROKEN], load, "resnet50", tmp_path)
        assert option == FAST and set(times) == {SLOW, FAST} and times[SLOW] >= 20 > times[FAST] >= 2
    assert calls == [SLOW, FAST, BROKEN]
    fastest([SLOW], load, "resnet101", tmp_path)  # another network
    fastest([SLOW], load, "resnet101", None)  # nowhere to remember it
    assert calls[3:] == [SLOW, SLOW] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{}", '{"format_version": 1, "times": 3, "checksum": "0"}'])
def test_a_damaged_record_is_made_again(load, calls, tmp_path, caplog, content):
    fastest([FAST], load, "resnet50", tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    assert fastest([FAST], load, "resnet50", tmp_path)[0] == FAST
    assert calls == [FAST, FAST] and "not used, and made again" in caplog.text
    fastest([FAST], load, "resnet50", tmp_path)
    assert len(calls) == 2


def test_where_nothing_runs(load, tmp_path):
    with pytest.raises(UserError, match="resnet50: no engine runs it on this processor"):
        fastest([BROKEN], load, "resnet50", tmp_path)


def test_a_place_that_cannot_be_written_costs_a_line(load, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert fastest([FAST], load, "resnet50", tmp_path / "file" / "cache")[0] == FAST
    assert "not kept, so each run measures again" in caplog.text
    assert processor_name()


def test_precision_auto_takes_what_was_measured(checkpoint_of, cache, monkeypatch, caplog):
    for package in ("openvino", "onnxruntime", "onnx"):
        pytest.importorskip(package)
    keys = {"architecture": "resnet18", "weights_style": "torchvision", "precision": "auto", "device_target": "CPU"}
    config = Config(checkpoint_path=str(checkpoint_of("resnet18", "torchvision")), **keys)
    found = {}
    monkeypatch.setattr(choose, "fastest", lambda *arguments: found.setdefault("it", fastest(*arguments)))
    with caplog.at_level(logging.INFO):
        model = resolve_engine(config.run, config.model)
    option, times = found["it"]
    assert (model.engine, model.precision) == option == min(times, key=times.get)
    assert {("openvino", "float32"), ("onnxruntime", "float32")} <= set(times)
    assert "the fastest here (an image of 512 x 384: OpenVINO float32" in caplog.text
    own = config.replace(engine="onnxruntime")
    assert resolve_engine(own.run, own.model).precision == "float32"  # nothing else to choose

"""Which engine "auto" takes, and what is said about one that cannot be used."""

import logging

import pytest

from src.config import Config
from src.engines import choose
from src.engines.choose import resolve_engine
from src.errors import UserError

INSTALL = "pip install -r requirements-engines.txt"


@pytest.fixture
def installed(monkeypatch):
    """A function that says which packages are there."""

    def only(*packages):
        monkeypatch.setattr(choose, "_is_found", lambda package: package in packages)

    return only


def resolve(checkpoint_path="a.ckpt", **keys):
    config = Config(checkpoint_path=checkpoint_path, **{"device_target": "CPU", **keys})
    return resolve_engine(config.run, config.model).engine


@pytest.mark.parametrize(
    "packages,precision,path,expected",
    [
        (("mindspore", "onnx", "onnxruntime", "openvino"), "float32", "a.ckpt", "openvino"),
        (("mindspore", "onnx", "onnxruntime", "openvino"), "bfloat16", "a.ckpt", "openvino"),
        (("mindspore", "onnx", "onnxruntime"), "float32", "a.ckpt", "onnxruntime"),
        (("mindspore", "onnxruntime", "openvino"), "float32", "a.ckpt", "mindspore"),  # no onnx to write the file
        (("mindspore",), "float32", "a.ckpt", "mindspore"),
        (("onnxruntime",), "float32", "a.onnx", "onnxruntime"),
        (("mindspore", "onnx", "onnxruntime", "openvino"), "float32", "a.MINDIR", "mindspore"),
    ],
)
def test_auto_takes_the_fastest_on_a_cpu(installed, packages, precision, path, expected):
    installed(*packages)
    assert resolve(path, precision=precision) == expected


def test_auto_takes_mindspore_on_an_accelerator(installed):
    installed("mindspore", "onnx", "onnxruntime", "openvino")
    assert resolve(device_target="Ascend") == "mindspore"
    assert resolve(device_target="Ascend", precision="bfloat16") == "mindspore"


def test_auto_says_what_it_took_and_what_would_be_faster(installed, caplog):
    installed("mindspore")
    with caplog.at_level(logging.INFO):
        resolve()
    assert "engine MindSpore, float32, on CPU; OpenVINO and ONNX Runtime would be faster" in caplog.text
    assert INSTALL in caplog.text


@pytest.mark.parametrize(
    "packages,keys,sentence",
    [
        (("mindspore",), {"engine": "openvino"}, f"OpenVINO, which is not installed: run {INSTALL}"),
        (("mindspore", "onnxruntime"), {"engine": "onnxruntime"}, INSTALL),
        (("mindspore",), {"precision": "bfloat16"}, INSTALL),
        (("mindspore",), {"checkpoint_path": "a.onnx"}, INSTALL),
        ((), {"engine": "mindspore"}, "pip install -r requirements.txt"),
        (("mindspore",), {"engine": "mindspore", "precision": "bfloat16"}, "`precision` float32"),
        (("onnx", "onnxruntime"), {"engine": "onnxruntime", "precision": "bfloat16"}, "`engine` openvino"),
        (("mindspore",), {"checkpoint_path": "a.mindir", "precision": "bfloat16"}, "`precision` float32"),
        (("mindspore",), {"checkpoint_path": "a.onnx", "engine": "mindspore"}, "`engine` openvino or `engine` onnxr"),
        (("openvino",), {"checkpoint_path": "a.mindir", "engine": "openvino"}, "use `engine` mindspore"),
        (("openvino", "onnx"), {"engine": "openvino", "device_target": "Ascend"}, "runs on a CPU"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_with_the_fix(installed, packages, keys, sentence):
    installed(*packages)
    with pytest.raises(UserError) as caught:
        resolve(**keys)
    assert sentence in str(caught.value)


def test_resolving_twice_changes_nothing(installed):
    installed("mindspore", "onnx", "openvino")
    config = Config(checkpoint_path="a.ckpt", device_target="CPU")
    once = resolve_engine(config.run, config.model)
    assert resolve_engine(config.run, once) == once
    assert once.replace(engine="auto") == config.model

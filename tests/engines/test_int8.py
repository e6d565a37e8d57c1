"""8-bit networks: how near they are is measured right, and an export of one is known as such wherever it goes."""

import numpy as np
import pytest
from PIL import Image

from src.commands.export_model import main
from src.config import Config, ModelConfig, RunConfig
from src.engines import export_texts, load_network, resolve_engine
from src.engines.int8 import agreement, require_agreement
from src.errors import UserError
from src.features.encoder import make_encoder
from src.features.network_inputs import NetworkInputs
from src.model.architectures import architecture_of
from src.records import Photo


def test_agreement_by_hand():
    """Cells (3, 4), (1, 0) against (4, 3), (2, 0): cosines 24 / 25 and 1. Attention: the best of ten is another."""
    maps = np.array([[3, 1], [4, 0]], np.float32).reshape(1, 2, 1, 2)
    others = np.array([[4, 2], [3, 0]], np.float32).reshape(1, 2, 1, 2)
    scores = np.arange(10, dtype=np.float32).reshape(1, 1, 2, 5)
    pairs = [((maps, scores), (others, scores)), ((maps, scores), (maps, scores[..., ::-1, ::-1]))]
    calls = iter([pair for pair in pairs for pair in pair])
    networks = [lambda _: next(calls)] * 2
    found = agreement(*networks, [None, None], ("feature_map", "attention"))
    assert found[0].cosine == pytest.approx((0.96 + 1 + 1 + 1) / 4)
    assert found[0].low_cosine == pytest.approx(0.96 + 0.15 * 0.04)  # 0.15 of the way from the least to the next
    assert found[1].kept == 0.5
    assert str(found[0]) == "feature_map: cosine of a cell 0.9900 on average, 0.9660 or more of 95 %"
    assert str(found[1]) == "attention: 50.0% of the tenth of highest attention are the same cells"


@pytest.mark.parametrize("factor", [-1, np.nan])
def test_maps_that_differ_are_refused(factor):
    maps = np.ones((1, 2, 1, 1), np.float32)
    found = agreement(lambda _: (maps,), lambda _: (factor * maps,), [None], ("feature_map",))
    with pytest.raises(UserError, match=r"a.ckpt: in 8 bits feature_map has a mean cosine of (-1.000|nan), below 0.95"):
        require_agreement(found, "a.ckpt")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folder of four photos of coarse noise, 64 x 80, and a file that is none."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(4):
        image = Image.fromarray(generator.integers(0, 256, (8, 10, 3), np.uint8)).resize((80, 64))
        image.save(folder / f"{number}.png")
    (folder / "4.png").write_text("no photo")
    return folder


def test_inputs_are_levels_of_the_photos_scales_in_turn(photos, caplog):
    config = Config(max_image_size=40)
    listed = [Photo(f"{number}.png", str(photos / f"{number}.png")) for number in (0, 1, 4, 2)]
    inputs = NetworkInputs(listed, config.extraction, (1.0, 0.5), architecture_of(config.model))
    for _ in range(2):  # as often as asked for
        assert [level.shape for level in inputs] == [(1, 3, 32, 40), (1, 3, 16, 20), (1, 3, 16, 20)]
    assert "4.png is left out" in caplog.text
    other = NetworkInputs(listed[:2], config.extraction, (1.0, 0.5), architecture_of(config.model))
    assert other.identity != inputs.identity


def test_an_8_bit_export_is_known_as_one(checkpoint_of, photos, tmp_path, capsys):
    for package in ("nncf", "openvino"):
        pytest.importorskip(package)
    path, keys = tmp_path / "a.onnx", {"architecture": "resnet18", "weights_style": "torchvision"}
    options = [part for name, value in keys.items() for part in (f"--{name}", value)]
    command = ["--checkpoint_path", str(checkpoint_of(*keys.values())), "--format", "ONNX", "--output", str(path)]
    main([*command, *options, "--precision", "int8", "--calibration_images", str(photos), "--image_scales", "1,0.7"])
    assert "a.onnx: " in capsys.readouterr().out
    assert export_texts(path)["precision"] == "int8" and len(export_texts(path)["calibration"]) > 0

    def recipe(**more):
        config = Config(checkpoint_path=str(path), device_target="CPU", **keys, **more)
        return config.run, config.model, config.extraction

    model = resolve_engine(*recipe()[:2])
    assert (model.precision, model.engine) == ("int8", "openvino")
    assert resolve_engine(*recipe(precision="int8")[:2]) == model
    with pytest.raises(UserError, match="a.onnx: its arithmetic is int8; leave `precision` out"):
        resolve_engine(*recipe(precision="bfloat16")[:2])
    with pytest.raises(UserError, match="MindSpore does not run .onnx"):
        resolve_engine(*recipe(engine="mindspore")[:2])
    encoder = make_encoder(*recipe()).provenance.encoder
    assert (encoder["precision"], encoder["engine"]) == ("int8", "openvino")
    image = np.random.default_rng(1).uniform(-1, 1, (1, 3, 64, 80)).astype(np.float32)
    exact = Config(checkpoint_path=str(command[1]), device_target="CPU", **keys)
    expected, found = (load_network(run, model)(image) for run, model in (recipe()[:2], (exact.run, exact.model)))
    assert not np.array_equal(expected[0], found[0])  # it really has other arithmetic
    with pytest.raises(UserError, match="made under other settings"):
        main([*command, *options])


def test_int8_is_that_of_a_file(tmp_path):
    model = ModelConfig(checkpoint_path=str(tmp_path / "a.ckpt"), precision="int8")
    with pytest.raises(UserError, match="a.ckpt: `precision` int8 is that of a file of its own; make one"):
        resolve_engine(RunConfig(device_target="CPU"), model)


@pytest.mark.parametrize(
    "options,message",
    [
        (["--precision", "int8"], "needs --calibration_images"),
        (["--precision", "int8", "--format", "MINDIR"], "is for --format ONNX"),
        (["--precision", "int8", "--calibration_images", "a", "--num_images", "2"], "--num_images is 0"),
        (["--precision", "bfloat16"], "has no file of its own"),
        (["--calibration_images", "a"], "--calibration_images has no effect without --precision int8"),
        (["--max_image_size", "97"], "--max_image_size has no effect without --precision int8"),
    ],
)
def test_what_the_command_refuses(options, message):
    with pytest.raises(UserError, match=message):
        main(["--checkpoint_path", "a.ckpt", "--format", "ONNX", *options])

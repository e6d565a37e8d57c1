"""The command extract_features for global descriptors: arrays, and options that do nothing."""

import numpy as np
import pytest

from src.commands.extract_features import main
from src.errors import UserError
from src.features.feature_file import FeatureFile
from tests.features.made_up import make_photos
from tests.features.test_global_encoder import load_fake_maps


@pytest.fixture
def common(tmp_path, monkeypatch):
    monkeypatch.setattr("src.features.encoder.load_in_engine", load_fake_maps)
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    folder = make_photos(tmp_path / "photos", ["b.png", "sub/a.png"])
    return ["--images_path", str(folder), "--checkpoint_path", str(tmp_path / "net.ckpt"), "--engine", "mindspore",
            "--device_target", "CPU", "--descriptor_layer", "block3"]  # fmt: skip


def test_an_array_with_its_names_follows_the_photos(common, tmp_path):
    arguments = [*common, "--features", "global", "--output", str(tmp_path / "out" / "x.npy")]
    main(arguments)
    names = (tmp_path / "out" / "x.names.txt").read_text().splitlines()
    vectors = np.load(tmp_path / "out" / "x.npy")
    assert names == ["b.png", "sub/a.png"] and vectors.shape == (2, 1024) and vectors.dtype == np.float32
    with FeatureFile(tmp_path / "out" / "x.h5") as made:
        assert all(np.array_equal(made.read_global(name).vector, row) for name, row in zip(names, vectors))
    make_photos(tmp_path / "photos", ["b.png", "sub/a.png", "c.png"])
    main(arguments)
    assert (tmp_path / "out" / "x.names.txt").read_text() == "b.png\nc.png\nsub/a.png\n"
    again = np.load(tmp_path / "out" / "x.npy")
    np.testing.assert_array_equal(again[[0, 2]], vectors)
    with pytest.raises(UserError, match="x.h5: made under other settings .gem_p, pooling"):
        main([*arguments, "--pooling", "mac"])
    assert np.array_equal(np.load(tmp_path / "out" / "x.npy"), again)


def test_a_name_of_two_lines_has_no_row(common, tmp_path):
    make_photos(tmp_path / "photos", ["two\nlines.png"])
    with pytest.raises(UserError, match=r"x.names.txt: two\\nlines.png is no single line"):
        main([*common, "--features", "global", "--output", str(tmp_path / "x.npy")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pooling", "gem"], "--pooling is of global descriptors: give --features global"),
        (["--features", "local", "--whitening_path", "w"], "--whitening_path is of global descriptors"),
        (["--features", "global", "--max_feature_num", "5"], "--max_feature_num is of local features"),
        (["--features", "global", "--half"], "--half is of local features"),
        (["--features", "both", "--pooling", "mac", "--gem_p", "2"], "--gem_p has no effect on --pooling mac"),
        (["--features", "both", "--pooling", "gem", "--rmac_levels", "2"], "--rmac_levels has no effect on"),
        (["--features", "global", "--scale_pooling", "max"], "--scale_pooling joins several scales"),
        (["--features", "global", "--whiten_dim", "5"], "--whiten_dim has no effect without --whitening_path"),
        (["--features", "global", "--global_scales", "0"], "`global_scales` is 0; it must be above 0"),
        (["--features", "both", "--output", "x.npy"], "x.npy: an array holds global descriptors alone; give `features"),
    ],
)
def test_what_does_nothing_is_refused(common, options, message):
    given = [option for option in common if option not in ("--descriptor_layer", "block3")]
    with pytest.raises(UserError, match=message):
        main([*given, *options])

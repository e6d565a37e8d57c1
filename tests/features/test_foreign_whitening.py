"""Whitenings of dirtorch's and cirtorch's checkpoints become files, with the numbers of their own formulas."""

import numpy as np
import pytest

from src.commands.convert_whitening import main
from src.errors import UserError
from src.features.whitening import load_whitening
from tests.model.torch_files import Storages, named, ordered, plain, write_state, write_zip

GENERATOR = np.random.default_rng(0)
MEAN, VARIANCES = GENERATOR.normal(size=4), np.array([4, 2, 1, 0.5])
ROWS = np.linalg.qr(GENERATOR.normal(size=(4, 4)))[0]
X = GENERATOR.normal(size=(5, 4))


def write_dirtorch(path):
    attributes = {"mean_": MEAN, "components_": ROWS, "explained_variance_": VARIANCES, "whiten": True}
    pca = named("sklearn.decomposition._pca", "PCA") + b")\x81" + plain(attributes) + b"b"
    tensors = {"module.adpool.p": np.float32([3])}
    return write_state(path, tensors, pca=ordered({"Landmarks_clean": pca}))


@pytest.mark.parametrize("power,dim", [(0.5, 0), (0.25, 3), (0.0, 2)])
def test_dirtorch(tmp_path, power, dim):
    path = write_dirtorch(tmp_path / "net.pt")
    command = ["--weights", str(path), "--whiten_power", str(power), "--dim", str(dim)]
    main([*command, "--output", str(tmp_path / "w.npz")])
    kept = slice(dim or None)
    expected = (X - MEAN) @ ROWS[kept].T / VARIANCES[kept] ** power
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(load_whitening(tmp_path / "w.npz").apply(X), expected, rtol=1e-5, atol=1e-6)


def test_cirtorch(tmp_path):
    projections = {kind: GENERATOR.normal(size=(4, 4)) for kind in ("ss", "ms")}
    learned = {"sfm": {kind: {"m": MEAN[:, None], "P": rows} for kind, rows in projections.items()}}
    path = write_state(tmp_path / "net.pth", {"features.0.weight": np.ones(2)}, meta=plain({"Lw": learned}))
    main(["--weights", str(path), "--whitening", "sfm/ms", "--dim", "3", "--output", str(tmp_path / "w.npz")])
    expected = (X - MEAN) @ projections["ms"][:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(load_whitening(tmp_path / "w.npz").apply(X), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="carries the whitenings sfm/ms, sfm/ss; give `whitening` one of them"):
        main(["--weights", str(path), "--output", str(tmp_path / "other.npz")])
    storages = Storages()
    alone = ordered({"m": storages.whole(MEAN[:, None]), "P": storages.whole(projections["ms"])})
    path = write_zip(tmp_path / "w.pth", alone, storages)
    main(["--weights", str(path), "--dim", "3", "--output", str(tmp_path / "alone.npz")])
    found = [load_whitening(tmp_path / name).apply(X) for name in ("alone.npz", "w.npz")]
    np.testing.assert_array_equal(*found)


def test_what_cannot_be_done_is_told(tmp_path, caplog):
    path, output = write_dirtorch(tmp_path / "net.pt"), tmp_path / "w.npz"
    command = ["--weights", str(path), "--output", str(output)]
    main(command)
    with caplog.at_level("INFO"):
        main(command)
    assert "already made" in caplog.text
    with pytest.raises(UserError, match="made under other settings"):
        main([*command, "--dim", "2"])
    with pytest.raises(UserError, match="its whitening Landmarks_clean cannot be used .*4 components, 9 are asked for"):
        main([*command, "--dim", "9", "--overwrite"])
    with pytest.raises(UserError, match="carries the whitenings Landmarks_clean; give `whitening`"):
        main([*command, "--whitening", "Paris"])
    with pytest.raises(UserError, match="carries no whitening; fit one"):
        main(["--weights", str(write_state(tmp_path / "plain.pth", {"a": np.ones(2)})), "--output", str(output)])

"""HOW from its weights to a ranking by the real commands: features, ASMK* as its program counts, search, RANSAC."""

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from src.commands.build_index import main as build
from src.commands.extract_features import main as extract
from src.commands.perform_retrieval import main as retrieve
from src.config import ModelConfig
from src.device import set_up_device
from src.features.feature_file import FeatureFile
from src.features.whitening_fit import fit_pca
from src.model.weights import save_weights
from src.retrieval.ranking_file import load_ranking
from src.training.how_network import HowNet

KEYS = ["--architecture=resnet18", "--weights_style=torchvision", "--image_scales=0.7071,1.0", "--max_feature_num=60"]


@pytest.fixture
def place(tmp_path, small_resnet):
    """Weights of HOW, four photos, and each as a query saved as JPEG, without its last rows."""
    pytest.importorskip("onnxruntime")
    generator, pixels = np.random.default_rng(0), []
    for folder in ("photos", "queries"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        small = generator.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        photo = Image.fromarray(small).resize((320, 256), Image.Resampling.BICUBIC)
        photo.save(tmp_path / f"photos/{number}.png")
        pixels.append(np.float32(photo).transpose(2, 0, 1) / 60 - 2)
        photo.crop((0, 0, 320, 240)).save(tmp_path / f"queries/{number}.jpg", quality=90)
    set_up_device("CPU", 0)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    network = HowNet(ModelConfig(architecture="resnet18", weights_style="torchvision", kernel_init="he"), 16)
    network.set_train(False)
    cells, _ = network.weighed_cells(ms.Tensor(np.stack(pixels)))
    ms.set_context(mode=ms.GRAPH_MODE)
    network.set_reduction(fit_pca(cells.asnumpy().transpose(0, 2, 3, 1).reshape(-1, 32), 16, shrinkage=1.0).linear())
    save_weights(network, tmp_path / "how.ckpt")
    return tmp_path


def test_from_weights_to_a_ranking(place):
    for kind in ("photos", "queries"):
        extract([f"--images_path={place / kind}", f"--checkpoint_path={place}/how.ckpt", f"--output={place}/{kind}.h5",
                 "--engine=onnxruntime", *KEYS])  # fmt: skip
    with FeatureFile(place / "photos.h5") as file:
        assert file.provenance.encoder["name"] == "how" and file.provenance.encoder["pca"] == ""
        norms = [np.linalg.norm(features.descriptors, axis=1) for _, features in file]
        assert np.ptp(np.concatenate(norms)) > 0.1
    build([f"--features={place}/photos.h5", "--searcher=asmk_star", "--asmk_family=jenicek", "--codebook_size=32",
           f"--output={place}/index"])  # fmt: skip
    for rerank, least in (("none", 0.0), ("ransac", 10.0)):
        retrieve([f"--index={place}/index", f"--query_features={place}/queries.h5", f"--rerank={rerank}",
                  f"--output={place}/{rerank}.npz"])  # fmt: skip
        ranking, provenance = load_ranking(place / f"{rerank}.npz")
        assert [ranking.index_names[row[0]] for row in ranking.ranks] == ["0", "1", "2", "3"]
        assert (ranking.scores[:, 0] > ranking.scores[:, 1] + least).all()
    assert provenance.settings["searcher"] == "asmk_star"

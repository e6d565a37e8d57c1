"""The kinds of files that the project reads: how a sound one is made, and what reads it."""

import contextlib
import io
import pickle
from itertools import chain
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Sequence

import h5py
import numpy as np
from PIL import Image, PngImagePlugin

from tests.features.made_up import PROVENANCE, make_features, make_file, serialise_datum
from tests.fuzz.mutations import mutate, mutate_hdf5, mutate_zip

INDEX = ["a_1", "a_2", "b_1", "sub/b_2"]
QUERIES = ["q_1", "q_2"]
GND = [
    {"bbx": [1.0, 2.0, 30.0, 40.0], "easy": [0], "hard": [1], "junk": [2]},
    {"bbx": np.array([1.0, 2.0, 30.0, 40.0]), "easy": np.array([3]), "hard": [], "junk": [0]},
]
PHOTOS = ["a.jpg", "b.jpg", "sub/c.jpg"]


class Kind(NamedTuple):
    """One kind of file.

    Attributes:
        make: writes a sound one into a folder and returns the path that ``use`` takes, a file or a folder of files.
        use: reads it as the commands do; the second argument is the folder for what is written.
        mutate: changes its bytes.
        tokens: words of the format.
    """

    make: Callable[[Path], Path]
    use: Callable[[Path, Path], object]
    mutate: Callable[..., bytes] = mutate
    tokens: Sequence[bytes] = ()


def run(verb: str, *arguments: object) -> None:
    """Run a command in this process."""
    import importlib

    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(f"src.commands.{verb}").main([str(argument) for argument in arguments])


def _ranking(folder: Path) -> Path:
    from src.records import Provenance, Ranking
    from src.retrieval.ranking_file import save_ranking

    ranks = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.int32)
    scores = np.array([[4, 3, 2, 1]] * 2, np.float32)
    save_ranking(folder / "ranks.npz", Ranking(QUERIES, INDEX, ranks, scores), Provenance())
    return folder / "ranks.npz"


def _pickle(folder: Path) -> Path:
    _ranking(folder)
    content = {"imlist": INDEX, "qimlist": QUERIES, "gnd": GND}
    (folder / "gnd_x.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return folder / "gnd_x.pkl"


def _mat(folder: Path) -> Path:
    from scipy.io import savemat

    _ranking(folder)
    names = [np.array(list_, object).reshape(1, -1) for list_ in (INDEX, QUERIES)]
    gnd = np.empty((1, 2), [(name, object) for name in GND[0]])
    for number, truth in enumerate(GND):
        for name, value in truth.items():
            gnd[0, number][name] = np.array(value, float) + (name != "bbx")
    savemat(folder / "gnd_x.mat", {"imlist": names[0], "qimlist": names[1], "gnd": gnd})
    return folder / "gnd_x.mat"


def _text_truth(folder: Path) -> Path:
    _ranking(folder)
    truth = folder / "truth"
    truth.mkdir()
    for query, name in (("q_1", "a_1"), ("q_2", "b_1")):
        (truth / f"{query}_query.txt").write_text(f"oxc1_{name} 1 2 30.5 40\n")
        for part, names in (("good", INDEX[:1]), ("ok", INDEX[1:2]), ("junk", INDEX[2:])):
            (truth / f"{query}_{part}.txt").write_text("\n".join(names) + "\n")
    return truth


def _judge(truth: Path, output: Path) -> None:
    ranks, result = truth.parent / "ranks.npz", output / "mAP.txt"
    run("compute_map", "--ranks", ranks, "--gt_path", truth, "--output", result, "--overwrite")


def _ranks_npz(folder: Path) -> Path:
    _pickle(folder)
    kept = folder / "kept"
    kept.mkdir()
    return (folder / "ranks.npz").rename(kept / "ranks.npz")


def _judge_ranks(ranks: Path, output: Path) -> None:
    truth = ranks.parents[1] / "gnd_x.pkl"
    run("compute_map", "--ranks", ranks, "--gt_path", truth, "--output", output / "r.txt", "--overwrite")


def _pca(folder: Path) -> Path:
    from src.features.pca import PcaFit, save_pca
    from src.records import Provenance

    fit = PcaFit()
    fit.add(np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32))
    save_pca(folder / "pca.npz", fit.finish(4, Provenance("ab" * 32)))
    return folder / "pca.npz"


def _load_pca(path: Path, _: Path) -> None:
    from src.features.pca import apply_pca, load_pca

    pca = load_pca(path)
    assert np.isfinite(apply_pca(np.ones((2, pca.mean.size), np.float32), pca, 4)).all()


def _features(folder: Path) -> Path:
    return make_file(folder / "features.h5", PHOTOS)


def _index_features(path: Path, output: Path) -> None:
    run("build_index", "--features", path, "--output", output / "index", "--overwrite")
    run("merge_features", "--features", path, "--output", output / "merged.h5", "--overwrite")
    run("convert_features", "--features", path, "--output", output / "delf", "--overwrite")


def _codes(folder: Path) -> Path:
    from src.features.feature_file import write_group, write_provenance

    with h5py.File(folder / "features.h5", "w") as file:
        write_provenance(file, PROVENANCE)
        for number, name in enumerate(PHOTOS):
            write_group(file, name, make_features(number, 20))
    run("binarize_features", "--features", folder / "features.h5", "--output", folder / "codes.h5", "--bits", 16)
    return folder / "codes.h5"


def _read_codes(path: Path, _: Path) -> None:
    from src.features.feature_file import FeatureFile

    with FeatureFile(path) as photos:
        for name, features in photos:
            assert photos.shape(name) == features.descriptors.shape


def _boxes(folder: Path) -> Path:
    rows = "".join(f"img/p{n}.jpg,{n},{n + 1},{n + 9.5},40,0.{n}\n" for n in range(9))
    (folder / "boxes.csv").write_text("photo,x1,y1,x2,y2,score\n" + rows)
    return folder / "boxes.csv"


def _read_boxes(path: Path, _: Path) -> None:
    from src.features.boxes import PhotoBoxes

    assert PhotoBoxes(path, ["p0.jpg", "p1.jpg"], 0.0).of("p1.jpg", (64, 48)).shape[1] == 4


def _keras_weights(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    with h5py.File(folder / "weights.h5", "w") as file:
        file["conv1/conv1_W_1:0"] = generator.normal(size=(7, 7, 3, 8)).astype(np.float32)
        file["conv1/conv1_b_1:0"] = np.zeros(8, np.float32)
        for name in ("gamma", "beta", "running_mean", "running_std"):
            file[f"bn_conv1/bn_conv1_{name}_1:0"] = np.ones(8, np.float32)
    return folder / "weights.h5"


def _checkpoint(folder: Path) -> Path:
    import mindspore as ms

    generator = np.random.default_rng(0)
    cells = {
        "backbone.conv1.weight": (8, 3, 7, 7), "backbone.bn1.gamma": (8,), "backbone.bn1.moving_variance": (8,),
        "descriptor_head.pooling.p": (1,), "descriptor_head.fc.weight": (3, 4), "descriptor_head.fc.bias": (3,),
        "autoencoder.encoder.weight": (2, 4, 1, 1), "autoencoder.encoder.bias": (2,),
    }  # fmt: skip
    parameters = [
        {"name": name, "data": ms.Parameter(ms.Tensor(generator.uniform(0.5, 1, shape).astype(np.float32)), name=name)}
        for name, shape in cells.items()
    ]
    texts = {"descriptor": '{"pooling": "gem", "rmac_levels": 3, "descriptor_layer": "block3"}'}
    ms.save_checkpoint(parameters, str(folder / "net.ckpt"), append_dict={"global_step": 3, **texts})
    (folder / "net.ckpt").chmod(0o644)
    return folder / "net.ckpt"


def _safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"backbone.bn1.gamma": np.ones(8, np.float32)}, str(folder / "net.safetensors"))
    return folder / "net.safetensors"


def _torch(folder: Path, old: bool = False) -> Path:
    from tests.model.torch_files import plain, write_state

    generator = np.random.default_rng(0)
    tensors = {
        "features.0.weight": generator.normal(size=(8, 3, 7, 7)),
        "features.1.running_var": np.ones(8, np.float16),
    }
    meta = {"architecture": "resnet50", "mean": [0.485, 0.456, 0.406], "Lw": {"x": {"ss": {"m": np.ones((2, 1))}}}}
    return write_state(folder / ("old.pth" if old else "net.pth"), tensors, old, meta=plain(meta))


def _old_torch(folder: Path) -> Path:
    return _torch(folder, old=True)


def _read_torch(path: Path, output: Path) -> None:
    from src.model.foreign_head import read_head

    _read_weights(path, output)
    read_head(path)


def _read_checkpoint(path: Path, output: Path) -> None:
    from src.config import GlobalConfig, ModelConfig
    from src.features.global_settings import decide
    from src.features.local_layer import local_layer

    decide(GlobalConfig(), ModelConfig(checkpoint_path=str(path)))
    local_layer(str(path))
    _read_weights(path, output)


def _read_weights(path: Path, _: Path) -> None:
    from src.model.weights import read_weights

    assert all(np.isfinite(value).all() for value in read_weights(path).values() if value.dtype.kind == "f")


def _onnx(folder: Path) -> Path:
    from src.config import ModelConfig
    from src.engines.identity import describe_export, sealed
    from src.features.pca import load_pca, pca_as_text
    from src.model.architectures import architecture_of

    texts = {**describe_export("ab" * 32, architecture_of(ModelConfig())), "pca": pca_as_text(load_pca(_pca(folder)))}
    graph = b"\x3a\x04\x12\x02ab"  # field 7, a graph called ab
    (folder / "net.onnx").write_bytes(sealed(graph, texts))
    return folder / "net.onnx"


def _read_export(path: Path, _: Path) -> None:
    from src.config import ModelConfig, RunConfig
    from src.engines.identity import weights_identity
    from src.features.pca import carried_pca

    weights_identity(RunConfig(), ModelConfig(checkpoint_path=str(path)))
    carried_pca(path)


def _delf(folder: Path) -> Path:
    _photos_of(folder)
    run("convert_features", "--features", _features(folder), "--output", folder / "delf")
    (folder / "delf" / "x.datum").write_bytes(serialise_datum(np.ones((2, 3), np.float32)))
    return folder / "delf"


def _convert_delf(path: Path, output: Path) -> None:
    images = path.parent / "photos"
    run("convert_features", "--delf_path", path, "--output", output / "d.h5", "--images_path", images, "--overwrite")


def _photos_of(folder: Path) -> Path:
    for number, name in enumerate(PHOTOS):
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder / "photos"


def _results(folder: Path) -> Path:
    run("compute_map", "--ranks", _ranking(folder), "--gt_path", _pickle(folder), "--output", folder / "mAP.txt")
    return folder / "results.json"


def _compare(path: Path, output: Path) -> None:
    run("compare", path, path)


def _recipe(folder: Path) -> Path:
    (folder / "recipe.yaml").write_text(
        "# a recipe\ntrain_state: attn\nmax_iters: 600\nimage_scales: [0.25, 1.0]\nscore_threshold: null\n"
        "use_augmentation: false\ninitial_lr: 1.0e-2\ntraindata_path: 'shards/train.mindrecord000'\n"
    )
    return folder / "recipe.yaml"


def _read_recipe(path: Path, _: Path) -> None:
    from src.config import load_yaml

    load_yaml(str(path))


def _tables(folder: Path) -> Path:
    tables = folder / "tables"
    tables.mkdir()
    rows = "".join(f"{number},{number:04x}a {number:04x}b\n" for number in range(20))
    (tables / "train_clean.csv").write_text("landmark_id,images\n" + rows)
    (tables / "own.csv").write_text("path,label\n" + "".join(f"img/p{n}.jpg,{n % 3}\n" for n in range(20)))
    return tables


def _read_tables(path: Path, _: Path) -> None:
    from src.data.lists import read_clean_csv, read_labelled_csv

    for read, name in ((read_clean_csv, "train_clean.csv"), (read_labelled_csv, "own.csv")):
        list(read(path / name).file_ids)


_SPLIT_NAMES = [f"img/p{number}.jpg" for number in range(6)]


def _pairs(folder: Path) -> Path:
    pairs = folder / "pairs"
    pairs.mkdir()
    rows = "".join(f"img/p{a}.jpg,p{b},{20 + a}\n" for a, b in ((0, 2), (0, 4), (1, 3), (1, 5), (2, 4), (3, 5)))
    (pairs / "pairs.csv").write_text("photo_a,photo_b,inliers\n" + rows)
    sfm = {"cids": _SPLIT_NAMES, "cluster": [0, 1, 0, 1, 0, 1], "qidxs": [0, 1, 2], "pidxs": [2, 3, 4]}
    (pairs / "sfm.pkl").write_bytes(pickle.dumps({"train": sfm, "val": sfm}, 2))
    return pairs


def _draw_pairs(path: Path, _: Path) -> None:
    from src.data.split_labels import SplitLabels
    from src.data.training_pairs import training_pairs

    photos = SplitLabels(_SPLIT_NAMES, np.arange(6) % 2)
    for name in ("pairs.csv", "sfm.pkl"):
        source = training_pairs(path / name, photos)
        drawn = source.draw(2, 4, 0, np.random.default_rng(0))
        assert drawn.pairs.min() >= 0 and drawn.pairs.max() < 6


def _index(folder: Path) -> Path:
    run("build_index", "--features", _features(folder), "--output", folder / "index", "--index_type", "Flat")
    return folder / "index"


def _search_index(path: Path, output: Path) -> None:
    queries = path.parent / "features.h5"
    run("perform_retrieval", "--index", path, "--query_features", queries, "--output", output / "i.npz", "--overwrite")


def _data_set(folder: Path) -> Path:
    photos = _photos_of(folder)
    rows = "".join(f"{name},{number % 2}\n" for number, name in enumerate([*PHOTOS, *PHOTOS[:1]]))
    (photos / "own.csv").write_text("path,label\n" + rows)
    run("build_image_dataset", f"--csv={photos}/own.csv",
        f"--output_directory={folder}/shards", "--num_shards=1", "--validation_split_size=0.3")  # fmt: skip
    return folder / "shards"


def _read_data_set(path: Path, _: Path) -> None:
    from src.config import TrainingConfig
    from src.data.reader import TrainingStream
    from src.data.summary import dataset_info

    info = dataset_info(path)
    training = TrainingConfig(traindata_path=str(path), batch_size=1, image_size=33)
    stream = TrainingStream(training, info)
    for _batch in chain(stream.batches(3), stream.validation_batches()):
        pass


def _photo(folder: Path, name: str, **options: object) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image = Image.fromarray(np.kron(pixels[:5, :5], np.ones((8, 8, 1), np.uint8)))
    image.save(folder / name, **options)
    return folder / name


def _jpeg(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _photo(folder, "a.jpg", exif=exif.tobytes(), progressive=True)


def _png(folder: Path) -> Path:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "some text", zip=True)
    return _photo(folder, "a.png", pnginfo=texts)


def _read_photo(path: Path, _: Path) -> None:
    from src.data.jpeg import UnusablePhoto, read_as_jpeg
    from src.images import load_photo

    try:
        read_as_jpeg(str(path), 1)
    except UnusablePhoto:
        pass
    load_photo(path)


_PICKLE = (
    b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"R", b"b", b"(t", b"\x85", b"\x86", b"\x87", b"K\x00", b"h\x00", b"q\x00",
    b"C\x04abcd",
    b"\x8e" + (2**40).to_bytes(8, "little"), b"X\x02\x00\x00\x00O8", b"}", b"]", b"e", b"u", b"s", b"2", b"0",
)  # fmt: skip
_NPY = (b"|O", b"<f8", b"<U99999999", b"(9999999999999,)", b"'fortran_order': True", b"(-1,)", b"[('x', '<f4')]")
_YAML = (
    b"&a",
    b"*a",
    b"!!python/object:os.system",
    b"? ",
    b"- ",
    b"<<: *a",
    b"max_iters: ",
    b".nan",
    b".inf",
    b"2026-11-30",
)
_CSV = (b"landmark_id", b"path", b"label", b";", b"\t", b'"a\n', b"img\\p0.jpg", b"\xef\xbb\xbf", b"\r", b"/abs.jpg")
_JSON = (b"Infinity", b"NaN", b"1e400", b"\\ud800", b'{"weights": 1}', b"1" * 5000)

KINDS: Dict[str, Kind] = {
    "pickle": Kind(_pickle, _judge, tokens=_PICKLE),
    "mat": Kind(_mat, _judge),
    "text": Kind(_text_truth, _judge),
    "ranks_npz": Kind(_ranks_npz, _judge_ranks, mutate_zip, _NPY),
    "pca_npz": Kind(_pca, _load_pca, mutate_zip, _NPY),
    "features_h5": Kind(_features, _index_features, mutate_hdf5),
    "codes_h5": Kind(_codes, _read_codes, mutate_hdf5),
    "weights_h5": Kind(_keras_weights, _read_weights, mutate_hdf5),
    "delf": Kind(_delf, _convert_delf),
    "json": Kind(_results, _compare, tokens=_JSON),
    "yaml": Kind(_recipe, _read_recipe, tokens=_YAML),
    "csv": Kind(_tables, _read_tables, tokens=_CSV),
    "pairs": Kind(_pairs, _draw_pairs, tokens=(*_CSV, *_PICKLE, b"photo_a", b"img/p1.jpg")),
    "boxes": Kind(_boxes, _read_boxes, tokens=(*_CSV, b"photo", b"x1", b"nan", b"inf", b"-1", b"1e308")),
    "jpeg": Kind(_jpeg, _read_photo),
    "png": Kind(_png, _read_photo),
    "index": Kind(_index, _search_index, tokens=_JSON),
    "onnx": Kind(_onnx, _read_export),
    "safetensors": Kind(_safetensors, _read_weights, tokens=_JSON),
    "checkpoint": Kind(_checkpoint, _read_checkpoint),
    "torch": Kind(_torch, _read_torch, mutate_zip, _PICKLE),
    "torch_old": Kind(_old_torch, _read_torch, tokens=_PICKLE),
    "mindrecord": Kind(_data_set, _read_data_set, tokens=_JSON),
}

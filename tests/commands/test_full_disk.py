"""Every command that writes, on a disk that is full: one sentence, exit status 2, and what stood there stands.

Run as a program, this module is the process that tries them on a small disk of its own (tmpfs, in a mount namespace):
with no room at first, then with more and more, so that each is stopped at another write, until it succeeds.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE, SIZE = 4096, 256 << 20
MOUNT = ("unshare", "-rm", "bash", "-c")
NETWORK = "--checkpoint_path {work}/model/net.ckpt --image_scales 1 --max_feature_num 60 --engine mindspore"
GLDV2 = "--train_clean_csv_path {work}/gldv2/train_clean.csv --train_directory {work}/gldv2"
SMALL_NETWORK = "--architecture resnet18 --weights_style torchvision --device_target CPU"

# name -> verb and arguments, of which `first` are those of what stood there, `again` those of the full disk
CASES = {
    "extract": ("extract_features", f"--images_path {{work}}/photos {NETWORK} --output {{disk}}/a.h5", "--seed 1"),
    "merge": ("merge_features", "--features {work}/a.h5 {work}/b.h5 --output {disk}/m.h5", ""),
    "delf": ("convert_features", "--features {work}/a.h5 --output {disk}/delf", ""),
    "hdf5": ("convert_features", "--delf_path {work}/delf --images_path {work}/named --output {disk}/a.h5", ""),
    "pca": ("learn_pca", "--features {work}/a.h5 --output {disk}/pca.npz --dim 4", ""),
    "threshold": ("choose_score_threshold", "--features {work}/a.h5 --output_image {disk}/a.png", None),
    "index": ("build_index", "--features {work}/a.h5 --output {disk}/index", "--seed 1"),
    "ranks": ("perform_retrieval", "--index {work}/index --query_features {work}/b.h5 --output {disk}/r.npz", ""),
    "random": ("rank_randomly", "--index {work}/index --query_features {work}/b.h5 --output {disk}/r.npz", ""),
    "map": ("compute_map", "--ranks {work}/h.npz --protocol holidays --output {disk}/mAP.txt", ""),
    "gldv2": (
        "compute_gldv2",
        "--task retrieval --predictions {work}/p.csv --solution {work}/s.csv --output {disk}/figures.json",
        "",
    ),
    "report": ("report", "--ranks {work}/r.npz --images_path {work}/named --output {disk}/report.html", ""),
    "match": ("match_images", f"--images_path {{work}}/photos {NETWORK} --output_image {{disk}}/a.png", None),
    "pictures": ("visualize_features", "--images_path {work}/few --features {work}/a.h5 --output {disk}/a", None),
    "photo index": ("build_photo_index", f"--images_path {{work}}/photos {NETWORK} --output {{disk}}/made", ""),
    "rotate": (
        "rotate_photos",
        "--images_path {work}/photos --list_path {work}/turns.txt --output {disk}/upright",
        "--list_path {work}/other.txt",
    ),
    "demo": (
        "make_demo_dataset",
        "--output {disk}/demo --num_classes 1 --photos_per_class 2 --num_eval_landmarks 1 --photos_per_eval_landmark 4"
        " --queries_per_landmark 1 --num_distractors 1 --train_photo_size 64 --eval_photo_size 64 --workers 1",
        "--seed 1",
    ),
    "whole road": (
        "evaluate_retrieval",
        "{work}/oxford {work}/gt {work}/model/net.ckpt --image_scales 1 --max_feature_num 60 --engine mindspore"
        " --output_path {disk}/all --protocol classic",
        "--max_feature_num 50",
    ),
    "shards": ("build_image_dataset", GLDV2 + " --output_directory {disk}/shards --num_shards 1", "--seed 1"),
    "batch": ("show_batch", "--traindata_path {work}/shards --image_size 65 --batch_size 2 --output_image {disk}/a.png",
              None),
    "training": ("train", f"--traindata_path {{work}}/shards --save_ckpt {{disk}}/run --max_iters 1 {SMALL_NETWORK}",
                 "--image_size 65 --batch_size 2"),
    "checkpoint": ("make_untrained_checkpoint", f"--output {{disk}}/net.ckpt {SMALL_NETWORK}", ""),
    "export": ("export_model", "--format ONNX --checkpoint_path {work}/net.ckpt --output {disk}/net.onnx "
               "--architecture resnet18 --weights_style torchvision", ""),
}  # fmt: skip
MANY_FILES = {"photo index", "whole road", "training"}  # each file is old or new, whatever became of the others
STEPS = [0, 1, 4, 16, 64, 256, 512]  # pages of the disk that are free
MORE_STEPS = [0, 1, 256, 2048, SIZE // PAGE]
FEW_STEPS = [0, 16, 512]
SLOW = {"checkpoint": MORE_STEPS, "shards": MORE_STEPS, "export": [0], "training": [0, 1]}
SLOW.update({name: FEW_STEPS for name in ("demo", "threshold", "pictures", "match")})
UNFINISHED = {"export", "training"}  # would take minutes


def picture(seed):
    import numpy as np
    from PIL import Image

    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((32, 32, 1), np.uint8)))


def prepare(work):
    """All inputs; those of other commands are made by them."""
    import numpy as np

    from src.artifacts import sha256_of
    from src.features.pca import Pca, save_pca
    from src.records import Provenance, Ranking
    from src.retrieval.ranking_file import save_ranking
    from tests.features.made_up import make_file, make_photos

    names = [f"{number}.png" for number in range(40)]
    make_photos(work / "named", names)
    make_photos(work / "few", names[:2])
    make_file(work / "a.h5", names[:30])
    make_file(work / "b.h5", names[30:])
    for folder, ending in (("photos", "png"), ("gldv2/a/b/c", "jpg"), ("oxford", "jpg")):
        (work / folder).mkdir(parents=True)
        for seed in range(8):
            picture(seed).save(work / folder / f"abc{seed}.{ending}")
    (work / "gldv2/train_clean.csv").write_text("landmark_id,images\n1,abc0 abc1 abc2 abc3\n2,abc4 abc5 abc6 abc7\n")
    (work / "turns.txt").write_text("abc0.png 90\n")
    (work / "other.txt").write_text("abc0.png 180\n")
    (work / "gt").mkdir()
    for label, text in (("query", "oxc1_abc0 1 2 100 100"), ("good", "abc1"), ("ok", ""), ("junk", "")):
        (work / f"gt/tower_1_{label}.txt").write_text(text)
    (work / "p.csv").write_text("id,images\nq,a b\n")
    (work / "s.csv").write_text("id,images,Usage\nq,a,Public\n")
    (work / "model").mkdir()
    (work / "model/net.ckpt").write_bytes(b"weights")
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(1024, 40)))[0].T
    provenance = Provenance(sha256_of(work / "model/net.ckpt"))
    save_pca(work / "model/pca.npz", Pca(np.zeros(1024), basis, np.ones(40), provenance))
    ranking = Ranking(["100000"], ["100000", "100001"], [[0, 1]], [[2, 1]])
    save_ranking(work / "h.npz", ranking, Provenance("abc"))
    for verb, arguments in (
        ("build_index", "--features {work}/a.h5 --output {work}/index"),
        ("perform_retrieval", "--index {work}/index --query_features {work}/b.h5 --output {work}/r.npz"),
        ("convert_features", "--features {work}/a.h5 --output {work}/delf"),
        ("build_image_dataset", GLDV2 + " --output_directory {work}/shards --num_shards 1"),
        ("make_untrained_checkpoint", "--output {work}/net.ckpt " + SMALL_NETWORK),
    ):
        status, said = call(verb, arguments.format(work=work))
        assert status == 0, said


def call(verb, arguments):
    """Exit status and what is said of a command, run in this process."""
    from src.commands.command_line import run_command

    said = io.StringIO()
    module = importlib.import_module(f"src.commands.{verb}")
    sys.argv = [verb, *arguments.split()]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            run_command(module.main)
        except SystemExit as end:
            return end.code, said.getvalue()
        except Exception as error:  # a traceback, as a person would see it
            return 1, f"{said.getvalue()}Traceback: {error!r}"


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def try_case(name, work, disk, filler):
    verb, arguments, again = CASES[name]
    arguments = arguments.format(work=work, disk=disk)
    again = "" if again is None else f"{again.format(work=work)} --overwrite"
    found = {"tries": []}
    if name in ("training", "checkpoint", "export"):
        disk.mkdir()
        for output in ("net.ckpt", "net.onnx"):
            (disk / output).write_text("old")
    else:
        found["first"] = call(verb, arguments)
    before = files_of(disk)
    for pages in SLOW.get(name, STEPS):
        gc.collect()  # a deleted file that the last exception keeps open has its pages still
        free = os.statvfs(disk).f_bavail
        room = min(pages, free - 1) * PAGE
        with open(filler, "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, free * PAGE - room)
        status, said = call(verb, f"{arguments} {again}")
        after = files_of(disk)
        changed = sorted(path for path, data in before.items() if after.get(path) != data)
        left = sorted(path for path in after if path not in before and ".parts/" not in path)
        found["tries"].append({"room": room, "status": status, "said": said, "changed": changed, "left": left})
        filler.unlink()
        if status == 0:
            break
    shutil.rmtree(disk)
    return found


def main(work, mount, answers):
    """The driver's process."""
    from tests.features.fake_network import load_fake_network

    for place in ("src.features.encoder.load_in_engine", "src.features.visualize.load_network"):
        module, name = place.rsplit(".", 1)
        setattr(importlib.import_module(module), name, load_fake_network)
    prepare(work)
    with open(answers, "w") as stream:
        for name in CASES:
            print(json.dumps({"begun": name}), file=stream, flush=True)
            found = try_case(name, work, mount / "made", mount / "filler")
            print(json.dumps({name: found}), file=stream, flush=True)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """By case, what ``try_case`` found; a case that ended the driver is missing."""
    work, mount = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("mount")
    if subprocess.run([*MOUNT, f"mount -t tmpfs -o size={SIZE} t {mount}"], capture_output=True).returncode:
        pytest.skip("no right to mount a disk here")
    program = (
        f"mount -t tmpfs -o size={SIZE} t {mount} && exec {sys.executable} {__file__} {work} {mount} {work}/answers"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    done = subprocess.run([*MOUNT, program], env=environment, capture_output=True, text=True)
    assert (work / "answers").exists(), done.stderr
    lines = [json.loads(line) for line in (work / "answers").read_text().splitlines()]
    found = {name: value for line in lines for name, value in line.items()}
    found["driver"] = f"status {done.returncode}, last begun {found.pop('begun', None)}: {done.stderr[-2000:]}"
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk(answers, name):
    assert name in answers, answers["driver"]
    found = answers[name]
    tries = found["tries"]
    assert found.get("first", [0])[0] == 0 and tries[0]["status"] == 2, found
    assert tries[-1]["status"] == 0 or name in UNFINISHED, tries[-1]
    for one in tries:
        if one["status"] == 0:
            continue
        *_, last = one["said"].splitlines()
        assert one["status"] == 2 and last.startswith("error: ") and one["said"].count("error: ") == 1, one
        assert "No space left on device" in last or "make room" in last, one
        assert "Traceback" not in one["said"] and "/work0/" not in last, one  # the disk is told, not what was read
        assert name in MANY_FILES or not one["changed"], one
        assert name in MANY_FILES or not one["left"], one
        assert not [path for path in one["left"] if ".tmp" in path], one


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

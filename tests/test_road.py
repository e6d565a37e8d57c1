"""The whole road with the real commands, on a very small drawn data set: shards, both stages, matching, mAP.txt."""

import json
import os

import cv2
import pytest
from metrics_file import read_metrics_file
from runs import run

SMALL = ["--image_size", "65", "--batch_size", "4", "--max_iters", "2", "--kernel_init", "he"]
EXTRACTION = ["--image_scales", "0.5,1", "--pca_dim", "16"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("road")


@pytest.fixture(scope="module")
def data(work):
    run("tools/make_demo_dataset.py", "--output", work / "data", "--num_classes", 3, "--photos_per_class", 8,
        "--num_eval_landmarks", 2, "--photos_per_eval_landmark", 6, "--queries_per_landmark", 1,
        "--num_distractors", 3, "--train_photo_size", 96, "--eval_photo_size", 160, cwd=work)  # fmt: skip
    train = work / "data/gldv2/train"
    run("build_image_dataset.py", f"--train_csv_path={train}/train.csv",
        f"--train_clean_csv_path={train}/train_clean.csv",
        f"--train_directory={train}/*/*/*/", "--output_directory=shards", "--num_shards=2", cwd=work)  # fmt: skip
    return work / "data"


@pytest.fixture(scope="module")
def checkpoint(work, data):
    """Both stages, relative paths, from a folder that is not the repository."""
    shards = ["--traindata_path", "shards/train.mindrecord000"]
    run("scripts/run_1p_train.sh", "tuning", *SMALL, *shards, "--save_ckpt", "tuning", cwd=work)
    run("scripts/run_1p_train.sh", "attn", "tuning/checkpoint_delf_tuning-1_2.ckpt", *SMALL, *shards,
        "--save_ckpt", "attn", cwd=work)  # fmt: skip
    return work / "attn/checkpoint_delf_attn-1_2.ckpt"


def test_run_folder_holds_recipe_log_and_metrics(work, checkpoint):
    names = {path.name for path in (work / "attn").iterdir()}
    assert {"attn_config.yaml", "attn.log", "attn_metrics.jsonl", "attn.json", checkpoint.name} <= names
    lines = [json.loads(line) for line in (work / "attn/attn_metrics.jsonl").read_text().splitlines()]
    training, validation = lines
    assert training["step"] == validation["step"] == 2
    assert training["losses"]["attention"] > 0 and validation["validation_losses"]["attention"] > 0


def test_finished_training_is_not_repeated_and_other_settings_are_refused(work, checkpoint):
    again = ["scripts/run_1p_train.sh", "tuning", *SMALL, "--traindata_path", "shards", "--save_ckpt", "tuning"]
    written = (work / "tuning/checkpoint_delf_tuning-1_2.ckpt").stat().st_mtime_ns
    said = run(*again, cwd=work)
    assert "already trained" in said
    said = run(*again, "--seed", 1, cwd=work, status=2)
    assert "other settings (seed)" in said and "--overwrite" in said
    assert (work / "tuning/checkpoint_delf_tuning-1_2.ckpt").stat().st_mtime_ns == written


def test_two_runs_give_the_same_weights(work, checkpoint):
    said = run("scripts/run_1p_train.sh", "attn", "tuning/checkpoint_delf_tuning-1_2.ckpt", *SMALL, "--traindata_path",
               "shards/train.mindrecord000", "--save_ckpt", "again", cwd=work)  # fmt: skip
    assert "already" not in said
    assert (work / "again" / checkpoint.name).read_bytes() == checkpoint.read_bytes()


def test_match_two_photos(work, data, checkpoint):
    said = run("scripts/run_eval_match_images.sh", data / "oxford/jpg", checkpoint, 0, *EXTRACTION, cwd=work)
    assert "inliers" in said
    picture = cv2.imread(str(work / "eval_match.png"))
    assert picture is not None and picture.std() > 5


@pytest.mark.parametrize("protocol,settings", [("classic", ["classic"]), ("", ["easy", "hard", "medium"])])
def test_retrieve_to_map_txt(work, data, checkpoint, protocol, settings):
    output = work / f"retrieval_{protocol}"
    command = ["scripts/run_eval_retrieval_images.sh", "data/oxford/jpg", "data/oxford/gt", checkpoint, "01",
               *EXTRACTION, "--output_path", output, *(["--protocol", protocol] if protocol else [])]  # fmt: skip
    run(*command, cwd=work)
    metrics = read_metrics_file(output / "mAP.txt")
    assert list(metrics) == settings
    results = json.loads((output / "results.json").read_text())
    assert len(results["checkpoint_sha256"]) == 64
    assert (output / "report.html").stat().st_size > 1000
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    run(*command, cwd=work)
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed <= {"mAP.txt", "results.json"}


def test_revisited_pickle(work, data, checkpoint):
    run("scripts/run_eval_retrieval_images.sh", data / "oxford/jpg", data / "oxford/gnd_demo.pkl", checkpoint,
        *EXTRACTION, "--output_path", "revisited", cwd=work)  # fmt: skip
    assert set(read_metrics_file(work / "revisited/mAP.txt")) == {"easy", "medium", "hard"}


@pytest.mark.parametrize(
    "command,said",
    [
        (["train.py", "--traindata_path", "nowhere"], "nowhere: no such data set"),
        (["train.py", "--batchsize", "3"], "did you mean --batch_size?"),
        (["train.py", "--config", "no.yaml"], "no.yaml: no such file"),
        (["train.py", "--traindata_path", "shards", "--device_target", "Ascend"], "Ascend: no such device here"),
        (["train.py", "--traindata_path", "shards", "--train_state", "attn"], "give --checkpoint_path"),
        (["scripts/run_1p_train.sh", "both"], "tuning, attn, joint, global, delg, regional_attention or how"),
        (["scripts/run_1p_train.sh", "tuning", "no.ckpt", "--traindata_path", "shards"], "no.ckpt: no such file"),
        (["scripts/run_eval_match_images.sh", "nowhere", "no.ckpt"], "nowhere: no such folder"),
        (
            ["scripts/run_eval_retrieval_images.sh", "data/oxford/jpg", "data/oxford/gt", "no.ckpt"],
            "no.ckpt: no such file",
        ),
        (["eval/extract_features.py", "--images_path", "data/oxford/gt", "--output", "x.h5"], "data/oxford/gt"),
        (["eval/build_index.py", "--features", "no.h5", "--output", "x"], "no.h5"),
        (["eval/perform_retrieval.py", "--index", "no", "--query_features", "no.h5", "--output", "x.npz"], "no: no "),
        (["eval/compute_map.py", "--ranks", "no.npz", "--gt_path", "data/oxford/gt"], "no.npz"),
        (["tools/learn_pca.py", "--features", "no.h5", "--output", "x.npz"], "no.h5"),
        (["tools/learn_whitening.py", "--features", "no.h5", "--output", "x.npz"], "no.h5"),
        (["scripts/run_demo.sh", "--large"], "unknown option --large"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_sentence_and_nothing_is_written(work, data, command, said):
    before = sorted(work.iterdir())
    output = run(*command, cwd=work, status=2)
    assert said in output and "Traceback" not in output
    assert sorted(work.iterdir()) == before


def test_help_is_fast(work):
    before = os.times()
    assert "--max_iters" in run("train.py", "--help", cwd=work)
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    assert seconds < 2  # of a core: other processes may keep it

import json
from itertools import islice

import cv2
import numpy as np
import pytest
from landmark_sets import jpeg, make_set, picture, place, write_csv

from src.commands.show_batch import main as show_batch
from src.config import TrainingConfig
from src.data import reader
from src.data.augmentation import random_box, random_crop, resize_area, whole_photo
from src.data.lists import read_clean_csv
from src.data.reader import TrainingStream
from src.data.shards import DatasetSettings, build_dataset
from src.data.summary import dataset_info
from src.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    make_set(root, {5: 12, 6: 12, 9: 6})
    build_dataset(
        read_clean_csv(root / "train_clean.csv"), root / "train", root / "made", DatasetSettings(num_shards=4)
    )
    (root / "made").rename(root / "moved")  # shards must not know where they were made
    return root / "moved"


def recipe(batch_size=4, **options):
    return TrainingConfig(batch_size=batch_size, image_size=20, **options)


def stream_of(info, batch_size=4, seed=0, num_workers=2, **options):
    return TrainingStream(recipe(batch_size, **options), info, seed, num_workers)


def take(batches, count):
    taken = list(islice(batches, count))
    batches.close()
    return taken


def assert_same(first, second):
    assert first.file_ids == second.file_ids
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.images, second.images)


def test_batches_have_the_shapes_the_network_wants(folder):
    info = dataset_info(folder / "train.mindrecord000")
    assert (info.num_classes, info.num_train, info.num_validation) == (3, 25, 5)
    stream = stream_of(info, 4)
    assert stream.steps_per_epoch == 6
    (batch,) = take(stream.batches(20), 1)
    assert batch.images.shape == (4, 3, 20, 20) and batch.images.dtype == np.float32
    assert batch.labels.shape == (4,) and batch.labels.dtype == np.int32
    assert batch.images.min() >= -1 and batch.images.max() <= 1


def test_batches_do_not_depend_on_the_number_of_workers(folder):
    info = dataset_info(folder)
    runs = [take(stream_of(info, 4, 3, num_workers=workers).batches(20), 14) for workers in (1, 2, 5)]
    for batches in zip(*runs):
        assert_same(batches[0], batches[1])
        assert_same(batches[0], batches[2])


def test_an_epoch_visits_every_photo_at_most_once_and_the_next_differs(folder):
    stream = stream_of(dataset_info(folder), 4, 0)
    batches = take(stream.batches(20), 12)
    first, second = ([name for batch in half for name in batch.file_ids] for half in (batches[:6], batches[6:]))
    assert len(set(first)) == len(set(second)) == 24
    assert first != second
    other_seed = take(stream_of(dataset_info(folder), 4, 1).batches(20), 6)
    assert first != [name for batch in other_seed for name in batch.file_ids]


def test_a_photo_is_cropped_anew_in_each_epoch(folder):
    batches = take(stream_of(dataset_info(folder), 4, 0).batches(20), 12)
    seen = {}
    for batch in batches:
        for name, image in zip(batch.file_ids, batch.images):
            seen.setdefault(name, []).append(image)
    twice = [images for images in seen.values() if len(images) == 2]
    assert twice and all(not np.array_equal(*images) for images in twice)


def test_the_stream_ends_after_its_steps_and_counts_epochs(folder):
    stream = stream_of(dataset_info(folder))
    assert [batch.epoch for batch in stream.batches(8)] == [0] * 6 + [1] * 2
    assert [batch.epoch for batch in stream.batches(8, 7)] == [1]
    assert list(stream.batches(8, 8)) == []


@pytest.mark.parametrize("start_step", [1, 5, 6, 9])
def test_resuming_at_a_step_gives_the_same_batches(folder, start_step):
    stream = stream_of(dataset_info(folder), 4, 0)
    whole = take(stream.batches(20), 12)
    for expected, batch in zip(whole[start_step:], take(stream.batches(12, start_step), 12 - start_step)):
        assert_same(expected, batch)


def test_labels_belong_to_their_photos(folder):
    listed = read_clean_csv(folder.parent / "train_clean.csv")
    label_of = dict(zip(listed.file_ids, listed.labels))
    info = dataset_info(folder)
    held_out = TrainingStream(recipe(2), info).validation_batches()
    for batch in take(stream_of(info, 4, 0).batches(20), 6) + list(held_out):
        assert [label_of[name] for name in batch.file_ids] == batch.labels.tolist()


def test_validation_is_whole_in_order_and_complete(folder):
    info = dataset_info(folder)
    batches = list(TrainingStream(recipe(2), info).validation_batches())
    assert [len(batch.labels) for batch in batches] == [2, 2, 1]
    names = [name for batch in batches for name in batch.file_ids]
    assert len(set(names)) == 5
    again = list(TrainingStream(recipe(5), info, num_workers=4).validation_batches())[0]
    assert again.file_ids == names
    path = folder.parent.joinpath("train", *names[0][:3], f"{names[0]}.jpg")
    image = cv2.imread(str(path))[:, :, ::-1]
    expected = (bilinear(image, 20) - 128) / 128
    assert np.allclose(batches[0].images[0], expected.transpose(2, 0, 1), atol=1e-5)


def test_without_augmentation_training_sees_the_whole_photo(folder):
    (batch,) = take(stream_of(dataset_info(folder), 4, 0, use_augmentation=False).batches(20), 1)
    path = folder.parent.joinpath("train", *batch.file_ids[0][:3], f"{batch.file_ids[0]}.jpg")
    assert np.array_equal(batch.images[0], whole_photo(path.read_bytes(), 20))


def test_missing_and_damaged_data_sets_are_named(folder, tmp_path):
    for path, fact in (("", "not set"), (tmp_path / "none", "no such data set"), (tmp_path, "has no dataset.json")):
        with pytest.raises(UserError, match=fact) as error:
            dataset_info(path)
        assert "build_image_dataset" in str(error.value)
    (tmp_path / "dataset.json").write_text((folder / "dataset.json").read_text())
    with pytest.raises(UserError, match="train.mindrecord000: missing"):
        dataset_info(tmp_path)
    (tmp_path / "dataset.json").write_text('{"num_classes": 3}')
    with pytest.raises(UserError, match="damaged"):
        dataset_info(tmp_path)


def test_a_batch_larger_than_the_set_is_refused(folder):
    with pytest.raises(UserError, match="`batch_size` 26"):
        stream_of(dataset_info(folder), 26, 0)


def test_labels_out_of_range_stop_the_reader(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    summary = json.loads((tmp_path / "dataset.json").read_text())
    summary["num_classes"] = 2
    (tmp_path / "dataset.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match="label 2, outside 0 to 1"):
        take(stream_of(dataset_info(tmp_path), 4, 0).batches(20), 6)
    record = reader.Record(0, "odd", -1, b"")
    with pytest.raises(UserError, match="photo odd has label -1"):
        reader._fill(None, 0, record, None, dataset_info(folder))


def test_grey_photos_have_three_equal_channels(tmp_path):
    for number in range(4):
        place(tmp_path / "train", f"abc{number}", jpeg(picture(number)[:, :, 0]))
    write_csv(tmp_path / "train_clean.csv", {1: [f"abc{number}" for number in range(4)]})
    build_dataset(
        read_clean_csv(tmp_path / "train_clean.csv"),
        tmp_path / "train",
        tmp_path / "out",
        DatasetSettings(num_shards=1),
    )
    (batch,) = take(stream_of(dataset_info(tmp_path / "out"), 3, 0).batches(20), 1)
    assert batch.images.shape == (3, 3, 20, 20)
    assert np.array_equal(batch.images[:, 0], batch.images[:, 1])
    assert np.array_equal(batch.images[:, 0], batch.images[:, 2])


@pytest.mark.parametrize("options", [["--step=7"], ["--step=1", "--validation"]])
def test_show_batch_draws_a_grid(folder, tmp_path, options):
    path = tmp_path / "batch.png"
    show_batch([f"--traindata_path={folder}", "--batch_size=4", "--image_size=20", f"--output_image={path}", *options])
    assert cv2.imread(str(path)).std() > 10
    with pytest.raises(UserError, match="no batch 99"):
        show_batch([f"--traindata_path={folder}", "--validation", "--step=99", f"--output_image={path}"])


@pytest.mark.parametrize(
    "options",
    [["--eval_photos=3"]]
    + [
        [option, "--validation"]
        for option in ("--use_augmentation=false", "--min_crop_area=0.5", "--overfit_batches=1")
    ],
)
def test_show_batch_refuses_what_does_nothing(folder, options):
    with pytest.raises(UserError, match=f"{options[0].split('=')[0]} has no effect with"):
        show_batch([f"--traindata_path={folder}", *options])


def area_weights(old, new):
    """[new, old]: the share of each old pixel in the stretch of the line that a new pixel covers."""
    weights = np.zeros((new, old))
    for target in range(new):
        low, high = target * old / new, (target + 1) * old / new
        for source in range(old):
            weights[target, source] = max(0.0, min(high, source + 1) - max(low, source))
    return weights / weights.sum(axis=1, keepdims=True)


def bilinear(image, size):
    """Half-pixel centres, no smoothing, borders repeated (TF2's tf.image.resize)."""

    def weights(old):
        matrix = np.zeros((size, old))
        for target in range(size):
            centre = np.clip((target + 0.5) * old / size - 0.5, 0, old - 1)
            low = min(int(centre), old - 2)
            matrix[target, low] += 1 - (centre - low)
            matrix[target, low + 1] += centre - low
        return matrix

    return np.einsum("yh,xw,hwc->yxc", weights(image.shape[0]), weights(image.shape[1]), image.astype(float))


@pytest.mark.parametrize(
    "shape", [(90, 67), (17, 23), (30, 41), (45, 31), (36, 36), (72, 36), (36, 20), (18, 90), (1, 1)]
)
def test_area_resize_is_the_mean_of_the_covered_area(shape):
    image = np.random.default_rng(0).uniform(0, 255, (*shape, 3)).astype(np.float32)
    expected = np.einsum("yh,xw,hwc->yxc", area_weights(shape[0], 36), area_weights(shape[1], 36), image)
    assert np.allclose(resize_area(image, 36), expected, atol=2e-2)


def test_random_crop_is_box_then_area_then_normalisation():
    data = jpeg(picture(5, 60, 80))
    rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    left, top, width, height = random_box(80, 60, np.random.default_rng((1, 2, 3)))
    box = rgb[top : top + height, left : left + width].astype(float)
    expected = np.einsum("yh,xw,hwc->cyx", area_weights(height, 24), area_weights(width, 24), box) / 128 - 1
    assert np.allclose(random_crop(data, 24, np.random.default_rng((1, 2, 3))), expected, atol=2e-4)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (100, 300), (7, 5), (1, 1), (1000, 20)])
def test_boxes_keep_to_the_ranges_of_the_reference(width, height):
    generator = np.random.default_rng(0)
    boxes = np.array([random_box(width, height, generator) for _ in range(2000)])
    left, top, box_width, box_height = boxes.T
    assert left.min() >= 0 and top.min() >= 0
    assert (left + box_width).max() <= width and (top + box_height).max() <= height
    share = box_width * box_height / (width * height)
    assert share.min() >= 0.1 and share.max() <= 1
    whole = (box_width == width) & (box_height == height)
    aspect = box_width / box_height
    slack = 1 / box_height  # rounding of the width
    assert np.all(whole | ((aspect >= 0.75 - slack) & (aspect <= 4 / 3 + slack)))
    if (width, height) == (640, 480):  # whole range in use, and every place of the photo
        assert share.max() > 0.95 and np.percentile(share, 2) < 0.15
        assert (left + box_width).max() >= 636 and left.min() <= 3
        assert 0.95 < np.median(aspect) < 1.15
    if (width, height) == (1000, 20):  # 4/3 of 20 by 20 is under a tenth: the whole photo stays
        assert whole.all()

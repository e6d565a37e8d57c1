import pytest

from src.errors import UserError
from src.evaluation.ground_truth_files import load_ground_truth


def holidays(*names):
    return load_ground_truth("", "holidays", names)


def test_holidays_groups():
    truth = holidays("jpg/100001.jpg", "jpg/100000.jpg", "jpg/100002", "jpg/100100.jpg", "jpg/100101.jpg", "readme")
    assert truth.kind == "holidays" and [query.name for query in truth.queries] == ["100000", "100100"]
    assert truth.queries[0].lists == {"positive": ("100001", "100002"), "junk": ("100000",)}
    assert truth.queries[1].lists["positive"] == ("100101",) and truth.queries[0].box is None
    assert truth.index_names == ("100000", "100001", "100002", "100100", "100101")


def test_holidays_without_its_query_or_with_distractors():
    truth = holidays("100000", "100001", "100201", "distractors/100002", "12345", "1000003")
    assert [query.lists["positive"] for query in truth.queries] == [("100001",)]
    with pytest.raises(UserError, match="none of the photos is a query of Holidays"):
        holidays("100001", "distractors/100000")


def test_ukbench_groups():
    names = [f"full/ukbench{number:05}.jpg" for number in range(3, 9)]
    truth = load_ground_truth("", "ukbench", names)
    assert [query.name for query in truth.queries] == [f"ukbench{number:05}" for number in range(3, 9)]
    positives = {query.name: query.lists["positive"] for query in truth.queries}
    assert positives["ukbench00003"] == ("ukbench00003",)  # its group is 0 .. 3
    assert positives["ukbench00006"] == tuple(f"ukbench{number:05}" for number in range(4, 8))
    with pytest.raises(UserError, match="none of the photos is one of UKBench"):
        load_ground_truth("", "ukbench", ["a"])


def test_the_folder_of_photos_is_the_ground_truth(tmp_path):
    for name in ("100000.jpg", "100001.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert load_ground_truth(tmp_path, "holidays") == holidays("100000", "100001")

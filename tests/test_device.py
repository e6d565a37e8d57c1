"""Choosing a device, and what is said when that is impossible."""

import pytest

from src import device, errors
from src.errors import UserError


def test_auto_finds_the_cpu_at_least():
    assert device.set_up_device("auto", 0) in ("CPU", "GPU", "Ascend")


def test_absent_device_is_one_sentence():
    with pytest.raises(UserError, match="`device_target` Ascend: no such device here") as caught:
        device.set_up_device("Ascend", 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "package,version,said",
    [("numpy", (2, 1), "numpy<2"), ("mindspore", (2, 3), "2.8"), ("mindspore", (3, 0), "2.8")],
)
def test_wrong_versions(monkeypatch, package, version, said):
    real = device._version
    monkeypatch.setattr(device, "_version", lambda name: version if name == package else real(name))
    with pytest.raises(UserError, match=said):
        device.check_versions()


def test_wrong_python_and_missing_package(monkeypatch):
    with pytest.raises(UserError, match="pip install -r requirements.txt"):
        device._version("a-package-that-is-not-there")
    monkeypatch.setattr(device.sys, "version_info", type("V", (tuple,), {"major": 3, "minor": 8})((3, 8)))
    with pytest.raises(UserError, match="Python 3.8 is not supported"):
        device.check_versions()


@pytest.mark.parametrize("version,expected", [((2, 8), None), ((2, 9), "AVX2"), ((2, 10), "AVX2")])
def test_newer_mindspore_is_kept_off_its_slow_kernels(monkeypatch, version, expected):
    monkeypatch.setattr(device.os, "environ", {})
    monkeypatch.setattr(device, "_version", lambda name: version)
    device.prepare_process()
    assert device.os.environ.get("ONEDNN_MAX_CPU_ISA") == expected


def test_workers_share_the_cores_but_for_mindspore(monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)))
    assert [device.network_threads("openvino", workers) for workers in (1, 2, 3, 9)] == [0, 4, 2, 1]
    assert device.network_threads("mindspore", 4) == 0


@pytest.mark.parametrize("name", ["DEVICE_ID", "MS_WORKER_NUM", "RANK_ID"])
@pytest.mark.parametrize("text", ["abc", "", "-1", "nan", "1.5", "9" * 30, "\x1b[31m", "\u0663"])
def test_what_msrun_should_have_set_is_said(monkeypatch, name, text):
    monkeypatch.setattr(device, "set_up_device", lambda *_: "CPU")
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=f"the environment variable {name} is .*: unset it, or give a whole") as caught:
        device.set_up_training_device("CPU", 0, "O0")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["GLOG_v", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"])
@pytest.mark.parametrize("text", ["abc", "", "-1", "9" * 999])
def test_what_mindspore_cannot_be_imported_with_is_said(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=f"the environment variable {name} is .*: unset it, or give one of") as caught:
        device.prepare_process()
    assert len(str(caught.value)) < 300


def test_ranks_that_do_not_meet_are_one_sentence(monkeypatch):
    from mindspore import communication

    def fail():
        raise RuntimeError("no scheduler\n\n----\nC++ call stack " + "x" * 999)

    monkeypatch.setattr(device, "set_up_device", lambda *_: "CPU")
    monkeypatch.setattr(communication, "init", fail)
    monkeypatch.setenv("MS_ROLE", "abc")
    with pytest.raises(UserError, match=r"cannot meet \(no scheduler.*\): start training with scripts/") as caught:
        device.set_up_training_device("CPU", 0, "O0")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_ranks_are_counted_from_one(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "0")
    with pytest.raises(UserError, match="MS_WORKER_NUM is '0': .* at least 1"):
        device.ranks_started()
    monkeypatch.setenv("MS_WORKER_NUM", "8")
    assert device.ranks_started() == 8


@pytest.mark.parametrize("text,ids", [("0", [0]), ("03", [0, 3]), ("0,10,11", [0, 10, 11]), ("10,", [10])])
def test_each_digit_or_number_between_commas_is_a_device_id(text, ids):
    assert device.parse_devices(text) == ids


@pytest.mark.parametrize("text", ["", ",", "0,,1", "0x", "-1", "0 1", "\u00b2", "0,a", ",0", "0,12345"])
def test_what_is_no_device_id_is_refused(text):
    with pytest.raises(UserError, match="`devices` is .*; give digits such as 0, 01 or 03"):
        device.parse_devices(text)


def test_the_command_to_install_is_that_of_a_checkout_or_of_a_package(monkeypatch, tmp_path):
    assert errors.install_command() == "pip install -r requirements.txt"
    assert errors.install_command("engines") == "pip install -r requirements-engines.txt"
    monkeypatch.setattr(errors, "_ROOT", tmp_path)
    assert errors.install_command() == "pip install delf-mindspore"
    assert errors.install_command("engines") == "pip install 'delf-mindspore[engines]'"

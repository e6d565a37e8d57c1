"""TensorBoard event files, read back record by record."""

import struct
import sys

import pytest

from src.errors import UserError
from src.training.events import open_events


def read_events(folder):
    """Events of a folder in the order TensorBoard reads them: its files by name, each a run of TFRecords."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("*tfevents*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])  # after the length's checksum
            data = data[16 + length :]


def shown(folder):
    """{(name, step): value} as TensorBoard shows them: a session's start discards what stands at or past its step."""
    from tensorboardX.proto.event_pb2 import SessionLog

    values = {}
    for event in read_events(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            values = {key: value for key, value in values.items() if key[1] < event.step}
        for item in event.summary.value:
            values[item.tag, event.step] = item.simple_value
    return values


def test_scalars_are_written_by_name_and_step(tmp_path):
    pytest.importorskip("tensorboardX")
    with open_events(tmp_path / "events") as events:
        events.add(10, {"loss/descriptor": 2.5, "learning_rate": 0.5})
        events.add(20, {"loss/descriptor": 2.0})
    expected = {("loss/descriptor", 10): 2.5, ("learning_rate", 10): 0.5, ("loss/descriptor", 20): 2.0}
    assert shown(tmp_path / "events") == expected


@pytest.mark.parametrize("purge_step,kept", [(20, {0: 1.0, 10: 1.0, 20: 1.0}), (0, {})])
def test_a_resumed_run_discards_what_lies_past_its_step(tmp_path, purge_step, kept):
    pytest.importorskip("tensorboardX")
    killed = open_events(tmp_path)
    for step in (0, 10, 20, 30, 40):
        killed.add(step, {"loss": 1.0})
    killed.close()
    resumed = open_events(tmp_path, purge_step)
    resumed.add(30, {"loss": 3.0})
    resumed.close()
    assert shown(tmp_path) == {**{("loss", step): value for step, value in kept.items()}, ("loss", 30): 3.0}


def test_without_tensorboardx_the_install_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # makes the import fail
    with pytest.raises(UserError, match=r"pip install -r requirements-extras\.txt"):
        open_events(tmp_path / "events")
    assert not (tmp_path / "events").exists()

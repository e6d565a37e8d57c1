"""Protocol buffers from a table of fields, without generated code; the format is that of protobuf.dev, "Encoding"."""

import os
from typing import Any, Dict, Mapping, Tuple

# As MindSpore sets it, whose own messages cannot be made when protobuf was imported before with another one
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402
from google.protobuf.message import DecodeError  # noqa: E402

_Field = descriptor_pb2.FieldDescriptorProto
_NUMBERS = ("float", "double", "int32", "int64", "uint32", "uint64", "bool")
_SCALARS = {name: getattr(_Field, f"TYPE_{name.upper()}") for name in (*_NUMBERS, "bytes", "string")}


def message_classes(package: str, messages: Mapping[str, Mapping[str, Tuple[int, str]]]) -> Dict[str, Any]:
    """The classes of some messages (proto2: a field that was set is written, be it 0), by their names.

    Args:
        package: name of the messages' family; any.
        messages: for each message its fields: name -> (number, type). A type is a scalar's name of the language of
            .proto files, or one of these messages; "repeated TYPE" is a list of them, of numbers a packed one.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for message, fields in messages.items():
        added = file.message_type.add(name=message)
        for name, (number, declared) in fields.items():
            *repeated, kind = declared.split()
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            field = added.field.add(name=name, number=number, label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            if repeated and kind in _NUMBERS:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()  # not the process's: others may know messages of these names
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def parse(message_class: Any, data: bytes) -> Any:
    """The message in ``data``; fields that its class does not know are passed over.

    Raises:
        ValueError: the bytes are no such message.
    """
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise ValueError(f"no {message_class.DESCRIPTOR.name} message") from error

"""Files as PyTorch writes them, in both layouts, written by hand from pickle instructions: PyTorch is not needed."""

import pickle
import zipfile

import numpy as np

KINDS = {"f8": "Double", "f4": "Float", "f2": "Half", "i8": "Long", "i4": "Int", "i2": "Short", "i1": "Char",
         "u1": "Byte", "b1": "Bool", "bf": "BFloat16"}  # fmt: skip
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
FALSE = b"\x89"


def text(value):
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def row(*items):
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def call(module, name, *arguments):
    return named(module, name) + row(*arguments) + b"R"


def ordered(items):
    """An OrderedDict of programs, with attributes as those of a state_dict."""
    pairs = b"".join(text(name) + program for name, program in items.items())
    attributes = b"}" + text("_metadata") + named("collections", "OrderedDict") + b")Rs"
    return named("collections", "OrderedDict") + b")R(" + pairs + b"u" + attributes + b"b"


def plain(value):
    """The program of a value that Python pickles itself."""
    return pickle.dumps(value, 2)[2:-1]


def storage(kind, key, length, view=b""):
    return row(text("storage"), named("torch", f"{kind}Storage"), text(key), text("cpu"), number(length), view) + b"Q"


def tensor(where, offset, shape, strides):
    sides, steps = (row(*map(number, numbers)) for numbers in (shape, strides))
    hooks = named("collections", "OrderedDict") + b")R"
    return call("torch._utils", "_rebuild_tensor_v2", where, number(offset), sides, steps, FALSE, hooks)


def parameter(program):
    return call("torch._utils", "_rebuild_parameter", program, b"\x88", named("collections", "OrderedDict") + b")R")


def bfloat16(array):
    """The upper halves of float32, as uint16."""
    return (np.asarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


class Storages:
    """Gives arrays a storage each, and remembers the bytes."""

    def __init__(self, order="<"):
        self.order, self.content, self.lengths = order, {}, {}

    def add(self, array, kind=""):
        """The program of a storage that holds an array in C order; returns it for ``tensor``."""
        array, key = np.ascontiguousarray(array), str(len(self.content))
        self.content[key] = array.astype(array.dtype.newbyteorder(self.order)).tobytes()
        self.lengths[key] = array.size
        return storage(kind or KINDS[array.dtype.str[1:]], key, array.size)

    def whole(self, array, kind=""):
        """The program of a tensor that is an array."""
        strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides][: array.ndim]
        return tensor(self.add(array, kind), 0, array.shape, strides)


def write_zip(path, program, storages, order="", members=(), compression=zipfile.ZIP_STORED):
    """The layout since PyTorch 1.6; ``order`` is the content of the member byteorder, none where it is ''."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + program + b".")
        for name, content in [("net/.format_version", b"1"), *([("net/byteorder", order)] if order else []), *members]:
            archive.writestr(name, content)
        for key, content in storages.content.items():
            archive.writestr(f"net/data/{key}", content)
        archive.writestr("net/version", "3\n")
    return path


def write_old(path, program, storages):
    """The layout before."""
    facts = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    data = b"".join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, facts))
    data += b"\x80\x02" + program + b"." + pickle.dumps(list(storages.content), 2)
    for key, content in storages.content.items():
        data += storages.lengths[key].to_bytes(8, "little") + content
    path.write_bytes(data)
    return path


def write_state(path, tensors, old=False, **more):
    """A file of a state_dict of arrays, or, with further programs by name, of a dictionary that has it."""
    storages = Storages()
    program = ordered({name: storages.whole(value) for name, value in tensors.items()})
    program = ordered({"state_dict": program, **more}) if more else program
    return (write_old if old else write_zip)(path, program, storages)

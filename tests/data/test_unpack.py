"""Archives that try to write elsewhere, to replace other files, to leave links and devices; damage, bombs, kills."""

import gzip
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest

from src.data import unpack as module
from src.data.unpack import LAYOUTS, DamagedArchive, unpack
from src.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "unpack_archive.py"
PHOTO = bytes(range(256)) * 4
SOUND = {"gldv2": "0/b/c/0bc.jpg", "photos": "oxford/a_1.jpg", "ground_truth": "./gt/a_1_query.txt"}


def member(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write(path, *members, mode="w", **options):
    with tarfile.open(path, mode, **options) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def contents(folder):
    """Every entry below a folder, hidden ones and links too: a file's bytes, else its kind."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = path.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)
    return found


LINK, HARD, FIFO, DEVICE, BLOCK = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE
REFUSED = [
    (member("0", type=LINK, linkname="../elsewhere"), "is a link"),
    (member("0/b/c/1.jpg", type=LINK, linkname="/etc/passwd"), "is a link"),
    (member("0/b/c/1.jpg", type=HARD, linkname="../elsewhere/file"), "is a link"),
    (member("0/b/c/1.jpg", type=HARD, linkname="0/b/c/0bc.jpg"), "is a link"),
    (member("0/b/c/1.jpg", type=FIFO), "is a device or a FIFO"),
    (member("0/b/c/1.jpg", type=DEVICE, devmajor=1, devminor=5), "is a device or a FIFO"),
    (member("0/b/c/1.jpg", type=BLOCK, devmajor=7), "is a device or a FIFO"),
    (member("0/b/c/1.jpg", b"x", type=tarfile.CONTTYPE), "is neither a plain file nor a folder"),
    (member("0/b/c/1.jpg", b"x", type=b"Z"), "is neither a plain file nor a folder"),
    (member("/tmp/unpack_archive_test/1.jpg", b"x"), "lies outside"),
    (member("../elsewhere/1.jpg", b"x"), "lies outside"),
    (member("0/b/../../../elsewhere/1.jpg", b"x"), "lies outside"),
    (member("./../elsewhere", type=tarfile.DIRTYPE), "lies outside"),
    (member(".hidden", type=tarfile.DIRTYPE), "is no folder that belongs"),
    (member("0/.bashrc", b"x"), "is not called"),
    (member("0/b/c/.1.jpg", b"x"), "is not called"),
    (member("0/b/c/run.sh", b"x"), "is not called"),
    (member("0/b/c/1.jpg\n", b"x"), r"\\n' is not called"),
    (member("0/b/c/\x1b[31m.jpg", b"x"), r"'0/b/c/\\x1b\[31m.jpg' is not called"),
    (member("0//b/1.jpg", b"x"), "is not called"),
    (member("a\\b.jpg", b"x"), "is not called"),
    (member("0/b/c/" + "a" * 200 + ".jpg", b"x"), r"aaa\.\.\.' is not called"),
]
GLDV2_ALONE = [
    "train_clean.csv", "images_001.tar.unpacked", "images_001.tar", "evil.jpg", "0/b/c/1.txt", "0/b/c/d/1.jpg",
    "00/b/c/1.jpg", ".images_000.tar.unpacking/0/b.jpg",
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("evil, fault", REFUSED, ids=range(len(REFUSED)))
def test_a_refused_member_leaves_nothing(tmp_path, layout, evil, fault):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("mine")
    archive = write(tmp_path / "images_000.tar", member(SOUND[layout], PHOTO), evil, member(SOUND[layout], PHOTO))
    before = contents(tmp_path)
    with pytest.raises(UserError, match=fault) as refused:
        unpack([archive], tmp_path / "train", LAYOUTS[layout])
    assert str(refused.value).startswith(f"{archive}: its member '") and str(refused.value).isprintable()
    assert contents(tmp_path) == before and not Path("/tmp/unpack_archive_test").exists()


@pytest.mark.parametrize("name", GLDV2_ALONE)
def test_an_archive_of_photos_cannot_replace_lists_marks_and_archives(tmp_path, name):
    archive = write(tmp_path / "images_000.tar", member(SOUND["gldv2"], PHOTO), member(name, b"evil"))
    (tmp_path / "train").mkdir()
    (tmp_path / "train/train_clean.csv").write_text("the list")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="is not called a/b/c/ID.jpg"):
        unpack([archive], tmp_path / "train", LAYOUTS["gldv2"])
    assert contents(tmp_path) == before


def test_one_archives_link_is_no_way_out_for_the_next(tmp_path):
    train, elsewhere = tmp_path / "train", tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = write(tmp_path / "images_000.tar", member("0", type=LINK, linkname=str(elsewhere)))
    second = write(tmp_path / "images_001.tar", member("0/.bashrc", b"evil"))
    third = write(tmp_path / "images_002.tar", member("1/b/c/1.jpg", PHOTO), member("0/b/c/0.jpg", PHOTO))
    for archive in (first, second):
        with pytest.raises(UserError, match=f"{archive}: its member '0"):
            unpack([archive], train, LAYOUTS["gldv2"])
    assert not train.exists()
    train.mkdir()
    (train / "0").symlink_to(elsewhere)  # as an older version of the scripts left it
    with pytest.raises(UserError, match="'0/b/c/0.jpg' has no way to its place, as .*/train/0 is no plain folder"):
        unpack([third], train, LAYOUTS["gldv2"])
    assert contents(elsewhere) == {} and contents(train) == {"0": stat.S_IFLNK}
    hidden = train / ".images_002.tar.unpacking"
    hidden.symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{hidden} is a link"):
        unpack([third], train, LAYOUTS["gldv2"])


def test_neither_owner_nor_permissions_come_from_an_archive(tmp_path):
    evil = {"mode": 0o7777, "uid": 12345, "gid": 12345, "uname": "daemon", "gname": "daemon", "mtime": 1e12}
    archive = write(
        tmp_path / "images_000.tar",
        member("0", type=tarfile.DIRTYPE, **evil),
        member("0/b", type=tarfile.DIRTYPE, **{**evil, "mode": 0}),
        member("0/b/c/0bc.jpg", PHOTO, **evil),
        format=tarfile.PAX_FORMAT,
    )
    umask = os.umask(0)
    try:
        assert unpack([archive], tmp_path / "train", LAYOUTS["gldv2"]) == 1
    finally:
        os.umask(umask)
    for path in (tmp_path / "train").rglob("*"):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == (0o755 if path.is_dir() else 0o644)
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid()) and abs(found.st_mtime - time.time()) < 60


def test_what_is_in_the_way_stays_unless_it_is_the_beginning_of_the_same_photo(tmp_path):
    train, names = tmp_path / "train", ["0/b/c/0.jpg", "1/b/c/1.jpg"]
    archive = write(tmp_path / "images_000.tar", *(member(name, PHOTO) for name in names))
    (train / "1/b/c").mkdir(parents=True)
    photo = train / "1/b/c/1.jpg"
    for other in (b"another photo", PHOTO + b"x", "folder", "link"):
        if other == "folder":
            photo.mkdir()
        elif other == "link":
            photo.symlink_to("2.jpg")
        else:
            photo.write_bytes(other)
        before = contents(train)
        with pytest.raises(UserError, match="'1/b/c/1.jpg' would replace .*1.jpg, which is another file"):
            unpack([archive], train, LAYOUTS["gldv2"])
        assert contents(train) == before
        photo.rmdir() if other == "folder" else photo.unlink()
    for begun in (b"", PHOTO[:100], PHOTO):  # cut off by a kill or a full disk, or whole
        photo.write_bytes(begun)
        assert unpack([archive], train, LAYOUTS["gldv2"]) == 2
        assert [(train / name).read_bytes() for name in names] == [PHOTO, PHOTO]


def test_oxford_and_paris_lose_their_folders_and_what_is_left_out(tmp_path):
    first = write(
        tmp_path / "1.tgz",
        member(".", type=tarfile.DIRTYPE),
        member("./paris/a/paris_a_000000.jpg", b"old"),
        member("./paris/a/paris_a_000000.jpg", PHOTO),  # as with `tar`, the last of one name counts
        member("paris/readme.txt", b"x"),
        mode="w:gz",
    )
    second = write(tmp_path / "2.tgz", member("b.jpg", b"b"), member("broken/c.jpg", b"c"), mode="w:gz")
    folder = tmp_path / "paris_images"
    assert unpack([first, second], folder, LAYOUTS["photos"], ["c.jpg"]) == 2
    assert contents(folder) == {"b.jpg": b"b", "paris_a_000000.jpg": PHOTO}
    assert sorted(os.listdir(tmp_path)) == ["1.tgz", "2.tgz", "paris_images"]
    with pytest.raises(OSError, match="not empty"):
        unpack([first], folder, LAYOUTS["photos"])
    assert len(contents(folder)) == 2 and sorted(os.listdir(tmp_path)) == ["1.tgz", "2.tgz", "paris_images"]


def test_two_files_of_one_name_are_not_mixed(tmp_path):
    one = write(tmp_path / "1.tgz", member("a/x.jpg", b"1"), mode="w:gz")
    two = write(tmp_path / "2.tgz", member("b/x.jpg", b"2"), mode="w:gz")
    both = write(tmp_path / "3.tgz", member("a/x.jpg", b"1"), member("b/x.jpg", b"2"), mode="w:gz")
    for archives in ([one, two], [both]):
        with pytest.raises(UserError, match="'b/x.jpg' is the second file of its name"):
            unpack(archives, tmp_path / "images", LAYOUTS["photos"])
    with pytest.raises(UserError, match=r"no \*.txt in it"):
        unpack([one], tmp_path / "images", LAYOUTS["ground_truth"])
    assert not (tmp_path / "images").exists()


def pax(records):
    """A header of records, each shorter than 97 bytes."""
    body = b"".join(b"%2d %s\n" % (len(record) + 4, record) for record in records)
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


def negative(kind):
    info = tarfile.TarInfo("0/b/c/0bc.jpg")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = kind
    header[124:136] = b"\xff" * 10 + b"\xf8\x00"  # -2048 in GNU's base 256: back to an earlier header, for ever
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def damaged(good):
    """Name -> bytes of an archive that no one can read, from those of a sound one."""
    zipped = gzip.compress(good)
    huge = tarfile.TarInfo("pax")
    huge.type, huge.size = tarfile.XHDTYPE, 1 << 40
    return {
        "empty": b"", "page": b"<html>404</html>" * 100, "cut in a photo": good[:700], "cut in a header": good[:1736],
        "garbage between": good[:1536] + b"garbage!" * 64 + good[1536:], "negative": negative(b"0") + good,
        "negative pax": good[:1536] + negative(b"x") + good, "huge pax": huge.tobuf(tarfile.GNU_FORMAT) + good,
        "pax for ever": pax([b"comment=a"]) * 3000 + good, "bad pax": pax([b"size=none"]) + good,
        "bad sparse": pax([b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=x"]) + good,
        "cut gzip": zipped[:-9], "bad checksum": zipped[:-8] + bytes(8),
        "bad gzip": zipped[:40] + b"?" * 40 + zipped[80:], "long tail": zipped + TAIL,
    }  # fmt: skip


TAIL = gzip.compress(bytes(1 << 20)) * 110
DAMAGED = sorted(damaged(bytes(4096)))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    names = ("0/b/c/0bc.jpg", "0/b/c/1bc.jpg")
    path = tmp_path_factory.mktemp("good") / "a.tar"
    return write(path, *(member(name, PHOTO) for name in names)).read_bytes()


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_said_to_be_damaged(tmp_path, good, kind, request):
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(1000)  # as in the script's own process: MindSpore raises it
    archive = tmp_path / "images_000.tar"
    archive.write_bytes(damaged(good)[kind])
    start = time.process_time()  # of this process, however busy the machine is
    with pytest.raises(DamagedArchive, match=r"images_000.tar: damaged \(.+\)$") as caught:
        unpack([archive], tmp_path / "train", LAYOUTS["gldv2"])
    assert time.process_time() - start < 10 and str(caught.value).isprintable() and not (tmp_path / "train").exists()


def test_the_damaged_one_of_two_archives_is_named(tmp_path):
    one, two = (write(tmp_path / f"{name}.tgz", member(f"{name}.jpg", PHOTO), mode="w:gz") for name in "ab")
    for bad in (one, two):
        whole = bad.read_bytes()
        bad.write_bytes(whole[:-8] + bytes(8))
        with pytest.raises(DamagedArchive, match=f"{bad}: damaged") as caught:
            unpack([one, two], tmp_path / "images", LAYOUTS["photos"])
        assert caught.value.archive == bad and not (tmp_path / "images").exists()
        bad.write_bytes(whole)
    assert unpack([one, two], tmp_path / "images", LAYOUTS["photos"]) == 2


def test_bombs_are_refused_by_their_headers(tmp_path, monkeypatch):
    def zeros(name, size):
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf()

    for name, size in (("0/b/c/0.jpg", 1 << 33), ("0/b/c/0.jpg", 1 << 62)):
        archive = tmp_path / "images_000.tar"
        archive.write_bytes(gzip.compress(zeros(name, size) + bytes(1 << 20)))
        with pytest.raises(UserError, match="is more than such an archive can hold"):
            unpack([archive], tmp_path / "train", LAYOUTS["gldv2"])
    monkeypatch.setattr(module, "_MOST_MEMBERS", 2)
    write(archive, *(member(f"0/b/c/{number}.jpg") for number in range(3)))
    with pytest.raises(UserError, match="'0/b/c/2.jpg' is more than"):
        unpack([archive], tmp_path / "train", LAYOUTS["gldv2"])
    sparse = pax([b"GNU.sparse.map=0,1", b"GNU.sparse.size=99999999999999"])
    archive.write_bytes(sparse + zeros("0/b/c/0.jpg", 1) + bytes(2048))
    with pytest.raises(UserError, match="is neither a plain file nor a folder"):
        unpack([archive], tmp_path / "train", LAYOUTS["gldv2"])


def test_without_the_data_filter_of_newer_pythons_it_is_the_same(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    for number, (evil, fault) in enumerate(REFUSED):
        with pytest.raises(UserError, match=fault):
            unpack([write(tmp_path / f"{number}.tar", evil)], tmp_path / "train", LAYOUTS["gldv2"])
    assert not (tmp_path / "train").exists()


def test_interrupted_at_any_file_it_ends_the_same(tmp_path, monkeypatch):
    names = [f"{number}/b/c/{number}bc.jpg" for number in range(6)]
    archive = write(tmp_path / "images_000.tar", *(member(name, PHOTO + name.encode()) for name in names))
    unpack([archive], tmp_path / "whole", LAYOUTS["gldv2"])
    whole = contents(tmp_path / "whole")
    replace = os.replace
    for stop in range(6):
        moved = []

        def stopped(old, new, moved=moved, stop=stop):
            if len(moved) == stop:
                raise OSError(28, "No space left on device", str(new))
            moved.append(new)
            replace(old, new)

        train = tmp_path / f"train{stop}"
        monkeypatch.setattr(os, "replace", stopped)
        with pytest.raises(OSError, match="No space"):
            unpack([archive], train, LAYOUTS["gldv2"])
        monkeypatch.setattr(os, "replace", replace)
        assert contents(train).items() <= whole.items()
        unpack([archive], train, LAYOUTS["gldv2"])
        assert contents(train) == whole


def start(*arguments, python=(sys.executable,), **options):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*python, str(SCRIPT), *map(str, arguments)], **streams, **options)


def finish(process, status):
    output, errors = process.communicate(timeout=600)
    assert process.returncode == status, output + errors
    return output, errors


def stopped_while_unpacking(hidden, count, *arguments):
    """A process that stands still (SIGSTOP) before all files are there; tried again where the signal came too late."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        process = start(*arguments)
        while not (hidden / "0/20").exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        if process.poll() is None and os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]):
            if sum(path.is_file() for path in hidden.rglob("*")) < 0.9 * count:
                return process
            process.kill()
        process.communicate()
        shutil.rmtree(hidden.parent)
    raise AssertionError("the signal came too late each time")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_while_unpacking(tmp_path, kill):
    train = tmp_path / "train"
    names = [f"{a}/b/c/{a}bc{b}.jpg" for a in "0123456789" for b in range(150)]
    archive = write(tmp_path / "images_000.tar", *(member(name, PHOTO) for name in names))
    hidden = train / ".images_000.tar.unpacking"
    process = stopped_while_unpacking(hidden, len(names), "gldv2", train, archive)
    assert "another process is unpacking it" in finish(start("gldv2", train, archive), 2)[1]
    process.send_signal(kill)
    process.send_signal(signal.SIGCONT)
    if kill == signal.SIGKILL:
        finish(process, -kill)
        assert os.listdir(train) == [hidden.name]  # no photo of an archive that is half unpacked
    else:
        finish(process, 128 + kill)
        assert os.listdir(train) == []
    assert f"{train}: {len(names)} files" in finish(start("gldv2", train, archive), 0)[0]
    assert sorted(name for name, content in contents(train).items() if content == PHOTO) == sorted(names)
    assert not hidden.exists()


def test_the_script_needs_no_package_and_imports_nothing_of_the_current_folder(tmp_path):
    for name in ("tarfile.py", "yaml.py", "src.py", "argparse.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current folder')")
    archive = write(tmp_path / "a.tgz", member("b.txt", b"b"), mode="w:gz")
    python = (sys.executable, "-I", "-S")  # -S: without site-packages
    output, errors = finish(start("ground_truth", "gt", archive, python=python, cwd=tmp_path), 0)
    assert output == "unpacking a.tgz\ngt: 1 files\n" and errors == ""
    assert contents(tmp_path / "gt") == {"b.txt": b"b"}


def test_the_script_says_one_sentence(tmp_path):
    def says(*arguments):
        errors = finish(start(*arguments), 2)[1]
        assert errors.startswith("error: ") and errors.count("\n") == 1
        return errors

    train, archive = tmp_path / "train", tmp_path / "images_000.tar"
    write(archive, member("train_clean.csv", b"evil"))
    assert f"{archive}: its member 'train_clean.csv' is not called" in says("gldv2", train, archive)
    archive.write_bytes(b"no archive")
    assert "delete it and run" in says("gldv2", train, archive) and archive.exists()
    assert "has been deleted: run the same command again" in says("--delete_damaged", "gldv2", train, archive)
    assert not archive.exists() and "No such file" in says("gldv2", train, archive)
    write(archive, member("0/b/c/0.jpg", PHOTO))
    train.write_text("a file")
    assert "Not a directory" in says("gldv2", train, archive)

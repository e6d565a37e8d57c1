"""The download scripts, run against a server on this machine that breaks off, refuses ranges, lies and forgets."""

import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAYLOAD = bytes(range(256)) * 800  # 204,800 bytes
HALF = len(PAYLOAD) // 2
LONG = 300  # seconds that nothing takes on the slowest machine
WEIGHTS = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_URL = f"/PRETRAINED_URL/{WEIGHTS}"
SCRIPTS = {"gldv2": ("0", "1"), "oxf": (), "paris": (), "pretrained": ()}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): ...

    def do_GET(self):
        byte_range = self.headers.get("Range", "")
        self.server.requests.append((self.command, self.path, byte_range))
        file = self.server.files.get(self.path)
        if file is None or (self.command == "HEAD" and not file.head):
            return self.send_error(405 if file else 404)
        if file.raw and self.command in file.raw_for:
            return self.wfile.write(file.raw + b"\r\n\r\n" + (file.body if self.command == "GET" else b""))
        start = int(re.match(r"bytes=(\d+)-", byte_range)[1]) if byte_range and file.ranges else 0
        size, body = len(file.body), file.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(file.claimed_size or len(body)))
        self.send_header("Last-Modified", file.date)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: file.breaks.pop(0)] if file.breaks else body)
            self.wfile.flush()
            if file.hold:  # neither send more nor hang up
                file.hold.wait(LONG)

    do_HEAD = do_GET


def archive(names, mode="w:gz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


class Site(ThreadingHTTPServer):
    def offer(self, path, body, **behaviour):
        """`breaks`: how many bytes of its body each of the next answers gets before the connection ends.

        `raw`: status line and headers to send as they are, for the methods of `raw_for`.
        """
        usual = {"ranges": True, "head": True, "claimed_size": None, "hold": None, "breaks": [], "date": "Wednesday"}
        usual |= {"raw": b"", "raw_for": ("HEAD",)}
        self.files[path] = SimpleNamespace(body=body, **{**usual, **behaviour})
        return self.files[path]

    def offer_gldv2(self, *numbers):
        for name in ("train.csv", "train_clean.csv"):
            self.offer(f"/GLDV2_URL/metadata/{name}", name.encode())
        for number in numbers:
            tar = archive({f"{number}/b/c/{number}bc.jpg": PAYLOAD}, "w")
            self.offer(f"/GLDV2_URL/train/images_{number:03d}.tar", tar)
            md5 = f"{hashlib.md5(tar).hexdigest()}  images_{number:03d}.tar\n".encode()
            self.offer(f"/GLDV2_URL/md5sum/train/md5.images_{number:03d}.txt", md5)

    def offer_buildings(self, version="-v1"):
        for path, names in {
            f"OXFORD_URL/oxbuild_images{version}": ("oxford/all_souls_000013.jpg", "oxford/readme.txt"),
            f"PARIS_URL/paris_1{version}": ("louvre/paris_louvre_000000.jpg", "louvre/paris_louvre_000136.jpg"),
            f"PARIS_URL/paris_2{version}": ("paris_triomphe_000001.jpg", "triomphe/paris_triomphe_000867.jpg"),
            "OXFORD_URL/gt_files_170407": ("all_souls_1_query.txt",),
            "PARIS_URL/paris_120310": ("gt/defense_1_query.txt",),
        }.items():
            self.offer(f"/{path}.tgz", archive(dict.fromkeys(names, b"a")))
        for name in ("roxford5k", "rparis6k"):
            self.offer(f"/REVISITED_URL/{name}/gnd_{name}.pkl", name.encode())

    def start(self, name, *arguments, variables=None, **options):
        env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        for server in ("GLDV2", "OXFORD", "PARIS", "REVISITED", "PRETRAINED"):
            env[f"{server}_URL"] = f"http://127.0.0.1:{self.server_port}/{server}_URL"
        env.update(DOWNLOAD_RETRY_WAIT="0", DOWNLOAD_RETRIES="3", PRETRAINED_MD5=hashlib.md5(PAYLOAD).hexdigest())
        command = ["bash", str(ROOT / f"download_{name}.sh"), *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env={**env, **(variables or {})}, **streams, **options)

    def run(self, name, *arguments, status=0, **variables):
        """Standard output and error; the exit status has to be `status`."""
        process = self.start(name, *arguments, variables=variables)
        output, errors = process.communicate(timeout=LONG)
        assert process.returncode == status, output + errors
        return output, errors

    def fetched(self, ending=""):
        """What has been fetched since the last call: file names that end so, and the ranges asked for."""
        found = [(path.split("/")[-1], ranges) for method, path, ranges in self.requests if method == "GET"]
        self.requests.clear()
        return [(name, ranges) for name, ranges in found if name.endswith(ending)]


@pytest.fixture
def site():
    server = Site(("127.0.0.1", 0), Handler)
    server.files, server.requests = {}, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def wait_for_bytes(*parts):
    deadline = time.monotonic() + LONG
    while not all(part.exists() and part.stat().st_size for part in parts):
        assert time.monotonic() < deadline
        time.sleep(0.02)


BREAKS = [
    ({"breaks": [1000, 50000]}, ["", "bytes=1000-", "bytes=51000-"]),
    ({"breaks": [1000], "head": False}, ["", "bytes=1000-"]),
    ({"breaks": [1000] * 4}, ["", "bytes=1000-", "bytes=2000-", "bytes=3000-", "bytes=4000-"]),  # progress counts
    ({"breaks": [HALF], "ranges": False}, ["", f"bytes={HALF}-", ""]),
]


@pytest.mark.parametrize("behaviour, ranges", BREAKS)
def test_goes_on_where_the_connection_broke(site, tmp_path, behaviour, ranges):
    site.offer(WEIGHTS_URL, PAYLOAD, **behaviour)
    assert site.start("pretrained", cwd=tmp_path).wait(LONG) == 0  # no FOLDER: the current one
    assert tree(tmp_path) == [WEIGHTS] and (tmp_path / WEIGHTS).read_bytes() == PAYLOAD
    assert site.fetched() == [(WEIGHTS, byte_range) for byte_range in ranges]


def test_a_changed_file_is_not_glued_to_the_old_half_and_a_damaged_archive_goes(site, tmp_path):
    site.offer_buildings()
    pickle, images = "/REVISITED_URL/roxford5k/gnd_roxford5k.pkl", site.files["/OXFORD_URL/oxbuild_images-v1.tgz"]
    good, images.body = images.body, images.body[:-12] + b"damaged here"
    site.offer(pickle, b"o" * 5000, breaks=[2000, 0, 0])
    site.run("oxf", tmp_path, status=4)
    site.offer(pickle, b"n" * 5000, date="Thursday")
    assert "damaged" in site.run("oxf", tmp_path, status=2)[1]
    assert (tmp_path / "gnd_roxford5k.pkl").read_bytes() == b"n" * 5000
    assert not (tmp_path / "oxford5k_images").exists() and not (tmp_path / "oxford5k_images.tgz").exists()
    images.body = good
    site.fetched()
    site.run("oxf", tmp_path)
    assert site.fetched() == [("oxbuild_images-v1.tgz", "")] and (tmp_path / "oxford5k_images").exists()


def test_killed_and_failed_runs_resume_and_two_runs_do_not_mix(site, tmp_path):
    file = site.offer(WEIGHTS_URL, PAYLOAD, breaks=[HALF, 0, 0, 0], hold=threading.Event())
    part = tmp_path / f"{WEIGHTS}.part"
    process = site.start("pretrained", tmp_path, start_new_session=True)
    wait_for_bytes(part)
    assert "another run" in site.run("pretrained", tmp_path, status=2)[1]
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    file.hold.set()
    saved = part.read_bytes()
    assert "run the same command again" in site.run("pretrained", tmp_path, status=4)[1]
    assert tree(tmp_path) == [f"{WEIGHTS}.part", f"{WEIGHTS}.part.from"] and part.read_bytes() == saved
    site.fetched()
    site.run("pretrained", tmp_path)
    assert site.fetched() == [(WEIGHTS, f"bytes={len(saved)}-")] and (tmp_path / WEIGHTS).read_bytes() == PAYLOAD


def test_wrong_checksum_is_never_taken_for_the_file(site, tmp_path):
    site.offer(WEIGHTS_URL, PAYLOAD)
    assert "md5" in site.run("pretrained", tmp_path, status=2, PRETRAINED_MD5="0" * 32)[1]
    assert tree(tmp_path) == [] and len(site.fetched()) == 2  # once more before giving up
    (tmp_path / WEIGHTS).write_bytes(b"half a file, put there by hand")
    assert "move it away" in site.run("pretrained", tmp_path, status=2)[1]
    nowhere = site.run("pretrained", tmp_path / "x", status=2, PRETRAINED_URL="http://127.0.0.1:9")
    assert "check the connection" in nowhere[1]
    # Of deep-learning-models v0.2, and of keras.applications.resnet's WEIGHTS_HASHES.
    published = "a268eb855778b3df3c7506639542a6af 4d473c1dd8becc155b73f8504c6f6626"
    assert published in (ROOT / "download_pretrained.sh").read_text()


def test_gldv2_as_the_seed_readme_uses_it(site, tmp_path):
    site.offer_gldv2(0, 1, 2, 3)
    train = tmp_path / "train"
    train.mkdir()
    (train / "images_002.tar").write_bytes(site.files["/GLDV2_URL/train/images_002.tar"].body[:5000])
    site.run("gldv2", 0, 3, tmp_path)
    assert ("images_002.tar", "bytes=5000-") in site.fetched()  # half an archive under the name of a whole one
    for number in range(4):
        subprocess.run(["tar", "xf", f"images_{number:03d}.tar"], cwd=train, check=True)
        assert (train / f"{number}/b/c/{number}bc.jpg").read_bytes() == PAYLOAD
    assert (train / "train.csv").read_text() == "train.csv" and (train / "train_clean.csv").exists()
    assert not list(train.glob("*.part*"))
    subprocess.run("md5sum -c --quiet *.md5", shell=True, cwd=train, check=True)


@pytest.mark.parametrize("options", [(), ("--extract",), ("--extract", "--keep"), ("--jobs", "3")])
def test_gldv2_second_run_asks_for_nothing(site, tmp_path, options):
    site.offer_gldv2(7, 8)
    site.run("gldv2", 7, 8, tmp_path, *options)
    before, site.requests[:] = tree(tmp_path), []
    site.run("gldv2", "007", "8", tmp_path, *options)
    assert tree(tmp_path) == before and site.requests == []
    assert (tmp_path / "train/7/b/c/7bc.jpg").exists() == ("--extract" in options)
    assert (tmp_path / "train/images_007.tar").exists() == (options != ("--extract",))
    site.run("gldv2", 7, 8, tmp_path, "--extract")
    assert (tmp_path / "train/8/b/c/8bc.jpg").read_bytes() == PAYLOAD and site.requests == []


def test_gldv2_wrong_md5_spoils_only_its_archive_and_is_never_unpacked(site, tmp_path):
    site.offer_gldv2(0, 1, 2)
    site.offer("/GLDV2_URL/train/images_001.tar", archive({"evil.jpg": b"x"}, "w"))
    assert "images_001.tar" in site.run("gldv2", 0, 2, tmp_path, "--extract", "--jobs=1", status=2)[1]
    names = tree(tmp_path / "train")
    assert "0/b/c/0bc.jpg" in names and "2/b/c/2bc.jpg" in names
    assert not [name for name in names if "001" in name or "evil" in name]
    site.offer_gldv2(1)
    site.fetched()
    site.run("gldv2", 0, 2, tmp_path, "--extract")
    assert site.fetched(".tar") == [("images_001.tar", "")]


def test_gldv2_stopping_the_script_stops_its_downloads(site, tmp_path):
    site.offer_gldv2(0, 1)
    release, names = threading.Event(), ("images_000.tar", "images_001.tar")
    for name in names:
        site.files[f"/GLDV2_URL/train/{name}"].__dict__.update(breaks=[HALF], hold=release)
    parts = [tmp_path / f"train/{name}.part" for name in names]
    process = site.start("gldv2", 0, 1, tmp_path)
    wait_for_bytes(*parts)
    process.terminate()
    assert "run the same command again" in process.communicate(timeout=LONG)[1] and process.returncode == 2
    release.set()
    site.fetched()
    rest = [(name, f"bytes={part.stat().st_size}-") for name, part in zip(names, parts)]
    site.run("gldv2", 0, 1, tmp_path)  # nobody holds the parts any more
    assert sorted(site.fetched(".tar")) == rest


def test_oxford_and_paris_layout_without_the_twenty_broken_photos(site, tmp_path):
    site.offer_buildings()
    for name in ("oxf", "paris") * 2:
        site.run(name, tmp_path)
    paths = [path for _, path, _ in site.requests]
    assert max(paths.count(path) for path in paths) == 2  # HEAD and GET: the second runs ask for nothing
    expected = "gnd_roxford5k.pkl gnd_rparis6k.pkl gt_files/all_souls_1_query.txt oxford5k_images/all_souls_000013.jpg "
    expected += "paris_120310/defense_1_query.txt paris_images/paris_louvre_000000.jpg "
    assert " ".join(tree(tmp_path)) == expected + "paris_images/paris_triomphe_000001.jpg"
    names = re.findall(r"paris_([a-z]+)_(\d{6})\.jpg", (ROOT / "download_paris.sh").read_text().split("left_out=")[1])
    broken = "louvre 136 146 moulinrouge 422 museedorsay 1059 notredame 188 pantheon 284 960 974 "
    broken += "pompidou 195 196 201 467 640 sacrecoeur 299 330 353 triomphe 662 833 863 867"
    places = re.findall(r"([a-z]+)((?: \d+)+)", broken)
    assert names == [(place, number.zfill(6)) for place, numbers in places for number in numbers.split()]


@pytest.mark.parametrize("name", ["oxf", "paris"])
def test_older_archives_and_other_servers_stand_in(site, tmp_path, name):
    site.offer_buildings(version="")
    assert "-v1.tgz: not available (HTTP status 404)" in site.run(name, tmp_path)[1]
    site.offer_buildings()
    site.fetched()
    server = f"http://127.0.0.1:{site.server_port}"
    site.run(name, tmp_path / "again", "--keep", REVISITED_URL=f"{server}/gone {server}/REVISITED_URL")
    photos = [file for file, _ in site.fetched() if re.search(r"oxbuild|paris_[12]\b", file)]
    assert photos and all("-v1" in file for file in photos)
    assert list((tmp_path / "again").glob("*_images*.tgz"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_dry_run_and_too_small_a_disk_fetch_nothing(site, tmp_path, name):
    site.offer_gldv2(0, 1)
    site.offer_buildings()
    site.offer(WEIGHTS_URL, PAYLOAD)
    folder = tmp_path / "data"
    output = site.run(name, *SCRIPTS[name], folder, "--dry-run")[0]
    assert re.search(r"would fetch http://\S+ -> \S+ \(\d", output) and "needed" in output
    for file in site.files.values():
        file.claimed_size = 10**15
    errors = site.run(name, *SCRIPTS[name], folder, status=2)[1]
    assert "too little room" in errors and "--force" in errors
    assert not folder.exists() and site.fetched() == []
    site.run(name, *SCRIPTS[name], folder, "--force", status=4, DOWNLOAD_RETRIES="1")
    assert site.fetched()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_wrong_arguments(site, tmp_path, name):
    shown = site.run(name, "--help")[0]
    assert f"bash download_{name}.sh " in shown and "set -euo" not in shown
    wrong = [(*SCRIPTS[name], tmp_path / "data", option) for option in ("--dryrun", "--dry-run=yes", "-f")]
    if name == "gldv2":
        wrong += [(*numbers, tmp_path / "data") for numbers in (("0", "500"), ("5", "4"), ("a", "4"), ("0",))]
    for arguments in wrong:
        errors = site.run(name, *arguments, status=2)[1]
        assert errors.startswith("error: ") and errors.count("\n") == 1
    assert site.requests == [] and tree(tmp_path) == []


def commands(folder):
    """Texts that run a command where bash takes them for a number; the command makes a file in `folder`."""
    run = f"$(touch${{IFS}}{folder}/ran)"
    return [f"total[{run}]", f"x[0{run}]", f"a[`touch${{IFS}}{folder}/ran`]", f"size=1,b[{run}]", f"$((c[{run}]))"]


OK = "HTTP/1.0 200 OK\r\n"
ANSWERS = [  # "COMMAND" stands for one of the texts above
    OK + "Content-Length: 204800\r\n COMMAND",
    OK + "Content-Length: 204800\r\n Content-Length: COMMAND",
    OK + "Content-Length: 204800\r\n\tContent-Length: COMMAND",
    OK + "Accept: x\r\n content-length: COMMAND",
    OK + "Content-Length: 204800\r\nContent-Length: COMMAND\r\nContent-Length: 204800",
    OK + "Last-Modified: COMMAND\r\n last-modified: COMMAND",
    OK + "Content-Length: COMMAND",
    OK + "Content-Length: 1 COMMAND",
    OK + "Content-Length: 204800, COMMAND",
    OK + "@: 200 COMMAND COMMAND",
    OK + "@ 200 COMMAND COMMAND",
    "HTTP/1.0 200 COMMAND\r\nContent-Length: COMMAND",
    "HTTP/1.0 COMMAND OK\r\nContent-Length: COMMAND",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_a_server_cannot_make_the_scripts_run_a_command(site, tmp_path, answer):
    folder = tmp_path / "data"
    for number, command in enumerate(commands(tmp_path)):
        raw = answer.replace("COMMAND", command).encode()
        site.offer(WEIGHTS_URL, PAYLOAD, raw=raw)
        for arguments in (("--dry-run",), ()) if number == 0 else (("--dry-run",),):
            process = site.start("pretrained", folder, *arguments, cwd=tmp_path)
            output, errors = process.communicate(timeout=LONG)
            assert os.listdir(tmp_path) in ([], ["data"]), output + errors
            assert process.returncode in (0, 2), output + errors
            assert "touch" not in output + errors.replace("curl: ", "")


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_the_folded_header_in_every_script(site, tmp_path, name, options):
    site.offer_gldv2(0, 1)
    site.offer_buildings()
    site.offer(WEIGHTS_URL, PAYLOAD)
    for file in site.files.values():
        file.raw = f"{OK}Content-Length: 18765\r\n Content-Length: {commands(tmp_path)[0]}".encode()
    output = site.run(name, *SCRIPTS[name], tmp_path / "data", *options)[0]  # the size is unknown, and that is all
    assert not (tmp_path / "ran").exists() and "0 B; disk: 0 B needed" in output and "touch" not in output
    for file in site.files.values():
        file.raw_for = ("HEAD", "GET")
    site.start(name, *SCRIPTS[name], tmp_path / "again", *options).communicate(timeout=LONG)
    assert not (tmp_path / "ran").exists()


SIZES = {
    "204800": "204.8 kB", "0000000204800": "204.8 kB", "08": "8 B", "0": "0 B", "204800 \t": "204.8 kB",
    "999999999999999": "1000.0 TB", "1000000000000000": "1000.0 TB", "9" * 18: "1000.0 TB",
    "9" * 19: "", "18446744073709551617": "", "": "", "-5": "", "+5": "", "0x10": "",
    "1e3": "", "2#101": "", "5 5": "", "1.5": "",
}  # fmt: skip


def test_sizes_are_plain_decimal_numbers_or_unknown(site, tmp_path):
    for size, shown in SIZES.items():
        site.offer(WEIGHTS_URL, PAYLOAD, raw=f"{OK}Content-Length: {size}".encode())
        output = site.run("pretrained", tmp_path, "--dry-run", "--force")[0]
        assert output.splitlines()[0].endswith(f"notop.h5 ({shown})" if shown else "notop.h5"), size


def test_one_server_cannot_answer_for_another(site, tmp_path):
    site.offer_buildings()
    site.files["/OXFORD_URL/oxbuild_images-v1.tgz"].raw = f"{OK}@ 200 7 now\r\n@ 200 7 now".encode()
    sizes = re.findall(r"would fetch (\S+) -> \S+( .*)?", site.run("oxf", tmp_path, "--dry-run")[0])
    assert [bool(size) for _, size in sizes] == [False, True, True] and "(7 B)" not in str(sizes)


@pytest.mark.parametrize("variable", ["DOWNLOAD_RETRIES", "DOWNLOAD_RETRY_WAIT"])
def test_variables_and_arguments_are_numbers_before_they_are_counted_with(site, tmp_path, variable):
    site.offer_gldv2(0)
    for text in [*commands(tmp_path), "08", "-1", "1.5", "12345", "1 ", "0x1"]:
        errors = site.run("gldv2", 0, 0, tmp_path / "data", status=2, **{variable: text})[1]
        assert errors.startswith(f"error: {variable} is no number") and errors.count("\n") == 1
    for text in commands(tmp_path) if variable == "DOWNLOAD_RETRIES" else ():
        for arguments in ((text, 0), (0, text), (0, 0, "--jobs", text), (0, 0, f"--jobs={text}"), (0, 0, f"--{text}")):
            site.run("gldv2", *arguments, tmp_path / "data", status=2)
    assert os.listdir(tmp_path) == [] and site.requests == []


@pytest.mark.parametrize("program", ["df", "wc", "sort", "curl", "md5sum"])
def test_what_other_programs_print_is_not_evaluated(site, tmp_path, program):
    site.offer_gldv2(0)
    fake, folder = tmp_path / "bin" / program, tmp_path / "data"
    fake.parent.mkdir()
    (folder / "train").mkdir(parents=True)
    for file in ("images_000.tar", "images_000.tar.part"):
        (folder / "train" / file).write_bytes(b"begun")
    (folder / "train/images_000.tar.part.from").write_text(commands(tmp_path)[0])
    lines = "\n".join([*commands(tmp_path), f"0 0 0 {commands(tmp_path)[0]}", f"{commands(tmp_path)[0]} "] * 2)
    fake.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    fake.chmod(0o755)
    for option in ("--dry-run", "--force"):
        variables = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "DOWNLOAD_RETRIES": "1"}
        site.start("gldv2", 0, 0, folder, option, variables=variables).communicate(timeout=LONG)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("blocks, status", [(9_007_199_254_739_968, 0), (10**20, 0), (10, 2), ("-", 2), ("", 2)])
def test_disks_of_any_size(site, tmp_path, blocks, status):
    site.offer(WEIGHTS_URL, PAYLOAD)
    fake = tmp_path / "df"
    fake.write_text(f"#!/bin/sh\necho Filesystem\necho x 1 1 {blocks} 1% /\n")
    fake.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    errors = site.run("pretrained", tmp_path / "data", "--dry-run", status=status, **variables)[1]
    assert ("too little room" in errors) == bool(status)


def test_only_http_is_spoken(site, tmp_path):
    (tmp_path / WEIGHTS).write_bytes(PAYLOAD)
    errors = site.run("pretrained", tmp_path / "data", status=2, PRETRAINED_URL=f"file://{tmp_path}")[1]
    assert "check the connection" in errors
    with socket.create_server(("127.0.0.1", 0)) as other:
        for scheme in ("ftp", "gopher", "dict", "scp", "file"):
            target = f"{scheme}://127.0.0.1:{other.getsockname()[1]}/{WEIGHTS}"
            raw = f"HTTP/1.0 302 Found\r\nLocation: {target}".encode()
            site.offer(WEIGHTS_URL, PAYLOAD, raw=raw, raw_for=("HEAD", "GET"))
            site.run("pretrained", tmp_path / "data", status=2)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def gldv2_archive(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content, link in members:
            info = tarfile.TarInfo(name)
            info.size, info.linkname = len(content), link
            info.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_one_archives_link_is_no_way_out_for_the_next(site, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    evil = [
        gldv2_archive(("0", b"", "../../elsewhere")),
        gldv2_archive(("0/.bashrc", b"evil", "")),
        gldv2_archive(("0/b/c/0.jpg", b"evil", ""), ("train_clean.csv", b"evil", "")),
        gldv2_archive(("images_004.tar.unpacked", b"", "")),
    ]
    site.offer_gldv2(*range(5))
    for number, tar in enumerate(evil):
        site.files[f"/GLDV2_URL/train/images_{number:03d}.tar"].body = tar
        md5 = site.files[f"/GLDV2_URL/md5sum/train/md5.images_{number:03d}.txt"]
        md5.body = f"{hashlib.md5(tar).hexdigest()}  x\n".encode()
    folder = tmp_path / "data"
    errors = site.run("gldv2", 0, 4, folder, "--extract", "--jobs=1", status=2)[1]
    for number, member in enumerate(("'0' is a link", "'0/.bashrc' is", "'train_clean.csv' is", "'images_004.tar.unp")):
        assert f"images_{number:03d}.tar: its member {member}" in errors
    kept = [f"images_{number:03d}.tar{end}" for number in range(4) for end in ("", ".md5")]
    sound = ["4/b/c/4bc.jpg", "images_004.tar.unpacked", "train.csv", "train_clean.csv"]
    assert tree(folder / "train") == sorted(kept + sound) and list(elsewhere.iterdir()) == []
    assert (folder / "train/train_clean.csv").read_text() == "train_clean.csv"


def test_unpacking_without_python_is_refused_before_the_download(site, tmp_path):
    site.offer_gldv2(0)
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 127\n")
    fake.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VIRTUAL_ENV": "active"}
    errors = site.run("gldv2", 0, 0, tmp_path / "data", "--extract", status=2, **variables)[1]
    assert "Python 3.9 or newer is needed" in errors and site.requests == []
    site.run("gldv2", 0, 0, tmp_path / "data", **variables)


@pytest.mark.parametrize(
    "name, place",
    [
        ("pretrained", WEIGHTS),
        ("pretrained", f"{WEIGHTS}.part"),
        ("oxf", "gnd_roxford5k.pkl"),
        ("paris", "paris_images_1.tgz.part"),
        ("gldv2", "train/train.csv"),
        ("gldv2", "train/images_000.tar"),
        ("gldv2", "train/images_000.tar.part.from"),
        ("gldv2", "train/images_000.tar.unpacked"),
    ],
)
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_told_before_the_download(site, tmp_path, name, place):
    site.offer_gldv2(0)
    site.offer_buildings()
    site.offer(WEIGHTS_URL, PAYLOAD)
    for number, make in enumerate((os.mkfifo, os.mkdir)):
        folder = tmp_path / str(number)
        (folder / place).parent.mkdir(parents=True)
        make(folder / place)
        errors = site.run(name, *SCRIPTS[name], folder, status=2)[1]
        assert errors == f"error: {folder / place} is no plain file: move it away\n"
    assert site.requests == [] and tree(tmp_path) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_empty_folder_name_is_refused(site, name):
    errors = site.run(name, *SCRIPTS[name], "", status=2)[1]
    assert errors == "error: an argument is empty: give the path that is meant\n" and site.requests == []

"""What the server opens: a photo index or an index folder, each with the recipe of its photos; and the command."""

import functools
import os
import signal
import sys
import threading

import pytest
from retrieval.own_photos import picture, random_pca
from serve.serving import ask, require_web

from src.commands.serve import main as serve_command
from src.config import Config
from src.errors import Interrupted, UserError
from src.features.pca import Pca, save_pca
from src.retrieval.build import build_index
from src.serve import server
from src.serve.opening import open_collection
from tests.features.fake_network import load_fake_network


@pytest.fixture(scope="module")
def words(place):
    """An index of visual words of the same photos."""
    keys = Config(codebook_size=16).retrieval
    return build_index(place / "made" / "features.h5", place / "words", searcher="asmk_star", retrieval=keys)


def opened(place, folder, images="photos", **keys):
    files = {"checkpoint_path": f"{place}/model/net.ckpt", "pca_path": f"{place}/made/pca.npz"}
    images = str(place / images) if images else ""
    return open_collection(folder, Config(**{**files, **keys}), images, load_network=load_fake_network)


def test_an_index_of_words_and_one_of_votes_are_opened_with_their_photos_recipe(place, words):
    picture(4).save(place / "query.png", optimize=True)
    upload = (place / "query.png").read_bytes() + b" "  # other bytes than the collection's own
    for folder, searcher in ((words, "asmk_star"), (place / "made" / "index", "votes")):
        with opened(place, folder) as collection:
            found = collection.search(upload, top_k=2)
            assert (collection.searcher, len(collection), found.num_features) == (searcher, 7, 60)
        best = found.hits[0]
        assert best.photo.name == "4.png" and len(best.matches.points) == 60 and best.photo.size == (320, 256)
    with opened(place, words, rerank="none") as collection:
        best = collection.search(upload, top_k=2).hits[0]
    assert best.photo.name == "4.png" and not best.matches.verified and "nothing is verified" in collection.no_verdict


def test_other_files_than_the_photos_were_made_with_are_refused(place, words, tmp_path):
    one = random_pca("of another")
    save_pca(tmp_path / "other.npz", Pca(one.mean, one.components[::-1], one.variances, one.provenance))
    (tmp_path / "other.ckpt").write_bytes(b"others")
    for keys, what in (
        ({"pca_path": f"{tmp_path}/other.npz", "force_pca": True}, r"words: its photos were extracted otherwise"),
        ({"checkpoint_path": f"{tmp_path}/other.ckpt", "force_pca": True}, r"otherwise \(weights\)"),
        ({"checkpoint_path": ""}, "give `checkpoint_path`"),
        ({"images": ""}, "give `images_path`"),
        ({"images": "nowhere"}, r"nowhere: no such folder \(`images_path`\)"),
    ):
        with pytest.raises(UserError, match=what):
            with opened(place, words, **keys):
                pass


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--port=70000"], "--port is 70000"), (["--max_upload_mb=0"], "--max_upload_mb is 0; it must be from 1"),
        (["--pca_path=x"], "--pca_path has no effect on a photo index"), (["--qe_k=3"], "--qe_k has no effect on this"),
        (["--index=nowhere"], "nowhere: no such folder"), (["--host=203.0.113.1"], "cannot be listened on"),
        (["--index={}/photos"], "not an index folder"), (["--match_ratio=0.9"], "without --correspondences exact"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(place, more, what):
    require_web()
    with pytest.raises(UserError, match=what):
        serve_command([f"--index={place}/made", *(option.format(place) for option in more)])


def test_the_command_serves_until_a_signal(place, monkeypatch, capsys):
    require_web()
    answers, bind = [], server.bind

    def client(port):
        answers.append(ask(port, "/api/collection"))
        os.kill(os.getpid(), signal.SIGTERM)

    def bind_and_ask(host, port):
        listening = bind(host, port)  # who asks now is answered once the collection is open
        threading.Thread(target=client, args=listening.getsockname()[1:2]).start()
        return listening

    monkeypatch.setattr("src.serve.server.bind", bind_and_ask)
    faked = functools.partial(open_collection, load_network=load_fake_network)
    monkeypatch.setattr("src.serve.opening.open_collection", faked)
    with pytest.raises(Interrupted, match="the server has ended") as end:
        serve_command([f"--index={place}/made", "--port=0"])
    assert end.value.status == 143 and answers[0]["photos"] == 7
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_a_missing_library_is_told(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(UserError, match=r"starlette is not installed: run pip install -r requirements-web\.txt"):
        serve_command([f"--index={place}/made"])

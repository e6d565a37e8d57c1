"""One's own photos: a folder made into a photo index, and searched; with a cheap network."""

import functools
import json
import os
import shutil

import pytest
from own_photos import build, found_in, picture, random_pca
from PIL import Image

from src.artifacts import sha256_of
from src.commands.build_photo_index import COMMAND as BUILD
from src.commands.build_photo_index import main as build_command
from src.commands.perform_retrieval import main as rank_command
from src.commands.search_images import main as search_command
from src.config import Config
from src.errors import UserError
from src.features.pca import load_pca, save_pca
from src.retrieval.photo_index import load_photo_index
from src.retrieval.photo_search import PhotoSearch
from tests.features.fake_network import load_fake_network


def test_a_photo_finds_itself_and_a_part_of_it_too(place):
    made = build(place)
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "features.h5", "index", "pca.npz", "settings.json"]  # fmt: skip
    shutil.copyfile(place / "photos" / "trip" / "3.png", place / "copy.png")  # another file
    (inside,) = found_in(made, place / "copy.png")
    first = inside.results[0].as_row()
    assert first["photo"] == "trip/3.png" and first["inliers"] == first["correspondences"] == 60
    assert [result.rank for result in inside.results] == list(range(1, len(inside.results) + 1))
    picture(4).crop((64, 32, 320, 256)).save(place / "part.png")
    (outside,) = found_in(made, place / "part.png")
    assert outside.results[0].name == "4.png" and outside.results[0].matches.num_inliers >= 20


def test_the_pca_is_fitted_on_the_photos(place):
    (place / "model" / "pca.npz").unlink()
    pca = load_pca(build(place).folder / "pca.npz")
    assert pca.components.shape == (6, 1024) and pca.provenance.notes["num_photos"] == 7
    assert pca.provenance.weights == sha256_of(place / "model" / "net.ckpt")


def test_the_pca_beside_the_checkpoint_or_the_one_given_is_taken(place):
    made = build(place)
    assert load_pca(made.folder / "pca.npz").identity == load_pca(place / "model" / "pca.npz").identity
    save_pca(place / "model" / "pca.npz", random_pca("of another"))
    shutil.rmtree(made.folder)
    assert load_pca(build(place).folder / "pca.npz").provenance.notes["num_photos"] == 7  # not the foreign one
    given = random_pca(sha256_of(place / "model" / "net.ckpt"))
    save_pca(place / "given.npz", given)
    with pytest.raises(UserError, match=r"other settings \(pca\)"):
        build(place, pca_path=str(place / "given.npz"))
    made = build(place, output="other", pca_path=str(place / "given.npz"))
    assert load_pca(made.pca_path).identity == given.identity


def test_index_photos_and_checkpoint_may_move(place):
    build(place)
    for old, new in (("made", "moved"), ("photos", "pictures"), ("model", "weights")):
        os.rename(place / old, place / new)
    made = load_photo_index(place / "moved")
    with pytest.raises(UserError, match="give `checkpoint_path`"):
        found_in(made, place / "pictures" / "0.png")
    (other,) = found_in(made, place / "pictures" / "0.png", checkpoint_path=str(place / "weights" / "net.ckpt"))
    assert other.results[0].name == "0.png"  # not known to be the query, as the photos have moved
    (place / "weights" / "net.ckpt").write_bytes(b"other weights")
    with pytest.raises(UserError, match="not the checkpoint"):
        found_in(made, place / "pictures" / "0.png", checkpoint_path=str(place / "weights" / "net.ckpt"))


@pytest.fixture
def fake_engine(monkeypatch):
    faked = functools.partial(PhotoSearch, load_network=load_fake_network)
    monkeypatch.setattr("src.retrieval.photo_search.PhotoSearch", faked)


def test_the_command_prints_a_table_and_writes_a_page(place, fake_engine, capsys):
    build(place)
    (place / "queries").mkdir()
    for seed in (2, 5):
        picture(seed).save(place / "queries" / f"q{seed}.png")
    (place / "queries" / "bad.jpg").write_bytes(b"no photo")
    (place / "photos" / "2.png").unlink()  # found all the same, and shown as an empty frame
    page = place / "page.html"
    search_command([f"--index={place}/made", f"--query={place}/queries", "--top_k=2", f"--output={page}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "q2.png: 60 features" and lines[2].split() == ["1", "2.png", "60", "60"]
    html = page.read_text()
    assert html.count("<section>") == 2 and html.count("<details open>") == 1 and "no such photo<" in html
    assert "http://" not in html and "https://" not in html and "<script" not in html and "bad.jpg" not in html


def test_the_command_prints_json(place, fake_engine, capsys):
    build(place)
    shutil.copyfile(place / "photos" / "0.png", place / "copy.png")  # another file
    search_command([f"--index={place}/made", f"--query={place}/copy.png", "--top_k=1", "--output=", "--json"])
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["query"], answer["features"], answer["left_out"]) == ("copy.png", 60, None)
    assert answer["same_place"] is None
    assert answer["results"] == [{"rank": 1, "photo": "0.png", "inliers": 60, "correspondences": 60,
                                  "score": pytest.approx(60.98, abs=0.01), "same_place": None,
                                  "probability": None}]  # fmt: skip
    assert sorted(path.name for path in place.iterdir()) == ["copy.png", "made", "model", "photos"]


def test_odd_names_are_found_and_printed_as_text(place, fake_engine, capsys):
    (place / "photos" / "2.png").rename(place / "photos" / "a\x1b[31m\n2.png")
    picture(2).save(place / "cafe\N{COMBINING ACUTE ACCENT}.png")
    picture(2).save(place / os.fsdecode(b"q\xe9.png"))
    build(place)
    for query in ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.png", os.fsdecode(b"q\xe9.png")):
        search_command([f"--index={place}/made", f"--query={place}/{query}", f"--output={place}/page.html"])
        printed = capsys.readouterr().out
        assert "\x1b" not in printed and "\udce9" not in printed
        assert printed.splitlines()[2].split() == ["1", r"a\x1b[31m\n2.png", "60", "60"]
    assert r"<h2>q\udce9.png</h2>" in (place / "page.html").read_text()


def test_an_index_of_imagenet_weights_is_searched_with_the_network_it_was_made_with(place):
    """Their attention is untrained: it follows from the seed and more, which a search need not name again."""
    (place / "model" / "net.ckpt").write_bytes(b"\x89HDF\r\n\x1a\n, by its first bytes")
    made = build(place, seed=1, load_stem=False, attention_init="normal")
    run, model, _ = load_photo_index(made.folder).recipe(Config().run, Config().model)
    assert (run.seed, model.load_stem, model.attention_init) == (1, False, "normal")
    (found,) = found_in(load_photo_index(made.folder), place / "photos" / "0.png")
    assert found.left_out == "0.png"
    with pytest.raises(UserError, match=r"other settings \(weights\)"):
        build(place, seed=2, load_stem=False, attention_init="normal")


@pytest.mark.parametrize(
    ("recipe_text", "options", "expected"),
    [("seed: 1", [], 1024), ("seed: 1", ["--max_image_size=-1"], -1), ("max_image_size: -1", [], -1)],
)
def test_photos_are_shrunk_unless_the_size_is_given(tmp_path, recipe_text, options, expected):
    (tmp_path / "recipe.yaml").write_text(recipe_text)
    config, _ = BUILD.parse(["--images_path=a", "--output=b", f"--config={tmp_path}/recipe.yaml", *options])
    assert config.extraction.max_image_size == expected and config.run.seed == ("seed" in recipe_text)


def test_wrong_input_is_one_sentence(place, fake_engine):
    build(place)
    with pytest.raises(UserError, match=r"made: a photo index; give .*made/index$"):
        rank_command([f"--index={place}/made", "--query_features=queries.h5"])
    with pytest.raises(UserError, match=r"nope: no such folder \(`images_path`\)"):
        search_command([f"--index={place}/made", f"--query={place}/photos/0.png", f"--images_path={place}/nope"])
    with pytest.raises(UserError, match=r"not a photo index: no settings\.json in it; make one"):
        search_command([f"--index={place}/photos", f"--query={place}/photos/0.png"])
    with pytest.raises(UserError, match=r"nowhere\.jpg: no such file \(`query`\)"):
        search_command([f"--index={place}/made", f"--query={place}/nowhere.jpg"])
    os.mkfifo(place / "pipe.jpg")
    with pytest.raises(UserError, match=r"pipe\.jpg: is a pipe or a device"):
        search_command([f"--index={place}/made", f"--query={place}/pipe.jpg"])
    with pytest.raises(UserError, match=r"`query` is not set"):
        search_command([f"--index={place}/made", "--query="])
    with pytest.raises(UserError, match=r"photos: is a folder; give `output`"):
        search_command([f"--index={place}/made", f"--query={place}/photos/0.png", f"--output={place}/photos"])
    (place / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match="no query could be searched with"):
        search_command([f"--index={place}/made", f"--query={place}/bad.jpg", "--output="])
    with pytest.raises(UserError, match="--top_k is 0"):
        search_command([f"--index={place}/made", f"--query={place}/bad.jpg", "--top_k=0"])
    with pytest.raises(UserError, match="`checkpoint_path` is not set"):
        build_command([f"--images_path={place}/photos", f"--output={place}/other"])


def test_a_blank_query_finds_nothing(place):
    made = build(place)
    Image.new("RGB", (4, 4)).save(place / "blank.png")  # too small for the network: no features
    (found,) = found_in(made, place / "blank.png")
    assert not len(found.features) and found.results == []


@pytest.mark.slow
def test_the_commands_with_a_real_network(place):
    from runs import run  # imports MindSpore

    run("tools/make_untrained_checkpoint.py", f"--output={place}/net.ckpt", cwd=place)
    made = run("tools/build_photo_index.py", "--images_path=photos", "--checkpoint_path=net.ckpt", "--output=made",
               "--image_scales=1", "--max_feature_num=50", "--pca_dim=8", cwd=place)  # fmt: skip
    assert "made: 7 photos, 350 descriptors, Flat" in made
    printed = run("tools/search_images.py", "--index=made", "--query=photos/trip", "--top_k=1", cwd=place)
    assert printed.count("  left out: trip/") == 3 and (place / "search.html").stat().st_size > 10_000

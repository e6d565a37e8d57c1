"""The JSON API of the search page, asked over HTTP."""

import hashlib
import http.client
import json
import threading
import time
from contextlib import nullcontext
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from retrieval.own_photos import picture
from serve.serving import LIMITS, ask, running, send

from src.serve.collection import Answer, Collection
from src.serve.schema import SCHEMAS


def png(seed):
    stream = BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def check(value, schema, where="answer"):
    """That a value is as the schema says, to the last name."""
    if "allOf" in schema or "$ref" in schema:
        if value is None:
            assert schema.get("nullable"), where
            return
        return check(value, SCHEMAS[(schema.get("allOf", [schema])[0])["$ref"].rsplit("/", 1)[1]], where)
    if value is None:
        assert schema.get("nullable"), where
        return
    kinds = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "object": dict}
    assert isinstance(value, kinds[schema["type"]]), (where, value)
    if "enum" in schema:
        assert value in schema["enum"], where
    if schema["type"] == "array":
        for item in value:
            check(item, schema["items"], where + "[]")
    if schema["type"] == "object":
        assert list(value) == schema["required"], where
        for name, part in value.items():
            check(part, schema["properties"][name], f"{where}.{name}")


def test_the_collection_and_its_photos(port):
    about = ask(port, "/api/collection")
    check(about, SCHEMAS["Collection"])
    assert (about["name"], about["photos"], about["searcher"], about["verdicts"]) == ("made", 7, "votes", True)
    assert about["folders"] == [{"name": "trip", "photos": 3}, {"name": "trip/day 1", "photos": 3}]
    listed = ask(port, "/api/photos?folder=trip&start=1&count=1")
    check(listed, SCHEMAS["Photos"])
    assert listed["total"] == 3 and [p["name"] for p in listed["photos"]] == ["trip/day 1/3.png"]
    assert (listed["photos"][0]["width"], listed["photos"][0]["height"]) == (320, 256)


def test_search_with_an_upload(port, place):
    noisy = np.asarray(picture(4)).copy()
    noisy[:40] = 0
    stream = BytesIO()
    Image.fromarray(noisy).save(stream, "PNG")
    found = ask(port, "/api/search?top_k=3", stream.getvalue())
    check(found, SCHEMAS["Answer"])
    best = found["results"][0]
    assert best["photo"]["name"] == "4.png" and best["same_place"] == found["same_place"] == "yes"
    assert best["probability"] == best["bar"] == 0.996 and best["matches"]["inliers"] >= 30
    x1, y1, x2, y2 = np.array(best["matches"]["lines"]).T
    np.testing.assert_allclose([x1, y1], [x2, y2], atol=20)  # the photo is the query, but for a part
    assert [hit["rank"] for hit in found["results"]] == [1, 2, 3] and found["left_out"] == []
    assert found["query"] == {"photo": None, "width": 320, "height": 256, "features": found["query"]["features"]}


def test_the_querys_own_photo_is_left_out(port, place):
    found = ask(port, "/api/search", (place / "photos" / "4.png").read_bytes())
    assert found["left_out"] == ["4.png"] and all(hit["photo"]["name"] != "4.png" for hit in found["results"])
    assert found["same_place"] in ("perhaps", "no") and found["results"][0]["rank"] == 1
    number = next(p["number"] for p in ask(port, "/api/photos")["photos"] if p["name"] == "4.png")
    again = ask(port, f"/api/search?photo={number}", b"")
    check(again, SCHEMAS["Answer"])
    assert again["results"] == found["results"] and again["query"]["photo"]["name"] == "4.png"


def test_box_and_folder(port):
    found = ask(port, "/api/search?box=0,0,160,256&folder=trip/day%201&top_k=50", png(4))
    assert found["query"]["features"] < 60 and found["photos_searched"] == 3
    assert {hit["photo"]["name"] for hit in found["results"]} <= {f"trip/day 1/{n}.png" for n in (1, 3, 5)}
    assert ask(port, "/api/search?folder=nowhere", png(4))["results"] == []


def test_found_through_another_photo(opening):
    with running(opening(rerank="ransac,graph")) as port:
        found = ask(port, "/api/search", png(4))
    check(found, SCHEMAS["Answer"])
    through = [hit["through"] for hit in found["results"] if hit["through"]]
    assert through and all(len(step["matches_with_result"]["lines"][0]) == 4 for step in through)
    assert found["same_place"] is not None  # the inliers are still those the calibration was made of


def test_nothing_verified_no_verdict(opening):
    with running(opening(rerank="none")) as port:
        found, about = ask(port, "/api/search", png(77)), ask(port, "/api/collection")
    check(found, SCHEMAS["Answer"])
    assert found["same_place"] is None and "nothing is verified" in about["no_verdict"] and not about["verdicts"]
    assert all(hit["matches"]["inliers"] is None and hit["bar"] == 0 for hit in found["results"])


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("top_k=0", "top_k must be a whole number from 1 to 100"), ("top_k=ten", "top_k must be"),
        ("photo=7", "photo must be a whole number from 0 to 6"), ("photo=-1", "photo must be"),
        ("photo=..%2F..%2Fsecret.txt", "photo must be"), ("box=1,2,3", "box must be left,top,right,bottom"),
        ("box=1,2,nan,4", "box must be"), ("box=1,2,inf,4", "box must be"), ("path=/etc/passwd", "no such parameter"),
    ],
)  # fmt: skip
def test_bad_parameters(port, query, what):
    assert what in ask(port, f"/api/search?{query}", b"x", status=400)["error"]


def test_bad_uploads(port):
    def refused(body, status, path="/api/search"):
        return ask(port, path, body, status)["error"]

    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for rubbish in (svg, b"rubbish", b"%PDF-1.7", b"\x00" * 5000, b"GIF89a", png(1)[:30]):
        for path in ("/api/search", "/api/preview"):
            assert "this is no photo that can be read" in refused(rubbish, 415, path)
    assert "send a photo's file" in refused(b"", 400)
    large = BytesIO()
    Image.new("L", (1500, 1000)).save(large, "PNG")
    assert "1500 x 1000 pixels, more than 1 megapixels" in refused(large.getvalue(), 413)
    assert "holds no pixel" in refused(png(1), 422, "/api/search?box=900,900,950,950")


def test_a_hundred_megabytes_are_refused_and_not_kept(port):
    assert "larger than 2 MB" in ask(port, "/api/search", iter([b"x" * 10**6] * 100), 413)["error"]  # chunked
    assert "larger than 2 MB" in ask(port, "/api/search", b"x" * 10**8, 413)["error"]


def test_a_truncated_photo_is_used_as_far_as_it_goes(port):
    stream = BytesIO()
    picture(4).save(stream, "JPEG", quality=95)
    assert ask(port, "/api/search", stream.getvalue()[:-2000])["results"]


def test_only_the_collections_photos_are_served(port, place):
    status, headers, content = send(port, "/photos/0?size=tile")
    assert status == 200 and headers["Content-Type"] == "image/jpeg" and Image.open(BytesIO(content)).size == (320, 256)
    for path in (
        "/photos/7", "/photos/-1", "/photos/0.png", "/photos/..%2f..%2fsecret.txt", "/photos/%2e%2e/secret.txt",
        "/../secret.txt", "/photos//etc/passwd", "/photos/0?size=../../secret.txt", "/static/serve.js", "/secret.txt",
        "/photos/%D9%A3",
    ):  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("GET", path)
        connection.endheaders()
        response = connection.getresponse()
        content = response.read()
        assert response.status in (400, 404) and b"not of the collection" not in content, path
        connection.close()


def test_a_photo_that_is_gone(opening, place, tmp_path):
    file = place / "photos" / "6.png"
    with running(opening()) as port:
        number = next(p["number"] for p in ask(port, "/api/photos")["photos"] if p["name"] == "6.png")
        file.rename(tmp_path / "6.png")
        try:
            assert "gone or cannot be read" in ask(port, f"/photos/{number}", status=404)["error"]
            said = ask(port, f"/api/search?photo={number}", b"", 422)["error"]
            assert said.startswith("6.png: cannot be read") and str(place) not in said
        finally:
            (tmp_path / "6.png").rename(file)


def test_pages_of_others_get_no_answer(port):
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{port}"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(port, "/api/collection", status=403, headers=headers)["error"]
    status, headers, page = send(port, "/", headers={"Host": f"localhost:{port}"})
    assert status == 200 and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and "Access-Control-Allow-Origin" not in headers
    assert b"<title>made</title>" in page and b"http" not in page.replace(b"http-equiv", b"")


def test_other_methods_and_places(port):
    assert ask(port, "/api/search", status=405)["error"] and ask(port, "/nothing", status=404)["error"]
    document = ask(port, "/api/schema")
    assert document["openapi"].startswith("3.") and set(document["components"]["schemas"]) == set(SCHEMAS)
    for path in document["paths"]:
        assert send(port, path.replace("{number}", "0"), method="HEAD")[0] in (200, 405), path


def test_preview(port):
    stream = BytesIO()
    picture(3).save(stream, "TIFF")
    found = ask(port, "/api/preview", stream.getvalue())
    check(found, SCHEMAS["Preview"])
    assert (found["width"], found["height"]) == (320, 256) and found["jpeg"].startswith("/9j/")


class Echo(Collection):
    """Answers with the checksum of the upload, after a moment; says how many searches ran at once."""

    def __init__(self):
        self.name, self.names, self.searcher, self.no_verdict, self.at_once = "echo", ["a.jpg"], "votes", "", []
        self._calibration, self._running = None, 0

    def search(self, query, top_k=10, box=None, folder=""):
        self._running += 1
        self.at_once.append(self._running)
        time.sleep(0.002)
        self._running -= 1
        return Answer((1, 1), top_k, [], False, [hashlib.sha256(query).hexdigest()], 1, 0.0)


def test_two_clients_two_hundred_requests():
    """None is lost, every answer is that of its own query, and one search runs at a time."""
    uploads, echo, wrong, done = [png(seed) for seed in range(4)], Echo(), [], []
    wanted = [hashlib.sha256(upload).hexdigest() for upload in uploads]

    def client(port, shift):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for turn in range(100):
            number = (turn + shift) % len(uploads)
            connection.request("POST", f"/api/search?top_k={turn + 1}", uploads[number])
            response = connection.getresponse()
            answer = json.loads(response.read())
            if (response.status, answer["left_out"], answer["query"]["features"]) != (200, [wanted[number]], turn + 1):
                wrong.append(answer)
            done.append(turn)
        connection.close()

    with running(nullcontext(echo)) as port:
        clients = [threading.Thread(target=client, args=(port, shift)) for shift in (0, 1)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    assert len(done) == len(echo.at_once) == 200 and not wrong and set(echo.at_once) == {1}


def test_more_searches_than_may_wait_are_told_so(opening):
    with running(opening(), slots=1) as port:
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        slow.putrequest("POST", "/api/search")
        slow.putheader("Content-Length", str(LIMITS.bytes))
        slow.endheaders(b"begin")
        time.sleep(0.2)
        status, headers, content = send(port, "/api/search", png(1))
        assert status == 503 and headers["Retry-After"] == "1" and b"too many searches" in content
        slow.close()
        time.sleep(0.2)
        assert ask(port, "/api/search", png(1))["results"]

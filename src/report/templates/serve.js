"use strict";
// The search page of the server: chooses a query, draws its box, asks /api/search, and shows what it says.
const $ = (id) => document.getElementById(id);
const SIDES = ["left", "top", "right", "bottom"];
const [LISTED, HEIGHT, GAP, COLOURS] = [60, 300, 12, 6];
const state = { query: null, about: null, listed: 0 }; // query: {file or photo, name, url, width, height}

function make(tag, values = {}, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

async function ask(url, options = {}) {
  let response, answer;
  try {
    response = await fetch(url, options);
    answer = await response.json();
  } catch (error) {
    throw new Error("the server does not answer: is it still running?");
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// ---- the query

async function choose(query) {
  if (query.file && query.file.size > state.about.max_upload_bytes) {
    return say(`the file is larger than ${Math.round(state.about.max_upload_bytes / 1e6)} MB`, true);
  }
  if (state.query && state.query.file) URL.revokeObjectURL(state.query.url);
  state.query = null;
  say("");
  $("found").hidden = true;
  if (query.file) {
    query.url = URL.createObjectURL(query.file);
    try {
      Object.assign(query, await sizeOf(query.url));
    } catch (error) { // a photo that this browser cannot show, such as a TIFF
      try {
        const small = await ask("/api/preview", { method: "POST", body: query.file });
        Object.assign(query, { url: `data:image/jpeg;base64,${small.jpeg}`, width: small.width, height: small.height });
      } catch (refusal) {
        $("chosen").hidden = true;
        enable(false);
        return say(refusal.message, true);
      }
    }
  }
  state.query = query;
  $("query").src = query.url;
  $("query").alt = `the query, ${query.name}`;
  $("query_name").textContent = query.name;
  $("chosen").hidden = false;
  enable(true);
  setBox([0, 0, 100, 100]);
}

function enable(on) {
  $("search").disabled = $("sides").disabled = !on;
}

function sizeOf(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve({ width: image.naturalWidth, height: image.naturalHeight });
    image.onerror = reject;
    image.src = url;
  });
}

const choosePhoto = (photo) =>
  choose({ photo: photo.number, name: photo.name, url: picture(photo, "large"), width: photo.width, height: photo.height })
    .then(() => $("search").focus())
    .then(() => $("ask").scrollIntoView());

const picture = (photo, size) => `/photos/${photo.number}?size=${size}`;

// ---- the box, in percent of the photo

const box = () => SIDES.map((side) => Math.min(100, Math.max(0, Number($(`side_${side}`).value) || 0)));
const isWhole = ([left, top, right, bottom]) => left <= 0 && top <= 0 && right >= 100 && bottom >= 100;

function setBox(sides) {
  SIDES.forEach((side, place) => ($(`side_${side}`).value = Math.round(sides[place])));
  showBox();
}

function showBox() {
  const [left, top, right, bottom] = box();
  $("box").hidden = isWhole(box());
  Object.assign($("box").style, {
    left: `${left}%`, top: `${top}%`, width: `${Math.max(0, right - left)}%`, height: `${Math.max(0, bottom - top)}%`,
  });
}

function watchBox() {
  let start = null;
  const place = (event) => {
    const frame = $("query").getBoundingClientRect();
    const share = (value, from, length) => Math.min(100, Math.max(0, (100 * (value - from)) / length));
    return [share(event.clientX, frame.left, frame.width), share(event.clientY, frame.top, frame.height)];
  };
  $("stage").addEventListener("pointerdown", (event) => {
    start = place(event);
    $("stage").setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  $("stage").addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = place(event);
    setBox([0, 1].map((axis) => Math.min(start[axis], end[axis])).concat([0, 1].map((axis) => Math.max(start[axis], end[axis]))));
  });
  $("stage").addEventListener("pointerup", () => {
    const [left, top, right, bottom] = box();
    if (start && (right - left < 2 || bottom - top < 2)) setBox([0, 0, 100, 100]); // a click
    start = null;
  });
  SIDES.forEach((side) => $(`side_${side}`).addEventListener("input", showBox));
  $("whole").addEventListener("click", () => setBox([0, 0, 100, 100]));
}

// ---- the search

async function search(event) {
  event.preventDefault();
  const query = state.query;
  const sides = box();
  if (!(sides[0] < sides[2] && sides[1] < sides[3])) return say("the box is empty: left must be below right, top below bottom", true);
  const parameters = new URLSearchParams({ top_k: $("top_k").value });
  if ($("folder").value) parameters.set("folder", $("folder").value);
  if (query.photo !== undefined) parameters.set("photo", query.photo);
  if (!isWhole(sides) && query.width) {
    const pixels = sides.map((side, place) => Math.round((side / 100) * (place % 2 ? query.height : query.width)));
    parameters.set("box", pixels.join(","));
  }
  say("searching ...");
  $("search").disabled = true;
  try {
    const answer = await ask(`/api/search?${parameters}`, { method: "POST", body: query.file });
    if (state.query === query) show(answer, query);
  } catch (error) {
    say(error.message, true);
  } finally {
    $("search").disabled = !state.query;
  }
}

function show(answer, query) {
  const count = answer.results.length;
  const left = answer.left_out.length ? ` The query's own photo is left out: ${answer.left_out.join(", ")}.` : "";
  const features = answer.query.features === null ? "" : `, ${answer.query.features} features`;
  say(`${count} ${count === 1 ? "result" : "results"} of ${answer.photos_searched} photos in ${answer.seconds.toFixed(2)} s${features}.${left}`);
  $("verdict").textContent = !count ? "Nothing in the collection resembles it."
    : { yes: "The same place is here.", perhaps: "Perhaps the same place is here.", no: "Nothing here is the same place." }[answer.same_place] || "Results";
  $("results").replaceChildren(...answer.results.map((result) => row(result, query, answer.query)));
  $("found").hidden = false;
}

const percent = (share) => (share > 0.99 || share < 0.01 ? (100 * share).toFixed(1) : (100 * share).toFixed(0));

function row(result, query, size) {
  const { photo, matches } = result;
  const fill = make("s");
  fill.style.width = `${100 * result.bar}%`;
  const counts = make("span", { className: "counts" });
  if (!matches) counts.append(make("b", {}, result.score.toFixed(3)), " similarity");
  else if (matches.verified) counts.append(make("b", {}, String(matches.inliers)), ` inliers of ${matches.correspondences}`);
  else counts.append(matches.correspondences ? `${matches.correspondences}, not verified` : "not verified");
  if (result.same_place) counts.append(make("em", { className: result.same_place }, `${result.same_place}, ${percent(result.probability)} %`));
  if (result.through) counts.append(make("em", {}, "found through another"));
  const summary = make("summary", { className: "result" },
    make("i", {}, String(result.rank)),
    make("img", { src: picture(photo, "tile"), alt: "", loading: "lazy" }),
    make("span", { className: "name" }, photo.name),
    make("span", { className: `bar ${result.same_place || "plain"}` }, fill), counts);
  const details = make("details", { open: result.rank === 1 }, summary);
  const fillIn = () => {
    if (details.open && !details.querySelector(".opened")) details.append(opened(result, query, size));
  };
  details.addEventListener("toggle", fillIn);
  fillIn();
  return details;
}

function opened(result, query, size) {
  const asked = { url: query.url, width: size.width, height: size.height, name: "the query" };
  const seen = (photo) => ({ ...photo, url: picture(photo, "large") });
  const again = make("button", { type: "button" }, "Search with this photo");
  again.addEventListener("click", () => choosePhoto(result.photo));
  const inside = make("div", { className: "opened" }, pair(asked, seen(result.photo), result.matches));
  if (result.through) {
    const { photo, matches, matches_with_result: second } = result.through;
    inside.append(
      make("p", { className: "through" }, `Found through ${photo.name}: ${matches.inliers ?? 0} inliers with the query, ${second.inliers ?? 0} with this photo.`),
      pair(asked, seen(photo), matches), pair(seen(photo), seen(result.photo), second));
  }
  inside.append(again);
  return inside;
}

// Two photos side by side with a line for each inlier; as the pages of search_images draw them.
function pair(first, second, matches) {
  const widths = [first, second].map((photo) => (HEIGHT * (photo.width || 4)) / (photo.height || 3));
  const total = widths[0] + GAP + widths[1];
  const frame = make("div", { className: "pair" });
  frame.style.setProperty("--w", Math.round(total));
  frame.style.setProperty("--h", HEIGHT);
  [first, second].forEach((photo, place) => {
    const image = make("img", { src: photo.url, alt: photo.name });
    image.style.width = `${(100 * widths[place]) / total}%`;
    image.style.left = place ? `${(100 * (widths[0] + GAP)) / total}%` : "0";
    frame.append(image);
  });
  if (matches && matches.lines.length && first.width && second.width) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${Math.round(total)} ${HEIGHT}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${matches.inliers} inliers`);
    const paths = Array.from({ length: COLOURS }, () => ["", ""]);
    matches.lines.forEach(([x1, y1, x2, y2], number) => {
      const a = `${((x1 / first.width) * widths[0]).toFixed(1)} ${((y1 / first.height) * HEIGHT).toFixed(1)}`;
      const b = `${(widths[0] + GAP + (x2 / second.width) * widths[1]).toFixed(1)} ${((y2 / second.height) * HEIGHT).toFixed(1)}`;
      paths[number % COLOURS][0] += `M${a}L${b}`;
      paths[number % COLOURS][1] += `M${a}h0M${b}h0`;
    });
    paths.forEach((data, colour) => data.forEach((d, kind) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      path.setAttribute("class", `l${colour}${kind ? " dots" : ""}`);
      svg.append(path);
    }));
    frame.append(svg);
  }
  return frame;
}

// ---- the collection

async function list(more = false) {
  if (!more) state.listed = 0;
  const parameters = new URLSearchParams({ start: state.listed, count: LISTED });
  if ($("browse_folder").value) parameters.set("folder", $("browse_folder").value);
  const found = await ask(`/api/photos?${parameters}`);
  const buttons = found.photos.map((photo) => {
    const button = make("button", { type: "button", title: photo.name },
      make("img", { src: picture(photo, "tile"), alt: "", loading: "lazy" }), make("span", {}, photo.name));
    button.addEventListener("click", () => choosePhoto(photo));
    return button;
  });
  more ? $("photos").append(...buttons) : $("photos").replaceChildren(...buttons);
  state.listed += found.photos.length;
  $("more").hidden = state.listed >= found.total;
  if (more && buttons.length) buttons[0].focus();
}

async function begin() {
  state.about = await ask("/api/collection");
  for (const { name, photos } of state.about.folders) {
    for (const id of ["folder", "browse_folder"]) $(id).append(make("option", { value: name }, `${name} (${photos})`));
  }
  const take = (files) => files.length && choose({ file: files[0], name: files[0].name || "pasted photo" });
  $("file").addEventListener("change", () => take($("file").files));
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }
  $("ask").addEventListener("submit", search);
  $("browse_folder").addEventListener("change", () => list().catch((error) => say(error.message, true)));
  $("more").addEventListener("click", () => list(true).catch((error) => say(error.message, true)));
  watchBox();
  await list();
}

begin().catch((error) => say(error.message, true));

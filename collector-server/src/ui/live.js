// What pages gain with a script: local times, copying, filters as one types, live progress. All of it works without.
"use strict";

const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** Adds what only a script can do to everything inside `root`. */
function enhance(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.title = `${time.dateTime}\n${LOCAL.format(at)} here`;
  }
  if (navigator.clipboard) {
    for (const box of root.querySelectorAll(".command:not(.has-copy)")) addCopy(box);
  }
  for (const input of root.querySelectorAll("input[data-filter]")) {
    input.closest("[hidden]")?.removeAttribute("hidden");
    input.addEventListener("input", () => filter(input));
  }
  for (const form of root.querySelectorAll("form[data-swap]")) searchAsTyped(form);
  // By this clock, from what the server says is left: the two clocks need not agree.
  for (const lease of root.querySelectorAll("[data-left]")) lease.dataset.ends = Date.now() + 1000 * lease.dataset.left;
}

/** What is left of a lease, while nothing is told. */
function countDown() {
  for (const lease of document.querySelectorAll("[data-ends]")) {
    lease.textContent = left(Math.round((lease.dataset.ends - Date.now()) / 1000));
  }
}

/** As the server writes it. */
function left(seconds) {
  const amount = Math.abs(seconds);
  const minutes = Math.floor(amount / 60);
  const words = amount < 120 ? `${amount} s` : amount < 7200 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return seconds < 0 ? `${words} late` : `in ${words}`;
}

function addCopy(box) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  box.classList.add("has-copy");
  box.append(button);
}

/** Hides the rows that do not hold all words. */
function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.getElementById(input.dataset.filter).tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}

/** Asks the server a moment after the last key, and puts its answer behind the form. The form keeps the focus. */
function searchAsTyped(form) {
  let waiting = 0;
  let asked = 0;
  const ask = async () => {
    const number = ++asked;
    const address = new URL(form.action);
    address.search = new URLSearchParams(new FormData(form)).toString();
    const fresh = await load(address);
    const found = fresh?.getElementById(form.dataset.swap);
    if (!found || number !== asked) return;
    while (form.nextSibling) form.nextSibling.remove();
    let node = found.querySelector("form[data-swap]").nextSibling;
    while (node) {
      const next = node.nextSibling;
      form.parentNode.append(document.adoptNode(node));
      node = next;
    }
    enhance(form.parentNode);
    history.replaceState(null, "", address);
  };
  if (form.dataset.ready) return;
  form.dataset.ready = "yes";
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 250);
  });
}

/** A page of this server as a document; nothing when it is not to be had, or the session has ended. */
async function load(address) {
  try {
    const answer = await fetch(address, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null;
  }
}

/** Sections as the server wrote them: what `enhance` and progress change in them is no news. */
const written = new Map();

function remember(root) {
  for (const section of root.querySelectorAll("[data-live] section[id]")) written.set(section.id, section.outerHTML);
}

/** Loads the page again and replaces the sections that changed; focus and unfolded details stay. */
async function refresh() {
  const fresh = await load(location.href);
  if (!fresh) return;
  for (const section of [...fresh.querySelectorAll("[data-live] section[id]")]) {
    const old = document.getElementById(section.id);
    const html = section.outerHTML;
    if (!old || old.querySelector("form[data-swap]") || written.get(section.id) === html) continue;
    // What somebody is typing is not thrown away: it is looked at again with the next event.
    if ([...old.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue)) continue;
    written.set(section.id, html);
    const open = [...old.querySelectorAll("details")].map((details) => details.open);
    const focusable = "a[href], button, summary, input, select, [tabindex]";
    const at = [...old.querySelectorAll(focusable)].indexOf(document.activeElement);
    const node = document.adoptNode(section);
    [...node.querySelectorAll("details")].forEach((details, i) => { if (open[i]) details.open = true; });
    enhance(node);
    old.replaceWith(node);
    if (at >= 0) [...node.querySelectorAll(focusable)][at]?.focus({ preventScroll: true });
  }
}

/** Numbers of a run, several times a second: written in place. */
function progress(order, told) {
  const entry = document.querySelector(`[data-order="${CSS.escape(order)}"]`);
  const field = (name) => entry?.querySelector(`[data-field="${name}"]`);
  if (!field("bytes")) return false;
  field("collector").textContent = told.collector;
  field("items").textContent = Number(told.items).toLocaleString("en-US");
  field("bytes").textContent = size(Number(told.bytes));
  for (const step of entry.querySelectorAll("[data-step]")) {
    if (step.classList.contains("is-done")) continue;
    const runs = step.dataset.step === told.tier;
    step.className = runs ? "is-running" : "is-waiting";
    step.querySelector(".state").textContent = runs ? "running" : "waiting";
  }
  return true;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return unit === 0 || bytes >= 100 ? `${Math.floor(bytes)} ${units[unit]}` : `${(Math.floor(bytes * 10) / 10).toFixed(1)} ${units[unit]}`;
}

function follow(address) {
  let waiting = 0;
  const soon = () => {
    if (waiting) return;
    waiting = setTimeout(() => {
      waiting = 0;
      refresh();
    }, 300);
  };
  const status = document.getElementById("live-status");
  const source = new EventSource(address);
  let interrupted = false;
  source.addEventListener("open", () => {
    // What happened while the connection was away is not told again.
    if (interrupted) soon();
    interrupted = false;
  });
  source.addEventListener("error", () => { interrupted = true; });
  const heard = (message) => {
    let told;
    try {
      told = JSON.parse(message.data);
    } catch {
      return;
    }
    if (told.what === "order" && told.event?.event === "progress" && progress(told.order, told.event)) return;
    if (status && told.what === "order") status.textContent = `Order ${told.state.replaceAll("_", " ")}`;
    if (status && told.what === "evidence") status.textContent = `Evidence ${told.state}`;
    if (status && told.what === "alert") status.textContent = `New alert, severity ${told.severity}`;
    soon();
  };
  // Events are named after what happened; `reload` says that some were lost.
  for (const name of ["alert", "case", "order", "receipt", "evidence", "reload"]) source.addEventListener(name, heard);
}

remember(document);
enhance(document);
setInterval(countDown, 1000);
const live = document.querySelector("[data-live]");
if (live) follow(live.dataset.live);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
});

// Sends the calls of /docs from the page. The key lives in one input of this page and nowhere else.
"use strict";

const bearer = document.getElementById("bearer");
document.getElementById("key").hidden = false;
document.getElementById("how").hidden = false;
document.getElementById("key").addEventListener("submit", (event) => event.preventDefault());
if (matchMedia("(max-width: 60rem)").matches) {
  document.querySelector(".contents").open = false;
}

for (const panel of document.querySelectorAll(".try")) {
  panel.hidden = false;
  panel.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(panel).catch((error) => show(panel, "No answer", String(error)));
  });
}

async function send(panel) {
  const { method, path } = panel.dataset;
  const headers = new Headers();
  const query = new URLSearchParams();
  let address = path;
  for (const input of panel.querySelectorAll("input")) {
    const value = input.value.trim();
    if (value === "") continue;
    if (input.dataset.in === "path") address = address.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (input.dataset.in === "query") query.append(input.name, value);
    else headers.set(input.name, value);
  }
  const key = bearer.value.trim();
  if (key !== "") headers.set("Authorization", `Bearer ${key}`);
  const body = panel.querySelector("textarea")?.value.trim();
  if (body) headers.set("Content-Type", "application/json");
  const search = query.size > 0 ? `?${query}` : "";
  const button = panel.querySelector("button");
  button.disabled = true;
  try {
    const reply = await fetch(address + search, { method, headers, body: body || undefined, credentials: "omit" });
    const text = await reply.text();
    show(panel, `${reply.status} · X-Request-Id ${reply.headers.get("X-Request-Id") ?? "missing"}`, pretty(text), reply.ok);
    offerKey(text);
  } finally {
    button.disabled = false;
  }
}

function show(panel, title, text, good = false) {
  const head = document.createElement("p");
  head.className = good ? "good" : "bad";
  head.textContent = title;
  const block = document.createElement("pre");
  block.tabIndex = 0;
  block.textContent = text;
  panel.querySelector("output").replaceChildren(head, block);
}

// A sign-up's key goes into the key field when that is empty: the next call can be made at once.
function offerKey(text) {
  try {
    const { api_key: key } = JSON.parse(text);
    if (key && bearer.value === "") bearer.value = key;
  } catch {
    // Not JSON: nothing to offer.
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

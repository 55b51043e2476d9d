// What pages of the dashboard do beyond HTML: copy a link, tick all of a page, and show
// clicks as they arrive.
// Text from the server goes into the page as text, never as markup.
"use strict";

// On a narrow screen the page's own tab may lie beyond the edge. Not by scrollIntoView: the first press of Tab
// would start from there and miss the link that skips to the content.
const tab = document.querySelector(".pages [aria-current]");
if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.clientWidth / 2 + tab.offsetWidth / 2;

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    setTimeout(() => { button.textContent = said; }, 2000);
  });
}

// One tick for all of a page, where there is something to tick.
for (const label of document.querySelectorAll("label[data-all]")) {
  const boxes = [...label.closest("form").querySelectorAll(`input[type="checkbox"][name="${CSS.escape(label.dataset.all)}"]`)];
  const all = label.querySelector("input");
  label.hidden = boxes.length < 2;
  all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; });
  for (const box of boxes) {
    box.addEventListener("change", () => {
      const ticked = boxes.filter((one) => one.checked).length;
      all.checked = ticked === boxes.length;
      all.indeterminate = ticked > 0 && ticked < boxes.length;
    });
  }
}

const state = document.getElementById("live-state");
if (state) {
  const rows = document.querySelector("#live tbody");
  const none = document.getElementById("live-none");
  const kept = 200;

  const cell = (text, name) => {
    const element = document.createElement(name ?? "td");
    const inner = document.createElement("bdi");
    inner.textContent = text;
    element.append(inner);
    return element;
  };

  const show = (click) => {
    if (rows.querySelector(`[data-id="${CSS.escape(click.id)}"]`)) return;
    const row = document.createElement("tr");
    row.dataset.id = click.id;
    row.className = "new";
    const time = cell(click.at, "th");
    time.scope = "row";
    time.className = "when";
    const [program, destination] = [cell(click.program), cell(click.destination)];
    program.className = destination.className = "name";
    const counted = click.counted ? "yes" : "no";
    row.append(time, cell(click.class), cell(click.country), program, destination, cell(click.label), cell(counted));
    rows.prepend(row);
    none.hidden = true;
    while (rows.childElementCount > kept) rows.lastElementChild.remove();
  };

  const source = new EventSource(state.dataset.live);
  source.addEventListener("clicks", (event) => {
    state.textContent = "Live";
    state.classList.add("open");
    for (const click of JSON.parse(event.data).reverse()) show(click);
  });
  source.addEventListener("error", () => {
    state.classList.remove("open");
    state.textContent = source.readyState === EventSource.CLOSED
      ? "Not live any more. Reload the page." : "Reconnecting…";
  });
  addEventListener("pagehide", () => source.close());
}

// Keeps a page up to date: asks for it again and exchanges the parts that changed. And shows the tap. All figures and words are
// made by the gateway; what others said comes in as text and stays text.
"use strict";

const EVERY = 5000;
const byId = id => document.getElementById(id);

// Parts are known by their ids. One in which somebody types or chooses stays as it is; what was unfolded stays so.
const exchange = (old, fresh) => {
  if (old.contains(document.activeElement) && document.activeElement.matches("input, select, summary, button")) return;
  for (const details of old.querySelectorAll("details[open]")) {
    const same = details.id && fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (same) same.open = true;
  }
  if (old.isEqualNode(fresh)) return;
  const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
};

const refresh = async () => {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // A part that came or went, like what else is wrong: then all of them are exchanged, unless somebody is at work in them.
  const ids = page => [...page.querySelectorAll("main > [data-part]")].map(part => part.id).join();
  if (ids(document) !== ids(fresh) && !byId("main").contains(document.activeElement)) {
    byId("main").replaceWith(document.adoptNode(fresh.getElementById("main")));
  }
  for (const old of document.querySelectorAll("[data-part]")) {
    const part = fresh.getElementById(old.id);
    if (part) exchange(old, document.adoptNode(part));
  }
};

const keep = () => {
  const [told, pause] = [byId("fresh"), byId("pause")];
  if (!told) return;
  let paused = false, failing = false;
  const tell = text => { if (told.textContent !== text) told.textContent = text; };
  pause.hidden = false;
  pause.onclick = () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    tell(paused ? "Paused." : "Up to date.");
  };
  const again = async () => {
    if (!paused && !document.hidden) {
      try {
        await refresh();
        failing = false;
        tell("Up to date.");
      } catch (error) {
        if (!failing) tell(`The gateway does not answer since ${new Date().toISOString().slice(11, 19)}: ${error.message}`);
        failing = true;
      }
    }
    setTimeout(again, EVERY);
  };
  setTimeout(again, EVERY);
};

// The tap: the newest first, at most so many lines; what comes while it is paused is counted.
const MOST = 300;
const tap = () => {
  const place = byId("tap");
  if (!place) return;
  place.hidden = false;
  const [list, state, pause] = [byId("tap-list"), byId("tap-state"), byId("tap-pause")];
  let paused = false, missed = 0, skipped = 0, source;
  const tell = text => { if (state.textContent !== text) state.textContent = text; };
  const element = (name, className, text) => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  };
  const line = passing => {
    const values = passing.samples.map(([, value]) => value).concat(passing.histograms.map(one => `histogram of ${one.count}`));
    const more = passing.more ? ` and ${passing.more} more` : "";
    const item = document.createElement("li");
    item.append(element("span", "quiet", new Date(passing.received_ms).toISOString().slice(11, 23) + " " + passing.tenant + " "),
      element("span", "", passing.series + " "), element("b", "", values.join(" ") + more));
    return item;
  };
  const standing = () => (paused ? `Paused, ${missed} series came meanwhile.` : "Live.") + (skipped ? ` ${skipped} series were left out.` : "");
  const open = () => {
    source = new EventSource(place.dataset.source);
    source.onopen = () => tell(standing());
    source.onmessage = event => {
      if (paused) missed += 1;
      else {
        list.prepend(line(JSON.parse(event.data)));
        while (list.children.length > MOST) list.lastChild.remove();
      }
    };
    source.addEventListener("skipped", event => { skipped += JSON.parse(event.data).series; });
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED) return tell("The gateway does not answer; trying again.");
      // The stream was refused: the answer says why.
      const answer = await fetch(place.dataset.source).catch(error => error);
      if (answer.ok) { answer.body.cancel(); return setTimeout(open, EVERY); }
      tell(answer.json ? (await answer.json()).error : answer.message);
    };
  };
  pause.onclick = () => {
    paused = !paused;
    missed = 0;
    pause.setAttribute("aria-pressed", paused);
    tell(standing());
  };
  byId("tap-clear").onclick = () => list.replaceChildren();
  setInterval(() => { if (source.readyState === EventSource.OPEN) tell(standing()); }, 2000);
  open();
};

keep();
tap();

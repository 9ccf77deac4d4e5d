// Follows the rehearsal: each snapshot redraws only the conversations that changed. Text is only ever set as text.
"use strict";
const talks = document.querySelector("#talks");
const figures = document.querySelector("#figures");
const cards = new Map();
const WORDS = { goal_reached: "goal reached", gave_up: "gave up", handed_over: "handed over", error: "error" };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function card(talk) {
  const article = element("article");
  const heading = element("h2");
  heading.append(element("b", talk.place || talk.scenario), element("span"));
  article.append(heading, element("ol"), element("footer"));
  talks.append(article);
  return { article, heading, list: article.querySelector("ol"), footer: article.querySelector("footer"), seen: "" };
}

function show(talk) {
  const found = cards.get(talk.id) || card(talk);
  cards.set(talk.id, found);
  const seen = `${talk.said} ${talk.outcome}`;
  if (found.seen === seen) return;
  found.seen = seen;
  found.heading.lastChild.textContent = ` ${talk.name}, ${talk.mood}: ${talk.scenario}`;
  found.list.replaceChildren(...talk.lines.map((line) => {
    const item = element("li", line.text, line.role === "customer" ? "customer" : "agent");
    if (line.route) item.append(element("small", line.route));
    return item;
  }));
  found.list.scrollTop = found.list.scrollHeight;
  found.article.dataset.outcome = talk.outcome || "";
  found.footer.textContent = talk.outcome ? `${WORDS[talk.outcome] || talk.outcome.replace("_", " ")}: ${talk.evidence}` : "…";
}

const source = new EventSource("/rehearsal/events");
source.onmessage = (event) => {
  const now = JSON.parse(event.data);
  const ended = Object.entries(now.reasons).map(([name, count]) => `${count} ${WORDS[name] || name.replace("_", " ")}`).join(", ");
  figures.textContent = `${now.ended} of ${now.total} ended${ended ? ` (${ended})` : ""}, ${now.messages} messages in ${Math.round(now.seconds)} s`;
  const here = new Set(now.talks.map((talk) => talk.id));
  for (const [id, old] of cards) if (!here.has(id)) { old.article.remove(); cards.delete(id); }
  now.talks.forEach(show);
};

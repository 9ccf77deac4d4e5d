/* The page around the chat: picks a tenant, signs an invented customer in, or asks for a key. Only a demonstration names its tenants. */
(() => {
"use strict";

const at = (selector) => document.querySelector(selector);
const narrow = matchMedia("(max-width: 899px)");
const PLACE = "frontdesk:page";
let chat = null;
let asked = [];

function place() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

function remember(fields) {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ ...place(), ...fields }));
  } catch {
    // Without storage the page forgets at the next reload; nothing else is lost.
  }
}

/** A fresh chat for one key; an empty name lets the chat ask the desk. */
function talk(key, name, token) {
  chat = document.createElement("frontdesk-chat");
  Object.assign(chat.dataset, { mode: "page", key, ...(name ? { tenantName: name } : {}), ...(token ? { token } : {}) });
  at("#stage").replaceChildren(chat);
  at("#stage").hidden = false;
  suggest();
}

/** Example questions stand beside the chat where there is room, and in it where there is none. */
function suggest() {
  if (chat) chat.suggestions = narrow.matches ? asked : [];
}

/** The token of somebody who has just come back from signing in; null for everybody else. */
async function pickedUp() {
  const url = new URL(location.href);
  if (!url.searchParams.has("signed_in")) return null;
  url.searchParams.delete("signed_in");
  history.replaceState(null, "", url);
  const answer = await fetch("/sign-in/token", { method: "POST" }).catch(() => null);
  return answer?.ok ? (await answer.json()).token : null;
}

async function tokenFor(tenant, customer) {
  if (!customer) return null;
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/demo/token", { method: "POST", headers, body: JSON.stringify({ tenant, customer }) });
  return answer.ok ? (await answer.json()).token : null;
}

async function choose(tenant, customer = "") {
  remember({ tenant: tenant.id, customer });
  const own = tenant.customers.find(({ id }) => id === customer)?.questions ?? [];
  asked = [...own, ...tenant.questions].slice(0, Math.max(own.length, 4));
  const people = [new Option("A guest, not signed in", ""), ...tenant.customers.map(({ id, name }) => new Option(`${name}, signed in`, id))];
  at("#as").hidden = tenant.customers.length === 0;
  at("#customer").replaceChildren(...people);
  at("#customer").value = customer;
  at("#asking").hidden = asked.length === 0;
  at("#asking ul").replaceChildren(...asked.map(question));
  const snippet = `<script src="${location.origin}/widget.js" data-key="${tenant.key}" data-tenant-name="${tenant.name.replaceAll('"', "&quot;")}" async></script>`;
  at("#embed code").textContent = snippet;
  talk(tenant.key, tenant.name, await tokenFor(tenant.id, customer).catch(() => null));
}

function question(text) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, dir: "auto" });
  button.addEventListener("click", () => chat.ask(text));
  const line = document.createElement("li");
  line.append(button);
  return line;
}

function card(tenant, chosen) {
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "tenant", value: tenant.id, checked: chosen });
  radio.addEventListener("change", () => choose(tenant));
  const label = Object.assign(document.createElement("label"), { className: "card" });
  const name = Object.assign(document.createElement("b"), { textContent: tenant.name });
  const about = Object.assign(document.createElement("span"), { textContent: tenant.description });
  label.append(radio, name, about);
  return label;
}

function demonstrate(tenants) {
  const { tenant: last, customer } = place();
  const first = tenants.find(({ id }) => id === last) ?? tenants[0];
  at("#tenants .cards").replaceChildren(...tenants.map((tenant) => card(tenant, tenant === first)));
  at("#customer").addEventListener("change", (event) => {
    const id = at("#tenants :checked").value;
    choose(tenants.find((tenant) => tenant.id === id), event.target.value);
  });
  at("#embed button").addEventListener("click", async (event) => {
    await navigator.clipboard?.writeText(at("#embed code").textContent);
    event.target.textContent = "Copied";
  });
  narrow.addEventListener("change", suggest);
  at("#side").hidden = false;
  choose(first, first.id === last ? customer : "");
}

function askForKey(trouble = "") {
  const form = at("#keyless form");
  at("#keyless").hidden = false;
  at("#keyless [role=alert]").textContent = trouble;
  form.onsubmit = (event) => {
    event.preventDefault();
    withKey(form.elements.key.value.trim());
  };
}

/** Opens the chat when the desk knows the key, else says so. */
async function withKey(key) {
  const answer = await fetch("/api/me", { headers: { Authorization: `Bearer ${key}` } }).catch(() => null);
  if (!answer?.ok) return askForKey(answer?.status === 401 ? "The desk does not know this key." : "The desk cannot be reached right now. Try again.");
  remember({ key });
  at("#keyless").hidden = true;
  at("main").classList.add("alone");
  const about = await answer.json();
  const token = await pickedUp();
  const door = at("#sign-in");
  door.hidden = token !== null || !about.sign_in_url;
  if (!door.hidden) door.href = about.sign_in_url;
  talk(key, about.name, token);
}

async function begin() {
  const answer = await fetch("/demo/tenants").catch(() => null);
  const { tenants = [] } = answer?.ok ? await answer.json() : {};
  if (tenants.length) demonstrate(tenants);
  else if (place().key) withKey(place().key);
  else askForKey(answer ? "" : "The desk cannot be reached right now. Reload to try again.");
}

begin();
})();

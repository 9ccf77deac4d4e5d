/*
 * The chat of a frontdesk server, as one web component without dependencies.
 *
 *   <script src="https://desk.example/widget.js" data-key="fd_…" data-tenant-name="Acme" async></script>
 *
 * puts a bubble into the corner of a page; `data-mode="page"` on a <frontdesk-chat> element fills the element's own box instead.
 * A page signs its customer in with `frontdesk.identify(token)` and out with `frontdesk.identify(null)`.
 *
 * What it refuses: text never becomes markup (no innerHTML anywhere, so a page may enforce Trusted Types), links lead to http(s),
 * mailto and tel only, nothing is loaded from anywhere but the desk, and nothing is evaluated or styled inline.
 */
(() => {
"use strict";

const script = document.currentScript;
const TAG = "frontdesk-chat";
if (customElements.get(TAG)) return;

/** Everything that the component says by itself; `frontdesk.translate({...})` replaces any of it. */
const WORDS = {
  open: "Open chat",
  openUnread: (n) => `Open chat, ${n} new`,
  close: "Close chat",
  title: (name) => (name ? `Chat with ${name}` : "Chat"),
  support: "Support",
  assistant: "AI assistant",
  waitingState: "Waiting for a person",
  humanState: (name) => `${name}, a person`,
  closedState: "Closed",
  human: "Talk to a person",
  humanAsked: "Person asked",
  humanHere: "With a person",
  more: "More",
  newConversation: "New conversation",
  knowMe: "What do you know about me?",
  eraseMe: "Erase what you know about me",
  eraseOne: "Erase this conversation",
  eraseOneSure: "Erase it for good? Press again",
  correct: "Correct",
  keep: "Keep",
  signIn: "Sign in",
  signedIn: "You are signed in",
  log: "Conversation",
  field: "Your message",
  placeholder: "Ask a question",
  placeholderHuman: "Write to a person",
  placeholderClosed: "Write to start a new conversation",
  send: "Send",
  welcome: (name) => (name ? `Hello, this is ${name}.` : "Hello."),
  welcomeMore: "Ask in your own words. I answer from our own documents and show where an answer stands.",
  tryAsking: "For example",
  fine: "Answers come from an AI. A person is one tap away.",
  fineHuman: "People read and answer here.",
  youSaid: "You:",
  deskSaid: "Assistant:",
  agentSaid: (name) => `${name}, a person:`,
  person: "Person",
  thinking: "Looking it up",
  stillThinking: "Still looking; this takes longer than usual",
  sources: "Sources",
  fromFaq: "From our questions and answers",
  from: (source) => `From ${source}`,
  live: "Live data",
  liveHelp: "Read just now from our systems",
  notSent: "Not sent.",
  retry: "Try again",
  noAnswer: "No answer came yet.",
  failed: "I could not finish this answer.",
  askAgain: "Ask again",
  queued: "You asked for a person. They will read this whole conversation and answer here.",
  queuedBy: "This conversation goes to a person, who will read all of it and answer here.",
  reach: (ways) => `You can also reach us ${ways}.`,
  byPhone: (phone, hours) => `by phone on ${phone}${hours ? ` (${hours})` : ""}`,
  byMail: (email) => `by e-mail at ${email}`,
  or: " or ",
  joined: (name) => `${name} is here. You are talking to a person now.`,
  aPerson: "A person",
  deskAgain: "The assistant answers again.",
  ended: "This conversation is closed.",
  rate: "Say how it went",
  solved: "Did this solve it?",
  howWas: "How was it?",
  points: (n) => (n === 1 ? "1 of 5, bad" : n === 5 ? "5 of 5, good" : `${n} of 5`),
  rated: "Thank you. This is kept with the conversation.",
  movedOn: "The earlier conversation has ended; this is a new one.",
  switched: "You are signed in. This is your own conversation.",
  reconnecting: "Connection lost. Reconnecting…",
  offline: "You are offline. What you write is sent when you are back.",
  newest: "New messages",
  yes: "Yes",
  no: "No",
  cancel: "Cancel",
  done: "Done",
  knowGuest: "You are not signed in, so I know nothing about you but this conversation. Start a new one to leave it behind.",
  knowNothing: "Nothing is kept about you yet.",
  knowSome: (n) => (n === 1 ? "One conversation is kept about you." : `${n} conversations are kept about you.`),
  download: "Download everything",
  eraseSure: "This erases all your conversations for good. Nobody can bring them back.",
  eraseYes: "Erase everything",
  erased: (n) => (n === 1 ? "One conversation was erased." : `${n} conversations were erased.`),
  badKey: "This chat is not set up correctly: its key is not valid.",
  badToken: "Your sign-in has expired. Sign in again; until then you are asking as a guest.",
  badOrigin: "This chat may not be used on this page.",
  busy: "Very many people are asking right now.",
  down: "The desk cannot be reached right now.",
  call: "Speak with the desk",
  hangUp: "Hang up",
  calling: "Calling",
  onCall: { listening: "Listening: speak", hearing: "I hear you", thinking: "Looking it up", saying: "Speaking: you may break in" },
  heardAs: (text) => `I heard: ${text}`,
  callOver: "The call has ended.",
  callSilent: "The call has ended, because nothing more was said.",
  callLost: "The call was cut off.",
  noMicrophone: "The microphone cannot be used: allow it in the browser, and try again.",
  noSpeech: "I heard nothing.",
};

// ---------------------------------------------------------------- text, safely

const SCHEMES = new Set(["http:", "https:", "mailto:", "tel:"]);
const INLINE = new RegExp(
  [
    String.raw`\[(?<label>[^\]\[\n]{1,200})\]\((?<target>[^()\s]{1,2000})\)`,
    String.raw`\*\*(?<strong>[^*\n]{1,500})\*\*`,
    String.raw`(?<url>\bhttps?:\/\/[^\s<>"'\u0060]{1,2000}|\b(?:mailto|tel):[^\s<>"'\u0060]{1,200})`,
    String.raw`(?<mail>\b[A-Z0-9._%+-]{1,64}@[A-Z0-9-]{1,63}(?:\.[A-Z0-9-]{1,63}){1,6})`,
    String.raw`(?<phone>\+\d[\d ()-]{6,18}\d)`,
  ].join("|"),
  "gi",
);
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;

/** Where a link may lead, normalised, or null for everything else (relative, scripted, with a password in it). */
function safeHref(raw) {
  let url;
  try {
    url = new URL(raw);
  } catch {
    return null;
  }
  return SCHEMES.has(url.protocol) && !url.username && !url.password ? url.href : null;
}

function link(text, target) {
  const href = safeHref(target);
  if (!href) return document.createTextNode(text);
  const anchor = make("a", { href, rel: "noopener noreferrer nofollow", referrerpolicy: "no-referrer" }, text);
  if (/^https?:/.test(href)) anchor.target = "_blank";
  return anchor;
}

/** A label that looks like an address must not hide another one. */
function labelled(label, target, whole) {
  const href = safeHref(target);
  if (!href) return document.createTextNode(whole);
  return link(/[./:@]/.test(label) && label !== target ? target : label, target);
}

function* inline(text) {
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const { label, target, strong, url, mail, phone } = found.groups;
    let whole = found[0];
    if (url) whole = whole.replace(/[.,;:!?)\]}*]+$/, "");
    if (mail) whole = whole.replace(/[.-]+$/, "");
    yield text.slice(end, found.index);
    if (label) yield labelled(label, target, whole);
    else if (strong) yield make("strong", {}, strong);
    else if (url) yield link(whole, whole);
    else if (mail) yield link(whole, `mailto:${whole}`);
    else if (phone) yield link(whole, `tel:${whole.replace(/[^\d+]/g, "")}`);
    end = found.index + whole.length;
  }
  yield text.slice(end);
}

/** What was said as paragraphs, simple lists, bold words and safe links. `text` is data: it cannot become an element of its own. */
function renderText(text) {
  const out = document.createDocumentFragment();
  let block = null;
  for (const line of String(text ?? "").replace(/\r\n?/g, "\n").replace(UNSEEN, "").split("\n")) {
    const [, bullet, number, entry] = /^\s*(?:([-*•–])|(\d{1,3})[.)])\s+(.+)$/.exec(line) ?? [];
    const kind = bullet ? "ul" : number ? "ol" : line.trim() ? "p" : "";
    if (!kind) {
      block = null;
      continue;
    }
    if (block?.localName !== kind) {
      block = make(kind, { dir: "auto", ...(number && number !== "1" ? { start: number } : {}) });
      out.append(block);
    } else if (kind === "p") {
      block.append(make("br"));
    }
    const heading = kind === "p" && /^#{1,6}\s+(.+)$/.exec(line);
    if (kind !== "p") block.append(make("li", {}, ...inline(entry)));
    else if (heading) block.append(make("strong", {}, ...inline(heading[1])));
    else block.append(...inline(line.trim()));
  }
  return out;
}

/** An element. Strings among `children` become text nodes; attributes that are false or null are left out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  chat: "M21 12a8 8 0 0 1-8 8H4l1.8-3.2A8 8 0 1 1 21 12Z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7 8a7 7 0 0 1 14 0",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  send: "M12 19V5m-6 6 6-6 6 6",
  down: "M12 5v14m-6-6 6 6 6-6",
  call: "M9 5a3 3 0 0 1 6 0v6a3 3 0 0 1-6 0ZM5 11a7 7 0 0 0 14 0M12 18v3",
};

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [k, v] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" })) svg.setAttribute(k, v);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// ---------------------------------------------------------------- what the browser remembers

/** One caller's place in the browser's storage; a browser that forbids storage forgets at the next page. */
class Memory {
  #name;
  #kept = {};

  constructor(key, customer) {
    this.#name = `frontdesk:${digest(`${key}\n${customer ?? ""}`)}`;
    try {
      this.#kept = JSON.parse(localStorage.getItem(this.#name)) ?? {};
    } catch {
      this.#kept = {};
    }
  }

  get all() {
    return { ...this.#kept };
  }

  set(fields) {
    Object.assign(this.#kept, fields);
    try {
      localStorage.setItem(this.#name, JSON.stringify(this.#kept));
    } catch {
      // Storage is full or forbidden: the conversation goes on, it only does not survive this page.
    }
  }
}

/** A short name for a long text; not for secrets. */
function digest(text) {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(i), 0x85ebca6b) + i;
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36);
}

/** The subject that a token names, unverified: it only chooses which conversation this browser looks up. */
function subjectOf(token) {
  try {
    const body = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return String(JSON.parse(atob(body)).sub ?? token);
  } catch {
    return token;
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// ---------------------------------------------------------------- the desk over HTTP

/** Why a request failed: `status` 0 means that the desk was not reached. `passing` ones are worth another try. */
class Problem extends Error {
  constructor(status, code, message, after = 0) {
    super(message);
    Object.assign(this, { status, code, after });
  }

  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }

  /** The problem in words for a customer. */
  get words() {
    if (this.code === "invalid_customer_token") return WORDS.badToken;
    if (this.status === 401) return WORDS.badKey;
    if (this.status === 403) return WORDS.badOrigin;
    if (this.status === 429) return WORDS.busy;
    if (this.passing) return navigator.onLine === false ? WORDS.offline : WORDS.down;
    return this.message;
  }
}

/** The native API of one server for one key. */
class Desk {
  static QUIET_MS = 40_000; // the desk sends a heartbeat every 15 s: silence longer than this is a dead connection
  #server;
  #key;

  constructor(server, key) {
    this.#server = server;
    this.#key = key;
    this.identity = null;
  }

  /** The customer's token: what `identify` was given, or what its function returns. */
  async token() {
    return (typeof this.identity === "function" ? await this.identity() : this.identity) || null;
  }

  async call(method, path, body, headers = {}) {
    const answer = await this.#fetch(method, path, { body: body && JSON.stringify(body), headers });
    return answer.status === 204 ? null : answer.json();
  }

  /** Calls `seen` for each event after `after` until the connection ends; `opened` once it stands. Raises Problem. */
  async follow(conversation, after, signal, { opened, seen }) {
    const stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort(), { once: true });
    let quiet = setTimeout(() => stop.abort(), Desk.QUIET_MS);
    try {
      const headers = { Accept: "text/event-stream", ...(after ? { "Last-Event-ID": String(after) } : {}) };
      const answer = await this.#fetch("GET", `/api/conversations/${encodeURIComponent(conversation)}/events`, { headers, signal: stop.signal });
      opened();
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let [rest, data] = ["", []];
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(quiet);
        quiet = setTimeout(() => stop.abort(), Desk.QUIET_MS);
        const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop();
        for (const line of lines) {
          if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
          else if (line === "" && data.length) seen(JSON.parse(data.splice(0).join("\n")));
        }
      }
    } finally {
      clearTimeout(quiet);
    }
  }

  async #fetch(method, path, { body, headers, signal }) {
    const token = await this.token();
    const all = { Authorization: `Bearer ${this.#key}`, ...headers };
    if (body) all["Content-Type"] = "application/json";
    if (token) all["X-Customer-Token"] = token;
    let answer;
    try {
      answer = await fetch(this.#server + path, { method, body, headers: all, signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" });
    } catch {
      throw new Problem(0, "unreachable", WORDS.down);
    }
    if (answer.ok) return answer;
    const error = (await answer.json().catch(() => ({})))?.error ?? {};
    throw new Problem(answer.status, error.code ?? "error", error.message ?? WORDS.down, Number(answer.headers.get("Retry-After")) || 0);
  }
}

// ---------------------------------------------------------------- a call

/**
 * One call: the microphone goes to the desk, what it says is played, and what one says meanwhile stops it.
 * `seen` is told each message of the desk, and {type: "over", words} once at the end.
 */
class Call {
  #over = false;
  #socket = null;
  #sound = null;
  #microphone = null;
  #playing = new Set();
  #next = 0;
  #decoding = Promise.resolve();
  #farewell = false;
  #spoken = 0;
  #seen;

  constructor(seen) {
    this.#seen = seen;
  }

  /** Begins; what stands in the way is told as the end. */
  async begin(server, start) {
    try {
      const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
      this.#microphone = await navigator.mediaDevices.getUserMedia({ audio });
    } catch {
      return this.end(WORDS.noMicrophone);
    }
    try {
      this.#sound = new AudioContext();
      await this.#sound.audioWorklet.addModule(`${server}/microphone.js`);
      if (this.#over) return this.#release();
      this.#socket = new WebSocket(`${server.replace(/^http/, "ws")}/api/call`);
    } catch {
      return this.end(WORDS.callLost);
    }
    const socket = this.#socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => socket.send(JSON.stringify({ type: "start", ...start })));
    socket.addEventListener("close", () => this.#farewell || this.end(WORDS.callLost));
    socket.addEventListener("message", ({ data }) => (typeof data === "string" ? this.#told(JSON.parse(data)) : this.#play(data)));
  }

  hangUp() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "hang_up" }));
    this.end(WORDS.callOver);
  }

  end(words) {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.#seen({ type: "over", words });
  }

  #release() {
    this.#quiet();
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#sound?.close().catch(() => {});
    this.#socket?.close();
  }

  #told(message) {
    if (message.type === "ready") this.#listen();
    if (message.type === "stop") this.#quiet();
    this.#seen(message);
    this.#farewell ||= message.type === "ended"; // the last sentence may still be playing when the server hangs up
    if (message.type === "ended") this.#decoding.then(() => setTimeout(() => this.end(message.reason === "silence" ? WORDS.callSilent : WORDS.callOver), this.#left()));
  }

  #listen() {
    const node = new AudioWorkletNode(this.#sound, "frontdesk-microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.#socket.readyState === WebSocket.OPEN && this.#socket.send(data);
    this.#sound.createMediaStreamSource(this.#microphone).connect(node);
  }

  /** Milliseconds until everything was played. */
  #left() {
    return Math.max(0, (this.#next - this.#sound.currentTime) * 1000);
  }

  #play(data) {
    const spoken = this.#spoken;
    this.#decoding = this.#decoding
      .then(() => this.#sound.decodeAudioData(data))
      .then((sound) => {
        if (this.#over || spoken !== this.#spoken) return; // somebody broke in meanwhile
        const source = this.#sound.createBufferSource();
        source.buffer = sound;
        source.connect(this.#sound.destination);
        this.#next = Math.max(this.#next, this.#sound.currentTime);
        source.start(this.#next);
        this.#next += sound.duration;
        this.#playing.add(source);
        source.addEventListener("ended", () => {
          this.#playing.delete(source);
          if (!this.#playing.size && !this.#over) this.#seen({ type: "listening" });
        });
      })
      .catch(() => {}); // one sentence that cannot be played is there to read
  }

  #quiet() {
    this.#spoken++;
    this.#next = 0;
    for (const source of this.#playing) source.stop();
    this.#playing.clear();
  }
}

/** What the browser itself hears and says, message by message, where it can. */
class BrowserSpeech {
  static Recognition = globalThis.SpeechRecognition ?? globalThis.webkitSpeechRecognition;
  #hearing = null;
  #seen;

  constructor(seen) {
    this.#seen = seen;
  }

  /** Hears one message; `said` is told what it was. */
  begin(language, said) {
    this.#hearing = Object.assign(new BrowserSpeech.Recognition(), { lang: language, interimResults: false, maxAlternatives: 1 });
    let text = "";
    this.#hearing.onresult = ({ results }) => (text = results[0][0].transcript.trim());
    this.#hearing.onerror = ({ error }) => this.#seen({ type: "over", words: error === "no-speech" ? WORDS.noSpeech : WORDS.noMicrophone });
    this.#hearing.onend = () => {
      this.#seen({ type: "over", words: "" });
      if (text) said(text);
    };
    speechSynthesis.cancel(); // breaking in
    this.#hearing.start();
    this.#seen({ type: "hearing" });
  }

  say(text, language) {
    speechSynthesis.speak(Object.assign(new SpeechSynthesisUtterance(text), { lang: language }));
  }

  hangUp() {
    this.#hearing?.stop();
    speechSynthesis.cancel();
  }
}

// ---------------------------------------------------------------- a conversation as its events tell it

/**
 * Folds events into items to show: {who: customer|desk|agent|note, text, ...}. Knows nothing of the page.
 * Events may come twice or again after a reload; each counts once.
 */
class Thread {
  items = [];
  turns = new Map();
  owner = "desk";
  agent = "";
  seq = 0;
  choices = [];

  /** Takes one event; true when something visible changed. */
  apply(event) {
    if (event.seq) {
      if (event.seq <= this.seq) return false;
      this.seq = event.seq;
    }
    const step = this[`on_${event.kind}`];
    if (step) step.call(this, event);
    return Boolean(step);
  }

  /** Something the customer says here, before the desk has it. */
  say(text) {
    this.choices = [];
    return this.#add({ who: "customer", text, status: "sending", key: randomKey(), at: Date.now() });
  }

  note(text, more = {}) {
    return this.#add({ who: "note", text, at: Date.now(), ...more });
  }

  /** The turns that wait for the desk, oldest first. */
  get waiting() {
    return this.owner === "desk" ? [...this.turns.values()].filter((turn) => turn.open) : [];
  }

  /** The desk has this message: what the POST answered and what the stream tells may come in either order. */
  accepted(item, turnId) {
    const known = this.items.find((other) => other !== item && other.who === "customer" && other.turn === turnId);
    if (known) {
      this.items.splice(this.items.indexOf(item), 1);
      Object.assign(known, { key: item.key });
      return;
    }
    Object.assign(item, { turn: turnId, status: "sent" });
    this.#turn(turnId, item.at);
  }

  on_message_received(event) {
    const same = (item) => squeeze(item.text) === squeeze(event.text);
    const known =
      this.items.find((item) => item.who === "customer" && item.turn === event.turn_id) ??
      this.items.find((item) => item.who === "customer" && !item.turn && item.status !== "sent" && same(item));
    if (known) Object.assign(known, { turn: event.turn_id, status: "sent" });
    else this.#add({ who: "customer", text: event.text, status: "sent", turn: event.turn_id, at: Date.parse(event.at) });
    this.choices = [];
    this.#turn(event.turn_id, Date.parse(event.at));
  }

  on_sentence_released(event) {
    const turn = this.#turn(event.turn_id, Date.parse(event.at));
    if (turn.item?.done) return;
    // A sentence may come twice: live, before it is in the log, and again as the log has it.
    (event.seq ? turn.logged : turn.live).push(event.text);
    const said = joined(turn.logged.length >= turn.live.length ? turn.logged : turn.live);
    turn.item ??= this.#add({ who: "desk", turn: event.turn_id, at: Date.parse(event.at), citations: [] });
    Object.assign(turn.item, { text: said, done: false });
  }

  on_slot_requested(event) {
    const { kind, choices } = event.pending ?? {};
    this.#turn(event.turn_id, Date.parse(event.at)).choices = choices?.length ? choices : kind === "confirm" ? [WORDS.yes, WORDS.no] : [];
  }

  on_reply_sent(event) {
    const turn = this.#turn(event.turn_id, Date.parse(event.at));
    turn.item ??= this.#add({ who: "desk", turn: event.turn_id });
    const live = event.live ?? event.route === "dynamic";
    Object.assign(turn.item, { text: event.text, at: Date.parse(event.at), citations: unique(event.citations ?? []), live, done: true });
    this.choices = turn.choices;
    this.#close(turn);
  }

  on_turn_failed(event) {
    const turn = this.#turn(event.turn_id, Date.parse(event.at));
    if (turn.item) turn.item.done = true;
    if (event.apology && !turn.item) turn.item = this.#add({ who: "desk", turn: event.turn_id, text: event.apology, citations: [], done: true });
    else if (this.owner === "desk") this.note(WORDS.failed, { tone: "problem", again: this.#askedIn(event.turn_id) });
    this.#close(turn);
  }

  on_turn_merged(event) {
    this.#close(this.#turn(event.turn_id, Date.parse(event.at)));
  }

  on_handed_off(event) {
    this.owner = "queue";
    const turn = this.turns.get(event.turn_id);
    const note = { text: event.category === "requested" ? WORDS.queued : WORDS.queuedBy, contact: true, promised: event.promised, at: Date.parse(event.at) };
    // Inside a turn the desk's last words come after this event: the note follows them.
    if (turn?.open) turn.then = note;
    else this.note(note.text, note);
  }

  on_owner_changed(event) {
    const before = this.owner;
    Object.assign(this, { owner: event.owner, agent: event.agent || WORDS.aPerson });
    const at = { at: Date.parse(event.at) };
    if (event.owner === "agent") this.note(WORDS.joined(this.agent), at);
    else if (event.owner === "closed") this.note(WORDS.ended, { ...at, rate: true });
    else if (event.owner === "queue" && before !== "queue") this.note(WORDS.queuedBy, { ...at, contact: true });
    else if (event.owner === "desk" && before !== "desk") this.note(WORDS.deskAgain, at);
    if (event.owner !== "desk") for (const turn of this.turns.values()) this.#close(turn);
  }

  on_agent_replied(event) {
    this.#add({ who: "agent", name: event.agent, text: event.text, at: Date.parse(event.at), done: true });
  }

  #add(item) {
    this.items.push(item);
    return item;
  }

  #turn(id, since) {
    if (!this.turns.has(id)) this.turns.set(id, { id, since, open: true, item: null, live: [], logged: [], choices: [], then: null });
    return this.turns.get(id);
  }

  #close(turn) {
    turn.open = false;
    if (turn.then) this.note(turn.then.text, turn.then);
    turn.then = null;
  }

  #askedIn(turnId) {
    return this.items.findLast((item) => item.who === "customer" && item.turn === turnId)?.text;
  }
}

const squeeze = (text) => text.replace(/[\s\p{Cc}\p{Cf}]+/gu, " ").trim();

/** Sentences as one text: each brings its own white space or gets one space. */
function joined(sentences) {
  return sentences.reduce((all, next) => all + (all && next && !/\s$/.test(all) && !/^\s/.test(next) ? " " : "") + next, "");
}

function unique(citations) {
  const seen = new Set();
  return citations.filter(({ source, quote }) => !seen.has(`${source}\n${quote}`) && seen.add(`${source}\n${quote}`));
}

// ---------------------------------------------------------------- looks

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host {
  --accent: var(--frontdesk-accent, #12665a); --on-accent: var(--frontdesk-on-accent, #fff);
  --paper: #fff; --tint: #f4f5f2; --mine: #e3efeb; --ink: #1b211f; --soft: #5a6562; --line: #e2e5e0; --warn: #9a3412; --warn-tint: #fdf1ea;
  --human: #7a4a00; --human-tint: #fbf3e4; --shadow: 0 1px 2px rgb(16 24 20 / .06), 0 12px 40px rgb(16 24 20 / .16);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; color: var(--ink);
  color-scheme: light dark; text-align: start; letter-spacing: normal;
}
@media (prefers-color-scheme: dark) {
  :host {
    --accent: var(--frontdesk-accent-dark, #6fcab6); --on-accent: var(--frontdesk-on-accent-dark, #08211c);
    --paper: #151918; --tint: #1e2422; --mine: #1f3a34; --ink: #e9edeb; --soft: #9daba6; --line: #2d3532; --warn: #f5a97f; --warn-tint: #33231b;
    --human: #f0c987; --human-tint: #322a1b; --shadow: 0 1px 2px rgb(0 0 0 / .4), 0 12px 40px rgb(0 0 0 / .5);
  }
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
:host([data-mode="page"]) { display: block; height: 100%; min-height: 0; }
button, textarea { font: inherit; color: inherit; }
button { cursor: pointer; border: 0; background: none; padding: 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.sr { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
svg { inline-size: 20px; block-size: 20px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; flex: none; }

.launcher { position: fixed; inset-block-end: max(20px, env(safe-area-inset-bottom)); inset-inline-end: 20px; z-index: 2147483000; display: grid; place-items: center;
  inline-size: 56px; block-size: 56px; border-radius: 50%; background: var(--accent); color: var(--on-accent); box-shadow: var(--shadow); transition: transform .15s ease; }
.launcher:hover { transform: scale(1.04); }
.launcher svg { inline-size: 26px; block-size: 26px; }
.unread { position: absolute; inset-block-start: -2px; inset-inline-end: -2px; min-inline-size: 20px; padding: 0 6px; border-radius: 10px; font-size: 12px; line-height: 20px;
  background: #b3261e; color: #fff; font-weight: 600; }

.panel { container-type: inline-size; display: flex; flex-direction: column; background: var(--paper); overflow: hidden; position: fixed; z-index: 2147483001;
  inset-block-end: max(20px, env(safe-area-inset-bottom)); inset-inline-end: 20px; inline-size: 400px; block-size: min(680px, calc(100dvh - 40px));
  border-radius: 18px; border: 1px solid var(--line); box-shadow: var(--shadow); animation: rise .18s ease-out; }
:host([data-mode="page"]) .panel { position: relative; inset: auto; z-index: auto; inline-size: 100%; block-size: 100%; border-radius: inherit; border: 0; box-shadow: none; animation: none; }
@media (max-width: 480px) { :host(:not([data-mode="page"])) .panel { inset: 0; inline-size: 100%; block-size: 100dvh; border-radius: 0; border: 0; } }
@keyframes rise { from { opacity: 0; transform: translateY(8px); } }

header { display: flex; align-items: center; gap: 6px; padding: 12px 12px 12px 18px; border-block-end: 1px solid var(--line); }
header:dir(rtl) { padding: 12px 18px 12px 12px; }
.who { flex: 1; min-inline-size: 0; }
.who b { display: block; font-weight: 650; line-height: 1.3; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.state { display: flex; align-items: center; gap: 6px; font-size: 12.5px; color: var(--soft); line-height: 1.3; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.state::before { content: ""; inline-size: 7px; block-size: 7px; border-radius: 50%; background: var(--accent); flex: none; }
.panel[data-owner="queue"] .state::before { background: #d28a1b; }
.panel[data-owner="agent"] .state::before { background: var(--human); }
.panel[data-owner="closed"] .state::before { background: var(--soft); }
.icon { display: grid; place-items: center; inline-size: 38px; block-size: 38px; border-radius: 10px; color: var(--soft); }
.icon:hover { background: var(--tint); color: var(--ink); }
.human { display: flex; align-items: center; gap: 6px; padding: 7px 12px 7px 9px; border: 1px solid var(--line); border-radius: 19px; font-size: 13px; font-weight: 550; white-space: nowrap; line-height: 22px; }
.human svg { inline-size: 17px; block-size: 17px; color: var(--accent); }
.human:hover { border-color: var(--accent); }
.human[aria-disabled="true"] { background: var(--human-tint); border-color: transparent; color: var(--human); cursor: default; }
.human[aria-disabled="true"] svg { color: inherit; }

@container (max-width: 440px) { header { gap: 2px; padding-inline-end: 6px; } .human { padding-inline: 11px; } .human svg { display: none; } .icon { inline-size: 34px; } }

.menu { position: absolute; inset-block-start: 58px; inset-inline-end: 12px; z-index: 2; min-inline-size: 240px; padding: 6px; border-radius: 12px; background: var(--paper);
  border: 1px solid var(--line); box-shadow: var(--shadow); display: grid; }
.menu > * { text-align: start; padding: 9px 12px; border-radius: 8px; font-size: 14px; color: inherit; text-decoration: none; }
.menu > :is(button, a):hover { background: var(--tint); }
.menu .signed { color: var(--soft); font-size: 12.5px; border-block-end: 1px solid var(--line); border-radius: 0; margin-block-end: 4px; }

.sheet { position: absolute; inset: 63px 0 0; z-index: 1; background: var(--paper); padding: 22px 20px; overflow: auto; display: grid; gap: 14px; align-content: start; }
.sheet h2 { margin: 0; font-size: 17px; }
.sheet p { margin: 0; color: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: 8px; }
.pill { padding: 8px 16px; border-radius: 20px; border: 1px solid var(--line); font-size: 14px; font-weight: 550; }
.pill:hover { border-color: var(--accent); }
.pill[aria-pressed="true"] { border-color: var(--accent); background: var(--tint); }
.pill.main { background: var(--accent); color: var(--on-accent); border-color: transparent; }
.pill.danger { background: var(--warn); color: var(--paper); border-color: transparent; }
.kept { border: 1px solid var(--line); border-radius: 12px; }
.kept summary { padding: 10px 14px; cursor: pointer; font-size: 14px; }
.kept ul { margin: 0; padding: 0 14px 12px; list-style: none; font-size: 13.5px; display: grid; gap: 6px; }

.scroll { flex: 1; min-block-size: 0; overflow-y: auto; overscroll-behavior: contain; padding: 20px 18px 8px; scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
:host([data-mode="page"]) .scroll { scrollbar-gutter: stable both-edges; }
:host([data-mode="page"]) .scroll > *, :host([data-mode="page"]) .foot > * { max-inline-size: 720px; margin-inline: auto; }
.log { display: flex; flex-direction: column; gap: 14px; }
.welcome { margin-block-end: 18px; }
.welcome h2 { margin: 6px 0 4px; font-size: 20px; font-weight: 650; letter-spacing: -.01em; }
.welcome p { margin: 0; color: var(--soft); max-inline-size: 46ch; }
.asks { display: flex; flex-direction: column; align-items: flex-start; gap: 8px; margin-block-start: 16px; }
.asks span { font-size: 12.5px; color: var(--soft); }
.ask { text-align: start; padding: 8px 14px; border: 1px solid var(--line); border-radius: 16px; font-size: 14px; line-height: 1.4; }
.ask:hover { border-color: var(--accent); background: var(--tint); }

.item { max-inline-size: 100%; overflow-wrap: anywhere; animation: appear .16s ease-out; }
@keyframes appear { from { opacity: 0; transform: translateY(4px); } }
.item p, .item ul, .item ol { margin: 0; unicode-bidi: plaintext; }
.item .text > * + * { margin-block-start: 8px; }
.item .text > .sr + * { margin-block-start: 0; }
.item ul, .item ol { padding-inline-start: 22px; }
.item li + li { margin-block-start: 3px; }
a { color: var(--accent); text-underline-offset: 2px; }
.customer { align-self: flex-end; max-inline-size: 84%; }
.customer .text { background: var(--mine); padding: 9px 14px; border-radius: 18px; border-end-end-radius: 6px; }
.customer[data-status="sending"] .text { opacity: .72; }
.customer[data-status="failed"] .text { background: var(--warn-tint); }
.trouble { display: flex; flex-wrap: wrap; gap: 4px 10px; justify-content: flex-end; margin-block-start: 5px; font-size: 13px; color: var(--warn); }
.again { font-weight: 600; text-decoration: underline; text-underline-offset: 2px; color: inherit; font-size: 13px; }
.desk { align-self: flex-start; max-inline-size: min(94%, 62ch); }
.agent { align-self: flex-start; max-inline-size: 88%; }
.agent .text { background: var(--human-tint); padding: 9px 14px; border-radius: 18px; border-end-start-radius: 6px; }
.name { display: flex; align-items: center; gap: 6px; font-size: 12.5px; color: var(--human); font-weight: 600; margin-block-end: 4px; }
.name i { font-style: normal; font-weight: 550; padding: 0 7px; border-radius: 9px; border: 1px solid currentColor; font-size: 11px; line-height: 17px; }
.note { align-self: stretch; text-align: center; font-size: 13px; color: var(--soft); padding: 4px 12px; }
.note.tall { text-align: start; background: var(--human-tint); color: var(--ink); border-radius: 12px; padding: 12px 14px; }
.note.problem { color: var(--warn); }

.meta { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 6px; margin-block-start: 9px; }
.live { display: inline-flex; align-items: center; gap: 6px; font-size: 12.5px; font-weight: 550; color: var(--accent); padding: 2px 10px; border-radius: 12px; border: 1px solid currentColor; line-height: 20px; }
.live::before { content: ""; inline-size: 6px; block-size: 6px; border-radius: 50%; background: currentColor; }
.source { font-size: 13px; max-inline-size: 100%; }
.source[open] { flex-basis: 100%; }
.source summary { display: inline-flex; align-items: baseline; gap: 6px; max-inline-size: 100%; list-style: none; cursor: pointer; padding: 2px 10px; line-height: 20px; border-radius: 12px; background: var(--tint); color: var(--soft); }
.source summary::-webkit-details-marker { display: none; }
.source summary::before { content: ""; inline-size: 6px; block-size: 6px; border: solid var(--accent); border-width: 0 1.8px 1.8px 0; transform: rotate(-45deg); flex: none; align-self: center; transition: transform .15s; }
.source summary:dir(rtl)::before { transform: rotate(135deg); }
.source[open] summary::before { transform: translateY(-2px) rotate(45deg); }
.source summary span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.source summary:hover, .source[open] summary { color: var(--ink); }
.source blockquote { margin: 8px 0 4px; padding: 2px 0 2px 14px; border-inline-start: 3px solid var(--accent); white-space: pre-wrap; line-height: 1.5; max-block-size: 16em; overflow: auto; }
.source cite { font-style: normal; color: var(--soft); font-size: 12.5px; padding-inline-start: 17px; }
.choices { display: flex; flex-wrap: wrap; gap: 8px; margin-block-start: 12px; }

.typing { display: flex; align-items: center; gap: 10px; margin-block: 14px 6px; color: var(--soft); font-size: 13px; }
.dots { display: inline-flex; gap: 4px; }
.dots i { inline-size: 7px; block-size: 7px; border-radius: 50%; background: var(--soft); animation: breathe 1.2s infinite ease-in-out; }
.dots i:nth-child(2) { animation-delay: .15s; } .dots i:nth-child(3) { animation-delay: .3s; }
@keyframes breathe { 0%, 60%, 100% { opacity: .3; } 30% { opacity: 1; } }
.newest { position: absolute; inset-block-end: 104px; inset-inline: 0; margin-inline: auto; inline-size: fit-content; display: flex; align-items: center; gap: 6px; padding: 6px 14px 6px 10px; border-radius: 17px;
  background: var(--accent); color: var(--on-accent); font-size: 13px; font-weight: 600; box-shadow: var(--shadow); }
.newest svg { inline-size: 16px; block-size: 16px; }

.foot { padding: 8px 14px 10px; }
.banner { font-size: 13px; color: var(--warn); background: var(--warn-tint); border-radius: 10px; padding: 7px 12px; margin-block-end: 8px; }
form { display: flex; align-items: flex-end; gap: 6px; border: 1px solid var(--line); border-radius: 22px; padding: 5px 5px 5px 16px; background: var(--paper); }
form:dir(rtl) { padding: 5px 16px 5px 5px; }
form:focus-within { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
textarea { flex: 1; min-inline-size: 0; resize: none; border: 0; outline: 0; background: none; padding: 6px 0; line-height: 22px; max-block-size: 132px; font-size: 16px; field-sizing: content; }
textarea:focus-visible { outline: 0; }
textarea::placeholder { color: var(--soft); opacity: 1; }
.send { display: grid; place-items: center; inline-size: 34px; block-size: 34px; border-radius: 50%; background: var(--accent); color: var(--on-accent); flex: none; transition: opacity .15s; }
.send:disabled { background: var(--tint); color: var(--soft); cursor: default; }
.speak { inline-size: 34px; block-size: 34px; border-radius: 50%; flex: none; }
.speak[aria-pressed="true"] { background: var(--warn); color: var(--paper); }
.call { display: flex; align-items: center; gap: 10px; font-size: 13px; color: var(--ink); background: var(--tint); border-radius: 10px; padding: 7px 12px; margin-block-end: 8px; }
.call::before { content: ""; inline-size: 9px; block-size: 9px; border-radius: 50%; background: var(--accent); flex: none; animation: breathe 1.2s infinite ease-in-out; }
.fine { margin: 7px 0 0; text-align: center; font-size: 12px; color: var(--soft); }
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important; transition: none !important; } .dots i { opacity: .7; } }
@media (forced-colors: active) { .customer .text, .agent .text, .launcher, .send { border: 1px solid; } }
`);

// ---------------------------------------------------------------- the element

class FrontdeskChat extends HTMLElement {
  static observedAttributes = ["data-key", "data-token", "data-tenant-name"];
  static TRIES = 3;
  static SLOW_MS = 15_000;
  static LOST_MS = 60_000;
  static AWAY_MS = 30_000;

  #ui = null;
  #desk = null;
  #memory = null;
  #thread = new Thread();
  #nodes = new Map();
  #about = null;
  #suggestions = [];
  #identity = null;
  #conversation = null;
  #opening = null;
  #deliveries = Promise.resolve();
  #listening = null;
  #ticking = 0;
  #painting = false;
  #unread = 0;
  #tokenRefused = false;
  #starting = Promise.resolve();
  #call = null;
  #aloud = null;

  /** What was said, as safe nodes: what every message goes through. */
  static renderText = renderText;

  connectedCallback() {
    if (this.#ui) return;
    this.#build();
    this.#starting = this.#start();
    document.addEventListener("visibilitychange", this.#awake);
    for (const event of ["online", "offline", "pageshow"]) globalThis.addEventListener(event, this.#awake);
    globalThis.addEventListener("pagehide", this.#rest);
  }

  disconnectedCallback() {
    this.#rest();
    this.#call?.hangUp();
    document.removeEventListener("visibilitychange", this.#awake);
    for (const event of ["online", "offline", "pageshow"]) globalThis.removeEventListener(event, this.#awake);
    globalThis.removeEventListener("pagehide", this.#rest);
  }

  attributeChangedCallback(name, before, now) {
    if (!this.#ui || before === now) return;
    if (name === "data-tenant-name") this.#paint();
    else this.#starting = this.#start();
  }

  // ---- what a page may call

  /** Signs the customer in with a token or a function that returns one (asked before every request); null signs out. */
  identify(token) {
    const asked = this.#thread.items.findLast((item) => item.who === "customer")?.text;
    const before = this.#identity;
    this.#identity = token || null;
    this.#tokenRefused = false;
    this.#starting = this.#start().then(() => {
      // A question that had to wait for the sign-in is one tap away in the customer's own conversation.
      if (token && !before && asked && !this.#thread.items.length) this.suggestions = [asked];
    });
    return this.#starting;
  }

  open() {
    this.#show(true);
    this.#ui.field.focus();
  }

  close() {
    if (this.#paged) return;
    this.#show(false);
    this.#ui.launcher.focus();
  }

  /** Leaves this conversation behind and begins with an empty one. */
  reset() {
    this.#memory.set({ conversation: null, seq: 0, outbox: [] });
    this.#clear();
  }

  /** Says something as the customer. */
  ask(text) {
    const words = text.trim();
    if (!words) return;
    const item = this.#thread.say(words);
    this.#paint({ follow: true });
    this.#deliver(item);
  }

  /** Questions to begin with, shown while the conversation is empty. */
  set suggestions(questions) {
    this.#suggestions = [...questions];
    if (this.#ui) this.#welcome();
  }

  // ---- beginning

  get #paged() {
    return this.dataset.mode === "page";
  }

  get #name() {
    return this.dataset.tenantName || this.#about?.name || "";
  }

  get #server() {
    return (this.dataset.server || (script?.src ? new URL(script.src).origin : location.origin)).replace(/\/+$/, "");
  }

  async #start() {
    const key = this.dataset.key ?? "";
    const server = this.#server;
    const identity = this.#identity ?? this.dataset.token ?? null;
    this.#desk = new Desk(server, key);
    this.#desk.identity = this.#tokenRefused ? null : identity;
    const desk = this.#desk;
    const token = await desk.token().catch(() => null);
    if (desk !== this.#desk) return; // another key or customer came meanwhile
    this.#memory = new Memory(key, token && subjectOf(token));
    const { conversation = null, open, draft = "", outbox = [] } = this.#memory.all;
    this.#clear();
    this.#conversation = conversation;
    this.#ui.field.value = draft;
    this.#show(this.#paged || this.#shown || Boolean(open ?? this.hasAttribute("data-open")));
    if (!key) return this.#banner(WORDS.badKey);
    this.#learn();
    if (conversation) this.#listen();
    for (const { key: retryKey, text, at } of outbox) {
      if (Date.now() - at > 600_000) continue;
      this.#deliver(Object.assign(this.#thread.say(text), { key: retryKey, at }));
    }
    this.#paint({ follow: true });
  }

  #clear() {
    this.#rest();
    this.#call?.hangUp();
    this.#conversation = null;
    this.#opening = null;
    this.#thread = new Thread();
    this.#nodes.clear();
    this.#ui.log.replaceChildren();
    this.#banner("");
    this.#paint();
  }

  /** Asks the desk whom this chat belongs to; the chat works without the answer. */
  async #learn() {
    const desk = this.#desk;
    try {
      const about = await desk.call("GET", "/api/me");
      if (desk !== this.#desk) return;
      this.#about = about;
    } catch (problem) {
      if (desk !== this.#desk || !(problem instanceof Problem)) return;
      if (this.#refusedToken(problem)) return;
      if (problem.status === 401 || problem.status === 403) this.#banner(problem.words);
    }
    this.#nodes.forEach((node, item) => item.contact && this.#fillNote(node, item));
    this.#paint();
  }

  /** A token that no longer verifies: the chat goes on as a guest's and the page is told. */
  #refusedToken(problem) {
    if (problem.code !== "invalid_customer_token" || this.#tokenRefused) return false;
    this.#tokenRefused = true;
    this.dispatchEvent(new CustomEvent("frontdesk:token-refused", { bubbles: true, composed: true }));
    this.#starting = this.#start().then(() => this.#banner(WORDS.badToken));
    return true;
  }

  // ---- sending

  #deliver(item) {
    this.#keepOutbox();
    this.#deliveries = this.#deliveries.then(() => this.#send(item)).catch((why) => this.#fail(item, why));
  }

  async #send(item) {
    const thread = this.#thread;
    item.status = "sending";
    this.#paint();
    for (let attempt = 1; thread === this.#thread || item.moved; attempt++) {
      try {
        if (thread.owner === "closed" && !item.moved) this.#moveOn(item);
        const conversation = await this.#opened();
        const path = `/api/conversations/${encodeURIComponent(conversation)}/messages`;
        const kept = await this.#desk.call("POST", path, { text: item.text }, { "Idempotency-Key": item.key });
        this.#thread.accepted(item, kept.turn_id);
        this.#keepOutbox();
        this.#banner("");
        return this.#paint();
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        if (this.#refusedToken(problem)) return;
        if ((problem.status === 404 || problem.status === 409) && !item.moved) this.#moveOn(item);
        else if (!problem.passing || attempt >= FrontdeskChat.TRIES) return this.#fail(item, problem);
        else await pause(Math.min(8000, Math.max(problem.after * 1000, 400 * 3 ** (attempt - 1))));
      }
    }
  }

  #fail(item, problem) {
    item.status = "failed";
    item.problem = problem instanceof Problem ? problem.words : WORDS.down;
    item.final = problem instanceof Problem && !problem.passing;
    if (item.final && !this.#ui.field.value) this.#ui.field.value = item.text;
    this.#keepOutbox();
    this.#paint();
  }

  /** The conversation is gone or closed: the message opens a new one. */
  #moveOn(item) {
    this.reset();
    item.moved = true;
    item.turn = undefined;
    this.#thread.note(WORDS.movedOn);
    this.#thread.items.push(item);
  }

  /** The conversation's id, opening one when there is none. Raises Problem. */
  #opened() {
    if (this.#conversation) return Promise.resolve(this.#conversation);
    this.#opening ??= this.#desk.call("POST", "/api/conversations").then(
      ({ conversation_id: conversation }) => {
        this.#conversation = conversation;
        this.#memory.set({ conversation, seq: 0 });
        this.#listen();
        return conversation;
      },
      (problem) => {
        this.#opening = null;
        throw problem;
      },
    );
    return this.#opening;
  }

  /** What is not yet with the desk survives a reload, with its retry key. */
  #keepOutbox() {
    const waiting = this.#thread.items.filter((item) => item.who === "customer" && !item.final && (item.status === "sending" || item.status === "failed"));
    this.#memory.set({ outbox: waiting.map(({ key, text, at }) => ({ key, text, at })) });
  }

  async #askForPerson() {
    if (this.#thread.owner !== "desk") return;
    this.#ui.human.setAttribute("aria-disabled", "true");
    try {
      await this.#deliveries;
      const conversation = await this.#opened();
      await this.#desk.call("POST", `/api/conversations/${encodeURIComponent(conversation)}/handoff`);
      this.#banner("");
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#paint();
      this.#banner(problem.words, () => this.#askForPerson());
    }
  }

  // ---- speaking

  /** How one can speak here: with the desk's own ears and voice, with the browser's (`data-voice="browser"`), or not at all. */
  get #voice() {
    if (this.dataset.voice === "off") return "";
    if (this.dataset.voice === "browser") return BrowserSpeech.Recognition ? "browser" : "";
    return this.#about?.voice && navigator.mediaDevices && globalThis.AudioWorkletNode ? "call" : "";
  }

  async #speak() {
    if (this.#call) return this.#call.hangUp();
    const language = this.#about?.languages?.[0] ?? document.documentElement.lang;
    if (this.#voice === "browser") {
      this.#call = new BrowserSpeech((message) => this.#heard(message));
      this.#call.begin(language, (text) => {
        this.#aloud = { speech: new BrowserSpeech(() => {}), language };
        this.ask(text);
      });
      return;
    }
    const call = new Call((message) => this.#call === call && this.#heard(message));
    this.#call = call;
    this.#calls(WORDS.calling);
    const token = await this.#desk.token().catch(() => null);
    await call.begin(this.#server, { key: this.dataset.key, token, conversation: this.#conversation });
  }

  /** What a call tells: its state for the strip; what was said comes with the conversation's events. */
  #heard(message) {
    if (message.type === "over") {
      this.#call = null;
      this.#calls("");
      if (message.words) this.#banner(message.words);
    } else if (message.type === "conversation" && !this.#conversation) {
      this.#conversation = message.conversation_id;
      this.#memory.set({ conversation: message.conversation_id, seq: 0 });
      this.#listen();
    } else if (message.type === "problem") {
      this.#banner(message.message);
    } else if (message.type === "heard") {
      this.#calls(WORDS.heardAs(message.text));
    } else {
      const words = WORDS.onCall[message.type === "ready" || message.type === "stop" ? "listening" : message.type];
      if (words) this.#calls(words);
    }
  }

  #calls(words) {
    const { call, callState, speak } = this.#ui;
    call.hidden = !words;
    if (callState.textContent !== words) callState.textContent = words;
    if (words) this.#banner("");
    speak.setAttribute("aria-pressed", String(Boolean(words)));
    for (const name of ["aria-label", "title"]) speak.setAttribute(name, words ? WORDS.hangUp : WORDS.call);
  }

  // ---- listening

  #awake = () => {
    if (navigator.onLine === false) this.#banner(WORDS.offline);
    else if (this.#ui.banner.textContent === WORDS.offline) this.#banner("");
    clearTimeout(this.#resting);
    if (document.hidden) return void (this.#resting = setTimeout(this.#rest, FrontdeskChat.AWAY_MS));
    this.#seen();
    if (this.#conversation && !this.#listening) this.#listen();
    this.#hurry?.();
    if (navigator.onLine !== false) for (const item of this.#thread.items) if (item.status === "failed" && !item.final) this.#deliver(item);
  };
  #hurry = null;
  #resting = 0;

  /** Lets the stream go. A browser opens six connections to a desk, and pages that nobody looks at must not hold them all. */
  #rest = () => {
    clearTimeout(this.#resting);
    this.#listening?.abort();
    this.#listening = null;
  };

  /** Follows the conversation for as long as it is this element's, through lost connections and sleeping tabs. */
  async #listen() {
    this.#listening?.abort();
    const stop = new AbortController();
    this.#listening = stop;
    const [conversation, desk, thread] = [this.#conversation, this.#desk, this.#thread];
    const old = this.#memory.all.seq ?? 0;
    this.#ui.log.setAttribute("aria-live", old ? "off" : "polite"); // what was read before the reload is not read out again
    let wait = 500;
    while (!stop.signal.aborted) {
      let trouble = null;
      try {
        await desk.follow(conversation, thread.seq, stop.signal, {
          opened: () => {
            wait = 500;
            if (this.#ui.banner.textContent === WORDS.reconnecting) this.#banner("");
            setTimeout(() => this.#ui.log.setAttribute("aria-live", "polite"), 1000);
          },
          seen: (event) => !stop.signal.aborted && this.#take(thread, event, old),
        });
      } catch (problem) {
        trouble = problem;
      }
      if (stop.signal.aborted) return;
      if (trouble instanceof Problem && !trouble.passing) return this.#lost(trouble);
      if (trouble || wait > 500) this.#banner(navigator.onLine === false ? WORDS.offline : WORDS.reconnecting);
      await Promise.race([pause(wait * (0.75 + Math.random() / 2)), new Promise((resolve) => (this.#hurry = resolve))]);
      wait = Math.min(wait * 2, 15_000);
    }
  }

  #take(thread, event, old) {
    const changed = thread.apply(event);
    if (thread.seq > (this.#memory.all.seq ?? 0)) this.#memory.set({ seq: thread.seq });
    if (!changed) return;
    const speaks = event.kind === "reply_sent" || event.kind === "agent_replied";
    if (speaks && event.seq > old && (!this.#shown || document.hidden)) this.#unread++;
    if (speaks && event.seq > old && this.#aloud) this.#aloud.speech.say(event.text, this.#aloud.language);
    if (speaks) this.dispatchEvent(new CustomEvent("frontdesk:reply", { bubbles: true, composed: true }));
    this.#paintOnce();
  }

  /** Events that arrive together are painted together: a long conversation comes back in one go. */
  #paintOnce() {
    if (this.#painting) return;
    this.#painting = true;
    queueMicrotask(() => {
      this.#painting = false;
      this.#paint();
    });
  }

  /** The conversation cannot be followed any more: somebody else's, erased, or the key is gone. */
  #lost(problem) {
    if (this.#refusedToken(problem)) return;
    if (problem.status === 404) this.reset();
    else this.#banner(problem.words);
  }

  // ---- the customer's own data

  async #showKnown() {
    const sheet = this.#sheet(WORDS.knowMe);
    if (!(await this.#desk.token())) return sheet.append(make("p", {}, WORDS.knowGuest), this.#leave());
    try {
      const all = await this.#desk.call("GET", "/api/me/export");
      const count = all.conversations.length;
      sheet.append(make("p", {}, count ? WORDS.knowSome(count) : WORDS.knowNothing));
      for (const kept of all.conversations.slice(0, 50)) sheet.append(this.#keptConversation(kept));
      const save = make("button", { class: "pill main", type: "button", onclick: () => download("my-data.json", all) }, WORDS.download);
      sheet.append(make("div", { class: "row" }, save, this.#leave(WORDS.done)));
    } catch (problem) {
      sheet.append(make("p", { role: "alert" }, problem.words ?? WORDS.down), this.#leave());
    }
  }

  /** One conversation that is kept: what was said, each message of one's own with a way to put it right, and a way to erase it all. */
  #keptConversation({ conversation_id: id, opened_at: opened, events }) {
    const path = `/api/me/conversations/${encodeURIComponent(id)}`;
    const corrected = new Map(events.filter(({ kind }) => kind === "message_corrected").map(({ turn, text }) => [turn, text]));
    const said = events.filter(({ kind }) => ["message_received", "reply_sent", "agent_replied"].includes(kind));
    const who = { message_received: WORDS.youSaid, reply_sent: WORDS.deskSaid };
    const problems = make("p", { role: "alert" });
    const lines = said.map((event) => {
      const own = event.kind === "message_received";
      const words = make("span", {}, (own && corrected.get(event.turn_id)) || event.text);
      const line = make("li", {}, make("b", {}, `${who[event.kind] ?? WORDS.agentSaid(event.agent)} `), words);
      if (own) line.append(" ", this.#correction(path, event.turn_id, words, problems));
      return line;
    });
    const erase = make("button", { class: "pill danger", type: "button" }, WORDS.eraseOne);
    const box = make("details", { class: "kept" }, make("summary", {}, new Date(opened).toLocaleString()), make("ul", {}, ...lines), erase, problems);
    erase.addEventListener("click", async () => {
      if (erase.textContent !== WORDS.eraseOneSure) return (erase.textContent = WORDS.eraseOneSure);
      erase.disabled = true;
      try {
        await this.#desk.call("DELETE", path);
        box.replaceWith(make("p", { role: "status" }, WORDS.erased(1)));
        if (id === this.#conversation) this.reset();
      } catch (problem) {
        erase.disabled = false;
        problems.textContent = problem.words ?? WORDS.down;
      }
    });
    return box;
  }

  /** A button that turns one's own words into a field, and keeps what it then says. */
  #correction(path, turn, words, problems) {
    const button = make("button", { class: "pill", type: "button" }, WORDS.correct);
    const field = make("input", { type: "text", "aria-label": WORDS.correct });
    button.addEventListener("click", async () => {
      if (!field.isConnected) {
        field.value = words.textContent;
        words.replaceWith(field);
        button.textContent = WORDS.keep;
        return field.focus();
      }
      try {
        if (field.value.trim()) {
          await this.#desk.call("POST", `${path}/corrections`, { turn_id: turn, text: field.value });
          words.textContent = field.value;
        }
        field.replaceWith(words);
        button.textContent = WORDS.correct;
      } catch (problem) {
        problems.textContent = problem.words ?? WORDS.down;
      }
    });
    return button;
  }

  /** Two taps at most, each kept at once: the second may be left out. */
  #askHowItWent() {
    const path = `/api/conversations/${encodeURIComponent(this.#conversation)}/rating`;
    const sheet = this.#sheet(WORDS.rate);
    const thanks = make("p", { role: "status" });
    const row = (label, choices) => {
      const pills = choices.map(([words, body, name]) => {
        const pill = make("button", { class: "pill", type: "button", "aria-pressed": "false", "aria-label": name ?? words }, words);
        pill.addEventListener("click", async () => {
          try {
            await this.#desk.call("POST", path, body);
            for (const other of pills) other.setAttribute("aria-pressed", String(other === pill));
            thanks.textContent = WORDS.rated;
          } catch (problem) {
            thanks.textContent = problem.words ?? WORDS.down;
          }
        });
        return pill;
      });
      return [make("p", {}, label), make("div", { class: "row", role: "group", "aria-label": label }, ...pills)];
    };
    const points = [1, 2, 3, 4, 5].map((n) => [String(n), { score: n }, WORDS.points(n)]);
    sheet.append(...row(WORDS.solved, [[WORDS.yes, { solved: true }], [WORDS.no, { solved: false }]]), ...row(WORDS.howWas, points), thanks, this.#leave());
  }

  #offerErase() {
    const sheet = this.#sheet(WORDS.eraseMe);
    const yes = make("button", { class: "pill danger", type: "button" }, WORDS.eraseYes);
    yes.addEventListener("click", async () => {
      yes.disabled = true;
      try {
        const { conversations } = await this.#desk.call("DELETE", "/api/me");
        this.reset();
        this.#sheet(WORDS.eraseMe).append(make("p", { role: "status" }, WORDS.erased(conversations)), this.#leave(WORDS.done));
      } catch (problem) {
        yes.disabled = false;
        sheet.append(make("p", { role: "alert" }, problem.words ?? WORDS.down));
      }
    });
    sheet.append(make("p", {}, WORDS.eraseSure), make("div", { class: "row" }, yes, this.#leave(WORDS.cancel)));
  }

  #sheet(title) {
    const heading = make("h2", { tabindex: "-1" }, title);
    this.#ui.sheet.replaceChildren(heading);
    this.#ui.sheet.hidden = false;
    heading.focus();
    return this.#ui.sheet;
  }

  #leave(label = WORDS.done) {
    return make("button", { class: "pill", type: "button", onclick: () => this.#closeSheet() }, label);
  }

  #closeSheet() {
    this.#ui.sheet.hidden = true;
    this.#ui.field.focus();
  }

  // ---- what is seen

  get #shown() {
    return !this.#ui.panel.hidden;
  }

  #show(open) {
    const ui = this.#ui;
    ui.panel.hidden = !open;
    ui.launcher.hidden = open || this.#paged;
    ui.launcher.setAttribute("aria-expanded", String(open));
    if (!this.#paged) this.#memory?.set({ open });
    if (open) {
      this.#seen();
      this.#toEnd();
    }
    this.dispatchEvent(new CustomEvent(open ? "frontdesk:open" : "frontdesk:close", { bubbles: true, composed: true }));
  }

  #seen() {
    if (this.#shown) this.#unread = 0;
    this.#badge();
  }

  #badge() {
    const { launcher, unread } = this.#ui;
    unread.textContent = String(this.#unread);
    unread.hidden = !this.#unread;
    launcher.setAttribute("aria-label", this.#unread ? WORDS.openUnread(this.#unread) : WORDS.open);
  }

  #build() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [STYLE];
    if (this.dataset.accent && CSS.supports("color", this.dataset.accent)) {
      for (const name of ["--frontdesk-accent", "--frontdesk-accent-dark"]) this.style.setProperty(name, this.dataset.accent);
      this.style.setProperty("--frontdesk-on-accent-dark", "#fff");
    }
    const button = (name, label, onclick, more = {}) => make("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...more }, icon(name));
    const ui = {
      unread: make("span", { class: "unread", "aria-hidden": "true", hidden: true }),
      name: make("b"),
      state: make("span", { class: "state" }),
      humanLabel: make("span"),
      menu: make("div", { class: "menu", id: "menu", hidden: true }),
      sheet: make("div", { class: "sheet", role: "region", hidden: true }),
      welcome: make("div", { class: "welcome" }),
      log: make("div", { class: "log", role: "log", "aria-live": "polite", "aria-label": WORDS.log }),
      typingLabel: make("span"),
      call: make("div", { class: "call", role: "status", hidden: true }),
      callState: make("span"),
      banner: make("div", { class: "banner", role: "status", hidden: true }),
      field: make("textarea", { id: "field", rows: "1", dir: "auto", autocomplete: "off", enterkeyhint: "send" }),
      fine: make("p", { class: "fine" }),
      send: make("button", { class: "send", type: "submit", "aria-label": WORDS.send, title: WORDS.send, disabled: true }, icon("send")),
    };
    this.#ui = ui;
    ui.launcher = make("button", { type: "button", class: "launcher", "aria-haspopup": "dialog", "aria-expanded": "false", hidden: true, onclick: () => this.open() }, icon("chat"), ui.unread);
    ui.human = make("button", { type: "button", class: "human", onclick: () => this.#askForPerson() }, icon("person"), ui.humanLabel);
    ui.more = button("more", WORDS.more, () => this.#toggleMenu(), { "aria-expanded": "false", "aria-controls": "menu" });
    ui.close = button("close", WORDS.close, () => this.close(), { hidden: this.#paged });
    ui.typing = make("div", { class: "typing", hidden: true }, make("span", { class: "dots", "aria-hidden": "true" }, make("i"), make("i"), make("i")), ui.typingLabel);
    ui.scroll = make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": WORDS.log }, ui.welcome, ui.log, ui.typing);
    ui.newest = make("button", { type: "button", class: "newest", hidden: true, onclick: () => this.#toEnd() }, icon("down"), WORDS.newest);
    ui.call.append(ui.callState);
    ui.speak = button("call", WORDS.call, () => this.#speak(), { class: "icon speak", hidden: true, "aria-pressed": "false" });
    ui.form = make("form", { novalidate: true }, make("label", { for: "field", class: "sr" }, WORDS.field), ui.field, ui.speak, ui.send);
    ui.panel = make(
      "section",
      { class: "panel", role: this.#paged ? "region" : "dialog", hidden: true },
      make("header", {}, make("div", { class: "who" }, ui.name, ui.state), ui.human, ui.more, ui.close),
      ui.menu,
      ui.sheet,
      ui.scroll,
      ui.newest,
      make("div", { class: "foot" }, ui.call, ui.banner, ui.form, ui.fine),
    );
    this.#wire(ui);
    root.replaceChildren(ui.launcher, ui.panel);
  }

  #wire(ui) {
    ui.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    ui.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    ui.field.addEventListener("input", () => {
      this.#memory?.set({ draft: ui.field.value });
      this.#composer();
    });
    ui.scroll.addEventListener("scroll", () => this.#atEnd && (ui.newest.hidden = true), { passive: true });
    ui.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      if (!ui.menu.hidden) this.#toggleMenu(false);
      else if (!ui.sheet.hidden) this.#closeSheet();
      else this.close();
    });
    ui.panel.addEventListener("click", (event) => {
      if (!ui.menu.hidden && !event.composedPath().some((at) => at === ui.menu || at === ui.more)) this.#toggleMenu(false, false);
    });
    ui.panel.addEventListener("focusout", (event) => {
      if (!ui.menu.hidden && event.relatedTarget && !ui.menu.contains(event.relatedTarget) && event.relatedTarget !== ui.more) this.#toggleMenu(false, false);
    });
  }

  #submit() {
    const text = this.#ui.field.value;
    if (!text.trim()) return;
    this.#ui.field.value = "";
    this.#memory.set({ draft: "" });
    this.ask(text);
    this.#ui.field.focus();
  }

  async #toggleMenu(open = this.#ui.menu.hidden, refocus = true) {
    const { menu, more } = this.#ui;
    if (open) {
      const signedIn = Boolean(await this.#desk.token().catch(() => null));
      const entry = (label, act) =>
        make("button", { type: "button", onclick: () => (this.#toggleMenu(false, false), act()) }, label);
      const signIn = !signedIn && safeHref(this.#about?.sign_in_url ?? "");
      menu.replaceChildren(
        ...(signedIn ? [make("span", { class: "signed" }, WORDS.signedIn)] : []),
        entry(WORDS.newConversation, () => (this.reset(), this.#ui.field.focus())),
        ...(this.#conversation ? [entry(WORDS.rate, () => this.#askHowItWent())] : []),
        entry(WORDS.knowMe, () => this.#showKnown()),
        ...(signedIn ? [entry(WORDS.eraseMe, () => this.#offerErase())] : []),
        ...(signIn ? [make("a", { href: signIn, rel: "noopener" }, WORDS.signIn)] : []),
      );
    }
    menu.hidden = !open;
    more.setAttribute("aria-expanded", String(open));
    if (open) menu.querySelector("button").focus();
    else if (refocus) more.focus();
  }

  #banner(text, again) {
    const { banner } = this.#ui;
    banner.replaceChildren(text, ...(again ? [" ", make("button", { type: "button", class: "again", onclick: again }, WORDS.retry)] : []));
    banner.hidden = !text;
  }

  /** Brings what is seen in step with the thread. */
  #paint({ follow = false } = {}) {
    const { log } = this.#ui;
    const wasAtEnd = this.#atEnd || follow;
    this.#frame();
    this.#welcome();
    const count = log.childElementCount;
    this.#thread.items.forEach((item, place) => {
      const node = this.#node(item);
      if (log.children[place] !== node) log.insertBefore(node, log.children[place] ?? null);
    });
    while (log.childElementCount > this.#thread.items.length) log.lastElementChild.remove();
    this.#choices();
    this.#typing();
    this.#composer();
    this.#badge();
    if (wasAtEnd) this.#toEnd();
    else if (log.childElementCount > count) this.#ui.newest.hidden = false;
  }

  #frame() {
    const ui = this.#ui;
    const { owner, agent } = this.#thread;
    ui.panel.dataset.owner = owner;
    ui.panel.setAttribute("aria-label", WORDS.title(this.#name));
    ui.name.textContent = this.#name || WORDS.support;
    ui.state.textContent = { desk: WORDS.assistant, queue: WORDS.waitingState, agent: WORDS.humanState(agent), closed: WORDS.closedState }[owner];
    ui.humanLabel.textContent = { queue: WORDS.humanAsked, agent: WORDS.humanHere }[owner] ?? WORDS.human;
    if (owner === "queue" || owner === "agent") ui.human.setAttribute("aria-disabled", "true");
    else ui.human.removeAttribute("aria-disabled");
    ui.fine.textContent = owner === "queue" || owner === "agent" ? WORDS.fineHuman : WORDS.fine;
    ui.field.placeholder = { desk: WORDS.placeholder, closed: WORDS.placeholderClosed }[owner] ?? WORDS.placeholderHuman;
  }

  #welcome() {
    const { welcome } = this.#ui;
    welcome.hidden = this.#thread.items.length > 0 || Boolean(this.#conversation && !this.#thread.seq && this.#memory?.all.seq);
    const look = JSON.stringify([this.#name, this.#suggestions]);
    if (welcome.dataset.look === look) return; // a focused suggestion stays focused
    welcome.dataset.look = look;
    const asks = this.#suggestions.map((text) => make("button", { type: "button", class: "ask", dir: "auto", onclick: () => this.ask(text) }, text));
    welcome.replaceChildren(
      make("h2", {}, WORDS.welcome(this.#name)),
      make("p", {}, WORDS.welcomeMore),
      ...(asks.length ? [make("div", { class: "asks" }, make("span", {}, WORDS.tryAsking), ...asks)] : []),
    );
  }

  #node(item) {
    let node = this.#nodes.get(item);
    if (!node) {
      node = make("div", { class: `item ${item.who}` });
      this.#nodes.set(item, node);
    }
    const look = JSON.stringify([item.text, item.status, item.done, item.problem, item.citations?.length, item.live, item.again]);
    if (node.look === look) return node;
    node.look = look;
    ({ customer: this.#fillCustomer, desk: this.#fillDesk, agent: this.#fillAgent, note: this.#fillNote })[item.who].call(this, node, item);
    return node;
  }

  #fillCustomer(node, item) {
    node.dataset.status = item.status;
    const text = make("div", { class: "text", dir: "auto" }, hidden(WORDS.youSaid), asWritten(item.text));
    node.replaceChildren(text);
    if (item.status !== "failed") return;
    const again = item.final ? [] : [make("button", { type: "button", class: "again", onclick: () => this.#deliver(item) }, WORDS.retry)];
    node.append(make("div", { class: "trouble", role: "alert" }, `${WORDS.notSent} ${item.problem}`, ...again));
  }

  #fillDesk(node, item) {
    node.setAttribute("aria-busy", String(!item.done));
    const text = make("div", { class: "text", dir: "auto" }, hidden(WORDS.deskSaid), renderText(item.text));
    node.replaceChildren(text);
    const meta = [];
    if (item.live) meta.push(make("span", { class: "live", title: WORDS.liveHelp }, `${WORDS.live} · ${clock(item.at)}`));
    if (item.done) meta.push(...(item.citations ?? []).map(source));
    if (meta.length) node.append(make("div", { class: "meta", role: "group", "aria-label": WORDS.sources }, ...meta));
  }

  #fillAgent(node, item) {
    const name = make("div", { class: "name", "aria-hidden": "true" }, make("span", { dir: "auto" }, item.name), make("i", {}, WORDS.person));
    node.replaceChildren(name, make("div", { class: "text", dir: "auto" }, hidden(WORDS.agentSaid(item.name)), renderText(item.text)));
  }

  #fillNote(node, item) {
    node.classList.toggle("problem", item.tone === "problem");
    node.classList.toggle("tall", Boolean(item.contact));
    node.replaceChildren(item.text);
    const more = item.contact && (this.#reach() || item.promised);
    if (more) node.append(" ", ...renderText(more).firstElementChild?.childNodes ?? []);
    if (item.again) node.append(" ", make("button", { type: "button", class: "again", onclick: () => this.#askAgain(item) }, WORDS.askAgain));
    if (item.rate) node.append(" ", make("button", { type: "button", class: "again", onclick: () => this.#askHowItWent() }, WORDS.rate));
  }

  #askAgain(note) {
    const text = note.again;
    note.again = "";
    this.ask(text);
  }

  /** How else the customer reaches a person, as the tenant's folder says. */
  #reach() {
    const { email, phone, hours } = this.#about?.handoff ?? {};
    const ways = [phone && WORDS.byPhone(phone, hours), email && WORDS.byMail(email)].filter(Boolean);
    return ways.length ? WORDS.reach(ways.join(WORDS.or)) : "";
  }

  #choices() {
    const { log } = this.#ui;
    const shown = log.querySelector(".choices");
    const last = this.#thread.items.at(-1);
    const choices = last?.who === "desk" ? this.#thread.choices : [];
    const place = choices.length ? this.#nodes.get(last) : null;
    const look = JSON.stringify(choices);
    if (shown?.parentElement === place && shown?.dataset.look === look) return; // a focused pill stays focused, a click half done is done
    shown?.remove();
    if (!place) return;
    const pills = choices.map((text) => make("button", { type: "button", class: "pill", onclick: () => this.ask(text) }, text));
    place.append(make("div", { class: "choices", "data-look": look }, ...pills));
  }

  /** Shown from the moment of sending until the reply stands; says so when that takes long. */
  #typing() {
    const { typing, typingLabel } = this.#ui;
    const sending = this.#thread.owner === "desk" && this.#thread.items.some((item) => item.status === "sending");
    const turns = this.#thread.waiting.filter((turn) => Date.now() - turn.since < FrontdeskChat.LOST_MS);
    const longest = Math.max(0, ...turns.map((turn) => Date.now() - turn.since));
    const speaking = turns.at(-1)?.item;
    typing.hidden = !(sending || turns.length) || Boolean(speaking);
    const label = longest > FrontdeskChat.SLOW_MS ? WORDS.stillThinking : WORDS.thinking;
    if (typingLabel.textContent !== label) typingLabel.textContent = label;
    clearTimeout(this.#ticking);
    for (const turn of this.#thread.waiting) if (Date.now() - turn.since >= FrontdeskChat.LOST_MS) this.#giveUp(turn);
    if (turns.length) this.#ticking = setTimeout(() => this.#paint(), 1000);
  }

  /** No reply within a minute: the question can be put again under the same retry key, so that it is never answered twice. */
  #giveUp(turn) {
    turn.open = false;
    const asked = this.#thread.items.find((item) => item.who === "customer" && item.turn === turn.id);
    if (!asked || turn.item) return;
    asked.key ??= randomKey();
    Object.assign(asked, { status: "failed", problem: WORDS.noAnswer, turn: undefined });
    this.#paintOnce();
  }

  #composer() {
    const { field, send } = this.#ui;
    send.disabled = !field.value.trim();
    this.#ui.speak.hidden = !this.#voice;
    field.removeAttribute("aria-invalid");
    const limit = this.#about?.max_message_chars;
    if (limit && [...field.value].length > limit) {
      send.disabled = true;
      field.setAttribute("aria-invalid", "true");
    }
    if (CSS.supports("field-sizing", "content")) return;
    field.style.blockSize = "auto";
    field.style.blockSize = `${Math.min(field.scrollHeight, 132)}px`;
  }

  get #atEnd() {
    const { scroll } = this.#ui;
    return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  }

  #toEnd() {
    const { scroll, newest } = this.#ui;
    scroll.scrollTop = scroll.scrollHeight;
    newest.hidden = true;
  }
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const hidden = (text) => make("span", { class: "sr", dir: "auto" }, `${text} `);

/** The customer's own words keep their lines and mean nothing else. */
function asWritten(text) {
  const out = document.createDocumentFragment();
  text.split("\n").forEach((line, place) => out.append(...(place ? [make("br")] : []), line));
  return out;
}

function source({ source: place, title, quote }) {
  const from = place === "faq" ? WORDS.fromFaq : WORDS.from(place);
  return make(
    "details",
    { class: "source" },
    make("summary", {}, make("span", { dir: "auto" }, title || place)),
    make("blockquote", { dir: "auto" }, quote),
    make("cite", { dir: "auto" }, from),
  );
}

function download(name, data) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// ---------------------------------------------------------------- beginning

customElements.define(TAG, FrontdeskChat);

const all = () => [...document.querySelectorAll(TAG)];

/** What a page talks to. Calls made before the chat is in the page are kept and done then. */
globalThis.frontdesk = Object.freeze({
  open: () => ready.then(() => all().forEach((chat) => chat.open())),
  close: () => ready.then(() => all().forEach((chat) => chat.close())),
  identify: (token) => ready.then(() => Promise.all(all().map((chat) => chat.identify(token)))),
  ask: (text) => ready.then(() => all()[0]?.ask(text)),
  reset: () => ready.then(() => all().forEach((chat) => chat.reset())),
  translate: (words) => void Object.assign(WORDS, words),
});

const ready = new Promise((resolve) => {
  const begin = () => {
    if (script?.dataset.key) {
      const chat = document.createElement(TAG);
      Object.assign(chat.dataset, script.dataset);
      document.body.append(chat);
    }
    resolve();
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin, { once: true });
});
})();

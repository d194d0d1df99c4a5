/**
 * Prices as they are pushed: a client of `GET /stream` on this origin, where there is one.
 *
 * Invariant: of the events that are covered every change up to the cursor has been told; what breaks that (a cut,
 * silence, words that can't be read) ends the connection, and nothing is covered until the next has caught up.
 */

import { session } from "./api.js";
import { noteNow } from "./clock.js";

const HEARTBEAT_MS = 2_000;
const SILENT_MAX_MS = 5_000; // some heartbeats; as long may a connection take to be made
const QUICK_TRIES_MAX = 6; // after a cut, before the stream counts as away
const QUICK_WAIT_MS = 500;
const QUICK_WAIT_MAX_MS = 8_000;
const RARE_WAIT_MS = 30_000;
const RARE_WAIT_MAX_MS = 300_000;
const HIDDEN_MAX_MS = 60_000; // for which a page that nobody sees stays connected
export const FOLLOWED_MAX = 100; // events of one subscription; of more the first

export class Stream {
  #hear;
  #bets;
  #running = false;
  #socket = null;
  #heard = false; // whether this connection has said anything
  #worked = false; // whether any connection has been live
  #failures = 0; // since one was
  #wanted = [];
  #asked = null; // the newest subscription: {id, events}
  #before = null; // the id of the one in force until the newest has its image
  #subscriptions = 0;
  #known = null; // of what all has been told: {epoch, cursor, events}
  #covered = new Set();
  #retry = null;
  #watchdog = null;
  #hiding = null;
  #mode = null; // as last told

  /**
   * `hear.markets(markets)` is called with what is pushed, `hear.stands(eventIds, since)` with the events of which
   * all is known as of now, or of `since` where the platform itself hears nothing, `hear.bet(bet)` with a bet of
   * the player's, `hear.conflated()` where changes were left out, this connection not taking them all,
   * `hear.refused(code)`, and `hear.mode(mode)` when that changes.
   */
  constructor(hear, { bets = false } = {}) {
    this.#hear = hear;
    this.#bets = bets;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    window.addEventListener("online", () => this.#connect());
  }

  /** "connecting", "live"; "reconnecting" after a cut; "polling" while there is no stream to be had. */
  get mode() {
    if (this.#covered.size > 0 || (this.#heard && this.#wanted.length === 0)) return "live";
    if (!this.#worked) return this.#failures === 0 ? "connecting" : "polling";
    return this.#failures <= QUICK_TRIES_MAX ? "reconnecting" : "polling";
  }

  /** Tell whether all changes of an event are pushed just now. */
  covers(eventId) {
    return this.#covered.has(eventId);
  }

  start() {
    this.#running = true;
    this.#tellMode();
    this.#connect();
  }

  /** End the connection and forget what it was about, as when another player signs in. */
  stop() {
    this.#running = false;
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#end();
    this.#wanted = [];
    this.#known = null;
    this.#mode = null;
    this.#worked = false;
    this.#failures = 0;
  }

  /** Follow these events and no others. */
  follow(eventIds) {
    const wanted = [...new Set(eventIds)].sort().slice(0, FOLLOWED_MAX);
    if (wanted.join() === this.#wanted.join()) return;
    this.#wanted = wanted;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#subscribe();
  }

  #connect() {
    if (!this.#running || this.#socket !== null || document.hidden) return;
    clearTimeout(this.#retry);
    this.#retry = null;
    const socket = new WebSocket(new URL("/stream", location.href.replace(/^http/, "ws")));
    const ifCurrent = (does) => (event) => {
      if (socket === this.#socket) does(event);
    };
    socket.addEventListener("open", ifCurrent(() => this.#opened()));
    socket.addEventListener("message", ifCurrent((event) => this.#take(event.data)));
    socket.addEventListener("close", ifCurrent(() => this.#cut()));
    this.#socket = socket;
    this.#watch();
  }

  #opened() {
    this.#watch();
    const heartbeat_ms = HEARTBEAT_MS;
    const token = session.read()?.token;
    if (this.#bets) this.#send({ op: "subscribe", id: "bets", bets: true, token, heartbeat_ms });
    this.#subscribe();
  }

  #subscribe() {
    if (this.#asked !== null) this.#replace(this.#asked.id);
    const events = this.#wanted;
    this.#asked = null;
    if (events.length === 0) {
      this.#settle(null);
      return;
    }
    const known = this.#known;
    const resumes = this.#before === null && known !== null && events.every((id) => known.events.has(id));
    this.#asked = { id: `events-${(this.#subscriptions += 1)}`, events };
    this.#send({
      op: "subscribe",
      ...this.#asked,
      heartbeat_ms: HEARTBEAT_MS,
      resume: resumes ? { epoch: known.epoch, cursor: known.cursor } : undefined,
    });
  }

  /** Let a subscription that covers something go on until the next has its image; end one that had none. */
  #replace(id) {
    if (this.#before === null && this.#covered.size > 0) this.#before = id;
    else this.#send({ op: "unsubscribe", id });
  }

  /** Cover what `known` says, nothing where it is null, and end the subscription before. */
  #settle(known) {
    if (this.#before !== null) this.#send({ op: "unsubscribe", id: this.#before });
    this.#before = null;
    this.#known = known;
    this.#covered = new Set(known?.events);
  }

  #take(text) {
    const message = parsed(text);
    if (message === null) {
      this.#cut();
      return;
    }
    this.#watch();
    this.#heard = true;
    if (message.op === "error") this.#refused(message);
    else if (message.op === "bet") this.#hear.bet(message);
    else if (message.op === "image") this.#image(message);
    else if (message.op === "change") this.#change(message);
    else if (message.op === "heartbeat") this.#heartbeat(message);
    this.#tellMode();
  }

  #image({ id, epoch, cursor, markets, stale_since: since }) {
    if (id !== this.#asked?.id) return; // of one that was replaced before it was answered
    this.#settle({ epoch, cursor, events: new Set(this.#asked.events) });
    this.#show(markets, since);
  }

  /** Take changes; the first after a cut that was resumed names its subscription, as an image does. */
  #change({ id, epoch, cursor, markets, conflated, stale_since: since }) {
    if (id === undefined) this.#told(cursor);
    else if (id === this.#asked?.id) this.#settle({ epoch, cursor, events: new Set(this.#asked.events) });
    this.#show(markets, since);
    if (conflated === "slow_reader") this.#hear.conflated();
  }

  #heartbeat({ cursor, at, stale_since: since }) {
    noteNow(at);
    this.#told(cursor);
    this.#hear.stands(this.#covered, since);
  }

  #show(markets, since) {
    this.#hear.markets(markets);
    this.#hear.stands(this.#covered, since);
  }

  #told(cursor) {
    if (this.#covered.size > 0) this.#known.cursor = cursor;
  }

  #refused({ id, code }) {
    this.#hear.refused(code);
    if (id === "bets") return; // prices come all the same
    this.#known = null;
    this.#cut();
  }

  #cut() {
    this.#end();
    this.#failures += 1;
    this.#tellMode();
    if (this.#running) this.#retry = setTimeout(() => this.#connect(), this.#waitMs());
  }

  /** Each page waits a time of its own, so that those of a lost gateway do not come back all at once. */
  #waitMs() {
    const quick = this.mode === "reconnecting";
    const tries = quick ? this.#failures : this.#failures - (this.#worked ? QUICK_TRIES_MAX : 0);
    const [firstMs, mostMs] = quick ? [QUICK_WAIT_MS, QUICK_WAIT_MAX_MS] : [RARE_WAIT_MS, RARE_WAIT_MAX_MS];
    return Math.min(firstMs * 2 ** (tries - 1), mostMs) * (0.5 + Math.random() / 2);
  }

  #tellMode() {
    const mode = this.mode;
    if (mode === "live") {
      this.#worked = true;
      this.#failures = 0;
    }
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#hear.mode(mode);
  }

  #end() {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = this.#asked = this.#before = null;
    this.#heard = false;
    this.#covered = new Set();
    socket?.close();
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#cut(), SILENT_MAX_MS);
  }

  #visibilityChanged() {
    clearTimeout(this.#hiding);
    if (document.hidden) this.#hiding = setTimeout(() => this.#end(), HIDDEN_MAX_MS);
    else this.#connect();
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

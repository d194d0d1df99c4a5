/**
 * The line that says how prices come to this page, and how far behind the platform they were on arrival.
 *
 * Invariant: a lag is measured on changes that arrived, never assumed; without one nothing is said of it.
 */

import { byId, setText } from "./dom.js";

const WHILE_MS = 5_000; // the worst of this while and of the one before is shown

export class Freshness {
  #words;
  #mode = "connecting";
  #worst = [null, null];
  #crowded = [false, false];

  /** `pollMs` is how often prices are polled where they are not pushed. */
  constructor(pollMs) {
    this.#words = {
      connecting: "Connecting…",
      live: "Pushed live",
      polling: `Polled every ${pollMs / 1000} s`,
      reconnecting: "Reconnecting, polling",
    };
    setInterval(() => this.#turn(), WHILE_MS);
    this.#show();
  }

  /** Show the stream's mode; a lag of another is forgotten. */
  turn(mode) {
    this.#mode = mode;
    this.#worst = [null, null];
    this.#crowded = [false, false];
    this.#show();
  }

  /** Show that a change arrived `lagMs` after it was made. */
  note(lagMs) {
    if (Number.isNaN(lagMs)) return;
    this.#worst[0] = Math.max(this.#worst[0] ?? 0, lagMs);
    this.#show();
  }

  /** Show that changes were left out, since this connection does not take them all. */
  crowd() {
    this.#crowded[0] = true;
    this.#show();
  }

  #turn() {
    this.#worst = [null, this.#worst[0]];
    this.#crowded = [false, this.#crowded[0]];
    this.#show();
  }

  #show() {
    const measured = this.#worst.filter((lagMs) => lagMs !== null);
    const lag = measured.length === 0 ? "" : `up to ${inUnits(Math.max(...measured))} behind`;
    const crowded = this.#crowded.includes(true) ? "slow connection" : "";
    byId("source").dataset.mode = this.#mode;
    setText(byId("source-mode"), this.#words[this.#mode]);
    setText(byId("source-lag"), [crowded, lag].filter(Boolean).join(" · "));
  }
}

function inUnits(lagMs) {
  return lagMs < 1_000 ? `${Math.max(10, Math.ceil(lagMs / 10) * 10)} ms` : `${(lagMs / 1000).toFixed(1)} s`;
}

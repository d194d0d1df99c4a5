/**
 * The banner that says what does not get through, and when the next try is.
 *
 * Invariant: while prices do not get through, what stands on the page is marked as old (`data-lost` on the body).
 */

import { byId, setText, show } from "./dom.js";

const PARTLY = "Your bets and balance can't be read just now; prices still come in. Retrying…";

let retryAtMs = null; // of the polls, null while they get through
let pushed = false;
let partly = false;

/** Show what `Polling` tells: null while polls get through, `{retryAtMs}` while not; prices may be pushed then. */
export function showConnection(lost, { pricesArePushed = false } = {}) {
  retryAtMs = lost?.retryAtMs ?? null;
  pushed = pricesArePushed;
  render();
}

/** Show whether prices get through but what is the player's own does not. */
export function showPartly(isSo) {
  partly = isSo;
  render();
}

function render() {
  const lost = retryAtMs !== null;
  show(byId("connection"), lost || partly);
  document.body.toggleAttribute("data-lost", lost && !pushed);
  if (lost || partly) setText(byId("connection-text"), lost ? lostWords() : PARTLY);
}

function lostWords() {
  const s = Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
  const what = pushed ? "prices still come in, the rest is old" : "what you see is old";
  return `Connection lost: ${what}. ${s > 0 ? `Retrying in ${s} s.` : "Retrying…"}`;
}

setInterval(render, 1_000);

/**
 * The banner that says that polls do not get through, and when the next try is.
 *
 * Invariant: while it is shown, what stands on the page is marked as old (`data-lost` on the body).
 */

import { byId, setText, show } from "./dom.js";

let retryAtMs = null;

/** Show what `Polling` tells: null while polls get through, `{retryAtMs}` while not. */
export function showConnection(lost) {
  retryAtMs = lost?.retryAtMs ?? null;
  show(byId("connection"), lost !== null);
  document.body.toggleAttribute("data-lost", lost !== null);
  tick();
}

function tick() {
  if (retryAtMs === null) return;
  const s = Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
  setText(
    byId("connection-text"),
    s > 0 ? `Connection lost: what you see is old. Retrying in ${s} s.` : "Connection lost: retrying…",
  );
}

setInterval(tick, 1_000);

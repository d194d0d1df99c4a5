/**
 * The platform's clock as this page reckons it, from the instants that the platform's words carry.
 *
 * Invariant: an instant that is told has passed by the time it is heard, so the platform's clock is never reckoned
 * to be before it; words that contradict all earlier ones start the reckoning anew.
 */

const DATE_AGE_MAX_MS = 2_000; // a Date header has whole seconds, and servers write it once a second
const SLACK_MS = 250;

let leastMs = -Infinity; // what must be added to this page's clock at least
let mostMs = Infinity;
let isHeard = false; // whether the least was told by words that took no longer than the way here

/** Milliseconds since the epoch by the platform's clock: by heartbeats late by their way here, else to a second. */
export function platformNowMs() {
  return Date.now() + offsetMs();
}

/** Learn from the Date header of an answer that was asked for at `askedAtMs`, by this page's clock. */
export function noteDate(header, askedAtMs) {
  const at = Date.parse(header ?? "");
  if (!Number.isNaN(at)) narrow(at - Date.now(), at + DATE_AGE_MAX_MS - askedAtMs);
}

/** Learn from an instant of the platform's past. */
export function noteInstant(rfc3339) {
  const at = Date.parse(rfc3339 ?? "");
  if (!Number.isNaN(at)) narrow(at - Date.now(), Infinity);
}

/** Learn from an instant that was now when it was sent. */
export function noteNow(rfc3339) {
  noteInstant(rfc3339);
  isHeard = true;
}

function narrow(least, most) {
  leastMs = Math.max(leastMs, least);
  mostMs = Math.min(mostMs, most);
  if (leastMs <= mostMs + SLACK_MS) return;
  [leastMs, mostMs, isHeard] = [least, most, false]; // a clock was set
}

function offsetMs() {
  if (leastMs === -Infinity) return 0;
  return isHeard || mostMs === Infinity ? leastMs : (leastMs + mostMs) / 2;
}

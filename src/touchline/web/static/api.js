/**
 * The platform's HTTP contract as the pages use it: one call, three endings.
 *
 * Invariant: an answer returns, a refusal throws `Problem` (nothing was recorded), everything else throws `Away`
 * (the outcome may be unknown, and the same request with the same key is safe).
 */

import { noteDate } from "./clock.js";

const REQUEST_TIMEOUT_MS = 8_000;
const SESSION_ITEM = "touchline.session";

/** A refusal of the platform: `code` and `detail` of its problem document, the rest in `extra`. */
export class Problem extends Error {
  constructor(status, document, retryAfterS) {
    super(document.detail);
    this.status = status;
    this.code = document.code;
    this.detail = document.detail;
    this.extra = document;
    this.retryAfterS = document.retry_after_s ?? retryAfterS;
  }
}

/** The platform could not be reached, or says that a part of it is away. */
export class Away extends Error {
  constructor(reason, retryAfterS = null) {
    super(reason);
    this.retryAfterS = retryAfterS;
  }
}

/** The signed-in session of this tab: `{token, expires_at, player_id, role, username}`, or null. */
export const session = {
  read() {
    const kept = sessionStorage.getItem(SESSION_ITEM);
    return kept === null ? null : JSON.parse(kept);
  },
  keep(signedIn) {
    sessionStorage.setItem(SESSION_ITEM, JSON.stringify(signedIn));
  },
  end(reason) {
    if (session.read() === null) return;
    sessionStorage.removeItem(SESSION_ITEM);
    window.dispatchEvent(new CustomEvent("session-ended", { detail: reason }));
  },
};

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
export const put = (path, body) => call("PUT", path, body);

async function call(method, path, body) {
  const token = session.read()?.token;
  const askedAtMs = Date.now();
  const { response, text } = await send(method, path, body, token);
  noteDate(response.headers.get("Date"), askedAtMs);
  const retryAfterS = seconds(response.headers.get("Retry-After"));
  const answer = parsed(text);
  if (response.ok && answer !== undefined) return answer;
  if (response.status >= 500 || typeof answer?.code !== "string") {
    throw new Away(`the platform answered ${response.status}`, answer?.retry_after_s ?? retryAfterS);
  }
  if (response.status === 401 && token) session.end("Your session has ended. Please sign in again.");
  throw new Problem(response.status, answer, retryAfterS);
}

async function send(method, path, body, token) {
  const headers = { Accept: "application/json, application/problem+json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-cache",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return { response, text: await response.text() };
  } catch (cause) {
    throw new Away(`no answer: ${cause.message}`);
  }
}

function parsed(text) {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no answer of the platform's own, such as a balancer's page
  }
}

function seconds(header) {
  const value = Number.parseInt(header ?? "", 10);
  return Number.isNaN(value) ? null : value;
}

"use strict";
// The address holds the whole state: #convolution?kh=2&at=y.5 shows exactly this.

/** @typedef {Record<string, string>} Settings */

/** Milliseconds between two changes: browsers allow 200 in ten seconds, Safari 100 in half a minute. */
const PAUSE = 400;
const address = { wanted: "", from: "", timer: 0, last: -PAUSE };

/** @returns {{room: string, settings: Settings}} */
function readAddress() {
  settleAddress();
  const [room, query = ""] = location.hash.slice(1).split("?");
  /** @type {Settings} */
  const settings = {};
  for (const part of query.split("&").filter(Boolean)) {
    const [name, ...rest] = part.split("=");
    try {
      settings[decodeURIComponent(name)] = decodeURIComponent(rest.join("="));
    } catch {
      settings[name] = rest.join("=");
    }
  }
  return { room, settings };
}

/**
 * What stands behind the # for these settings, in the order of their names.
 * @param {Settings} settings
 */
function written(settings) {
  return Object.keys(settings).sort().map((name) => `${name}=${settings[name]}`).join("&");
}

/**
 * At once, or when the pause is over.
 * @param {string} room
 * @param {Settings} settings
 */
function writeAddress(room, settings) {
  const query = encodeURI(written(settings)).replaceAll("#", "%23");
  Object.assign(address, { wanted: `#${room}${query ? "?" + query : ""}`, from: location.href });
  const rest = address.last + PAUSE - performance.now();
  if (rest <= 0) settleAddress();
  else address.timer ||= window.setTimeout(settleAddress, rest);
}

/** Write what waits for the end of the pause, unless a link was followed meanwhile. */
function settleAddress() {
  window.clearTimeout(address.timer);
  if (address.wanted && address.from === location.href) {
    history.replaceState(null, "", address.wanted);
    address.last = performance.now();
  }
  Object.assign(address, { wanted: "", timer: 0 });
}

/**
 * Settings with some changed; null takes one away.
 * @param {Settings} settings
 * @param {Record<string, string | null>} changes
 */
function changed(settings, changes) {
  const all = { ...settings, ...changes };
  return /** @type {Settings} */ (Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== null && value !== "")));
}

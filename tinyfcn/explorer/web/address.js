"use strict";
// The address holds the whole state: #convolution?kh=2&at=y.5 shows exactly this.

/** @typedef {Record<string, string>} Settings */

/** @returns {{room: string, settings: Settings}} */
function readAddress() {
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
 * @param {string} room
 * @param {Settings} settings
 */
function writeAddress(room, settings) {
  const query = encodeURI(written(settings)).replaceAll("#", "%23");
  history.replaceState(null, "", `#${room}${query ? "?" + query : ""}`);
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

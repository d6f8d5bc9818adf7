"use strict";
// Answers come from the engine behind this page, or were recorded beside it.

/** Recorded answers by room: their parts by name, and by address which of them an answer has.
 * @type {Record<string, {parts: Record<string, any[]>, of: Record<string, Record<string, number>>}>} */
const answers = {};

/** The same as their scripts bring them: JSON, gzip, base64.
 * @type {Record<string, string>} */
const packed = {};

/**
 * @param {string} room
 * @param {Settings} settings
 * @returns {Promise<any>}
 */
async function ask(room, settings) {
  if (RECORDED) {
    if (!answers[room]) {
      await load(`answers-${room}.js`);
      const bytes = Uint8Array.from(atob(packed[room]), (letter) => letter.charCodeAt(0));
      answers[room] = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
    }
    const { parts, of } = answers[room], answer = of[written(settings)];
    if (!answer) throw new Error("No answer was recorded for this; tinyfcn explore has all of them.");
    return Object.fromEntries(Object.entries(answer).map(([name, i]) => [name, parts[name][i]]));
  }
  const response = await fetch(room, { method: "POST", body: JSON.stringify(settings) }).catch(() => {
    throw new Error("The explorer does not answer; is tinyfcn explore still running?");
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

/**
 * Whether there is an answer: always where the engine gives it.
 * @param {string} room
 * @param {Settings} settings
 */
function answered(room, settings) {
  return !RECORDED || written(settings) in answers[room].of;
}

/**
 * Run a script that lies beside the page.
 * @param {string} source
 */
function load(source) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error(`${source} is missing beside this page.`));
    document.head.append(make("script", { src: source, onload: resolve, onerror: failed }));
  });
}

"use strict";
/** Whether answers lie beside this page; here the engine answers. */
const RECORDED = /** @type {boolean} */ (false);

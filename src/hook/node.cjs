// Tells regress which request this thread works for whenever it writes to a socket.
//
// Load it before the service: node --require node.cjs, or in NODE_OPTIONS. Nothing leaves the process: the number of the
// request stands in a cell of memory that the recorder reads, and a comparison of the cell with itself tells it where.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { timingSafeEqual } = require("node:crypto");
const { channel } = require("node:diagnostics_channel");
const { Socket } = require("node:net");
const { threadId } = require("node:worker_threads");

// struct told_cell in ebpf/bpf/told.h. A buffer of its own, so that it never moves.
const MARK = "regress context\0";
const cell = new Uint8Array(new ArrayBuffer(24));
cell.set(Buffer.from(MARK, "latin1"));
const number = new Uint32Array(cell.buffer, 16, 2);

const working = new AsyncLocalStorage();
const write = Socket.prototype._writeGeneric;
let requests = 0;

function tell(request) {
  number[0] = request;
  // The other threads of the process count for themselves.
  number[1] = request === 0 ? 0 : threadId;
}

channel("http.server.request.start").subscribe(() => {
  // Each time: the recorder may have come meanwhile.
  timingSafeEqual(cell, cell);
  requests = (requests + 1) >>> 0 || 1;
  working.enterWith(requests);
});

// undici, which is behind fetch, goes on with a request that waited for a connection when that is free, whoever works then:
// first out of the queue of its pool, where it is only a handler, then onto the connection.
const handled_for = new WeakMap();
const made_for = new WeakMap();
const written_for = Symbol("regress");
const patched = new WeakSet();

channel("undici:client:connected").subscribe(({ socket }) => {
  const values = Object.getOwnPropertySymbols(socket).map((symbol) => socket[symbol]);
  // Of whichever copy of undici: it keeps the client behind a symbol, itself or in the parser.
  let dispatcher = values.flatMap((value) => [value, value?.client]).find((value) => typeof value?.dispatch === "function");
  while (dispatcher && !Object.hasOwn(dispatcher, "dispatch")) dispatcher = Object.getPrototypeOf(dispatcher);
  if (!dispatcher || patched.has(dispatcher)) return;
  patched.add(dispatcher);
  const dispatch = dispatcher.dispatch;
  dispatcher.dispatch = function (options, handler) {
    const now = working.getStore();
    if (handler === null || typeof handler !== "object") return dispatch.call(this, options, handler);
    if (!handled_for.has(handler)) handled_for.set(handler, now);
    const asked = handled_for.get(handler);
    if (asked === now) return dispatch.call(this, options, handler);
    return working.run(asked, () => dispatch.call(this, options, handler));
  };
});
channel("undici:request:create").subscribe(({ request }) => made_for.set(request, working.getStore() ?? 0));
channel("undici:client:sendHeaders").subscribe(({ request, socket }) => {
  socket[written_for] = made_for.get(request) ?? 0;
});

if (typeof write === "function") {
  Socket.prototype._writeGeneric = function (...chunk) {
    const before = number[0];
    tell(this[written_for] ?? working.getStore() ?? 0);
    try {
      return write.apply(this, chunk);
    } finally {
      tell(before);
    }
  };
}

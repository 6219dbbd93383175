/** The service without PostgreSQL: events are queued and flushed as ever, but each batch counts as written at once. */
import { asValue } from "awilix";
import { pino } from "pino";
import { createServiceContainer } from "../../src/app/container.js";
import { loadConfig } from "../../src/config.js";
import type { PostgresSink } from "../../src/sink/postgres-sink.js";
import type { Sink } from "../../src/sink/sink.js";
import { runUntilSignal } from "../support/contender-program.js";

const nullSink: Sink = {
  write: ({ rows }) => Promise.resolve({ inserted: rows, duplicates: 0, dead: 0 }),
};

const logger = pino({ level: "warn" }, pino.destination(2));
const container = createServiceContainer(loadConfig({ PORT: "0", SPOOL_MAX_BYTES: "0" }), logger);
// The Flusher knows no more of it than the interface.
container.register({ sink: asValue(nullSink as PostgresSink) });
const { flusher, rpcServer, ledger } = container.cradle;
flusher.start();
const { port } = await rpcServer.listen();

runUntilSignal(port, async () => {
  await rpcServer.close();
  await flusher.close();
  return ledger.read();
});

/** Words a status for the page; it touches no document. */
import { percentOf } from "./samples.js";
/** @import { ServiceStatus, RoomStatus } from "../../src/telemetry/service-status.js" */
/** @import { Sample } from "./samples.js" */

/** Stands before what somebody should look at. */
export const WARNING = "⚠ ";
/** What the kinds of the buffer are. */
const BUFFER_KINDS = { spool: "spool, on disk", jetstream: "JetStream, shared" };
/** Counts are some seconds behind; from here on somebody should look why. */
const COUNTS_LAG_MAX_MS = 60_000;
/** As in src/postgres/table-state.ts: there counting ends. */
const COUNT_MAX = 100_000;

/**
 * The verdict, and why.
 *
 * @param {ServiceStatus} status @param {number | null} silentSince when PostgreSQL was first seen not to answer
 */
export function judge(status, silentSince) {
  const { liveness, readiness } = status;
  if (!liveness.ok) {
    return { level: "bad", verdict: "Not alive", reason: liveness.reason };
  }
  const outage = describeOutage(status, silentSince);
  if (readiness.reason !== undefined) {
    const verdict = readiness.ok ? "Partly ready" : "Not ready";
    return { level: "poor", verdict, reason: [readiness.reason, outage].filter(Boolean).join("\n") };
  }
  return outage === null
    ? { level: "good", verdict: "Alive and ready", reason: "" }
    : { level: "poor", verdict: "Ready, but PostgreSQL takes no events", reason: outage };
}

/**
 * Since when PostgreSQL takes nothing, why, and where the events are; null when it does.
 *
 * @param {ServiceStatus} status @param {number | null} silentSince
 */
function describeOutage({ flush, database, queue, buffer }, silentSince) {
  const why = flush.fault?.message ?? (database?.ok === false ? database.reason : null);
  if (why === null) {
    return null;
  }
  const since = [flush.fault && Date.parse(flush.fault.since), silentSince].filter((at) => at !== null);
  const when = since.length === 0 ? "" : `Since ${clockTime(Math.min(...since))}: `;
  const inBuffer =
    buffer === null ? "" : `, ${count(buffer.rows)} in the buffer (${BUFFER_KINDS[buffer.kind]})`;
  const places = `${count(queue.rows)} in memory${inBuffer}`;
  return `${when}${why}\nEvents that wait: ${places}. New ones are accepted while there is room.`;
}

/** @param {number} at */
export const clockTime = (at) => new Date(at).toLocaleTimeString("en-GB");

/** What stands in each place of the page. @param {Sample} sample @returns {Record<string, string>} */
export function describe({ at, status, acceptedRate, insertedRate }) {
  const { version, processes, uptimeMs, events, queue, buffer, flush } = status;
  const setAside = `${count(events.setAside)} in ${count(buffer?.setAsideBatches ?? 0)} batches`;
  return {
    version: `${version}, ${processes === 1 ? "one process" : `${processes} processes`}, up ${duration(uptimeMs)}`,
    acceptedRate: acceptedRate === null ? "…" : count(acceptedRate),
    insertedRate: insertedRate === null ? "…" : count(insertedRate),
    queueFill: fill(queue),
    queueRows: count(queue.rows),
    bufferKind: buffer === null ? "" : BUFFER_KINDS[buffer.kind],
    bufferFill:
      buffer === null ? "there is none" : warnIf(!buffer.isWritable, fill(buffer), "cannot be written"),
    bufferRows: count(buffer?.rows ?? 0),
    setAside: warnIf(events.setAside > 0, setAside),
    accepted: count(events.accepted),
    recovered: count(events.recovered),
    inserted: count(events.inserted),
    duplicates: count(events.duplicates),
    dead: warnIf(events.dead > 0, count(events.dead)),
    forwarded: count(events.forwarded),
    books: describeBooks(status),
    refusedEvents: describeRefused(status.refused.events),
    refusedCalls: describeRefused(status.refused.calls),
    lastFlush: describeFlush(flush, at),
    ...describeDatabase(status.database),
    ...describeCounts(status.database),
  };
}

/** @param {ServiceStatus} status */
function describeBooks({ events, queue }) {
  const { accepted, recovered, inserted, duplicates, dead, buffered, forwarded, setAside } = events;
  const ended = inserted + duplicates + dead + buffered + forwarded + setAside;
  const missing = accepted + recovered - ended - queue.rows;
  const fault = missing > 0 ? `${count(missing)} events are nowhere` : `${count(-missing)} events too many`;
  return missing === 0 ? "They balance." : `${WARNING}They do not balance: ${fault}.`;
}

/** The sum, and what it is made of. @param {Readonly<Record<string, number>>} reasons */
function describeRefused(reasons) {
  const some = Object.entries(reasons).filter(([, each]) => each > 0);
  const parts = some.map(([reason, each]) => `${count(each)} ${reason.replaceAll("_", " ")}`);
  const sum = some.reduce((total, [, each]) => total + each, 0);
  return parts.length === 0 ? "0" : `${count(sum)}: ${parts.join(", ")}`;
}

/** @param {ServiceStatus["flush"]} flush @param {number} now */
function describeFlush({ lastSuccessAt, fault }, now) {
  const last = lastSuccessAt === null ? "none yet" : `${duration(now - Date.parse(lastSuccessAt))} ago`;
  return fault === null
    ? last
    : `${WARNING}failing (${fault.faultClass}): ${fault.message}; last success: ${last}`;
}

/** @param {ServiceStatus["database"]} database */
function describeDatabase(database) {
  if (!database?.ok) {
    const text = database === null ? "not asked yet" : `${WARNING}not known: ${database.reason}`;
    return { partitions: text, deadLetters: "…" };
  }
  const { daysAhead, rowsInDefault, deadLetters } = database;
  const without = `${atLeast(rowsInDefault)} events without one`;
  return {
    partitions:
      rowsInDefault > 0 ? `${WARNING}${daysAhead} days ahead, ${without}` : `${daysAhead} days ahead`,
    deadLetters: warnIf(deadLetters > 0, atLeast(deadLetters)),
  };
}

/** How far the counts are. @param {ServiceStatus["database"]} database */
function describeCounts(database) {
  if (!database?.ok || database.counts === undefined) {
    return { counted: "not known", toCount: "…" };
  }
  const { lagMs, backfillDays, unindexedPartitions } = database.counts;
  const left = [
    ...(unindexedPartitions > 0 ? [`${count(unindexedPartitions)} partitions to index`] : []),
    ...(backfillDays === 0
      ? []
      : [backfillDays === null ? "all older events" : `${count(backfillDays)} days`]),
  ];
  return {
    counted: warnIf(lagMs > COUNTS_LAG_MAX_MS, `${duration(lagMs)} ago`),
    toCount: left.join(", ") || "none",
  };
}

/** @param {boolean} isWrong @param {string} text @param {string} [why] */
function warnIf(isWrong, text, why) {
  return isWrong ? `${WARNING}${text}${why ? `, ${why}` : ""}` : text;
}

/** @param {RoomStatus} room */
const fill = (room) => `${count(percentOf(room))} % of ${count(room.maxBytes / 2 ** 20)} MiB`;

/** @param {number} value */
const count = (value) => Math.round(value).toLocaleString("en-US");

/** @param {number} value */
const atLeast = (value) => (value >= COUNT_MAX ? `${count(COUNT_MAX)} or more` : count(value));

/** @param {number} ms */
function duration(ms) {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) {
    return `${Math.max(0, Math.round(ms / 1000))} s`;
  }
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  return days > 0 ? `${days} d ${hours} h` : hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/** Words a status for a terminal; it judges nothing. */
import { CLOCK_TOLERANCE_MS } from "../postgres/clock-witness.js";
import { COUNT_MAX } from "../postgres/table-state.js";
import type { Probe } from "../server/health.js";
import type { RoomStatus, ServiceStatus } from "../telemetry/service-status.js";
import { formatBytes, formatCount } from "./print.js";

/** One line for each part, the verdicts first. `nowMs` is Unix time in milliseconds. */
export function describeStatus(status: ServiceStatus, nowMs: number): string[] {
  const { events, queue, buffer, flush } = status;
  const forwarded = events.forwarded > 0 ? `, ${formatCount(events.forwarded)} forwarded` : "";
  return [
    line("health", `${describeProbe(status.liveness, "alive", "NOT ALIVE")}, ${describeReadiness(status)}`),
    line("version", describeVersion(status)),
    line(
      "accepted",
      `${formatCount(events.accepted)} events, ${formatCount(events.recovered)} left by earlier runs`,
    ),
    line(
      "of them",
      `${formatCount(events.inserted)} inserted, ${formatCount(events.duplicates)} duplicates, ${formatCount(events.dead)} dead${forwarded}`,
    ),
    line("queue", describeRoom(queue)),
    line("buffer", buffer === null ? "none (SPOOL_MAX_BYTES is 0)" : describeBuffer(buffer)),
    line("flush", describeFlush(flush, nowMs)),
    line("database", describeDatabase(status.database)),
    ...describeCounts(status.database).map((text) => line("counts", text)),
  ];
}

function line(part: string, text: string): string {
  return `${part.padEnd(10)}${text}`;
}

function describeProbe(probe: Probe, good: string, bad: string): string {
  return probe.ok ? good : `${bad}: ${probe.reason}`;
}

function describeReadiness({ readiness }: ServiceStatus): string {
  return readiness.ok && readiness.reason !== undefined
    ? `PARTLY READY: ${readiness.reason}`
    : describeProbe(readiness, "ready", "NOT READY");
}

function describeVersion({ version, processes, uptimeMs }: ServiceStatus): string {
  const count = processes === 1 ? "" : `, ${processes} processes`;
  return `${version}${count}, up ${formatDuration(uptimeMs)}`;
}

function describeRoom({ rows, bytes, maxBytes }: RoomStatus): string {
  const share = maxBytes === 0 ? "" : ` (${Math.round((100 * bytes) / maxBytes)} %)`;
  return `${formatCount(rows)} events, ${formatBytes(bytes)} of ${formatBytes(maxBytes)}${share}`;
}

function describeBuffer(buffer: NonNullable<ServiceStatus["buffer"]>): string {
  const faults = [
    ...(buffer.isWritable ? [] : ["CANNOT BE WRITTEN"]),
    ...(buffer.setAsideBatches > 0 ? [`${buffer.setAsideBatches} batches SET ASIDE`] : []),
  ];
  return [`${buffer.kind}: ${describeRoom(buffer)}`, ...faults].join(", ");
}

function describeFlush({ lastSuccessAt, fault }: ServiceStatus["flush"], nowMs: number): string {
  const last =
    lastSuccessAt === null
      ? "nothing written since the start"
      : `last success ${formatDuration(Math.max(0, nowMs - Date.parse(lastSuccessAt)))} ago`;
  if (fault === null) {
    return last;
  }
  const failing = `FAILING (${fault.faultClass}) for ${formatDuration(Math.max(0, nowMs - Date.parse(fault.since)))}`;
  return `${failing}: ${fault.message}; ${last}`;
}

function describeDatabase(database: ServiceStatus["database"]): string {
  if (database === null) {
    return "not asked yet";
  }
  if (!database.ok) {
    return `DOES NOT ANSWER: ${database.reason}`;
  }
  const { daysAhead, rowsInDefault, deadLetters, clockAheadMs } = database;
  const isOff = Math.abs(clockAheadMs) > CLOCK_TOLERANCE_MS;
  const clock = isOff
    ? `, CLOCK OFF: PostgreSQL's is ${formatDuration(Math.abs(clockAheadMs))} ${clockAheadMs > 0 ? "ahead of" : "behind"} the service's`
    : "";
  return `partitions for ${daysAhead} days ahead, ${atLeast(rowsInDefault)} rows without one, ${atLeast(deadLetters)} dead letters${clock}`;
}

/** Empty: nothing is known of them. */
function describeCounts(database: ServiceStatus["database"]): string[] {
  if (database?.ok !== true || database.counts === undefined) {
    return [];
  }
  const { lagMs, backfillDays, unindexedPartitions } = database.counts;
  const left = [
    ...(unindexedPartitions > 0 ? [`${formatCount(unindexedPartitions)} partitions to index`] : []),
    ...(backfillDays === null ? ["all older events to count"] : []),
    ...(backfillDays !== null && backfillDays > 0
      ? [`${formatCount(backfillDays)} older days to count`]
      : []),
  ];
  return [[`complete ${formatDuration(Math.max(0, lagMs))} ago`, ...left].join(", ")];
}

function atLeast(count: number): string {
  return count >= COUNT_MAX ? `${formatCount(COUNT_MAX)} or more` : formatCount(count);
}

const DURATIONS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
] as const;

/** A duration in its two largest units. */
function formatDuration(ms: number): string {
  const at = DURATIONS.findIndex(([, length]) => ms >= length);
  const [unit, length] = DURATIONS[at] ?? [];
  if (unit === undefined || length === undefined) {
    return `${(ms / 1000).toFixed(1)} s`;
  }
  const [smallerUnit, smallerLength] = DURATIONS[at + 1] ?? ["s", 1_000];
  return `${Math.floor(ms / length)} ${unit} ${Math.floor((ms % length) / smallerLength)} ${smallerUnit}`;
}

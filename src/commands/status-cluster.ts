/** `status --cluster`: adds up the books of all processes that share a buffer, with what the buffer itself says. */
import { connect } from "@nats-io/transport-node";
import { connectionOptions } from "../buffer/jetstream/jetstream-link.js";
import { parseNatsUrl } from "../buffer/jetstream/nats-url.js";
import { type ClusterReading, type ProcessRecord, readCluster } from "../buffer/jetstream/process-records.js";
import type { Settings } from "../config/command-settings.js";
import { messageOf } from "../util/error-message.js";
import { EXIT_UNREACHABLE, UsageError } from "./command.js";
import { complain, formatBytes, formatCount, print } from "./print.js";

type BufferSettings = Pick<Settings, "bufferUrl" | "bufferCredentialsFile" | "bufferStream">;

/** The books of all together, in events. */
export interface ClusterBooks {
  readonly accepted: number;
  readonly inStream: number;
  readonly inserted: number;
  readonly duplicates: number;
  readonly dead: number;
  readonly setAside: number;
  /** In the memory of processes, and in spools. */
  readonly waiting: number;
  /** Stored or taken more than once: an answer was lost, or a process was, and ids refused the rest. */
  readonly repeated: number;
  /** Accepted, and nowhere. */
  readonly missing: number;
}

/** Resolves with the exit status. */
export async function showCluster(settings: BufferSettings, asJson: boolean): Promise<number> {
  if (settings.bufferUrl === undefined) {
    throw new UsageError("--cluster needs BUFFER_URL");
  }
  let reading: ClusterReading;
  try {
    reading = await ask(settings, settings.bufferUrl);
  } catch (error) {
    complain(`no buffer answers at BUFFER_URL: ${messageOf(error)}`);
    return EXIT_UNREACHABLE;
  }
  const books = addUpCluster(reading);
  print(asJson ? [JSON.stringify({ books, ...reading })] : describeCluster(reading, books));
  return reading.unknown.length === 0 && books.missing === 0 ? 0 : 1;
}

async function ask(settings: BufferSettings, bufferUrl: string): Promise<ClusterReading> {
  const connection = await connect(
    connectionOptions({
      servers: parseNatsUrl(bufferUrl),
      credentialsFile: settings.bufferCredentialsFile,
      clientName: "stats-service status",
    }),
  );
  try {
    return await readCluster(connection, settings.bufferStream);
  } finally {
    await connection.close();
  }
}

/**
 * For each process accepted + recovered = inserted + duplicates + dead + buffered + forwarded + set aside + queued. What
 * was forwarded and not taken out again, `recovered`, is in the stream; what is there or was taken beyond that has come
 * more than once.
 */
export function addUpCluster({ answering, stopped, unknown, stream }: ClusterReading): ClusterBooks {
  const all = [...answering, ...stopped, ...unknown];
  const sum = (field: string) => all.reduce((total, { events }) => total + (events[field] ?? 0), 0);
  const surplus = stream.rows + sum("recovered") - sum("forwarded");
  return {
    accepted: sum("accepted"),
    inStream: stream.rows,
    inserted: sum("inserted"),
    duplicates: sum("duplicates"),
    dead: sum("dead"),
    setAside: sum("setAside"),
    waiting: sum("buffered") + all.reduce((total, { queued }) => total + queued, 0),
    repeated: Math.max(0, surplus),
    missing: Math.max(0, -surplus),
  };
}

export function describeCluster(reading: ClusterReading, books: ClusterBooks): string[] {
  const { answering, stopped, unknown, stream } = reading;
  const setAside = stream.setAsideMessages > 0 ? `, ${stream.setAsideMessages} messages SET ASIDE` : "";
  return [
    line("processes", `${describeRoles(answering)}, ${formatCount(stopped.length)} stopped in order`),
    ...unknown.map(({ role, host, pid, toldAt }) =>
      line(
        "UNKNOWN",
        `${role} ${host} ${pid}: no answer, and it did not stop in order; last known ${toldAt}`,
      ),
    ),
    line("accepted", `${formatCount(books.accepted)} events`),
    line(
      "stream",
      `${formatCount(books.inStream)} events in ${formatCount(stream.messages)} messages, ${formatBytes(stream.bytes)}${setAside}`,
    ),
    line(
      "written",
      `${formatCount(books.inserted)} inserted, ${formatCount(books.duplicates)} duplicates, ${formatCount(books.dead)} dead`,
    ),
    line("waiting", `${formatCount(books.waiting)} events in memory`),
    line("repeated", `${formatCount(books.repeated)} events came more than once; ids refused them`),
    line("books", describeBooks(books, unknown)),
  ];
}

function describeBooks({ missing }: ClusterBooks, unknown: readonly ProcessRecord[]): string {
  if (unknown.length > 0) {
    return "NOT KNOWN: they are as of the last word of a process that did not answer";
  }
  return missing === 0 ? "no event is missing" : `${formatCount(missing)} EVENTS ARE MISSING`;
}

function describeRoles(records: readonly ProcessRecord[]): string {
  const counts = new Map<string, number>();
  for (const { role } of records) {
    counts.set(role, (counts.get(role) ?? 0) + 1);
  }
  const parts = [...counts.keys()].sort().map((role) => `${counts.get(role)} ${role}`);
  return parts.length === 0 ? "none answers" : parts.join(", ");
}

function line(part: string, text: string): string {
  return `${part.padEnd(11)}${text}`;
}

/** What the primary and its workers say to each other over Node's IPC channel; it sends nothing itself. */
import { z } from "zod";
import { LEDGER_FIELDS, type LedgerEntry } from "../../ingest/ledger.js";
import type { MetricsReading } from "../../telemetry/metrics-route.js";
import type { ServiceStatus } from "../../telemetry/service-status.js";
import type { FinalBooks } from "../runnable.js";

const count = z.number().int().nonnegative();

/** What a worker is to be. */
const assignment = z.object({
  /** From 1. */
  worker: z.number().int().positive(),
  /** Of how many. */
  workers: z.number().int().positive(),
  databaseUrl: z.string(),
});

const ledgerEntry = Object.fromEntries(LEDGER_FIELDS.map((field) => [field, count])) as Record<
  keyof LedgerEntry,
  typeof count
>;

const books = z.object({
  ...ledgerEntry,
  queued: count,
  missing: z.number().int(),
  isBalanced: z.boolean(),
}) satisfies z.ZodType<FinalBooks>;

/** Only shown: nothing is decided by it. */
const status = z.custom<ServiceStatus>((value) => typeof value === "object" && value !== null);

/** Only added up. */
const metrics = z.custom<MetricsReading>(Array.isArray);

const reason = z.string().nullable();

const toWorker = z.discriminatedUnion("kind", [
  /** The answer to `hello`. */
  z.object({ kind: z.literal("start"), assignment }),
  z.object({ kind: z.literal("stop") }),
  /** Answered by the message of that kind, with the same number. */
  z.object({ kind: z.literal("ask"), about: z.enum(["status", "metrics"]), request: count }),
]);

const toPrimary = z.discriminatedUnion("kind", [
  /** It can hear: what is sent to a process whose program still loads may be lost. */
  z.object({ kind: z.literal("hello") }),
  /** It takes events. */
  z.object({ kind: z.literal("ready"), host: z.string(), port: count }),
  /** It could not start, and ends. */
  z.object({ kind: z.literal("failed"), reason: z.string() }),
  /** Every second; null: it is well. */
  z.object({ kind: z.literal("health"), dead: reason, unready: reason }),
  z.object({ kind: z.literal("status"), request: count, status }),
  z.object({ kind: z.literal("metrics"), request: count, metrics }),
  /** The last message of one that stopped in order. */
  z.object({ kind: z.literal("books"), books }),
]);

export type Assignment = z.infer<typeof assignment>;
export type ToWorker = z.infer<typeof toWorker>;
export type ToPrimary = z.infer<typeof toPrimary>;

/** Undefined for what is not ours: libraries use the channel, too. */
export function readToWorker(message: unknown): ToWorker | undefined {
  return toWorker.safeParse(message).data;
}

/** Undefined for what is not ours: libraries use the channel, too. */
export function readToPrimary(message: unknown): ToPrimary | undefined {
  return toPrimary.safeParse(message).data;
}

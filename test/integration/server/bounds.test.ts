import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { buffer } from "node:stream/consumers";
import { pino } from "pino";
import type { RpcServerLimits } from "../../../src/server/limits.js";
import type { RpcFastLane, RpcHandler } from "../../../src/server/rpc-handler.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import { RawConnection } from "../../support/rpc-port.js";

let server: RpcServer;
let port: number;
let log: { msg: string; dropped?: number }[];
afterEach(() => server.close());

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const answerAtOnce: RpcHandler = (_req, res) => res.end("done");
/** Takes nothing; it is there as it is in the service. */
const idleLane: RpcFastLane = { takeRequest: () => false, takeStream: () => false };

async function open(handler: RpcHandler, limits: Partial<RpcServerLimits>): Promise<void> {
  log = [];
  const logger = pino({}, { write: (line) => void log.push(JSON.parse(line)) });
  server = new RpcServer({ host: "127.0.0.1", port: 0, handler, fastLane: idleLane, logger, limits });
  ({ port } = await server.listen());
}

describe("the most connections", () => {
  it("are kept; a further one is closed at once, and the log tells of it once", async () => {
    await open(answerAtOnce, { maxConnections: 2 });
    const kept = [await RawConnection.open(port), await RawConnection.open(port)];
    for (let n = 0; n < 3; n++) {
      const further = await RawConnection.open(port);
      await further.closed;
      expect(further.received).toBe("");
    }
    for (const client of kept) {
      await client.send(GET);
      await client.receives("done");
    }
    expect(log.map(({ msg }) => msg)).toEqual(["MAX_CONNECTIONS are open; closing new ones at once"]);
  });

  it("leave room for another when one ends, whatever it spoke", async () => {
    await open(answerAtOnce, { maxConnections: 1 });
    const http2 = connect(`http://127.0.0.1:${port}`);
    await buffer(http2.request());
    http2.close();
    await once(http2, "close");
    for (let n = 0; n < 3; n++) {
      const http1 = await RawConnection.open(port);
      await http1.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      await http1.closed;
      expect(http1.received).toContain("done");
    }
  });
});

/** The status of an answer, or the code of the reset. */
async function outcome(stream: ClientHttp2Stream): Promise<number | undefined> {
  stream.on("error", () => {});
  let status: number | undefined;
  stream.once("response", (headers) => {
    status = headers[":status"];
  });
  stream.resume();
  await new Promise<void>((resolve) => stream.once("close", resolve));
  return status ?? stream.rstCode;
}

describe("the most open streams of all sessions", () => {
  it("are shared: who holds as many as are free is refused until some have ended, and no other is", async () => {
    const held: (() => void)[] = [];
    let seen = 0;
    await open(
      (req, res) => {
        seen += 1;
        if (req.url === "/wait") {
          res.writeHead(200);
          res.write("…");
          held.push(() => res.end());
        } else {
          res.end();
        }
      },
      { maxOpenStreams: 8, sweepIntervalMs: 10 },
    );
    const sessions: ClientHttp2Session[] = [1, 2].map(() => connect(`http://127.0.0.1:${port}`));
    const [greedy, other] = sessions as [ClientHttp2Session, ClientHttp2Session];
    const waiting = [greedy, greedy, greedy, greedy, other].map((each) => each.request({ ":path": "/wait" }));
    await Promise.all(waiting.map((stream) => once(stream, "response")));

    expect(await outcome(greedy.request())).toBe(constants.NGHTTP2_REFUSED_STREAM);
    expect(await outcome(other.request())).toBe(200);
    expect(seen).toBe(6);
    const ended = Promise.all(waiting.map((stream) => buffer(stream)));
    for (const release of held) {
      release();
    }
    await ended;
    // Until a sweep has counted.
    let last: number | undefined;
    while (last !== 200) {
      last = await outcome(greedy.request());
    }
    for (const each of sessions) {
      each.destroy();
    }
  });

  it("leave one for each session, however many others have", async () => {
    const answerForEver: RpcHandler = (_req, res) => {
      res.writeHead(200);
      res.write("…");
    };
    await open(answerForEver, { maxOpenStreams: 2 });
    const sessions = Array.from({ length: 4 }, () => connect(`http://127.0.0.1:${port}`));
    const first = sessions.map((session) => once(session.request(), "response"));
    await Promise.all(first);
    for (const session of sessions) {
      expect(await outcome(session.request())).toBe(constants.NGHTTP2_REFUSED_STREAM);
      session.destroy();
    }
  });

  it("are not mistaken for those that have ended", async () => {
    await open(answerAtOnce, { maxOpenStreams: 4 });
    const session = connect(`http://127.0.0.1:${port}`);
    for (let n = 0; n < 100; n++) {
      expect(await outcome(session.request())).toBe(200);
    }
    session.destroy();
  });
});

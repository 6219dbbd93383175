import fc from "fast-check";
import { decodeInet } from "../../../src/event/inet.js";
import type { AdmittedEvent, Batch } from "../../../src/ingest/batch.js";
import { trustProxies } from "../../../src/server/caller-address.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { EVENT, pushesOf, type RpcRequest } from "../../support/rpc-requests.js";
import { exchangeHttp1, exchangeHttp2, http1Bytes, withSession } from "../../support/wire-clients.js";

/** Notes where events come from. */
class NotingIntake extends FatefulIntake {
  readonly addresses: string[] = [];

  override push(event: AdmittedEvent): Batch {
    this.addresses.push(decodeInet(event.inet));
    return super.push(event);
  }
}

interface NotingPort {
  readonly intake: NotingIntake;
  readonly lane: LanePort;
}

const ports: NotingPort[] = [];
beforeAll(async () => {
  for (const hasFastLane of [true, false]) {
    const intake = new NotingIntake();
    const callerAddress = trustProxies(["loopback", "uniquelocal"]);
    const lane = await openLanePort([pushMethod(intake)], { hasFastLane, callerAddress });
    ports.push({ intake, lane });
  }
});
afterAll(async () => {
  await Promise.all(ports.map(({ lane }) => lane.server.close()));
});

type Headers = RpcRequest["headers"];

/** Pushes over each protocol in turn, all those over HTTP/2 on one connection; returns the callers' addresses. */
async function pushFrom({ lane, intake }: NotingPort, headers: Headers): Promise<string[]> {
  intake.addresses.length = 0;
  const { json, proto, grpc } = pushesOf(EVENT);
  const framed = (request: RpcRequest) =>
    http1Bytes({
      ...request,
      headers: [...request.headers, ...headers],
      version: "1.0",
      host: ["x"],
      framing: "length",
    });
  await exchangeHttp1(lane.port, framed(json), false);
  await withSession(lane.url, async (session) => {
    for (const request of [json, proto, grpc]) {
      await exchangeHttp2(session, { ...request, headers: [...request.headers, ...headers] });
    }
  });
  return [...intake.addresses];
}

const node = fc.constantFrom(
  "198.51.100.9",
  "10.0.0.1",
  "::1",
  "[fd00::1]:8080",
  "unknown",
  "203.0.113.5:80",
);
const list = fc.array(node, { maxLength: 4 });
const headers = fc.record({ forwardedFor: fc.option(list), forwarded: fc.option(list) });

test("both lanes find the same caller behind the same headers, whatever the protocol", async () => {
  const found = new Set<string>();
  await fc.assert(
    fc.asyncProperty(headers, async ({ forwardedFor, forwarded }) => {
      const sent: [string, string][] = [];
      if (forwardedFor !== null) {
        sent.push(["x-forwarded-for", forwardedFor.join(", ")]);
      }
      if (forwarded !== null) {
        sent.push(["forwarded", forwarded.map((each) => `for="${each}"`).join(",")]);
      }
      const [fast = [], stock = []] = await Promise.all(ports.map((port) => pushFrom(port, sent)));
      expect(fast).toHaveLength(4);
      expect(new Set([...fast, ...stock]).size).toBe(1);
      found.add(fast[0] as string);
    }),
    { numRuns: 60 },
  );
  expect(found).toContain("198.51.100.9");
  expect(found).toContain("127.0.0.1");
});

test("a header that comes in several lines is one list, in their order", async () => {
  const lines: Headers = [
    ["x-forwarded-for", "203.0.113.66"],
    ["X-Forwarded-For", "198.51.100.9"],
    ["x-forwarded-for", "10.0.0.1"],
  ];
  for (const { lane, intake } of ports) {
    intake.addresses.length = 0;
    const { json } = pushesOf(EVENT);
    const request = { ...json, headers: [...json.headers, ...lines] };
    await exchangeHttp1(
      lane.port,
      http1Bytes({ ...request, version: "1.0", host: ["x"], framing: "length" }),
      false,
    );
    expect(intake.addresses).toEqual(["198.51.100.9"]);
  }
});

test("fields without end in front of what the proxy says do not hide it: they are refused", async () => {
  const { json } = pushesOf(EVENT);
  const answerTo = async ({ lane, intake }: NotingPort, fields: number) => {
    intake.addresses.length = 0;
    const padding = Array.from({ length: fields }, (): [string, string] => ["a", ""]);
    const headers = [...json.headers, ...padding, ["x-forwarded-for", "198.51.100.9"] as [string, string]];
    const bytes = http1Bytes({ ...json, headers, version: "1.0", host: ["x"], framing: "length" });
    return (await exchangeHttp1(lane.port, bytes, false)).trimStart().slice(0, "HTTP/1.1 200".length);
  };
  for (const port of ports) {
    expect(await answerTo(port, 100)).toBe("HTTP/1.1 200");
    expect(port.intake.addresses).toEqual(["198.51.100.9"]);
    for (const fields of [200, 2_000]) {
      expect(await answerTo(port, fields)).toBe("HTTP/1.1 431");
      expect(port.intake.addresses).toEqual([]);
    }
  }
});

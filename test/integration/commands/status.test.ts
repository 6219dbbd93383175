import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fetchStatus } from "../../../src/commands/status.js";

const STATUS = { liveness: { ok: true }, readiness: { ok: true }, events: {}, queue: {}, flush: {} };

let server: Server;
let paths: string[];

/** Answers all requests alike, at the first of the ports that is free; resolves with the base URL. */
async function serve(
  code: number,
  body: string,
  [port = 0, ...others]: readonly number[] = [],
): Promise<string> {
  const answer: RequestListener = (req, res) => {
    paths.push(req.url ?? "");
    res.writeHead(code, { "content-type": "application/json", location: "/elsewhere" }).end(body);
  };
  server = createServer(answer).listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    if (others.length === 0) {
      throw error;
    }
    return await serve(code, body, others);
  }
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(() => {
  paths = [];
});

afterEach(async () => {
  const closed = once(server, "close");
  server.close();
  await closed;
});

test("keeps the path of the URL that it is given", async () => {
  const url = await serve(200, JSON.stringify(STATUS));
  for (const base of [url, `${url}/`, `${url}/stats`, `${url}/stats/`]) {
    expect(await fetchStatus(base)).toEqual(STATUS);
  }
  expect(paths).toEqual(["/status", "/status", "/stats/status", "/stats/status"]);
});

test.each([
  "{}",
  "[]",
  "null",
  '"ok"',
  "<html>",
  JSON.stringify({ ...STATUS, queue: null }),
  JSON.stringify({ status: "ok", liveness: true }),
])("takes %s for the answer of another service", async (body) => {
  await expect(fetchStatus(await serve(200, body))).rejects.toThrow(
    /\/status answers is no status; is it the admin/,
  );
});

test.each([301, 404, 500])("takes the status code %i for that of another service", async (code) => {
  await expect(fetchStatus(await serve(code, "{}"))).rejects.toThrow(`answers ${code}; is it the admin port`);
});

test("reaches ports that fetch() refuses", async () => {
  const url = await serve(200, JSON.stringify(STATUS), [10_080, 6_665, 6_666, 6_667, 6_668, 6_669, 6_000]);
  await expect(fetch(url)).rejects.toMatchObject({ cause: { message: "bad port" } });
  expect(await fetchStatus(url)).toEqual(STATUS);
});

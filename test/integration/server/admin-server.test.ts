import { once } from "node:events";
import { createServer } from "node:net";
import { AdminServer, type AdminServerOptions } from "../../../src/server/admin-server.js";
import { Health } from "../../../src/server/health.js";
import { ListenError } from "../../../src/server/listen.js";
import { makeGate, silent } from "../../support/rpc-port.js";

let admin: AdminServer;
let health: Health;
afterEach(() => admin.close());

async function open(options: Partial<AdminServerOptions> = {}): Promise<string> {
  health = new Health();
  admin = new AdminServer({ host: "127.0.0.1", port: 0, health, logger: silent, ...options });
  const { port } = await admin.listen();
  return `http://127.0.0.1:${port}`;
}

async function get(url: string, method = "GET") {
  const res = await fetch(url, { method });
  return { status: res.status, body: await res.text(), headers: res.headers };
}

describe("AdminServer", () => {
  it("tells readiness, or why not", async () => {
    const url = await open();
    expect(await get(`${url}/readyz`)).toMatchObject({ status: 503, body: "starting\n" });
    health.setServing();
    expect(await get(`${url}/readyz?verbose`)).toMatchObject({ status: 200, body: "ok\n" });
  });

  it("tells liveness, naming each part that is dead", async () => {
    const url = await open();
    expect(await get(`${url}/healthz`)).toMatchObject({ status: 200, body: "ok\n" });
    health.addLivenessCheck("flusher", () => "stopped");
    health.addLivenessCheck("spool", () => undefined);
    health.addLivenessCheck("pool", () => "ended");
    expect(await get(`${url}/healthz`)).toMatchObject({
      status: 503,
      body: "flusher: stopped; pool: ended\n",
    });
  });

  it("answers HEAD like GET, without the body", async () => {
    const url = await open();
    const { status, body, headers } = await get(`${url}/readyz`, "HEAD");
    expect([status, body, headers.get("content-length")]).toEqual([503, "", "9"]);
  });

  it("lists what exists for another path and refuses other methods", async () => {
    const url = await open();
    expect(await get(`${url}/`)).toMatchObject({
      status: 404,
      body: expect.stringContaining("/healthz, /readyz"),
    });
    const { status, headers } = await get(`${url}/healthz`, "POST");
    expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  it("serves the routes that it is given, and 500 for one that fails", async () => {
    const url = await open({
      routes: {
        "/metrics": async () => ({ status: 200, contentType: "text/plain; version=0.0.4", body: "up 1\n" }),
        "/broken": () => {
          throw new Error("thrown by the test");
        },
      },
    });
    const metrics = await get(`${url}/metrics`);
    expect([metrics.body, metrics.headers.get("content-type")]).toEqual([
      "up 1\n",
      "text/plain; version=0.0.4",
    ]);
    expect((await get(`${url}/broken`)).status).toBe(500);
    expect((await get(`${url}/`)).body).toContain("/metrics");
  });

  it.each([
    ["/healthz", "GET", 200],
    ["/nowhere", "GET", 404],
    ["/healthz", "POST", 405],
  ])(
    "lets a browser load nothing from elsewhere, nor guess a type (%s by %s)",
    async (path, method, status) => {
      const answer = await get(`${await open()}${path}`, method);
      expect(answer.status).toBe(status);
      expect(answer.headers.get("content-security-policy")).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
      );
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    },
  );

  it("answers what is in flight when it closes", async () => {
    const begun = makeGate();
    const release = makeGate();
    const slow = async () => {
      begun.open();
      await release.opened;
      return { status: 200, body: "whole" };
    };
    const url = await open({ routes: { "/slow": slow } });
    const answer = get(`${url}/slow`);
    await begun.opened;
    const closed = admin.close();
    release.open();
    expect(await answer).toMatchObject({ status: 200, body: "whole" });
    await closed;
  });

  it("closes safely before listen and twice", async () => {
    await open();
    await admin.close();
    await admin.close();
    const unused = new AdminServer({ host: "127.0.0.1", port: 0, health, logger: silent });
    await unused.close();
    await expect(unused.listen()).rejects.toThrow("listens once; it is closed");
  });

  it("names ADMIN_PORT when the port is in use", async () => {
    await open();
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const second = new AdminServer({ host: "127.0.0.1", port, health, logger: silent });
    const refusal = await second.listen().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ListenError);
    expect(String(refusal)).toContain(`ADMIN_PORT: port ${port} on 127.0.0.1 is in use`);
    other.close();
    await once(other, "close");
  });
});

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestDatabase } from "../support/database.js";
import { freePort } from "../support/free-port.js";
import { describeWith, HAPROXY, NGINX, type Program } from "../support/needs.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ROOT = join(import.meta.dirname, "../..");

interface Backend {
  readonly port: number;
  readonly adminPort: number;
}

/** A proxy, how it is told of its backends, and what it is called with. */
interface Proxy {
  readonly program: Program;
  readonly configuration: (port: number, backends: readonly Backend[], folder: string) => string;
  readonly options: (file: string, folder: string) => string[];
}

const PROXIES: readonly Proxy[] = [
  {
    program: HAPROXY,
    configuration: (port, backends) => `
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend rpc
  bind 127.0.0.1:${port}
  default_backend stats
backend stats
  option httpchk GET /readyz
${backends.map((one, n) => `  server s${n} 127.0.0.1:${one.port} check port ${one.adminPort} inter 1s fall 2 rise 1`).join("\n")}
`,
    options: (file) => ["-db", "-f", file],
  },
  {
    program: NGINX,
    configuration: (port, backends, folder) => `
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream stats {
${backends.map((one) => `    server 127.0.0.1:${one.port};`).join("\n")}
    keepalive 16;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://stats;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream error timeout http_503 non_idempotent;
    }
  }
}
`,
    options: (file, folder) => ["-p", folder, "-c", file],
  },
];

/** What the image sets, so that its default is what is tried. */
async function lameDuckOfImage(): Promise<string> {
  const dockerfile = await readFile(join(ROOT, "Dockerfile"), "utf8");
  return /LAME_DUCK_MS=(\d+)/.exec(dockerfile)?.[1] ?? "0";
}

async function untilListening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) {
      return;
    }
    await sleep(50);
  }
}

/** Pushes over and over until it is stopped, and keeps what was answered. */
class Pushing {
  readonly statuses = new Map<number, number>();
  readonly acknowledged: string[] = [];
  readonly #agent = new Agent({ keepAlive: true });
  #isStopped = false;
  readonly #loops: Promise<void>[];

  constructor(url: string) {
    this.#loops = Array.from({ length: 4 }, () => this.#loop(url));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
    this.#agent.destroy();
  }

  async #loop(url: string): Promise<void> {
    while (!this.#isStopped) {
      const eventId = newEventId();
      const event = { property: "news", section: 1, item: 1, event_id: eventId };
      const status = await push(url, event, this.#agent).then(
        (answer) => answer.status,
        () => 0,
      );
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      if (status === 200) {
        this.acknowledged.push(eventId);
      }
      await sleep(5);
    }
  }
}

describe.each(PROXIES)("a rolling restart with the defaults of the image", (proxy) => {
  describeWith(proxy.program, `behind ${proxy.program.name}`, (path) => {
    let database: TestDatabase;
    let folder: string;
    let running: ChildProcess;
    beforeAll(async () => {
      database = await createServiceDatabase();
      folder = await mkdtemp(join(tmpdir(), "stats-proxy-"));
    });
    afterAll(async () => {
      running.kill();
      await once(running, "exit");
      await database.close();
      await rm(folder, { recursive: true });
    });

    test("fails no call and loses no event", async () => {
      const lameDuck = await lameDuckOfImage();
      const backends: Backend[] = [];
      for (let n = 0; n < 2; n++) {
        backends.push({ port: await freePort(), adminPort: await freePort() });
      }
      const start = ({ port, adminPort }: Backend) =>
        ServiceProcess.start({
          DATABASE_URL: database.url,
          PORT: String(port),
          ADMIN_PORT: String(adminPort),
          LAME_DUCK_MS: lameDuck,
        });
      const services = await Promise.all(backends.map(start));
      const port = await freePort();
      const file = join(folder, "proxy.conf");
      await writeFile(file, proxy.configuration(port, backends, folder));
      running = spawn(path, proxy.options(file, folder), { stdio: "ignore" });
      await untilListening(port);

      const pushing = new Pushing(`http://127.0.0.1:${port}`);
      for (const [n, backend] of backends.entries()) {
        const ending = await services[n]?.stop("SIGTERM");
        expect(ending).toMatchObject({ status: 0 });
        services[n] = await start(backend);
        // The balancer's checks find it again.
        await sleep(2_000);
      }
      await pushing.stop();
      for (const service of services) {
        await service.stop("SIGTERM");
      }
      expect([...pushing.statuses.keys()]).toEqual([200]);
      const { rows } = await database.pool.query<{ count: string }>("SELECT count(*) FROM incoming");
      expect(Number(rows[0]?.count)).toBe(pushing.acknowledged.length);
    }, 120_000);
  });
});

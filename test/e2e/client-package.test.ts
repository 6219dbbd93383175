/** The client as other teams have it: packed, installed without the service, and used from each kind of project. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { jest } from "@jest/globals";
import { build } from "esbuild";
import { ClientProject } from "../support/client-project.js";
import type { TestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ROOT = join(import.meta.dirname, "../..");
const INSTALLED_MAX_BYTES = 6_000_000;
const PAGE_MAX_BYTES = 30_000;

// An installation, or a program of TypeScript's, takes seconds.
jest.setTimeout(120_000);

let project: ClientProject;
let database: TestDatabase;
let service: ServiceProcess;

beforeAll(async () => {
  const startService = async () => {
    database = await createServiceDatabase();
    service = await ServiceProcess.start({ DATABASE_URL: database.url });
  };
  // Most of an installation is waiting for the registry.
  const install = async () => {
    project = await ClientProject.create();
    await project.install("typescript-5", "typescript@5.9.3");
  };
  await Promise.all([install(), startService()]);
});
beforeEach(() => database.pool.query("TRUNCATE incoming"));
afterAll(async () => {
  await service?.stop();
  await database?.close();
  await project?.[Symbol.asyncDispose]();
});

async function items(): Promise<number[]> {
  const { rows } = await database.pool.query("SELECT property_id FROM incoming ORDER BY property_id");
  return rows.map(({ property_id }) => Number(property_id));
}

/** A program's body that pushes items 1 and 2, by the buffering client and by one that it makes of the contract. */
const PUSHES = () => `
  const stats = createBufferingClient("${service.url}", { ack: "durable" });
  stats.push({ property: "news", section: 3, item: 1 });
  const transport = createConnectTransport({ baseUrl: "${service.url}" });
  const raw = createClient(StatsService, transport);
  const pushed = Promise.all([
    stats.close(),
    raw.push({ property: "news", section: 3, item: 2, ack: AckMode.DURABLE }),
  ]);
`;
const REQUIRES = `
  const { AckMode, createBufferingClient } = require("@stats-service/client");
  const { StatsService } = require("@stats-service/client/contract");
  const { createClient } = require("@connectrpc/connect");
  const { createConnectTransport } = require("@connectrpc/connect-web");
`;
const IMPORTS = `
  import { createClient } from "@connectrpc/connect";
  import { createConnectTransport } from "@connectrpc/connect-web";
  import { AckMode, createBufferingClient } from "@stats-service/client";
  import { StatsService } from "@stats-service/client/contract";
`;

test("it brings three packages and takes less than 6 MB with them", async () => {
  const { packages, bytes } = await project.installed();
  expect(packages).toEqual([
    "@bufbuild/protobuf",
    "@connectrpc/connect",
    "@connectrpc/connect-web",
    "@stats-service/client",
  ]);
  expect(bytes).toBeLessThan(INSTALLED_MAX_BYTES);
});

test("modules of Node import it", async () => {
  await project.run("script.mjs", `${IMPORTS}${PUSHES()} await pushed;`);
  expect(await items()).toEqual([1, 2]);
});

test("CommonJS requires it", async () => {
  await project.run("script.cjs", `${REQUIRES}${PUSHES()}`);
  expect(await items()).toEqual([1, 2]);
});

test("jest runs tests that use it, without any configuration", async () => {
  await project.write(
    "jest/stats.test.js",
    `${REQUIRES} test("pushes", async () => { ${PUSHES()} expect(await pushed).toHaveLength(2); });`,
  );
  await project.write("jest/package.json", "{}");
  const jestProgram = join(ROOT, "node_modules/jest/bin/jest.js");
  const { stderr } = await project.node(jestProgram, "--rootDir", join(project.folder, "jest"));
  expect(stderr).toContain("1 passed");
  expect(await items()).toEqual([1, 2]);
});

test("esbuild makes a page of it that has nothing of Node's and is small", async () => {
  const page = await project.write(
    "page.js",
    `import { createBufferingClient } from "@stats-service/client";
     const stats = createBufferingClient(location.origin);
     document.addEventListener("click", () => stats.push({ property: "clicks", section: 1, item: 1 }));`,
  );
  // It refuses modules of Node's, since a browser has none.
  const options = { bundle: true, minify: true, format: "esm", platform: "browser", write: false } as const;
  const { outputFiles, warnings } = await build({ ...options, entryPoints: [page] });
  expect(warnings).toEqual([]);
  expect(gzipSync(outputFiles[0]?.contents ?? "").length).toBeLessThan(PAGE_MAX_BYTES);
});

describe("TypeScript", () => {
  const CONSUMER = () => `
    ${IMPORTS}
    import { UndeliveredError, createStatsClient } from "@stats-service/client";
    import type {
      BufferingClient, BufferingCounters, Failure, Rejection, StatsClient, StatsEvent,
    } from "@stats-service/client";
    import type { PushBatchResponse } from "@stats-service/client/contract";

    const client: StatsClient = createStatsClient("http://localhost:3000", { token: async () => "t", timeoutMs: 100 });
    export const one = (): Promise<unknown> => client.push({ property: "news", section: 3, item: 42, ack: AckMode.DURABLE });
    export const many = async (): Promise<number> => {
      const answer: PushBatchResponse = await client.pushBatch({ events: [{ property: "news", section: 3, item: 42 }] });
      return answer.accepted + answer.rejections.length;
    };
    const event: StatsEvent = { property: "news", section: 3, item: 42 };
    export const make = async (): Promise<number> => {
      await using other: BufferingClient = createBufferingClient(new URL("http://localhost:3000"), {
        ack: "durable",
        headers: { "x-team": "blue" },
        onRejected: ({ event: { property }, reason }: Rejection) => void [property, reason],
        onError: ({ error, retryInMs }: Failure) => void [error.code, retryInMs],
      });
      const taken: boolean = other.push(event);
      // @ts-expect-error: an item is a number
      other.push({ property: "news", section: 3, item: "42" });
      // @ts-expect-error: there is no such mode
      createBufferingClient("http://localhost:3000", { ack: "sometimes" });
      // @ts-expect-error: counters are read only
      other.counters.pushed = 1;
      const counters: BufferingCounters = other.counters;
      await other.flush({ timeoutMs: 100 }).catch((error: unknown) => error instanceof UndeliveredError);
      return (await other.close()).undelivered + counters.pushed + Number(taken);
    };
    ${PUSHES()}
    void pushed;
  `;
  interface Kind {
    readonly type: "module" | "commonjs";
    readonly module: string;
    readonly moduleResolution?: string;
    /** Whether the libraries' declarations are taken on trust: checking takes seconds, and once for each form is enough. */
    readonly skipLibCheck: boolean;
  }
  const KINDS: Record<string, Kind> = {
    commonjs: { type: "commonjs", module: "commonjs", skipLibCheck: false },
    node16: { type: "commonjs", module: "node16", skipLibCheck: true },
    nodenext: { type: "module", module: "nodenext", skipLibCheck: false },
    bundler: { type: "module", module: "esnext", moduleResolution: "bundler", skipLibCheck: true },
  };

  /** A project of each kind, none of which knows the declarations of Node. */
  async function writeProjects(folder: string): Promise<string[]> {
    const writes = Object.entries(KINDS).map(async ([kind, { type, ...own }]) => {
      const shared = {
        target: "es2022",
        outDir: "out",
        strict: true,
        exactOptionalPropertyTypes: true,
        types: [],
      };
      const compilerOptions = { ...shared, ...own };
      const config = { compilerOptions, files: ["consumer.ts"] };
      await project.write(join(folder, kind, "package.json"), JSON.stringify({ type }));
      await project.write(join(folder, kind, "consumer.ts"), CONSUMER());
      return await project.write(join(folder, kind, "tsconfig.json"), JSON.stringify(config));
    });
    return await Promise.all(writes);
  }

  test.each([
    ["5.9", () => join(project.folder, "typescript-5/node_modules/typescript/bin/tsc")],
    ["7", () => join(ROOT, "node_modules/typescript/bin/tsc")],
  ])("%s compiles projects of each module kind, and what it makes of them runs", async (version, tsc) => {
    const folder = `typescript-${version}-projects`;
    await project.node(tsc(), "--build", ...(await writeProjects(folder)));
    const programs = ["commonjs", "node16", "nodenext"].map((kind) => join(folder, kind, "out/consumer.js"));
    await Promise.all(programs.map((program) => project.node(program)));
    expect(await items()).toEqual([1, 1, 1, 2, 2, 2]);
  });
});

/**
 * A stats service, its PostgreSQL and the network between them, each of which a test can break; it keeps the
 * ledger of what was promised and what came of it.
 */
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Pool, type QueryResult, type QueryResultRow } from "pg";
import { pino } from "pino";
import { fold } from "../../../src/counts/fold.js";
import { DAY, HOUR, QUARTER_HOUR } from "../../../src/counts/tiers.js";
import { verify } from "../../../src/counts/verify.js";
import { EmbeddedPostgres } from "../../../src/postgres/embedded.js";
import { withConnection } from "../../../src/postgres/pool.js";
import { FaultProxy } from "../../support/fault-proxy.js";
import { freePort } from "../../support/free-port.js";
import { type LogLine, type ServiceEnvironment, ServiceProcess } from "../../support/service-process.js";
import { type ProducerOptions, Producers } from "./producers.js";

/** One line of the table: what a fault did to the books. */
export interface LedgerRow {
  readonly fault: string;
  readonly pushed: number;
  readonly acknowledged: number;
  readonly rows: number;
  readonly duplicates: number;
  readonly dead: number;
  readonly spooled: number;
  readonly replayed: number;
  /** Acknowledged and nowhere to be found. */
  readonly lost: number;
  /** In the table more than once, or never pushed. */
  readonly doubled: number;
  /** Keys whose count is not the number of their rows. */
  readonly miscounted: number;
}

const FOLD_TIMEOUT_MS = 60_000;

/** Small bounds, so that a few thousand events already fill batches, memory and spool. */
const SMALL_BOUNDS: ServiceEnvironment = {
  FLUSH_INTERVAL_MS: "50",
  FLUSH_MAX_ROWS: "500",
  QUEUE_MAX_BYTES: "400000",
  LOG_LEVEL: "debug",
  COUNTS_INTERVAL_MS: "100",
};

/** Of producers, unless told otherwise: the short form leaves the processor to the tests that run in parallel. */
const PAUSE_MS = process.env.CHAOS === "full" ? 0 : 5;

/** Breaks things, and keeps the books. */
export class ChaosRig implements AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly dataDir: string;
  readonly #postgresDir: string;
  readonly #postgresPort: number;
  readonly #environment: ServiceEnvironment;
  #postgres: EmbeddedPostgres;
  #service: ServiceProcess | undefined;
  #producers: Producers[] = [];
  /** The log lines of all services that have run. */
  readonly #log: LogLine[] = [];

  private constructor(parts: {
    proxy: FaultProxy;
    dataDir: string;
    postgresDir: string;
    postgresPort: number;
    postgres: EmbeddedPostgres;
    environment: ServiceEnvironment;
  }) {
    this.proxy = parts.proxy;
    this.dataDir = parts.dataDir;
    this.#postgresDir = parts.postgresDir;
    this.#postgresPort = parts.postgresPort;
    this.#postgres = parts.postgres;
    this.#environment = parts.environment;
  }

  /** Everything up and healthy. PostgreSQL's data are in a new directory, or below `postgresParent`. */
  static async start(environment: ServiceEnvironment = {}, postgresParent = tmpdir()): Promise<ChaosRig> {
    const dataDir = await enterableDirectory(tmpdir());
    const postgresDir = await enterableDirectory(postgresParent);
    const postgresPort = await freePort();
    const postgres = newPostgres(postgresDir, postgresPort);
    await postgres.start();
    const proxy = await FaultProxy.inFrontOf(postgres.url);
    const port = await freePort();
    const rig = new ChaosRig({
      proxy,
      dataDir,
      postgresDir,
      postgresPort,
      postgres,
      environment: {
        ...SMALL_BOUNDS,
        DATA_DIR: dataDir,
        DATABASE_URL: proxy.url,
        PORT: String(port),
        ...environment,
      },
    });
    await rig.startService();
    return rig;
  }

  get service(): ServiceProcess {
    if (this.#service === undefined) {
      throw new Error("the service does not run");
    }
    return this.#service;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#environment.PORT}`;
  }

  async startService(overrides: ServiceEnvironment = {}): Promise<void> {
    this.#service = await ServiceProcess.start({ ...this.#environment, ...overrides });
  }

  /** Ends the service by a signal; the exit status of an orderly end is the caller's to check. */
  async endService(signal: NodeJS.Signals): Promise<number | null> {
    const service = this.service;
    const { status } = await service.stop(signal);
    this.#log.push(...service.log);
    this.#service = undefined;
    return status;
  }

  /** Callers begin to push. */
  produce(options: Partial<ProducerOptions> = {}): Producers {
    const producers = new Producers({
      url: () => this.url,
      producers: 16,
      ack: "ACK_MODE_QUEUED",
      pauseMs: PAUSE_MS,
      ...options,
    });
    this.#producers.push(producers);
    return producers;
  }

  /** Speaks to PostgreSQL past the proxy. */
  async query<R extends QueryResultRow>(sql: string, values?: unknown[]): Promise<QueryResult<R>> {
    const client = await this.connect();
    try {
      return await client.query<R>(sql, values);
    } finally {
      await client.end();
    }
  }

  /** A connection past the proxy, for what spans statements. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.#postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  }

  /** Ends PostgreSQL as `pg_ctl stop -m immediate` does: no flush of anything, recovery at the next start. */
  async crashPostgres(): Promise<void> {
    const pidFile = await readFile(join(this.#postgresDir, "postgres/postmaster.pid"), "utf8");
    process.kill(Number(pidFile.split("\n")[0]), "SIGQUIT");
  }

  async stopPostgres(): Promise<void> {
    await this.#postgres.close();
  }

  async startPostgres(): Promise<void> {
    this.#postgres = newPostgres(this.#postgresDir, this.#postgresPort);
    await this.#postgres.start();
  }

  /** How often a message was logged by all services so far. */
  count(message: string): number {
    return this.#lines(message).length;
  }

  /**
   * Ends the producers and the faults, runs the service until queue and spool are empty, and makes up the books.
   * What was not acknowledged may be in the table, once; what was must be.
   */
  async settle(fault: string): Promise<LedgerRow> {
    this.proxy.set("pass");
    await Promise.all(this.#producers.map((producers) => producers.stop()));
    if (this.#service === undefined) {
      await this.startService();
    }
    await this.#untilReplayed();
    const status = await this.endService("SIGTERM");
    if (status !== 0) {
      throw new Error(`the books of the service do not balance: ${JSON.stringify(this.#log.at(-1))}`);
    }
    return this.#audit(fault);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#producers.map((producers) => producers.stop()));
    await this.#service?.[Symbol.asyncDispose]();
    await this.proxy.close();
    await this.#postgres.close();
    await rm(this.dataDir, { recursive: true, force: true });
    await rm(this.#postgresDir, { recursive: true, force: true });
  }

  /** Stops and starts the service until a start finds the spool empty. */
  async #untilReplayed(): Promise<void> {
    for (;;) {
      const opened = await this.service.logged("spool opened");
      if (opened.files !== 0) {
        await this.service.logged("buffer: all of it is replayed");
      }
      await this.endService("SIGTERM");
      await this.startService();
      if ((await this.service.logged("spool opened")).files === 0) {
        return;
      }
    }
  }

  async #audit(fault: string): Promise<LedgerRow> {
    const pushed = new Map(this.#producers.flatMap((producers) => [...producers.pushed]));
    const acknowledged = new Set(this.#producers.flatMap((producers) => [...producers.acknowledged]));
    const { rows } = await this.query<{ id: string; property: string; item: string }>(
      "SELECT id, property, property_id AS item FROM incoming UNION ALL SELECT id, property, property_id FROM incoming_dead",
    );
    const { rows: dead } = await this.query<{ count: string }>("SELECT count(*) FROM incoming_dead");
    const intact = new Set<string>();
    for (const { id, property, item } of rows) {
      const event = pushed.get(id);
      if (event?.property === property && event.itemId === Number(item)) {
        intact.add(id);
      }
    }
    const deadRows = Number(dead[0]?.count);
    return {
      fault,
      pushed: pushed.size,
      acknowledged: acknowledged.size,
      rows: rows.length - deadRows,
      duplicates: this.#sum("stopped", "duplicates"),
      dead: deadRows,
      spooled: this.#sum("batch stored in the buffer", "rows"),
      replayed: this.#sum("buffer: batch replayed", "rows"),
      lost: [...acknowledged].filter((id) => !intact.has(id)).length,
      doubled: rows.length - intact.size,
      miscounted: (await this.#miscounted()) + (await this.#miscounted({ isFolded: true })),
    };
  }

  /** As the service left the counts, with rows that it had not counted yet; or once those are counted, too. */
  async #miscounted({ isFolded = false } = {}): Promise<number> {
    const pool = new Pool({ connectionString: this.#postgres.url, max: 1 });
    pool.on("error", () => undefined);
    try {
      return await withConnection(pool, new AbortController().signal, async (client) => {
        for (const tiers of isFolded ? [[QUARTER_HOUR], [HOUR, DAY]] : []) {
          await fold(client, tiers, { timeoutMs: FOLD_TIMEOUT_MS });
        }
        let keys = 0;
        await verify(client, {}, ({ findings }) => {
          keys += findings?.differences ?? 0;
          if (isFolded && findings?.rows !== findings?.counted) {
            keys += 1;
          }
        });
        return keys;
      });
    } finally {
      await pool.end();
    }
  }

  #lines(message: string): LogLine[] {
    return [...this.#log, ...(this.#service?.log ?? [])].filter(({ msg }) => msg === message);
  }

  #sum(message: string, field: string): number {
    return this.#lines(message).reduce((total, line) => total + Number(line[field] ?? 0), 0);
  }
}

function newPostgres(dataDir: string, port: number): EmbeddedPostgres {
  return new EmbeddedPostgres({ dataDir, port, logger: pino({ level: "silent" }) });
}

async function enterableDirectory(parent: string): Promise<string> {
  const directory = await mkdtemp(join(parent, "stats-chaos-"));
  // For PostgreSQL, which runs as another user when we are root.
  await chmod(directory, 0o755);
  return directory;
}

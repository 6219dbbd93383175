/**
 * What the counts must be, kept apart from the code that keeps them: a model of every event that became a row, and a database on
 * which anything may happen to the rows meanwhile. It never looks at transaction numbers.
 */
import type { Pool, PoolClient } from "pg";
import { pino } from "pino";
import { backfillNext, listDays } from "../../src/counts/backfill.js";
import { adaptToCluster } from "../../src/counts/cluster.js";
import { countBeforeRemoval } from "../../src/counts/counts-keeper.js";
import { fold } from "../../src/counts/fold.js";
import { rebuild } from "../../src/counts/rebuild.js";
import { RemovedRows } from "../../src/counts/removed-rows.js";
import { DAY, HOUR, QUARTER_HOUR, TIERS, type Tier } from "../../src/counts/tiers.js";
import { type VerifiedDay, verify } from "../../src/counts/verify.js";
import { createPartitions, DAY_MS, startOfDay } from "../../src/postgres/partitions.js";
import { removeExpired } from "../../src/postgres/retention.js";
import { replayDeadLetters } from "../../src/sink/dead-letter-replay.js";
import { PostgresSink } from "../../src/sink/postgres-sink.js";
import type { IncomingRow } from "./decoded.js";
import { encodeBatch, row, uuidv7At } from "./encoded.js";

export const FINE: readonly Tier[] = [QUARTER_HOUR];
export const COARSE: readonly Tier[] = [HOUR, DAY];
const TIMEOUT_MS = 60_000;
const NOON = Date.UTC(2026, 2, 10, 12);
/** Days that retention keeps here. Late events come for days that are gone, too. */
const KEPT_DAYS = 2;
/** The service refuses it as a poisonous row, until it is repaired. */
export const POISON = "poison";

/** Numbers in [0, 1) that are the same for the same seed. Source: mulberry32, by Tommy Ettinger, public domain. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Event = Pick<IncomingRow, "id" | "property" | "section" | "itemId" | "stampMs">;

/** A transaction that stays open. */
interface OpenTransaction {
  readonly client: PoolClient;
  readonly events: readonly Event[];
}

/** A database and the events in it. Time is the model's; PostgreSQL's clock plays no part. */
export class CountsModel {
  readonly pool: Pool;
  readonly #random: () => number;
  readonly #sink: PostgresSink;
  #nowMs = NOON;
  #ids = 0;
  /** All that ever became a row, but for what a person deleted to correct it. */
  readonly #ever = new Map<string, Event>();
  /** Those that wait in `incoming_dead`. */
  readonly #dead = new Map<string, Event>();
  #open: OpenTransaction | undefined;
  /** Rows may have gone before they were counted. */
  mayBeIncomplete = false;

  constructor(pool: Pool, random: () => number) {
    this.pool = pool;
    this.#random = random;
    const prepare = () => Promise.resolve();
    this.#sink = new PostgresSink({ pool, prepare, logger: pino({ level: "silent" }) });
  }

  /** The same events in another database, to which they were copied. */
  continuedIn(pool: Pool): CountsModel {
    const model = new CountsModel(pool, this.#random);
    model.#ids = this.#ids;
    model.#keep([...this.#ever.values()]);
    return model;
  }

  /** A whole number from 0 to below `n`. */
  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** Events as callers send them: mostly of now, some late by up to 7 days. */
  #events(count: number, property?: string): IncomingRow[] {
    return Array.from({ length: count }, () => {
      const lateMs = this.below(3) === 0 ? this.below(7 * DAY_MS) : this.below(3_600_000);
      this.#ids += 1;
      return row(uuidv7At(this.#nowMs - lateMs, this.#ids), {
        property: property ?? this.pick(["news", "shop"]),
        section: 1 + this.below(3),
        itemId: 1 + this.below(4),
      });
    });
  }

  #keep(events: readonly Event[]): void {
    for (const event of events) {
      this.#ever.set(event.id, event);
    }
  }

  /** A batch by the service's sink; with duplicates, and with a poisonous row. */
  async push(count = 1 + this.below(20)): Promise<void> {
    const fresh = this.#events(count);
    const known = this.below(3) === 0 ? [...this.#ever.values()].slice(0, 3) : [];
    const duplicates = known.filter(
      ({ section, itemId }) => section > 0 && itemId > 0 && this.#isOwn(section),
    );
    const poison = this.below(4) === 0 ? this.#events(1, POISON) : [];
    const again = duplicates.map(({ id, ...fields }) => row(id, fields));
    // What retention has removed is no duplicate any more: the id is forgotten with its row.
    const { rows } = await this.pool.query<{ id: string }>("SELECT id FROM incoming WHERE id = ANY($1)", [
      again.map(({ id }) => id),
    ]);
    const present = again.filter(({ id }) => rows.some((found) => found.id === id));
    const batch = encodeBatch([...fresh, ...present, ...poison]);
    await this.#sink.write(batch, { signal: new AbortController().signal, attempt: 9 });
    this.#keep(fresh);
    for (const event of poison) {
      this.#dead.set(event.id, event);
    }
  }

  #isOwn(section: number): boolean {
    return section < 10;
  }

  /** A person repairs what the poisonous rows are refused for, and replays them. */
  async replayDead(): Promise<void> {
    await this.endTransaction();
    await this.pool.query("ALTER TABLE incoming DROP CONSTRAINT no_poison");
    await replayDeadLetters(this.pool, undefined);
    await this.pool.query(
      `ALTER TABLE incoming ADD CONSTRAINT no_poison CHECK (property <> '${POISON}') NOT VALID`,
    );
    // Retention removes dead letters, too.
    const { rows } = await this.pool.query<{ id: string }>("SELECT id FROM incoming WHERE id = ANY($1)", [
      [...this.#dead.keys()],
    ]);
    this.#keep(rows.flatMap(({ id }) => this.#dead.get(id) ?? []));
    this.#dead.clear();
  }

  /** By psql: with a stamp that is not the id's, ids of no time, and sections that the service would not take. */
  async insertByHand(): Promise<void> {
    const events = this.#events(1 + this.below(5)).map((event) => ({
      ...event,
      stampMs: startOfDay(this.#nowMs) - this.below(3 * DAY_MS),
      section: this.pick([0, -1, 11, 12]),
      itemId: this.pick([0, -5, 1, 2]),
    }));
    await this.#insert(this.pool, events);
    this.#keep(events);
  }

  /** Many rows at once, of the hour before `beforeMs`. Default: of the model's time. */
  async insertRows(count: number, beforeMs = this.#nowMs): Promise<void> {
    const events = Array.from({ length: count }, () => {
      this.#ids += 1;
      const section = 1 + this.below(5);
      return row(uuidv7At(beforeMs - this.below(3_600_000), this.#ids), {
        section,
        itemId: 1 + this.below(20),
      });
    });
    await this.#insert(this.pool, events);
    this.#keep(events);
  }

  async #insert(client: Pool | PoolClient, events: readonly Event[]): Promise<void> {
    await client.query(
      `INSERT INTO incoming (id, property, property_section, property_id, stamp)
       SELECT id, property, section, item, to_timestamp(ms / 1000)
       FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[]) AS e (id, property, section, item, ms)`,
      [
        events.map(({ id }) => id),
        events.map(({ property }) => property),
        events.map(({ section }) => section),
        events.map(({ itemId }) => itemId),
        events.map(({ stampMs }) => stampMs),
      ],
    );
  }

  /** Inserts in a transaction that goes on, part of it in a savepoint that is undone. */
  async openTransaction(): Promise<void> {
    await this.endTransaction();
    const client = await this.pool.connect();
    const kept = this.#events(3);
    await client.query("BEGIN");
    await this.#insert(client, kept.slice(0, 2));
    await client.query("SAVEPOINT part");
    await this.#insert(client, this.#events(2));
    await client.query("ROLLBACK TO SAVEPOINT part; SAVEPOINT part");
    await this.#insert(client, kept.slice(2));
    this.#open = { client, events: kept };
  }

  async endTransaction(): Promise<void> {
    if (this.#open !== undefined) {
      const { client, events } = this.#open;
      this.#open = undefined;
      const isCommitted = this.below(3) > 0;
      await client.query(isCommitted ? "COMMIT" : "ROLLBACK");
      client.release();
      if (isCommitted) {
        this.#keep(events);
      }
    }
  }

  async #with<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    try {
      return await work(client);
    } finally {
      client.release();
    }
  }

  fold(tiers: readonly Tier[] = this.pick([FINE, COARSE])): Promise<unknown> {
    return this.#with((client) => fold(client, tiers, { timeoutMs: TIMEOUT_MS }));
  }

  /** All that a fold does, but for its commit. */
  async foldAborted(): Promise<void> {
    await this.#with(async (client) => {
      const broken = Object.create(client) as PoolClient;
      broken.query = ((...args: Parameters<PoolClient["query"]>) => {
        if ((args[0] as unknown) === "COMMIT") {
          throw new Error("killed");
        }
        return client.query(...args);
      }) as PoolClient["query"];
      await fold(broken, this.pick([FINE, COARSE]), { timeoutMs: TIMEOUT_MS }).catch(() => undefined);
    });
  }

  /** Two folders, and two writers, at the same time. */
  async foldTogether(): Promise<void> {
    const tiers = this.pick([FINE, COARSE]);
    await Promise.all([this.fold(tiers), this.push(5), this.fold(tiers), this.push(5), this.fold()]);
  }

  /** Rows that wait in the default partition are moved to the partitions of their days. */
  async makePartitions(): Promise<void> {
    await this.endTransaction();
    await createPartitions(this.pool, this.#nowMs, { daysBehind: KEPT_DAYS, daysAhead: 1 });
  }

  advance(): void {
    this.#nowMs += (1 + this.below(2)) * DAY_MS;
  }

  /** RETENTION_DAYS at work. `isStuck`: something holds the state, so nothing can be counted before. */
  async retain(isStuck = false): Promise<void> {
    await this.endTransaction();
    const firstKeptMs = startOfDay(this.#nowMs - KEPT_DAYS * DAY_MS);
    await this.pool.query("UPDATE counts_cluster SET in_use = true");
    const holder = isStuck ? await this.pool.connect() : undefined;
    await holder?.query("BEGIN; SELECT FROM counts_state FOR UPDATE");
    try {
      await this.#with(async (client) => {
        await countBeforeRemoval(client, new Date(firstKeptMs));
        await removeExpired(client, firstKeptMs, { books: new RemovedRows() });
      });
    } finally {
      await holder?.query("ROLLBACK");
      holder?.release();
    }
    this.mayBeIncomplete ||= isStuck;
  }

  /**
   * A person deletes a mistaken push, and has the counts made anew, while events come in. Only of days that have a partition:
   * of another, once it is empty, nobody can tell whether it was deleted or dropped.
   */
  async correct(): Promise<void> {
    const { rows } = await this.pool.query<{ id: string; stampMs: number }>(
      `SELECT id, extract(epoch FROM stamp)::float8 * 1000 AS "stampMs" FROM incoming
       WHERE to_regclass('incoming_' || to_char(stamp AT TIME ZONE 'UTC', 'YYYYMMDD')) IS NOT NULL
         AND NOT EXISTS (SELECT FROM counts_rows_removed WHERE stamp >= start_time AND stamp < end_time)
         AND NOT EXISTS (SELECT FROM counts_incomplete WHERE date_trunc('day', stamp, 'UTC') < end_time
           AND date_trunc('day', stamp, 'UTC') + interval '24 hours' > start_time)
       ORDER BY id LIMIT 200`,
    );
    const mistaken = rows.filter(() => this.below(3) === 0);
    await this.pool.query("DELETE FROM incoming WHERE id = ANY($1)", [mistaken.map(({ id }) => id)]);
    for (const { id } of mistaken) {
      this.#ever.delete(id);
    }
    const [from, to] = [Math.min, Math.max].map((end) => end(...mistaken.map(({ stampMs }) => stampMs)));
    if (from !== undefined && to !== undefined && mistaken.length > 0) {
      await Promise.all([this.rebuild(new Date(from), new Date(to + 1)), this.push(5)]);
    }
  }

  rebuild(from?: Date, to?: Date): Promise<void> {
    return this.#with((client) => rebuild(client, { from, to }, () => undefined));
  }

  /** Old buckets of the finest tiers are dropped, as upkeep does it. */
  async dropCounts(): Promise<void> {
    const tier = this.pick([QUARTER_HOUR, HOUR]);
    const before = new Date(startOfDay(this.#nowMs - 4 * DAY_MS));
    await this.pool.query("UPDATE counts_state SET kept_from = $2 WHERE tier = $1 AND kept_from < $2", [
      tier.name,
      before,
    ]);
    await this.pool.query(`DELETE FROM ${tier.table} WHERE bucket < $1`, [before]);
  }

  /** The database says that it is another cluster's: all numbers are old now. */
  async adapt(): Promise<void> {
    await this.endTransaction();
    await this.pool.query("UPDATE counts_cluster SET system_identifier = 42");
    await this.#with(adaptToCluster);
  }

  async backfill(): Promise<void> {
    await this.#with(async (client) => {
      await listDays(client);
      await backfillNext(client, this.pick([undefined, new Date(this.#nowMs)]));
    });
  }

  async finish(): Promise<void> {
    await this.endTransaction();
    await this.#with(async (client) => {
      await listDays(client);
      while ((await backfillNext(client, undefined)) !== undefined) {
        // One day after the other.
      }
    });
    await this.fold(FINE);
    await this.fold(COARSE);
  }

  /** What `counts verify` finds wrong, in words. */
  async differences(): Promise<string[]> {
    const wrong: VerifiedDay[] = [];
    await this.#with((client) =>
      verify(client, {}, (day) => {
        if ((day.findings?.differences ?? 0) > 0) {
          wrong.push(day);
        }
      }),
    );
    return wrong.map((day) => JSON.stringify(day));
  }

  /** What is wrong by the model, which knows of every event and not of the rows. */
  async errors(): Promise<string[]> {
    const errors: string[] = [];
    for (const tier of TIERS) {
      errors.push(...(await this.#errorsOf(tier)));
    }
    const { rowCount } = await this.pool.query("SELECT FROM counts_incomplete");
    if (!this.mayBeIncomplete && rowCount !== 0) {
      errors.push(`${rowCount} ranges are said to be incomplete`);
    }
    return errors;
  }

  async #errorsOf({ name, table, unitMs }: Tier): Promise<string[]> {
    const { rows } = await this.pool.query<{ key: string; count: number; ms: number }>(
      `SELECT concat_ws('/', property, section, item, extract(epoch FROM bucket)::float8 * 1000) AS key, count::float8 AS count
       FROM ${table}`,
    );
    const state = await this.pool.query<{ ms: number }>(
      "SELECT extract(epoch FROM kept_from)::float8 * 1000 AS ms FROM counts_state WHERE tier = $1",
      [name],
    );
    const incomplete = await this.pool.query<{ start: number; end: number }>(
      `SELECT extract(epoch FROM start_time)::float8 * 1000 AS start, extract(epoch FROM end_time)::float8 * 1000 AS "end"
       FROM counts_incomplete`,
    );
    const counted = new Map(rows.map(({ key, count }) => [key, count]));
    const expected = this.#expected(unitMs, state.rows[0]?.ms ?? 0);
    const errors: string[] = [];
    for (const key of new Set([...counted.keys(), ...expected.keys()])) {
      const [is, ought] = [counted.get(key) ?? 0, expected.get(key) ?? 0];
      const ms = Number(key.split("/").at(-1));
      const isLowerBound = incomplete.rows.some(({ start, end }) => start < ms + unitMs && end > ms);
      if (isLowerBound ? is > ought : is !== ought) {
        errors.push(`${name} ${key}: ${is} counted, ${ought} happened`);
      }
    }
    return errors;
  }

  #expected(bucketMs: number, keptFromMs: number): Map<string, number> {
    const expected = new Map<string, number>();
    for (const { property, section, itemId, stampMs } of this.#ever.values()) {
      const bucket = Math.floor(stampMs / bucketMs) * bucketMs;
      const keys = [
        `${property}/0/0/${bucket}`,
        ...(section > 0 ? [`${property}/${section}/0/${bucket}`] : []),
        ...(section > 0 && itemId > 0 ? [`${property}/${section}/${itemId}/${bucket}`] : []),
      ];
      for (const key of bucket >= keptFromMs ? keys : []) {
        expected.set(key, (expected.get(key) ?? 0) + 1);
      }
    }
    return expected;
  }
}

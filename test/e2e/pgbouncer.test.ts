import { createTestDatabase } from "../support/database.js";
import { describeWith, PGBOUNCER } from "../support/needs.js";
import { TestPgBouncer } from "../support/pgbouncer.js";
import { newEventId, push, pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";

const EVENT = { property: "news", section: 3, id: 42 };

describeWith(PGBOUNCER, "Behind PgBouncer in transaction mode, as it comes", (program) => {
  it("migrates, writes, skips duplicates, buries what is refused, and stops with its books in balance", async () => {
    await using database = await createTestDatabase();
    await using bouncer = await TestPgBouncer.start(program, database.url);
    await using service = await ServiceProcess.start({ DATABASE_URL: bouncer.url });
    await database.pool.query("ALTER TABLE incoming ADD CONSTRAINT odd CHECK (property <> 'odd')");

    await pushMany(service.url, { count: 200, connections: 4 });
    const eventId = newEventId();
    const durable = { ...EVENT, eventId, ack: "ACK_MODE_DURABLE" };
    expect(await push(service.url, durable)).toMatchObject({ status: 200 });
    expect(await push(service.url, durable)).toMatchObject({ status: 200 });
    expect(await push(service.url, { ...EVENT, property: "odd", ack: "ACK_MODE_DURABLE" })).toMatchObject({
      status: 200,
    });

    expect(await service.stop()).toEqual({ status: 0, signal: null });
    expect(service.find("stopped")).toMatchObject({
      accepted: 203,
      inserted: 201,
      duplicates: 1,
      dead: 1,
      missing: 0,
    });
    expect(service.log.filter(({ level }) => level === "error" || level === "fatal")).toEqual([]);
    const { rows } = await database.pool.query("SELECT count(*)::integer AS rows FROM incoming");
    expect(rows).toEqual([{ rows: 201 }]);
  });

  it("leaves no setting of a transaction behind for other users of the pooler", async () => {
    await using database = await createTestDatabase();
    await using bouncer = await TestPgBouncer.start(program, database.url);
    await using service = await ServiceProcess.start({ DATABASE_URL: bouncer.url });
    await push(service.url, { ...EVENT, ack: "ACK_MODE_DURABLE" });
    const { rows } = await database.pool.query(
      "SELECT count(*)::integer AS locks FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    expect(rows).toEqual([{ locks: 0 }]);
    expect(await service.stop()).toEqual({ status: 0, signal: null });
  });

  it("cannot start, and says why, with a parameter that PgBouncer does not take", async () => {
    await using database = await createTestDatabase();
    await using bouncer = await TestPgBouncer.start(program, database.url);
    await using service = ServiceProcess.spawn([], {
      DATABASE_URL: `${bouncer.url}?options=-cwork_mem%3D8MB`,
    });
    expect(await service.logged("cannot start")).toMatchObject({
      reason: expect.stringContaining("leave it out of DATABASE_URL, or tell PgBouncer to ignore it"),
    });
    expect((await service.ended()).status).toBe(1);
  });
});

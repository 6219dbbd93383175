import { asFunction, asValue, createContainer, InjectionMode } from "awilix";
import { disposeInReverse } from "../../../src/app/lifecycle.js";

/** A thing that takes a while to end. */
interface Part {
  readonly name: string;
}

interface Cradle {
  readonly database: Part;
  readonly pool: Part;
  readonly flusher: Part;
  readonly server: Part;
}

/** `server` needs `flusher` needs `pool` needs `database`; registered in another order, on purpose. */
function makeContainer(end: (name: string) => Promise<void>) {
  const container = createContainer<Cradle>({ injectionMode: InjectionMode.PROXY, strict: true });
  const part = (name: string, needs?: keyof Cradle) =>
    asFunction((cradle: Cradle): Part => {
      if (needs !== undefined) {
        void cradle[needs];
      }
      return { name };
    })
      .singleton()
      .disposer(({ name }) => end(name));
  container.register({
    pool: part("pool", "database"),
    server: part("server", "flusher"),
    database: part("database"),
    flusher: part("flusher", "pool"),
  });
  return container;
}

describe("disposeInReverse", () => {
  it("ends each part after those that need it, one at a time", async () => {
    const log: string[] = [];
    const container = makeContainer(async (name) => {
      log.push(`${name} ends`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`${name} ended`);
    });
    container.resolve("server");
    await disposeInReverse(container);
    expect(log).toEqual([
      "server ends",
      "server ended",
      "flusher ends",
      "flusher ended",
      "pool ends",
      "pool ended",
      "database ends",
      "database ended",
    ]);
  });

  it("goes by the order in which parts were made, where none needs the other", async () => {
    const ended: string[] = [];
    const container = makeContainer(async (name) => void ended.push(name));
    for (const name of ["database", "pool", "server"]) {
      container.resolve(name);
    }
    await disposeInReverse(container);
    expect(ended).toEqual(["server", "flusher", "pool", "database"]);
  });

  it("ends only what was made", async () => {
    const ended: string[] = [];
    const container = makeContainer(async (name) => void ended.push(name));
    container.resolve("pool");
    await disposeInReverse(container);
    expect(ended).toEqual(["pool", "database"]);
  });

  it("ends the others when one cannot be ended, and tells of all that could not", async () => {
    const ended: string[] = [];
    const container = makeContainer(async (name) => {
      if (name === "flusher" || name === "database") {
        throw new Error(`${name} hangs`);
      }
      ended.push(name);
    });
    container.resolve("server");
    const error = await disposeInReverse(container).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ errors: [{ message: "flusher hangs" }, { message: "database hangs" }] });
    expect(ended).toEqual(["server", "pool"]);
  });

  it("ends nothing twice", async () => {
    const ended: string[] = [];
    const container = makeContainer(async (name) => void ended.push(name));
    container.resolve("server");
    await Promise.all([disposeInReverse(container), disposeInReverse(container)]);
    await disposeInReverse(container);
    expect(ended).toEqual(["server", "flusher", "pool", "database"]);
  });

  it("passes over what has nothing to be ended", async () => {
    const container = createContainer<{ settings: Part; books: Part }>();
    container.register({
      settings: asValue({ name: "settings" }),
      books: asFunction((): Part => ({ name: "books" })).singleton(),
    });
    container.resolve("settings");
    container.resolve("books");
    await disposeInReverse(container);
  });
});

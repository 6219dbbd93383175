import { pino } from "pino";
import { TokenStore } from "../../../src/auth/token-store.js";
import { FakeClock } from "../../support/fake-clock.js";
import { newToken, type TestToken, TestTokenFile } from "../../support/tokens.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** A store that has loaded these tokens. */
async function load(file: TestTokenFile, clock = new FakeClock()) {
  const log: string[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => void log.push(line) });
  const store = new TokenStore({ file: file.path, clock, logger });
  await store.load();
  return { store, clock, log, nameOf: (token: TestToken) => store.identify(`Bearer ${token.text}`)?.name };
}

/** The same token with the secret of another. */
function withSecretOf(token: TestToken, other: TestToken): TestToken {
  return { ...token, text: `${token.entry.id}.${other.text.split(".")[1]}` };
}

describe("TokenStore", () => {
  it("tells who sends a token, time after time", async () => {
    const shop = newToken({ name: "shop", properties: ["shop", "cart"] });
    const news = newToken({ name: "news" });
    await using file = await TestTokenFile.create(shop, news);
    const { store, nameOf } = await load(file);
    for (let i = 0; i < 3; i++) {
      expect([nameOf(shop), nameOf(news)]).toEqual(["shop", "news"]);
    }
    const caller = store.identify(`bearer ${shop.text}`);
    expect(caller?.properties).toEqual(new Set(["shop", "cart"]));
    expect(store.identify(`Bearer ${news.text}`)?.properties).toBeUndefined();
  });

  it("knows nobody by an unknown id, a wrong secret, or no token", async () => {
    const token = newToken();
    await using file = await TestTokenFile.create(token);
    const { store, nameOf } = await load(file);
    expect(nameOf(newToken())).toBeUndefined();
    expect(nameOf(withSecretOf(token, newToken()))).toBeUndefined();
    expect(store.identify(undefined)).toBeUndefined();
    expect(store.identify("")).toBeUndefined();
    expect(nameOf(token)).toBe("test");
  });

  it("meets an expiry also for a token that it has seen before", async () => {
    const clock = new FakeClock();
    const expires = new Date(clock.now() + DAY_MS).toISOString();
    const token = newToken({ expires });
    await using file = await TestTokenFile.create(token, newToken({ expires: "2020-01-01T00:00:00Z" }));
    const { nameOf } = await load(file, clock);
    expect(nameOf(token)).toBe("test");
    clock.setNow(clock.now() + DAY_MS - 1);
    expect(nameOf(token)).toBe("test");
    clock.setNow(clock.now() + 1);
    expect(nameOf(token)).toBeUndefined();
  });

  it("forgets at once, when it loads the file again, a token that is no longer in it", async () => {
    const [old, kept] = [newToken({ name: "old" }), newToken({ name: "kept" })];
    await using file = await TestTokenFile.create(old, kept);
    const { store, nameOf } = await load(file);
    expect([nameOf(old), nameOf(kept)]).toEqual(["old", "kept"]);
    const added = newToken({ name: "added" });
    await file.hold(kept, added);
    await store.reload();
    expect([nameOf(old), nameOf(kept), nameOf(added)]).toEqual([undefined, "kept", "added"]);
  });

  it("keeps its tokens, and says so, when the file cannot be loaded again", async () => {
    const token = newToken();
    await using file = await TestTokenFile.create(token);
    const { store, log, nameOf } = await load(file);
    await file.write('{"tokens":[');
    await store.reload();
    expect(nameOf(token)).toBe("test");
    expect(JSON.parse(log.at(-1) ?? "")).toMatchObject({
      level: 50,
      reason: `AUTH_TOKENS_FILE: ${file.path}: is not JSON`,
    });
  });

  it("logs no token and no hash", async () => {
    const token = newToken();
    await using file = await TestTokenFile.create(token);
    const { store, log, nameOf } = await load(file);
    nameOf(token);
    nameOf(withSecretOf(token, newToken()));
    await file.write(token.text);
    await store.reload();
    expect(log.join("")).not.toContain(token.text.slice(20));
    expect(log.join("")).not.toContain(token.entry.sha256);
  });
});

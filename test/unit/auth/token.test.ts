import { createHash } from "node:crypto";
import { formatToken, hashSecret, makeToken, parseAuthorization } from "../../../src/auth/token.js";

describe("a token", () => {
  it("carries 256 random bits, and is another one each time", () => {
    const tokens = Array.from({ length: 100 }, makeToken);
    expect(Buffer.from(tokens[0]?.secret ?? "", "base64url")).toHaveLength(32);
    expect(new Set(tokens.map(({ id }) => id)).size).toBe(100);
    expect(new Set(tokens.map(({ secret }) => secret)).size).toBe(100);
  });

  it.each(["Bearer", "bearer", "BEARER"])("is found behind the scheme %s", (scheme) => {
    const token = makeToken();
    expect(parseAuthorization(`${scheme} ${formatToken(token)}`)).toEqual(token);
  });

  it("is found in nothing that differs from its form", () => {
    const text = formatToken(makeToken());
    for (const header of [
      "",
      text,
      "Bearer",
      "Bearer ",
      `Basic ${text}`,
      `Bearer ${text}=`,
      `Bearer ${text} `,
      `Bearer  ${text}`,
      `Bearer ${text}, Bearer ${text}`,
      `Bearer ${text.slice(1)}`,
      `Bearer ${text.slice(0, -1)}`,
      `Bearer ${text.toUpperCase()}`,
      `Bearer ${text.replace(".", "")}`,
    ]) {
      expect(parseAuthorization(header)).toBeUndefined();
    }
  });

  it("is hashed by SHA-256", () => {
    const { secret } = makeToken();
    expect(hashSecret(secret)).toEqual(createHash("sha256").update(secret, "ascii").digest());
  });
});

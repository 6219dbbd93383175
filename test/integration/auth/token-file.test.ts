import { chmod, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { changeTokenFile, readTokenFile } from "../../../src/auth/token-file.js";
import { newToken, TestTokenFile } from "../../support/tokens.js";

const { entry } = newToken();

describe("a file of tokens", () => {
  it.each<[fault: string, content: unknown]>([
    ["tokens: Invalid input: expected array, received undefined", {}],
    ['Unrecognized key: "token"', { tokens: [], token: [] }],
    ['tokens[0]: Unrecognized key: "propertes"', { tokens: [{ ...entry, propertes: ["news"] }] }],
    ["tokens[1].id: is the same as that of tokens[0]", { tokens: [entry, entry] }],
    ["tokens[0].id: must be 16 hexadecimal digits", { tokens: [{ ...entry, id: "x" }] }],
    ["tokens[0].name: must not be empty", { tokens: [{ ...entry, name: "" }] }],
    ["tokens[0].sha256: must be the SHA-256", { tokens: [{ ...entry, sha256: "0" }] }],
    ["tokens[0].name: must have no line breaks", { tokens: [{ ...entry, name: "a\nb" }] }],
    ["tokens[0].name: must have no line breaks", { tokens: [{ ...entry, name: "a\u2028b" }] }],
    ["tokens[0].name: must have no line breaks", { tokens: [{ ...entry, name: "a\u001b[2Jb" }] }],
    ["tokens[0].properties: must name a property", { tokens: [{ ...entry, properties: [] }] }],
    ["tokens[0].properties[1]: must match", { tokens: [{ ...entry, properties: ["news", "No"] }] }],
    ["tokens[0].expires: must be a time", { tokens: [{ ...entry, expires: "tomorrow" }] }],
  ])("is refused by name of the entry and the field: %s", async (fault, content) => {
    await using file = await TestTokenFile.create();
    await file.write(JSON.stringify(content));
    const reading = readTokenFile(file.path);
    await expect(reading).rejects.toThrow(`AUTH_TOKENS_FILE: ${file.path}: ${fault}`);
  });

  it("that is not there is refused with the reason", async () => {
    await using file = await TestTokenFile.create();
    const reading = readTokenFile(join(file.directory, "none"));
    await expect(reading).rejects.toThrow("cannot be read: ENOENT");
  });

  it("is made with its first entry, for its owner alone, and changed as a whole", async () => {
    await using file = await TestTokenFile.create();
    const path = join(file.directory, "new.json");
    await changeTokenFile(path, (entries) => [...entries, entry]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await chmod(path, 0o644);
    const second = newToken().entry;
    await changeTokenFile(path, (entries) => [...entries, second]);
    expect(await readTokenFile(path)).toEqual([entry, second]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(file.directory)).toEqual(["new.json", "tokens.json"]);
  });

  it("stays where a symbolic link to it leads", async () => {
    await using file = await TestTokenFile.create();
    const link = join(file.directory, "link.json");
    await symlink(file.path, link);
    await changeTokenFile(link, () => [entry]);
    expect(JSON.parse(await readFile(file.path, "utf8"))).toEqual({ tokens: [entry] });
  });

  it("is left as it was by a change that fails", async () => {
    await using file = await TestTokenFile.create();
    const failing = changeTokenFile(file.path, () => {
      throw new Error("thrown by the test");
    });
    await expect(failing).rejects.toThrow("thrown by the test");
    await file.write("{");
    await expect(changeTokenFile(file.path, () => [])).rejects.toThrow("is not JSON");
    expect(await readdir(file.directory)).toEqual(["tokens.json"]);
    expect(await readFile(file.path, "utf8")).toBe("{");
  });

  it("is not changed by two at once", async () => {
    await using file = await TestTokenFile.create();
    await writeFile(`${file.path}.new`, "");
    await expect(changeTokenFile(file.path, () => [entry])).rejects.toThrow(
      "another command is changing it; if none is, remove tokens.json.new beside it",
    );
    expect(await readTokenFile(file.path)).toEqual([]);
  });
});

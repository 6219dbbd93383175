/** Tokens for tests, and files of them; it never leaves a file behind. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatToken, hashSecret, makeToken } from "../../src/auth/token.js";
import type { TokenEntry } from "../../src/auth/token-file.js";

/** A token as its holder has it, and as the file has it. */
export interface TestToken {
  readonly text: string;
  readonly entry: TokenEntry;
}

/** A new token that may push anything and never expires, unless `fields` say otherwise. */
export function newToken(fields: Partial<Omit<TokenEntry, "id" | "sha256">> = {}): TestToken {
  const token = makeToken();
  const sha256 = hashSecret(token.secret).toString("hex");
  return { text: formatToken(token), entry: { id: token.id, name: "test", sha256, ...fields } };
}

/** A file of tokens in a folder of its own. */
export class TestTokenFile implements AsyncDisposable {
  readonly directory: string;
  readonly path: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.path = join(directory, "tokens.json");
  }

  static async create(...tokens: readonly TestToken[]): Promise<TestTokenFile> {
    const file = new TestTokenFile(await mkdtemp(join(tmpdir(), "stats-tokens-")));
    await file.hold(...tokens);
    return file;
  }

  /** Puts these tokens into the file, and no others. */
  async hold(...tokens: readonly TestToken[]): Promise<void> {
    await this.write(JSON.stringify({ tokens: tokens.map(({ entry }) => entry) }));
  }

  async write(text: string): Promise<void> {
    await writeFile(this.path, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true });
  }
}

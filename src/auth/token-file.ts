/** The file of tokens: reads, checks and rewrites it; it never holds or logs a token, only the hashes. */
import { type FileHandle, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { z } from "zod";
import { PROPERTY_PATTERN } from "../ingest/admission.js";
import { codeOf, messageOf } from "../util/error-message.js";
import { TOKEN_HASH_PATTERN, TOKEN_ID_PATTERN } from "./token.js";

const NAME_MAX_CHARACTERS = 64;
const OWNER_ONLY = 0o600;

/** The file cannot be used; the message is one line that names the file and, where it can, the entry and field. */
export class TokenFileError extends Error {
  override readonly name = "TokenFileError";

  constructor(path: string, fault: string, options?: ErrorOptions) {
    super(`AUTH_TOKENS_FILE: ${path}: ${fault}`, options);
  }
}

/** What a token may allow. */
export const TOKEN_PERMISSIONS = ["push", "read"] as const;
export type TokenPermission = (typeof TOKEN_PERMISSIONS)[number];

/** What a token allows that says nothing of it: all tokens once did no more. */
export const DEFAULT_PERMISSIONS: readonly TokenPermission[] = ["push"];

/** Strict: a misspelt `properties` would otherwise allow all of them. */
const entrySchema = z.strictObject({
  id: z.string().regex(TOKEN_ID_PATTERN, "must be 16 hexadecimal digits, as `token create` makes them"),
  name: z
    .string()
    .min(1, "must not be empty")
    .max(NAME_MAX_CHARACTERS, `must have at most ${NAME_MAX_CHARACTERS} characters`)
    // In a list, which has a line for each, it could pass for another entry.
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "must have no line breaks or control characters"),
  sha256: z.string().regex(TOKEN_HASH_PATTERN, "must be the SHA-256 of the secret, as 64 hexadecimal digits"),
  may: z
    .array(z.enum(TOKEN_PERMISSIONS, `must be ${TOKEN_PERMISSIONS.join(" or ")}`))
    .min(1, "must name what the token allows; leave the field out for push")
    .optional(),
  properties: z
    .array(z.string().regex(PROPERTY_PATTERN, `must match ${PROPERTY_PATTERN.source}`))
    .min(1, "must name a property; leave the field out to allow all")
    .optional(),
  expires: z.iso
    .datetime({ offset: true, error: 'must be a time such as "2030-01-31T00:00:00Z"' })
    .optional(),
});

const fileSchema = z.strictObject({ tokens: z.array(entrySchema) }).superRefine(({ tokens }, context) => {
  const places = new Map<string, number>();
  for (const [index, { id }] of tokens.entries()) {
    const first = places.get(id);
    if (first !== undefined) {
      const message = `is the same as that of tokens[${first}]`;
      context.addIssue({ code: "custom", path: ["tokens", index, "id"], message });
    }
    places.set(id, first ?? index);
  }
});

/** A token as the file has it: without its secret. */
export type TokenEntry = Readonly<z.output<typeof entrySchema>>;

/** What is wrong with an entry, beginning with its field; undefined when nothing is. */
export function tokenEntryFault(entry: TokenEntry): string | undefined {
  const parsed = entrySchema.safeParse(entry);
  return parsed.success ? undefined : formatFault(parsed.error);
}

/**
 * Reads and checks a file of tokens.
 *
 * @throws TokenFileError
 */
export async function readTokenFile(path: string): Promise<readonly TokenEntry[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new TokenFileError(path, `cannot be read: ${messageOf(cause)}`, { cause });
  }
  return parseTokenFile(path, text);
}

function parseTokenFile(path: string, text: string): readonly TokenEntry[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Node's message quotes the text, in which someone may have put a token.
    throw new TokenFileError(path, "is not JSON");
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    throw new TokenFileError(path, formatFault(parsed.error));
  }
  return parsed.data.tokens;
}

/** The first fault, as `tokens[2].expires: must be …`. */
function formatFault({ issues: [issue] }: z.ZodError): string {
  const place = (issue?.path ?? [])
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("")
    .replace(/^\./, "");
  return `${place === "" ? "" : `${place}: `}${issue?.message}`;
}

/**
 * Changes the entries of a file, which need not be there yet. Whoever reads it meanwhile sees the old ones or the new
 * ones. Only the owner, who stays the same, may read it then.
 *
 * @throws TokenFileError
 */
export async function changeTokenFile(
  path: string,
  change: (entries: readonly TokenEntry[]) => readonly TokenEntry[],
): Promise<void> {
  // Behind a symbolic link, the file is replaced and not the link.
  const target = await realpath(path).catch(() => path);
  const temporary = `${target}.new`;
  const handle = await openExclusively(temporary, path);
  try {
    const existing = await stat(target).catch(() => undefined);
    const entries = existing === undefined ? [] : await readTokenFile(path);
    const text = `${JSON.stringify({ tokens: change(entries) }, undefined, 2)}\n`;
    await handle.writeFile(text);
    if (existing !== undefined && process.getuid?.() === 0) {
      await handle.chown(existing.uid, existing.gid);
    }
    await handle.sync();
    await rename(temporary, target);
    await syncDirectory(dirname(target));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error instanceof TokenFileError
      ? error
      : new TokenFileError(path, `cannot be written: ${messageOf(error)}`, { cause: error });
  } finally {
    await handle.close();
  }
}

/** The temporary file is also the lock that keeps two commands from undoing each other's change. */
async function openExclusively(temporary: string, path: string): Promise<FileHandle> {
  try {
    return await open(temporary, "wx", OWNER_ONLY);
  } catch (cause) {
    const isThere = codeOf(cause) === "EEXIST";
    const reason = isThere
      ? `another command is changing it; if none is, remove ${basename(temporary)} beside it`
      : `cannot be written: ${messageOf(cause)}`;
    throw new TokenFileError(path, reason, { cause });
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

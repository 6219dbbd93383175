/** The commands `token create`, `token list` and `token revoke`: what callers prove by who they are. */

import { InvalidArgumentError } from "commander";
import { formatToken, hashSecret, makeToken } from "../auth/token.js";
import {
  changeTokenFile,
  DEFAULT_PERMISSIONS,
  readTokenFile,
  TOKEN_PERMISSIONS,
  type TokenEntry,
  TokenFileError,
  type TokenPermission,
  tokenEntryFault,
} from "../auth/token-file.js";
import { type Call, type CommandDefinition, UsageError } from "./command.js";
import { complain, print } from "./print.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const DAYS_PATTERN = /^(\d{1,5})d$/;
const DATE_PATTERN = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/;

const SETTINGS = ["authTokensFile"] as const;

type TokenCall<Options> = Call<Options, "authTokensFile">;

interface CreateOptions {
  readonly name: string;
  readonly may?: TokenPermission[];
  readonly properties?: readonly string[];
  /** ISO 8601. */
  readonly expires?: string;
  readonly json?: boolean;
}

interface ListOptions {
  readonly json?: boolean;
}

export const defineToken: CommandDefinition = (command, line) => {
  command.description("The tokens that callers must have when AUTH_TOKENS_FILE is set.");
  const create = command
    .command("create")
    .summary("make a token, show it once, and add its hash to AUTH_TOKENS_FILE")
    .description(
      "Make a token, print it, and add its hash to AUTH_TOKENS_FILE. The token itself is kept nowhere. Without " +
        "AUTH_TOKENS_FILE its entry is printed, for you to add.",
    )
    .requiredOption("--name <NAME>", "who will hold it; shown by token list")
    .option("--may <push,read>", "what it allows: to push events, to read counts (default: push)", parseMay)
    .option("--properties <A,B>", "the properties that it is for (default: all)", parseList)
    .option(
      "--expires <90d|DATE>",
      "days from now, or a date or time such as 2030-01-31 (default: never)",
      parseExpiry,
    )
    .option("--json", "the token and its entry as one line of JSON");
  line.runs(create, SETTINGS, (call: TokenCall<CreateOptions>) => explainingFaults(() => createToken(call)));
  const list = command
    .command("list")
    .summary("show the tokens, without what is secret")
    .description("Show the tokens in AUTH_TOKENS_FILE, without what is secret.")
    .option("--json", "one line of JSON for each");
  line.runs(list, SETTINGS, (call: TokenCall<ListOptions>) => explainingFaults(() => listTokens(call)));
  const revoke = command
    .command("revoke")
    .summary("take a token out of AUTH_TOKENS_FILE")
    .description("Take a token out of AUTH_TOKENS_FILE. A running service knows it after SIGHUP.")
    .argument("<id>", "id, as token list shows it");
  line.runs(revoke, SETTINGS, (call: TokenCall<object>) => explainingFaults(() => revokeToken(call)));
};

const HOW_TO_APPLY = "A running service knows it after SIGHUP.";

async function createToken({ options, read }: TokenCall<CreateOptions>): Promise<void> {
  const { authTokensFile: file } = read("authTokensFile");
  const { name, may, properties, expires } = options;
  const token = makeToken();
  const entry: TokenEntry = {
    id: token.id,
    name,
    sha256: hashSecret(token.secret).toString("hex"),
    ...(may && { may }),
    ...(properties && { properties: [...properties] }),
    ...(expires && { expires }),
  };
  const fault = tokenEntryFault(entry);
  if (fault !== undefined) {
    throw new UsageError(`--${fault}`);
  }
  if (file !== undefined) {
    await changeTokenFile(file, (entries) => [...entries, entry]);
  }
  const text = formatToken(token);
  print([options.json === true ? JSON.stringify({ token: text, entry }) : text]);
  process.stderr.write(
    file === undefined
      ? `This is the only time that the token is shown. AUTH_TOKENS_FILE is not set; the entry for it is\n${JSON.stringify(entry)}\n`
      : `This is the only time that the token is shown. Its hash is in ${file}. ${HOW_TO_APPLY}\n`,
  );
}

async function listTokens({ options, read }: TokenCall<ListOptions>): Promise<void> {
  const entries = await readTokenFile(requireFile(read));
  const lines = entries.map(({ id, name, may = DEFAULT_PERMISSIONS, properties, expires }) =>
    options.json === true
      ? JSON.stringify({ id, name, may, properties, expires })
      : `${id}  ${name}  ${may.join(",")}  ${properties?.join(",") ?? "any property"}  ${expires ?? "never expires"}`,
  );
  print(lines);
}

async function revokeToken({ operands: [id], read }: TokenCall<object>): Promise<void> {
  const file = requireFile(read);
  await changeTokenFile(file, (entries) => {
    const rest = entries.filter((entry) => entry.id !== id);
    if (rest.length === entries.length) {
      throw new TokenFileError(file, "has no token with this id; token list shows those it has");
    }
    return rest;
  });
  process.stderr.write(`The token is no longer in ${file}. ${HOW_TO_APPLY}\n`);
}

async function explainingFaults(work: () => Promise<void>): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    if (error instanceof TokenFileError) {
      complain(error.message);
      return 1;
    }
    throw error;
  }
}

function requireFile(read: TokenCall<object>["read"]): string {
  const { authTokensFile } = read("authTokensFile");
  if (authTokensFile === undefined) {
    throw new UsageError("AUTH_TOKENS_FILE is not set: there are no tokens");
  }
  return authTokensFile;
}

function parseList(text: string): string[] {
  return text.split(",").map((name) => name.trim());
}

function parseMay(text: string): TokenPermission[] {
  const may = TOKEN_PERMISSIONS.filter((permission) => parseList(text).includes(permission));
  if (may.length !== parseList(text).length) {
    throw new InvalidArgumentError("It takes push, read, or push,read.");
  }
  return may;
}

/** The time as ISO 8601. */
function parseExpiry(text: string): string {
  const days = DAYS_PATTERN.exec(text)?.[1];
  const timeMs = days === undefined ? parseDate(text) : Date.now() + Number(days) * DAY_MS;
  if (!(timeMs > Date.now())) {
    throw new InvalidArgumentError("It takes days, as in 90d, or a date or time to come, as in 2030-01-31.");
  }
  return new Date(timeMs).toISOString();
}

/** NaN when it is none. A date is its first moment in UTC. */
function parseDate(text: string): number {
  const [day = ""] = text.split("T", 1);
  // Date.parse takes February 31 for March 3.
  const isDay = DATE_PATTERN.test(text) && Number.isFinite(Date.parse(day));
  return isDay && new Date(day).toISOString().startsWith(day) ? Date.parse(text) : Number.NaN;
}

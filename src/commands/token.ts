/** The commands `token create`, `token list` and `token revoke`: what callers prove by who they are. */
import { formatToken, hashSecret, makeToken } from "../auth/token.js";
import {
  changeTokenFile,
  readTokenFile,
  type TokenEntry,
  TokenFileError,
  tokenEntryFault,
} from "../auth/token-file.js";
import type { Config } from "../config.js";
import type { Command, CommandLine, CommandOption } from "./command.js";
import { complain, print } from "./print.js";
import { UsageError } from "./usage-error.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const DAYS_PATTERN = /^(\d{1,5})d$/;
const DATE_PATTERN = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/;

const JSON_OPTION: CommandOption = { type: "boolean", description: "the result as JSON" };

export const tokenCreateCommand: Command = {
  run: (config, line) => explainingFaults(() => createToken(config, line)),
  description: "make a token, print it once, and add its hash to AUTH_TOKENS_FILE",
  options: {
    name: { type: "string", placeholder: "NAME", description: "who will hold it; required" },
    properties: { type: "string", placeholder: "A,B", description: "what it may push; absent: anything" },
    expires: {
      type: "string",
      placeholder: "90d|DATE",
      description: "days from now, or a date or time such as 2030-01-31; absent: never",
    },
    json: JSON_OPTION,
  },
};

export const tokenListCommand: Command = {
  run: (config, line) => explainingFaults(() => listTokens(config, line)),
  description: "show the tokens in AUTH_TOKENS_FILE, without what is secret",
  options: { json: JSON_OPTION },
};

export const tokenRevokeCommand: Command = {
  run: (config, line) => explainingFaults(() => revokeToken(config, line)),
  description: "take a token out of AUTH_TOKENS_FILE",
  operands: "id",
};

const HOW_TO_APPLY = "A running service knows it after SIGHUP.";

async function createToken({ authTokensFile: file }: Config, { options }: CommandLine): Promise<void> {
  const token = makeToken();
  const entry: TokenEntry = {
    id: token.id,
    name: readName(options.name),
    sha256: hashSecret(token.secret).toString("hex"),
    ...readProperties(options.properties),
    ...readExpiry(options.expires),
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

async function listTokens(config: Config, { options }: CommandLine): Promise<void> {
  const entries = await readTokenFile(requireFile(config));
  const lines = entries.map(({ id, name, properties, expires }) =>
    options.json === true
      ? JSON.stringify({ id, name, properties, expires })
      : `${id}  ${name}  ${properties?.join(",") ?? "any property"}  ${expires ?? "never expires"}`,
  );
  print(lines);
}

async function revokeToken(config: Config, { operands: [id, ...more] }: CommandLine): Promise<void> {
  if (id === undefined || more.length > 0) {
    throw new UsageError("token revoke takes the id of one token; token list shows them");
  }
  const file = requireFile(config);
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

function requireFile({ authTokensFile }: Config): string {
  if (authTokensFile === undefined) {
    throw new UsageError("AUTH_TOKENS_FILE is not set: there are no tokens");
  }
  return authTokensFile;
}

type OptionValue = CommandLine["options"][string];

function readName(value: OptionValue): string {
  if (typeof value !== "string" || value === "") {
    throw new UsageError("--name is required: whoever reads the list has to know whose token it is");
  }
  return value;
}

function readProperties(value: OptionValue): Pick<TokenEntry, "properties"> {
  return typeof value === "string" ? { properties: value.split(",").map((name) => name.trim()) } : {};
}

function readExpiry(value: OptionValue): Pick<TokenEntry, "expires"> {
  if (typeof value !== "string") {
    return {};
  }
  const days = DAYS_PATTERN.exec(value)?.[1];
  const timeMs = days === undefined ? parseDate(value) : Date.now() + Number(days) * DAY_MS;
  if (!(timeMs > Date.now())) {
    throw new UsageError("--expires takes days, as in 90d, or a date or time to come, as in 2030-01-31");
  }
  return { expires: new Date(timeMs).toISOString() };
}

/** NaN when it is none. A date is its first moment in UTC. */
function parseDate(text: string): number {
  const [day = ""] = text.split("T", 1);
  // Date.parse takes February 31 for March 3.
  const isDay = DATE_PATTERN.test(text) && Number.isFinite(Date.parse(day));
  return isDay && new Date(day).toISOString().startsWith(day) ? Date.parse(text) : Number.NaN;
}

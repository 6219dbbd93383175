/** Tests that need a program which npm does not bring: skipped, and said so, where it is missing; failed in CI. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export interface Program {
  readonly name: string;
  /** What it is called, the preferred name first. */
  readonly commands: readonly string[];
  /** The environment variable that names the file to run, before any other. */
  readonly variable: string;
  /** Usual places that are not folders of PATH, as whole paths. */
  readonly places?: readonly string[];
  readonly debianPackage: string;
}

export const CHROMIUM: Program = {
  name: "Chromium",
  commands: ["chromium", "chromium-browser", "google-chrome"],
  variable: "CHROMIUM_PATH",
  places: [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ],
  debianPackage: "chromium",
};

export const NATS_SERVER: Program = {
  name: "nats-server",
  commands: ["nats-server"],
  variable: "NATS_SERVER_PATH",
  debianPackage: "nats-server",
};

export const PGBOUNCER: Program = {
  name: "PgBouncer",
  commands: ["pgbouncer"],
  variable: "PGBOUNCER_PATH",
  debianPackage: "pgbouncer",
};

export const HAPROXY: Program = {
  name: "HAProxy",
  commands: ["haproxy"],
  variable: "HAPROXY_PATH",
  debianPackage: "haproxy",
};

export const NGINX: Program = {
  name: "nginx",
  commands: ["nginx"],
  variable: "NGINX_PATH",
  debianPackage: "nginx-light",
};

/** Debian installs servers in the first, which is on the PATH of root alone. */
const USUAL_FOLDERS = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/snap/bin"];

/** The file to run; undefined when there is none. */
export function findProgram({ commands, variable, places = [] }: Program): string | undefined {
  const named = process.env[variable];
  if (named !== undefined) {
    return isExecutable(named) ? named : undefined;
  }
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...USUAL_FOLDERS];
  const candidates = commands.flatMap((command) => folders.map((folder) => join(folder, command)));
  return [...candidates, ...places].find(isExecutable);
}

/**
 * Like `describe`, for tests that run `program`; `body` gets the file to run. Where it is missing the tests are skipped
 * with a line that says what to install; when the environment says CI=true, one test that fails stands for them.
 */
export function describeWith(program: Program, title: string, body: (path: string) => void): void {
  const path = findProgram(program);
  if (path !== undefined) {
    describe(title, () => body(path));
    return;
  }
  const reason =
    `${title}: needs ${program.name}, which is not installed here: ` +
    `apt-get install ${program.debianPackage}, or name it in ${program.variable}`;
  if (process.env.CI === "true") {
    test(title, () => {
      throw new Error(reason);
    });
    return;
  }
  process.stderr.write(`skipped: ${reason}\n`);
  describe.skip(title, () => body(program.commands[0] ?? program.name));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

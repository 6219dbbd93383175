/** Runs commands in the test's own process: a start of a process costs ten times the CPU of most commands. */
import { jest } from "@jest/globals";
import { runCli } from "../../src/cli.js";
import { EarlySignals } from "../../src/util/early-signals.js";

/** How a command ended, and what it said. */
export interface CommandRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** For commands that neither read standard input nor log: those write past what this sees. */
export async function runCommand(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandRun> {
  const signals = new EarlySignals();
  const said = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((stream) =>
    jest.spyOn(process[stream], "write").mockImplementation((chunk) => {
      said[stream] += String(chunk);
      return true;
    }),
  );
  try {
    const status = await runCli(args, environment, signals);
    return { status, ...said };
  } finally {
    signals.release();
    for (const spy of spies) {
      spy.mockRestore();
    }
  }
}

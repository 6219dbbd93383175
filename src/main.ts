#!/usr/bin/env node
/** The process: runs the command line and ends with its exit status. */
import { runCli } from "./cli.js";
import { endProcess } from "./process-life.js";

endProcess(await runCli(process.argv.slice(2), process.env));

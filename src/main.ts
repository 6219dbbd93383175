#!/usr/bin/env node
import { endProcess } from "./app/process-life.js";
/** The process: runs the command line and ends with its exit status. */
import { runCli } from "./cli.js";

endProcess(await runCli(process.argv.slice(2), process.env));

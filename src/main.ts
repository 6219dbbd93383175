#!/usr/bin/env node
/** The process: runs the command line and ends with its exit status. */
import { runCli } from "./cli.js";

process.exit(await runCli(process.argv.slice(2), process.env));

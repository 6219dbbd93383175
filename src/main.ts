#!/usr/bin/env node
/** The process: holds signals from its first line on, runs the command line, and ends with its exit status. */
import { EarlySignals } from "./util/early-signals.js";

const signals = new EarlySignals();
// Loaded only now: it takes a good part of a second on a busy machine, in which a signal would end the process.
const [{ runCli }, { endProcess }] = await Promise.all([import("./cli.js"), import("./util/end-process.js")]);
endProcess(await runCli(process.argv.slice(2), process.env, signals));

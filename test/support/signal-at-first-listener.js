/** For `node --import`: sends the process EARLY_SIGNAL as soon as it listens to any signal. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

const signalOnce = () => {
  if (SIGNALS.some((signal) => process.listenerCount(signal) > 0)) {
    process.kill(process.pid, process.env.EARLY_SIGNAL);
  } else {
    setImmediate(signalOnce);
  }
};
signalOnce();

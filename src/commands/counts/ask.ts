/** What all commands that query have in common: how they find the service, read a range of time, and word what goes wrong. */
import { Code, ConnectError } from "@connectrpc/connect";
import { type CountsClient, createCountsClient } from "../../../client/src/stats-client.js";
import { findTimeZone, type TimeZone } from "../../counts/time-zone.js";
import { systemClock } from "../../util/clock.js";
import { type Call, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, UsageError } from "../command.js";
import { complain } from "../print.js";
import { diagnose } from "../push/diagnosis.js";
import { SERVICE_URL_SETTINGS, serviceUrl } from "../service-url.js";
import { type QueryRange, readRange } from "./range.js";

export const QUERY_SETTINGS = [...SERVICE_URL_SETTINGS, "statsToken"] as const;

export interface QueryOptions {
  readonly last?: string;
  readonly from?: string;
  readonly to?: string;
  readonly zone: string;
  readonly compare?: boolean;
  readonly csv?: boolean;
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
}

/** What a command asks with. */
export interface Question {
  readonly client: CountsClient;
  readonly range: QueryRange;
  readonly zone: TimeZone;
}

/**
 * Lets a command ask and print. Resolves with the exit status; why there is no answer is said on standard error.
 *
 * @throws UsageError when the options do not say a range or a zone
 */
export async function ask(
  { options, read }: Call<QueryOptions, (typeof QUERY_SETTINGS)[number]>,
  show: (question: Question) => Promise<void>,
): Promise<number> {
  const zone = findTimeZone(options.zone);
  if (zone === undefined) {
    throw new UsageError(`--zone takes the name of a time zone such as Europe/Berlin, not ${options.zone}`);
  }
  const range = readRange(options, zone, systemClock.now());
  const url = options.url ?? serviceUrl(read);
  const token = options.token ?? read("statsToken").statsToken;
  try {
    await show({ client: createClient(url, token), range, zone });
    return 0;
  } catch (error) {
    if (error instanceof ConnectError) {
      return await explain(error, url);
    }
    throw error;
  }
}

function createClient(url: string, token: string | undefined): CountsClient {
  try {
    return createCountsClient(url, { token });
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message.replace(/^baseUrl/, "--url")) : error;
  }
}

async function explain(error: ConnectError, url: string): Promise<number> {
  switch (error.code) {
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      complain(`the service refuses: ${error.rawMessage}`);
      return EXIT_REFUSED;
    case Code.InvalidArgument:
      complain(error.rawMessage);
      return EXIT_USAGE;
    case Code.Unavailable:
    case Code.Unimplemented:
      // The service itself says in the details why it has no answer now.
      if (error.details.length === 0) {
        complain((await diagnose(url, error)).message);
        return EXIT_UNREACHABLE;
      }
      break;
  }
  complain(`no answer: ${error.rawMessage}`);
  return 1;
}

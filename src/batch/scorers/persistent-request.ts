import { setTimeout as sleep } from 'node:timers/promises';
import { RunError } from '../errors';
import type { Problem } from '../item';

export interface ServerAddress {
  /** Where the server is, with its path if it is not at the root. */
  readonly url: string;
  /** Sent as a bearer token; empty without one. */
  readonly apiKey: string;
}

export interface ServerAnswer {
  readonly status: number;
  readonly retryAfterSeconds?: number;
  /** Of JSON what it says, of anything else its text. */
  readonly body: Partial<Problem> | string;
}

/** What may be asked of a server again. */
interface ServerRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
}

/** What a refusal without `Retry-After` waits at first, and at most. */
const PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 60;
/** A longer one would end at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** As long as a server's longest deadline; what says nothing for five minutes is cut off by `fetch` itself. */
const REQUEST_MS = 600_000;
/** Refusals that are not about the photo and pass, as `openapi.yaml` names them; they may last long. */
const PASSING: readonly unknown[] = ['rate_limited', 'not_ready', 'overloaded', 'shutting_down'];
/** A proxy that finds no server has no code. */
const GATEWAY_STATUSES: readonly number[] = [502, 503, 504];

/**
 * Asks again while the server is full, restarts, or is cut off in the middle of its answer.
 * @param patience failures in a row, at least 1
 * @throws RunError when it does not answer, wants another key, or sends on to another address
 */
export async function persist(
  server: ServerAddress,
  to: string,
  request: ServerRequest,
  patience: number,
): Promise<ServerAnswer> {
  const url = new URL(to, server.url.replace(/\/*$/, '/'));
  const key = server.apiKey === '' ? {} : { Authorization: `Bearer ${server.apiKey}` };
  for (let failures = 0; ;) {
    let answer: ServerAnswer | undefined;
    let cause: unknown;
    try {
      answer = await ask(url, { ...request, headers: { ...request.headers, ...key } });
    } catch (error) {
      if (error instanceof RunError) {
        throw error;
      }
      cause = error;
    }
    const code = typeof answer?.body === 'object' ? answer.body.code : undefined;
    if (answer?.status === 401 || answer?.status === 403) {
      throw new RunError(`${server.url} refuses the key of API_KEY: ${detailOf(answer)}`);
    }
    const isPassing = answer?.status === 429 || PASSING.includes(code);
    // What a deadline has ended may be done in time when less is to do.
    const isFailure =
      answer === undefined ||
      code === 'deadline_exceeded' ||
      (code === undefined && GATEWAY_STATUSES.includes(answer.status));
    if (answer !== undefined && !isPassing && !isFailure) {
      return answer;
    }
    failures = isPassing ? 0 : failures + 1;
    if (failures >= patience) {
      if (answer !== undefined && code !== undefined) {
        return answer;
      }
      throw new RunError(
        answer === undefined
          ? `${server.url} cannot be reached: ${causeOf(cause)}.`
          : `${server.url} answered ${answer.status} again and again: ${detailOf(answer)}`,
        { cause },
      );
    }
    const ownPauseSeconds = Math.min(PAUSE_SECONDS * 2 ** Math.max(0, failures - 1), LONGEST_PAUSE_SECONDS);
    await sleep(Math.min(1_000 * (answer?.retryAfterSeconds ?? ownPauseSeconds), LONGEST_TIMER_MS));
  }
}

async function ask(url: URL, request: ServerRequest): Promise<ServerAnswer> {
  // Whoever follows is to GET where a POST is sent on, and photo and key would go to who knows whom.
  const response = await fetch(url, { ...request, redirect: 'manual', signal: AbortSignal.timeout(REQUEST_MS) });
  const location = response.headers.get('Location');
  if (response.status >= 300 && response.status < 400 && location !== null) {
    throw new RunError(
      `${url.origin}${url.pathname} sends on to ${location}; give the address that it is at by --url.`,
    );
  }
  const text = await response.text();
  const isJson = /\bjson\b/.test(response.headers.get('Content-Type') ?? '');
  const said: unknown = isJson ? JSON.parse(text) : text;
  const retryAfter = response.headers.get('Retry-After') ?? '';
  // Seconds, or a date.
  const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1_000;
  return {
    status: response.status,
    body: typeof said === 'object' && said !== null ? said : text,
    ...(seconds > 0 && { retryAfterSeconds: seconds }),
  };
}

function detailOf({ body }: ServerAnswer): string {
  return typeof body === 'string' ? body.slice(0, 200) : (body.detail ?? '');
}

function causeOf(error: unknown): string {
  const { cause = error } = error as Error;
  const { message, code = 'no answer' } = cause as NodeJS.ErrnoException;
  return message || code;
}

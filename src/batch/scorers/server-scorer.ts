import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../../errors';
import type { DecodingOptions } from '../../vision-language/results';
import { RunError } from '../errors';
import type { ObjectStore } from '../inputs/s3';
import type { InputItem, ItemBatch, Outcome, Problem } from '../item';
import { readPhoto } from '../photo-bytes';
import { problemOf, rounded, type Scorer } from './scorer';

export interface ServerScorerOptions {
  /** Where the server is, with its path if it is not at the root. */
  readonly url: string;
  /** Sent as a bearer token. */
  readonly apiKey: string;
  readonly options: DecodingOptions;
  /** Where photos in S3 are read. */
  readonly store: ObjectStore;
}

/** What a refusal without `Retry-After` waits, and what any waits at most. */
const PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 60;
/** In a row without an answer: the server is gone. With the pauses between them about a minute. */
const FAILURES = 7;

type Reply = Pick<
  Outcome,
  'caption' | 'score' | 'log_probability' | 'alternatives' | 'answers' | 'width' | 'height' | 'regions'
>;

/** A running server, which is asked photo by photo and makes batches of its own. */
export class ServerScorer implements Scorer {
  constructor(private readonly server: ServerScorerOptions) {}

  /**
   * @returns `name@version` of the bundle that answers
   * @throws RunError when no server answers
   */
  async model(): Promise<string> {
    const response = await this.persist('models', { headers: this.headers() });
    const { models } = (await response.json()) as { models?: readonly { readonly id: string }[] };
    const [first] = models ?? [];
    if (!response.ok || first === undefined) {
      throw new RunError(`${this.server.url} answered ${response.status} to /models.`);
    }
    return first.id;
  }

  async score({ items }: ItemBatch): Promise<Outcome[]> {
    return Promise.all(
      items.map(async (item) => {
        const startedMs = performance.now();
        const outcome = await this.scoreOne(item);
        return { ...outcome, ms: Math.round(performance.now() - startedMs) };
      }),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async scoreOne(item: InputItem): Promise<Outcome> {
    let photo: Uint8Array;
    try {
      photo = await readPhoto(item, this.server.store);
    } catch (error) {
      if (error instanceof ServiceError) {
        return problemOf(error);
      }
      throw error;
    }
    const response = await this.persist(`${item.question === undefined ? 'caption' : 'vqa'}?${this.query(item)}`, {
      method: 'POST',
      headers: { ...this.headers(), 'Content-Type': 'application/octet-stream', 'X-Priority': 'bulk' },
      body: new Uint8Array(photo),
    });
    if (response.ok) {
      return toOutcome((await response.json()) as Reply);
    }
    const { code, detail } = (await response.json()) as Problem;
    if (response.status === 401 || response.status === 403) {
      throw new RunError(`${this.server.url} refuses the key of API_KEY: ${detail}`);
    }
    return { problem: { code, detail } };
  }

  private query({ question }: InputItem): string {
    const { numBeams, numCaptions, maxTokens, topK, regions } = this.server.options;
    const forTask =
      question === undefined
        ? { num_beams: numBeams, num_captions: numCaptions, max_tokens: maxTokens }
        : { question, top_k: topK };
    const fields = { ...forTask, ...(regions && { regions }) };
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(fields)) {
      query.set(name, String(value));
    }
    return query.toString();
  }

  private headers(): Record<string, string> {
    return this.server.apiKey === '' ? {} : { Authorization: `Bearer ${this.server.apiKey}` };
  }

  /** Asks again while the server is full or restarts; a photo is its own affair only where the server says so. */
  private async persist(path: string, request: RequestInit): Promise<Response> {
    const url = new URL(path, this.server.url.replace(/\/*$/, '/'));
    for (let failures = 0; ;) {
      let pauseSeconds = PAUSE_SECONDS * 2 ** failures;
      try {
        const response = await fetch(url, request);
        if (![429, 502, 503, 504].includes(response.status)) {
          return response;
        }
        // Full is no failure: it may stay full for long.
        failures += response.status === 429 || response.status === 503 ? 0 : 1;
        pauseSeconds = Number(response.headers.get('Retry-After')) || pauseSeconds;
        const body = await response.text();
        if (failures === FAILURES) {
          throw new RunError(`${this.server.url} answered ${response.status} again and again: ${body.slice(0, 200)}`);
        }
      } catch (cause) {
        if (cause instanceof RunError) {
          throw cause;
        }
        failures += 1;
        if (failures === FAILURES) {
          throw new RunError(`${this.server.url} cannot be reached: ${String((cause as Error).cause ?? cause)}.`, {
            cause,
          });
        }
      }
      await sleep(1_000 * Math.min(pauseSeconds, LONGEST_PAUSE_SECONDS));
    }
  }
}

/** What else a server may say is left out. */
function toOutcome({ caption, score, log_probability, alternatives, answers, width, height, regions }: Reply): Outcome {
  return rounded({
    ...(caption !== undefined && { caption, score: score ?? 0, log_probability: log_probability ?? 0 }),
    ...(alternatives && { alternatives }),
    ...(answers && { answers }),
    ...(width !== undefined && { width }),
    ...(height !== undefined && { height }),
    ...(regions && { regions }),
  });
}

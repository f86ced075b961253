import { ServiceError } from '../../errors';
import type { DecodingOptions } from '../../vision-language/results';
import { RunError } from '../errors';
import type { ObjectStore } from '../inputs/s3';
import type { InputItem, ItemBatch, Outcome } from '../item';
import { readPhoto } from '../photo-bytes';
import { persist, type ServerAddress } from './persistent-request';
import { problemOf, rounded, type Scorer } from './scorer';

export interface ServerScorerOptions extends ServerAddress {
  readonly options: DecodingOptions;
  /** Where photos in S3 are read. */
  readonly store: ObjectStore;
}

/** There is nothing at the path, or it takes no photos, whichever. */
const NOT_A_SERVER: readonly number[] = [404, 405];

/** Requests of a photo that fail in a row: the server is gone. With the pauses between them about a minute. */
const PATIENCE = 7;

interface Reply extends Pick<
  Outcome,
  'caption' | 'score' | 'log_probability' | 'alternatives' | 'answers' | 'width' | 'height' | 'regions'
> {
  readonly model?: string;
}

/** A running server, which is asked photo by photo and makes batches of its own. */
export class ServerScorer implements Scorer {
  private constructor(
    private readonly server: ServerScorerOptions,
    /** `name@version` of the bundle that answers. */
    readonly model: string,
  ) {}

  /** @throws RunError when no server answers, or not as it should */
  static async connect(server: ServerScorerOptions): Promise<ServerScorer> {
    // Nothing is under way that would be worth waiting for.
    const { status, body } = await persist(server, 'models', {}, 1);
    const { models } = body as { models?: readonly { readonly id: string }[] };
    const [first] = models ?? [];
    if (first === undefined) {
      throw new RunError(`${server.url} answered ${status} to /models; is it the address of a server?`);
    }
    return new ServerScorer(server, first.id);
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
    const route = item.question === undefined ? 'caption' : 'vqa';
    const { status, body } = await persist(
      this.server,
      `${route}?${this.query(item)}`,
      {
        method: 'POST',
        // Whichever type of image: the server goes by the bytes.
        headers: { 'Content-Type': 'image/jpeg', 'X-Priority': 'bulk' },
        body: new Uint8Array(photo),
      },
      PATIENCE,
    );
    if (typeof body === 'string') {
      throw new RunError(`${this.server.url} answered ${status} with something else than JSON: ${body.slice(0, 200)}`);
    }
    if (NOT_A_SERVER.includes(status)) {
      throw new RunError(`${this.server.url} answered ${status} to /${route}; is it the address of a server?`);
    }
    if (status === 200) {
      return this.toOutcome(body as Reply);
    }
    const { code = `status_${status}`, detail = '' } = body;
    return { problem: { code, detail } };
  }

  /** What else a server may say is left out. */
  private toOutcome({ model, caption, score, log_probability, answers, ...others }: Reply): Outcome {
    if (model !== this.model) {
      throw new RunError(
        `${this.server.url} answers with the bundle ${model} now; the run was begun with ${this.model}.`,
      );
    }
    const { alternatives, width, height, regions } = others;
    return rounded({
      ...(caption !== undefined && { caption, score: score ?? 0, log_probability: log_probability ?? 0 }),
      ...(alternatives && { alternatives }),
      ...(answers && { answers }),
      ...(width !== undefined && { width }),
      ...(height !== undefined && { height }),
      ...(regions && { regions }),
    });
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
}

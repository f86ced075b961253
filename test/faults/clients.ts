import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';

export const PHOTOS = ['exif-1.jpg', 'exif-6.jpg', 'grey.png', 'transparent.png', 'animated.webp'].map(goldenImage);

/** After a refusal, which asks for seconds. */
const PAUSE_MS = 1_000;

export interface Reply {
  readonly photo: number;
  readonly status: number;
  readonly body: { readonly caption?: string; readonly code?: string };
  readonly retryAfter: string | undefined;
}

/**
 * Asks for the caption of one of `PHOTOS`.
 * @throws the system's error where the connection is refused or breaks
 */
export async function ask(port: number, photo: number, agent?: Agent): Promise<Reply> {
  const headers = { 'Content-Type': 'image/jpeg' };
  const asking = request({ host: '127.0.0.1', port, path: '/caption', method: 'POST', headers, agent: agent ?? false });
  asking.end(PHOTOS[photo]);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  const body = (await json(response)) as Reply['body'];
  return { photo, status: response.statusCode ?? 0, body, retryAfter: response.headers['retry-after'] };
}

/** The caption of each photo, asked for alone. */
export async function captionsOf(port: number): Promise<(string | undefined)[]> {
  const captions: (string | undefined)[] = [];
  for (const photo of PHOTOS.keys()) {
    captions.push((await ask(port, photo)).body.caption);
  }
  return captions;
}

/** Clients that ask one photo after another: half of them by a new connection each time, half by one that stays. */
export class Clients {
  private readonly stop = new AbortController();
  private readonly clients: Promise<Reply[]>[];

  constructor(port: number, count: number) {
    this.clients = Array.from({ length: count }, (_, client) => this.run(port, client));
  }

  /**
   * Until they have asked once more, or the server takes no more connections.
   * @returns every reply; rejects where one was lost
   */
  async end(): Promise<Reply[]> {
    this.stop.abort();
    return this.replies();
  }

  /** The same once the server takes no more connections. */
  async replies(): Promise<Reply[]> {
    return (await Promise.all(this.clients)).flat();
  }

  private async run(port: number, client: number): Promise<Reply[]> {
    const agent = client % 2 === 0 ? undefined : new Agent({ keepAlive: true, maxSockets: 1 });
    const replies: Reply[] = [];
    try {
      for (let n = client; !this.stop.signal.aborted; n += 1) {
        const reply = await ask(port, n % PHOTOS.length, agent);
        replies.push(reply);
        if (reply.status === 503) {
          await sleep(PAUSE_MS);
        }
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') {
        throw error;
      }
    } finally {
      agent?.destroy();
    }
    return replies;
  }
}

/** Fails where a caption is not that of its photo alone; returns the replies without one. */
export function expectCaptions(replies: readonly Reply[], expected: readonly (string | undefined)[]): Reply[] {
  for (const { photo, body } of replies.filter(({ status }) => status === 200)) {
    expect(body.caption).toBe(expected[photo]);
  }
  return replies.filter(({ status }) => status !== 200);
}

import { get as getByHttp, type IncomingMessage } from 'node:http';
import { get as getByHttps } from 'node:https';
import { isIP } from 'node:net';
import { ServiceError } from '../errors';
import { isPublic, publicLookup, type Resolve } from './public-address';

export interface FetcherOptions {
  /** Hosts that photos may come from: `example.org`, or `*.example.org` for those below it. */
  readonly hosts: readonly string[];
  /** For tests. */
  readonly resolve?: Resolve;
  readonly isAllowedAddress?: (address: string) => boolean;
  readonly ports?: readonly string[];
}

const REDIRECTS = 3;
/** '' is the scheme's own. */
const PORTS: readonly string[] = [''];

/** One answer for all that can go wrong behind a URL: it must not tell what is there. */
function unavailable(cause?: unknown): ServiceError {
  return new ServiceError('image_unavailable', 'The photo cannot be fetched from its URL.', { cause });
}

/** Fetches photos that a request names by URL, from hosts that the operator has listed and nowhere else. */
export class PhotoFetcher {
  private readonly ports: readonly string[];
  private readonly isAllowedAddress: (address: string) => boolean;
  private readonly lookup: ReturnType<typeof publicLookup>;

  constructor(private readonly options: FetcherOptions) {
    const { ports = PORTS, isAllowedAddress = isPublic, resolve } = options;
    this.ports = ports;
    this.isAllowedAddress = isAllowedAddress;
    this.lookup = publicLookup(isAllowedAddress, resolve);
  }

  get isOn(): boolean {
    return this.options.hosts.length > 0;
  }

  /**
   * @param maxBytes of the photo
   * @param signal ends it, as a server that does not answer would not
   * @throws ServiceError `image_url_refused`, `image_unavailable`, `image_too_large`
   */
  async fetch(url: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    let leave = (): void => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = () => {
        reject(unavailable(signal.reason));
      };
    });
    signal.addEventListener('abort', leave);
    try {
      return await Promise.race([this.follow(url, maxBytes, signal), left]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  private async follow(url: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    let next = this.check(url);
    for (let redirects = 0; redirects <= REDIRECTS; redirects += 1) {
      const response = await this.get(next, signal);
      const { statusCode = 0, headers } = response;
      if (statusCode === 200) {
        return readAtMost(response, maxBytes);
      }
      response.destroy();
      if (statusCode < 300 || statusCode >= 400 || headers.location === undefined) {
        throw unavailable();
      }
      next = this.check(headers.location, next);
    }
    throw unavailable();
  }

  /** Of the URL itself, and again of each that it redirects to. */
  private check(text: string, base?: URL): URL {
    const url = URL.canParse(text, base?.href) ? new URL(text, base?.href) : undefined;
    if (
      url === undefined ||
      !['http:', 'https:'].includes(url.protocol) ||
      url.username !== '' ||
      url.password !== ''
    ) {
      throw new ServiceError(
        'image_url_refused',
        'The URL of a photo must be one of http or https, without a password.',
      );
    }
    const host = url.hostname.replace(/^\[|\]$/g, '');
    // A connection to a literal address looks nothing up.
    const isRefusedAddress = isIP(host) !== 0 && !this.isAllowedAddress(host);
    if (
      !this.ports.includes(url.port) ||
      isRefusedAddress ||
      !this.options.hosts.some((entry) => covers(entry, host))
    ) {
      throw new ServiceError(
        'image_url_refused',
        'The URL of a photo is not of a host and port that this server allows.',
      );
    }
    return url;
  }

  private get(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
    const get = url.protocol === 'https:' ? getByHttps : getByHttp;
    return new Promise((resolve, reject) => {
      const fail = (error?: unknown): void => {
        reject(unavailable(error));
      };
      // No agent: each connection is made anew, and so to an address that was looked at.
      get(url, { agent: false, lookup: this.lookup, signal, headers: { Accept: 'image/*' } }, resolve)
        .once('error', fail)
        // One that changes to another protocol ends without a response and without an error.
        .once('close', fail);
    });
  }
}

function covers(entry: string, host: string): boolean {
  const allowed = entry.toLowerCase();
  return allowed.startsWith('*.') ? host.endsWith(allowed.slice(1)) : host === allowed;
}

async function readAtMost(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) {
        break;
      }
    }
  } catch (error) {
    throw unavailable(error);
  }
  if (bytes > maxBytes) {
    throw new ServiceError('image_too_large', `A photo behind a URL is larger than ${maxBytes / 1e6} MB.`);
  }
  return Buffer.concat(chunks);
}

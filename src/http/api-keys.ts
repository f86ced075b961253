import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { readFile } from 'node:fs/promises';
import type { RequestHandler } from 'express';
import { SettingsError } from '../config';
import { ServiceError } from '../errors';

interface KeyHash {
  readonly owner: string;
  /** SHA-256: keys are random, so nothing slower is needed to keep them from being guessed. */
  readonly hash: Buffer;
}

const BEARER = /^Bearer ([\x21-\x7e]+)$/i;
const LINE = /^([\w.-]{1,64})\s+([0-9a-f]{64})$/;

/** Whose keys are accepted: a file of lines `owner sha256`, which may name an owner twice while keys change. */
export class ApiKeys {
  private constructor(
    private readonly file: string,
    private hashes: readonly KeyHash[],
  ) {}

  /** @throws SettingsError when the file cannot be read, has no key or a line that is none */
  static async read(file: string): Promise<ApiKeys> {
    return new ApiKeys(file, await readHashes(file));
  }

  /**
   * Reads the files again, all of which must be right.
   * @returns what makes the keys that were read count; until then those that there are stay
   * @throws ServiceError `keys_refused`
   */
  static async readAgain(...all: readonly ApiKeys[]): Promise<() => void> {
    try {
      const read = await Promise.all(all.map(({ file }) => readHashes(file)));
      return () => {
        for (const [n, keys] of all.entries()) {
          keys.hashes = read[n] ?? [];
        }
      };
    } catch (cause) {
      throw cause instanceof SettingsError ? new ServiceError('keys_refused', cause.message, { cause }) : cause;
    }
  }

  /**
   * Whose key came with a request, as `Authorization: Bearer <key>`. Every hash is compared, in constant time, so that how
   * long it takes tells nothing.
   */
  ownerOf({ authorization = '' }: IncomingHttpHeaders): string | undefined {
    const key = BEARER.exec(authorization)?.[1];
    if (key === undefined) {
      return undefined;
    }
    const hash = createHash('sha256').update(key).digest();
    return this.hashes.reduce<string | undefined>(
      (owner, known) => (timingSafeEqual(known.hash, hash) ? known.owner : owner),
      undefined,
    );
  }
}

/** Lets only requests with `Authorization: Bearer <key>` pass, and notes whose key it is; without keys, all. */
export function requireKey(keys: ApiKeys | undefined): RequestHandler[] {
  if (keys === undefined) {
    return [];
  }
  return [
    (request, response, next) => {
      const owner = keys.ownerOf(request.headers);
      if (owner === undefined) {
        response.set('WWW-Authenticate', 'Bearer');
        throw new ServiceError('unauthorized', 'Send a key that this server knows: "Authorization: Bearer <key>".');
      }
      response.locals.client = owner;
      next();
    },
  ];
}

async function readHashes(file: string): Promise<KeyHash[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new SettingsError(`The keys in ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const lines = text.split('\n').map((line) => line.trim());
  const hashes = lines.flatMap((line, index) => {
    if (line === '' || line.startsWith('#')) {
      return [];
    }
    const [, owner, hash] = LINE.exec(line) ?? [];
    if (owner === undefined || hash === undefined) {
      throw new SettingsError(`Line ${index + 1} of ${file} must be an owner and the SHA-256 of a key, in hex.`);
    }
    return [{ owner, hash: Buffer.from(hash, 'hex') }];
  });
  if (hashes.length === 0) {
    throw new SettingsError(`${file} has no key: nobody could use the server.`);
  }
  return hashes;
}

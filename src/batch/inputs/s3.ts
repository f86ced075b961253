import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ServiceError } from '../../errors';
import { fileTooLarge, RunError } from '../errors';
import { isPhotoName } from './folder';

const ADDRESS = /^s3:\/\/([^/]+)\/?(.*)$/s;

/** What S3 says of one photo. Everything else, such as a wrong key or no connection, holds for all of them. */
const OF_ONE_PHOTO: readonly string[] = [
  'NoSuchKey',
  'NoSuchBucket',
  // Without the right to list a bucket, also for a photo that is not there.
  'AccessDenied',
  'InvalidBucketName',
  'InvalidObjectState',
  // Another photo since its first bytes were read.
  'PreconditionFailed',
  'KeyTooLongError',
];

export function isS3Address(text: string): boolean {
  return ADDRESS.test(text);
}

/** The place of a photo below a folder or an address in S3. */
export function placeBelow(images: string, name: string): string {
  return isS3Address(images) ? `${images.replace(/\/+$/, '')}/${name}` : path.join(images, name);
}

export interface ObjectStoreOptions {
  /** Whether the bucket stands in the path of an address in place of in its host. */
  readonly pathStyle: boolean;
  /** Of one request, at least 1. */
  readonly maxAttempts: number;
}

/** Photos in S3, or in another store that speaks it. Region, endpoint and keys are found as by all tools of AWS. */
export class ObjectStore {
  private connection: ReturnType<typeof connect> | undefined;

  constructor(private readonly options: ObjectStoreOptions) {}

  /**
   * Photos of a bucket, or of what lies below a prefix of it, in the order of their keys.
   * @throws RunError when they cannot be listed, or when there are none: a prefix that nothing begins with is a mistake
   */
  async *photosBelow(address: string): AsyncGenerator<string> {
    const { bucket, key } = parse(address);
    if (isPhotoName(key)) {
      yield address;
      return;
    }
    let isEmpty = true;
    try {
      const { sdk, client } = await this.connect();
      for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: key })) {
        for (const { Key: found = '' } of page.Contents ?? []) {
          if (isPhotoName(found)) {
            isEmpty = false;
            yield `s3://${bucket}/${found}`;
          }
        }
      }
    } catch (cause) {
      throw new RunError(`${address} cannot be listed: ${sentenceOf(cause)}.`, { cause });
    }
    if (isEmpty) {
      throw new RunError(`There are no photos below ${address}.`);
    }
  }

  /**
   * @param maxBytes of a photo; more are not fetched
   * @throws ServiceError `undecodable_image` when there is no such photo, `image_too_large`
   * @throws RunError when no photo could be read
   */
  async read(address: string, maxBytes: number): Promise<Uint8Array> {
    try {
      return await buffer(this.chunks(address, maxBytes));
    } catch (cause) {
      if (cause instanceof Error && OF_ONE_PHOTO.includes(cause.name)) {
        throw new ServiceError('undecodable_image', `The file cannot be read: ${sentenceOf(cause)}.`, { cause });
      }
      throw cause instanceof ServiceError ? cause : cannotBeRead(address, cause);
    }
  }

  /**
   * The bytes of an object of whatever size.
   * @throws RunError when it cannot be read, or is another object meanwhile
   */
  async *stream(address: string): AsyncGenerator<Uint8Array> {
    try {
      yield* this.chunks(address, Infinity);
    } catch (cause) {
      throw cannotBeRead(address, cause);
    }
  }

  /** Where the connection is cut, which a run of hours may meet, it goes on behind what has come. */
  private async *chunks(address: string, maxBytes: number): AsyncGenerator<Uint8Array> {
    const { bucket: Bucket, key: Key } = parse(address);
    const { sdk, client } = await this.connect();
    let bytesRead = 0;
    let version: string | undefined;
    // The SDK asks again for what it gets no answer to, and not where an answer is cut off.
    for (let cuts = 1; ; cuts += 1) {
      const rest = bytesRead > 0 && { Range: `bytes=${bytesRead}-`, IfMatch: version };
      const got = await client.send(new sdk.GetObjectCommand({ Bucket, Key, ...rest }));
      const { Body: body, ContentLength: bytes = 0 } = got;
      version ??= got.ETag;
      if (bytes > maxBytes) {
        await body?.transformToWebStream().cancel();
        throw fileTooLarge(bytes, maxBytes);
      }
      try {
        for await (const chunk of body as AsyncIterable<Uint8Array>) {
          bytesRead += chunk.length;
          cuts = 0;
          yield chunk;
        }
        return;
      } catch (cause) {
        if (cuts >= this.options.maxAttempts) {
          throw cause;
        }
      }
    }
  }

  private connect(): ReturnType<typeof connect> {
    return (this.connection ??= connect(this.options));
  }
}

/** The SDK is loaded where it is needed: it takes its time. */
async function connect({ pathStyle, maxAttempts }: ObjectStoreOptions) {
  const sdk = await import('@aws-sdk/client-s3');
  return { sdk, client: new sdk.S3Client({ forcePathStyle: pathStyle, maxAttempts }) };
}

function parse(address: string): { bucket: string; key: string } {
  const [, bucket, key = ''] = ADDRESS.exec(address) ?? [];
  if (bucket === undefined) {
    throw new RunError(`${address} is not an address like s3://bucket/prefix.`);
  }
  return { bucket, key };
}

function cannotBeRead(address: string, cause: unknown): RunError {
  return cause instanceof RunError
    ? cause
    : new RunError(`${address} cannot be read: ${sentenceOf(cause)}.`, { cause });
}

/** A host with several addresses that all refuse is an error without a message. */
function sentenceOf(error: unknown): string {
  const { message, code = 'no answer' } = error as NodeJS.ErrnoException;
  return (message || code).replace(/\.$/, '');
}

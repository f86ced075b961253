import type { S3Client } from '@aws-sdk/client-s3';
import { readSettings } from '../../config';
import { RunError } from '../errors';
import { isPhotoName } from './folder';

const ADDRESS = /^s3:\/\/([^/]+)\/?(.*)$/s;

export function isS3Address(text: string): boolean {
  return ADDRESS.test(text);
}

/** The SDK is loaded where it is needed: it takes its time. It finds region, endpoint and keys as all tools of AWS do. */
const connect = once(async () => {
  const sdk = await import('@aws-sdk/client-s3');
  const client: S3Client = new sdk.S3Client({ forcePathStyle: readSettings().s3PathStyle });
  return { sdk, client };
});

/** Photos of a bucket, or of what lies below a prefix of it, in the order of their keys. */
export async function* photosInS3(address: string): AsyncGenerator<string> {
  const { sdk, client } = await connect();
  const { bucket, key } = parse(address);
  if (isPhotoName(key)) {
    yield address;
    return;
  }
  for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: key })) {
    for (const { Key: found = '' } of page.Contents ?? []) {
      if (isPhotoName(found)) {
        yield `s3://${bucket}/${found}`;
      }
    }
  }
}

/** @param maxBytes more are not fetched */
export async function readFromS3(address: string, maxBytes: number): Promise<Uint8Array | { tooLarge: number }> {
  const { sdk, client } = await connect();
  const { bucket, key } = parse(address);
  const response = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key }));
  if (response.ContentLength !== undefined && response.ContentLength > maxBytes) {
    response.Body?.transformToWebStream()
      .cancel()
      .catch(() => undefined);
    return { tooLarge: response.ContentLength };
  }
  return (await response.Body?.transformToByteArray()) ?? new Uint8Array();
}

function parse(address: string): { bucket: string; key: string } {
  const [, bucket, key = ''] = ADDRESS.exec(address) ?? [];
  if (bucket === undefined) {
    throw new RunError(`${address} is not an address like s3://bucket/prefix.`);
  }
  return { bucket, key };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

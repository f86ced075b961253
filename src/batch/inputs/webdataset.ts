import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import { RunError } from '../errors';
import type { InputItem } from '../item';
import { isPhotoName } from './folder';
import { pipeWithErrors } from './pipe-with-errors';

export function isShardName(name: string): boolean {
  return /\.tar$/i.test(name);
}

/**
 * The photos of a WebDataset shard. Files with equal names up to the first dot of their last part are one sample: a
 * `.txt` beside a photo is its caption, a `.json` may give `question`, `references` and what else a row has. Others, such
 * as films, are passed over.
 */
export async function* readTar(shard: string, content: Readable): AsyncGenerator<InputItem> {
  const archive = pipeWithErrors(content, extract());
  let key = '';
  let files = new Map<string, Buffer>();
  try {
    for await (const entry of archive) {
      const { name, type } = entry.header;
      const [, entryKey = '', extension = ''] = /^((?:.*\/)?[^/.]*)\.(.*)$/s.exec(name) ?? [];
      if (type !== 'file' || entryKey === '' || !isPartOfSample(extension)) {
        entry.resume();
        continue;
      }
      if (entryKey !== key) {
        yield* toItems(shard, key, files);
        files = new Map();
        key = entryKey;
      }
      files.set(extension, await buffer(entry as AsyncIterable<Uint8Array>));
    }
  } catch (cause) {
    throw cause instanceof RunError ? cause : new RunError(`${shard}: ${(cause as Error).message}.`, { cause });
  } finally {
    content.destroy();
  }
  yield* toItems(shard, key, files);
}

function isPartOfSample(extension: string): boolean {
  return extension === 'txt' || extension === 'json' || isPhotoName(`.${extension}`);
}

function* toItems(shard: string, key: string, files: ReadonlyMap<string, Buffer>): Generator<InputItem> {
  const caption = files.get('txt')?.toString('utf8').trim();
  const { question, references } = parseFields(shard, key, files.get('json'));
  for (const [extension, bytes] of files) {
    if (isPhotoName(`.${extension}`)) {
      yield {
        image: `${shard}/${key}.${extension}`,
        id: key,
        bytes,
        ...(typeof question === 'string' && { question }),
        ...(Array.isArray(references) ? { references: references.map(String) } : caption && { references: [caption] }),
      };
    }
  }
}

function parseFields(shard: string, key: string, json: Buffer | undefined): Record<string, unknown> {
  try {
    return json === undefined ? {} : (JSON.parse(json.toString('utf8')) as Record<string, unknown>);
  } catch (cause) {
    throw new RunError(`${shard}: ${key}.json is not JSON: ${(cause as Error).message}.`, { cause });
  }
}

import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { glob, isDynamicPattern } from 'tinyglobby';
import { RunError } from '../errors';
import type { InputItem } from '../item';
import { cocoItems, formatOfJson, readJson, vqaItems } from './annotations';
import { expandBraces } from './braces';
import { isPhotoName, photosBelow } from './folder';
import type { Input, InputFormat, InputOptions } from './input';
import { readCsv, readJsonLines, readList } from './rows';
import { isS3Address, placeBelow } from './s3';
import { isShardName, readTar } from './webdataset';

/** Of JSON only what is in it tells whose. */
const FORMAT_OF_EXTENSION: Readonly<Record<string, InputFormat | 'json'>> = {
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.tar': 'tar',
};

/**
 * What a run is about, one input after the other: a folder, a pattern, a photo, an address in S3, or a file with items.
 * @param names `-` is standard input
 * @throws RunError, and errors of the file system, when one is not there or not what it should be
 */
export async function openInput(names: readonly string[], options: InputOptions): Promise<Input> {
  const inputs: Input[] = [];
  for (const name of names) {
    inputs.push(await openOne(name, options));
  }
  return oneAfterTheOther(inputs);
}

async function openOne(name: string, options: InputOptions): Promise<Input> {
  if (name === '-') {
    await pipeline(process.stdin, createWriteStream(options.spool));
    return openFile(options.spool, options.format ?? 'list', options);
  }
  if (isS3Address(name)) {
    return openAddress(name, options);
  }
  const found = await stat(name).catch((error: unknown) => {
    if (isDynamicPattern(name)) {
      return undefined;
    }
    throw error;
  });
  if (found === undefined) {
    return openPattern(name, options);
  }
  if (found.isDirectory()) {
    return withImages(() => photosBelow(name));
  }
  return isPhotoName(name) ? withImages(() => [name]) : openFile(name, inputFormatOf(name, options), options);
}

function openAddress(address: string, { format, store }: InputOptions): Input {
  if (format !== 'tar' && !isShardName(address)) {
    return withImages(() => store.photosBelow(address));
  }
  const shards = expandBraces(address);
  return oneAfterTheOther(
    shards.map((shard) => ({ items: () => readTar(shard, Readable.from(store.stream(shard), { objectMode: false })) })),
  );
}

/** @throws RunError when nothing matches: that is a mistake */
async function openPattern(pattern: string, options: InputOptions): Promise<Input> {
  const matches = async (each: string): Promise<string[]> =>
    (await glob(each, { dot: true, absolute: path.isAbsolute(each), followSymbolicLinks: false })).sort();
  if (isShardName(pattern)) {
    const names = expandBraces(pattern).map(async (each) => (isDynamicPattern(each) ? matches(each) : [each]));
    return openInput(requireSome((await Promise.all(names)).flat(), pattern), options);
  }
  const photos = requireSome((await matches(pattern)).filter(isPhotoName), pattern);
  return withImages(() => photos);
}

function requireSome(names: readonly string[], pattern: string): readonly string[] {
  if (names.length === 0) {
    throw new RunError(`Nothing matches ${pattern}.`);
  }
  return names;
}

function oneAfterTheOther(inputs: readonly Input[]): Input {
  return {
    async *items() {
      for (const input of inputs) {
        yield* input.items();
      }
    },
  };
}

function inputFormatOf(file: string, { format }: InputOptions): InputFormat | 'json' {
  return format ?? FORMAT_OF_EXTENSION[path.extname(file).toLowerCase()] ?? 'list';
}

async function openFile(file: string, format: InputFormat | 'json', options: InputOptions): Promise<Input> {
  const { images } = options;
  const below = (items: () => AsyncIterable<InputItem>): Input => ({ items: () => rooted(items(), images) });
  switch (format) {
    case 'list':
      return below(() => readList(file, '\n'));
    case 'list0':
      return below(() => readList(file, '\0'));
    case 'jsonl':
      return below(() => readJsonLines(file));
    case 'csv':
      return below(() => readCsv(file));
    case 'tar':
      return { items: () => readTar(file, createReadStream(file)) };
    case 'json':
    case 'coco':
    case 'vqa':
      return openAnnotations(file, format, options);
    case 'photos':
      throw new RunError(`${file} is not a folder of photos.`);
  }
}

async function openAnnotations(
  file: string,
  format: 'json' | 'coco' | 'vqa',
  { images = path.dirname(file), answers }: InputOptions,
): Promise<Input> {
  const content = await readJson(file);
  const kind = format === 'json' ? formatOfJson(file, content) : format;
  const items =
    kind === 'coco'
      ? cocoItems(content, images)
      : vqaItems(content, images, answers === undefined ? undefined : await readJson(answers));
  return { items: () => each(items) };
}

async function* rooted(items: AsyncIterable<InputItem>, images: string | undefined): AsyncGenerator<InputItem> {
  for await (const item of items) {
    const isPlace = images === undefined || path.isAbsolute(item.image) || isS3Address(item.image);
    yield isPlace ? item : { ...item, image: placeBelow(images, item.image) };
  }
}

function withImages(images: () => AsyncIterable<string> | Iterable<string>): Input {
  return {
    async *items() {
      for await (const image of images()) {
        yield { image };
      }
    },
  };
}

// eslint-disable-next-line @typescript-eslint/require-await -- a list among inputs that are read as they are needed
async function* each<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

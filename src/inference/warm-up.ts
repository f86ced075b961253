import type { Batch } from './messages';

/** A white pixel as PNG. */
export const BLANK_PHOTO = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==',
  'base64',
);

const OPTIONS = { numBeams: 1, numCaptions: 1, maxTokens: 20, topK: 1, regions: false, explain: false } as const;

/**
 * Run before a process is called ready: graphs allocate on their first run, and one that cannot run shows here. The last
 * batch, of one unit, allocates nothing new and tells the pace.
 */
export const WARM_UP: readonly Batch[] = [
  { task: 'vqa', options: OPTIONS, photos: [{ image: BLANK_PHOTO, questions: ['what is this?'] }] },
  { task: 'caption', options: OPTIONS, photos: [{ image: BLANK_PHOTO, questions: [] }] },
  { task: 'caption', options: OPTIONS, photos: [{ image: BLANK_PHOTO, questions: [] }] },
];

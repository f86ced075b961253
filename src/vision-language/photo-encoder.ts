import { ServiceError } from '../errors';
import { type DecodedPhoto, decodePhoto, NotDecoded } from '../image/decode';
import type { PixelBudget } from '../image/pixel-budget';
import type { Encoding, EncodingCache } from './encoding-cache';
import type { Detection, Objects, VisionLanguageModel } from './model';
import { Ended, type Interest, type Stages } from './stage';

export interface PhotoRequest extends Interest {
  /** The compressed file. */
  readonly image: Uint8Array;
}

/** A photo that is ready to be described and asked about. */
export interface EncodedPhoto extends Encoding {
  readonly photo: DecodedPhoto;
  /** Whether its encoding was there already; absent where none is kept. */
  readonly cached?: boolean;
}

interface KeyedPhoto extends Interest {
  readonly photo: DecodedPhoto;
  readonly key: string;
}

/**
 * The half that captions and answers share: compressed photo -> pixels -> tags and regions -> prefix. Photos with equal
 * pixels are encoded once.
 */
export class PhotoEncoder {
  constructor(
    private readonly model: VisionLanguageModel,
    private readonly imageSize: { readonly height: number; readonly width: number },
    private readonly pixelBudget: PixelBudget,
    private readonly cache: EncodingCache,
    private readonly stages: Stages,
    private readonly onDecoded: () => void,
  ) {}

  /** @param turn before which no graph runs; it may not reject */
  async encode<Request extends PhotoRequest>(
    requests: readonly (Request | Ended)[],
    turn?: Promise<unknown>,
  ): Promise<((Request & EncodedPhoto) | Ended)[]> {
    const decoded = await this.stages.run(
      'decode',
      requests,
      (photos) => Promise.all(photos.map((photo) => this.decode(photo))),
      (request, photo) => ({ ...request, photo, key: this.cache.keyOf(photo.pixels) }),
    );
    await turn;
    const { encodings, fresh } = await this.encodeDistinct(
      decoded.flatMap((photo) => (photo instanceof Ended ? [] : [photo])),
    );
    return decoded.map((photo) => {
      if (photo instanceof Ended) {
        return photo;
      }
      const encoding = encodings.get(photo.key);
      if (encoding === undefined || encoding instanceof Ended) {
        return encoding ?? new Ended('cancelled');
      }
      // The first of several with equal pixels is the one that was encoded.
      const cached = !fresh.delete(photo.key);
      return { ...photo, ...encoding, ...(this.cache.isOn && { cached }) };
    });
  }

  /** @returns the encoding of every key, and the keys that were not there before */
  private async encodeDistinct(photos: readonly KeyedPhoto[]) {
    const encodings = new Map<string, Encoding | Ended>();
    const missing = new Map<string, KeyedPhoto[]>();
    for (const photo of photos) {
      const known = this.cache.get(photo.key);
      if (known === undefined) {
        missing.set(photo.key, [...(missing.get(photo.key) ?? []), photo]);
      } else {
        encodings.set(photo.key, known);
      }
    }
    for (const { key, encoding } of await this.runGraphs([...missing.values()].map(standIn))) {
      encodings.set(key, encoding);
      if (!(encoding instanceof Ended)) {
        this.cache.keep(key, encoding);
      }
    }
    return { encodings, fresh: new Set(missing.keys()) };
  }

  private async runGraphs(photos: readonly KeyedPhoto[]) {
    const detected = await this.stages.run(
      'detect',
      photos,
      (wanted) => this.model.detect(wanted.map(({ photo }) => photo.pixels)),
      (photo, detection) => ({ ...photo, detection }),
    );
    const encoded = await this.stages.run(
      'prefix',
      detected,
      (wanted) => this.model.encodePrefixes(wanted.map(({ detection }) => detection)),
      ({ detection }, prefix): Encoding => ({ objects: objectsOf(detection), prefix }),
    );
    return photos.flatMap(({ key }, n) => encoded.slice(n, n + 1).map((encoding) => ({ key, encoding })));
  }

  private async decode({ image, signal }: PhotoRequest): Promise<DecodedPhoto | Ended> {
    try {
      return await decodePhoto(image, this.imageSize, { budget: this.pixelBudget, signal });
    } catch (error) {
      if (error instanceof ServiceError) {
        return new Ended(error);
      }
      if (error instanceof NotDecoded) {
        return new Ended('cancelled');
      }
      throw error;
    } finally {
      this.onDecoded();
    }
  }
}

function objectsOf({ boxes, labels, attributes, scores, valid }: Detection): Objects {
  return { boxes, labels, attributes, scores, valid };
}

/** One of several photos with equal pixels, wanted as long as any of them is. */
function standIn(photos: readonly KeyedPhoto[]): KeyedPhoto {
  const [first] = photos;
  if (first === undefined) {
    throw new RangeError('Expected at least one photo');
  }
  return {
    ...first,
    signal: {
      get aborted() {
        return photos.every(({ signal }) => signal.aborted);
      },
    },
  };
}

import { takeRow, type TensorOf } from '../../src/onnx/tensor';
import { type Encoding, EncodingCache } from '../../src/vision-language/encoding-cache';

const PIXELS = Uint8Array.of(1, 2, 3);
/** Of every encoding below: eight values of 4 bytes. */
const BYTES = 32;

/** One row of a batch of 100, as the graphs give it. */
function encoding(value: number): Encoding {
  const batch: TensorOf<'float32'> = { type: 'float32', data: new Float32Array(100).fill(value), dims: [100, 1] };
  const row = takeRow(batch, 3) as never;
  return {
    objects: { boxes: row, labels: row, attributes: row, scores: row, valid: row },
    prefix: { keys: row, values: row, mask: row },
  };
}

test('equal pixels have equal keys in the same version of a bundle, and nowhere else', () => {
  const keyOf = (bundle: string, pixels: Uint8Array) => new EncodingCache(bundle, 1).keyOf(pixels);
  expect(keyOf('a@1', Uint8Array.from(PIXELS))).toBe(keyOf('a@1', PIXELS));
  expect(keyOf('a@2', PIXELS)).not.toBe(keyOf('a@1', PIXELS));
  expect(keyOf('a@1', Uint8Array.of(1, 2, 4))).not.toBe(keyOf('a@1', PIXELS));
});

test('an encoding is kept in memory of its own, so that it keeps no batch', () => {
  const cache = new EncodingCache('a@1', BYTES);
  cache.keep('k', encoding(5));
  const kept = cache.get('k')?.prefix.keys.data;
  expect(Array.from(kept ?? [])).toEqual([5]);
  expect(kept?.buffer.byteLength).toBe(4);
});

test('bytes are counted, and what was used longest ago leaves', () => {
  const cache = new EncodingCache('a@1', 2 * BYTES);
  cache.keep('a', encoding(1));
  cache.keep('b', encoding(2));
  cache.get('a');
  cache.keep('c', encoding(3));
  expect(['a', 'b', 'c'].map((key) => cache.get(key)?.prefix.keys.data[0])).toEqual([1, undefined, 3]);
});

test('switched off, it keeps nothing and finds no two photos equal', () => {
  const cache = new EncodingCache('a@1', 0);
  expect(cache.isOn).toBe(false);
  expect(cache.keyOf(PIXELS)).not.toBe(cache.keyOf(PIXELS));
  cache.keep('k', encoding(1));
  expect(cache.get('k')).toBeUndefined();
});

import { paddedMatrix, scalar, stack, takeRow, vector } from '../../src/onnx/tensor';

const ROWS = [
  { type: 'float32', data: Float32Array.of(1, 2, 3, 4), dims: [1, 2, 2] },
  { type: 'float32', data: Float32Array.of(5, 6, 7, 8), dims: [1, 2, 2] },
] as const;

test('rows that are stacked and taken apart are the same again', () => {
  const whole = stack(ROWS);
  expect(whole).toEqual({ type: 'float32', data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), dims: [2, 2, 2] });
  expect([takeRow(whole, 0), takeRow(whole, 1)]).toEqual(ROWS);
});

test('bytes of a Buffer are stacked as plain bytes', () => {
  const rows = ['ab', 'cd'].map((text) => ({ type: 'uint8', data: Buffer.from(text), dims: [1, 2] }) as const);
  expect([...stack(rows).data]).toEqual([97, 98, 99, 100]);
});

test('nothing to stack is an error', () => {
  expect(() => stack([])).toThrow(RangeError);
});

test('questions of different lengths are padded with 0', () => {
  expect(paddedMatrix([[2, 7, 3], [], [2, 3]])).toEqual({
    type: 'int64',
    data: BigInt64Array.of(2n, 7n, 3n, 0n, 0n, 0n, 2n, 3n, 0n),
    dims: [3, 3],
  });
});

test('numbers become int64', () => {
  expect(scalar(5)).toEqual({ type: 'int64', data: BigInt64Array.of(5n), dims: [] });
  expect(vector([0, 0, 1])).toEqual({ type: 'int64', data: BigInt64Array.of(0n, 0n, 1n), dims: [3] });
});

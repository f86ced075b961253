/** Row-major tensor; `int64` holds bigints, `bool` 0 or 1. */
export type Tensor = { readonly dims: readonly number[] } & (
  | { readonly type: 'float32'; readonly data: Float32Array }
  | { readonly type: 'int64'; readonly data: BigInt64Array }
  | { readonly type: 'uint8'; readonly data: Uint8Array }
  | { readonly type: 'bool'; readonly data: Uint8Array }
);

export type ElementType = Tensor['type'];

export type TensorOf<T extends ElementType> = Extract<Tensor, { readonly type: T }>;

const ARRAY_OF_TYPE = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array, bool: Uint8Array } as const;

/** The array of a tensor whose type is only known when it runs. */
type WritableArray<T extends Tensor> = T['data'] & { set(values: T['data'], offset: number): void };

export function scalar(value: number): Tensor {
  return { type: 'int64', data: BigInt64Array.of(BigInt(value)), dims: [] };
}

export function vector(values: readonly number[]): Tensor {
  return { type: 'int64', data: BigInt64Array.from(values, BigInt), dims: [values.length] };
}

/** int64 [rows, longest row]; shorter rows are padded with 0. */
export function paddedMatrix(rows: readonly (readonly number[])[]): Tensor {
  const columns = Math.max(...rows.map((row) => row.length));
  const data = new BigInt64Array(rows.length * columns);
  for (const [r, row] of rows.entries()) {
    data.set(row.map(BigInt), r * columns);
  }
  return { type: 'int64', data, dims: [rows.length, columns] };
}

/** Joins tensors [1, ...] of one type and shape to [rows, ...]. */
export function stack<T extends Tensor>(rows: readonly T[]): T {
  const [first] = rows;
  if (first === undefined) {
    throw new RangeError('Expected at least one row to stack');
  }
  if (rows.length === 1) {
    return first;
  }
  const size = first.data.length;
  const data = new ARRAY_OF_TYPE[first.type](size * rows.length) as WritableArray<T>;
  for (const [r, row] of rows.entries()) {
    data.set(row.data, r * size);
  }
  return { ...first, data, dims: [rows.length, ...first.dims.slice(1)] };
}

/** The same values in memory of their own. */
export function copyTensor<T extends Tensor>(tensor: T): T {
  return { ...tensor, data: tensor.data.slice() };
}

/** One row of [rows, ...] as a tensor [1, ...] that shares its memory. */
export function takeRow<T extends Tensor>(tensor: T, row: number): T {
  const rest = tensor.dims.slice(1);
  const size = rest.reduce((product, dim) => product * dim, 1);
  return { ...tensor, data: tensor.data.subarray(row * size, (row + 1) * size), dims: [1, ...rest] };
}

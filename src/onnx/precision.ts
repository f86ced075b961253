import { BundleError, type Manifest } from './manifest';

/** What graphs calculate in. */
export type Precision = 'fp32' | 'fp16';

/** What is asked for: `auto` is fp16 on CUDA, where it is faster, if the bundle has graphs for it. */
export type PrecisionWish = 'auto' | Precision;

/** What a bundle has graphs for. */
export function precisionsOf({ variants }: Pick<Manifest, 'variants'>): readonly Precision[] {
  return variants?.fp16 === undefined ? ['fp32'] : ['fp32', 'fp16'];
}

/** @throws BundleError where the bundle has no graphs for the precision that is asked for */
export function requirePrecision(wish: PrecisionWish, manifest: Manifest): void {
  if (wish !== 'auto' && !precisionsOf(manifest).includes(wish)) {
    throw new BundleError(`The bundle ${manifest.name} has no graphs for ${wish}; set PRECISION=auto.`);
  }
}

/** What graphs calculate in on a device, of what the bundle has. */
export function precisionOn(device: string, wish: PrecisionWish, available: readonly Precision[]): Precision {
  const wanted = wish === 'auto' && device.startsWith('cuda') ? 'fp16' : wish;
  return available.find((precision) => precision === wanted) ?? 'fp32';
}
